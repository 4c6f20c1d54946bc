"""Both ends of a spectrum against curvlinops, its density against PyHessian: the ratios of one run.

    pip install pyhessian==0.1 curvlinops-for-pytorch==3.0.1
    taskset -c 0 python benchmarks/hessian_peers.py --cpu-time [--images 250] [--repeats 1]
        [--steps 100] [--probes 10]

One network (`_mnist_network.py`, 266,610 parameters, float64), the same weights and images in JAX
and in torch:

    ends       smallest and largest eigenvalue: `saddle.extreme_eigenpairs` and ARPACK on
               curvlinops' products, to a residual of 1e-6 |A|, measured by our product
    density    Lanczos quadrature of so many steps a probe: `saddle.spectral_density` and
               PyHessian's `density`; the mean of eigenvalue^2 says that they measure the same

Rivals are timed in turn, ours after a call that compiles; a ratio is the median of the rounds'.
"products" is the part of the time that the products alone take, each timed by itself: the rest is
the algorithm around them. Every part of `eigenpairs.py` and `curvature.py` that others are compared
by is left out, so that this takes a minute.
"""

import statistics
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import torch
from _mnist_network import linearized, trained_setting
from _timing import arguments, interleaved_times, show
from _torch_peers import PyHessian, curvlinops_operator
from eigenpairs import RESIDUAL, _by_arpack, _residual

from jaxopt_course import saddle

KEY = jax.random.key(0)


def ends(setting, options, clock):
    """Compare the search for both ends."""
    fun, params = setting.fun, setting.params
    package, operator = curvlinops_operator(setting)
    search = jax.jit(
        partial(
            saddle.extreme_eigenpairs, which="both", key=KEY, tolerance=RESIDUAL, check_copies=False
        )
    )
    answers = {}

    def ours():
        pairs = jax.block_until_ready(search(fun, params))
        found = {
            end: (pairs.eigenvalues[i], jax.tree.map(lambda leaf, i=i: leaf[i], pairs.eigenvectors))
            for i, end in enumerate(("smallest", "largest"))
        }
        answers["ours"] = found, int(pairs.num_products)

    def theirs():
        answers["curvlinops"] = _by_arpack(operator, params)

    search(fun, params)
    rivals = {"ours": ours} | ({"curvlinops": theirs} if package else {})
    times = interleaved_times(rivals, options.repeats, warm_up=0, clock=clock)
    alone = {"ours": seconds_a_product(setting, clock)}
    if package:
        vector = torch.ones(operator.shape[1], dtype=torch.float64)
        alone["curvlinops"] = median(lambda: operator @ vector, clock)
    measure = jax.jit(_residual)
    norm = max(abs(float(value)) for value, _ in answers["ours"][0].values())
    rows = []
    for name, (found, count) in answers.items():
        residuals = [float(measure(fun, params, *found[end])) / norm for end in found]
        rows.append(row(name, times, alone[name] * count, count, f"{max(residuals):.0e}"))
    show("both ends to a residual of 1e-6", (*HEADINGS, "largest residual"), rows)


def density(setting, options, clock):
    """Compare the quadrature."""
    fun, params, steps, probes = setting.fun, setting.params, options.steps, options.probes
    estimate = jax.jit(
        partial(saddle.spectral_density, num_steps=steps, num_probes=probes, key=KEY)
    )
    peer, answers = PyHessian(setting), {}

    def ours():
        spectrum = jax.block_until_ready(estimate(fun, params))
        answers["ours"] = np.sum(spectrum.weights * spectrum.nodes**2, axis=1)

    def theirs():
        rules = zip(*peer.density(steps, probes), strict=True)
        answers["PyHessian"] = np.array([np.sum(np.array(w) * np.array(n) ** 2) for n, w in rules])

    estimate(fun, params)
    rivals = {"ours": ours} | ({"PyHessian": theirs} if peer.package else {})
    times = interleaved_times(rivals, options.repeats, warm_up=0, clock=clock)
    alone = {"ours": seconds_a_product(setting, clock)}
    if peer.package:
        ones = [torch.ones_like(weight) for weight in peer.hessian.params]
        alone["PyHessian"] = median(lambda: peer.product(ones), clock)
    count = steps * probes
    rows = [
        row(name, times, alone[name] * count, count, f"{squares.mean():.3e}")
        for name, squares in answers.items()
    ]
    title = f"spectral density, {steps} steps x {probes} probes"
    show(title, (*HEADINGS, "mean of eigenvalue^2"), rows)


HEADINGS = ("rival", "time", "over ours", "products", "number of products")


def row(name, times, products, count, said):
    """Return a row of either table."""
    taken = statistics.median(times[name])
    over = statistics.median(a / b for a, b in zip(times[name], times["ours"], strict=True))
    return (
        name,
        f"{taken:.2f} s",
        f"{over:.2f}",
        f"{100 * products / taken:.0f} %",
        f"{count}",
        said,
    )


def seconds_a_product(setting, clock):
    """Return the time of our product, linearized once, in a loop as it is used."""

    @partial(jax.jit, static_argnames="count")
    def many(fun, params, count):
        product, flat = linearized(fun, params)
        return jax.lax.fori_loop(0, count, lambda _, v: product(v / jnp.linalg.norm(v)), flat)

    def run(count):
        return jax.block_until_ready(many(setting.fun, setting.params, count))

    run(40), run(10)
    return (median(lambda: run(40), clock) - median(lambda: run(10), clock)) / 30


def median(call, clock, rounds=3):
    """Return the median time of a call."""
    times = []
    for _ in range(rounds):
        begin = clock()
        call()
        times.append(clock() - begin)
    return statistics.median(times)


def main():
    parser = arguments(__doc__)
    parser.add_argument("--images", type=int, default=250)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--probes", type=int, default=10)
    parser.set_defaults(repeats=1)
    options = parser.parse_args()
    if options.cpu_time:
        torch.set_num_threads(1)
    clock = time.process_time if options.cpu_time else time.perf_counter
    with jax.enable_x64(True):
        setting = trained_setting(options.images)
        ends(setting, options, clock)
        density(setting, options, clock)


if __name__ == "__main__":
    main()
