"""Results in the terminal: tables where there is room for them, plain text where there is not."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from . import store
from .claims import Claim

NARROW = 80
"""Columns below which a table's cells are too narrow to be read: then rows are stacked."""
_COLOURS = {True: "green", False: "bold red", None: "yellow"}


def verdict(claims: list[Claim]) -> str:
    """Return how many claims hold, in words.

    Example:
        >>> verdict([Claim("x is 1", "derived", "1", "nan", holds=False)])
        '0 of 1 claims hold, 1 not measured'
    """
    unknown = sum(claim.holds is None for claim in claims)
    held = f"{sum(claim.holds is True for claim in claims)} of {len(claims)} claims hold"
    return held + (f", {unknown} not measured" if unknown else "")


def is_plain(console: Console) -> bool:
    """Return whether tables have no place: in a narrow terminal, in a file, in another program."""
    return not console.is_terminal or console.width < NARROW


def say(console: Console, text: str) -> None:
    """Print a line of text with markup that a file gets unbroken."""
    console.print(text, highlight=False, soft_wrap=not console.is_terminal)


def _coloured(claim: Claim) -> str:
    return f"[{_COLOURS[claim.holds]}]{claim.verdict}[/]"


def print_result(result: store.Result, console: Console) -> None:
    """Print the claims of a result, and where its figure and data are."""
    claims = result.claims()
    if is_plain(console):
        for claim in claims:
            say(console, f"{_coloured(claim)}: {escape(claim.statement)} ({escape(claim.source)})")
            say(console, f"  expected {escape(claim.expected)}")
            say(console, f"  measured {escape(claim.measured)}")
    else:
        table = Table(show_lines=True)
        for heading in ("claim", "expected", "measured", "verdict"):
            table.add_column(heading, overflow="fold")
        for claim in claims:
            statement = f"{escape(claim.statement)} [dim]({escape(claim.source)})[/]"
            cells = escape(claim.expected), escape(claim.measured), _coloured(claim)
            table.add_row(statement, *cells)
        console.print(table)
    seconds = result.about.get("seconds")
    took = f", computed in {seconds:.1f} s" if seconds is not None else ""
    console.print(f"{verdict(claims)}{took}", highlight=False)
    for label, path in (("figure", result.figure), ("data", result.data)):
        console.print(f"{label:8}{path}", highlight=False, soft_wrap=True, markup=False)


def print_summary(finished: list[store.Result], failed: list[str], console: Console) -> None:
    """Print a line for each of several experiments."""
    rows = []
    for result in finished:
        claims = result.claims()
        colour = "green" if all(claim.holds for claim in claims) else "bold red"
        name, preset = result.about["experiment"], result.folder.name
        time = f"{result.about.get('seconds', 0):.0f} s"
        fails = [escape(claim.statement) for claim in claims if not claim.holds]
        rows.append((name, preset, time, f"[{colour}]{verdict(claims)}[/]", fails))
    rows += [(name, "", "", "[bold red]failed[/]", ["see its error above"]) for name in failed]
    if is_plain(console):
        say(console, "summary, with what does not hold or was not measured below each")
        for name, preset, time, said, fails in rows:
            say(console, " ".join(filter(None, (f"{name}:", said, preset, time))))
            for statement in fails:
                say(console, f"  {statement}")
        return
    table = Table(title="summary", title_justify="left")
    for heading in ("experiment", "result", "time", "verdict", "what does not hold"):
        table.add_column(heading, overflow="fold")
    for *cells, fails in rows:
        table.add_row(*cells, "\n".join(fails))
    console.print(table)
