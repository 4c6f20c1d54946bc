"""What the documentation makes of names and of the lecture, without building it."""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from docutils import nodes
from sphinx import addnodes

from experiments.lab import lecture, registry
from experiments.lab.claims import Claim
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


def test_the_page_of_published_sizes_has_every_preset_of_real_images():
    published = load("published_size")
    sizes = {name: experiment.sizes for name, experiment in registry.experiments().items()}
    there = {part.name for part in published.SECTIONS if part.preset == "fashion"}
    assert there == {name for name, presets in sizes.items() if "fashion" in presets}
    text = (DOCS / "published_size.md").read_text(encoding="utf-8")
    for part in published.SECTIONS:
        assert part.preset in sizes[part.name]
        assert f"\n{registry.command()} run {part.name} --preset {part.preset}\n" in text
        # What the front table counts is what the section shows, and one that was run has a figure.
        (row,) = [
            line for line in text.splitlines() if line.startswith(f"| [](#published-{part.name}) |")
        ]
        section = text.partition(f"\n(published-{part.name})=\n")[2].partition("\n(published")[0]
        verdicts = ("holds", "**does not hold**", "**not measured**")
        counts = [str(section.count(f"\n| {verdict} |")) for verdict in verdicts]
        if "\nNot run." in section:
            assert row.endswith("|  |  |  | not run |")
            continue
        assert row.split(" | ")[4:7] == counts
        figure = DOCS / "figures" / f"published_{part.name}.png"
        assert f"](figures/{figure.name})\n\n{part.seen.strip()}\n" in section
        assert part.seen
        assert figure.stat().st_size <= published.LARGEST


def test_a_result_at_published_size_is_shown_as_it_was_judged():
    published = load("published_size")
    claims = [Claim("|x| is 1", "derived", "1", measured, holds=False) for measured in ("2", "nan")]
    sections = [published.Section("activations", "paper", "3", "Seen."), published.SECTIONS[-1]]
    text = "\n".join(published.page({"activations": claims}, {"activations": "Title"}, sections))
    assert "| 0 | 1 | 1 | 3 |" in text
    assert "| **does not hold** | \\|x\\| is 1 | 1 | 2 |" in text
    assert "![Title](figures/published_activations.png)\n\nSeen.\n" in text
    assert text.endswith("--preset paper\n```\n\nNot run.")


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
