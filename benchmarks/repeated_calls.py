"""What a call costs besides its steps: the first one, and one that computes what another did.

    python benchmarks/repeated_calls.py [--repeats 10] [--cpu-time] [--first]

Of a batch of 100 runs of perturbed gradient descent on the octopus in ten dimensions: a call with
the same objects, one whose objective and rule were defined anew, over other data, and what it takes
to find out that these compute the same. Then the same of a call that trains a network, and the
share of it that goes into finding out. `--first` measures the processor time of the first result in
a process with nothing compiled, of `escape` and of the obvious way: `vmap` of a `while_loop` round
optax's noisy chain.
"""

import os
import resource
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _naive import perturbed_gradient_descent
from _timing import arguments, interleaved_times, median_ratios
from flax import nnx

from jaxopt_course import problems, saddle, training, transforms
from jaxopt_course.nn import MLP
from jaxopt_course.saddle import _escape_program as program
from jaxopt_course.training import _loop as training_loop

PROBLEM = problems.octopus(dimension=10)
RUNS, STEPS, RATE, RADIUS = 100, 500, 1 / 6, np.e / 100


def rule(key):
    return transforms.perturbed_gradient_descent(RATE, RADIUS, RADIUS, 1, key=key)


def moved(centre):
    """The octopus at another place, which is data; written as a user would."""
    return lambda x: PROBLEM.fun(x - centre)


def starts():
    keys = jax.random.split(jax.random.key(0), RUNS)
    return jax.vmap(PROBLEM.init)(keys), jax.random.split(jax.random.key(1), RUNS)


def escapes():
    begins, keys = starts()
    here, places = moved(jnp.zeros(10)), iter(range(10**9))
    shape = jax.ShapeDtypeStruct((10,), jnp.float32)

    def escape(fun, rule):
        runs = saddle.escape(fun, rule, begins, keys, max_steps=STEPS, devices=jax.devices()[:1])
        return jax.block_until_ready(runs)

    def tell(fun):
        return program.trace_program(
            fun,
            lambda key: rule(key),
            program.Start(shape, keys[0]),
            at=lambda: begins[0],
            limits=program.Limits(None, None, None),
            max_steps=STEPS,
            lanes=32,
        )

    fresh = [jnp.full(10, number * 1e-6) for number in range(64)]
    return {
        "the same objects": lambda: escape(here, rule),
        "defined anew, other data": lambda: escape(
            moved(fresh[next(places) % 64]), lambda key: rule(key)
        ),
        "telling that nothing changed": lambda: tell(moved(fresh[0])),
        "telling that other data came": lambda: tell(moved(fresh[next(places) % 64])),
        "the same, of a problem of the library": lambda: tell(PROBLEM.fun),
    }


def trainings(epochs=10):
    inputs = jax.random.normal(jax.random.key(0), (2000, 20))
    labels = (inputs[:, 0] * inputs[:, 1] > 0).astype(int)
    keys = jax.random.split(jax.random.key(1), 4)

    def fit(build, loss, shift):
        return training.fit(
            build,
            optax.adam(1e-3),
            (inputs + shift, labels),
            keys,
            epochs=epochs,
            batch_size=50,
            loss=loss,
        )

    def build(key):
        return MLP((20, 128, 128, 2), rngs=nnx.Rngs(key))

    return {
        "the same objects": lambda: fit(build, training.cross_entropy, 0.0),
        "defined anew, other data": lambda: fit(
            lambda key: build(key), lambda *both: training.cross_entropy(*both), 0.1
        ),
    }


def share_of_tracing(fit, repeats):
    """Return the share of processor time of `fit` that goes into tracing what it was given."""
    spent = {"traces": 0.0, "calls": 0.0}

    def clocked(name, call):
        def timed(*arguments, **options):
            begun = time.process_time()
            try:
                return call(*arguments, **options)
            finally:
                spent[name] += time.process_time() - begun

        return timed

    tracers = ("trace_start", "trace_program")
    former = {name: getattr(training_loop, name) for name in tracers}
    fit()
    for name in tracers:
        setattr(training_loop, name, clocked("traces", former[name]))
    try:
        for _ in range(repeats):
            clocked("calls", fit)()
    finally:
        for name in tracers:
            setattr(training_loop, name, former[name])
    return spent["traces"] / spent["calls"]


@jax.jit
def the_obvious_way(begins, keys):
    """Return where the runs end: `vmap` of a `while_loop` round optax's noisy chain."""

    def run(x, key):
        optimizer = perturbed_gradient_descent(RATE, RADIUS, RADIUS, 1, key)

        def step(carry):
            x, state, count = carry
            grad = jax.grad(PROBLEM.fun)(x)
            updates, state = optimizer.update(grad, state, x, grad=grad)
            return optax.apply_updates(x, updates), state, count + 1

        goes_on = lambda carry: carry[2] < STEPS  # noqa: E731
        x, _, count = jax.lax.while_loop(goes_on, step, (x, optimizer.init(x), jnp.int32(0)))
        return x, PROBLEM.fun(x), count

    return jax.vmap(run)(begins, keys)


def table(title, rivals, options):
    clock = time.process_time if options.cpu_time else time.perf_counter
    times = interleaved_times(rivals, options.repeats, clock=clock)
    print(title)
    for name, (seconds, ratio) in median_ratios(times, next(iter(rivals))).items():
        print(f"  {name:40} {1e3 * seconds:8.2f} ms   {ratio:6.3f}")


def first_results():
    """Print the processor time of a first result with nothing compiled, beyond importing."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_COMPILATION")}
    spent = {}
    for name in ("nothing", "the obvious way", "escape"):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, __file__, "--once", name], env=environment, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent[name] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    obvious, ours = (spent[name] - spent["nothing"] for name in ("the obvious way", "escape"))
    print(
        f"first result: the obvious way {obvious:.2f} s, escape {ours:.2f} s, {ours / obvious:.2f}"
    )


def once(name):
    begins, keys = starts()
    jax.block_until_ready((begins, keys))
    if name == "escape":
        jax.block_until_ready(saddle.escape(PROBLEM.fun, rule, begins, keys, max_steps=STEPS))
    elif name == "the obvious way":
        jax.block_until_ready(the_obvious_way(begins, keys))


def main():
    parser = arguments(__doc__)
    parser.add_argument("--first", action="store_true", help="measure first results only")
    parser.add_argument("--once", help="what to compute once, for `--first`")
    options = parser.parse_args()
    if options.once:
        once(options.once)
    elif options.first:
        first_results()
    else:
        table("escape, 100 runs of 500 steps:", escapes(), options)
        calls = trainings()
        table("fit, 4 runs of 10 epochs:", calls, options)
        for epochs in (10, 50):
            share = share_of_tracing(trainings(epochs)["the same objects"], options.repeats)
            print(f"  share of telling, {epochs} epochs {100 * share:8.1f} %")


if __name__ == "__main__":
    main()
