"""Is a step of our rules as fast as optax's, torch's and the memory allow?

    python benchmarks/transforms.py [--rules adam rmsprop] [--cases flat resnet tiny]

All rivals of a case are timed in turn within one process, so that a ratio compares like with like
where the load varies; each time is the least of the repeats. A step is the update and its
application to the parameters, in place: JAX by donated buffers, torch by its nature.

    flat    one array of 10 M float32
    resnet  the 314 leaves of a narrow ResNet-101, 1.5 M float32, and the time to trace and compile
    tiny    two leaves of 4 floats: what Python and dispatch cost

The share of the bandwidth is that of the bytes that the rule cannot avoid (each array read and
written once) in the better of torch's copy and triad, timed in turn with the rivals. Beside it
stands how many arrays the compiled step does read and write, which no load of the machine blurs.
Where our rule lowers to the very program that optax's does, the line says so: by as much as their
ratio then differs from 1, every other ratio is uncertain.
"""

import argparse
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from _timing import interleaved_times

from jaxopt_course import transforms

FLAT_SIZE = 10_000_000
# Tiny rates, so that no trajectory leaves the numbers that are fast to compute with.
RATE = 1e-9

# name: (ours, optax's, torch's or None, arrays that must be read or written)
RULES = {
    "gradient_descent": (
        transforms.gradient_descent(RATE),
        optax.sgd(RATE),
        lambda p, **kind: torch.optim.SGD(p, lr=RATE, **kind),
        3,
    ),
    "heavy_ball": (
        transforms.heavy_ball(RATE, 0.9),
        optax.sgd(RATE, 0.9),
        lambda p, **kind: torch.optim.SGD(p, lr=RATE, momentum=0.9, **kind),
        5,
    ),
    "nesterov": (
        transforms.nesterov(RATE, 0.9),
        optax.sgd(RATE, 0.9, nesterov=True),
        lambda p, **kind: torch.optim.SGD(p, lr=RATE, momentum=0.9, nesterov=True, **kind),
        5,
    ),
    "adagrad": (
        transforms.adagrad(RATE),
        optax.adagrad(RATE),
        lambda p, **kind: torch.optim.Adagrad(p, lr=RATE, **kind),
        5,
    ),
    "rmsprop": (
        transforms.rmsprop(RATE),
        optax.rmsprop(RATE),
        lambda p, **kind: torch.optim.RMSprop(p, lr=RATE, **kind),
        5,
    ),
    "adadelta": (
        transforms.adadelta(RATE),
        optax.adadelta(RATE),
        lambda p, **kind: torch.optim.Adadelta(p, lr=RATE, **kind),
        7,
    ),
    "adam": (
        transforms.adam(RATE),
        optax.adam(RATE),
        lambda p, **kind: torch.optim.Adam(p, lr=RATE, **kind),
        7,
    ),
}
TORCH_KINDS = {"plain": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}


def resnet_shapes() -> list[tuple[int, ...]]:
    """Leaves of ResNet-101 with 12 channels for its 64: kernels, scales, offsets, 1.5 M entries."""

    def normalized(height: int, channels_in: int, channels_out: int) -> list[tuple[int, ...]]:
        return [(height, height, channels_in, channels_out), (channels_out,), (channels_out,)]

    shapes, channels = normalized(7, 3, 12), 12
    for stage, blocks in enumerate((3, 4, 23, 3)):
        width = 12 * 2**stage
        for block in range(blocks):
            shapes += normalized(1, channels, width) + normalized(3, width, width)
            shapes += normalized(1, width, 4 * width)
            if block == 0:
                shapes += normalized(1, channels, 4 * width)
            channels = 4 * width
    return [*shapes, (channels, 10), (10,)]


CASES = {"flat": [(FLAT_SIZE,)], "resnet": resnet_shapes(), "tiny": [(4,), (4,)]}


def random_leaves(shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.standard_normal(shape, np.float32) for shape in shapes]


def jax_step(optimizer: optax.GradientTransformation, shapes, *, flatten: bool = False) -> Callable:
    """A function that makes one step in place; with `flatten` on one vector."""

    def step(params, state, grads):
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    compiled = jax.jit(step, donate_argnums=(0, 1))
    leaves = [jnp.array(leaf) for leaf in random_leaves(shapes)]
    params = transforms.flatten_by_dtype(leaves)[0] if flatten else leaves
    grads = jax.tree.map(jnp.copy, params)
    carry = [params, optimizer.init(params)]

    def run():
        carry[:] = compiled(*carry, grads)
        jax.block_until_ready(carry)

    return run


def torch_step(make: Callable, kind: dict, shapes) -> Callable | None:
    params = [torch.tensor(leaf, requires_grad=True) for leaf in random_leaves(shapes)]
    for leaf in params:
        leaf.grad = leaf.detach().clone()
    try:
        optimizer = make(params, **kind)
        optimizer.step()
    except (TypeError, RuntimeError):  # the rule has no kernel of this kind
        return None
    return optimizer.step


def least_times(rivals: dict[str, Callable | None], repeats: int) -> dict[str, float]:
    """Least seconds a call of each that is there."""
    present = {name: run for name, run in rivals.items() if run is not None}
    return {name: min(times) for name, times in interleaved_times(present, repeats).items()}


def bandwidth_probes() -> dict[str, Callable]:
    """Copy and triad of flat arrays, timed among the rivals since the load of a machine varies."""
    a, b, c = (torch.ones(FLAT_SIZE) for _ in range(3))
    return {"copy": lambda: a.copy_(b), "triad": lambda: torch.add(b, c, alpha=2.0, out=a)}


def lower_step(optimizer: optax.GradientTransformation, shapes) -> jax.stages.Lowered:
    def step(params, state, grads):
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    params = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    state = jax.eval_shape(optimizer.init, params)
    return jax.jit(step, donate_argnums=(0, 1)).lower(params, state, params)


def passes(optimizer: optax.GradientTransformation) -> float:
    """How many arrays the compiled flat step reads or writes: a figure that no load changes."""
    cost = lower_step(optimizer, CASES["flat"]).compile().cost_analysis()
    return cost["bytes accessed"] / (4 * FLAT_SIZE)


def compile_times(optimizer: optax.GradientTransformation, shapes) -> tuple[float, float]:
    """Seconds to trace and lower, and to compile, the step."""
    start = time.perf_counter()
    lowered = lower_step(optimizer, shapes)
    middle = time.perf_counter()
    lowered.compile()
    return middle - start, time.perf_counter() - middle


def compare_compilation(ours, theirs, shapes) -> None:
    # The second of two each: the first pays for what JAX keeps between programs.
    times = {}
    for _ in range(2):
        times = {"ours": compile_times(ours, shapes), "optax": compile_times(theirs, shapes)}
    ratios = [mine / other for mine, other in zip(times["ours"], times["optax"], strict=True)]
    print(
        f"{'':18}trace {times['ours'][0]:.2f} s ({ratios[0]:.2f}x optax)  "
        f"compile {times['ours'][1]:.2f} s ({ratios[1]:.2f}x optax)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rules", nargs="*", default=list(RULES), choices=list(RULES))
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args()
    # Compilation is one of the things measured.
    jax.config.update("jax_enable_compilation_cache", False)
    for case in options.cases:
        shapes = CASES[case]
        size = sum(int(np.prod(shape)) for shape in shapes)
        print(f"\n{case}: {len(shapes)} leaves, {size / 1e6:.3g} M entries; ratio: ours / theirs")
        repeats = options.repeats * (20 if case == "tiny" else 1)
        for name in options.rules:
            compare(name, case, shapes, repeats)
            if case == "resnet":
                compare_compilation(*RULES[name][:2], shapes)


def compare(name: str, case: str, shapes, repeats: int) -> None:
    """Time one rule of all rivals and print a line."""
    ours, theirs, make_torch, arrays = RULES[name]
    rivals = {"ours": jax_step(ours, shapes), "optax": jax_step(theirs, shapes)}
    if case == "flat":
        rivals |= bandwidth_probes()
    else:
        rivals["ours, one vector"] = jax_step(ours, shapes, flatten=True)
    for kind, arguments in TORCH_KINDS.items():
        rivals[f"torch {kind}"] = torch_step(make_torch, arguments, shapes)
    times = least_times(rivals, repeats)
    mine = times.pop("ours")
    limit = ""
    if case == "flat":
        rates = {"copy": 2 / times.pop("copy"), "triad": 3 / times.pop("triad")}
        best = max(rates.values())
        limit = (
            f"  {arrays / mine / best:.0%} of {4 * FLAT_SIZE * best / 1e9:.0f} GB/s,"
            f" {passes(ours):.0f} arrays (optax {passes(theirs):.0f}, needed {arrays})"
        )
    if lower_step(ours, shapes).as_text() == lower_step(theirs, shapes).as_text():
        limit += "  (the same program as optax's)"
    others = "  ".join(
        f"{rival} {1e3 * seconds:.3g} ({mine / seconds:.2f}x)" for rival, seconds in times.items()
    )
    print(f"{name:18}{1e3 * mine:.3g} ms{limit}  {others}", flush=True)


if __name__ == "__main__":
    main()
