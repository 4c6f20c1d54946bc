"""Problems whose local minima are all global, small enough to search for every stationary point.

Eigenvalues are squares where that makes the saddles exact in floating-point numbers. For sensing
and completion the theorems ask for more measurements than such dimensions allow; that these
instances are benign is what the experiment finds, not what it assumes.

The tensor problems do not depend on the lengths of their unit vectors u_i. They get the term
`sum_i (|u_i|**2 - 1)**2 / 4`, without which a search runs away to ever longer vectors: its gradient
is orthogonal to the objective's, so the stationary points are those of unit length, with the same
values and eigenvalues, but 2 instead of 0 along each u_i.

Measurements and observed entries are drawn, and each draw is a landscape of its own.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course import problems, saddle


class Family(NamedTuple):
    """A problem, and what does not change it.

    Attributes:
        problem: The problem.
        learning_rate: Of descent, at most: where the points found are curved more than 1/rate it is
            divided by a whole number, and there are as many times more steps.
        canonical: What equivalent parameters share, as `saddle.find` takes it: whatever its
            symmetries make of a point, an orbit, counts as one.
        null_space: Tangents of the symmetries, as `saddle.classify` takes it.
    """

    problem: problems.Problem
    learning_rate: float
    canonical: Callable[[Any], Any]
    null_space: Callable[[Any], Any] | None = None


def _unit_rows(problem: problems.Problem) -> problems.Problem:
    """Return the problem with the term of this module, and starts of unit length."""

    def fun(u):
        return problem.fun(u) + jnp.sum((jnp.sum(jnp.square(u), axis=-1) - 1) ** 2) / 4

    def init(key):
        start = problem.init(key)
        return start / jnp.linalg.norm(start, axis=-1, keepdims=True)

    return dataclasses.replace(problem, fun=fun, init=init)


def _any_order(u):
    """What no order of components or coordinates changes, and no sign: the value has none."""
    squares = jnp.square(u)
    products = squares @ squares.T, squares.T @ squares
    return jnp.concatenate([jnp.sort(part, axis=None) for part in (squares, *products)])


# Of these every key makes another problem.
DRAWN = ("matrix sensing", "matrix completion")


def families(key: jax.Array) -> dict[str, Family]:
    """Return all of them by name, of one draw; float64 must be on."""
    # In each: the problem, the rate of descent, what no symmetry of the problem changes (points
    # that share it count as one), and the directions in which its symmetries move a point.
    return {
        "symmetric factorization": Family(
            problems.symmetric_factorization(
                [4.0, 2.25, 1.0, 0.25], rank=2, init_distribution="uniform"
            ),
            0.02,
            lambda u: u @ u.T,
            saddle.rotation_null_space,
        ),
        "asymmetric factorization": Family(
            problems.asymmetric_factorization([4.0, 2.25, 1.0], shape=(4, 3), rank=2),
            0.02,
            lambda weights: weights[1] @ weights[0],
            saddle.change_of_basis_null_space,
        ),
        "matrix sensing": Family(
            problems.matrix_sensing(
                [2.0, 1.0],
                dimension=5,
                num_measurements=60,
                key=key,
                init_distribution="uniform",
            ),
            0.02,
            lambda u: u @ u.T,
            saddle.rotation_null_space,
        ),
        "matrix completion": Family(
            problems.matrix_completion(
                [2.0, 1.0],
                dimension=8,
                sampling_probability=0.8,
                key=key,
                init_distribution="uniform",
            ),
            0.02,
            lambda u: u @ u.T,
            saddle.rotation_null_space,
        ),
        "tensor component": Family(
            # Any order of the coordinates, with any signs.
            _unit_rows(problems.tensor_component(np.ones(5))),
            0.05,
            lambda x: jnp.sort(jnp.square(x)),
        ),
        "tensor decomposition": Family(
            _unit_rows(problems.tensor_decomposition(dimension=3)), 0.05, _any_order
        ),
        "phase retrieval": Family(
            problems.phase_retrieval(np.eye(5)[0], init_distribution="uniform"),
            0.02,
            # Its saddles are a sphere around the signal's axis.
            lambda x: jnp.stack([jnp.square(x[0]), jnp.dot(x, x)]),
        ),
        "quadratic network": Family(
            problems.quadratic_network(
                [3.0, 2.0, 1.0, 0.5], num_hidden=2, init_distribution="uniform"
            ),
            0.01,
            lambda w: w.T @ w,
            lambda w: saddle.rotation_null_space(w.T).transpose(0, 2, 1),
        ),
    }
