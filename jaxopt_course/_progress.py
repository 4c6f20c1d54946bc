"""What `progress=True` shows: one line on stderr, until the call returns.

    ⠙ escape: running ━━━━━━━━╸━━━━━━━━━━━ 412 of 1000 runs 0:00:32 left 0:00:41

"Compiling" until the first step was taken, or the first product with a Hessian; then how far it is,
and how much time is left at that rate. A bar is a callback like any other: it is told what a
callback is told, shows it, and hands it on. Where nobody looks at a terminal, in a log file or a
notebook without ipywidgets, it writes a plain line at the start and at the end, and every half a
minute between.

rich draws it, because its own thread does: seconds go on while a compiler or a device keeps Python
waiting, which is when one wonders. It comes with the extra `jaxopt_course[progress]`.
"""

import functools
import importlib.util
import inspect
import math
import sys
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax

from jaxopt_course._checks import check_callable, is_traced, is_tracing
from jaxopt_course._engine._crews import Progress
from jaxopt_course._reading import how_many

_P = ParamSpec("_P")
_R = TypeVar("_R")

_SECONDS_A_LINE = 30.0
"""Between plain lines."""


def shown(
    unit: str, *, limit: str | None = None, last: str | None = None, left: str = "left"
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Let a function that has a `callback` show a bar where its argument `progress` is True.

    It then returns when what it returns is computed.

    Args:
        unit: What the bar counts: "runs", "epochs" or "products".
        limit: Name of the argument that says after how many steps every run has ended.
        last: What is done after the last run has ended, if that takes long.
        left: What the time that is left is called.

    Returns:
        A decorator. The function checks that `progress` is True or False.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        defaults = {name: p.default for name, p in inspect.signature(function).parameters.items()}

        @functools.wraps(function)
        def showing(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            if kwargs.get("progress") is not True:
                return function(*args, **kwargs)
            if is_traced((args, kwargs)) or is_tracing():
                raise ValueError("progress must be False within a traced function, got True")
            callback: Any = kwargs.get("callback")
            check_callable(callback=callback, optional=True)
            most = None if limit is None else kwargs.get(limit, defaults[limit])
            told = {"unit": unit, "limit": most, "last": last, "left": left}
            with Bar(function.__name__, callback, **told) as bar:
                kwargs["callback"] = bar
                result = function(*args, **kwargs)
                jax.block_until_ready(result)
                jax.effects_barrier()
            return result

        return showing

    return decorate


class Bar:
    """A callback that shows what it is told, within `with`.

    Args:
        name: Of the function.
        callback: The user's, or None, which is told the same.
        unit: What is counted.
        limit: Steps after which every run has ended, or None.
        last: What is done after that, or None.
        left: What the time that is left is called.
    """

    def __init__(
        self,
        name: str,
        callback: Callable[[Any], Any] | None,
        *,
        unit: str,
        limit: Any = None,
        last: str | None = None,
        left: str = "left",
    ) -> None:
        """Show nothing yet.

        Raises:
            ModuleNotFoundError: If rich is not installed.
        """
        if importlib.util.find_spec("rich") is None:
            raise ModuleNotFoundError(
                "progress=True needs rich: pip install 'jaxopt_course[progress]', or "
                "'.[progress]' in a clone"
            )
        self._name, self._callback = name, callback
        self._unit, self._limit, self._last, self._left = unit, limit, last, left
        self._compiled_at: float | None = None
        self._told, self._blind = "", False

    def __enter__(self) -> "Bar":
        """Show that it compiles."""
        self._began = time.monotonic()
        self._display = _display(self._name, self._left)
        self._display.show("compiling", "", None)
        return self

    def __exit__(self, *_: Any) -> None:
        """Leave the line as it is, and say how long it took."""
        seconds = time.monotonic() - self._began
        done = f"done in {_clock(seconds)}"
        if not self._blind:
            compiling = (self._compiled_at or time.monotonic()) - self._began
            done += f", {_clock(compiling)} of it compiling"
        self._display.close(self._told, done)

    def __call__(self, news: Any) -> None:
        """Show news that a callback gets, and hand them on."""
        if isinstance(news, Progress):
            self.batch(news)
        elif hasattr(news, "residual"):
            self.product(news)
        if self._callback is not None:
            self._callback(news)

    def batch(self, progress: Progress) -> None:
        """Show how far a batch of runs is."""
        if not progress.compiled:
            return
        ended = progress.ended / max(progress.runs, 1)
        share = max(ended, min(progress.steps / self._limit, 1.0)) if self._limit else ended
        runs = f"{progress.ended} of {progress.runs} runs"
        if self._unit == "epochs":
            networks = how_many(progress.runs, "network")
            runs = f"{share * self._limit:.0f} of {self._limit} epochs of {networks}"
            if 0 < progress.ended < progress.runs:
                runs += f", {progress.ended} of them ended"
        phase = "running" if ended < 1 or self._last is None else self._last
        self._show(phase, runs, share)

    def doing(self, what: str) -> None:
        """Show what is being done, where nothing tells compiling from running."""
        self._blind = True
        self._display.show(what, "", None)

    def product(self, news: Any) -> None:
        """Show how many products there were, of which nobody else is told."""
        told = f"{news.products} of {news.at_most} products"
        if not math.isnan(news.residual):
            told = f"{news.products} products, residual {news.residual:.0e}"
        self._show("running", told, min(news.products / news.at_most, 1.0))

    def _show(self, phase: str, told: str, share: float) -> None:
        if self._compiled_at is None:
            self._compiled_at = time.monotonic()
        self._told = told
        self._display.show(phase, told, share)


def _display(name: str, left: str) -> Any:
    """Return what is drawn into: a bar where that works, else lines."""
    from rich.console import Console

    console = Console(stderr=True)
    if jax.process_index():
        return _Nothing()
    widgets = console.is_jupyter and importlib.util.find_spec("ipywidgets") is not None
    moves = console.is_terminal and not console.is_dumb_terminal and not console.is_jupyter
    return _Line(name, left, console) if moves or widgets else _Lines(name, left)


class _Line:
    """One line of a terminal, drawn anew ten times a second."""

    def __init__(self, name: str, left: str, console: Any) -> None:
        from rich import progress

        self._name, self._left = name, left
        self._drawn = progress.Progress(
            progress.SpinnerColumn(finished_text="✓"),
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=20 if console.width >= 100 else 8),
            progress.TextColumn("{task.fields[told]}"),
            progress.TimeElapsedColumn(),
            progress.TextColumn("{task.fields[left]}"),
            progress.TimeRemainingColumn(),
            console=console,
        )
        self._drawn.start()
        self._task = self._drawn.add_task(name, total=None, told="", left="")

    def show(self, phase: str, told: str, share: float | None) -> None:
        shown = f"{self._name}: {phase}"
        if share is None:
            self._drawn.update(self._task, description=shown)
        else:
            self._drawn.update(
                self._task,
                description=shown,
                total=1.0,
                completed=share,
                told=told,
                left=self._left,
            )

    def close(self, told: str, done: str) -> None:
        shown = f"{self._name}: {done}"
        self._drawn.update(
            self._task, description=shown, total=1.0, completed=1.0, told=told, left=""
        )
        self._drawn.stop()


class _Lines:
    """Lines one below the other, few of them."""

    def __init__(self, name: str, left: str) -> None:
        self._name, self._left = name, left
        self._phase, self._next, self._began = "", 0.0, (0.0, 0.0)

    def show(self, phase: str, told: str, share: float | None) -> None:
        now = time.monotonic()
        if phase != self._phase:
            self._phase, self._began = phase, (now, share or 0.0)
            self._next = now + _SECONDS_A_LINE
            self._print(phase)
        elif now >= self._next:
            self._next = now + _SECONDS_A_LINE
            since, before = self._began
            gained = (share or 0.0) - before
            seconds = (now - since) * (1 - before - gained) / gained if gained > 0 else None
            left = "" if seconds is None else f", {_clock(seconds)} {self._left}"
            self._print(f"{phase}, {told}{left}")

    def close(self, told: str, done: str) -> None:
        self._print(f"{told}{', ' if told else ''}{done}")

    def _print(self, text: str) -> None:
        print(f"{self._name}: {text}", file=sys.stderr, flush=True)


class _Nothing:
    """What all processes but the first show."""

    def show(self, *_: Any) -> None:
        pass

    def close(self, *_: Any) -> None:
        pass


def _clock(seconds: float) -> str:
    """Return hours, minutes and seconds.

    Example:
        >>> _clock(3725.4)
        '1:02:05'
    """
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
