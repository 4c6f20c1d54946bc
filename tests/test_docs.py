"""What the documentation makes of names and of the lecture, without building it."""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from docutils import nodes
from sphinx import addnodes

from experiments.lab import lecture, registry
from jaxopt_course import nn, saddle

DOCS = Path(__file__).parents[1] / "docs"
sys.path.append(str(DOCS))  # Its modules import each other, as Sphinx lets them.


def load(name):
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generate():
    return load("_generate")


def targets(generate, page, spans):
    """What a page's code spans lead to, None where they are no links."""
    paragraph = nodes.paragraph("", "", *(nodes.literal("", span) for span in spans))
    app = SimpleNamespace(env=SimpleNamespace(docname=page))
    load("_links").link_names(app, paragraph, packages=generate.packages())
    return [
        child["reftarget"] if isinstance(child, addnodes.pending_xref) else None
        for child in paragraph.children
    ]


def test_code_spans_that_name_the_library_are_links(generate):
    spans = {
        "saddle.classify": "jaxopt_course.saddle.classify",
        "saddle.classify(fun, x, order=4)": "jaxopt_course.saddle.classify",
        "jaxopt_course.nn.MLP": "jaxopt_course.nn.MLP",
        "transforms": "jaxopt_course.transforms",
        # Another library's, nobody's, and what is only known on its package's own page.
        "optax.adam": None,
        "saddle.nothing": None,
        "classify": None,
        "order=4": None,
    }
    assert targets(generate, "guides/classify", spans) == list(spans.values())


def test_on_its_own_page_a_name_needs_no_package(generate):
    spans = {"classify": "jaxopt_course.saddle.classify", "saddle": None, "adam": None, "x": None}
    assert targets(generate, "api/saddle", spans) == list(spans.values())


def test_names_of_other_libraries_lead_to_their_documentation():
    external = load("_links").external
    jax_pages = "https://docs.jax.dev/en/latest/_autosummary"
    optax_pages = "https://optax.readthedocs.io/en/latest/api"
    addresses = {
        "jnp.sort": f"{jax_pages}/jax.numpy.sort.html",
        "optax.sgd": f"{optax_pages}/optimizers.html#optax.sgd",
        "optax.chain": f"{optax_pages}/combining_optimizers.html#optax.chain",
        "optax.nothing": None,
        "optax": None,
        "x.shape": None,
    }
    assert {name: external(name) for name in addresses} == addresses


def test_a_signature_names_the_unions_that_have_a_name():
    signature = load("_types").signature
    text, returned = signature(None, "function", "", saddle.classify, None, "", "")
    assert text.startswith("(fun: Callable[[Any], Array], x: ArrayTree, *, gradient_tolerance: ")
    assert "gradient_tolerance: Numeric | None = None" in text
    assert returned == "StationaryPoint"
    text, _ = signature(None, "class", "", nn.BatchNorm, None, "", "")
    assert text.startswith("(num_features: int, *, ")


def test_every_public_name_has_one_place_in_the_reference(generate):
    for package in generate.packages().values():
        names = [name for _, exports in generate.topics(package).values() for name in exports]
        assert sorted(names) == sorted(package.__all__)


def test_the_lecture_map_has_every_statement_and_experiment(generate, tmp_path):
    generate.write_lecture_map(tmp_path / "map.md")
    text = (tmp_path / "map.md").read_text(encoding="utf-8")
    for statement in lecture.STATEMENTS:
        assert f"| {statement.text} | `{statement.experiment}` |" in text
    for experiment in registry.experiments().values():
        assert f"| `{experiment.name}` | " in text
    assert all(notebook.name in text for notebook in DOCS.parent.glob("notebooks/*.ipynb"))


def test_a_mark_becomes_what_the_block_above_it_draws(tmp_path, monkeypatch):
    drawn = load("_drawn")
    code = "from matplotlib import pyplot\nfor _ in range(2):\n    pyplot.figure()\n"
    page = f"```python\n{code}```\n\n```text\n```\n\n<!-- drawn: two\nempty figures -->\n"
    monkeypatch.setenv("DOCS_EXECUTE", "cache")
    app, source = SimpleNamespace(srcdir=tmp_path), [page]
    drawn.insert(app, "guides/page", source)
    images = [f"../api/drawn/{path.name}" for path in sorted((tmp_path / "api/drawn").iterdir())]
    assert len(images) == 2
    assert source[0].split("```\n\n")[-1].split() == (
        " ".join(f"![two empty figures]({image})" for image in images).split()
    )
    with pytest.raises(ValueError, match="no figure from the code"):
        drawn.draw("print(1)\n", tmp_path)
    monkeypatch.setenv("DOCS_EXECUTE", "off")
    source = [page]
    drawn.insert(app, "guides/page", source)
    assert source == [page]


def test_every_mark_stands_below_code_that_uses_plot():
    drawn = load("_drawn")
    marks = 0
    for path in [*DOCS.glob("*.md"), *DOCS.glob("guides/*.md")]:
        text = path.read_text(encoding="utf-8")
        for mark in drawn.MARK.finditer(text):
            assert "plot." in drawn.drawing(text, mark)
            marks += 1
    assert marks >= 3


def test_words_in_bold_stay_so_and_powers_are_no_markup():
    inline = load("_docstrings").inline
    (line,) = inline(["**Trace.** With x**2 + y**n, |a|**2; the **radius** of `a**b`"])
    assert line == r"**Trace.** With x\*\*2 + y\*\*n, \|a\|\*\*2; the **radius** of ``a**b``"


def test_what_flax_gives_every_dataclass_is_left_out():
    skip = load("_docstrings").skip_fields
    assert skip(None, "class", "replace", saddle.Census.replace, False, None)
    assert skip(None, "class", "to_xarray", saddle.EscapeRuns.to_xarray, False, None) is None
