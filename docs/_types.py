"""Signatures with their types, short enough to read: `ArrayTree`, not the union that it is."""

import collections.abc
import enum
import inspect
import types
import typing

import chex
import jax
import optax

# Unions that have a name in the field, which the interpreter has forgotten by the time we look; a
# union that holds another stands before it.
_NAMED = {
    optax.Params: "Params",
    optax.ScalarOrSchedule: "ScalarOrSchedule",
    jax.typing.ArrayLike: "ArrayLike",
    chex.ArrayTree: "ArrayTree",
    chex.Numeric: "Numeric",
    chex.Array: "Array",
    jax.Array: "Array",
}


def signature(app, what, name, obj, options, text, returns):  # noqa: ARG001
    """Write the signature of a function or class (event autodoc-process-signature)."""
    if what not in ("function", "class", "method") or obj is None:
        return None
    if inspect.isclass(obj) and issubclass(obj, enum.Enum):
        return "", None
    function = obj
    if inspect.isclass(obj) and "__init__" in vars(obj):
        function = obj.__init__
    try:
        found = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    parameters = list(found.parameters.values())
    if parameters and parameters[0].name == "self":
        parameters = parameters[1:]
    written = found.replace(
        parameters=[p.replace(annotation=inspect.Parameter.empty) for p in parameters],
        return_annotation=inspect.Signature.empty,
    )
    types_by_name = {
        p.name: annotation(p.annotation)
        for p in parameters
        if p.annotation is not inspect.Parameter.empty
    }
    returned = found.return_annotation
    has_return = what != "class" and returned is not inspect.Signature.empty
    return _with_types(written, types_by_name), annotation(returned) if has_return else None


def _with_types(found, types_by_name):
    parts, starred = [], False
    for parameter in found.parameters.values():
        text = parameter.name
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            text, starred = f"*{text}", True
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            text = f"**{text}"
        elif parameter.kind is inspect.Parameter.KEYWORD_ONLY and not starred:
            parts.append("*")
            starred = True
        if parameter.name in types_by_name:
            text += f": {types_by_name[parameter.name]}"
        if parameter.default is not inspect.Parameter.empty:
            text += f" = {_default(parameter.default)}"
        parts.append(text)
    return f"({', '.join(parts)})"


def _default(value):
    """Return a default as one writes it: a function by its name, not by its address."""
    if inspect.isfunction(value) or inspect.isclass(value) or hasattr(value, "__wrapped__"):
        return value.__name__
    text = repr(value)
    return "..." if " at 0x" in text else text


def annotation(given):
    """Return how a type is written.

    Example:
        >>> annotation(collections.abc.Callable[[chex.ArrayTree], jax.Array] | None)
        'Callable[[ArrayTree], Array] | None'
    """
    if isinstance(given, str):
        return given
    if given is None or given is type(None):
        return "None"
    if given is Ellipsis:
        return "..."
    named = _named(given)
    if named is not None:
        return named
    origin, args = typing.get_origin(given), typing.get_args(given)
    if origin in (typing.Union, types.UnionType):
        return _union(args)
    if origin is typing.Literal:
        return " | ".join(repr(arg) for arg in args)
    if origin is collections.abc.Callable:
        takes = "..." if args[0] is Ellipsis else f"[{', '.join(map(annotation, args[0]))}]"
        return f"Callable[{takes}, {annotation(args[1])}]"
    if origin is not None:
        return f"{annotation(origin)}[{', '.join(map(annotation, args))}]"
    return getattr(given, "__name__", str(given)).replace("typing.", "")


def _union(args):
    """Write a union, the named unions within it by their names."""
    left, texts = list(args), []
    for union, name in _NAMED.items():
        members = typing.get_args(union)
        if members and all(member in left for member in members):
            texts.append(name)
            left = [arg for arg in left if arg not in members]
    texts += [annotation(arg) for arg in left if arg is not type(None)]
    return " | ".join(texts + ["None"] * (type(None) in left))


def _named(given):
    for union, name in _NAMED.items():
        try:
            if given == union:
                return name
        except TypeError:
            continue
    return None
