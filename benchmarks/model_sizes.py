"""What does curvature of a model of one or ten million parameters cost, in gradients and bytes?

    python benchmarks/model_sizes.py [--millions 1] [--models ResNet Transformer separable]
        [--calls classify pairs density trace]

A ResNet and a transformer of flax's layers (convolution, GroupNorm, attention, LayerNorm) at their
initial weights, and a separable function with one negative eigenvalue, in float32. Each call is
compiled once and run once. Times are of the processor, as multiples of a gradient, whose time is
the median of several; memory is what the compiled program says that it needs for intermediates,
before it runs, in multiples of parameters times rows of the basis. Beside the calls stand the
products and the reports of progress.
"""

import argparse
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _timing import show
from flax import nnx

from jaxopt_course import nn, saddle

KEY = jax.random.key(0)
# Width of each model, by millions of parameters.
WIDTHS = {"ResNet": {1: 96, 10: 304}, "Transformer": {1: 144, 10: 464}}
# Rows that each call keeps.
ROWS = {"classify": 80, "pairs": 24, "density": 30, "trace": 1}
CALLS = {
    "classify": lambda fun, x, hear: saddle.classify(fun, x, method="lanczos", callback=hear),
    "pairs": lambda fun, x, hear: saddle.extreme_eigenpairs(
        fun, x, k=1, which="both", key=KEY, callback=hear
    ),
    "density": lambda fun, x, hear: saddle.spectral_density(
        fun, x, num_steps=30, num_probes=2, key=KEY, callback=hear
    ),
    "trace": lambda fun, x, hear: saddle.trace(fun, x, num_probes=10, key=KEY, callback=hear),
}


class ResNet(nnx.Module):
    """Six residual blocks of two convolutions."""

    def __init__(self, width, rngs):
        def convolution(inputs):
            return nnx.Conv(inputs, width, (3, 3), rngs=rngs)

        def norm():
            return nnx.GroupNorm(width, num_groups=8, rngs=rngs)

        self.stem = convolution(3)
        self.blocks = nnx.List(
            [nnx.List([norm(), convolution(width), norm(), convolution(width)]) for _ in range(6)]
        )
        self.head = nnx.Linear(width, 10, rngs=rngs)

    def __call__(self, x):
        """Return the logits of images."""
        x = self.stem(x)
        for first, one, second, other in self.blocks:
            x = x + other(jax.nn.gelu(second(one(jax.nn.gelu(first(x))))))
        return self.head(jnp.mean(x, axis=(1, 2)))


class Transformer(nnx.Module):
    """Four layers of attention and a perceptron, on tokens."""

    def __init__(self, width, rngs):
        self.embedding = nnx.Embed(64, width, rngs=rngs)
        self.position = nnx.Param(0.02 * jax.random.normal(rngs.params(), (16, width)))
        self.layers = nnx.List(
            [
                nnx.List(
                    [
                        nnx.LayerNorm(width, rngs=rngs),
                        nnx.MultiHeadAttention(8, width, decode=False, rngs=rngs),
                        nnx.LayerNorm(width, rngs=rngs),
                        nnx.Linear(width, 4 * width, rngs=rngs),
                        nnx.Linear(4 * width, width, rngs=rngs),
                    ]
                )
                for _ in range(4)
            ]
        )
        self.head = nnx.Linear(width, 64, rngs=rngs)

    def __call__(self, tokens):
        """Return the logits of what follows each token."""
        x = self.embedding(tokens) + self.position[None]
        for norm, attention, other, wide, narrow in self.layers:
            x = x + attention(norm(x))
            x = x + narrow(jax.nn.gelu(wide(other(x))))
        return self.head(x)


def problem(name, millions):
    """Return an objective, a pytree, and where to look at it."""
    if name == "separable":
        curvatures = jnp.linspace(0.5, 2.0, millions * 10**6).at[0].set(-1.0)
        fun = jax.tree_util.Partial(lambda c, x: jnp.sum(c * jnp.sin(x) ** 2) / 2, curvatures)
        return fun, jnp.zeros(millions * 10**6)
    rng = np.random.default_rng(0)
    kind = {"ResNet": ResNet, "Transformer": Transformer}[name]
    model = kind(WIDTHS[name][millions], nnx.Rngs(0))
    if name == "ResNet":
        inputs = rng.standard_normal((4, 8, 8, 3)).astype(np.float32)
        labels = rng.integers(10, size=4)
    else:
        inputs, labels = rng.integers(64, size=(4, 16)), rng.integers(64, size=(4, 16))
    apply, params, state = nn.functional_view(model)

    def loss(inputs, labels, params):
        outputs, _ = apply(params, state, inputs)
        return optax.softmax_cross_entropy_with_integer_labels(outputs, labels).mean()

    return jax.tree_util.Partial(loss, jnp.asarray(inputs), jnp.asarray(labels)), params


def seconds(call):
    """Return the processor's seconds of a call, and what it returns."""
    begin = time.process_time()
    result = jax.block_until_ready(call())
    return time.process_time() - begin, result


def measure(name, fun, x, gradient):
    """Return one row of the table."""
    heard = []
    compiled_in, program = seconds(
        lambda: jax.jit(lambda fun, x: CALLS[name](fun, x, heard.append)).lower(fun, x).compile()
    )
    size = sum(leaf.size for leaf in jax.tree.leaves(x))
    memory = program.memory_analysis().temp_size_in_bytes
    taken, result = seconds(lambda: program(fun, x))
    jax.effects_barrier()
    products = heard[-1].products if heard else "?"
    if name == "pairs":
        products = int(result.num_products)
    said = result.name if name == "classify" else ""
    return (
        f"{name} {said}",
        f"{compiled_in:.0f} s",
        f"{taken:.1f} s",
        f"{taken / gradient:.0f}",
        f"{products}",
        f"{taken / gradient / products:.1f}",
        f"{len(heard)}",
        f"{memory / 2**20:.0f} MiB",
        f"{memory / (4 * size * ROWS[name]):.1f}",
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millions", type=int, default=1, choices=(1, 10))
    parser.add_argument("--models", nargs="+", default=["ResNet", "Transformer", "separable"])
    parser.add_argument("--calls", nargs="+", default=list(CALLS), choices=list(CALLS))
    options = parser.parse_args()
    for model in options.models:
        fun, x = problem(model, options.millions)
        size = sum(leaf.size for leaf in jax.tree.leaves(x))
        derivative = jax.jit(lambda fun, x: jax.grad(fun)(x)).lower(fun, x).compile()
        times = [seconds(functools.partial(derivative, fun, x))[0] for _ in range(9)]
        gradient = float(np.median(times[1:]))
        rows = []
        for name in options.calls:
            rows.append(measure(name, fun, x, gradient))
            print(*rows[-1], flush=True)
        show(
            f"{model}, {size:,} parameters; a gradient: {1e3 * gradient:.0f} ms of the processor",
            (
                *("call", "compiled in", "time", "in gradients", "products", "a product"),
                *("reports", "memory", "of parameters x rows"),
            ),
            rows,
        )


if __name__ == "__main__":
    main()
