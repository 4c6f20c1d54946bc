"""Is matrix-free curvature as fast, at equal accuracy, as PyHessian's, curvlinops' and matfree's?

    pip install pyhessian matfree curvlinops-for-pytorch
    python benchmarks/curvature.py [--questions products density trace] [--cpu-time]

One network (`_mnist_network.py`), the same weights and images in every library, in float64. A rival
that is not installed is left out, and said to be.

    products    gradient, Hessian-vector product, and the product by a linearized gradient
    density     100 steps x 10 probes (`--steps`, `--probes`), and the second moment beside ours
    trace       60 products each (`--products`), and the estimate's standard error

Eigenpairs are in `eigenpairs.py`, batches of small Hessians in `classify.py`, growth with the
number of parameters and of data in `curvature_growth.py`.

Rivals are timed in turn after a first call each; numbers are medians of the rounds. `--cpu-time`
takes processor seconds for seconds, and says more where the machine is not idle: run it on one
core, `taskset -c 0 python benchmarks/curvature.py --cpu-time`.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import torch
from _mnist_network import linearized, trained_setting
from _timing import arguments, compare, show
from _torch_peers import PyHessian, curvlinops_operator, optional

from jaxopt_course import saddle

QUESTIONS = ("products", "density", "trace")


def products(setting, options):
    fun, params = setting.fun, setting.params
    direction = jax.tree.map(jnp.ones_like, params)
    gradient = jax.jit(lambda fun, x: jax.grad(fun)(x))
    product = jax.jit(saddle.hvp)
    linear = jax.jit(jax.jit(lambda fun, x: jax.linearize(jax.grad(fun), x)[1])(fun, params))
    rivals = {
        "gradient": lambda: gradient(fun, params),
        "saddle.hvp": lambda: product(fun, params, direction),
        "linearized once": lambda: linear(direction),
    }
    pyhessian, (curvlinops, operator) = PyHessian(setting), curvlinops_operator(setting)
    if pyhessian.package:
        ones = [torch.ones_like(weight) for weight in pyhessian.hessian.params]
        rivals["PyHessian, graph kept"] = lambda: pyhessian.product(ones)
    if curvlinops:
        vector = torch.ones(operator.shape[1], dtype=torch.float64)
        rivals["curvlinops"] = lambda: operator @ vector
    _, times = compare(rivals, options, "gradient")
    show(
        "products (ratio to the gradient)",
        ("rival", "time", "ratio"),
        [(name, f"{1e3 * t:.1f} ms", f"{ratio:.2f}x") for name, (t, ratio) in times.items()],
    )


def density(setting, options):
    """Each rival's answer is the mean of eigenvalue^2 by its rules, one number a probe."""
    fun, params, steps, probes = setting.fun, setting.params, options.steps, options.probes

    # Ours with and without orthogonalizing again, and every peer that is installed.
    def ours(again):
        estimate = jax.jit(
            partial(
                saddle.spectral_density, num_steps=steps, num_probes=probes, key=jax.random.key(0),
                reorthogonalize=again,
            )
        )  # fmt: skip

        def answer():
            spectrum = estimate(fun, params)
            return jnp.sum(spectrum.weights * spectrum.nodes**2, axis=1)

        return answer

    rivals = {"ours": ours(False), "ours, orthogonalized again": ours(True)}
    matfree = optional("matfree.decomp")
    if matfree:
        rules = _rules_by_matfree(matfree, steps)
        keys = jax.random.split(jax.random.key(1), probes)
        rivals["matfree"] = lambda: rules(fun, params, keys)
    pyhessian, (curvlinops, operator) = PyHessian(setting), curvlinops_operator(setting)
    if pyhessian.package:

        def by_pyhessian():
            rules = zip(*pyhessian.density(steps, probes), strict=True)
            return [float(np.sum(np.array(w) * np.array(n) ** 2)) for n, w in rules]

        rivals["PyHessian"] = by_pyhessian
    if curvlinops:
        lanczos = optional("curvlinops.papyan2020traces.spectrum").fast_lanczos

        def by_curvlinops():
            runs = [lanczos(operator, steps) for _ in range(probes)]
            return [float(torch.sum(vectors[0] ** 2 * values**2)) for values, vectors in runs]

        rivals["curvlinops"] = by_curvlinops
    answers, times = compare(rivals, options, "ours")

    # Probes are random, so that answers differ: the standard error says by how much they may.
    def row(name):
        (seconds, ratio), squares = times[name], np.asarray(answers[name])
        error = np.std(squares, ddof=1) / probes**0.5
        return name, f"{seconds:.2f} s", f"{ratio:.2f}x", f"{squares.mean():.3e}", f"{error:.0e}"

    show(
        f"spectral density, {steps} steps x {probes} probes",
        ("rival", "time", "ratio", "mean of eigenvalue^2", "its standard error"),
        [row(name) for name in rivals],
    )


def _rules_by_matfree(matfree, steps):
    tridiagonal = matfree.tridiag_sym(steps, reortho="full", custom_vjp=False)

    @jax.jit
    def rules(fun, params, keys):
        product, flat = linearized(fun, params)

        def rule(key):
            start = jax.random.rademacher(key, flat.shape, flat.dtype)
            _, dense, *_ = tridiagonal(product, start / jnp.linalg.norm(start))
            nodes, vectors = jnp.linalg.eigh(dense)
            return jnp.sum(vectors[0] ** 2 * nodes**2)

        return jax.lax.map(rule, keys)

    return rules


def trace(setting, options):
    """Each rival's answer is (estimate, standard error or None)."""
    fun, params, count = setting.fun, setting.params, options.products

    # Ours by both methods, and every peer that is installed.
    def ours(method):
        estimate = jax.jit(
            partial(saddle.trace, num_probes=count, key=jax.random.key(0), method=method)
        )

        def answer():
            result = estimate(fun, params)
            return float(result.value), float(result.standard_error)

        return answer

    rivals = {"ours, Hutchinson": ours("hutchinson"), "ours, Hutch++": ours("hutch++")}
    matfree = optional("matfree.stochtrace")
    if matfree:
        flat = jax.flatten_util.ravel_pytree(params)[0]
        estimator = matfree.estimator_monte_carlo_mean_and_sem(
            matfree.monte_carlo_trace(), matfree.sampler_signs(flat, num=count)
        )
        run = jax.jit(lambda fun, params, key: estimator(linearized(fun, params)[0], key))
        rivals["matfree, Hutchinson"] = lambda: tuple(
            map(float, jax.tree.leaves(run(fun, params, jax.random.key(1))))
        )
    pyhessian, (curvlinops, operator) = PyHessian(setting), curvlinops_operator(setting)
    if pyhessian.package:

        def by_pyhessian():
            values = pyhessian.hessian.trace(maxIter=count, tol=0.0)
            return float(np.mean(values)), float(np.std(values, ddof=1) / len(values) ** 0.5)

        rivals["PyHessian, Hutchinson"] = by_pyhessian
    if curvlinops:
        for name, function in (
            ("Hutchinson", curvlinops.hutchinson_trace),
            ("Hutch++", curvlinops.hutchpp_trace),
        ):
            rivals[f"curvlinops, {name}"] = lambda function=function: (
                float(function(operator, num_matvecs=count)),
                None,
            )
    answers, times = compare(rivals, options, "ours, Hutchinson")

    # Where a peer states no error, the table says so.
    def row(name):
        (seconds, ratio), (value, error) = times[name], answers[name]
        stated = "not given" if error is None else f"{error:.3f}"
        return name, f"{seconds:.2f} s", f"{ratio:.2f}x", f"{value:.3f}", stated

    show(
        f"trace by {count} products",
        ("rival", "time", "ratio", "estimate", "standard error"),
        [row(name) for name in rivals],
    )


def main():
    parser = arguments(__doc__)
    parser.add_argument("--questions", nargs="+", choices=QUESTIONS, default=list(QUESTIONS))
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--probes", type=int, default=10)
    parser.add_argument("--products", type=int, default=60)
    options = parser.parse_args()
    if options.cpu_time:
        torch.set_num_threads(1)
    with jax.enable_x64(True):
        setting = trained_setting(options.images)
        for question in options.questions:
            globals()[question](setting, options)


if __name__ == "__main__":
    main()
