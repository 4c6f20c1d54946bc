"""Where a public object says it lives: the package that exports it, not the file behind it."""

import inspect
import sys


def claim(package: str, names: list[str]) -> None:
    """Make what a package exports, and defines, say that it lives in the package.

    Tracebacks, `repr` and the documentation then name the one way in, `saddle.classify`; and a
    pickled result, which names its class, is still read after the file has moved. The price:
    `inspect.getsource` of a class looks in the module that the class names, and does not find it
    there; of a function it does. What other libraries define keeps its own home.

    Args:
        package: Name of the package, its `__name__`.
        names: What it exports, its `__all__`.
    """
    top = package.partition(".")[0]
    for name in names:
        value = getattr(sys.modules[package], name)
        home = getattr(value, "__module__", None) or ""
        if (inspect.isfunction(value) or inspect.isclass(value)) and home.startswith(f"{top}."):
            value.__module__ = package
