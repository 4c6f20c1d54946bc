import dataclasses
from typing import Annotated

import numpy as np
import pytest

from experiments.lab.fields import (
    Checked,
    Seed,
    above,
    between,
    check,
    check_ascending,
    is_bounded,
    minimum,
    number,
    one_of,
    ranges,
)


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    runs: Annotated[int, minimum(1)] = 3
    rate: Annotated[float, above(0)] = 0.1
    shares: tuple[Annotated[float, between(0, 1)], ...] = (0.0, 1.0)
    names: tuple[Annotated[str, one_of(("a", "b"))], ...] = ("a",)
    pair: tuple[Annotated[float, number()], Annotated[float, number()]] = (1.0, -1.0)
    some: Annotated[int, minimum(2)] | None = None
    seed: Seed = 0
    flag: bool = False


@pytest.mark.parametrize(
    ("field", "value", "error", "said"),
    [
        ("runs", 0, ValueError, "runs must be at least 1, got 0"),
        ("runs", 1.5, TypeError, "runs must be an integer, got 1.5"),
        ("runs", True, TypeError, "runs must be an integer, got True"),
        ("runs", None, TypeError, "runs must be an integer, got None"),
        ("rate", 0.0, ValueError, "rate must be above 0, got 0.0"),
        ("rate", float("inf"), ValueError, "rate must be finite, got inf"),
        ("rate", "fast", TypeError, "rate must be a number, got 'fast'"),
        ("shares", (0.5, 1.5), ValueError, "shares must be between 0 and 1, got 1.5"),
        ("shares", (), ValueError, "shares must have at least one element"),
        ("shares", 0.5, TypeError, "shares must be a tuple, got 0.5"),
        ("names", ("a", "c"), ValueError, "names must be one of a, b, got 'c'"),
        ("pair", (1.0,), ValueError, "pair must have 2 elements"),
        ("some", 1, ValueError, "some must be at least 2, got 1"),
        ("seed", 2**32, ValueError, "seed must be between 0 and 4294967295"),
        ("flag", 1, TypeError, "flag must be a flag, got 1"),
    ],
)
def test_what_a_field_may_not_be_is_said_with_its_name(field, value, error, said):
    with pytest.raises(error, match=said):
        Config(**{field: value})


def test_what_a_field_may_be_is_taken():
    Config(runs=np.int64(5), rate=1, shares=[0, 0.5], some=2, seed=2**32 - 1, flag=True)
    check(Config())


def test_unbounded_annotations_are_found():
    assert is_bounded(tuple[Annotated[int, minimum(1)], ...] | None)
    for hint in (int, tuple[int, ...], Annotated[int, "text"], str | None):
        assert not is_bounded(hint)
    assert [rule.text for rule in ranges(Annotated[int, minimum(1)] | None)] == ["at least 1"]


@pytest.mark.parametrize("values", [(), (1,), (2, 1), (1, 1), (1, 3, 2)])
def test_what_does_not_ascend_is_refused_by_name(values):
    check_ascending(widths=(1, 2, 4), rates=(0.1, 0.2))
    with pytest.raises(ValueError, match="rates must be two or more, ascending, got"):
        check_ascending(widths=(1, 2), rates=values)
