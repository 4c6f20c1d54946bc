"""One call with drawn arguments, and what must come of it: a result, or an error with a name in it.

    ENTRIES = {"adam": Entry(transforms.adam, KINDS, act=train)}

A test lists an entry for every public function of a package (`check_complete` says which lacks
one), and `fuzz` draws arguments. Of every example's arguments all but a few are sane; if all are,
the call must succeed and its result pass `act`. If not, the call must succeed too, or raise
ValueError or TypeError with the name of one of the arguments in its message.
"""

import dataclasses
import inspect
import re
import types
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from tests.fuzz.strategies import Kind

EXAMPLES = {"count": 0}
"""How many calls were made in this process, for the report of the nightly run."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """How to fuzz one function.

    Attributes:
        function: The function.
        kinds: What its arguments are meant to be, by their names; others are left to their default.
        act: What to do with the result, `act(result, arguments, data, sane)`; it raises
            AssertionError where a result is not what the docstring promises.
        names: Names besides those of the arguments that an error may mention.
        only: The arguments to vary, where an entry varies fewer than there are kinds for.
    """

    function: Callable[..., Any]
    kinds: Mapping[str, Kind]
    act: Callable[..., Any] = lambda result, arguments, data, sane: None
    names: tuple[str, ...] = ()

    def parameters(self) -> list[inspect.Parameter]:
        target = self.function
        if inspect.isclass(target):  # the metaclass of nnx hides the signature
            return list(inspect.signature(target.__init__).parameters.values())[1:]
        return list(inspect.signature(target).parameters.values())


def check_complete(package: types.ModuleType, entries: Mapping[str, Any], skip=()) -> None:
    """Fail where a public function has no entry, or an entry or an exemption no function."""
    public = {
        name
        for name, member in vars(package).items()
        if not name.startswith("_") and callable(member) and not is_result(member)
    }
    assert public - set(skip) == set(entries), package.__name__
    assert set(skip) <= public


def is_result(member: Any) -> bool:
    """Whether it is a class of results: made by functions, not by callers."""
    return inspect.isclass(member) and (
        issubclass(member, tuple | int) or dataclasses.is_dataclass(member)
    )


def fuzz(entry: Entry, examples: int, *, derandomize: bool = True) -> None:
    """Call with so many drawn sets of arguments."""

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=derandomize,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def one(data):
        EXAMPLES["count"] += 1
        example(entry, data)

    one()


def example(entry: Entry, data: st.DataObject) -> None:
    """Draw arguments, call, judge."""
    varied = [p for p in entry.parameters() if p.name in entry.kinds]
    missing = [
        p.name
        for p in entry.parameters()
        if p.default is p.empty
        and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        and p.name not in entry.kinds
    ]
    assert not missing, f"{entry.function} needs kinds for {missing}"
    many = [p.name for p in varied]
    wild = data.draw(st.lists(st.sampled_from(many), max_size=2, unique=True)) if many else []
    arguments = {}
    for p in varied:
        # An optional argument that is not wild is often left out.
        left_out = p.default is not p.empty and p.name not in wild and data.draw(st.booleans())
        if not left_out:
            kind = entry.kinds[p.name]
            arguments[p.name] = data.draw(kind.wild if p.name in wild else kind.sane, label=p.name)
    note(f"{getattr(entry.function, '__name__', entry.function)}({arguments}), wild: {wild}")
    names = {p.name for p in entry.parameters()} | set(entry.names)

    def call():
        positional = [p.name for p in varied if p.kind is p.POSITIONAL_ONLY and p.name in arguments]
        named = {name: value for name, value in arguments.items() if name not in positional}
        result = entry.function(*(arguments[name] for name in positional), **named)
        entry.act(result, arguments, data, not wild)

    attempt(call, names, sane=not wild)


def attempt(call: Callable[[], Any], names: set[str], *, sane: bool = False) -> bool:
    """Call; let pass only what the brief of this folder allows.

    Returns:
        Whether the call succeeded.
    """
    with warnings.catch_warnings():
        if not sane:
            warnings.simplefilter("ignore")
        try:
            call()
        except (ValueError, TypeError) as error:
            if sane or isinstance(error, jax.errors.JAXTypeError | jax.errors.JAXIndexError):
                raise
            words = set(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", str(error)))
            if not words & names:
                raise AssertionError(f"{error!r} names none of {sorted(names)}") from error
            return False
    return True


def same_shapes(ours: Any, theirs: Any) -> None:
    """Assert that two trees agree in structure, shapes and dtypes."""
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for (path, a), b in zip(jax.tree.leaves_with_path(ours), jax.tree.leaves(theirs), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype), (jax.tree_util.keystr(path), a, b)
