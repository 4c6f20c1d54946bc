"""SIGTERM, by which schedulers announce that a machine is taken away, as a request to stop.

While something with checkpoints runs, a training or a batch of escapes, the signal ends it soon by
`Preempted`: at once as long as nothing was computed, later with a checkpoint. Uncaught, that ends
the process with the exit status 75, which sysexits calls EX_TEMPFAIL: a temporary failure, try
again later. Whoever started it can tell so that the same command is to be given once more, and goes
on bit for bit where this one stopped.
"""

import contextlib
import functools
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

EXIT_STATUS = 75
_P = ParamSpec("_P")
_R = TypeVar("_R")


class Preempted(SystemExit):
    """SIGTERM ended what ran, with a checkpoint; uncaught, the process exits with status 75."""

    def __init__(self) -> None:
        """Set the exit status."""
        super().__init__(EXIT_STATUS)


class _Watch:
    """A handler of SIGTERM: it ends the program at once, or notes the signal while that waits."""

    def __init__(self) -> None:
        self.came = threading.Event()
        self.deferred = 0

    def __call__(self, _number: int, _frame: Any) -> None:
        self.came.set()
        if not self.deferred:
            raise Preempted


@contextlib.contextmanager
def watched(active: bool = True) -> Iterator[None]:
    """Have SIGTERM end the block by `Preempted`, at once or as soon as it is no longer `deferred`.

    A program's own handler stays in charge; and none can be set in another thread than the main
    one.

    Args:
        active: Whether to do so; otherwise the signal does what it did.

    Raises:
        Preempted: If the signal comes.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not active or not in_main_thread or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    watch = _Watch()
    signal.signal(signal.SIGTERM, watch)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if watch.came.is_set():  # What it raised in a destructor, say, was lost.
        raise Preempted


def watched_with(option: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Have SIGTERM end a function as in `watched` if it is given a keyword argument but None."""

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        @functools.wraps(function)
        def watching(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            with watched(kwargs.get(option) is not None):
                return function(*args, **kwargs)

        return watching

    return decorate


@contextlib.contextmanager
def deferred(active: bool) -> Iterator[Callable[[], bool]]:
    """Hold SIGTERM back until the end of the block, which it should hasten.

    Args:
        active: Whether to do so; otherwise the signal does what it did.

    Yields:
        A function that says whether the signal has come; never, if it is not for this library to
        handle (see `watched`).

    Raises:
        Preempted: At the end of the block, if it has.

    Example:
        >>> try:
        ...     with deferred(True) as came:
        ...         signal.raise_signal(signal.SIGTERM)
        ...         print(came())
        ... except Preempted as stop:
        ...     print("exit status", stop.code)
        True
        exit status 75
    """
    with watched(active):
        watch = signal.getsignal(signal.SIGTERM)
        in_main_thread = threading.current_thread() is threading.main_thread()
        if not active or not in_main_thread or not isinstance(watch, _Watch):
            yield bool
            return
        watch.deferred += 1
        try:
            yield watch.came.is_set
        finally:
            watch.deferred -= 1
        if watch.came.is_set():
            raise Preempted
