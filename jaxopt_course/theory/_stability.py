r"""The largest curvature at which an optimizer is stable, whatever its rule.

On f(x) = lambda x^2 / 2 a step maps parameter and state together, z = (x, s), to F(z; lambda).
Near the minimum it is its linear part, and errors grow where

    radius(lambda) = max |eigenvalues of dF/dz (0; lambda)| > 1.

The smallest such lambda > 0 is the threshold. In optax's parametrisation, with rate eta,

    gradient descent                 2 / eta
    heavy ball, decay b              (2 + 2 b) / eta
    Nesterov, decay b                (2 + 2 b) / (eta (1 + 2 b))
    Adam, first moment b1            (2 + 2 b1) / (eta (1 - b1)),  38 / eta for b1 = 0.9

An adaptive rule is judged with its second moments held at what it has gathered before, here from
gradients of mean square 1: the curvature is that of the preconditioned Hessian. Second moments are
known by being even in the gradient; the linear part of a step, at gradient 0, does not reach them.
Full-batch training settles where its sharpness, preconditioned for Adam, is at the threshold.

Cohen, Kaur, Li, Kolter, Talwalkar (2021), https://arxiv.org/abs/2103.00065, appendix B, and Cohen,
Ghorbani, Krishnan et al. (2022), https://arxiv.org/abs/2207.14484, equation 3.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_course._brief import brief
from jaxopt_course._checks import check_count, check_positive, is_key

# Curvatures that are tried first, a factor of 1.5 apart.
_GRID = 1e-12 * 1.5 ** np.arange(137)
# A radius that exceeds 1 by less is 1, as that of accumulators, which keep what they have.
_MARGIN = 1e-9
# Each of so many rounds narrows the bracket by the number of its points.
_ROUNDS, _POINTS = 5, 64


def stability_threshold(
    rule: optax.GradientTransformation,
    *,
    gradient_scale: float = 1.0,
    steps: int = 20_000,
) -> float:
    """The curvature beyond which the rule's steps move away from a minimum.

    The rule first sees `steps` gradients of plus and minus `gradient_scale` by turns, which fill
    its second moments and take a schedule to where it is judged. AdaGrad, which sums its squares,
    becomes the more stable the more it has seen: like sqrt(steps).

    Args:
        rule: Any optax transformation; what is more complicated goes through `transforms.adapt`.
        gradient_scale: Root mean square of the gradients that it has seen, > 0. The threshold of
            Adam is that of the Hessian divided by it.
        steps: How many it has seen, >= 1.

    Returns:
        The threshold, in doubles; inf where no curvature up to 1e12 is too large, as for Newton's
        method, and for rules such as sign descent whose update does not vary with the gradient.

    Raises:
        TypeError: if `rule` is not a transformation.
        ValueError: if a number is out of range, or the linear part is not finite.

    Example:
        >>> round(stability_threshold(optax.sgd(0.1, momentum=0.9)), 6)
        38.0
    """
    if not isinstance(rule, optax.GradientTransformation):
        cure = ", a function: call it first" if callable(rule) else ""
        raise TypeError(f"rule must be an optax.GradientTransformation, got {brief(rule)}{cure}")
    check_positive(gradient_scale=gradient_scale)
    check_count(steps=steps)
    with jax.enable_x64(True):
        linear_parts = jax.jit(jax.vmap(_linear_part(rule, gradient_scale, steps)))

        def unstable(curvatures: np.ndarray) -> np.ndarray:
            matrices = np.asarray(linear_parts(curvatures))
            if not np.isfinite(matrices).all():
                raise ValueError("rule must have a finite linear part at a minimum, got NaN or inf")
            return np.abs(np.linalg.eigvals(matrices)).max(axis=-1) > 1 + _MARGIN

        low, curvatures = 0.0, _GRID
        for _ in range(_ROUNDS):
            found = unstable(curvatures)
            if not found.any():
                return float("inf")
            first = int(found.argmax())
            low = curvatures[first - 1] if first else low
            curvatures = np.linspace(low, curvatures[first], _POINTS + 1)[1:]
        return float(curvatures[unstable(curvatures).argmax()])


def _linear_part(rule: optax.GradientTransformation, scale: float, steps: int) -> Any:
    """The function from a curvature to dF/dz at the minimum, for the state after `steps`."""
    update = optax.with_extra_args_support(rule).update
    origin = jnp.zeros(())

    def move(x, state, curvature, grad):
        def fun(x):
            return curvature * x**2 / 2

        arguments = {"value": fun(x), "grad": grad, "value_fn": fun}
        return update(grad, state, x, **arguments)

    def see(state, grad):
        return jax.tree.map(_as, move(origin, state, jnp.ones(()), grad)[1], state)

    @jax.jit
    def gather(state):
        # What a rule has seen is gathered at the minimum itself; its moves are not made.
        state = jax.lax.fori_loop(
            0, steps, lambda i, state: see(state, jnp.where(i % 2 == 0, scale, -scale)), state
        )
        up, down, still = (see(state, jnp.asarray(sign * scale)) for sign in (1.0, -1.0, 0.0))
        return jax.tree.map(_held, state, up, down, still)

    state = gather(jax.tree.map(jnp.asarray, rule.init(origin)))
    leaves, structure = jax.tree.flatten(state)
    varies = [not is_key(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves]
    moments = [leaf for leaf, real in zip(leaves, varies, strict=True) if real]

    def matrix(curvature):
        def step(z):
            rest = iter(z[1:])
            state = structure.unflatten(
                [next(rest) if real else leaf for leaf, real in zip(leaves, varies, strict=True)]
            )
            updates, state = move(z[0], state, curvature, curvature * z[0])
            after = zip(jax.tree.leaves(state), varies, strict=True)
            return [z[0] + updates, *(leaf for leaf, real in after if real)]

        z = [origin, *moments]
        columns = jax.jacfwd(step)(z)
        return jnp.stack(
            [jnp.stack([jnp.asarray(entry, float) for entry in row]) for row in columns]
        )

    return matrix


def _held(old: Any, up: Any, down: Any, still: Any) -> Any:
    """A second moment such that a step without gradient leaves what one with gradients would."""
    if is_key(old) or not jnp.issubdtype(old.dtype, jnp.floating):
        return old
    even = (jnp.abs(up - down) <= 1e-12 * jnp.abs(up)) & (up != still) & (still != 0)
    return jnp.where(even, old * up / jnp.where(even, still, 1), old)


def _as(new: Any, old: Any) -> Any:
    return new if is_key(old) else jnp.asarray(new, old.dtype)
