"""Wrong measurements, for which claims must not hold: a claim that none refutes says nothing.

`unrefuted` changes one variable of a result at a time, in whole and at every label of its
dimensions: to 0, to the opposite sign, to far more and far less, to a shifted and to a constant
value, to the order reversed, to a steep rise or fall; words to none. Attributes that are numbers
are changed, too: they hold constants that were measured. And where all numbers are NaN nothing
holds, but for claims that something diverges: `but` names those. (That no run arrives is measured
where all are NaN: then shares do not hold.)
"""

import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import xarray as xr

from experiments.lab.claims import Claim

CHANGES: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    lambda x: 0 * x,
    lambda x: -x,
    lambda x: 1e3 * x,
    lambda x: 1e-3 * x,
    lambda x: x + 1,
    lambda x: x - 1,
    lambda x: 1.5 * x,
    lambda x: np.full_like(x, x.flat[0]),
    lambda x: x[..., ::-1],
    lambda x: x[::-1],
    lambda x: np.full_like(x, np.inf),
    lambda x: 1e3 * np.ones_like(x).cumsum(axis=-1),
    lambda x: -1e3 * np.ones_like(x).cumsum(axis=-1),
)
MOST_LABELS = 30


def unrefuted(
    claims: Callable[[xr.Dataset], list[Claim]], dataset: xr.Dataset, but: Sequence[str] = ()
) -> list[str]:
    """Statements that hold of a result, and that hold or are not measured of all wrong ones.

    And those that hold without a number, but for those in which one of the words is.
    """
    blind = [
        f"holds without a number: {claim.statement} ({claim.measured})"
        for claim in holding_without_numbers(claims, dataset)
        if not any(words in claim.statement for words in but)
    ]
    return blind + _never_refuted(claims, dataset)


def holding_without_numbers(
    claims: Callable[[xr.Dataset], list[Claim]], dataset: xr.Dataset
) -> list[Claim]:
    """Claims that hold where all numbers are NaN that can be, and that depend on them."""
    before = {(claim.statement, claim.measured) for claim in claims(dataset)}
    floats = {
        name: (x.dims, np.full(x.shape, np.nan), x.attrs)
        for name, x in dataset.data_vars.items()
        if x.dtype.kind == "f"
    }
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            judged = claims(dataset.assign(floats))
        except (ValueError, IndexError):
            return []  # Nothing can be said then.
    return [c for c in judged if c.holds and (c.statement, c.measured) not in before]


def _never_refuted(claims: Callable[[xr.Dataset], list[Claim]], dataset: xr.Dataset) -> list[str]:
    judged = claims(dataset)
    left = {i for i, claim in enumerate(judged) if claim.holds is not False}
    for wrong in wrong_results(dataset):
        if not left:
            break
        try:
            with np.errstate(all="ignore"):
                again = claims(wrong)
        except (ValueError, IndexError, KeyError, ArithmeticError, np.linalg.LinAlgError):
            continue  # Numbers so wrong that nothing can be said of them.
        if len(again) == len(judged):
            left -= {i for i in left if again[i].holds is False}
    return [judged[i].statement for i in sorted(left)]


def wrong_results(dataset: xr.Dataset) -> Iterator[xr.Dataset]:
    """Copies of a result with one variable, or a part of one, changed; coarse changes first."""
    numbers = [name for name, x in dataset.data_vars.items() if x.dtype.kind in "fiub"]
    for change, name in itertools.product(CHANGES, numbers):
        yield _changed(dataset, name, {}, change)
    for name, words in dataset.data_vars.items():
        if words.dtype.kind in "OTU":
            yield dataset.assign({name: (words.dims, np.full_like(words.values, ""), words.attrs)})
    for name in numbers:
        for axis, size in dataset[name].sizes.items():
            labels = np.unique(np.linspace(0, size - 1, min(size, MOST_LABELS)).astype(int))
            for label, change in itertools.product(labels, CHANGES):
                yield _changed(dataset, name, {axis: label}, change)
    for name, value in dataset.attrs.items():
        if isinstance(value, int | float | np.number) and not isinstance(value, bool):
            for factor in (0.0, 1e-3, 1e3):
                yield dataset.assign_attrs({name: type(value)(value * factor)})


def _changed(dataset: xr.Dataset, name, at: dict, change: Callable) -> xr.Dataset:
    array = dataset[name]
    values = np.array(array.values)
    where = tuple(at.get(axis, slice(None)) for axis in array.dims)
    part = values[where]
    if part.dtype.kind == "b":
        values[where] = ~part if change is CHANGES[1] else False
    else:
        with np.errstate(all="ignore"):
            changed = change(np.atleast_1d(part).astype(float)).reshape(part.shape)
            values[where] = changed.astype(part.dtype)
    return dataset.assign({name: (array.dims, values, array.attrs)})
