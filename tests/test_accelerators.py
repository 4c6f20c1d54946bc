"""The table of what was compiled for accelerators knows all that this library offers."""

import functools
import inspect
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jaxopt_course import saddle, transforms
from jaxopt_course.saddle._search_program import RULES as SEARCHES

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def benchmarks():
    """What makes the table: its programs, the devices, and the command."""
    sys.path.append(str(ROOT / "benchmarks"))
    try:
        import _compile
        import _programs
        import accelerators
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    return _programs, _compile, accelerators


@pytest.fixture(scope="module")
def programs(benchmarks):
    return benchmarks[0].programs()


def options_of(call, argument):
    """The words that an argument may be, as the error of a call with another tells them."""
    with pytest.raises(ValueError, match=argument) as caught:
        call(**{argument: "none of them"})
    return re.findall(r"'(\w+)'", str(caught.value).split(", got")[0])


def test_every_transformation_has_a_row_for_every_solver(programs):
    makers = {
        name: function
        for name, function in vars(transforms).items()
        if name in transforms.__all__
        and inspect.isfunction(function)
        and "GradientTransformation" in str(inspect.signature(function).return_annotation)
        and name not in {"adapt", "make_step", "flatten_by_dtype", "scale_by_learning_rate"}
    }
    assert len(makers) > 20
    for name, make in makers.items():
        if name.startswith("scale_by_"):  # A link of the rule, whose row has it.
            assert name.removeprefix("scale_by_") in makers
        elif "solver" in inspect.signature(make).parameters:
            first = [1.0] if name == "cubic_newton" else []
            for solver in options_of(functools.partial(make, *first), "solver"):
                assert f"make_step, {name}, {solver}" in programs
        else:
            assert f"make_step, {name}" in programs


def test_every_search_and_every_way_to_classify_has_a_row(programs):
    for method in SEARCHES:
        assert f"find, {method}" in programs
    assert "find, no method" in programs
    classify = functools.partial(saddle.classify, lambda x: x @ x, jnp.zeros(2))
    assert set(options_of(classify, "method")) == {"auto", "dense", "lanczos"}
    for way in ("order 2, 1024 points", "order 4, 1024 points", "order 2, Lanczos"):
        assert f"classify, {way}" in programs


def test_escapes_have_a_row_for_every_width_and_all_but_rivals_one_of_float64(programs):
    escapes = {name.split(", ")[1] for name in programs if name.startswith("escape")}
    for escape in escapes:
        for width in ("bfloat16", "float64"):
            assert f"escape, {escape}, {width}" in programs
    for name in programs:
        if "float" not in name and "obvious" not in name:
            assert f"{name}, float64" in programs


def test_the_page_says_of_every_program_and_device_whether_it_compiles(benchmarks, programs):
    named, compiling, accelerators = benchmarks
    page = accelerators.PAGE.read_text(encoding="utf-8")
    text, _, table = page.partition(accelerators.HEADING)
    rows = [tuple(cell.strip() for cell in line.split("|")[1:4]) for line in table.splitlines()]
    said = {(name, device): compiles for name, device, compiles in rows}
    assert len(said) == len(rows)
    for compiles in said.values():
        assert re.fullmatch(r"yes|not tried|not in \d+ s", compiles)
    for name in programs:
        for device in compiling.DEVICES:
            reason = named.left_out(name, device)
            assert ((name, device) in said) == (reason is None)
            assert reason is None or reason in " ".join(text.split())
    assert {name for name, _ in said} == programs.keys()


def test_a_program_has_floats_of_the_width_in_its_name_alone(programs):
    for name, program in programs.items():
        floats = {
            leaf.dtype
            for leaf in jax.tree.leaves(program.arguments)
            if jnp.issubdtype(leaf.dtype, jnp.floating)
        }
        expected = next((w for w in ("float64", "bfloat16") if w in name), "float32")
        assert floats == {jnp.dtype(expected)}
        assert program.wide == (expected == "float64")
