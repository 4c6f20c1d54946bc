"""Rivals timed in turn, so that a ratio compares like with like where the machine's load varies."""

import argparse
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np


def interleaved_times(
    rivals: dict[str, Callable[[], Any]],
    repeats: int,
    *,
    warm_up: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds a call of each, one list entry a round, in an order that changes every round.

    In a fixed order whoever follows the one that fills the caches pays for it. The first `warm_up`
    rounds, which compile and touch new pages, do not count. Where others use the machine too,
    `time.process_time` on one core says more than the wall clock.
    """
    times: dict[str, list[float]] = {name: [] for name in rivals}
    generator = np.random.default_rng(0)
    for repeat in range(repeats + warm_up):
        for name in generator.permutation(list(rivals)):
            start = clock()
            rivals[name]()
            if repeat >= warm_up:
                times[name].append(clock() - start)
    return times


def median_ratios(times: dict[str, list[float]], reference: str) -> dict[str, tuple[float, float]]:
    """Return each rival's median time, and the median of the rounds' ratios to the reference."""
    return {
        name: (
            statistics.median(seconds),
            statistics.median(a / b for a, b in zip(seconds, times[reference], strict=True)),
        )
        for name, seconds in times.items()
    }


def arguments(description: str) -> argparse.ArgumentParser:
    """Return a parser with what `compare` is told: how often, and by which clock."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cpu-time", action="store_true", help="processor instead of wall clock")
    return parser


def compare(
    rivals: dict[str, Callable[[], Any]], options: argparse.Namespace, reference: str
) -> tuple[dict[str, Any], dict[str, tuple[float, float]]]:
    """Return each rival's answer to a first call, which compiles, and what `median_ratios` says."""

    def waiting(call: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: jax.block_until_ready(call())

    timed = {name: waiting(call) for name, call in rivals.items()}
    answers = {name: call() for name, call in timed.items()}
    clock = time.process_time if options.cpu_time else time.perf_counter
    times = interleaved_times(timed, options.repeats, warm_up=0, clock=clock)
    return answers, median_ratios(times, reference)


def show(title: str, headings: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a table, the first column to the left."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    Console(width=110).print(table)
