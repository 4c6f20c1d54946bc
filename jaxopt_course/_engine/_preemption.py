"""SIGTERM, by which schedulers announce that a machine is taken away, as a request to stop.

While something with checkpoints runs, a training or a batch of escapes, the signal ends it soon by
`Preempted`: when it is traced, as long as nothing was computed, later with a checkpoint. Nothing is
raised in between: an exception in the middle of what JAX traces or lowers leaves its compiler in a
state in which the process crashes at its end (seen with jaxlib 0.10.2). Uncaught, `Preempted` ends
the process with the exit status 75, which sysexits calls EX_TEMPFAIL: a temporary failure, try
again later. By the status, whoever started the process knows to give the same command once more,
which goes on bit for bit where this one stopped.
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
    """A handler of SIGTERM, which notes that the signal has come."""

    def __init__(self) -> None:
        self.came = threading.Event()

    def __call__(self, _number: int, _frame: Any) -> None:
        self.came.set()

    def check(self) -> None:
        """Raise `Preempted` if the signal has come."""
        if self.came.is_set():
            raise Preempted


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """A block that SIGTERM ends by `Preempted`: where a block that is `deferred` begins or ends.

    Where the program has a handler of its own, that stays in charge; and outside the main thread,
    where Python lets nobody set one, the signal does what it did.

    Raises:
        Preempted: If the signal comes.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    watch = _Watch()
    signal.signal(signal.SIGTERM, watch)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    watch.check()


def watched_with(option: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """A decorator: a call whose keyword argument `option` is not None is `watched`."""

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        @functools.wraps(function)
        def watching(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            if kwargs.get(option) is None:
                return function(*args, **kwargs)
            with watched():
                return function(*args, **kwargs)

        return watching

    return decorate


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
    """A block in which SIGTERM waits; the block should end soon once it has come.

    Yields:
        A function that says whether the signal has come. It never says so where `watched` leaves
        the signal to others.

    Raises:
        Preempted: At the beginning or the end of the block, if the signal has come.

    Example:
        >>> try:
        ...     with deferred() as came:
        ...         signal.raise_signal(signal.SIGTERM)
        ...         print(came())
        ... except Preempted as stop:
        ...     print("exit status", stop.code)
        True
        exit status 75
    """
    with watched():
        watch = signal.getsignal(signal.SIGTERM)
        in_main_thread = threading.current_thread() is threading.main_thread()
        if not in_main_thread or not isinstance(watch, _Watch):
            yield bool
            return
        watch.check()
        yield watch.came.is_set
        watch.check()
