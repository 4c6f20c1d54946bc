"""Pictures of batches of runs."""

from typing import Any

import jax
import numpy as np

from jaxopt_course._brief import brief
from jaxopt_course._checks import check_interval, check_text
from jaxopt_course.plot._axes import axes
from jaxopt_course.plot._bands import band
from jaxopt_course.saddle import EscapeRuns, Stop
from jaxopt_course.transforms import Path

_ARRIVED = (Stop.TARGET_VALUE, Stop.SECOND_ORDER_STATIONARY)
_LABELS = {
    "value": "value",
    "gradient_norm": "norm of the gradient",
    "min_eigenvalue": "smallest eigenvalue of the Hessian",
}


def escape_times(runs: EscapeRuns, *, label: str | None = None, ax: Any = None) -> Any:
    """The share of the runs that have arrived by each step, drawn.

    The empirical distribution of the steps that runs took until their target value or a
    second-order stationary point. Runs that ran out of steps or diverged are part of the number, so
    that the curve ends at the share that arrived, not at 1; the legend says how many.

    Args:
        runs: From `saddle.escape`.
        label: What to call them.
        ax: Axes to draw into; by default those of a new figure.

    Returns:
        The axes.

    Raises:
        TypeError: for arguments other than described.
        ModuleNotFoundError: If matplotlib is not installed.

    Example:
        >>> sgd, starts = optax.sgd(0.1), jnp.array([1.0, 0.5])
        >>> runs = saddle.escape(lambda x: x**2, sgd, starts, max_steps=99, target_value=1e-3)
        >>> escape_times(runs, label="sgd").get_legend().get_texts()[0].get_text()
        'sgd: 2 of 2'
    """
    _check_runs(runs)
    check_text(label=label, optional=True)
    ax = axes(ax)
    arrived = np.isin(np.asarray(runs.reason), _ARRIVED)
    steps = np.sort(np.asarray(runs.steps)[arrived])
    count, last = arrived.size, max(int(np.max(runs.steps, initial=0)), 1)
    told = f"{steps.size} of {count}"
    # From nobody at the start to the last step of any run, flat where nobody arrives.
    x = np.concatenate([[0], steps, [last]])
    y = np.concatenate([[0], np.arange(1, steps.size + 1), [steps.size]]) / max(count, 1)
    ax.step(x, y, where="post", label=told if label is None else f"{label}: {told}")
    ax.set(xlabel="step", ylabel="share of runs that have arrived", ylim=(0, 1.02))
    ax.legend(title="arrived")
    return ax


def record(
    runs: EscapeRuns | Path,
    what: str = "value",
    *,
    label: str | None = None,
    quantiles: tuple[float, float] = (0.1, 0.9),
    ax: Any = None,
    **line: Any,
) -> Any:
    """What was recorded along the way, drawn: the median of the runs, and a band of quantiles.

    Args:
        runs: From `saddle.escape` with `record_every`, or from `transforms.path`, where one path is
            a line without a band and paths that were mapped over are runs.
        what: `"value"`, `"gradient_norm"`, `"min_eigenvalue"`, or what was observed, by its name.
            Of an observation that is an array the largest element is drawn, and of one with an
            error the value.
        label: What to call the runs.
        quantiles: Lower and upper end of the band, between 0 and 1.
        ax: Axes to draw into; by default those of a new figure.
        **line: How the line looks, as matplotlib's `Axes.plot` takes it: `color`, `linestyle`, ...

    Returns:
        The axes.

    Raises:
        TypeError: for arguments other than described.
        ValueError: If there is no such record, or the quantiles are not in order.
        ModuleNotFoundError: If matplotlib is not installed.

    Example:
        >>> sgd, starts = optax.sgd(0.1), jnp.array([1.0, 0.5])
        >>> runs = saddle.escape(lambda x: x**2, sgd, starts, max_steps=20, record_every=5)
        >>> record(runs, "gradient_norm").get_ylabel()
        'norm of the gradient'
    """
    check_text(what=what)
    check_text(label=label, optional=True)
    check_interval("quantiles", quantiles, 0, 1)
    steps, values = _recorded(runs, what)
    told = None
    if len(values) > 1:
        lower, upper = quantiles
        told = f"median and {100 * lower:g} to {100 * upper:g} % of {len(values)}"
    label = ": ".join(filter(None, (label, told))) or None
    ax = band(steps, values, quantiles=quantiles, label=label, ax=ax, **line)
    ax.set(xlabel="step", ylabel=_LABELS.get(what, what))
    return ax


def _recorded(runs: Any, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Return steps, shape `(entries,)`, and what was recorded, shape `(runs, entries)`."""
    if not isinstance(runs, EscapeRuns | Path):
        raise TypeError(f"runs must be an EscapeRuns or a Path, got {type(runs).__name__}")
    if isinstance(runs, Path):
        steps = np.asarray(runs.steps)
        several, steps = steps.ndim > 1, steps.reshape(-1, steps.shape[-1])[0]
        seen = {"value": runs.value, "gradient_norm": runs.gradient_norm} | runs.observed
    elif runs.record is None:
        raise ValueError("runs must have a record: give escape record_every=...")
    else:
        several, steps = True, np.asarray(runs.record.step)
        seen = {name: getattr(runs.record, name) for name in _LABELS}
        seen |= runs.record.observed or {}
    if seen.get(what) is None:
        names = [name for name, values in seen.items() if values is not None]
        hint = ": give escape record_min_eigenvalue=True" if what == "min_eigenvalue" else ""
        raise ValueError(f"what must be one of {names}, got {brief(what)}{hint}")
    values = getattr(seen[what], "value", seen[what])
    if len(jax.tree.leaves(values)) != 1 or not hasattr(values, "shape"):
        raise ValueError(f"what must be observed as one array, and {what!r} is a tree")
    values = np.asarray(values, float)
    values = values if several else values[None]
    # What has axes of its own: the largest, NaN if one is.
    return steps, values.reshape(*values.shape[:2], -1).max(axis=-1)


def _check_runs(runs: Any) -> None:
    if not isinstance(runs, EscapeRuns):
        raise TypeError(f"runs must be an EscapeRuns, got {type(runs).__name__}")
