"""SIGTERM, by which schedulers announce that a machine is taken away, as a request to stop.

While something with checkpoints runs, a training or a batch of escapes, the signal ends it soon,
with a checkpoint, by `Preempted`. Uncaught, that ends the process with the exit status 75, which
sysexits calls EX_TEMPFAIL: a temporary failure, try again later. Whoever started it can tell so
that the same command is to be given once more, and goes on bit for bit where this one stopped.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

EXIT_STATUS = 75


class Preempted(SystemExit):
    """SIGTERM ended what ran, with a checkpoint; uncaught, the process exits with status 75."""

    def __init__(self) -> None:
        """Set the exit status."""
        super().__init__(EXIT_STATUS)


@contextlib.contextmanager
def deferred(active: bool) -> Iterator[Callable[[], bool]]:
    """Hold SIGTERM back until the end of the block, which it should hasten.

    A program's own handler stays in charge; and none can be set in another thread than the main
    one.

    Args:
        active: Whether to do so; otherwise the signal does what it did.

    Yields:
        A function that says whether the signal has come.

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
    received = threading.Event()
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not active or not in_main_thread or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield received.is_set
        return
    signal.signal(signal.SIGTERM, lambda _number, _frame: received.set())
    try:
        yield received.is_set
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if received.is_set():
        raise Preempted
