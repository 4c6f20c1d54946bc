"""Spectra of the Hessian of networks on digits through full-batch training."""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from flax import nnx

from jaxopt_course import problems, saddle, transforms
from jaxopt_course.nn import MLP, BatchNorm

from ..lab import data
from ._config import Config

KINDS = ("no normalization", "batch normalization")
TIMES = ("start", "early", "end")


def squared_loss(outputs: jax.Array, labels: jax.Array) -> jax.Array:
    """Return half the squared distance from the one-hot targets of each example."""
    targets = jax.nn.one_hot(labels, outputs.shape[-1], dtype=outputs.dtype)
    return jnp.sum((outputs - targets) ** 2, axis=-1) / 2


def problem_of(config: Config, kind: str) -> problems.Problem:
    """The loss of a network of this kind on the first images."""
    loaded = data.load(config.dataset, config.data_folder).standardized()
    train = loaded.first(config.images).train
    # Halved: else the sharpness starts above the edge of stability, 2 / rate, of most rates.
    pixels = train.images.reshape(config.images, -1) / 2

    def build(key):
        return MLP(
            (pixels.shape[1], *config.hidden, 10),
            activation=jnp.tanh,
            kernel_init=jax.nn.initializers.glorot_normal(),
            normalization=None if kind == KINDS[0] else BatchNorm,
            rngs=nnx.Rngs(key),
        )

    return problems.empirical_loss(
        build, pixels, train.labels, loss=squared_loss, train=kind != KINDS[0]
    )


@functools.partial(jax.jit, static_argnames=("steps", "records"))
@functools.partial(jax.vmap, in_axes=(None, 0, 0, None, None))
def _descend(fun, start, rate, steps: int, records: int):
    """Return parameters and losses at `records + 1` times."""
    rule, every = transforms.gradient_descent(rate), steps // records
    path = transforms.path(fun, rule, start, every * records, every=every)
    return path.observed["params"], path.value


@functools.partial(jax.jit, static_argnames=("k", "which", "tolerance"))
def _eigenvalues(
    fun,
    points,
    key,
    k: int = 1,
    which: Literal["smallest", "largest", "both"] = "largest",
    tolerance: float = 1e-3,
):
    """Return extreme eigenvalues at points along the leading axis, and the largest residual."""

    def at(params):
        pairs = saddle.extreme_eigenpairs(
            fun, params, k=k, which=which, key=key, tolerance=tolerance, check_copies=False
        )
        return pairs.eigenvalues, jnp.max(pairs.residual_norms)

    return jax.lax.map(at, points)


@functools.partial(jax.jit, static_argnames=("steps", "probes"))
def _density(fun, params, key, steps: int, probes: int):
    return saddle.spectral_density(fun, params, num_steps=steps, num_probes=probes, key=key)


def measure(config: Config, kind: str, key: jax.Array) -> xr.Dataset:
    """Train the networks of one kind and look at their Hessians."""
    # Descent at all rates, and the sharpness along the way.
    problem = problem_of(config, kind)
    rates = config.rates if kind == KINDS[0] else config.normalized_rates
    shape = (config.seeds, len(rates))
    starts = jax.vmap(problem.init)(jax.random.split(key, config.seeds))
    lanes = jax.tree.map(lambda leaf: jnp.repeat(leaf, len(rates), axis=0), starts)
    paths, losses = _descend(
        problem.fun, lanes, jnp.tile(jnp.array(rates), config.seeds), config.steps, config.records
    )
    points = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), paths)
    sharpness, _ = _eigenvalues(problem.fun, points, key)

    # Spectra are taken on the path of the smallest rate, which is nearest to the gradient flow.
    when = np.array([0, 1, config.records])
    looked = jax.tree.map(lambda leaf: leaf[:: len(rates), when], paths)
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), looked)
    top, _ = _eigenvalues(problem.fun, flat, key, k=config.outliers)
    bottom, _ = _eigenvalues(problem.fun, flat, key, which="smallest")
    top = np.asarray(top).reshape(config.seeds, len(TIMES), -1)
    bottom = np.asarray(bottom).reshape(config.seeds, len(TIMES))
    # Spectral densities at those times, of the first network.
    densities = [
        _density(
            problem.fun,
            jax.tree.map(lambda leaf, time=time: leaf[0, time], looked),
            key,
            config.lanczos_steps,
            config.probes,
        )
        for time in range(len(TIMES))
    ]
    return xr.Dataset(
        {
            "sharpness": (("seed", "rate", "record"), sharpness.reshape(*shape, -1)),
            "loss": (("seed", "rate", "record"), losses.reshape(*shape, -1)),
            "learning_rate": ("rate", list(rates)),
            "top": (("seed", "time", "rank"), top[..., ::-1]),
            "bottom": (("seed", "time"), bottom),
            "node": (("time", "probe", "rank_of_node"), np.array([d.nodes for d in densities])),
            "weight": (("time", "probe", "rank_of_node"), np.array([d.weights for d in densities])),
            "double": ("which_end", _in_double(problem, looked, key)),
        }
    )


def _in_double(problem: problems.Problem, looked, key: jax.Array) -> np.ndarray:
    """Return the two ends of the first network's last spectrum, computed in float64."""
    with jax.enable_x64(True):
        fun = jax.tree.map(
            lambda leaf: (
                jnp.asarray(np.asarray(leaf, float))
                if jnp.issubdtype(leaf.dtype, jnp.floating)
                else jnp.asarray(np.asarray(leaf))
            ),
            problem.fun,
        )
        params = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf[0, -1:], float)), looked)
        both, _ = _eigenvalues(fun, params, key, which="both", tolerance=1e-6)
        return np.asarray(both[0])
