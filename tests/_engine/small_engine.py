"""An engine in NumPy, for tests of what is stored of one: it compiles nothing.

Run i halves the distance of `x` to 2 in each of its `1 + 7 i mod 13` steps, from `x = i`.
"""

from typing import NamedTuple

import jax
import numpy as np

from jaxopt_course._engine._crews import Crew
from jaxopt_course._engine._loop import IDLE, RUNNING

LANES = 4


class SmallLanes(NamedTuple):
    run: np.ndarray
    reason: np.ndarray
    x: np.ndarray
    steps: np.ndarray


class SmallEngine:
    def __init__(self, runs):
        self.runs, self.next, self.ended = runs, runs.start, 0
        self.crews, self.rows = [], []

    finished = property(lambda self: self.ended == len(self.runs))

    @property
    def whole(self):
        in_hand = sum(crew.under_way + len(crew.waiting) for crew in self.crews)
        return self.ended + in_hand + self.runs.stop - self.next == len(self.runs)

    def forget_rows(self):
        self.rows = []

    def idle_lanes(self):
        return SmallLanes(
            np.zeros(LANES, "int32"),
            np.full(LANES, IDLE, "int32"),
            np.zeros(LANES),
            np.zeros(LANES),
        )

    def no_rows(self):
        return rows_of(np.arange(0))

    def work(self, steps):
        """Take so many steps with two crews."""
        while len(self.crews) < 2 and self.next < self.runs.stop:
            dealt = range(self.next, min(self.next + 10, self.runs.stop))
            self.crews.append(Crew(None, dealt, 0))
            self.next = dealt.stop
        for crew in self.crews:
            for _ in range(steps):
                self._step(crew)
        self.crews = [crew for crew in self.crews if crew.under_way or crew.waiting]

    def _step(self, crew):
        lanes = self.idle_lanes() if crew.lanes is None else jax.tree.map(np.array, crew.lanes)
        for lane in np.flatnonzero(lanes.reason == IDLE)[: len(crew.waiting)]:
            lanes.run[lane], lanes.reason[lane] = crew.waiting[0], RUNNING
            lanes.x[lane], lanes.steps[lane] = crew.waiting[0], 0
            crew.waiting, crew.under_way = crew.waiting[1:], crew.under_way + 1
        at_work = lanes.reason == RUNNING
        lanes.x[at_work] = (lanes.x[at_work] + 2) / 2
        lanes.steps[at_work] += 1
        over = at_work & (lanes.steps == length_of(lanes.run))
        lanes.reason[over] = IDLE
        if over.any():
            self.rows.append(rows_of(lanes.run[over], lanes.x[over]))
        crew.lanes, crew.under_way = lanes, crew.under_way - int(over.sum())
        self.ended += int(over.sum())


def length_of(run):
    return 1 + 7 * run % 13


def rows_of(run, x=None):
    """What is kept of runs; without `x`, what is to come out."""
    run = np.asarray(run, "int32")
    if x is None:
        x = run.astype(float)
        for step in range(13):
            x = np.where(step < length_of(run), (x + 2) / 2, x)
    return {"run": run, "params": {"x": x}, "steps": length_of(run).astype("int32")}
