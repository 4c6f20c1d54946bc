"""A function as what it computes: its equations, by which programs are told apart, and its arrays.

JAX tells compiled programs apart by the identity of the Python functions that they were traced
from. That is wrong twice: a function computes something else once a global, an attribute or a NumPy
array that it looks at has changed, and a function that was defined anew computes what it did
before. Here a function is traced at every call, into equations and the arrays that it closes over:

    traced = trace("fun", fun, x)        # a pytree; its leaves are the arrays
    jax.jit(lambda traced, x: traced(x))(traced, x)

Equal equations make equal pytrees, so that whatever is compiled for one serves the other, with the
other's arrays as arguments. Two things in equations cannot be read: rules of differentiation, which
are Python functions, and objects of which nothing is known (callbacks, say). The former are traced
for the comparison, the latter compared by `==`: two that may differ never share a program.

Code of known packages alone (an optax optimizer with numbers) need not be traced again: what its
closures hold says what it computes. That takes microseconds where tracing takes milliseconds.
"""

import enum
import functools
import hashlib
import types
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal, jaxprs_in_params

from jaxopt_course._checks import check_value, is_key, is_traced

_KNOWN = ("jax", "optax", "jaxopt_course")
"""Packages whose functions depend on nothing but their arguments and closures."""

_ORDERS = 4
"""Derivatives that are taken of an objective at most, so deep are rules of rules compared."""

_REMEMBERED = 128
"""Functions of known packages whose traces are kept."""

_SETTINGS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_numpy_dtype_promotion",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
)


class _UnknownError(Exception):
    """Something can be told from others by its identity only."""


class Equations:
    """The equations of a traced function, without its arrays.

    Attributes:
        jaxpr: The equations. The arrays are its constants, or its first arguments.
        in_tree: Structure of the arguments, a tuple.
        out_tree: Structure of the result.
        digest: Of the text of the equations: the same in every process.
    """

    def __init__(self, jaxpr: Any, in_tree: Any, out_tree: Any) -> None:
        """Write the text of the equations."""
        self.jaxpr, self.in_tree, self.out_tree = jaxpr, in_tree, out_tree
        text = _Text()
        text.write_jaxpr(jaxpr)
        text.parts.append(f"{in_tree}{out_tree}")
        self.parts = text.parts
        self.digest = hashlib.sha256("".join(text.parts).encode()).hexdigest()
        self.comparable = text.comparable
        # Structures may hold what does not print; they are compared as they are.
        self._others = (*text.others, in_tree, out_tree)
        self._hash = hash(self.digest)

    def __eq__(self, other: object) -> bool:
        """Whether both compute the same of the same arrays; False where that is not certain."""
        if self is other:
            return True
        return (
            isinstance(other, Equations)
            and self.digest == other.digest
            and self.comparable
            and other.comparable
            and self._others == other._others
        )

    def __hash__(self) -> int:
        """Hash the text."""
        return self._hash


@jax.tree_util.register_pytree_node_class
class Traced:
    """A traced function: a pytree that can be called.

    Attributes:
        equations: What it computes.
        constants: Of these arrays.
    """

    def __init__(self, equations: Equations, constants: Any) -> None:
        """Put both together."""
        self.equations, self.constants = equations, constants

    def __call__(self, *arguments: Any) -> Any:
        """Compute it, for arguments like those that it was traced with."""
        leaves, tree = jax.tree.flatten(arguments)
        equations, constants = self.equations, self.constants
        if tree != equations.in_tree:
            raise TypeError(f"arguments must have the structure {equations.in_tree}, got {tree}")
        if len(equations.jaxpr.constvars) != len(constants):
            leaves, constants = [*constants, *leaves], ()
        outputs = jax.core.eval_jaxpr(equations.jaxpr, constants, *leaves)
        return jax.tree.unflatten(equations.out_tree, outputs)

    def arguments(self) -> tuple[Any, ...]:
        """Return shapes and dtypes of what it is computed of."""
        count = self.equations.in_tree.num_leaves
        invars = self.equations.jaxpr.invars
        shapes = [
            jax.ShapeDtypeStruct(atom.aval.shape, atom.aval.dtype)
            for atom in invars[len(invars) - count :]
        ]
        return jax.tree.unflatten(self.equations.in_tree, shapes)

    def result(self) -> Any:
        """Return shapes and dtypes of what it computes."""
        shapes = [
            jax.ShapeDtypeStruct(atom.aval.shape, atom.aval.dtype)
            for atom in self.equations.jaxpr.outvars
        ]
        return jax.tree.unflatten(self.equations.out_tree, shapes)

    def depends_on(self, argument: int) -> bool:
        """Return whether anything is computed of an argument."""
        jaxpr = self.equations.jaxpr
        sizes = [child.num_leaves for child in self.equations.in_tree.children()]
        begin = len(jaxpr.invars) - sum(sizes[argument:])
        own = jaxpr.invars[begin : begin + sizes[argument]]
        used = [atom for equation in jaxpr.eqns for atom in equation.invars] + [*jaxpr.outvars]
        return any(atom is variable for atom in used for variable in own)

    def tree_flatten(self) -> tuple[tuple[Any, ...], Equations]:
        """Take the arrays apart from the equations."""
        return tuple(self.constants), self.equations

    @classmethod
    def tree_unflatten(cls, equations: Equations, constants: Any) -> "Traced":
        """Put them together again."""
        return cls(equations, constants)

    def digest(self) -> str:
        """Return what tells this function from others in other processes: equations and arrays."""
        return digest_of((self.equations.digest, list(self.constants)))


def trace(
    name: str,
    fun: Callable[..., Any],
    *examples: Any,
    known: str | None = None,
    unless: Callable[[], bool] = bool,
) -> Traced:
    """Trace a function twice, and refuse it if it did not compute the same both times.

    Args:
        name: What the caller of the caller calls it.
        fun: The function.
        *examples: Arguments, or what has their shapes and dtypes.
        known: What says all that the function computes; by default, what `fingerprint` finds.
        unless: Asked after the traces whether that was not so.

    Returns:
        The traced function.

    Raises:
        ValueError: if the two traces differ: it draws, or counts.

    Example:
        >>> one, other = (trace("fun", lambda x, a=a: a * x, 1.0) for a in np.eye(2))
        >>> jax.tree.structure(one) == jax.tree.structure(other), other(1.0).tolist()
        (True, [0.0, 1.0])
    """
    examples = jax.tree.map(shape_of, examples)
    held = _known(fun, examples, known)
    if held is not None and (found := _remembered.get(held)) is not None:
        return found
    first, second = (trace_once(fun, *examples) for _ in range(2))
    check_same(name, first, second)
    if held is not None and not unless():
        _remembered.put(held, first)
    return first


def trace_objective(
    name: str, fun: Callable[[Any], Any], x: Any, at: Callable[[], Any] | None = None
) -> Traced:
    """Trace an objective twice, and refuse it if its evaluations differ.

    Args:
        name: What the caller calls it.
        fun: From parameters to one real number.
        x: Parameters, or what has their shapes and dtypes.
        at: Returns parameters at which to evaluate it where the traces differ, by default `x`.

    Returns:
        The traced objective.

    Raises:
        TypeError: for something that cannot be called, or an output of another shape or dtype.
        ValueError: if the traces compute something else, or what they ask of the host differs.
            Within a traced function there is nothing to ask yet.

    Example:
        >>> trace_objective("fun", lambda x: x * np.random.default_rng().normal(), 1.0)
        Traceback (most recent call last):
        ...
        ValueError: fun must be deterministic, but two evaluations at x gave ...
    """
    if isinstance(fun, Traced):
        return fun
    if not callable(fun):
        raise TypeError(f"{name} must be a function of the parameters, got {fun!r}")
    examples = (jax.tree.map(shape_of, x),)
    known = _known(fun, examples)
    if known is not None and (found := _remembered.get(known)) is not None:
        return found
    try:
        first = trace_once(fun, *examples)
    except TypeError as error:
        if "not a valid JAX type" not in str(error):
            raise  # the objective's own
        raise TypeError(f"{name} must return one real number (a floating scalar)") from error
    check_value(name, first.result())
    second = trace_once(fun, *examples)
    if known is not None:
        _remembered.put(known, first)
    _check_evaluations(name, fun, first, second, (lambda: x) if at is None else at)
    return first


def _check_evaluations(
    name: str, fun: Callable[[Any], Any], first: Traced, second: Traced, at: Callable[[], Any]
) -> None:
    """Raise ValueError if evaluations of an objective differ."""
    differ = difference(first, second)
    if differ is None and is_comparable(first):
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


def trace_once(fun: Callable[..., Any], *examples: Any) -> Traced:
    """Trace a function; see `trace`."""
    # A new function each time, or the second trace would be the first one out of JAX's cache.
    closed, out = jax.make_jaxpr(lambda *arguments: fun(*arguments), return_shape=True)(*examples)
    leaves, in_tree = jax.tree.flatten(examples)
    jaxpr, constants = closed.jaxpr, list(closed.consts)
    if inner := list(_constants_of_calls(jaxpr)):
        # A function that is jitted keeps its arrays to itself.
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
    """Return in what two traces differ first, an equation or a number, or None."""
    if first.equations.digest != second.equations.digest:
        ones, others = first.equations.parts, second.equations.parts
        both = zip(ones, others, strict=False)
        return next((pair for pair in both if pair[0] != pair[1]), (ones[-1], others[-1]))
    for one, other in zip(first.constants, second.constants, strict=True):
        if one is other or is_traced((one, other)):
            continue
        one, other = _plain(one), _plain(other)
        if one.tobytes() != other.tobytes():
            place = np.flatnonzero(
                np.frombuffer(one.tobytes(), np.uint8) != np.frombuffer(other.tobytes(), np.uint8)
            )[0] // max(one.dtype.itemsize, 1)
            return str(one.flat[place]), str(other.flat[place])
    return None


def is_comparable(traced: Traced) -> bool:
    """Whether equal equations and arrays mean equal results: nothing calls back to the host."""
    return not any("callback" in equation.primitive.name for equation in equations_in(traced))


def equations_in(traced: Traced) -> Iterator[Any]:
    """Walk through the equations, also those of scans, conditionals and jitted functions."""

    def walk(jaxpr: Any) -> Iterator[Any]:
        for equation in jaxpr.eqns:
            yield equation
            for inner in jaxprs_in_params(equation.params):
                yield from walk(inner)

    return walk(traced.equations.jaxpr)


def shape_of(leaf: Any) -> jax.ShapeDtypeStruct:
    """Return shape and dtype of an array; what is weakly typed is so no more."""
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return leaf
    return jax.ShapeDtypeStruct(
        jnp.shape(leaf), getattr(leaf, "dtype", None) or jnp.result_type(leaf)
    )


def settings() -> dict[str, Any]:
    """Return the settings on which it depends what a function computes."""
    return {name: getattr(jax.config, name, None) for name in _SETTINGS}


def digest_of(tree: Any) -> str:
    """Return a digest of structure, text and arrays; those are read in pieces."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(tree, is_leaf=lambda leaf: leaf is None):
        digest.update(jax.tree_util.keystr(path).encode())
        if leaf is None or isinstance(leaf, str | bool):
            digest.update(repr(leaf).encode())
            continue
        if is_key(leaf):
            digest.update(str(jax.random.key_impl(leaf)).encode())
        array = _plain(leaf)
        digest.update(f"{array.dtype}{array.shape}".encode())
        flat = array.reshape(-1).view(np.uint8) if array.flags.c_contiguous and array.size else None
        if flat is None:
            digest.update(array.tobytes())
            continue
        for begin in range(0, flat.size, 2**24):
            digest.update(flat[begin : begin + 2**24].data)
    return digest.hexdigest()[:16]


def _array(constant: Any) -> Any:
    """Return a constant as an array that JAX takes for an argument."""
    return constant if isinstance(constant, jax.Array) else np.asarray(constant)


def _plain(array: Any) -> np.ndarray:
    return np.asarray(jax.random.key_data(array) if is_key(array) else array)


# Arrays of jitted functions.


def _is_call(equation: Any) -> bool:
    return equation.primitive.name in ("jit", "pjit")


def _constants_of_calls(jaxpr: Any) -> Iterator[Any]:
    """Yield the arrays that jitted functions within a jaxpr close over, in order."""
    for equation in jaxpr.eqns:
        if _is_call(equation):
            inner = equation.params["jaxpr"]
            yield from getattr(inner, "consts", ())
            yield from _constants_of_calls(inner.jaxpr)


def _evaluate(jaxpr: Any, constants: list[Any], arguments: list[Any]) -> list[Any]:
    """Evaluate a jaxpr, given its constants and behind them those of `_constants_of_calls`."""
    own = len(jaxpr.constvars)
    values = dict(
        zip([*jaxpr.constvars, *jaxpr.invars], [*constants[:own], *arguments], strict=True)
    )
    rest = constants[own:]

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        operands = [read(atom) for atom in equation.invars]
        if _is_call(equation) and (inner := _held(equation)):
            taken, rest = rest[: len(inner)], rest[len(inner) :]
            outputs = _evaluate(equation.params["jaxpr"].jaxpr, taken, operands)
        else:
            parameters = equation.primitive.get_bind_params(equation.params)
            outputs = equation.primitive.bind(*operands, **parameters)
            outputs = outputs if equation.primitive.multiple_results else [outputs]
        values |= zip(equation.outvars, outputs, strict=True)
    return [read(atom) for atom in jaxpr.outvars]


def _held(equation: Any) -> list[Any]:
    inner = equation.params["jaxpr"]
    return [*getattr(inner, "consts", ()), *_constants_of_calls(inner.jaxpr)]


# The text of equations.


class _Text:
    """What equations say, in a form in which equal ones are equal.

    Attributes:
        parts: The text.
        others: Objects that the text refers to by their number, because they cannot be written.
        comparable: Whether all is either text or one of the others.
    """

    def __init__(self) -> None:
        """Write nothing yet."""
        self.parts: list[str] = []
        self.others: dict[Any, int] = {}
        self.comparable = True
        self._variables: dict[Any, int] = {}
        self._rules: dict[Hashable, int] = {}
        self._depth = 0

    def write_jaxpr(self, jaxpr: Any) -> None:
        """Write equations; names of variables are their order."""
        inner = getattr(jaxpr, "jaxpr", jaxpr)
        constants = getattr(jaxpr, "consts", ()) if jaxpr is not inner else ()
        write, variables = self.parts.append, self._variables
        write("{")
        for atom in (*inner.constvars, *inner.invars):
            variables[atom] = len(variables)
            write(f"{variables[atom]}:{self._type(atom.aval)} ")
        for constant in constants:
            self.write(constant)
        for equation in inner.eqns:
            self._write_equation(equation)
        write("->")
        for atom in inner.outvars:
            self._write_atom(atom)
        write("}")

    def _write_equation(self, equation: Any) -> None:
        primitive, parameters = equation.primitive, equation.params
        self.parts.append(f"\n{primitive.name}{self._number(primitive)}")
        for atom in equation.invars:
            self._write_atom(atom)
        name = primitive.name
        if name in ("custom_jvp_call", "custom_vjp_call"):
            self._write_custom(equation)
        else:
            for key in sorted(parameters):
                if key == "name" and _is_call(equation):
                    continue
                self.parts.append(f" {key}=")
                self.write(parameters[key])
        variables = self._variables
        for atom in equation.outvars:
            variables[atom] = len(variables)
            self.parts.append(f" {variables[atom]}:{self._type(atom.aval)}")

    def _write_custom(self, equation: Any) -> None:
        """Write a function that brings its derivative: value and rule."""
        parameters = equation.params
        call = parameters["call_jaxpr"]
        begin = len(self.parts)
        self.write_jaxpr(call)
        # The numbers of variables go on from where they were: said alone, it says the same again.
        alone = _Text()
        alone.write_jaxpr(call)
        said = "".join(alone.parts)
        del begin
        rules = [parameters.get(name) for name in ("jvp_jaxpr_fun", "fwd_jaxpr_thunk", "bwd")]
        rules = [_rule_of(rule) for rule in rules if rule is not None]
        try:
            self.parts.append(f" rule={[_fingerprint(rule) for rule in rules]}")
            return
        except _UnknownError:
            pass
        if parameters.get("symbolic_zeros"):
            self.parts.append(f" rule={self._number(object())}")
            return
        functions: list[Any] = [id(rule.f) for rule in rules]
        try:
            functions += [_fingerprint(rule.transforms) for rule in rules]
        except _UnknownError:
            functions += [object()]
        met = (said, tuple(functions), tuple(self._type(atom.aval) for atom in equation.invars))
        if met in self._rules:
            self.parts.append(f" rule=&{self._rules[met]}")
            return
        if self._depth == _ORDERS:
            self.parts.append(" rule=")
            return
        self._rules[met] = len(self._rules)
        self._depth += 1
        try:
            derivative = _derivative(equation)
        except Exception:  # Of whatever kind: a rule that cannot be traced here is not compared.
            self.comparable = False
        else:
            self.parts.append(" rule=")
            self.write_jaxpr(derivative)
        self._depth -= 1

    def _write_atom(self, atom: Any) -> None:
        if isinstance(atom, Literal):
            value = np.asarray(atom.val)
            self.parts.append(f" {value.tolist()!r}:{self._type(atom.aval)}")
            if value.dtype.kind == "f":  # Not a number may have many forms, zero two.
                self.parts.append(value.tobytes().hex())
        else:
            self.parts.append(f" {self._variables[atom]}")

    def _type(self, aval: Any) -> str:
        dtype = getattr(aval, "dtype", None)
        if dtype is None:
            return f"{aval}{self._number(aval)}"
        weak = "~" if getattr(aval, "weak_type", False) else ""
        sharding = getattr(aval, "sharding", None)
        placed = ""
        if sharding is not None and not sharding.mesh.empty:
            placed = f"@{self._number(sharding)}"
        return f"{weak}{dtype}{list(aval.shape)}{placed}"

    def write(self, value: Any) -> None:
        """Write a parameter of an equation."""
        if _is_jaxpr(value):
            self.write_jaxpr(value)
        elif isinstance(value, tuple | list):
            self.parts.append(f"{type(value).__name__}(")
            for member in value:
                self.write(member)
                self.parts.append(",")
            self.parts.append(")")
        elif isinstance(value, dict):
            for name in sorted(value, key=repr):
                self.parts.append(f"{name!r}:")
                self.write(value[name])
        elif hasattr(value, "__array__"):
            if is_traced(value):
                self.comparable = False
            else:
                self.parts.append(digest_of(value))
        else:
            said = fingerprint(value)
            self.parts.append(
                f"{type(value).__name__}{self._number(value)}" if said is None else said
            )

    def _number(self, other: Any) -> str:
        """Return the number of an object that is compared as it is."""
        try:
            return f"#{self.others.setdefault(other, len(self.others))}"
        except TypeError:  # It cannot be hashed, and hardly compared.
            self.comparable = False
            return "#"


def _derivative(equation: Any) -> Any:
    """Return the equations of the derivative that an equation brings along."""
    parameters = equation.primitive.get_bind_params(equation.params)
    shapes = [jax.ShapeDtypeStruct(atom.aval.shape, atom.aval.dtype) for atom in equation.invars]
    held = equation.params["num_consts"]

    def call(*operands: Any) -> Any:
        return equation.primitive.bind(*operands, **parameters)

    def push_forward(constants: Any, primals: Any, tangents: Any) -> Any:
        return jax.jvp(lambda *operands: call(*constants, *operands), primals, tangents)

    def pull_back(constants: Any, primals: Any) -> Any:
        values, pull = jax.vjp(lambda *operands: call(*constants, *operands), *primals)
        return pull(jax.tree.map(jnp.ones_like, values))

    constants, primals = shapes[:held], tuple(shapes[held:])
    if "jvp" in equation.primitive.name:
        tangents = tuple(
            jax.ShapeDtypeStruct(shape.shape, jax.eval_shape(jnp.zeros_like, shape).dtype)
            if jnp.issubdtype(shape.dtype, jnp.inexact)
            else jax.ShapeDtypeStruct(shape.shape, jax.dtypes.float0)
            for shape in primals
        )
        return jax.make_jaxpr(push_forward)(constants, primals, tangents)
    return jax.make_jaxpr(pull_back)(constants, primals)


def _rule_of(wrapped: Any) -> Any:
    """Return what the user wrote of a rule, where JAX has wrapped that to trace it when asked."""
    function = wrapped.f
    for _ in range(4):
        cells = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
        rules = [cell for cell in cells if hasattr(cell, "f_transformed")]
        if len(rules) == 1 and not wrapped.transforms:
            return rules[0]
        deeper = [cell for cell in cells if isinstance(cell, types.FunctionType)]
        if len(deeper) != 1:
            break
        (function,) = deeper
    return wrapped


# What functions of known packages compute, by what they hold.


def _known(fun: Any, examples: Any, said: str | None = None) -> Hashable | None:
    """Return what says all that a function computes of such arguments, None if that is unknown."""
    held = fingerprint(fun) if said is None else f"{fun.__qualname__}: {said}"
    if held is None:
        return None
    leaves, tree = jax.tree.flatten(examples)
    shapes = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
    return held, tree, shapes, tuple(settings().values())


def fingerprint(value: Any, key: Any = None) -> str | None:
    """Return a text that says all of a value, None if there is no such; see `_fingerprint`."""
    try:
        return _fingerprint(value, key)
    except _UnknownError:
        return None


def _fingerprint(value: Any, key: Any = None) -> str:
    """Return a text that says all of a value: equal ones compute the same.

    Args:
        value: A function of a known package, a number, a text, or a tree of such.
        key: An array that stands for a key, whatever key that is.

    Raises:
        _UnknownError: if there is anything else in it.
    """
    return _Fingerprint(key).of(value)


class _Fingerprint:
    """What values hold, as a text; a function that is met again is a number in it."""

    def __init__(self, key: Any) -> None:
        """Meet nothing yet."""
        self._key = key
        self._met: dict[int, int] = {}

    def of(self, value: Any) -> str:
        """Return the text of a value."""
        kind = type(value)
        if self._key is not None and value is self._key:
            return "key"
        if kind in (tuple, list) or (isinstance(value, tuple) and hasattr(value, "_fields")):
            _check_known(kind)
            return f"{kind.__qualname__}({','.join(map(self.of, value))})"
        if kind is dict:
            return f"{{{','.join(sorted(f'{n!r}:{self.of((n, e))}' for n, e in value.items()))}}}"
        if isinstance(value, types.FunctionType | types.MethodType | functools.partial):
            return self._of_function(value)
        return self._of_jax(value)

    def _of_jax(self, value: Any) -> str:
        """Return the text of what is made by JAX."""
        if isinstance(value, jax.custom_jvp):
            return self._of_function(value)
        if hasattr(value, "f_transformed"):  # A rule that JAX has wrapped.
            return self.of((value.f, value.transforms, value.params))
        kind = type(value).__name__
        if kind == "PjitFunction" and hasattr(value, "__wrapped__"):
            return f"jit{self.of(value.__wrapped__)}"
        if kind == "ClosedRule" and hasattr(value, "rule"):
            return f"rule{self.of(value.rule)}"
        if kind in ("Store", "EqualStore", "DebugInfo"):  # What it says is said elsewhere.
            return kind
        if _is_jaxpr(value):
            text = _Text()
            text.write_jaxpr(value)
            if text.comparable and all(map(_is_of_jax, text.others)):
                return "".join(text.parts)
            raise _UnknownError
        return _say(value)

    def _of_function(self, function: Any) -> str:
        """Return the text of a function by its code and what it holds."""
        if (number := self._met.get(id(function))) is not None:
            return f"&{number}"
        self._met[id(function)] = len(self._met)
        if isinstance(function, functools.partial):
            return f"partial{self.of((function.func, function.args, function.keywords))}"
        if isinstance(function, types.MethodType):
            return f"method{self.of((function.__func__, function.__self__))}"
        if isinstance(function, jax.custom_jvp):
            kept = (function.fun, function.jvp, function.nondiff_argnums)
            return f"custom_jvp{self.of(kept)}"
        _check_known(function)
        cells = tuple(cell.cell_contents for cell in function.__closure__ or ())
        held = (cells, function.__defaults__, function.__kwdefaults__)
        place = f"{function.__module__}.{function.__qualname__}"
        return f"{place}:{function.__code__.co_firstlineno}{self.of(held)}"


def _say(value: Any) -> str:
    """Return the text of a value that holds no others."""
    if value is None or type(value) in (bool, int, float, complex, str, bytes):
        return f"{type(value).__name__}:{value!r}"
    if isinstance(value, type | types.BuiltinFunctionType | np.ufunc):
        _check_known(value)
        return f"{getattr(value, '__module__', '')}.{value.__qualname__}"
    if isinstance(value, np.dtype):
        return str(value)
    if isinstance(value, np.generic):
        return f"{value.dtype}:{value.tobytes().hex()}"
    if isinstance(value, enum.Enum):
        _check_known(type(value))
        return f"{type(value).__qualname__}.{value.name}"
    if isinstance(value, jax.tree_util.PyTreeDef):
        return str(value)
    if isinstance(value, jax.ShapeDtypeStruct | jax.core.ShapedArray):
        return f"{value.dtype}{value.shape}{getattr(value, 'weak_type', False)}"
    raise _UnknownError


def _check_known(thing: Any) -> None:
    globals_ = getattr(thing, "__globals__", None)
    module = globals_["__name__"] if globals_ else getattr(thing, "__module__", None) or ""
    if module.partition(".")[0] not in (*_KNOWN, "builtins", "numpy"):
        raise _UnknownError


def _is_jaxpr(value: Any) -> bool:
    return hasattr(value, "eqns") or hasattr(getattr(value, "jaxpr", None), "eqns")


def _is_of_jax(other: Any) -> bool:
    return type(other).__module__.partition(".")[0] in ("jax", "jaxlib")


class _Remembered:
    """The last few traces of functions of known packages."""

    def __init__(self, size: int) -> None:
        """Remember nothing yet."""
        self._size = size
        self._entries: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, name: Hashable) -> Any:
        """Return what was put, None if that was nothing."""
        found = self._entries.get(name)
        if found is not None:
            self._entries.move_to_end(name)
        return found

    def put(self, name: Hashable, value: Any) -> None:
        """Remember something, and forget what was asked for last longest ago."""
        self._entries[name] = value
        while len(self._entries) > self._size:
            self._entries.popitem(last=False)


_remembered = _Remembered(_REMEMBERED)
