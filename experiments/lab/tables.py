"""Results as tables in the terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from . import store
from .claims import Claim


def verdict(claims: list[Claim]) -> str:
    """Return how many claims hold, in words."""
    return f"{sum(claim.holds for claim in claims)} of {len(claims)} claims hold"


def _holds(claim: Claim) -> str:
    return "[green]holds[/]" if claim.holds else "[bold red]does not hold[/]"


def print_result(result: store.Result, console: Console) -> None:
    """Print the claims of a result, and where its figure and data are."""
    table = Table(show_lines=True)
    for heading in ("claim", "expected", "measured", "verdict"):
        table.add_column(heading, overflow="fold")
    claims = result.claims()
    for claim in claims:
        statement = f"{escape(claim.statement)} [dim]({escape(claim.source)})[/]"
        table.add_row(statement, escape(claim.expected), escape(claim.measured), _holds(claim))
    console.print(table)
    seconds = result.about.get("seconds")
    took = f", computed in {seconds:.1f} s" if seconds is not None else ""
    console.print(f"{verdict(claims)}{took}", highlight=False)
    for label, path in (("figure", result.figure), ("data", result.data)):
        console.print(f"{label:8}{path}", highlight=False, soft_wrap=True, markup=False)


def print_summary(finished: list[store.Result], failed: list[str], console: Console) -> None:
    """Print a line for each of several experiments."""
    table = Table(title="summary", title_justify="left")
    for heading in ("experiment", "result", "time", "verdict", "what does not hold"):
        table.add_column(heading, overflow="fold")
    for result in finished:
        claims = result.claims()
        colour = "green" if all(claim.holds for claim in claims) else "bold red"
        name, preset = result.about["experiment"], result.folder.name
        time = f"{result.about.get('seconds', 0):.0f} s"
        fails = "\n".join(escape(claim.statement) for claim in claims if not claim.holds)
        table.add_row(name, preset, time, f"[{colour}]{verdict(claims)}[/]", fails)
    for name in failed:
        table.add_row(name, "", "", "[bold red]failed[/]", "see its traceback above")
    console.print(table)
