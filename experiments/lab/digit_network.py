"""A small tanh network on digits whose stationary points can be found, and descent on its loss.

Cross-entropy alone has its minima at infinity; weight decay makes them points. The inputs are
principal components, so that there are tens of parameters and the Hessian is dense. All is in
float64.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxopt_course import problems, transforms
from jaxopt_course.nn import MLP

from . import data


@dataclasses.dataclass(frozen=True)
class Network:
    """A network with one hidden layer of tanh on the leading principal components of digits.

    Attributes:
        inputs: Number of components.
        hidden: Units.
        images: Examples.
        weight_decay: Factor of half the squared norm of all parameters.
        classes: Only the digits below this number are used.
    """

    inputs: int = 6
    hidden: int = 3
    images: int = 100
    weight_decay: float = 1e-3
    classes: int = 5

    def problem(self) -> problems.Problem:
        """Return the loss without weight decay; to be called where float64 is on."""
        train = data.load("digits").train
        kept = np.flatnonzero(train.labels < self.classes)[: self.images]
        pixels = train.images.reshape(len(train.labels), -1)[kept].astype(float)
        left, values, _ = np.linalg.svd(pixels - pixels.mean(axis=0), full_matrices=False)
        # The first component has variance 1.
        components = left[:, : self.inputs] * values[: self.inputs] / values[0] * len(kept) ** 0.5

        def build(key):
            return MLP(
                (self.inputs, self.hidden, self.classes),
                activation=jnp.tanh,
                kernel_init=jax.nn.initializers.glorot_normal(),
                param_dtype=jnp.float64,
                rngs=nnx.Rngs(key),
            )

        return problems.empirical_loss(build, components, train.labels[kept])

    def objective(self, problem: problems.Problem):
        """Return the loss with weight decay."""
        half = self.weight_decay / 2
        return lambda params: problem.fun(params) + half * optax.tree.norm(params, squared=True)


def descend(fun, starts: Any, learning_rate: float, steps: int, every: int = 1):
    """Run gradient descent from a batch of starts.

    Args:
        fun: The objective.
        starts: Parameters with the runs as leading axis.
        learning_rate: The rate.
        steps: How many steps.
        every: Steps between records, the first after as many.

    Returns:
        Parameters with leading axes (starts, steps // every), values and gradient norms of that
        shape.
    """

    @jax.jit
    @jax.vmap
    def path(start):
        rule = transforms.gradient_descent(learning_rate)
        found = transforms.path(fun, rule, start, steps, every=every)
        seen = found.observed["params"], found.value, found.gradient_norm
        return jax.tree.map(lambda leaf: leaf[1:], seen)

    return path(starts)


def slow_places(gradient_norms: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return path and step of the smallest local minima of the gradient norm along paths.

    Args:
        gradient_norms: Shape (paths, steps).
        most: How many to return at most.

    Returns:
        Paths and steps, the smallest gradient norm first.
    """
    before, here, after = gradient_norms[:, :-2], gradient_norms[:, 1:-1], gradient_norms[:, 2:]
    path, step = np.nonzero((here < before) & (here <= after))
    chosen = np.argsort(gradient_norms[path, step + 1])[:most]
    return path[chosen], step[chosen] + 1
