"""What crews report while they work, and how the main thread comes by it.

Callbacks are called in the main thread, where Ctrl-C and signal handlers act and where notebooks
draw. A crew that has something to report waits until it was taken: what was seen is in step with
what is computed, and reports do not pile up.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

_SECONDS_A_LOOK = 0.05
"""After which a crew that waits looks whether anybody still listens."""


class Listener:
    """A callback, if there is one; once it has raised it is not called again."""

    def __init__(self, callback: Callable[..., Any] | None) -> None:
        """Call nothing yet."""
        self._callback = callback

    def tell(self, *news: Any) -> None:
        """Call it."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback(*news)
        self._callback = callback


class Reports:
    """From the crews to the main thread."""

    def __init__(self) -> None:
        """Nothing is reported yet."""
        self._waiting: queue.SimpleQueue[tuple[Any, threading.Event] | None] = queue.SimpleQueue()
        self._closed = threading.Event()

    def hand_in(self, report: Any) -> None:
        """Wait, in a crew's thread, until the report was taken or nobody listens any more."""
        taken = threading.Event()
        self._waiting.put((report, taken))
        while not (taken.wait(_SECONDS_A_LOOK) or self._closed.is_set()):
            pass

    def wake(self, *_: Any) -> None:
        """Let the main thread look, though there is nothing to report."""
        self._waiting.put(None)

    def close(self) -> None:
        """Let no crew wait any more."""
        self._closed.set()

    def take(self, timeout: float | None) -> Iterator[Any]:
        """Yield a report if there is one within `timeout` seconds; its crew goes on after that."""
        try:
            found = self._waiting.get(timeout=timeout)
        except queue.Empty:
            return
        if found is not None:
            report, taken = found
            yield report
            taken.set()

    def rest(self) -> Iterator[Any]:
        """Yield what was handed in and not taken."""
        while not self._waiting.empty():
            yield from self.take(0)
