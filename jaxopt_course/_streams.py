"""Random streams of the library's own, apart from everything that a user draws from the same key.

In jax `fold_in(key, i)` and `split(key, n)[i]` are the same key (partitionable threefry), and a
short draw begins a longer one. A rule that drew its noise number t from `fold_in(key, t)` would
repeat, number for number, what an `init` has drawn from `split(key)[t]`. Whatever draws in this
library takes its key through `stream` first: no index that a `split` or a counter reaches leads to
the keys behind it, and no two streams share any.
"""

import zlib

import jax
import numpy as np

from jaxopt_course._brief import brief

STREAMS = (
    "noise",  # inject_noise
    "perturbation",  # perturb_at_saddle, and perturbed accelerated gradient descent
    "escape_negative_curvature",  # first directions of Lanczos' method
    "neon2",  # the noise that Neon2's recursion starts from
    "subspace",  # second-order rules on a Krylov space: its random directions
    "eigenpairs",  # saddle.extreme_eigenpairs
    "trace",  # saddle.trace and saddle.diagonal: probes
    "density",  # saddle.spectral_density: probes
    "labels",  # saddle.kfac_blocks: labels of the model's own distribution
    "kfac",  # saddle.kfac_error: probes
    "classify",  # saddle.classify, matrix-free: Lanczos' start
    "norm",  # and its estimate of the norm of the Hessian
    "doubt",  # and its run from the gradient, beside a stationary point
    "symmetries",  # saddle.linear_symmetries: random points
    "null space",  # saddle.classify(order=4): starts of the searches along flat directions
    "runs",  # saddle.escape_to_disk: starts and keys of the runs
    "observables",  # observables.step_radius and the like: first directions
    "examples",  # saddle.escape: the examples of stochastic gradients
    "model",  # training.fit: the network that it builds
    "optimizer",  # and the optimizer, where that is made of a key
    "minibatches",  # and order and augmentation of the examples
    "lsuv",  # nn.lsuv: orthogonal kernels
    "units",  # nn.match_units: in which order layers are visited
    "problem",  # problems with a key: bases, measurements, examples
)
"""The streams and who draws from them."""


def stream(key: jax.Array, name: str) -> jax.Array:
    """The key of one stream, a function of a key and the stream's name.

    Args:
        key: A key of any implementation, typed or uint32.
        name: One of `STREAMS`.

    Returns:
        `fold_in(key, constant)`, of the same type, with the constant that the name gives.

    Raises:
        ValueError: for a name that is none of `STREAMS`.

    Example:
        >>> key = jax.random.key(0)
        >>> bool(jax.random.bits(stream(key, "noise")) == jax.random.bits(key))
        False
    """
    if name not in STREAMS:
        raise ValueError(f"name must be one of {', '.join(STREAMS)}; got {brief(name)}")
    return jax.random.fold_in(key, constant(name))


def constant(name: str) -> np.uint32:
    """The number that stands for a name: its checksum in the upper half, out of counters' reach."""
    return np.uint32(zlib.crc32(name.encode()) | 1 << 31)
