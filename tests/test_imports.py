"""No module imports, however indirectly, one that imports it: not even for types alone."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def read_modules(package):
    """Every module of a package, by its dotted name, with the tree of its source."""
    modules = {}
    for path in (ROOT / package).rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        modules[name] = path.name == "__init__.py", ast.parse(path.read_text(encoding="utf-8"))
    return modules


def imports_of(name, is_package, tree, known):
    """The modules of `known` that a module imports anywhere: at its top, in a function, for types.

    A name that a package gives on is looked for in the package, and a package need not be ready for
    its own modules to be imported: importing one is no import of its package.
    """
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name.split(".") if is_package else name.split(".")[:-1]
                above = package[: len(package) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner in known else base)
    return (found & set(known)) - {name}


def circles(graph):
    """The strongly connected components of more than one module, each sorted (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in graph[node]:
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            component = []
            while not component or component[-1] != node:
                component.append(stack.pop())
            if len(component) > 1:
                found.append(tuple(sorted(component)))

    for node in graph:
        if node not in index:
            visit(node)
    return set(found)


def graph_of(package):
    modules = read_modules(package)
    return {
        name: imports_of(name, is_package, tree, modules)
        for name, (is_package, tree) in modules.items()
    }


@pytest.mark.parametrize("package", ["jaxopt_course", "experiments"])
def test_no_module_imports_itself_by_way_of_others(package):
    graph = graph_of(package)
    assert sum(map(len, graph.values())) > len(graph)  # It has looked, and found imports.
    assert circles(graph) == set()


def test_circles_are_found_of_types_too(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [])
    room = tmp_path / "room"
    room.mkdir()
    (room / "__init__.py").write_text("from .a import A as A\n")
    (room / "a.py").write_text("def late():\n    from . import b\n    return b\n")
    (room / "b.py").write_text("if TYPE_CHECKING:\n    from room.a import A\n")
    (room / "c.py").write_text("from . import b\nimport room.a\n")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert circles(graph_of("room")) == {("room.a", "room.b")}


def test_experiments_import_what_they_share_and_not_each_other():
    entries = {name.split(".")[1] for name in read_modules("experiments") if "." in name}
    for name, targets in graph_of("experiments").items():
        entry = [*name.split("."), ""][1]
        others = {target.split(".")[1] for target in targets if "." in target} - {entry, "lab"}
        assert entry not in entries - {"lab"} or not others, (name, others)
        assert entry != "lab" or not others, (name, others)


def test_the_library_knows_nothing_of_the_experiments():
    for name, (is_package, tree) in read_modules("jaxopt_course").items():
        known = {"experiments"}
        assert not imports_of(name, is_package, tree, known), name
