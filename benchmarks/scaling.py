"""How does `saddle.escape` scale with lanes, dimension, devices and processes, and is no lane idle?

    python benchmarks/scaling.py [--figure scaling.png] [--repeats 3] [--quick]

Perturbed gradient descent on the octopus, float32. Every measurement is a process of its own, so
that devices and peak memory are its own, and is the best of `--repeats` calls after one that
compiles. The first table is the race to the minimum, where runs end at different times, against the
naive way: `vmap` of a `while_loop` in which everybody steps until the last has arrived, with noise
drawn at every step and used where it is due; and against lanes that the host refills between
compiled chunks of steps, where the engine refills them within its loop. Gradient descent (in
float64) has no noise to draw, but some of its runs take many times as long as others.
"""

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
from functools import partial

import _between_chunks
import _naive
import jax
import jax.numpy as jnp
import numpy as np
import optax
from _timing import interleaved_times, show

from jaxopt_course import problems, saddle, transforms

RATE, RADIUS = 1 / 6, float(np.e) / 100
STEPS = 300
CHUNKS = 4, 16, 64


def rule(key):
    return transforms.perturbed_gradient_descent(RATE, RADIUS, RADIUS, 1, key=key)


def descent(key):
    del key
    return transforms.gradient_descent(RATE)


def naive_rule(key):
    return _naive.perturbed_gradient_descent(RATE, RADIUS, RADIUS, 1, key)


def problem(dimension):
    return problems.octopus(
        dimension=dimension, attraction=1.5, repulsion=1.0, tube_radius=float(np.e)
    )


def batch(fun, runs):
    keys = jax.random.split(jax.random.key(0), runs)
    return jax.jit(jax.vmap(fun.init))(keys), keys


def throughput(options):
    """Return run-steps a second of runs of equal length, and the peak memory in bytes."""
    if options.processes > 1:
        jax.distributed.initialize(f"localhost:{options.port}", options.processes, options.process)
    octopus = problem(options.dimension)
    starts, keys = batch(octopus, options.runs)
    run = partial(
        saddle.escape, octopus.fun, rule, starts, keys, max_steps=STEPS, lanes=options.lanes
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = interleaved_times({"run": run}, options.repeats, warm_up=1)["run"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"rate": STEPS * options.runs / min(times), "bytes": 1024 * (peak - before)}


def race(options):
    """Return how much faster the race is than the naive way, and the useful share of all steps."""
    ours, theirs = (rule, naive_rule) if options.rule == "perturbed" else (descent, descent)
    jax.config.update("jax_enable_x64", options.rule != "perturbed")
    octopus = problem(options.dimension)
    starts, keys = batch(octopus, options.runs)
    target, most = 0.99 * octopus.minimum_value, 20 * STEPS
    # Ours: a lane whose run has ended takes the next run at once.
    refilled = partial(
        saddle.escape, octopus.fun, ours, starts, keys,
        max_steps=most, target_value=target, lanes=options.lanes,
    )  # fmt: skip

    # The naive way: all runs in one loop under vmap, which goes on until the slowest has ended.
    def one_run(x, key):
        optimizer = optax.with_extra_args_support(theirs(key))

        def step(carry):
            x, state, number = carry
            grad = jax.grad(octopus.fun)(x)
            updates, state = optimizer.update(grad, state, x, grad=grad)
            return optax.apply_updates(x, updates), state, number + 1

        def going(carry):
            return (octopus.fun(carry[0]) > target) & (carry[2] < most)

        return jax.lax.while_loop(going, step, (x, optimizer.init(x), jnp.int32(0)))[2]

    naive = jax.jit(jax.vmap(one_run))
    # In between: lanes are refilled only after every chunk of steps.
    between = partial(
        _between_chunks.escape, octopus.fun, ours, starts, keys,
        max_steps=most, target_value=target, lanes=options.lanes,
    )  # fmt: skip
    rivals = {
        "refilled": lambda: jax.block_until_ready(refilled().steps),
        "naive": lambda: jax.block_until_ready(naive(starts, keys)),
    } | {f"between {chunk}": partial(between, chunk=chunk) for chunk in CHUNKS}
    times = {n: min(t) for n, t in interleaved_times(rivals, options.repeats, warm_up=1).items()}
    # Times compare only if the work is the same: every run's steps however lanes are refilled, and
    # the median's for the naive rule, whose noise is another.
    progress = []
    steps, same = np.asarray(refilled(callback=progress.append).steps), naive(starts, keys)
    if abs(np.median(steps) / np.median(same) - 1) > 0.02:
        raise SystemExit(f"median steps differ: {np.median(steps)} and {np.median(same)}")
    for chunk in CHUNKS:
        if (between(chunk=chunk)[0] != steps).any():
            raise SystemExit(f"refilled between chunks of {chunk}, runs take other steps")
    return {
        "ratio": times["naive"] / times["refilled"],
        "between": [times[f"between {chunk}"] / times["refilled"] for chunk in CHUNKS],
        "useful": progress[-1].useful,
        "naive_useful": float(steps.mean() / steps.max()),
    }


def measure(what, *, devices=1, processes=1, **options):
    """Run one measurement in processes of its own; rates of several are added up by their work."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    options |= {"measure": what, "processes": processes, "port": port}
    words = [f"--{name}={value}" for name, value in options.items()]
    command = [sys.executable, __file__, *words]
    started = [
        subprocess.Popen(
            [*command, f"--process={process}"],
            env=dict(os.environ, JAX_PLATFORMS="cpu", JAX_NUM_CPU_DEVICES=str(devices)),
            stdout=subprocess.PIPE,
            text=True,
        )
        for process in range(processes)
    ]
    outputs = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit(f"{what} with {options} failed: {outputs}")
    # Each process got all results, so each one's time is that of the whole batch.
    return json.loads(outputs[0].splitlines()[-1])


def draw(lanes, dimensions, strong, weak, path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.4), layout="constrained")
    axes = figure.subplots(2, 2).ravel()
    axes[0].loglog(*zip(*[(n, row["rate"]) for n, row in lanes.items()], strict=True), "o-")
    axes[0].set(xlabel="lanes", ylabel="run-steps a second", title="More lanes pay up to the knee")
    axes[1].loglog(*zip(*[(n, row["bytes"]) for n, row in lanes.items()], strict=True), "o-")
    axes[1].set(xlabel="lanes", ylabel="peak memory beyond the start, bytes", title="Memory")
    rates = [(d, d * row["rate"]) for d, row in dimensions.items()]
    axes[2].loglog(*zip(*rates, strict=True), "o-")
    axes[2].set(
        xlabel="dimension", ylabel="coordinate-steps a second", title="Work a second, by dimension"
    )
    for label, rows, style in (("strong", strong, "o-"), ("weak", weak, "s--")):
        first = next(iter(rows.values()))["rate"]
        gained = [(name, row["rate"] / first) for name, row in rows.items()]
        axes[3].plot(*zip(*gained, strict=True), style, label=label)
    axes[3].set(
        xlabel="devices, or processes of one", ylabel="times the rate of one device",
        title=f"Scaling on {len(os.sched_getaffinity(0))} cores",
    )  # fmt: skip
    axes[3].legend()
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--figure")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller measurements")
    # Hidden options: with them `measure` calls this file in processes of its own.
    for name, default in {"lanes": 512, "dimension": 10, "runs": 4096, "processes": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=argparse.SUPPRESS)
    for name in ("process", "port"):
        parser.add_argument(f"--{name}", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--rule", default="perturbed", help=argparse.SUPPRESS)
    parser.add_argument("--measure", choices=("throughput", "race"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(globals()[options.measure](options)))
        return
    common = {"repeats": options.repeats}
    size = 1024 if options.quick else 8192

    rows = []
    # How much faster the race is than the naive way, by rule and dimension.
    for rule_name, dimension in (("perturbed", 3), ("perturbed", 10), ("gradient descent", 3)):
        found = measure(
            "race", rule=rule_name, dimension=dimension, runs=4 * size, lanes=size // 8, **common
        )
        shares = (f"{100 * found[name]:.0f} %" for name in ("useful", "naive_useful"))
        between = (f"{ratio:.2f}x" for ratio in found["between"])
        name = f"{rule_name}, d = {dimension}"
        rows.append((name, f"{found['ratio']:.1f}x", *shares, *between))
    show(
        f"The race to the minimum, {4 * size:,} runs in {size // 8:,} lanes, one device",
        (
            "rule", "faster than naive", "useful lane-steps", "naive",
            *(f"than refilling every {chunk} steps" for chunk in CHUNKS),
        ),
        rows,
    )  # fmt: skip

    # Run-steps a second by lanes, dimension and devices. Strong scaling keeps the number of runs,
    # weak scaling the runs of a device.
    counts = (1, 64, 4096) if options.quick else (1, 8, 64, 512, 4096, 16_384, 65_536)
    lanes = {n: measure("throughput", lanes=n, runs=max(2 * n, 16), **common) for n in counts}
    sizes = (2, 100) if options.quick else (2, 10, 100, 1000, 10_000)
    dimensions = {
        d: measure("throughput", dimension=d, lanes=min(512, 2**20 // d), runs=1024, **common)
        for d in sizes
    }
    devices = (1, 2) if options.quick else (1, 2, 8)
    strong = {str(n): measure("throughput", devices=n, runs=size, **common) for n in devices}
    weak = {str(n): measure("throughput", devices=n, runs=size // 2 * n, **common) for n in devices}
    for rows, runs in ((strong, size), (weak, size)):
        rows["2 p."] = measure("throughput", processes=2, runs=runs, **common)

    for title, table in (
        ("lanes", lanes), ("dimension", dimensions), ("devices, strong", strong),
        ("devices, weak", weak),
    ):  # fmt: skip
        show(
            f"By {title}",
            (title, "run-steps/s", "peak memory"),
            [
                (f"{name}", f"{row['rate']:.3g}", f"{row['bytes'] / 2**20:.0f} MiB")
                for name, row in table.items()
            ],
        )
    if options.figure:
        draw(lanes, dimensions, strong, weak, options.figure)


if __name__ == "__main__":
    main()
