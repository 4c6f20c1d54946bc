"""Checks of arguments at trace time, so that a mistake is named where it is made.

Of numbers only those of Python (and NumPy) are judged by their value. A traced one, as
`optax.inject_hyperparams`, `vmap` over a hyperparameter or a schedule produce, has no value to look
at yet, and an array may hold several: of these the dtype is checked, the value passes unseen.
"""

import numbers
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def is_concrete_number(value: Any) -> bool:
    """Whether `value` is a number that can be judged before tracing."""
    if isinstance(value, np.generic):  # bfloat16 is one that NumPy does not count as a number
        return jnp.issubdtype(value.dtype, jnp.number)
    return isinstance(value, numbers.Number) and not isinstance(value, bool)


def check_real(**arguments: Any) -> None:
    """Raise unless every argument given by name is a real number, or a real array or tracer.

    Raises:
        TypeError: for anything else; True and False, text and complex numbers are no real numbers.
        ValueError: for an integer beyond the range of floating-point numbers.
    """
    for name, value in arguments.items():
        dtype = getattr(value, "dtype", None)
        if dtype is None:
            real = isinstance(value, numbers.Real) and not isinstance(value, bool)
        else:
            real = jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)
        if not real:
            raise TypeError(f"{name} must be a real number, got {value!r}")
        if isinstance(value, numbers.Real):
            try:
                float(value)
            except OverflowError as error:
                raise ValueError(f"{name} must be in the range of floating point") from error


def check_number(**arguments: Any) -> None:
    """Raise unless every argument given by name is one real number, an array of one, or None.

    Raises:
        TypeError: for what is no real number.
        ValueError: for an array with axes, or an integer that does not fit into 32 bits.
    """
    for name, value in arguments.items():
        if value is None:
            continue
        check_real(**{name: value})
        if np.ndim(value):
            raise ValueError(f"{name} must be one number, got an array of shape {np.shape(value)}")
        if isinstance(value, int) and not -(2**31) <= value < 2**31:
            raise ValueError(f"{name} must fit into 32 bits as an integer, got {value}")


def check_positive(**arguments: Any) -> None:
    """Raise unless every number given by name is > 0 (NaN is not); None is an argument left out."""
    check_number(**arguments)
    for name, value in arguments.items():
        if is_concrete_number(value) and not value > 0:
            raise ValueError(f"{name} must be positive, got {value}")


def check_non_negative(**arguments: Any) -> None:
    """Raise unless every number given by name is >= 0 (NaN is not); None is one left out."""
    check_number(**arguments)
    for name, value in arguments.items():
        if is_concrete_number(value) and not value >= 0:
            raise ValueError(f"{name} must not be negative, got {value}")


def check_fraction(**arguments: Any) -> None:
    """Raise unless every number given by name lies in [0, 1); None is an argument left out."""
    check_number(**arguments)
    for name, value in arguments.items():
        if is_concrete_number(value) and not 0 <= value < 1:
            raise ValueError(f"{name} must lie in [0, 1), got {value}")


def check_integer(**arguments: Any) -> None:
    """Raise TypeError unless every argument given by name is an integer or None."""
    for name, value in arguments.items():
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, (int, np.integer))
        ):
            raise TypeError(f"{name} must be an integer, got {value!r}")


def check_inexact_dtype(**arguments: Any) -> None:
    """Raise TypeError unless every argument given by name is None or an inexact dtype."""
    for name, value in arguments.items():
        try:
            inexact = value is None or jnp.issubdtype(jnp.dtype(value), jnp.inexact)
        except TypeError:
            inexact = False
        if not inexact:
            raise TypeError(f"{name} must be a floating dtype such as jnp.float32, got {value!r}")


def check_path(name: str, value: Any) -> None:
    """Raise TypeError unless `value` is a path or None."""
    if value is not None and not isinstance(value, str | os.PathLike):
        raise TypeError(f"{name} must be a path, got {value!r}")


def check_callable(**arguments: Any) -> None:
    """Raise TypeError unless every argument given by name can be called, or is None."""
    for name, value in arguments.items():
        if value is not None and not callable(value):
            raise TypeError(f"{name} must be a function, got {value!r}")


def check_one_of(name: str, value: Any, options: tuple[Any, ...]) -> None:
    """Raise ValueError unless `value` is one of `options`."""
    if not any(type(value) is type(option) and value == option for option in options):
        listed = ", ".join(map(repr, options))
        raise ValueError(f"{name} must be one of {listed}; got {value!r}")


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
    for path, leaf in jax.tree.leaves_with_path(tree):
        # Not result_type of everything: that takes "x", say, for the name of a dtype.
        dtype = getattr(leaf, "dtype", None)
        if dtype is None and isinstance(leaf, numbers.Number):
            dtype = jnp.result_type(type(leaf))
        got = repr(leaf) if dtype is None else dtype
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
            raise TypeError(f"{where} must be an array, got {leaf!r}; jnp.asarray makes it one")


def check_matrix(name: str, value: Any) -> None:
    """Raise unless `value` is a floating array with two axes.

    Raises:
        TypeError: for what is no floating array.
        ValueError: for an array of other rank.
    """
    if jax.tree.structure(value) != jax.tree.structure(0):
        raise TypeError(f"{name} must be a matrix, got {value!r}")
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
            f"{name} must have the structure of {other_name}, {wanted}, got {structure}"
        )
    leaves = zip(jax.tree.leaves_with_path(tree), jax.tree.leaves(other), strict=True)
    for (path, leaf), like in leaves:
        if jnp.shape(leaf) != jnp.shape(like):
            where = jax.tree_util.keystr(path)
            raise ValueError(
                f"{name}{where} must have the shape {jnp.shape(like)} of {other_name}{where}, "
                f"got {jnp.shape(leaf)}"
            )


def is_key(value: Any) -> bool:
    """Return whether `value` is a typed PRNG key or an array of them."""
    dtype = getattr(value, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)


def check_key(name: str, key: Any) -> None:
    """Raise TypeError unless `key` is a typed PRNG key (or an array of them)."""
    if not is_key(key):
        got = f"an array of {key.dtype}" if hasattr(key, "dtype") else repr(key)
        raise TypeError(f"{name} must be a typed key such as jax.random.key(0), got {got}")


def check_objective(name: str, fun: Any, params: Any) -> None:
    """Raise unless `fun` maps `params` to one real floating number; nothing is computed.

    Raises:
        TypeError: for something that cannot be called, or an output of another shape or dtype.
    """
    if not callable(fun):
        raise TypeError(f"{name} must be a function of the parameters, got {fun!r}")
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
        raise TypeError(f"{name} must return one real number (a floating scalar), got {out}")


def check_not_empty(name: str, tree: Any) -> None:
    """Raise ValueError if `tree` holds no parameter at all."""
    if sum(jnp.size(leaf) for leaf in jax.tree.leaves(tree)) == 0:
        raise ValueError(f"{name} must hold at least one parameter, got {tree!r}")


def check_batch(name: str, tree: Any) -> int:
    """Raise ValueError unless all leaves of `tree` have one leading axis in common.

    Returns:
        Its length.
    """
    lengths = {}
    for path, leaf in jax.tree.leaves_with_path(tree):
        where = f"{name}{jax.tree_util.keystr(path)}"
        if jnp.ndim(leaf) == 0:
            raise ValueError(f"{where} must have the runs as its leading axis, got a scalar")
        lengths[where] = jnp.shape(leaf)[0]
    if len(set(lengths.values())) != 1:
        listed = ", ".join(f"{where}: {length}" for where, length in lengths.items())
        raise ValueError(f"{name} must agree on the number of runs, got {listed}")
    return next(iter(lengths.values()))


def is_traced(tree: Any) -> bool:
    """Return whether any leaf is traced by a surrounding transformation."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))
