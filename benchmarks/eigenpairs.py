"""Are extreme eigenpairs found as fast, at equal accuracy, as by PyHessian, curvlinops and matfree?

    pip install pyhessian matfree curvlinops-for-pytorch
    python benchmarks/eigenpairs.py [--cpu-time]

The largest and the smallest eigenvalue of the Hessian of one network (`_mnist_network.py`, 266,610
parameters, float64) to a residual of 1e-6 |A|. Every rival's residual is measured anew with our
product; what is not that accurate is not comparable, and how it gets there is part of the answer:
matfree takes a number of steps, PyHessian, which knows the largest alone, a relative change of the
eigenvalue from one power iteration to the next (1e-3 by default; 1e-12 is about 1e-6 of residual).
A rival that is not installed is left out, and said to be. Timing as in `curvature.py`.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from _mnist_network import from_torch, linearized, trained_setting
from _timing import arguments, compare, show
from _torch_peers import PyHessian, curvlinops_operator, optional
from scipy.sparse.linalg import LinearOperator, eigsh

from jaxopt_course import saddle

RESIDUAL = 1e-6
REFERENCE = "ours, both ends"


def eigenpairs(setting, options):
    """Each rival's answer is (vectors by end, values by end, products)."""
    fun, params = setting.fun, setting.params

    # Ours: one end or both, with and without a search for copies of the eigenvalues found.
    def ours(which, check_copies):
        search = jax.jit(
            partial(
                saddle.extreme_eigenpairs, which=which, key=jax.random.key(0), tolerance=RESIDUAL,
                check_copies=check_copies,
            )
        )  # fmt: skip

        def answer():
            pairs = jax.block_until_ready(search(fun, params))
            ends = ("largest",) if which == "largest" else ("smallest", "largest")
            vectors = [jax.tree.map(lambda leaf, i=i: leaf[i], pairs.eigenvectors) for i in
                       range(len(ends))]  # fmt: skip
            found = dict(zip(ends, zip(pairs.eigenvalues, vectors, strict=True), strict=True))
            return found, int(pairs.num_products)

        return answer

    rivals = {
        REFERENCE: ours("both", False),
        "ours, both ends, copies sought": ours("both", True),
        "ours, largest": ours("largest", False),
    }
    # Peers stop by a number of steps or a tolerance of their own, so several of each are tried.
    matfree = optional("matfree.decomp")
    if matfree:
        for steps in options.matfree_steps:
            rivals[f"matfree, both ends, {steps} steps"] = _by_matfree(matfree, steps, setting)
    pyhessian, (curvlinops, operator) = PyHessian(setting), curvlinops_operator(setting)
    if pyhessian.package:
        for tolerance in options.pyhessian_tolerances:

            def by_power(tolerance=tolerance):
                before = pyhessian.products
                values, vectors = pyhessian.hessian.eigenvalues(maxIter=1000, tol=tolerance)
                vector = np.concatenate([v.detach().numpy().ravel() for v in vectors[0]])
                count = pyhessian.products - before
                return {"largest": (values[0], from_torch(vector, params))}, count

            rivals[f"PyHessian, largest, tol {tolerance:g}"] = by_power
    if curvlinops:
        rivals["curvlinops, both ends by ARPACK"] = partial(_by_arpack, operator, params)
    # What the time bought: everybody's residuals, computed by one function.
    answers, times = compare(rivals, options, REFERENCE)
    norm = max(abs(float(value)) for value, _ in answers[REFERENCE][0].values())
    measure = jax.jit(_residual)

    def row(name):
        found, count = answers[name]
        residuals = [
            f"{measure(fun, params, *found[end]) / norm:.1e}" if end in found else "not given"
            for end in ("largest", "smallest")
        ]
        seconds, ratio = times[name]
        return name, f"{seconds:.2f} s", f"{ratio:.2f}x", *residuals, str(count)

    show(
        f"extreme eigenpairs to {RESIDUAL:g} (residuals relative to |A|)",
        ("rival", "time", "ratio", "largest", "smallest", "products"),
        [row(name) for name in rivals],
    )


def _residual(fun, params, value, vector):
    """Measure |A v - value v| for the unit vector along `vector`."""
    product = saddle.hvp(fun, params, vector)
    difference = jax.tree.map(lambda a, v: a - value * v, product, vector)
    return optax.global_norm(difference) / optax.global_norm(vector)


def _by_matfree(matfree, steps, setting):
    tridiagonal = matfree.tridiag_sym(steps, reortho="full", custom_vjp=False)
    _, unravel = jax.flatten_util.ravel_pytree(setting.params)

    @jax.jit
    def search(fun, params):
        product, flat = linearized(fun, params)
        start = jax.random.normal(jax.random.key(0), flat.shape, flat.dtype)
        basis, dense, *_ = tridiagonal(product, start)
        values, vectors = jnp.linalg.eigh(dense)
        ends = jnp.array([0, -1])
        return values[ends], vectors[:, ends].T @ basis

    def answer():
        values, vectors = jax.block_until_ready(search(setting.fun, setting.params))
        pairs = zip(values, map(unravel, vectors), strict=True)
        return dict(zip(("smallest", "largest"), pairs, strict=True)), steps

    return answer


def _by_arpack(operator, params):
    inner, count = operator.to_scipy(), 0

    def product(vector):
        nonlocal count
        count += 1
        return inner @ vector

    start = np.random.default_rng(0).standard_normal(operator.shape[0])
    counted = LinearOperator(inner.shape, matvec=product, dtype=np.float64)
    values, vectors = eigsh(counted, k=2, which="BE", tol=RESIDUAL, v0=start)
    trees = [from_torch(vector, params) for vector in vectors.T]
    pairs = zip(values, trees, strict=True)
    return dict(zip(("smallest", "largest"), pairs, strict=True)), count


def main():
    parser = arguments(__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--matfree-steps", nargs="+", type=int, default=[40, 100])
    parser.add_argument("--pyhessian-tolerances", nargs="+", type=float, default=[1e-3, 1e-12])
    options = parser.parse_args()
    if options.cpu_time:
        torch.set_num_threads(1)
    with jax.enable_x64(True):
        eigenpairs(trained_setting(options.images), options)


if __name__ == "__main__":
    main()
