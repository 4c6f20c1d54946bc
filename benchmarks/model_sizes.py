"""What does curvature of a model of one or ten million parameters cost, in gradients and bytes?

    python benchmarks/model_sizes.py [--networks resnet transformer separable]
        [--parameters 1e6] [--calls classify pairs density trace] [--max-products 2000]

A ResNet of the library's (eight layers with GroupNorm and GELU, on 8 x 8 images) and a transformer
of flax's layers (four of attention and a perceptron, on 16 tokens) at their initial weights, and a
separable function with one negative eigenvalue, in float32. Each call is compiled and run once,
with a callback. Times are of the processor, without compiling, and as multiples of a gradient,
whose time is the median of several. Memory is what the process had at its peak during the call
beyond what it had before (Linux's VmHWM), and what the compiler said before it, over parameters
times rows of the basis. The last column is the accuracy: the largest residual norm of a pair over
|H|, or the standard error of the trace over its value.
"""

import argparse
import functools
import gc
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _timing import show
from flax import nnx

from jaxopt_course import nn, saddle

KEY = jax.random.key(0)
# Width of each network, by its parameters.
WIDTHS = {"resnet": {10**6: 56, 10**7: 184}, "transformer": {10**6: 144, 10**7: 464}}
# Rows that each call keeps.
ROWS = {"classify": 80, "pairs": 24, "density": 3, "trace": 1}


def classify(fun, x, hear, most):
    """Return the smallest eigenvalues' largest residual over |H|; products are not bounded."""
    del most
    point = saddle.classify(fun, x, method="lanczos", callback=hear)
    size = jnp.max(jnp.abs(point.eigenvalues))
    return point.min_eigenvalue_error / size, -1


def pairs(fun, x, hear, most):
    """Return the largest residual over |H| of both ends, and the products."""
    found = saddle.extreme_eigenpairs(
        fun, x, k=1, which="both", key=KEY, callback=hear, max_products=most
    )
    return jnp.max(found.residual_norms) / found.operator_norm, found.num_products


def density(fun, x, hear, most):
    """Return no accuracy, and the products."""
    found = saddle.spectral_density(
        fun, x, num_steps=min(30, most // 2), num_probes=2, key=KEY, callback=hear
    )
    return jnp.nan + found.nodes[0, 0], found.num_products


def trace(fun, x, hear, most):
    """Return the relative standard error, and the products."""
    found = saddle.trace(fun, x, num_probes=min(10, most), key=KEY, callback=hear)
    return found.standard_error / jnp.abs(found.value), found.num_products


CALLS = {call.__name__: call for call in (classify, pairs, density, trace)}


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


def problem(name, parameters):
    """Return an objective, a pytree, and where to look at it."""
    if name == "separable":
        curvatures = jnp.linspace(0.5, 2.0, parameters).at[0].set(-1.0)
        fun = jax.tree_util.Partial(lambda c, x: jnp.sum(c * jnp.sin(x) ** 2) / 2, curvatures)
        return fun, jnp.zeros(parameters)
    rng, width = np.random.default_rng(0), WIDTHS[name][parameters]
    if name == "resnet":
        groups = functools.partial(nn.GroupNorm, num_groups=8)
        model = nn.ResNet(
            8, width=width, normalization=groups, activation=jax.nn.gelu, rngs=nnx.Rngs(0)
        )
        inputs = rng.standard_normal((4, 8, 8, 3)).astype(np.float32)
        labels = rng.integers(10, size=4)
    else:
        model = Transformer(width, nnx.Rngs(0))
        inputs, labels = rng.integers(64, size=(8, 16)), rng.integers(64, size=(8, 16))
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


def memory(what):
    """Return bytes of this process: VmRSS, what it has, or VmHWM, what it had at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (kibibytes,) = (int(line.split()[1]) for line in lines if line.startswith(what))
    return 1024 * kibibytes


def measure(name, fun, x, gradient, most):
    """Return one row of the table."""
    heard = []
    compiled_in, program = seconds(
        lambda: jax.jit(lambda fun, x: CALLS[name](fun, x, heard.append, most)).lower(fun, x)
        .compile()
    )  # fmt: skip
    size = sum(leaf.size for leaf in jax.tree.leaves(x))
    said = program.memory_analysis().temp_size_in_bytes
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # The peak begins anew.
    before = memory("VmRSS")
    taken, (accuracy, products) = seconds(lambda: program(fun, x))
    peak = memory("VmHWM") - before
    jax.effects_barrier()
    products = heard[-1].products if int(products) < 0 else int(products)
    rows = 4 * size * ROWS[name]
    return (
        name,
        f"{compiled_in:.0f} s",
        f"{taken:.1f} s",
        f"{taken / gradient:.0f}",
        f"{products}",
        f"{taken / gradient / products:.1f}",
        f"{len(heard)}",
        f"{peak / 2**20:.0f} MiB",
        f"{peak / rows:.1f}",
        f"{said / rows:.1f}",
        f"{float(accuracy):.1e}",
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ["resnet", "transformer", "separable"]
    parser.add_argument("--networks", nargs="+", default=names, choices=names)
    parser.add_argument("--parameters", type=float, default=1e6, choices=(1e6, 1e7))
    parser.add_argument("--calls", nargs="+", default=list(CALLS), choices=list(CALLS))
    parser.add_argument("--max-products", type=int, default=2000, help="not of classify")
    options = parser.parse_args()
    for network in options.networks:
        fun, x = problem(network, int(options.parameters))
        size = sum(leaf.size for leaf in jax.tree.leaves(x))

        def median(call, *arguments):
            program = jax.jit(call).lower(*arguments).compile()
            times = [seconds(functools.partial(program, *arguments))[0] for _ in range(6)]
            return float(np.median(times[1:]))

        gradient = median(lambda fun, x: jax.grad(fun)(x), fun, x)
        product = median(lambda fun, x: saddle.hvp(fun, x, x), fun, x)
        title = (
            f"{network}, {size:,} parameters; of the processor a gradient takes "
            f"{1e3 * gradient:.0f} ms, a product by itself {1e3 * product:.0f} ms"
        )
        print(title, flush=True)
        rows = []
        for name in options.calls:
            rows.append(measure(name, fun, x, gradient, options.max_products))
            print(*rows[-1], flush=True)
        show(
            title,
            (
                *("call", "compiled in", "time", "in gradients", "products", "a product"),
                *("reports", "peak", "of parameters x rows", "said before", "accuracy"),
            ),
            rows,
        )


if __name__ == "__main__":
    main()
