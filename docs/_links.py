"""Names of the library in code spans, as links to where they are documented.

`saddle.classify`, or `classify` on the page of `saddle`, becomes a link; so do a call,
`saddle.classify(fun, x)`, and `saddle` itself. Names that are documented nowhere stay as they are.
"""

import inspect
import re

from docutils import nodes
from sphinx import addnodes

_NAME = re.compile(r"(?:jaxopt_course\.)?([a-z]\w*(?:\.\w+)*)(?:\(.*\))?", re.S)


def link_names(app, doctree, *, packages):
    """Put a reference around each code span that names something public (event doctree-read)."""
    page = app.env.docname
    here = page.removeprefix("api/")
    for literal in list(doctree.findall(nodes.literal)):
        if isinstance(literal.parent, nodes.title | nodes.reference | addnodes.pending_xref):
            continue
        match = _NAME.fullmatch(literal.astext())
        target = match and _target(match.group(1), here, packages)
        if target:
            literal.replace_self(
                addnodes.pending_xref(
                    "",
                    literal.deepcopy(),
                    refdomain="py",
                    reftype="obj",
                    reftarget=target,
                    refexplicit=True,
                    refwarn=False,
                    refdoc=page,
                )
            )


def _target(name, here, packages):
    """Return the full name of what a page's code span means, or None."""
    first, *rest = name.split(".")
    if first in packages:
        package, names = first, rest
    elif here in packages and not rest:
        package, names = here, [first]
    else:
        return None
    if package == here and not names:
        return None
    value = packages[package]
    for part in names:
        value = getattr(value, part, None)
    # An argument may have a constant's or an inner module's name.
    if names and not (inspect.isclass(value) or inspect.isfunction(value)):
        return None
    return ".".join(("jaxopt_course", package, *names))
