"""Every public function says what it takes and returns, with an example that doctest runs."""

import doctest
import inspect

import pytest

from jaxopt_course import plot, problems, saddle, theory, transforms

FUNCTIONS = {
    f"{module.__name__.rpartition('.')[2]}.{name}": value
    for module in (transforms, theory, saddle, problems, plot)
    for name, value in vars(module).items()
    if inspect.isfunction(value) and not name.startswith("_")
}
# What the class of a result or of a state has to say is its fields.
CLASSES = {
    f"{module.__name__.rpartition('.')[2]}.{name}": value
    for module in (transforms, theory, saddle, problems, plot)
    for name, value in vars(module).items()
    if inspect.isclass(value) and not name.startswith("_")
}
EVERY_FUNCTION = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())


def section(function, title):
    """The indented lines below `title:` in a docstring of Google's style, "" if there is none."""
    _, _, rest = (inspect.getdoc(function) or "").partition(f"\n{title}:\n")
    lines = []
    for line in rest.splitlines():
        if line and not line.startswith(" "):
            break
        lines.append(line)
    return "\n".join(lines)


@EVERY_FUNCTION
def test_a_function_has_an_example_that_doctest_runs(function):
    assert doctest.DocTestParser().get_examples(section(function, "Example"))


@EVERY_FUNCTION
def test_a_function_documents_every_parameter_and_what_it_returns(function):
    described = [
        line.strip().split(":")[0]
        for line in section(function, "Args").splitlines()
        if line.startswith("    ") and not line.startswith("     ")
    ]
    names = [name.lstrip("*") for entry in described for name in entry.split(", ")]
    assert names == list(inspect.signature(function).parameters)
    # The first line may say it all: it names what is returned.
    says = (inspect.getdoc(function) or "").startswith(("The ", "How "))
    assert says or section(function, "Returns")


@EVERY_FUNCTION
def test_a_function_that_refuses_input_says_what_it_raises(function):
    source = inspect.getsource(inspect.unwrap(function))
    refuses = "raise " in source or "check_" in source
    assert not refuses or section(function, "Raises")


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES.keys())
def test_a_class_documents_every_field(kind):
    fields = getattr(kind, "_fields", None) or getattr(kind, "__dataclass_fields__", None) or ()
    text = inspect.getdoc(kind)
    assert text
    assert [name for name in fields if f"\n    {name}: " not in text] == []
