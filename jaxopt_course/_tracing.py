"""A function as what it computes: its equations, by which programs are told apart, and its arrays.

JAX tells compiled programs apart by the identity of the Python functions that they were traced
from. That is wrong twice: a function computes something else once a global, an attribute or a NumPy
array that it looks at has changed, and a function that was defined anew computes what it did
before. Here a function is traced at every call, into equations and the arrays that it closes over:

    traced = trace("fun", fun, x)        # a pytree; its leaves are the arrays
    jax.jit(lambda traced, x: traced(x))(traced, x)

Equal equations (see `_equations`) make equal pytrees, so that what is compiled for one function
serves the other, with the other's arrays as arguments.

A function is traced twice: if the traces differ, it draws random numbers or counts its calls, and
is refused. Two things save time. Where an earlier call found the same equations and arrays twice,
the second trace is omitted. And where a function's code and closure say all that it computes, its
trace is kept, and looked up in microseconds where tracing takes milliseconds.
"""

import functools
import types
import warnings
import weakref
from collections.abc import Callable, Hashable, Iterator
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from jaxopt_course._brief import brief
from jaxopt_course._checks import (
    check_not_empty,
    check_real_floating,
    check_value,
    is_traced,
)
from jaxopt_course._coupling import coupled_examples
from jaxopt_course._equations import (
    Equations,
    digest_of,
    fingerprint,
    has_branches,
    is_call,
    largest_array,
    on_host,
)
from jaxopt_course._platforms import target
from jaxopt_course._refused import check_accepted

_REMEMBERED = 128
"""How many entries `_traces` and `_agreed` have at most."""
_SMALL = 2**16
"""Bytes of an array that is compared by its content."""

_SETTINGS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_numpy_dtype_promotion",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
)


@flax.struct.dataclass(eq=False)
class Traced:
    """A traced function: a pytree that can be called.

    Attributes:
        equations: What it computes, without the arrays.
        constants: The arrays that it closes over.
    """

    equations: Equations = flax.struct.field(pytree_node=False)
    constants: list[Any]

    def __call__(self, *arguments: Any) -> Any:
        """Call the function, with arguments of the structure, shapes and dtypes of the trace."""
        leaves, tree = jax.tree.flatten(arguments)
        equations, constants = self.equations, self.constants
        if tree != equations.in_tree:
            raise TypeError(f"arguments must have the structure {equations.in_tree}, got {tree}")
        if len(equations.jaxpr.constvars) != len(constants):
            leaves, constants = [*constants, *leaves], ()
        outputs = jax.core.eval_jaxpr(equations.jaxpr, constants, *leaves)
        return jax.tree.unflatten(equations.out_tree, outputs)

    def arguments(self) -> tuple[Any, ...]:
        """Shapes and dtypes of the arguments."""
        count = self.equations.in_tree.num_leaves
        invars = self.equations.jaxpr.invars
        shapes = [
            jax.ShapeDtypeStruct(atom.aval.shape, atom.aval.dtype)
            for atom in invars[len(invars) - count :]
        ]
        return jax.tree.unflatten(self.equations.in_tree, shapes)

    def result(self) -> Any:
        """Shapes and dtypes of the result."""
        shapes = [
            jax.ShapeDtypeStruct(atom.aval.shape, atom.aval.dtype)
            for atom in self.equations.jaxpr.outvars
        ]
        return jax.tree.unflatten(self.equations.out_tree, shapes)

    def largest_array(self) -> int:
        """Bytes of the largest array among constants, intermediate values and results."""
        held = (jnp.size(constant) * constant.dtype.itemsize for constant in self.constants)
        return max(largest_array(self.equations.jaxpr), *held, 0)

    def depends_on(self, argument: int) -> bool:
        """Whether the equations use the argument of this number."""
        jaxpr = self.equations.jaxpr
        sizes = [child.num_leaves for child in self.equations.in_tree.children()]
        begin = len(jaxpr.invars) - sum(sizes[argument:])
        own = jaxpr.invars[begin : begin + sizes[argument]]
        used = [atom for equation in jaxpr.eqns for atom in equation.invars] + [*jaxpr.outvars]
        return any(atom is variable for atom in used for variable in own)

    def has_branches(self) -> bool:
        """Whether what is computed depends on a condition."""
        return has_branches(self.equations.jaxpr)

    def digest(self) -> str:
        """A digest of equations and arrays, the same in every process."""
        return digest_of((self.equations.digest, list(self.constants)))


def trace(
    name: str,
    fun: Callable[..., Any],
    *examples: Any,
    known: str | None = None,
    unless: Callable[[], bool] = bool,
    of: tuple[Any, ...] = (),
    differentiated: bool = False,
) -> Traced:
    """Trace a function twice, and refuse it if the traces differ.

    Args:
        name: The function's name in error messages.
        fun: The function.
        *examples: Arguments, or what has their shapes and dtypes.
        known: A text that says all that the function computes; by default its `fingerprint`.
        unless: Returns, after the traces, whether `known` did not say all.
        of: Where `fun` is a closure of this package, the functions of users that it calls.
        differentiated: Whether its derivatives will be computed.

    Returns:
        The traced function.

    Raises:
        ValueError: if the two traces differ: it draws, or counts; or for what the compiler of the
            platform refuses.

    Example:
        >>> one, other = (trace("fun", lambda x, a=a: a * x, 1.0) for a in np.eye(2))
        >>> jax.tree.structure(one) == jax.tree.structure(other), other(1.0).tolist()
        (True, [0.0, 1.0])
    """
    examples = jax.tree.map(shape_of, examples)
    held = _known(fun, examples, known)
    if held is not None and (found := _traces.get(held)) is not None:
        return found
    source = _source_of_closure(fun, of, examples) if of else _source_of(fun)
    first = trace_once(fun, *examples)
    check_accepted(name, first.equations.jaxpr, differentiated=differentiated)
    if not _agreed_before(source, first):
        check_same(name, first, trace_once(fun, *examples))
        _keep_agreed(source, first)
    if held is not None and not unless():
        _keep(_traces, held, first)
    return first


def trace_objective(
    name: str,
    fun: Callable[[Any], Any],
    x: Any,
    at: Callable[[], Any] | None = None,
    *,
    differentiated: bool = True,
) -> Traced:
    """Trace an objective twice, and refuse it if its evaluations differ.

    Args:
        name: What the caller calls it.
        fun: From parameters to one real number.
        x: Parameters, or what has their shapes and dtypes.
        at: Returns parameters at which to evaluate it where the traces do not tell whether it is
            deterministic, by default `x`.
        differentiated: Whether its derivatives will be computed.

    Returns:
        The traced objective.

    Raises:
        TypeError: for something that cannot be called, or an output of another shape or dtype.
        ValueError: if the traces differ, or, where it calls back to the host, two evaluations.
            Within a function that is traced itself, nothing is evaluated. Or for what the
            compiler of the platform refuses.

    Example:
        >>> trace_objective("fun", lambda x: x * np.random.default_rng().normal(), 1.0)
        Traceback (most recent call last):
        ...
        ValueError: fun must be deterministic, but two evaluations at x gave ...
    """
    if isinstance(fun, Traced):
        return fun
    if not callable(fun):
        raise TypeError(f"{name} must be a function of the parameters, got {brief(fun)}")
    examples = (jax.tree.map(shape_of, x),)
    known = _known(fun, examples)
    if known is not None and (found := _traces.get(known)) is not None:
        return found
    source = _source_of(fun)
    try:
        first = trace_once(fun, *examples)
    except TypeError as error:
        if "not a valid JAX type" not in str(error):
            raise  # the objective's own
        raise TypeError(f"{name} must return one real number (a floating scalar)") from error
    check_value(name, first.result())
    check_accepted(name, first.equations.jaxpr, differentiated=differentiated)
    if not _agreed_before(source, first):
        second = trace_once(fun, *examples)
        _check_evaluations(name, fun, first, second, (lambda: x) if at is None else at)
        _keep_agreed(source, first)
    if known is not None:
        _keep(_traces, known, first)
    return first


def _check_evaluations(
    name: str, fun: Callable[[Any], Any], first: Traced, second: Traced, at: Callable[[], Any]
) -> None:
    """Raise ValueError if an objective is not deterministic, by its traces or by two values."""
    differ = difference(first, second)
    if differ is None and not first.equations.asks_host:
        return
    x = at()
    if is_traced((x, first)):
        if differ is not None:
            check_same(name, first, second)
        return
    values = [float(value) for value in ((first(x), second(x)) if differ else (fun(x), fun(x)))]
    # Sums on an accelerator may be taken in another order: that is no randomness.
    rounding = 64 * float(jnp.finfo(first.result().dtype).eps)
    if not np.allclose(*values, rtol=rounding, atol=0, equal_nan=True):
        raise ValueError(
            f"{name} must be deterministic, but two evaluations at x gave {values[0]} and "
            f"{values[1]}: let it draw from a fixed key, or pass it what was drawn"
        )
    if differ is not None:
        check_same(name, first, second)


def inspect_objective(name: str, fun: Callable[[Any], jax.Array], x: Any) -> bool:
    """Check an objective and a point at which its curvature is to be computed.

    Args:
        name: What the caller calls `fun`.
        fun: The objective.
        x: Its parameters.

    Returns:
        Whether a surrounding transformation traces `x` or what `fun` closes over.

    Raises:
        TypeError: if `fun` does not return a real scalar or a leaf of `x` is not real floating.
        ValueError: if `x` is empty, or two evaluations of `fun` at `x` differ.

    Warns:
        UserWarning: if `fun` normalizes by the statistics of its batch (flax's BatchNorm, or ours).

    Example:
        >>> inspect_objective("fun", lambda x: x**2, jnp.ones(2))
        Traceback (most recent call last):
        ...
        TypeError: fun must return one real number ...
    """
    check_not_empty("x", x)
    check_real_floating("x", x)
    if isinstance(fun, Traced):  # It was inspected when it was traced.
        return is_traced((x, fun))
    traced = trace_objective(name, fun, x)
    warn_of_batch_statistics(name, traced)
    return is_traced((x, traced))


def warn_of_batch_statistics(name: str, traced: Traced, stacklevel: int = 4) -> None:
    """Warn if the value of one example depends on another, as under batch normalization."""
    equations = traced.equations
    shape = coupled_examples(equations.jaxpr, equations.in_tree.num_leaves)
    if shape is not None:
        warnings.warn(
            f"{name} normalizes by the statistics of its batch, or couples its examples in another "
            f"way (those along the first axis of an array of shape {shape}): its curvature is that "
            "of this batch as a whole. If the model as it is used is meant, evaluate it by its "
            "running averages (train=False, use_running_average=True, equinox.nn.inference_mode, "
            "is_training=False).",
            stacklevel=stacklevel,
        )


def trace_once(fun: Callable[..., Any], *examples: Any) -> Traced:
    """A single trace of a function; `trace` makes and compares two."""
    # The lambda is new in each call: of a function that JAX has traced it returns the old trace.
    closed, out = jax.make_jaxpr(lambda *arguments: fun(*arguments), return_shape=True)(*examples)
    leaves, in_tree = jax.tree.flatten(examples)
    jaxpr, constants = closed.jaxpr, list(closed.consts)
    if inner := list(_constants_of_calls(jaxpr)):
        # Arrays that jitted functions within it close over become constants as well.
        constants += inner
        closed = jax.make_jaxpr(functools.partial(_evaluate, jaxpr))(constants, leaves)
        jaxpr = closed.jaxpr
    return Traced(Equations(jaxpr, in_tree, jax.tree.structure(out)), list(map(_array, constants)))


def check_same(name: str, first: Traced, second: Traced) -> None:
    """Raise ValueError if two traces of a function differ in what they compute."""
    if (values := difference(first, second)) is not None:
        raise ValueError(
            f"{name} must be deterministic, but two traces of it have {values[0]} and {values[1]}: "
            "let it draw from a fixed key, or pass it what was drawn"
        )


def difference(first: Traced, second: Traced) -> tuple[str, str] | None:
    """The first equations, or numbers in arrays, in which two traces differ; None if in none."""
    if first.equations.digest != second.equations.digest:
        ones, others = first.equations.parts, second.equations.parts
        both = zip(ones, others, strict=False)
        return next((pair for pair in both if pair[0] != pair[1]), (ones[-1], others[-1]))
    for one, other in zip(first.constants, second.constants, strict=True):
        if one is other or is_traced((one, other)):
            continue
        one, other = on_host(one), on_host(other)
        if one.tobytes() != other.tobytes():
            place = np.flatnonzero(
                np.frombuffer(one.tobytes(), np.uint8) != np.frombuffer(other.tobytes(), np.uint8)
            )[0] // max(one.dtype.itemsize, 1)
            return str(one.flat[place]), str(other.flat[place])
    return None


def shape_of(leaf: Any) -> jax.ShapeDtypeStruct:
    """Shape and dtype of an array, without its weak type."""
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return leaf
    dtype = getattr(leaf, "dtype", None) or jnp.result_type(leaf)
    if isinstance(leaf, np.ndarray | np.generic):
        # Without x64 JAX makes float32 of NumPy's float64.
        dtype = jax.dtypes.canonicalize_dtype(dtype)
    return jax.ShapeDtypeStruct(jnp.shape(leaf), dtype)


def row_of(leaf: Any) -> jax.ShapeDtypeStruct:
    """Shape and dtype of one row of an array, without its weak type."""
    whole = shape_of(leaf)
    return jax.ShapeDtypeStruct(whole.shape[1:], whole.dtype)


def settings() -> dict[str, Any]:
    """The settings of JAX that influence what a function computes."""
    return {name: getattr(jax.config, name, None) for name in _SETTINGS}


def _array(constant: Any) -> Any:
    """The constant as an array; NumPy's is copied, as its owner may write into it later."""
    return constant if isinstance(constant, jax.Array) else np.array(constant)


# Arrays of jitted functions.


def _constants_of_calls(jaxpr: Any) -> Iterator[Any]:
    """Yield the arrays that jitted functions within a jaxpr close over, in order."""
    for equation in jaxpr.eqns:
        if is_call(equation):
            inner = equation.params["jaxpr"]
            yield from getattr(inner, "consts", ())
            yield from _constants_of_calls(inner.jaxpr)


def _evaluate(jaxpr: Any, constants: list[Any], arguments: list[Any]) -> list[Any]:
    """Evaluate a jaxpr; `constants` are its own, then those of `_constants_of_calls`."""
    own = len(jaxpr.constvars)
    values = dict(
        zip([*jaxpr.constvars, *jaxpr.invars], [*constants[:own], *arguments], strict=True)
    )
    rest = constants[own:]

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        operands = [read(atom) for atom in equation.invars]
        if is_call(equation) and (inner := _held(equation)):
            taken, rest = rest[: len(inner)], rest[len(inner) :]
            outputs = _evaluate(equation.params["jaxpr"].jaxpr, taken, operands)
        else:
            parameters = equation.primitive.get_bind_params(equation.params)
            outputs = equation.primitive.bind(*operands, **parameters)
            outputs = outputs if equation.primitive.multiple_results else [outputs]
        values |= zip(equation.outvars, outputs, strict=True)
    return [read(atom) for atom in jaxpr.outvars]


def _held(equation: Any) -> list[Any]:
    """The arrays that the jitted function called by an equation closes over, inner ones too."""
    inner = equation.params["jaxpr"]
    return [*getattr(inner, "consts", ()), *_constants_of_calls(inner.jaxpr)]


def _known(fun: Any, examples: Any, said: str | None = None) -> Hashable | None:
    """A key that determines what a function computes of such arguments; None if there is none.

    Args:
        fun: The function.
        examples: The arguments.
        said: A text that says what it computes; by default its `fingerprint`.
    """
    held = fingerprint(fun) if said is None else f"{fun.__qualname__}: {said}"
    if held is None:
        return None
    leaves, tree = jax.tree.flatten(examples)
    shapes = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
    return held, tree, shapes, tuple(settings().values()), target()


_traces: dict[Hashable, Traced] = {}
"""Traces by the key of `_known`: those of functions of known packages, such as optax's."""
_agreed: dict[Hashable, tuple[Equations, list[Any]]] = {}
"""By a function's code, what two traces of it agreed on: equations, and marks of the arrays.

A trace is never taken from here: what a call has traced is compared with it. Large arrays are
marked by weak references, which keep none alive.
"""


def _keep(kept: dict[Hashable, Any], name: Hashable, value: Any) -> None:
    """Put an entry in, and drop the oldest one if there are too many."""
    kept[name] = value
    if len(kept) > _REMEMBERED:
        del kept[next(iter(kept))]


def _agreed_before(source: "_Source | None", traced: Traced) -> bool:
    """Whether code like this had the same equations and arrays when it was traced twice.

    Arrays that the function has held since before it was traced were not drawn there.
    """
    found = None if source is None else _agreed.get(source.code)
    if found is None or source is None or traced.equations.asks_host:
        return False
    equations, marks = found
    if equations != traced.equations or len(marks) != len(traced.constants):
        return False
    return all(
        any(array is held for held in source.arrays) or _is_marked(mark, array)
        for mark, array in zip(marks, traced.constants, strict=True)
    )


def _keep_agreed(source: "_Source | None", traced: Traced) -> None:
    """Keep what two traces agreed on, unless a surrounding program traces its arrays."""
    if source is not None and not is_traced(traced.constants):
        _keep(_agreed, source.code, (traced.equations, [*map(_mark, traced.constants)]))


class _Source(NamedTuple):
    """The code and arrays that a function consists of, as far as they are seen without tracing.

    Attributes:
        code: The function's code, and what it holds (closure, defaults) besides arrays.
        arrays: The arrays of JAX that it holds. NumPy's are not among them: they may be written to.
    """

    code: Hashable
    arrays: list[jax.Array]


def _source_of(fun: Any) -> _Source | None:
    """The source of a function of a user; None for others, and for closures of this package.

    The latter call functions of users, of which their own code says nothing.
    """
    held: list[Any] = []
    while isinstance(fun, functools.partial | types.MethodType):
        if isinstance(fun, types.MethodType):
            held, fun = [*held, fun.__self__], fun.__func__
        else:
            held, fun = [*held, *fun.args, *fun.keywords.values()], fun.func
    if not isinstance(fun, types.FunctionType):
        return None
    if fun.__globals__.get("__name__", "").partition(".")[0] == "jaxopt_course":
        return None
    try:
        held += [cell.cell_contents for cell in fun.__closure__ or ()]
    except ValueError:  # A variable that the function closes over is not assigned yet.
        return None
    held += [*(fun.__defaults__ or ()), *(fun.__kwdefaults__ or {}).values()]
    arrays = [one for one in held if isinstance(one, jax.Array) and not is_traced(one)]
    return _Source((fun.__code__, tuple(map(_name_of, held))), arrays)


def _source_of_closure(fun: Any, of: tuple[Any, ...], examples: Any) -> _Source:
    """The source of a closure of this package: its code, and the sources of what users wrote.

    Shapes of the arguments are part of it, since one closure is traced for several batch sizes.
    """
    sources = [(one, _source_of(one)) for one in of]
    codes = [
        fingerprint(one) or _name_of(one) if source is None else source.code
        for one, source in sources
    ]
    arrays = [array for _, source in sources if source is not None for array in source.arrays]
    shapes = tuple((leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(examples))
    return _Source((fun.__code__, shapes, *codes), arrays)


def _name_of(held: Any) -> Hashable:
    """A number or a text as it is, and of any other object the identity."""
    if hasattr(held, "dtype"):
        return None  # An array is compared by its content.
    return held if isinstance(held, bool | int | float | str | None) else id(held)


def _mark(array: Any) -> Any:
    """What an array is recognized by: its content, or a weak reference to it if it is large."""
    if array.nbytes <= _SMALL:
        return _content(array)
    return weakref.ref(array) if isinstance(array, jax.Array) else None


def _is_marked(mark: Any, array: Any) -> bool:
    """Whether an array is the one that a mark is of, or has the same content."""
    if is_traced(array):
        return False
    if array.nbytes <= _SMALL:
        return mark == _content(array)
    return isinstance(mark, weakref.ref) and mark() is array


def _content(array: Any) -> tuple[str, tuple[int, ...], bytes]:
    return str(array.dtype), array.shape, on_host(array).tobytes()
