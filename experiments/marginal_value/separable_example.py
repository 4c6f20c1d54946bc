r"""Wilson et al.'s least-squares problem, on which adaptive methods learn nothing.

Example i has the label `y = 1` with probability p, else `y = -1`, and the features

    x[0] = y,    x[1] = x[2] = 1,    and 5 features that no other example has,

of which the first is 1 if `y = 1` and all 5 are if `y = -1`; all else is 0. The loss is the sum of
`(x.w - y)^2 / 2`. If most labels are positive, `u = sign(X^T y)` has `X u = 4 y`, so that AdaGrad,
RMSProp and Adam, started at 0, move along u to `u / 4` (lemma 3.1), whose output on a new example
is `(y + 2) / 4`: always positive. Gradient descent and heavy ball go to the solution of least norm,
`w = X^T a` with

    a = (4 n- + 5) / D  where y = 1,    a = -(4 n+ + 1) / D  where y = -1,
    D = 8 n+ n- + 15 n+ + 3 n- + 5,

for n+ positive and n- negative examples, whose output on a new example has its label's sign.

Wilson, Roelofs, Stern, Srebro, Recht (2017), https://arxiv.org/abs/1705.08292, section 3.3. The
paper prints another `a`; this one is derived, and tested against the pseudoinverse.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_course import transforms

from ..lab import progress
from ._five_methods import ADAPTIVE, METHODS, NON_ADAPTIVE


def draw_labels(generator: np.random.Generator, examples: int, positive: float) -> np.ndarray:
    """Return labels that are 1 with probability `positive`, else -1."""
    return np.where(generator.random(examples) < positive, 1.0, -1.0)


def features(labels: np.ndarray) -> np.ndarray:
    """Return X of shape (examples, 3 + n+ + 5 n-), without the columns that are zero.

    Example:
        >>> features(np.array([1.0, -1.0])).astype(int)
        array([[ 1,  1,  1,  1,  0,  0,  0,  0,  0],
               [-1,  1,  1,  0,  1,  1,  1,  1,  1]])
    """
    counts = np.where(labels > 0, 1, 5)
    owners = np.repeat(np.arange(len(labels)), counts)
    private = owners == np.arange(len(labels))[:, None]
    shared = np.stack([labels, np.ones_like(labels), np.ones_like(labels)], axis=1)
    return np.concatenate([shared, private.astype(labels.dtype)], axis=1)


def least_norm_solution(labels: np.ndarray) -> np.ndarray:
    """Return the w of least norm with `X w = y`, by the closed form of the module."""
    positives = int((labels > 0).sum())
    negatives = len(labels) - positives
    denominator = 8 * positives * negatives + 15 * positives + 3 * negatives + 5
    a = np.where(labels > 0, 4 * negatives + 5, -(4 * positives + 1)) / denominator
    return features(labels).T @ a


def share_wrong(weights: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of new examples, given by their labels, that `sign(x.w)` gets wrong.

    Their own features have no weight: no training example has them.
    """
    outputs = weights[0] * labels + weights[1] + weights[2]
    return float(np.mean(np.sign(outputs) != labels))


def solve(
    draws: int, examples: int, steps: int, seed: int
) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Solve draws of the example by every method, from 0 on the sum of the squares.

    Args:
        draws: Number of draws.
        examples: Training examples of each.
        steps: Steps of every method.
        seed: Of the first draw.

    Returns:
        Errors on new and on training examples, relative distances from the solution that theory
        predicts, the error of a control and the share of negatives; with the names of their axes.
    """

    @jax.jit
    def by_every_method(x, y):
        # Adaptive methods step by about the rate however small the gradient: it must go to 0.
        decayed = optax.cosine_decay_schedule(0.01, steps)
        stable = 1 / jnp.linalg.eigvalsh(x @ x.T)[-1]

        def end(optimizer, fun):
            path = transforms.path(fun, optimizer, jnp.zeros(x.shape[1]), steps, every=steps)
            return path.params

        def loss(w):
            return jnp.sum((x @ w - y) ** 2) / 2

        found = [
            end(make(decayed if name in ADAPTIVE else stable), loss)
            for name, make in METHODS.items()
        ]
        # optax's accumulator starts at 0.1, far above the squared gradients of the mean.
        control = end(optax.adagrad(0.1), lambda w: loss(w) / len(y))
        return jnp.stack([*found, control])

    errors, train_errors, distances, negatives = [], [], [], []
    with jax.enable_x64(True):
        for draw in progress.track(range(draws), "separable example"):
            generator = np.random.default_rng(seed + draw)
            labels, new = (draw_labels(generator, size, 0.6) for size in (examples, 10_000))
            x = features(labels)
            weights = np.asarray(by_every_method(x, labels))
            least = least_norm_solution(labels)
            limits = [
                least if name in NON_ADAPTIVE else np.sign(x.T @ labels) / 4 for name in METHODS
            ]
            errors.append([share_wrong(w, new) for w in weights])
            train_errors.append(np.mean(np.sign(weights @ x.T) != labels, axis=1))
            distances.append(
                [
                    np.linalg.norm(w - limit) / np.linalg.norm(limit)
                    for w, limit in zip(weights, limits, strict=False)
                ]
            )
            negatives.append(np.mean(new < 0))
    errors, train_errors, distances = (
        np.array(values).T for values in (errors, train_errors, distances)
    )
    return {
        "example_error": (("optimizer", "draw"), errors[:-1]),
        "example_train_error": (("optimizer", "draw"), train_errors[:-1]),
        "example_distance": (("optimizer", "draw"), distances),
        "example_control_error": (("draw",), errors[-1]),
        "example_negatives": (("draw",), np.array(negatives)),
    }
