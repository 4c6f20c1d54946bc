"""Names of the library in code spans, as links to where they are documented.

`saddle.classify`, or `classify` on the page of `saddle`, becomes a link; so do a call,
`saddle.classify(fun, x)`, and `saddle` itself. `optax.chain`, `jax.vmap` and `nnx.Linear` lead to
their own documentation, at the addresses that their module tells, so that nothing is downloaded.
Names that are documented nowhere stay as they are.
"""

import inspect
import re
from importlib import import_module

from docutils import nodes
from sphinx import addnodes

_NAME = re.compile(r"(?:jaxopt_course\.)?([a-z]\w*(?:\.\w+)*)(?:\(.*\))?", re.S)


def link_names(app, doctree, *, packages):
    """Put a reference around each code span that names something public (event doctree-read)."""
    page = app.env.docname
    here = page.removeprefix("api/").partition("/")[0]
    for literal in list(doctree.findall(nodes.literal)):
        if isinstance(literal.parent, nodes.title | nodes.reference | addnodes.pending_xref):
            continue
        match = _NAME.fullmatch(literal.astext())
        target = match and _target(match.group(1), here, packages)
        address = match and not target and external(match.group(1))
        if address:
            link = nodes.reference("", "", literal.deepcopy(), refuri=address, internal=False)
            literal.replace_self(link)
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


_OPTAX_PAGES = {
    "optax._src.alias": "optimizers",
    "optax._src.base": "transformations",
    "optax._src.clipping": "transformations",
    "optax._src.combine": "combining_optimizers",
    "optax._src.transform": "transformations",
    "optax._src.wrappers": "optimizer_wrappers",
    "optax.contrib.": "contrib",
    "optax.losses.": "losses",
    "optax.schedules.": "optimizer_schedules",
    "optax.transforms._accumulation": "optimizer_wrappers",
    "optax.transforms._combining": "combining_optimizers",
    "optax.transforms._conditionality": "optimizer_wrappers",
    "optax.transforms._masking": "optimizer_wrappers",
    "optax.transforms.": "transformations",
}
_NNX_PAGES = {
    "flax.nnx.module": "module",
    "flax.nnx.nn.linear": "nn/linear",
    "flax.nnx.nn.normalization": "nn/normalization",
    "flax.nnx.rnglib": "rnglib",
    "flax.nnx.training.optimizer": "training/optimizer",
}


def external(name):
    """Return the address at which another library documents a name, or None.

    Example:
        >>> external("jax.vmap")
        'https://docs.jax.dev/en/latest/_autosummary/jax.vmap.html'
    """
    first, *rest = name.split(".")
    library = {"jax": "jax", "jnp": "jax.numpy", "optax": "optax", "nnx": "flax.nnx"}.get(first)
    if library is None or not rest:
        return None
    value = import_module(library)
    for part in rest:
        value = getattr(value, part, None)
    if value is None or inspect.ismodule(value):
        return None
    full, home = ".".join((library, *rest)), getattr(value, "__module__", "") or ""
    if library.startswith("jax"):
        return f"https://docs.jax.dev/en/latest/_autosummary/{full}.html"
    if library == "optax":
        page = _page(_OPTAX_PAGES, home)
        return page and f"https://optax.readthedocs.io/en/latest/api/{page}.html#{full}"
    page = _page(_NNX_PAGES, home)
    base = "https://flax.readthedocs.io/en/latest/api_reference/flax.nnx"
    return page and f"{base}/{page}.html#{full}"


def _page(pages, home):
    """Return the page of what a module, or one below it, defines; None if it is not known."""
    return next((page for module, page in pages.items() if f"{home}.".startswith(module)), None)
