"""What traced equations say, as a text: equal texts compute the same of the same arrays.

Variables go by their order, source lines are left out, and numbers are written to their last bit.
Two things in equations cannot be read: rules of differentiation, which are Python functions, and
objects of which nothing is known (callbacks, say). The former are traced for the comparison, the
latter compared by `==`: two that may differ never share a program.

Code of known packages alone (an optax optimizer with numbers) need not be traced at all: what its
closures hold says what it computes (`fingerprint`).
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

_KNOWN = ("jax", "optax", "jaxopt_course")
"""Packages whose functions depend on nothing but their arguments and closures."""

_ORDERS = 4
"""Derivatives that are taken of an objective at most, so deep are rules of rules compared."""


class _UnknownError(Exception):
    """Something can be told from others by its identity only."""


class Equations:
    """The equations of a traced function, without its arrays.

    Attributes:
        jaxpr: The equations. The arrays are its constants, or its first arguments.
        in_tree: Structure of the arguments, a tuple.
        out_tree: Structure of the result.
        digest: Of the text of the equations: the same in every process.
        asks_host: Whether they call back to the host, so that equal ones may give unlike results.
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
    return np.asarray(jax.random.key_data(array) if is_key(array) else array)


def is_call(equation: Any) -> bool:
    return equation.primitive.name in ("jit", "pjit")


def largest_array(jaxpr: Any) -> int:
    """Return how many bytes the largest array has that equations compute, those of calls too."""
    sizes = [
        math.prod(variable.aval.shape) * variable.aval.dtype.itemsize
        for equation in jaxpr.eqns
        for variable in equation.outvars
    ]
    for equation in jaxpr.eqns:
        sizes += map(largest_array, jaxprs_in_params(equation.params))
    return max(sizes, default=0)


class _Text:
    """What equations say, in a form in which equal ones are equal.

    Attributes:
        parts: The text.
        others: Objects that the text refers to by their number, because they cannot be written.
        comparable: Whether all is either text or one of the others.
        asks_host: Whether an equation calls back to the host.
    """

    def __init__(self) -> None:
        """Write nothing yet."""
        self.parts: list[str] = []
        self.others: dict[Any, int] = {}
        self.comparable, self.asks_host = True, False
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
        self.asks_host |= "callback" in name
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
        """Write a function that brings its derivative: value and rule."""
        parameters = equation.params
        call = parameters["call_jaxpr"]
        self.write_jaxpr(call)
        # The numbers of variables go on from where they were: said alone, it says the same again.
        alone = _Text()
        alone.write_jaxpr(call)
        said = "".join(alone.parts)
        rules = [parameters.get(name) for name in ("jvp_jaxpr_fun", "fwd_jaxpr_thunk", "bwd")]
        rules = [_rule_of(rule) for rule in rules if rule is not None]
        try:
            self.parts.append(f" rule={[_Fingerprint(None).of(rule) for rule in rules]}")
            return
        except _UnknownError:
            pass
        if parameters.get("symbolic_zeros"):
            self.parts.append(f" rule={self._number(object())}")
            return
        functions: list[Any] = [id(rule.f) for rule in rules]
        try:
            functions += [_Fingerprint(None).of(rule.transforms) for rule in rules]
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


def fingerprint(value: Any, key: Any = None) -> str | None:
    """Return a text that says all of a value, None if there is none: equal texts compute the same.

    Args:
        value: A function of a known package, a number, a text, or a tree of such.
        key: An array that stands for a key, whatever key that is.
    """
    try:
        return _Fingerprint(key).of(value)
    except _UnknownError:
        return None


class _Fingerprint:
    """What values hold, as a text; a function that is met again is a number in it.

    Raises:
        _UnknownError: if there is anything in a value of which nothing is known.
    """

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
        place = f"{function.__globals__['__name__']}.{function.__qualname__}"
        return f"{place}:{_say_code(function.__code__)}{self.of(held)}"


@functools.lru_cache(maxsize=1024)
def _say_code(code: types.CodeType) -> str:
    """Return a digest of what code does: two functions of one line have one place and two codes."""
    constants = [
        _say_code(one)
        if isinstance(one, types.CodeType)
        else repr(sorted(map(repr, one)) if isinstance(one, frozenset) else one)
        for one in code.co_consts
    ]
    said = f"{code.co_firstlineno}{code.co_code.hex()}{code.co_names}{constants}"
    return hashlib.sha256(said.encode()).hexdigest()[:16]


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
    """Raise _UnknownError unless a function or class is of a known package, as it says.

    A function that was made by `exec`, in a doctest say, can bear the name of any module; what it
    looks up is then in a dictionary of its own, which may change.
    """
    globals_ = getattr(thing, "__globals__", None)
    module = globals_.get("__name__", "") if globals_ else getattr(thing, "__module__", None) or ""
    if module.partition(".")[0] not in (*_KNOWN, "builtins", "numpy"):
        raise _UnknownError
    home = sys.modules.get(module)
    if globals_ is not None and (home is None or globals_ is not vars(home)):
        raise _UnknownError


def _is_jaxpr(value: Any) -> bool:
    return hasattr(value, "eqns") or hasattr(getattr(value, "jaxpr", None), "eqns")


def _is_of_jax(other: Any) -> bool:
    return type(other).__module__.partition(".")[0] in ("jax", "jaxlib")
