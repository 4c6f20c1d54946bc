"""Traced equations as a text, such that equal texts compute the same of the same arrays.

In the text variables are numbered in order, source lines are left out, and numbers are written to
their last bit. Two things in equations have no text: rules of differentiation, which are Python
functions, and objects of unknown kinds, such as callbacks. Rules are traced, and their equations
written; objects are compared by `==`. Where that does not decide, equations count as different, so
that no program is ever shared by two functions that may differ.

A function of known packages alone, such as an optax optimizer made of numbers, need not be traced
at all: its code and what its closures hold say what it computes. `fingerprint` is that as a text.
"""

import enum
import functools
import hashlib
import math
import sys
import types
from collections.abc import Hashable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal, jaxprs_in_params

from jaxopt_course._checks import is_key, is_traced
from jaxopt_course._hearing import HEAR

_KNOWN = ("jax", "optax", "jaxopt_course")
"""Known packages: their functions depend on nothing but their arguments and closures."""

_ORDERS = 4
"""How deep rules of differentiation within rules are compared: nobody takes more derivatives."""


class _UnknownError(Exception):
    """A value has no text that says all of it."""


class Equations:
    """The equations of a traced function, without its arrays.

    Attributes:
        jaxpr: The equations. The arrays are its constants, or its first arguments.
        in_tree: Structure of the arguments, a tuple.
        out_tree: Structure of the result.
        digest: Of the text of the equations: the same in every process.
        asks_host: Whether they call back to the host, so that equal ones may give unlike results;
            telling it news (see `_hearing`) is not that.
    """

    def __init__(self, jaxpr: Any, in_tree: Any, out_tree: Any) -> None:
        """Write the text of the equations."""
        self.jaxpr, self.in_tree, self.out_tree = jaxpr, in_tree, out_tree
        text = _Text()
        text.write_jaxpr(jaxpr)
        text.parts.append(f"{in_tree}{out_tree}")
        self.parts = text.parts
        self.digest = hashlib.sha256("".join(text.parts).encode()).hexdigest()
        self.comparable, self.asks_host = text.comparable, text.asks_host
        # Structures may hold objects that their text does not show; so they are compared, too.
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


def digest_of(tree: Any) -> str:
    """A digest of a tree of arrays and texts: of its structure and of all leaves."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(tree, is_leaf=lambda leaf: leaf is None):
        digest.update(jax.tree_util.keystr(path).encode())
        if leaf is None or isinstance(leaf, str | bool):
            digest.update(repr(leaf).encode())
            continue
        if is_key(leaf):
            digest.update(str(jax.random.key_impl(leaf)).encode())
        array = on_host(leaf)
        digest.update(f"{array.dtype}{array.shape}".encode())
        flat = array.reshape(-1).view(np.uint8) if array.flags.c_contiguous and array.size else None
        if flat is None:
            digest.update(array.tobytes())
            continue
        for begin in range(0, flat.size, 2**24):
            digest.update(flat[begin : begin + 2**24].data)
    return digest.hexdigest()[:16]


def on_host(array: Any) -> np.ndarray:
    """The array as NumPy's; of keys their data."""
    return np.asarray(jax.random.key_data(array) if is_key(array) else array)


def is_call(equation: Any) -> bool:
    """Whether an equation calls a jitted function."""
    return equation.primitive.name in ("jit", "pjit")


def largest_array(jaxpr: Any) -> int:
    """Bytes of the largest array that equations compute, those within equations included."""
    sizes = [
        math.prod(variable.aval.shape) * variable.aval.dtype.itemsize
        for equation in jaxpr.eqns
        for variable in equation.outvars
    ]
    for equation in jaxpr.eqns:
        sizes += map(largest_array, jaxprs_in_params(equation.params))
    return max(sizes, default=0)


def is_by_platform(equation: Any) -> bool:
    """Whether it goes on by the platform alone, which is known before a program is compiled."""
    return equation.params.get("branches_platforms") is not None


def has_branches(jaxpr: Any) -> bool:
    """Whether equations, or those within them, compute by a condition: `cond`, `while`, a guard."""

    def is_branch(equation: Any) -> bool:
        named = equation.primitive.name in ("cond", "while", "custom_vmap_call")
        return named and not is_by_platform(equation)

    return any(
        is_branch(equation) or any(map(has_branches, jaxprs_in_params(equation.params)))
        for equation in jaxpr.eqns
    )


class _Text:
    """A text of equations, while it is written.

    Attributes:
        parts: The text, in pieces.
        others: Objects without a text, to which the text refers by their number here.
        comparable: Whether text and others say all. If not, nothing is equal to the equations.
        asks_host: Whether an equation calls back to the host.
    """

    def __init__(self, depth: int = 0) -> None:
        """Begin with an empty text, within rules of differentiation of this depth."""
        self.parts: list[str] = []
        self.others: dict[Any, int] = {}
        self.comparable, self.asks_host = True, False
        self._variables: dict[Any, int] = {}
        self._rules: dict[Hashable, int] = {}
        self._alive: list[Any] = []  # What `_rules` knows by its `id`, which is not given again.
        self._depth = depth  # Rules that call their own function would go on without end.

    def write_jaxpr(self, jaxpr: Any) -> None:
        """Write the equations of a jaxpr, with or without constants."""
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
        """Write primitive, operands, parameters and results of an equation."""
        primitive, parameters = equation.primitive, equation.params
        self.parts.append(f"\n{primitive.name}{self._number(primitive)}")
        for atom in equation.invars:
            self._write_atom(atom)
        name = primitive.name
        if "callback" in name:
            # What is heard by a number is the same function whoever hears it.
            heard = fingerprint(parameters.get("callback"))
            self.asks_host |= heard is None or HEAR not in heard
        if name in ("custom_jvp_call", "custom_vjp_call"):
            self._write_custom(equation)
        else:
            for key in sorted(parameters):
                if key == "name" and is_call(equation):
                    continue
                self.parts.append(f" {key}=")
                self.write(parameters[key])
        variables = self._variables
        for atom in equation.outvars:
            variables[atom] = len(variables)
            self.parts.append(f" {variables[atom]}:{self._type(atom.aval)}")

    def _write_custom(self, equation: Any) -> None:
        """Write a function with a derivative of its own (`custom_jvp`, `custom_vjp`).

        The rule is written by its fingerprint, or else by the equations of the derivative.
        """
        parameters = equation.params
        call = parameters["call_jaxpr"]
        self.write_jaxpr(call)
        # The rule as users wrote it, if that has a fingerprint.
        rules = [parameters.get(name) for name in ("jvp_jaxpr_fun", "fwd_jaxpr_thunk", "bwd")]
        rules = [_rule_of(rule) for rule in rules if rule is not None]
        try:
            self.parts.append(f" rule={[self._fingerprint(rule) for rule in rules]}")
            return
        except _UnknownError:
            pass
        if parameters.get("symbolic_zeros"):
            self.parts.append(f" rule={self._number(object())}")
            return
        # A rule that was written before is a reference to that. It is known by value, functions and
        # operands; the value is written apart, with variables numbered from 0, to be the same text.
        alone = _Text(self._depth)
        alone.write_jaxpr(call)
        said = "".join(alone.parts)
        functions: list[Any] = [id(rule.f) for rule in rules]
        try:
            functions += [self._fingerprint(rule.transforms) for rule in rules]
        except _UnknownError:
            functions += [object()]
        met = (said, tuple(functions), tuple(self._type(atom.aval) for atom in equation.invars))
        if met in self._rules:
            self.parts.append(f" rule=&{self._rules[met]}")
            return
        if self._depth >= _ORDERS:
            self.parts.append(" rule=")
            return
        # A new one: the equations of the derivative.
        self._rules[met] = len(self._rules)
        self._alive.append(rules)
        self._depth += 1
        try:
            derivative = _derivative(equation)
        except Exception:  # A user's rule may raise anything where it cannot be traced.
            self.comparable = False
        else:
            self.parts.append(" rule=")
            self.write_jaxpr(derivative)
        self._depth -= 1

    def _fingerprint(self, value: Any) -> str:
        """The fingerprint of what belongs to a rule, whose equations are a level deeper."""
        return _Fingerprint(None, self._depth + 1).of(value)

    def _write_atom(self, atom: Any) -> None:
        """Write an operand: a variable's number, or a literal."""
        if isinstance(atom, Literal):
            value = np.asarray(atom.val)
            self.parts.append(f" {value.tolist()!r}:{self._type(atom.aval)}")
            if value.dtype.kind == "f":  # The sign of zero and the bits of NaN do not print.
                self.parts.append(value.tobytes().hex())
        else:
            self.parts.append(f" {self._variables[atom]}")

    def _type(self, aval: Any) -> str:
        """Dtype and shape as a text, with weak type and sharding."""
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
        """The number of an object among `others`."""
        try:
            return f"#{self.others.setdefault(other, len(self.others))}"
        except TypeError:  # It cannot be hashed.
            self.comparable = False
            return "#"


def _derivative(equation: Any) -> Any:
    """The equations of the derivative of a `custom_jvp` or `custom_vjp` equation."""
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
    """The rule as the user wrote it, where JAX has wrapped it to be traced on demand."""
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


def fingerprint(value: Any, key: Any = None) -> str | None:
    """A text that says all of a value, so that functions with equal texts compute the same.

    Args:
        value: A function of a known package, a number, a text, or a tree of such.
        key: An array that stands for any key: it is written as "key".

    Returns:
        The text, or None if there is none: of functions of users, and of objects of unknown kinds.
    """
    try:
        return _Fingerprint(key).of(value)
    except _UnknownError:
        return None


class _Fingerprint:
    """The fingerprint of values. A function that is met again is written as a number.

    Its methods raise _UnknownError where a value, or something within it, has no text.
    """

    def __init__(self, key: Any, depth: int = 0) -> None:
        """Begin without functions, within rules of differentiation of this depth."""
        self._key, self._depth = key, depth
        self._met: dict[int, int] = {}

    def of(self, value: Any) -> str:
        """Return the text of a value."""
        kind = type(value)
        if kind in _SIMPLE:
            return f"{kind.__name__}:{value!r}"
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
        """The text of a value that is neither container nor plain function."""
        if isinstance(value, jax.custom_jvp):
            return self._of_function(value)
        if hasattr(value, "f_transformed"):  # A rule that JAX has wrapped.
            return self.of((value.f, value.transforms, value.params))
        kind = type(value).__name__
        if kind == "PjitFunction" and hasattr(value, "__wrapped__"):
            return f"jit{self.of(value.__wrapped__)}"
        if kind == "ClosedRule" and hasattr(value, "rule"):
            return f"rule{self.of(value.rule)}"
        if kind in ("Store", "EqualStore", "DebugInfo"):  # JAX's notes, without influence.
            return kind
        if _is_jaxpr(value):
            text = _Text(self._depth)
            text.write_jaxpr(value)
            if text.comparable and all(map(_is_of_jax, text.others)):
                return "".join(text.parts)
            raise _UnknownError
        return _say(value)

    def _of_function(self, function: Any) -> str:
        """The text of a function: where it is defined, its code, and what it holds."""
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
        try:
            cells = tuple(cell.cell_contents for cell in function.__closure__ or ())
        except ValueError:  # A variable that is assigned later, or never.
            raise _UnknownError from None
        held = (cells, function.__defaults__, function.__kwdefaults__)
        place = f"{function.__globals__['__name__']}.{function.__qualname__}"
        return f"{place}:{_say_code(function.__code__)}{self.of(held)}"


@functools.lru_cache(maxsize=1024)
def _say_code(code: types.CodeType) -> str:
    """A digest of code; its place alone does not do, as one line may define two functions."""
    constants = [
        _say_code(one)
        if isinstance(one, types.CodeType)
        else repr(sorted(map(repr, one)) if isinstance(one, frozenset) else one)
        for one in code.co_consts
    ]
    said = f"{code.co_firstlineno}{code.co_code.hex()}{code.co_names}{constants}"
    return hashlib.sha256(said.encode()).hexdigest()[:16]


_SIMPLE = frozenset({types.NoneType, bool, int, float, complex, str, bytes})
"""Python's own types, whose text says all."""


def _say(value: Any) -> str:
    """The text of a value that is neither a container nor simple."""
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
    """Raise _UnknownError unless a function or class is of a known package.

    Its module's name is not enough: a function made by `exec`, in a doctest say, may have any, and
    globals of its own, which may change.
    """
    globals_ = getattr(thing, "__globals__", None)
    module = globals_.get("__name__", "") if globals_ else getattr(thing, "__module__", None) or ""
    if module.partition(".")[0] not in (*_KNOWN, "builtins", "numpy"):
        raise _UnknownError
    home = sys.modules.get(module)
    if globals_ is not None and (home is None or globals_ is not vars(home)):
        raise _UnknownError


def _is_jaxpr(value: Any) -> bool:
    """Whether a value is a jaxpr, with or without constants."""
    return hasattr(value, "eqns") or hasattr(getattr(value, "jaxpr", None), "eqns")


def _is_of_jax(other: Any) -> bool:
    return type(other).__module__.partition(".")[0] in ("jax", "jaxlib")
