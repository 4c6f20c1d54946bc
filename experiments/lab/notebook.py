"""What the notebooks share: the style of the figures, and claims as a table."""

import dataclasses
from collections.abc import Iterable

import matplotlib as mpl
import matplotlib.pyplot as plt

from .claims import Claim
from .runner import STYLE


def use_style() -> None:
    """Draw as the experiments do, from here on, and have Jupyter show a figure that ends a cell."""
    # Jupyter learns to show figures when its backend is loaded, which pyplot puts off otherwise.
    plt.switch_backend(mpl.get_backend())
    plt.style.use(STYLE)


@dataclasses.dataclass(frozen=True)
class Table:
    """Claims that Jupyter shows as a table.

    Attributes:
        claims: The claims, a row each.
    """

    claims: tuple[Claim, ...]

    def _repr_markdown_(self) -> str:
        rows = [("", "claim", "expected", "measured"), ("---",) * 4]
        for claim in self.claims:
            mark = {True: "✓", False: "✗", None: "?"}[claim.holds]
            rows.append((mark, claim.statement, claim.expected, claim.measured))
        # A bar would end the cell, and a dollar begin a formula.
        escaped = ((cell.replace("|", "\\|").replace("$", "\\$") for cell in row) for row in rows)
        return "\n".join("| " + " | ".join(row) + " |" for row in escaped)


def table(claims: Iterable[Claim]) -> Table:
    r"""Return claims as a table, with a mark before each that holds (✓) or does not (✗).

    Args:
        claims: What an experiment's `claims` returned.

    Returns:
        The table.

    Example:
        >>> claim = Claim("|x| falls", "derived", "at most 1", "0.5", holds=True)
        >>> print(table([claim])._repr_markdown_().splitlines()[-1])
        | ✓ | \|x\| falls | at most 1 | 0.5 |
    """
    return Table(tuple(claims))
