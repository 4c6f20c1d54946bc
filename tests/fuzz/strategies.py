"""What arguments are drawn from: sensible values, extreme ones and ones of the wrong kind.

A `Kind` is what an argument is meant to be, with two strategies: `sane` draws what the docstring
asks for, `wild` draws anything a caller could mistakenly pass, sensible values among it.
"""

import dataclasses
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from hypothesis import strategies as st

FLOATS = ("float16", "bfloat16", "float32", "float64")
# Few shapes, as each compiles anew: no axis, no entry, one, some.
SHAPES = ((), (0,), (1,), (3,), (2, 3))
SPECIAL = (0.0, -0.0, 1.0, -2.5, np.nan, np.inf, -np.inf, 5e-324, 1e-45, 6e-8, 3e38, -6e4, 1e300)


@dataclasses.dataclass(frozen=True)
class Kind:
    """What an argument is meant to be.

    Attributes:
        sane: Draws values that must work.
        wild: Draws values that must work or be refused by name.
    """

    sane: st.SearchStrategy[Any]
    wild: st.SearchStrategy[Any]


def no_numbers():
    """Values that are no real number at all."""
    return st.sampled_from(
        (None, True, "0.1", b"1", 1j, [0.1], {}, (), object(), np.array("x"), np.complex64(1j), ...)
    )


def arrays_of_numbers():
    """Numbers in NumPy's and JAX's clothes, one or several of them."""
    return st.sampled_from(
        (
            np.float32(0.5),
            np.float64(1e300),
            np.int8(1),
            np.bool_(True),
            ml_dtypes.bfloat16(0.5),
            np.array(0.5),
            np.array([0.1, 0.2, 0.3]),
            np.array([]),
            jnp.float32(0.5),
            jnp.asarray([0.1, 0.2, 0.3]),
            jnp.asarray(jnp.nan),
            jnp.asarray(1, jnp.int32),
        )
    )


def wild_numbers():
    """Every float there is, integers beyond all floats, arrays, and what is no number."""
    return st.one_of(
        st.sampled_from((0.0, -0.0, 0, -1, 1, 5e-324, 1e-45, 1e308, -1e308, 10**400, 2**63)),
        st.floats(),
        st.integers(),
        arrays_of_numbers(),
        no_numbers(),
    )


def wild_sizes():
    """Integers and what is none; sizes that no memory holds are left out."""
    return st.one_of(
        st.sampled_from((0, -1, 1, 2, 7, 1.0, 2.5, np.nan, np.inf, np.int64(3), np.float32(2))),
        st.integers(-5, 40),
        st.sampled_from((jnp.asarray(2), np.array(2), np.array([2, 3]))),
        no_numbers(),
    )


def numbers(sane, *more):
    """A number from `sane`; `more` values are as good."""
    return Kind(st.one_of(sane, st.sampled_from(more)) if more else sane, wild_numbers())


def positive(low=1e-3, high=10.0):
    return numbers(st.floats(low, high))


def fractions():
    return numbers(st.floats(0, 0.99))


def sizes(low, high, *more):
    sane = st.integers(low, high)
    return Kind(st.one_of(sane, st.sampled_from(more)) if more else sane, wild_sizes())


def options(*names):
    others = ("", "nonsense", "ADAM", None, 3, 2.5, ["eigh"], {}, np.array(["a", "b"]), b"eigh")
    return Kind(st.sampled_from(names), st.sampled_from((*names, *others)))


def flags():
    # Any value has a truth, but for arrays of several.
    return Kind(st.booleans(), st.sampled_from((True, False, 0, 1, None, "yes", np.bool_(True))))


def dtypes(*sane):
    others = ("nonsense", 3, "int8", "complex64", jnp.int32, "O", [], "float16", "bfloat16")
    return Kind(st.sampled_from(sane), st.sampled_from((*sane, *others)))


def typed_keys():
    return st.integers(0, 2**32 - 1).map(jax.random.key)


def keys(*more):
    """A typed key; wild: none, a raw one, a batch with the same key twice, numbers."""
    sane = st.one_of(typed_keys(), st.sampled_from(more)) if more else typed_keys()
    wrong = (None, 0, 1.5, "key", np.arange(2, dtype=np.uint32), [0, 1], jnp.zeros(2))
    batch = st.builds(lambda key, count: jnp.stack([key] * count), typed_keys(), st.integers(1, 3))
    raw = st.integers(0, 9).map(jax.random.PRNGKey)
    return Kind(sane, st.one_of(sane, batch, raw, st.sampled_from(wrong)))


def array(shape, dtype, values):
    """An array of one of the dtypes, with special values in it."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = np.resize(np.array(values, np.float64), shape).astype(jnp.dtype(dtype))
        return jnp.asarray(data)


def values(sane):
    regular = st.floats(-3, 3, allow_subnormal=False).map(lambda x: round(x, 3))
    drawn = regular if sane else st.one_of(regular, st.sampled_from(SPECIAL))
    return st.lists(drawn, min_size=1, max_size=4)


def leaves(*, sane, shapes=SHAPES, floats=FLOATS):
    return st.builds(array, st.sampled_from(shapes), st.sampled_from(floats), values(sane))


def trees(*, sane=True, shapes=SHAPES, floats=FLOATS, empty=True):
    """Pytrees of real floating arrays: bare, dict, list, nested, with None, empty."""
    leaf = leaves(sane=sane, shapes=shapes, floats=floats)
    kinds = [
        leaf,
        st.builds(lambda a, b: {"a": a, "b": b}, leaf, leaf),
        st.builds(lambda a, b: [a, (b,)], leaf, leaf),
        st.builds(lambda a: {"x": {"y": a}, "z": None}, leaf),
    ]
    return st.one_of(*kinds, *([st.sampled_from(({}, []))] if empty else []))


def wild_trees(*, shapes=SHAPES):
    """What can be meant as parameters and is none, and special values in those that are."""
    wrong = (
        None,
        1.5,
        2,
        "x",
        [1.0, "x"],
        {"a": object()},
        np.array(["a"]),
        [[1.0], [2.0, 3.0]],
        lambda x: x,
    )
    other = st.sampled_from(("int32", "bool", "complex64", "uint8"))
    return st.one_of(
        trees(sane=False, shapes=shapes),
        trees(sane=True, shapes=shapes),
        st.builds(lambda dtype: {"a": jnp.ones(3), "b": jnp.zeros(2, dtype)}, other),
        st.sampled_from(wrong),
    )


def pytrees(*, shapes=SHAPES, floats=FLOATS, empty=False):
    return Kind(trees(shapes=shapes, floats=floats, empty=empty), wild_trees(shapes=shapes))


def constant(*values_):
    """Always one of these: an argument that this test does not vary."""
    return Kind(st.sampled_from(values_), st.sampled_from(values_))
