"""How much faster than a loop over points is `saddle.classify` on a batch of small Hessians?

    python benchmarks/classify.py [--dimensions 10 50 100] [--points 1024] [--cpu-time]

1,024 points of a quartic in d variables, in float64: `jax.vmap(classify)`, compiled, against a loop
over `numpy.linalg.eigh` of `torch.func.hessian`, which gets eigenvalues and no more. The loop takes
long and is timed on `--loop-points` of the points, 1,024 by default.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import torch
from _timing import arguments, compare, show

from jaxopt_course import saddle


def quartics(dimension):
    """Return one non-convex function of `dimension` variables in JAX and in torch."""
    matrix = 0.1 * np.random.default_rng(0).standard_normal((dimension, dimension))
    ours, theirs = jnp.asarray(matrix), torch.tensor(matrix)
    return (
        lambda x: jnp.sum((x**2 - 1) ** 2) + x @ ours @ x,
        lambda x: torch.sum((x**2 - 1) ** 2) + x @ theirs @ x,
    )


def row(dimension, options):
    points = np.random.default_rng(1).standard_normal((options.points, dimension))
    fun, torch_fun = quartics(dimension)
    classify = jax.jit(jax.vmap(partial(saddle.classify, fun)))
    xs, torch_points = jnp.asarray(points), torch.tensor(points[: options.loop_points])
    hessian = torch.func.hessian(torch_fun)

    def loop():
        return [np.linalg.eigh(hessian(point).numpy())[0] for point in torch_points]

    rivals = {"ours": lambda: classify(xs).eigenvalues, "loop": loop}
    answers, times = compare(rivals, options, "ours")
    np.testing.assert_allclose(answers["ours"][: options.loop_points], answers["loop"], atol=1e-9)
    share = len(points) / len(torch_points)
    (ours, _), (theirs, ratio) = times["ours"], times["loop"]
    return (
        str(dimension),
        f"{1e3 * ours:.0f} ms",
        f"{share * theirs:.2f} s",
        f"{share * ratio:.0f}x",
    )


def main():
    parser = arguments(__doc__)
    parser.add_argument("--dimensions", nargs="+", type=int, default=[10, 50, 100])
    parser.add_argument("--points", type=int, default=1024)
    parser.add_argument("--loop-points", type=int, default=1024)
    options = parser.parse_args()
    # On matrices this small torch's threads only wait for each other.
    torch.set_num_threads(1)
    with jax.enable_x64(True):
        show(
            f"classify {options.points:,} points, float64",
            ("dimension", "ours", "torch + numpy loop", "ratio"),
            [row(dimension, options) for dimension in options.dimensions],
        )


if __name__ == "__main__":
    main()
