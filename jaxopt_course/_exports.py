"""Where a public function says it lives: the package that exports it, not the file behind it."""

import inspect
import sys


def claim(package: str, names: list[str]) -> None:
    """Make the functions that a package exports, and defines, say that they live in the package.

    Tracebacks, `repr` and the documentation then name the one way in, `saddle.classify`, and files
    can move. Classes keep the file's name: `inspect.getsource`, by which notebooks and debuggers
    show the source, looks for a class in the module that it names, and for a function in the file
    of its code. What other libraries define keeps its own home.

    Args:
        package: Name of the package, its `__name__`.
        names: What it exports, its `__all__`.
    """
    top = package.partition(".")[0]
    for name in names:
        value = getattr(sys.modules[package], name)
        if inspect.isfunction(value) and value.__module__.startswith(f"{top}."):
            value.__module__ = package
