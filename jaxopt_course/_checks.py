"""Checks of arguments at trace time, so that a mistake is named where it is made.

One family. Values are given by name, several at once where they share an expectation; trees, whose
leaves are named by their path, as a name and a tree:

    check_positive(learning_rate=learning_rate, radius=radius)
    check_positive(epsilon=epsilon, optional=True)               # None is left out
    check_positive(curvature=curvature, arrays=True)             # several numbers are welcome
    check_one_of(("eigh", "cg"), solver=solver)
    check_real_floating("params", params)

Every check raises TypeError for a value of the wrong kind and ValueError for one out of range. The
message names the argument, what it must be and what it was.

A number is Python's `int` or `float`, or what has a real dtype: NumPy's and JAX's scalars, arrays
without axes, tracers. True is none, nor are `Fraction` and `Decimal`, of which JAX makes no array.
Only numbers of Python and NumPy are judged by their value. A traced one, as
`optax.inject_hyperparams`, `vmap` over a hyperparameter or a schedule produce, has no value to look
at yet: of it the dtype and the shape are checked.
"""

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course._brief import brief


def is_concrete_number(value: Any) -> bool:
    """Whether `value` is one real number that can be judged before tracing."""
    return _is_concrete(value) and np.ndim(value) == 0


def check_real(*, optional: bool = False, **arguments: Any) -> None:
    """Raise unless every argument is a real number or an array of them.

    Raises:
        TypeError: for anything else; True and False, text and complex numbers are no real numbers.
        ValueError: for an integer beyond the range of floating-point numbers.
    """
    for name, value in _given(arguments, optional, "a real number"):
        dtype = _dtype(value)
        if dtype is None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise TypeError(f"{name} must be a real number, got {brief(value)}")
        if dtype is not None and not _is_real(dtype):
            raise TypeError(f"{name} must be a real number, got {brief(value)}")
        if isinstance(value, int):
            try:
                float(value)
            except OverflowError as error:
                raise ValueError(f"{name} must be in the range of floating point") from error


def check_number(*, optional: bool = False, arrays: bool = False, **arguments: Any) -> None:
    """Raise unless every argument is one real number, or, with `arrays`, an array of them.

    Raises:
        TypeError: for what is no real number.
        ValueError: for an array with axes, or an integer that does not fit into 32 bits.
    """
    check_real(optional=optional, **arguments)
    for name, value in arguments.items():
        if value is None:
            continue
        if np.ndim(value) and not arrays:
            raise ValueError(f"{name} must be one number, got an array of shape {np.shape(value)}")
        if isinstance(value, int | np.integer) and not -(2**31) <= value < 2**31:
            raise ValueError(f"{name} must fit into 32 bits as an integer, got {brief(value)}")


def check_positive(*, optional: bool = False, arrays: bool = False, **arguments: Any) -> None:
    """Raise unless every number is > 0 (NaN is not)."""
    check_number(optional=optional, arrays=arrays, **arguments)
    for name, value in arguments.items():
        _refuse(name, "must be positive", value, lambda value: value > 0)


def check_non_negative(*, optional: bool = False, arrays: bool = False, **arguments: Any) -> None:
    """Raise unless every number is >= 0 (NaN is not)."""
    check_number(optional=optional, arrays=arrays, **arguments)
    for name, value in arguments.items():
        _refuse(name, "must not be negative", value, lambda value: value >= 0)


def check_fraction(*, optional: bool = False, arrays: bool = False, **arguments: Any) -> None:
    """Raise unless every number lies in [0, 1)."""
    check_number(optional=optional, arrays=arrays, **arguments)
    for name, value in arguments.items():
        _refuse(name, "must lie in [0, 1)", value, lambda value: (value >= 0) & (value < 1))


def check_finite(*, optional: bool = False, arrays: bool = False, **arguments: Any) -> None:
    """Raise unless every number is finite."""
    check_number(optional=optional, arrays=arrays, **arguments)
    for name, value in arguments.items():
        _refuse(name, "must be finite", value, np.isfinite)


def _refuse(name: str, wanted: str, value: Any, holds: Callable[[Any], Any]) -> None:
    """Raise ValueError where a number, or one of an array, is known not to be what is wanted."""
    if not _is_concrete(value) or np.all(fine := holds(value)):
        return
    if not np.ndim(value):
        raise ValueError(f"{name} {wanted}, got {brief(value)}")
    bad = np.argwhere(~fine)
    first, others = tuple(map(int, bad[0])), len(bad) - 1
    at = "".join(f"[{i}]" for i in first)
    more = f", and {others} more of {np.size(value)}" if others else ""
    raise ValueError(f"{name} {wanted}, got {brief(np.asarray(value)[first])} at {at}{more}")


def check_at_most(bound: Any, meaning: str = "", **arguments: Any) -> None:
    """Raise ValueError if a number exceeds `bound`, as far as both are known before tracing.

    Args:
        bound: The largest value allowed.
        meaning: What the bound is, where it is not a constant.
        **arguments: Numbers that have passed another check.
    """
    for name, value in arguments.items():
        if _is_concrete(value) and _is_concrete(bound) and np.any(value > bound):
            wanted = f"{meaning} = {brief(bound)}" if meaning else brief(bound)
            raise ValueError(f"{name} must not exceed {wanted}, got {brief(value)}")


def check_integer(*, optional: bool = False, traced: bool = False, **arguments: Any) -> None:
    """Raise unless every argument is an integer of Python or NumPy, or, with `traced`, of JAX.

    Raises:
        TypeError: for anything else; 2.0 and True are none.
        ValueError: for one that does not fit into 32 bits.
    """
    for name, value in _given(arguments, optional, "an integer"):
        if traced and isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.integer):
            continue
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise TypeError(f"{name} must be an integer, got {brief(value)}")
    check_number(optional=True, **arguments)


def check_count(*, optional: bool = False, traced: bool = False, **arguments: Any) -> None:
    """Raise unless every argument is an integer of at least 1."""
    check_integer(optional=optional, traced=traced, **arguments)
    check_positive(optional=optional, **arguments)


def check_flag(*, optional: bool = False, **arguments: Any) -> None:
    """Raise TypeError unless every argument is True or False."""
    for name, value in _given(arguments, optional, "True or False"):
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"{name} must be True or False, got {brief(value)}")


def check_inexact_dtype(*, optional: bool = False, **arguments: Any) -> None:
    """Raise TypeError unless every argument is a floating dtype, real or complex."""
    for name, value in _given(arguments, optional, "a floating dtype such as jnp.float32"):
        try:
            # An array has a dtype, and is none.
            is_array = isinstance(value, jax.Array | np.ndarray | np.generic)
            inexact = not is_array and jnp.issubdtype(jnp.dtype(value), jnp.inexact)
        except (TypeError, ValueError, SyntaxError):  # NumPy parses text as a list of formats.
            inexact = False
        if not inexact:
            raise TypeError(
                f"{name} must be a floating dtype such as jnp.float32, got {brief(value)}"
            )


def check_path(*, optional: bool = False, **arguments: Any) -> None:
    """Raise TypeError unless every argument is a path."""
    for name, value in _given(arguments, optional, "a path"):
        if not isinstance(value, str | os.PathLike):
            raise TypeError(f"{name} must be a path, got {brief(value)}")


def check_text(*, optional: bool = False, **arguments: Any) -> None:
    """Raise TypeError unless every argument is text."""
    for name, value in _given(arguments, optional, "text"):
        if not isinstance(value, str):
            raise TypeError(f"{name} must be text, got {brief(value)}")


def check_interval(name: str, ends: Any, low: float = -math.inf, high: float = math.inf) -> None:
    """Raise unless `ends` are two finite numbers in order, and within two others.

    Raises:
        TypeError: for anything but two numbers.
        ValueError: for an end that is not finite or lies outside, or a second below the first.
    """
    if not isinstance(ends, tuple | list) or len(ends) != 2:
        raise TypeError(f"{name} must be two numbers, got {brief(ends)}")
    check_finite(**{name: ends[0]})
    check_finite(**{name: ends[1]})
    if not low <= ends[0] <= ends[1] <= high:
        within = "" if (low, high) == (-math.inf, math.inf) else f" and between {low} and {high}"
        raise ValueError(f"{name} must be in order{within}, got {brief(ends)}")


def check_callable(*, optional: bool = False, **arguments: Any) -> None:
    """Raise TypeError unless every argument can be called."""
    for name, value in _given(arguments, optional, "a function"):
        if not callable(value):
            raise TypeError(f"{name} must be a function, got {brief(value)}")


def check_mapping(*, optional: bool = False, **arguments: Any) -> None:
    """Raise TypeError unless every argument is a mapping from names."""
    for name, value in _given(arguments, optional, "a mapping from names"):
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise TypeError(f"{name} must be a mapping from names, got {brief(value)}")


def check_one_of(options: tuple[Any, ...], **arguments: Any) -> None:
    """Raise ValueError unless every argument is one of `options`."""
    for name, value in arguments.items():
        if not any(type(value) is type(option) and value == option for option in options):
            listed = ", ".join(map(repr, options))
            raise ValueError(f"{name} must be one of {listed}; got {brief(value)}")


def is_key(value: Any) -> bool:
    """Whether `value` is a typed PRNG key or an array of them."""
    dtype = getattr(value, "dtype", None)
    try:
        return dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    except TypeError:  # another library's
        return False


def check_key(*, optional: bool = False, **arguments: Any) -> None:
    """Raise TypeError unless every argument is a typed PRNG key (or an array of them)."""
    for name, value in _given(arguments, optional, "a typed key such as jax.random.key(0)"):
        if not is_key(value):
            got = f"an array of {value.dtype}" if hasattr(value, "dtype") else brief(value)
            raise TypeError(f"{name} must be a typed key such as jax.random.key(0), got {got}")


def to_doubles(name: str, values: Any) -> np.ndarray:
    """Return `values` as an array in double precision.

    Raises:
        TypeError: unless they are real numbers that form an array.
    """
    try:
        # NumPy would make numbers of None, of True and of text.
        if not _is_real(np.asarray(values).dtype):
            raise TypeError(f"their dtype is {np.asarray(values).dtype}")
        with np.errstate(all="ignore"):
            return np.array(values, float)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{name} must be an array of real numbers, got {brief(values)}") from error


def to_sizes(name: str, values: Any) -> tuple[int, ...]:
    """Return `values` as a tuple of integers.

    Raises:
        TypeError: unless it is a sequence of integers.
    """
    try:
        if isinstance(values, str | bytes | Mapping | Set):
            raise TypeError("it has no order, or is text")
        sizes = tuple(values)
        for size in sizes:
            check_integer(**{name: size})
    except TypeError as error:
        raise TypeError(f"{name} must be a sequence of integers, got {brief(values)}") from error
    return tuple(map(int, sizes))


def check_real_array(
    name: str, x: Any, *, rank: int | None = None, features: int | None = None
) -> None:
    """Raise unless `x` is a real array, of this rank and with so many features on its last axis.

    Raises:
        TypeError: for what is no real array.
        ValueError: for another shape.
    """
    dtype = _dtype(x)
    if dtype is None or not hasattr(x, "shape") or not _is_real(dtype):
        raise TypeError(f"{name} must be a real array, got {brief(x)}")
    if rank is not None and len(x.shape) != rank:
        raise ValueError(f"{name} must have {rank} axes, got shape {x.shape}")
    if features is not None and x.shape[-1:] != (features,):
        raise ValueError(f"{name} must have {features} features, got shape {x.shape}")


def check_real_floating(name: str, tree: Any) -> None:
    """Raise TypeError unless every leaf of `tree` has a real floating dtype.

    Raises:
        TypeError: naming the first leaf that has not, by its path.
    """
    _check_dtypes(name, tree, jnp.floating, "a real floating")


def check_inexact(name: str, tree: Any) -> None:
    """Raise TypeError unless every leaf of `tree` has a floating dtype, real or complex.

    Raises:
        TypeError: naming the first leaf that has not, by its path.
    """
    _check_dtypes(name, tree, jnp.inexact, "a floating")


def _check_dtypes(name: str, tree: Any, wanted: Any, described: str) -> None:
    """Raise TypeError unless every leaf has a dtype of the wanted kind."""
    for path, leaf in jax.tree.leaves_with_path(tree):
        # Not result_type of everything: that takes "x", say, for the name of a dtype.
        dtype = _dtype(leaf)
        if dtype is None and isinstance(leaf, int | float | complex):
            dtype = jnp.result_type(type(leaf))
        got = brief(leaf) if dtype is None else dtype
        if dtype is None or not jnp.issubdtype(dtype, wanted):
            where = f"{name}{jax.tree_util.keystr(path)}"
            raise TypeError(f"{where} must have {described} dtype, got {got}")


def check_arrays(name: str, tree: Any) -> None:
    """Raise TypeError unless every leaf of `tree` is an array (or tracer) of floating dtype.

    Raises:
        TypeError: naming the first leaf that is none, by its path.
    """
    check_inexact(name, tree)
    for path, leaf in jax.tree.leaves_with_path(tree):
        if not hasattr(leaf, "shape"):
            where = f"{name}{jax.tree_util.keystr(path)}"
            raise TypeError(
                f"{where} must be an array, got {brief(leaf)}; jnp.asarray makes it one"
            )


def check_matrix(name: str, value: Any) -> None:
    """Raise unless `value` is a floating array with two axes.

    Raises:
        TypeError: for what is no floating array.
        ValueError: for an array of other rank.
    """
    if jax.tree.structure(value) != jax.tree.structure(0):
        raise TypeError(f"{name} must be a matrix, got {brief(value)}")
    check_arrays(name, value)
    if value.ndim != 2:
        raise ValueError(f"{name} must be a matrix, got shape {value.shape}")


def check_tangent(name: str, tree: Any, other_name: str, other: Any) -> None:
    """Raise unless `tree` has the structure, the shapes and the dtypes of `other`.

    Raises:
        TypeError: if a dtype differs.
        ValueError: if the structure or a shape differs.
    """
    check_real_floating(name, tree)
    check_like(name, tree, other_name, other)
    leaves = zip(jax.tree.leaves_with_path(tree), jax.tree.leaves(other), strict=True)
    for (path, leaf), like in leaves:
        if jnp.result_type(leaf) != jnp.result_type(like):
            raise TypeError(
                f"{name}{jax.tree_util.keystr(path)} must have the dtype of {other_name}, "
                f"{jnp.result_type(like)}, got {jnp.result_type(leaf)}"
            )


def check_like(name: str, tree: Any, other_name: str, other: Any) -> None:
    """Raise ValueError unless `tree` has the structure and the shapes of `other`.

    Raises:
        ValueError: naming the first leaf that differs, by its path.
    """
    structure, wanted = jax.tree.structure(tree), jax.tree.structure(other)
    if structure != wanted:
        raise ValueError(
            f"{name} must have the structure of {other_name}, {_apart(tree, other, other_name)}"
        )
    leaves = zip(jax.tree.leaves_with_path(tree), jax.tree.leaves(other), strict=True)
    for (path, leaf), like in leaves:
        if jnp.shape(leaf) != jnp.shape(like):
            where = jax.tree_util.keystr(path)
            raise ValueError(
                f"{name}{where} must have the shape {jnp.shape(like)} of {other_name}{where}, "
                f"got {jnp.shape(leaf)}"
            )


def _apart(tree: Any, other: Any, other_name: str) -> str:
    """Return in which leaves two trees of another structure differ, in words."""
    structure, wanted = jax.tree.structure(tree), jax.tree.structure(other)
    if max(len(str(structure)), len(str(wanted))) <= 80:
        return f"{wanted}, got {structure}"
    own, theirs = (
        {jax.tree_util.keystr(path): None for path, _ in jax.tree.leaves_with_path(one)}
        for one in (tree, other)
    )
    missing = [path for path in theirs if path not in own]
    beyond = [path for path in own if path not in theirs]
    told = [f"got nothing at {_first_of(missing)}"] if missing else []
    if beyond:
        told.append(f"got something at {_first_of(beyond)}, where {other_name} has nothing")
    return " and ".join(told) or "got other containers (a tuple for a list, say) with its leaves"


def _first_of(paths: list[str]) -> str:
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"


def check_objective(name: str, fun: Any, params: Any) -> None:
    """Raise unless `fun` maps `params` to one real floating number; nothing is computed.

    Raises:
        TypeError: for something that cannot be called, or an output of another shape or dtype.
    """
    if not callable(fun):
        raise TypeError(f"{name} must be a function of the parameters, got {brief(fun)}")
    try:
        out = jax.eval_shape(fun, params)
    except TypeError as error:
        if "not a valid JAX type" not in str(error):
            raise  # the objective's own
        raise TypeError(f"{name} must return one real number (a floating scalar)") from error
    check_value(name, out)


def check_value(name: str, out: Any) -> None:
    """Raise TypeError unless `out`, what the objective `name` returned, is one floating number."""
    scalar = getattr(out, "shape", None) == ()
    if not scalar or not jnp.issubdtype(out.dtype, jnp.floating):
        raise TypeError(f"{name} must return one real number (a floating scalar), got {brief(out)}")


def check_not_empty(name: str, tree: Any) -> None:
    """Raise ValueError if `tree` holds no parameter at all."""
    if not any(math.prod(np.shape(leaf)) for leaf in jax.tree.leaves(tree)):
        raise ValueError(f"{name} must hold at least one parameter, got {brief(tree)}")


def check_batch(name: str, tree: Any) -> int:
    """Raise ValueError unless all leaves of `tree` have one leading axis in common.

    Returns:
        Its length.
    """
    lengths = {}
    for path, leaf in jax.tree.leaves_with_path(tree):
        where = f"{name}{jax.tree_util.keystr(path)}"
        if jnp.ndim(leaf) == 0:
            raise ValueError(
                f"{where} must have the runs as its leading axis, got a scalar"
                + _hint_of_batch(name, tree)
            )
        lengths[where] = jnp.shape(leaf)[0]
    if len(set(lengths.values())) != 1:
        listed = ", ".join(f"{where}: {length}" for where, length in lengths.items())
        raise ValueError(f"{name} must agree on the number of runs, got {listed}")
    return next(iter(lengths.values()))


def _hint_of_batch(name: str, tree: Any) -> str:
    """Return how to make a batch of what seems to be something else, or nothing."""
    leaves = jax.tree.leaves(tree)
    if isinstance(tree, list | tuple) and not any(hasattr(leaf, "shape") for leaf in leaves):
        return f": of a list of numbers jnp.array({name}) makes one"
    if all(jnp.ndim(leaf) == 0 for leaf in leaves):
        return f": of one point jax.tree.map(lambda leaf: leaf[None], {name}) makes a batch"
    return ""


@contextlib.contextmanager
def hint_of_batch(name: str, tree: Any) -> Iterator[None]:
    """Add to an error of a function of one of a batch what the function got of it.

    Args:
        name: What the caller calls the batch.
        tree: The batch: a tree with the runs as leading axis.
    """
    try:
        yield
    except Exception as error:
        leaves = jax.tree.leaves(tree)
        runs, shape = jnp.shape(leaves[0])[0], jnp.shape(leaves[0])[1:]
        got = f"a tree of {len(leaves)} arrays, the first" if len(leaves) > 1 else "an array"
        note = (
            f"{name} has the runs as its leading axis, here {runs} of them: the function got "
            f"{got} of shape {shape}."
        )
        if isinstance(tree, list | tuple):
            note += f" Of a list of points jnp.stack({name}) makes a batch."
        elif shape == ():
            one = "" if hasattr(tree, "shape") else "jax.tree.map(lambda leaf: leaf[None], "
            one += f"{name})" if one else f"{name}[None]"
            note += f" Of one point {one} makes a batch of one run."
        error.add_note(note)
        raise


def is_traced(tree: Any) -> bool:
    """Return whether any leaf is traced by a surrounding transformation."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))


def is_tracing() -> bool:
    """Return whether this runs within a function that a surrounding transformation traces."""
    # A number made while a program is traced is traced, too.
    return is_traced(jnp.zeros(()))


def _given(arguments: dict[str, Any], optional: bool, wanted: str) -> list[tuple[str, Any]]:
    """Return the arguments that are not None; raise TypeError if there is one that must not be."""
    for name, value in arguments.items():
        if value is None and not optional:
            raise TypeError(f"{name} must be {wanted}, got None")
    return [(name, value) for name, value in arguments.items() if value is not None]


def _dtype(value: Any) -> Any:
    """Return the dtype of an array or scalar; None of what JAX does not take for one."""
    dtype = getattr(value, "dtype", None)
    try:
        return None if dtype is None else jnp.dtype(dtype)
    except TypeError:  # a typed key's, or another library's
        return None


def _is_real(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)


def _is_concrete(value: Any) -> bool:
    """Whether `value` is a real number or an array of them that can be judged before tracing."""
    if isinstance(value, np.generic | np.ndarray):
        return _is_real(value.dtype)
    return isinstance(value, int | float) and not isinstance(value, bool)
