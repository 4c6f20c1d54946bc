"""Two-layer ReLU networks that learn a network: bad minima where none was expected.

With inputs x ~ N(0, I), students w_1, ..., w_n and teachers v_j the axes,

    f(W) = 1/2 E (sum_i relu(w_i^T x) - sum_j relu(v_j^T x))**2
         = 1/2 sum_ij K(w_i, w_j) - sum_ij K(w_i, v_j) + 1/2 sum_ij K(v_i, v_j)

    K(w, v) = E relu(w^T x) relu(v^T x) = |w| |v| (sin t + (pi - t) cos t) / (2 pi)

where t is the angle between w and v. W = I is a global minimum, with a positive definite Hessian;
from k = 6 on there are others that are not global, and random starts reach them ever more often.
On m examples, the mean over inputs that were drawn takes the place of the expectation.

Safran and Shamir (2018), "Spurious Local Minima are Common in Two-Layer ReLU Neural Networks",
https://arxiv.org/abs/1712.08968; K from Cho and Saul (2009).
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course._checks import check_count, check_key, check_positive
from jaxopt_course._streams import stream
from jaxopt_course.problems._problem import KnownPoint, Problem, check_shape, random_start
from jaxopt_course.problems._spectra import minimum_with_hessian


def relu_teacher_student(*, num_students: int, dimension: int, init_scale: float = 1.0) -> Problem:
    """The population loss in closed form, of n students for k teachers in R^k.

    First and second derivatives are right where a student is parallel to a teacher or to another
    student, too; where a student is zero f has a value, but is not differentiable.

    Args:
        num_students: n, at least 1.
        dimension: k, number of teachers and of inputs.
        init_scale: Starts are normal with standard deviation `init_scale / sqrt(k)`; 1 is the
            paper's.

    Returns:
        The problem, on arrays of shape (n, k). For n = k, `stationary_points` holds W = I; its
        permutations are as good.

    Raises:
        ValueError: a number that is not positive.

    Example:
        >>> problem = relu_teacher_student(num_students=6, dimension=6)
        >>> f"{problem.stationary_points[0].eigenvalues[0]:.7f}"  # 1/4 - 1/(2 pi)
        '0.0908451'
    """
    check_count(num_students=num_students, dimension=dimension)
    check_positive(init_scale=init_scale)
    shape = (num_students, dimension)
    name = f"relu-teacher-student-{num_students}-{dimension}"
    # Teachers at right angles: K = 1 / (2 pi), and K(v, v) = 1 / 2.
    teachers = dimension / 4 + dimension * (dimension - 1) / (4 * np.pi)

    def fun(w):
        check_shape(w, shape, name)
        norms = jnp.linalg.norm(w, axis=1)
        # A student that is zero has no direction, but adds nothing either.
        unit = w / jnp.where(norms > 0, norms, 1)[:, None]
        # The diagonal is known, K(w, w) = |w|**2 / 2, so it is kept out of the trigonometry.
        cosines = (unit @ unit.T) * (1 - jnp.eye(num_students, dtype=w.dtype))
        pairs = norms[:, None] * norms[None, :] * _arc_cosine_kernel(cosines)
        students = jnp.sum(pairs * (1 - jnp.eye(num_students, dtype=w.dtype)))
        students = students / 2 + jnp.sum(jnp.square(norms)) / 4
        cross = jnp.sum(norms[:, None] * _arc_cosine_kernel(unit))
        return students - cross + teachers

    points = ()
    if num_students == dimension:
        eigenvalues = np.linalg.eigvalsh(_hessian_at_teachers(dimension))
        points = (KnownPoint(np.eye(dimension), "MINIMUM", 0.0, index=0, eigenvalues=eigenvalues),)
    return Problem(
        name=name,
        fun=fun,
        init=random_start(shape, distribution="normal", scale=init_scale / dimension**0.5),
        minimum_value=0.0 if num_students >= dimension else None,
        stationary_points=points,
    )


def sampled_relu_teacher_student(
    *,
    num_students: int,
    dimension: int,
    num_samples: int,
    key: chex.PRNGKey,
    init_scale: float = 1.0,
) -> Problem:
    """The mean loss over a sample of Gaussian inputs, of n students for k teachers in R^k.

    Where the closed form is smooth, this one has kinks, at every W with `w_i^T x = 0` for some
    student and example; between them it is a polynomial.

    Args:
        num_students: n, at least 1.
        dimension: k, number of teachers and of inputs.
        num_samples: m, examples.
        key: Typed key that draws the examples.
        init_scale: As in `relu_teacher_student`.

    Returns:
        The problem, on arrays of shape (n, k). For n = k, `stationary_points` holds W = I, still a
        global minimum; its Hessian is singular if m < k**2, or else nearly that of the population.
        `fun` is a `jax.tree_util.Partial` that holds the examples, so it can be an argument of a
        compiled function.

    Raises:
        ValueError: a number that is not positive.
        TypeError: a number of samples that is not an integer, or `key` is not a typed key.

    Example:
        >>> key = jax.random.key(0)
        >>> problem = sampled_relu_teacher_student(
        ...     num_students=3, dimension=3, num_samples=500, key=key
        ... )
        >>> problem.stationary_points[0].kind, problem.stationary_points[0].nullity
        ('MINIMUM', 0)
    """
    check_count(num_students=num_students, dimension=dimension, num_samples=num_samples)
    check_positive(init_scale=init_scale)
    check_key(key=key)
    shape = (num_students, dimension)
    name = f"sampled-relu-teacher-student-{num_students}-{dimension}-{num_samples}"
    # Drawn in float32 whatever the precision in force, so that a key means one problem.
    inputs = jax.random.normal(stream(key, "problem"), (num_samples, dimension), jnp.float32)

    def fun(w, *, inputs):
        check_shape(w, shape, name)
        inputs = jnp.asarray(inputs, w.dtype)
        answers = jnp.sum(jax.nn.relu(inputs @ w.T), axis=1)
        return jnp.mean(jnp.square(answers - jnp.sum(jax.nn.relu(inputs), axis=1))) / 2

    points = ()
    if num_students == dimension:
        x = np.asarray(inputs, np.float64)
        # The derivative of student i's answer: the input where it is active.
        slopes = [(x * active[:, None]) for active in (x > 0).T]
        hessian = np.block([[a.T @ b / num_samples for b in slopes] for a in slopes])
        points = (minimum_with_hessian(np.eye(dimension), hessian),)
    return Problem(
        name=name,
        fun=jax.tree_util.Partial(fun, inputs=inputs),
        init=random_start(shape, distribution="normal", scale=init_scale / dimension**0.5),
        minimum_value=0.0 if num_students >= dimension else None,
        stationary_points=points,
    )


@jax.custom_jvp
def _arc_cosine_kernel(cosine: jax.Array) -> jax.Array:
    """Return `(sin t + (pi - t) cos t) / (2 pi)` for cos t; its derivative is (pi - t) / (2 pi)."""
    cosine = jnp.clip(cosine, -1, 1)
    sine = jnp.sqrt(1 - cosine * cosine)
    return (sine + (jnp.pi - jnp.arccos(cosine)) * cosine) / (2 * jnp.pi)


@_arc_cosine_kernel.defjvp
def _(primals, tangents):
    (cosine,), (tangent,) = primals, tangents
    return _arc_cosine_kernel(cosine), (jnp.pi - _angle(cosine)) / (2 * jnp.pi) * tangent


@jax.custom_jvp
def _angle(cosine: jax.Array) -> jax.Array:
    """Return arccos, with a derivative that is bounded at 0 and pi.

    There the cosine is stationary as a function of the two vectors, so in second derivatives
    the bounded slope meets a zero, where the unbounded one would give inf * 0.
    """
    return jnp.arccos(jnp.clip(cosine, -1, 1))


@_angle.defjvp
def _(primals, tangents):
    (cosine,), (tangent,) = primals, tangents
    sine_squared = jnp.maximum(1 - cosine * cosine, jnp.finfo(cosine.dtype).eps)
    return _angle(cosine), -tangent / jnp.sqrt(sine_squared)


def _hessian_at_teachers(k: int) -> np.ndarray:
    """Return the Hessian at W = I, of shape (k**2, k**2).

    Blocks of students i and j: I / 2 for i = j, I / 4 + (e_i e_j^T + e_j e_i^T) / (2 pi) otherwise.
    """
    axes = np.eye(k)
    cross = np.einsum("ia,jb->iajb", axes, axes) + np.einsum("ja,ib->iajb", axes, axes)
    blocks = axes[None, :, None, :] / 4 + cross / (2 * np.pi)
    same = axes[:, None, :, None]
    return np.where(same == 1, axes[None, :, None, :] / 2, blocks).reshape(k * k, k * k)
