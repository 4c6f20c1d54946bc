"""What drives the lanes: a thread a device, results as they come, stopping and going on.

The runs are numbered. A *crew* is one device's lanes with the block of runs dealt to it; when its
block is through it is dealt the next. Between two calls of the compiled loop (a quarter of a second
or so) a crew hands over the runs that have ended, and can be stopped. Stopped crews, the number of
the next run to deal and the results so far are all there is to save. Taken up again, on as many
devices as there are then, they lead to the same results.

Every further device has the whole program compiled for it, which takes seconds. Unless the caller
has named the devices, the first works alone until it has worked for as long as its own program took
to compile; then the others join. So a short batch costs one compilation, and a long one at most as
long again as if it had been known before which of the two it is.

Callbacks are called in the main thread, where Ctrl-C and signal handlers act and where notebooks
draw. A crew that has something to report waits until it was taken: what was seen is in step with
what is computed, and reports do not pile up.
"""

import dataclasses
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from jaxopt_course._engine._compiled import CompiledLoop, check_that_it_fits
from jaxopt_course._engine._loop import Ended, Lanes, Program, Queue, bare
from jaxopt_course._reading import Reading, how_many, readable

Rows = dict[str, Any]
Observe = Callable[[Lanes, Rows], Any]


class Source(Protocol):
    """Where starts come from."""

    @property
    def start(self) -> Any:
        """The shapes of one."""
        ...

    @property
    def take(self) -> Callable[[int, int], Any]:
        """From the number of the first run and how many to starts, the runs being the first axis.

        Behind the last run there may be any that are valid. Keys may be given as their data.
        """
        ...


class Drawn(NamedTuple):
    """A source whose starts a function returns."""

    start: Any
    take: Callable[[int, int], Any]


_SECONDS_A_CALL = 0.25
_STEPS_ALONE = 64
"""Of a device's first call, where after some time others are to join it."""
_MOST_STEPS = 2**31 - 1
_SECONDS_A_LOOK = 0.05
"""After which a crew that waits looks whether anybody still listens."""


@readable
class Progress(NamedTuple):
    """How far a batch of runs is.

    Attributes:
        ended: How many runs have ended.
        runs: How many there are.
        useful: Share of the steps of all lanes that were steps of a run, between 0 and 1.
        steps: How many steps the lanes have taken for a run, on average, since the batch began or
            was taken up again: at `max_steps` all runs have ended, if not before.
        compiled: Whether the program is compiled.
    """

    ended: int
    runs: int
    useful: float
    steps: float = 0.0
    compiled: bool = False

    def _reading(self) -> Reading:
        """How many runs have ended."""
        if not self.compiled:
            return Reading(f"compiling the program of {how_many(self.runs, 'run')}", [])
        told = f"{self.ended} of {how_many(self.runs, 'run')} ended"
        return Reading(f"{told}, after {self.steps:.0f} steps on average", [])


@dataclasses.dataclass
class Crew:
    """One device's lanes.

    Attributes:
        lanes: Where they stand; None if they are without runs and not made yet.
        waiting: Numbers of the runs that were dealt to them and have not begun.
        under_way: How many runs are in the lanes.
    """

    lanes: Lanes | None
    waiting: range
    under_way: int


class Listener:
    """A callback or None; one that has raised is not called again."""

    def __init__(self, callback: Callable[..., Any] | None) -> None:
        """Take the callback."""
        self._callback = callback

    def tell(self, *news: Any) -> None:
        """Call the callback, if there is one."""
        # It is put back only if it returns.
        callback, self._callback = self._callback, None
        if callback is not None:
            callback(*news)
        self._callback = callback


class Reports:
    """What crews, in their threads, report to the main thread."""

    def __init__(self) -> None:
        """Open an empty queue of reports."""
        self._waiting: SimpleQueue[tuple[Any, threading.Event] | None] = SimpleQueue()
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
        """Release the crews that wait, now and later: nobody takes reports any more."""
        self._closed.set()

    def take(self, timeout: float | None) -> Iterator[Any]:
        """Yield a report if there is one within `timeout` seconds; its crew goes on after that."""
        try:
            found = self._waiting.get(timeout=timeout)
        except Empty:
            return
        if found is not None:
            report, taken = found
            yield report
            taken.set()

    def rest(self) -> Iterator[Any]:
        """Yield what was handed in and not taken."""
        while not self._waiting.empty():
            yield from self.take(0)


class Engine:
    """A batch of runs under way.

    Attributes:
        runs: Numbers of the runs.
        next: Number of the next run to deal.
        crews: The crews that have work.
        ended: How many runs have ended.
        rows: What is kept of them, until it is forgotten.
    """

    def __init__(
        self,
        program: Program,
        source: Source,
        runs: range,
        devices: tuple[jax.Device, ...],
        *,
        at_leisure: bool = False,
        long_steps: bool = False,
        observe: Observe | None = None,
        one_first: bool = False,
    ) -> None:
        """Set up a batch.

        Args:
            program: What runs do.
            source: Where starts come from.
            runs: Numbers of the runs.
            devices: Devices among which they are divided.
            at_leisure: Whether nothing listens and nothing is saved meanwhile. Then control need
                not come back soon, and one device works without a thread of its own.
            long_steps: Whether a step takes long and a start much memory: then control comes back
                after the first step, and no more runs wait at a device than it has lanes.
            observe: Called after every step with a crew's lanes and the rows of the runs that left
                them, in the crew's thread; what it returns is given to the callback of `work`.
            one_first: Whether the first device works alone until it has done so for as long as its
                program took to compile, unless that is compiled for the others already.
        """
        self.runs, self.next, self.ended = runs, runs.start, 0
        self.crews: list[Crew] = []
        self.rows: list[Rows] = []
        self._program, self._source, self._devices = program, source, devices
        self._at_work = len(devices)
        self._long_steps = long_steps
        self._loop = self._loop_of(1 if one_first else len(devices))
        self._at_leisure = at_leisure
        self._first_budget = 1024 if at_leisure else 16
        if long_steps or observe is not None:
            self._first_budget = 1
        self._observe, self._reports = observe, Reports()
        self._lane_steps = self._run_steps = self._bytes = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._is_compiled = False
        # When the other devices join the first, and what tells them.
        self._joined_at = None if one_first else -np.inf
        self._called = threading.Event()

    @property
    def finished(self) -> bool:
        """Whether every run has ended."""
        return self.ended == len(self.runs)

    @property
    def progress(self) -> Progress:
        """How far the batch is."""
        useful = self._run_steps / max(self._lane_steps, 1)
        lanes = self._program.lanes
        places = max(-(-len(self.runs) // lanes) * lanes, 1)
        return Progress(
            ended=self.ended,
            runs=len(self.runs),
            useful=min(useful, 1.0),
            steps=self._lane_steps / places,
            compiled=self._is_compiled,
        )

    @property
    def whole(self) -> bool:
        """Whether every run is accounted for: after an error in a crew, its runs are not."""
        in_hand = sum(crew.under_way + len(crew.waiting) for crew in self.crews)
        return self.ended + in_hand + self.runs.stop - self.next == len(self.runs)

    def forget_rows(self) -> None:
        """Forget the rows, which are stored elsewhere."""
        self.rows, self._bytes = [], 0

    def idle_lanes(self) -> Lanes:
        """Return lanes without runs."""
        return self._loop.idle_lanes()

    def no_rows(self) -> Rows:
        """Rows of no runs, see `CompiledLoop.no_rows`."""
        return self._loop.no_rows()

    def work(
        self,
        *,
        seconds: float = np.inf,
        most_bytes: float = np.inf,
        stop: Callable[[], bool] = bool,
        callback: Callable[..., Any] | None = None,
    ) -> None:
        """Work until all runs have ended, or there is a reason to return before.

        An exception in the main thread, as Ctrl-C or a signal handler raise it, leaves the crews in
        order: they can be saved, and `work` may be called again.

        Args:
            seconds: Return after so many,
            most_bytes: or once the rows have so many,
            stop: or once this returns True.
            callback: Gets the progress a few times a second. Where the engine has an `observe`, it
                gets two arguments: the progress, and what was observed after a step or None.
        """
        until, before = time.monotonic() + seconds, self._lane_steps

        def enough() -> bool:
            # However little time there is, one step is taken.
            late = self._lane_steps > before and time.monotonic() >= until
            return late or self._bytes >= most_bytes or stop() or self._stop.is_set()

        self._stop.clear()
        devices = self._devices_at_work()
        self._at_work = len(devices)
        self._called.clear()
        if len(devices) > 1 and self._is_alone():
            self._first_budget = min(self._first_budget, _STEPS_ALONE)
        if self._at_leisure and self._is_alone():
            # No thread: nobody is told anything, and nobody takes up what an exception interrupts.
            resting, self.crews = self.crews, []
            self._labour(devices[0], resting, lambda: enough() or self._called.is_set())
            self.crews += resting
            if self.finished or not self._called.is_set():
                return
        self._work_in_threads(devices, enough, callback)

    def _work_in_threads(
        self,
        devices: tuple[jax.Device, ...],
        enough: Callable[[], bool],
        callback: Callable[..., Any] | None,
    ) -> None:
        """Work with a thread a device, as a call on a CPU does its work before it returns.

        At leisure the main thread is the first device's own.
        """
        resting, self.crews = self.crews, []
        # Configuration that holds in a `with` holds in its thread alone: carry it over.
        x64 = jax.config.jax_enable_x64  # pyrefly: ignore[missing-attribute]
        precision = jax.config.jax_default_matmul_precision  # pyrefly: ignore[missing-attribute]
        reports = self._reports = Reports()
        listener = Listener(callback)

        def labour(device: jax.Device) -> None:
            with jax.enable_x64(x64), jax.default_matmul_precision(precision):
                if device is not devices[0] and self._is_alone():
                    self._called.wait()
                    if self._is_alone():
                        return
                try:
                    self._labour(device, resting, enough)
                except BaseException:
                    self._stop.set()
                    raise
                finally:
                    self._called.set()

        own = devices[:1] if self._at_leisure else ()
        with ThreadPoolExecutor(len(devices)) as threads:
            pending = {threads.submit(labour, device) for device in devices[len(own) :]}
            for future in pending:
                future.add_done_callback(reports.wake)
            try:
                for device in own:
                    labour(device)
                self._attend(pending, listener, None if callback is None else _SECONDS_A_CALL)
            finally:
                self._stop.set()
                self._called.set()
                reports.close()
                wait(pending)
                self.crews += resting
                for observed in reports.rest():
                    listener.tell(self.progress, observed)

    def _attend(self, pending: set[Future[None]], listener: Listener, every: float | None) -> None:
        """Tell what the crews report, and how far all is, until they are done or one has failed."""
        while pending:
            for observed in self._reports.take(every):
                listener.tell(self.progress, observed)
            done, pending = wait(pending, 0, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            listener.tell(self.progress, *([] if self._observe is None else [None]))

    def _labour(self, device: jax.Device, resting: list[Crew], enough: Callable[[], bool]) -> None:
        """Work with one crew after the other on a device: those at rest, then new ones."""
        while not enough() and (crew := self._next_crew(resting, device)) is not None:
            self._employ(crew, device, enough)

    def _loop_of(self, devices: int) -> CompiledLoop:
        """The loop with which so many devices begin.

        Where all runs have a lane, they work in blocks. Where runs wait for one, if only until
        other devices join, lanes are refilled.
        """
        program = self._program
        in_blocks = program.in_blocks or len(self.runs) <= devices * program.lanes
        start, long_steps = self._source.start, self._long_steps
        return CompiledLoop(program, start, in_blocks=in_blocks, long_steps=long_steps)

    def _is_alone(self) -> bool:
        """Whether there is but one device at work, or it is not yet time for others to join it."""
        if self._at_work == 1:
            return True
        if self._joined_at is None:
            compiled = all(map(self._loop.is_compiled_for, self._devices[: self._at_work]))
            alone = 0.0 if compiled else self._loop.needs(self._devices[0]).seconds
            self._joined_at = time.monotonic() + alone
        return time.monotonic() < self._joined_at

    def _devices_at_work(self) -> tuple[jax.Device, ...]:
        """Return as many devices as there is work for."""
        blocks = -(-(len(self.runs) - self.ended) // self._program.lanes)
        devices = self._devices[: max(blocks, 1)]
        if len(devices) > 1 and self._loop.asks_every_core(devices[0]):
            self._loop = self._loop_of(1)
            return devices[:1]
        return devices

    def _next_crew(self, resting: list[Crew], device: jax.Device) -> Crew | None:
        """Return a crew with work, a new one if there are runs for it, or None."""
        with self._lock:
            if resting:
                return resting.pop()
            if self.next == self.runs.stop:
                return None
        needed = self._loop.needs(device).bytes
        check_that_it_fits(needed, self._program.lanes, device)  # Before any lanes are made.
        self._is_compiled = True
        return Crew(lanes=None, waiting=range(0), under_way=0)

    def _employ(self, crew: Crew, device: jax.Device, enough: Callable[[], bool]) -> None:
        """Let a crew work until it has nothing to do or has to stop."""
        program = brought(self._program, device)
        if crew.lanes is None:
            crew.lanes = self._loop.idle_lanes()
        crew.lanes = brought(crew.lanes, device)
        budget, queue = self._first_budget, None
        while True:
            if dealt := self._deal_to(crew):
                crew.waiting, queue = dealt, None
            if not crew.waiting and not crew.under_way:
                return
            if enough():
                with self._lock:
                    self.crews.append(crew)
                return
            if queue is None:
                queue = self._queue(crew.waiting, device)
            started, before = time.monotonic(), queue.head
            more = self.next < self.runs.stop
            crew.lanes, head, ended = self._loop(
                program, crew.lanes, queue, device=device, budget=budget, more=more
            )
            self._is_compiled = True
            rows, steps = self._keep(ended)
            queue = queue._replace(head=np.asarray(head))
            begun = int(queue.head - before)
            crew.waiting = crew.waiting[begun:]
            crew.under_way += begun - len(rows["run"])
            if self._observe is not None:
                if steps:
                    self._reports.hand_in(self._observe(crew.lanes, rows))
            elif steps >= budget:
                # The time is that of the steps alone: `needs` has compiled the loop before.
                rate = budget / max(time.monotonic() - started, 1e-9)
                budget = int(np.clip(rate * _SECONDS_A_CALL, 1, min(16 * budget, _MOST_STEPS)))

    def _deal_to(self, crew: Crew) -> range:
        """Take the next runs for a crew, if it has none, and call for those who are to join it."""
        alone, lanes = self._is_alone(), self._program.lanes
        if not alone:
            self._called.set()
        if crew.under_way == lanes and self._at_work > 1:
            # With its lanes full it leaves to others, or to those who may join it, what is left.
            left = self.runs.stop - self.next
            if alone or left <= self._at_work * lanes:
                return range(0)
        return range(0) if crew.waiting else self._deal()

    def _deal(self) -> range:
        """Take the next runs: fewer towards the end, so that no device is without."""
        with self._lock:
            left = self.runs.stop - self.next
            share = left if self._at_work == 1 else left // (2 * self._at_work)
            most = min(max(share, self._program.lanes), self._loop.size)
            dealt = range(self.next, min(self.next + most, self.runs.stop))
            self.next = dealt.stop
        return dealt

    def _queue(self, waiting: range, device: jax.Device) -> Queue:
        """The queue of these runs, on a device."""
        starts = bare(self._source.take(waiting.start, self._loop.size))
        first, head, size = np.int32(waiting.start), np.int32(0), np.int32(len(waiting))
        return Queue(brought(starts, device), first, head, size)

    def _keep(self, ended: Ended) -> tuple[Rows, int]:
        """Bring the rows of ended runs to the host and count them in.

        Returns:
            The rows, and how many steps the lanes have taken.
        """
        # NumPy makes a number of an array in a fraction of the time that JAX takes.
        count, steps = int(np.asarray(ended.count)), int(np.asarray(ended.steps))
        filled = np.asarray(ended.rows["run"]) >= 0

        def copy(leaf: jax.Array) -> np.ndarray:
            if not count:  # Often so, and then nothing is copied from the device.
                return np.zeros((0, *leaf.shape[1:]), leaf.dtype)
            # Chosen on the host: on the device that would be compiled for every count.
            rows = np.asarray(leaf)
            return rows if count == len(rows) else rows[filled]

        rows = jax.tree.map(copy, ended.rows)
        with self._lock:
            if count:
                self.rows.append(rows)
            self.ended += count
            self._bytes += sum(leaf.nbytes for leaf in jax.tree.leaves(rows))
            self._run_steps += int(rows["steps"].sum())
            self._lane_steps += steps * self._program.lanes
        return rows, steps


def brought(tree: Any, device: jax.Device) -> Any:
    """The arrays, those of other devices brought to this one; those of the host stay there.

    What is compiled takes them from the host itself, in a fraction of the time.
    """

    def bring(leaf: Any) -> Any:
        if isinstance(leaf, jax.Array) and leaf.devices() != {device}:
            return jax.device_put(leaf, device)
        return leaf

    return jax.tree.map(bring, tree)


def concatenate(rows: Iterable[Rows]) -> Rows:
    """Rows of all these runs, ordered by the runs' numbers, without the numbers."""
    first, *others = rows
    if not others and np.all(first["run"][1:] > first["run"][:-1]):
        return {name: of_runs for name, of_runs in first.items() if name != "run"}
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), first, *others)
    order = np.argsort(joined.pop("run"))
    return jax.tree.map(lambda leaf: leaf[order], joined)
