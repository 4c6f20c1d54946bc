"""Docstrings as Sphinx needs them.

Ours read well in a terminal: code in single backticks, formulas as indented blocks, `*` and `|` as
plain mathematics. reStructuredText would take those for emphasis and substitutions; here they are
escaped, code spans get double backticks, and indented blocks become literal ones.
"""

import re
from typing import NamedTuple

_FIELD = type(NamedTuple("_", [("field", int)]).field)
_SECTION = re.compile(
    r"(Args|Returns|Raises|Attributes|Example|Examples|Yields|Note|Notes|References):$"
)
_CODE = re.compile(r"(`[^`]+`)")
_SPECIAL = re.compile(r"([*|\\]|_(?=\W|$))")
# A word in bold, unlike a power, has nothing before its asterisks and a letter behind them.
_BOLD = re.compile(r"(?<!\S)(\*\*[A-Za-z][\w ,-]*\w\.?\*\*)(?=\W|$)")


def to_restructured_text(app, what, name, obj, options, lines):  # noqa: ARG001
    """Rewrite `lines` in place (the signature is that of Sphinx's event)."""
    lines[:] = inline(_literal_blocks(lines))


def _literal_blocks(lines):
    """Put `::` before each indented block of plain text; sections of Args and the like stay."""
    out, in_section, in_block = [], False, False
    for number, line in enumerate(lines):
        if line and not line[0].isspace():
            in_section, in_block = bool(_SECTION.match(line)), False
        elif line.strip() and not in_section and not in_block and number and not lines[number - 1]:
            in_block = True
            out += ["::", ""]
        out.append(line)
    return out


def inline(lines):
    """Escape what is outside code spans and doctests, and double the backticks of the spans."""
    text, out = "\n".join(lines), []
    in_literal = False
    for paragraph in text.split("\n\n"):
        first = paragraph.lstrip("\n").split("\n")[0]
        if in_literal and (first.startswith(" ") or not first):
            out.append(paragraph)
            continue
        in_literal = paragraph.strip() == "::"
        out.append(paragraph if in_literal else _escape(paragraph))
    return "\n\n".join(out).split("\n")


def _escape(paragraph):
    if ">>>" in paragraph:
        head, prompt, doctest = paragraph.partition(">>>")
        return _escape(head) + prompt + doctest
    parts = _CODE.split(paragraph)
    for number, part in enumerate(parts):
        if number % 2:
            parts[number] = f"`{part}`"
        else:
            pieces = _BOLD.split(part)
            pieces[::2] = [_SPECIAL.sub(r"\\\1", piece) for piece in pieces[::2]]
            part = "".join(pieces)
            # A code span ends where a word ends: "`Partial`s" needs an escaped blank between.
            parts[number] = f"\\ {part}" if number and part[:1].isalnum() else part
    return "".join(parts)


def skip_fields(app, what, name, obj, skip, options):  # noqa: ARG001
    """Leave out fields of named tuples, which the class describes, and flax's own `replace`."""
    return True if isinstance(obj, _FIELD) or _is_replace(name, obj) else None


def _is_replace(name, obj):
    return name == "replace" and getattr(obj, "__module__", None) == "flax.struct"
