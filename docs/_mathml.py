"""Formulas as MathML, which browsers draw themselves: no script, hence no network, is needed."""

from docutils.nodes import SkipNode
from latex2mathml.converter import convert


def setup(app):
    """Make `mathml` a renderer that `html_math_renderer` can name."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))


def _inline(writer, node):
    writer.body.append(convert(node.astext()))
    raise SkipNode


def _block(writer, node):
    writer.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>\n')
    raise SkipNode
