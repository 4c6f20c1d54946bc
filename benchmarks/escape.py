"""How many steps a second do many runs of perturbed gradient descent take, ours and others'?

    python benchmarks/escape.py [--runs 1024] [--steps 300] [--repeats 20]

The runs start at random on the octopus in 10 dimensions, in float32; 300 steps take most of them to
the minimum. Every contender has the same function, constants and law of the noise:

    escape  saddle.escape, the call as a user makes it who names all devices
    torch   a Python loop over steps, autograd, one run at a time (8 of the runs)
    step    a jitted JAX step called from Python, one run at a time (8 of the runs)
    NumPy   a Python loop over steps, the whole batch in vectors, the gradient written by hand
    vmap    jit of vmap of fori_loop of an optax chain that draws noise at every step
    C       escape_loop.c, one run at a time, on all cores
    C, 16   the same, 16 runs abreast in vector registers: the limit of this machine

They are timed in turn within one process; compilation is not counted. A ratio is our rate over
theirs. Before that, it is checked that all of them do descend alike.
"""

import argparse
import ctypes
import os
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import _naive
import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from _timing import interleaved_times
from rich.console import Console
from rich.table import Table

from jaxopt_course import problems, saddle, transforms

DIMENSION = 10
ATTRACTION, REPULSION, TAU = 1.5, 1.0, float(np.e)
RATE = 1 / (4 * ATTRACTION)
RADIUS = THRESHOLD = TAU / 100
INTERVAL = 1
# The octopus's constants for those who write it out; its module has the formula.
CUBIC = (10 * REPULSION - 14 * ATTRACTION) / (3 * TAU)
QUARTIC = (5 * ATTRACTION - 3 * REPULSION) / (2 * TAU**2)
HEIGHT = 16 * ATTRACTION * TAU**2 - TAU**2 * (37 * ATTRACTION + 13 * REPULSION) / 6

OCTOPUS = problems.octopus(
    dimension=DIMENSION, attraction=ATTRACTION, repulsion=REPULSION, tube_radius=TAU
)
FEW = 8  # runs of those that take one at a time from Python
# Our rate should be at least this many times theirs.
AIMS = {"torch": 5000, "step": 200, "NumPy": 5, "vmap": 8, "C": 0.3, "C, 16": 0.3}


class Contender(NamedTuple):
    """Something that takes all of `runs` runs through their steps."""

    runs: int
    descend: Callable[[], np.ndarray]  # returns the last points, shape (runs, DIMENSION)


def rule(key: jax.Array) -> optax.GradientTransformationExtraArgs:
    return transforms.perturbed_gradient_descent(RATE, RADIUS, THRESHOLD, INTERVAL, key=key)


def ours(starts: np.ndarray, steps: int) -> Contender:
    keys = jax.random.split(jax.random.key(0), len(starts))
    batch = jnp.asarray(starts)
    devices = tuple(jax.devices())  # By default a batch as short as this is left to one of them.

    def descend():
        runs = saddle.escape(OCTOPUS.fun, rule, batch, keys, max_steps=steps, devices=devices)
        return jax.block_until_ready(runs).params

    return Contender(len(starts), descend)


def torch_loop(starts: np.ndarray, steps: int) -> Contender:
    torch.set_num_threads(1)  # ten numbers are no work for two
    torch.manual_seed(0)

    def fun(x):
        a = x.abs()
        w = (a - TAU).clamp(min=0)
        near = -(ATTRACTION + REPULSION) * a**2 + CUBIC * w**3 + QUARTIC * w**4
        far = HEIGHT - 8 * ATTRACTION * TAU * a
        u = (w / TAU).clamp(max=1)
        switch = u**3 * (10 - 15 * u + 6 * u**2)
        change = torch.where(a < 2 * TAU, near, far)
        return ATTRACTION * x.dot(x) + change[0] + switch[:-1].dot(change[1:])

    def one_run(start):
        x = torch.tensor(start, requires_grad=True)
        since_last = steps
        for _ in range(steps):
            (grad,) = torch.autograd.grad(fun(x), x)
            with torch.no_grad():
                x -= RATE * grad
                if since_last > INTERVAL and grad.norm() <= THRESHOLD:
                    normal = torch.randn(DIMENSION + 2)
                    x += RADIUS * normal[:DIMENSION] / normal.norm()
                    since_last = 0
            since_last += 1
        return x.detach().numpy()

    return Contender(FEW, lambda: np.stack([one_run(start) for start in starts[:FEW]]))


def jitted_step(starts: np.ndarray, steps: int) -> Contender:
    keys = jax.random.split(jax.random.key(1), FEW)

    @jax.jit
    def step(x, state, key):
        updates, state = rule(key).update(jax.grad(OCTOPUS.fun)(x), state, x)
        return optax.apply_updates(x, updates), state

    def one_run(x, key):
        state = rule(key).init(x)
        for _ in range(steps):
            x, state = step(x, state, key)
        return np.asarray(x)

    return Contender(
        FEW,
        lambda: np.stack([one_run(jnp.asarray(starts[i]), keys[i]) for i in range(FEW)]),
    )


def numpy_loop(starts: np.ndarray, steps: int) -> Contender:
    generator = np.random.default_rng(0)
    runs = len(starts)

    def gradient(x):
        a = np.abs(x)
        w = np.maximum(a - TAU, 0)
        is_near = a < 2 * TAU
        near = -(ATTRACTION + REPULSION) * (a * a) + w * w * w * (CUBIC + QUARTIC * w)
        change = np.where(is_near, near, HEIGHT - 8 * ATTRACTION * TAU * a)
        near_slope = w * w * (3 * CUBIC + 4 * QUARTIC * w) - 2 * (ATTRACTION + REPULSION) * a
        slope = np.where(is_near, near_slope, np.float32(-8 * ATTRACTION * TAU))
        u = np.minimum(w * (1 / TAU), 1)
        grad = 2 * ATTRACTION * a
        grad[0] += slope[0]
        grad[1:] += (u * u * u * (10 + u * (6 * u - 15)))[:-1] * slope[1:]
        bump = u * (1 - u)
        grad[:-1] += (30 / TAU) * (bump * bump)[:-1] * change[1:]
        return np.copysign(grad, x * grad)

    def descend():
        x = starts.T.copy()
        since_last = np.full(runs, steps)
        for _ in range(steps):
            grad = gradient(x)
            (due,) = np.nonzero(
                (np.einsum("ji,ji->i", grad, grad) <= THRESHOLD**2) & (since_last > INTERVAL)
            )
            x -= RATE * grad
            if due.size:
                normal = generator.standard_normal((DIMENSION + 2, due.size), np.float32)
                x[:, due] += RADIUS * normal[:DIMENSION] / np.linalg.norm(normal, axis=0)
                since_last[due] = 0
            since_last += 1
        return x.T

    return Contender(runs, descend)


def vmapped_loop(starts: np.ndarray, steps: int) -> Contender:
    def one_run(start, key):
        optimizer = _naive.perturbed_gradient_descent(RATE, RADIUS, THRESHOLD, INTERVAL, key)

        def step(_, carry):
            x, state = carry
            grad = jax.grad(OCTOPUS.fun)(x)
            updates, state = optimizer.update(grad, state, x, grad=grad)
            return optax.apply_updates(x, updates), state

        return jax.lax.fori_loop(0, steps, step, (start, optimizer.init(start)))[0]

    all_runs = jax.jit(jax.vmap(one_run))
    keys = jax.random.split(jax.random.key(2), len(starts))
    batch = jnp.asarray(starts)
    return Contender(len(starts), lambda: np.asarray(all_runs(batch, keys)))


class Constants(ctypes.Structure):
    """As in escape_loop.c."""

    _fields_ = (
        *(
            (name, ctypes.c_float)
            for name in ("attraction", "repulsion", "tau", "rate", "radius", "threshold")
        ),
        ("interval", ctypes.c_int32),
    )


def c_loop(starts: np.ndarray, steps: int, folder: Path, *, width: int) -> Contender:
    source, library = Path(__file__).with_name("escape_loop.c"), folder / f"escape_{width}.so"
    flags = ("-O3", "-march=native", "-shared", "-fPIC", f"-DWIDTH={width}")
    command = ("gcc", *flags, f"-DDIMENSION={DIMENSION}", str(source), "-o", str(library), "-lm")
    subprocess.run(command, check=True)
    loop = ctypes.CDLL(str(library)).descend
    constants = Constants(ATTRACTION, REPULSION, TAU, RATE, RADIUS, THRESHOLD, INTERVAL)
    cores = jax.device_count()
    threads = ThreadPoolExecutor(cores)

    def descend():
        # A call leaves Python's lock alone while it runs, so the parts do run side by side.
        parts = np.split(starts.copy(), cores)
        floats = [part.ctypes.data_as(ctypes.POINTER(ctypes.c_float)) for part in parts]

        def run(i):
            loop(
                ctypes.byref(constants),
                floats[i],
                ctypes.c_int64(len(parts[i])),
                ctypes.c_int64(steps),
                ctypes.c_uint64(i),
            )

        list(threads.map(run, range(cores)))
        return np.concatenate(parts)

    return Contender(len(starts), descend)


def check_that_they_descend_alike(contenders: dict[str, Contender]) -> dict[str, float]:
    """Return everyone's median of the last value; the means must differ by chance alone."""
    values = {
        name: np.asarray(jax.vmap(OCTOPUS.fun)(jnp.asarray(contender.descend())))
        for name, contender in contenders.items()
    }
    expected = values["escape"]
    # With few steps the spread may be next to nothing: at least what one noise makes of a value.
    spread = max(np.std(expected), ATTRACTION * RADIUS**2)
    for name, found in values.items():
        error = spread * np.sqrt(1 / len(found) + 1 / len(expected))
        if not abs(found.mean() - expected.mean()) < 4 * error:
            raise SystemExit(
                f"{name} does something else: its last values have mean {found.mean():.2f}, "
                f"those of escape {expected.mean():.2f} +- {error:.2f}"
            )
    return {name: float(np.median(found)) for name, found in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    jax.config.update("jax_num_cpu_devices", cores)
    if options.runs % (16 * jax.device_count()):
        parser.error(f"--runs must be a multiple of {16 * jax.device_count()}, got {options.runs}")

    keys = jax.random.split(jax.random.key(3), options.runs)
    starts = np.array(jax.vmap(OCTOPUS.init)(keys), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        contenders = {
            "escape": ours(starts, options.steps),
            "torch": torch_loop(starts, options.steps),
            "step": jitted_step(starts, options.steps),
            "NumPy": numpy_loop(starts, options.steps),
            "vmap": vmapped_loop(starts, options.steps),
            "C": c_loop(starts, options.steps, Path(folder), width=1),
            "C, 16": c_loop(starts, options.steps, Path(folder), width=16),
        }
        medians = check_that_they_descend_alike(contenders)
        times = interleaved_times(
            {name: contender.descend for name, contender in contenders.items()}, options.repeats
        )
    rates = {
        name: [options.steps * contenders[name].runs / seconds for seconds in times[name]]
        for name in contenders
    }
    show(options, rates, medians)


def show(options: argparse.Namespace, rates: dict[str, list], medians: dict[str, float]) -> None:
    table = Table(
        title=f"{options.runs:,} runs of {options.steps} steps on {jax.device_count()} cores, "
        f"{options.repeats} repeats, load {os.getloadavg()[0]:.1f}"
    )
    table.add_column("contender")
    for column in (
        "run-steps/s, best",
        "median",
        "escape is, best",
        "median",
        "aim",
        "last value",
    ):
        table.add_column(column, justify="right")
    best = {name: max(found) for name, found in rates.items()}
    middle = {name: statistics.median(found) for name, found in rates.items()}
    for name in rates:
        ratios = [f"{rate['escape'] / rate[name]:,.3g}x" for rate in (best, middle)]
        aim = f">= {AIMS[name]:,}x" if name in AIMS else ""
        table.add_row(
            name, f"{best[name]:,.4g}", f"{middle[name]:,.4g}", *ratios, aim, f"{medians[name]:.2f}"
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
