r"""What lanes do under `saddle.find`: a run moves until it has arrived or can go no further.

With g the gradient at x, H the Hessian and `radius` a bound on the length of the step s, there are
four rules for a step:

    newton                 s = -t H^{-1} g, shortened by t <= 1 to the radius
    levenberg_marquardt    s minimises |g + H s|^2 / 2
    gradient_norm          s minimises the second-order Taylor polynomial of |g|^2 / 2, third
                           derivatives of the objective included
    eigenvector_following  s minimises the image of the quadratic model: that with the signs of
                           g and H turned along the `index` lowest eigenvectors, so that uphill
                           along these is downhill, and a saddle of that index a minimum

All are computed in an eigenbasis of a dense matrix. A step comes with its quality, about 1 where
the model that it was taken from predicted well what it leads to. For the first three the quality is
the fall of |g|^2 / 2 over the predicted one; no function falls along eigenvector following, so
there it is how well g + H s predicts the new gradient, and runs may cycle, as all methods of its
kind do (Levitt and Ortner 2017, https://arxiv.org/abs/1607.08875). A step is taken if its quality
is good enough, and the trust radius shrinks or grows with it; a step to where the gradient is not
finite has no quality and is not taken.

A small gradient alone does not end a run: it is small on plateaus too. Newton's step from there
must be short, in the directions in which the Hessian is not singular, and so must have been the way
to there in those in which it nearly is. A step that still lowers the gradient is taken at the end:
where Newton's method converges it is worth half of the digits.

Lanes without a run that goes on cost nothing: on a CPU those that do are gathered into blocks
(`update_where`).

Levenberg-Marquardt with a radius: More (1978), https://doi.org/10.1007/BFb0067700. Eigenvector
following: Cerjan and Miller (1981), https://doi.org/10.1063/1.442352; on the image function with
a trust radius: Helgaker (1991), https://doi.org/10.1016/0009-2614(91)90115-P.
"""

import enum
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import chex
import flax.struct
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxopt_course import _krylov
from jaxopt_course._batching import update_where
from jaxopt_course._engine._loop import RUNNING
from jaxopt_course._platforms import spacing
from jaxopt_course._tracing import Traced


class Outcome(enum.IntEnum):
    """How a search ended; the values are what `SearchRuns.outcome` holds as int32."""

    STATIONARY = 0
    WRONG_INDEX = 1
    STALLED = 2
    MAX_STEPS = 3
    FLAT = 4
    DIVERGED = 5


BLOCK = 64
_MOST_LANES = 2048

_ACCEPT, _SHRINK, _GROW = 0.1, 0.25, 0.75


class Limits(NamedTuple):
    """The numbers that the loop depends on; `tolerance` is relative, `radius` to the start."""

    max_steps: chex.Numeric
    tolerance: chex.Numeric
    radius: chex.Numeric


class Run(NamedTuple):
    """One run.

    Attributes:
        x: Where it is, shape `(n,)`.
        radius: The longest step it may take next.
        drift: How far the last step that was taken went in directions of hardly any curvature.
        gradient_norm: |g| at x.
        scale: |H| (1 + max |x|): what |g| is compared with.
        index: Number of negative eigenvalues of H.
        steps: Steps tried so far.
    """

    x: jax.Array
    radius: jax.Array
    drift: jax.Array
    gradient_norm: jax.Array
    scale: jax.Array
    index: jax.Array
    steps: jax.Array


class Start(NamedTuple):
    """Where a run starts.

    Attributes:
        params: Its parameters.
        wanted: The index that it is to end at, -1 for any.
        follows: Whether it follows eigenvectors rather than takes Newton's steps, where the program
            has no one method for all runs; else None.
    """

    params: Any
    wanted: Any
    follows: Any = None


class Search(NamedTuple):
    """The state of the lanes: runs, where they began, and what is asked of each, as in `Start`."""

    run: Run
    start: jax.Array
    wanted: jax.Array
    follows: jax.Array | None


def default_lanes(runs: int, platform: str) -> int:
    """Return how many runs to take together.

    Lanes without a run cost nothing, and the Hessians of a block are all that is large: all of them
    at once. On a CPU, of whose devices one works alone because of LAPACK, up to a limit.
    """
    return min(runs, _MOST_LANES) if platform == "cpu" else runs


@flax.struct.dataclass
class SearchProgram:
    """What lanes do.

    Attributes:
        fun: The objective.
        limits: The numbers that the loop depends on.
        method: How a step is found; None for one of two ways, as each run's `Start.follows` says.
        lanes: How many runs take their steps together.
    """

    fun: Traced
    limits: Limits
    method: str | None = flax.struct.field(pytree_node=False)
    lanes: int = flax.struct.field(pytree_node=False)
    axis = 0
    in_blocks = False
    is_quick = False

    def begin(self, starts: Start, reason: jax.Array) -> tuple[Search, jax.Array]:
        """Return the state of lanes at their starts."""
        params, wanted, follows = starts
        x = jax.vmap(lambda params: ravel_pytree(params)[0])(params)
        zeros, none = jnp.zeros_like(x[:, 0]), jnp.zeros_like(wanted)
        run = Run(
            x=x,
            radius=jnp.asarray(self.limits.radius * (1 + jnp.max(jnp.abs(x), axis=1)), x.dtype),
            drift=zeros,
            gradient_norm=zeros,
            scale=zeros,
            index=none,
            steps=none,
        )
        return Search(run, start=x, wanted=wanted, follows=follows), reason

    def step(self, state: Search, reason: jax.Array) -> tuple[Search, jax.Array]:
        """Take a step in every lane that runs."""
        advance = partial(_advance, self._fun_of_vector, self.method, self.limits)
        guarded = jax.vmap(update_where(advance, block=BLOCK))
        standing = (state.run, reason)
        run, reason = guarded(reason == RUNNING, standing, state.start, state.wanted, state.follows)
        return state._replace(run=run), reason

    def row(self, state: Search, reason: jax.Array) -> dict[str, Any]:
        """Return what is kept of every run."""
        run = state.run
        params = jax.vmap(self._unravel)(run.x)
        return {
            "params": params,
            "value": jax.vmap(self.fun)(params),
            "gradient_norm": run.gradient_norm,
            "scale": run.scale,
            "index": run.index,
            "steps": run.steps,
            "reason": reason,
        }

    def _unravel(self, x: jax.Array) -> Any:
        (params,) = self.fun.arguments()
        _, unravel = ravel_pytree(
            jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), params)
        )
        return unravel(x)

    def _fun_of_vector(self, x: jax.Array) -> jax.Array:
        return self.fun(self._unravel(x))


def about(program: SearchProgram) -> dict[str, Any]:
    """Return what tells batches of other programs, as JSON."""
    numbers = {name: float(value) for name, value in program.limits._asdict().items()}
    kept = {"objective": program.fun.digest(), "method": program.method, "lanes": program.lanes}
    return kept | numbers


# By default a TPU multiplies float32 as bfloat16, to three digits.
@jax.default_matmul_precision("highest")
def _advance(
    fun: Callable[[jax.Array], jax.Array],
    method: str | None,
    limits: Limits,
    standing: tuple[Run, jax.Array],
    start: jax.Array,
    wanted: jax.Array,
    chosen: jax.Array | None,
) -> tuple[Run, jax.Array]:
    """Look at where a run is; end it there, or try a step."""
    run, _ = standing
    follows = method == "eigenvector_following" if chosen is None else chosen
    gradient_fun = jax.grad(fun)
    gradient, operator = _krylov.flat_hessian(fun, run.x)
    model = _krylov.eigen_model(operator, gradient)
    run, reason = _judge(follows, limits, run, model, start, wanted)
    going = reason == RUNNING

    # A step is proposed by the method, or by that of the two which is the run's. A second proposal
    # costs little: both come from the eigenvectors, which are most of the work.
    def propose(name: str) -> Proposal:
        return RULES[name](gradient_fun, run.x, model, run.radius, wanted)

    if method is not None:
        proposal = propose(method)
    else:
        proposal = _either(follows, propose("eigenvector_following"), propose("newton"))
    reached = gradient_fun(run.x + proposal.step)
    # NaN where the step leads out of the domain, which compares as bad.
    measures = (measure(proposal, gradient, reached) for measure in (agreement, fall_of_norm))
    quality = _either(follows, *measures)
    length = _krylov.norm(proposal.step)
    radius = jnp.where(
        quality >= _GROW,
        jnp.maximum(run.radius, 2 * length),
        jnp.where(quality >= _SHRINK, run.radius, jnp.fmin(run.radius, length) / 4),
    )
    # The last step is a refinement: not one that leads somewhere else.
    refines = (length <= _short(run.x)) & (_krylov.norm(reached) < run.gradient_norm)
    taken = jnp.where(going, quality >= _ACCEPT, (reason == Outcome.STATIONARY) & refines)
    drift = jnp.where(_hardly_curved(model), model.vectors @ proposal.step, 0)
    run = run._replace(
        x=jnp.where(taken, run.x + proposal.step, run.x),
        radius=jnp.where(going, radius, run.radius),
        drift=jnp.where(taken, _krylov.norm(drift), run.drift),
        gradient_norm=jnp.where(taken, _krylov.norm(reached), run.gradient_norm),
        steps=run.steps + going,
    )
    return run, reason


def _either(follows: bool | jax.Array, following: Any, other: Any) -> Any:
    """Return what is for eigenvector following, or the other: one for all runs, or each its own."""
    if isinstance(follows, bool):
        return following if follows else other
    return jax.tree.map(partial(jnp.where, follows), following, other)


def _short(x: jax.Array) -> jax.Array:
    """Return the longest step that is short beside x."""
    return spacing(x.dtype) ** 0.25 * (1 + jnp.max(jnp.abs(x)))


def _hardly_curved(model: _krylov.EigenModel) -> jax.Array:
    """Return which eigenvalues have no sign that could be trusted."""
    sizes = jnp.abs(model.eigenvalues)
    return sizes <= spacing(sizes.dtype) ** 0.5 * jnp.max(sizes)


def _judge(
    follows: bool | jax.Array,
    limits: Limits,
    run: Run,
    model: _krylov.EigenModel,
    start: jax.Array,
    wanted: jax.Array,
) -> tuple[Run, jax.Array]:
    """Measure where a run is, and end it if it has arrived or can go no further."""
    info = jnp.finfo(run.x.dtype)
    size = jnp.max(jnp.abs(model.eigenvalues))
    extent = 1 + jnp.max(jnp.abs(run.x))
    run = run._replace(
        gradient_norm=_krylov.norm(model.gradient),
        scale=size * extent,
        index=jnp.sum((model.eigenvalues < 0) & ~_hardly_curved(model), dtype=jnp.int32),
    )
    way = jnp.maximum(_krylov.norm(newton_step(model)), run.drift)
    arrived = (run.gradient_norm <= limits.tolerance * run.scale) & (way <= _short(run.x))
    # Underflow, on the way to infinity. Where the run began, zeros are taken as they are.
    flat = arrived & (size < info.tiny**0.5) & jnp.any(run.x != start)
    stuck = run.radius <= info.eps * extent
    # Eigenvector following knows the way on from a stationary point whose index is wrong by more
    # than zeros.
    undecided = jnp.sum(_hardly_curved(model))
    arrived = _either(
        follows, arrived & (run.index <= wanted) & (wanted <= run.index + undecided), arrived
    )
    # The others stop where |g| does not fall: H g is the gradient of |g|^2 / 2.
    slope = _krylov.norm(model.eigenvalues * model.gradient)
    level = slope <= limits.tolerance * size * run.gradient_norm
    stuck = _either(follows, stuck, stuck | level)
    reach = (1 + jnp.max(jnp.abs(start))) / info.eps**0.5
    outcome = jnp.select(
        [
            ~jnp.isfinite(run.gradient_norm + size),
            flat,
            arrived & ((wanted < 0) | (run.index == wanted)),
            arrived,
            extent > reach,
            stuck,
            run.steps >= limits.max_steps,
        ],
        [
            Outcome.DIVERGED,
            Outcome.FLAT,
            Outcome.STATIONARY,
            Outcome.WRONG_INDEX,
            Outcome.DIVERGED,
            Outcome.STALLED,
            Outcome.MAX_STEPS,
        ],
        RUNNING,
    )
    return run, outcome.astype(jnp.int32)


# The four rules.

Gradient = Callable[[jax.Array], jax.Array]


class Proposal(NamedTuple):
    """A step, and what its model says of it.

    Attributes:
        step: s, shape (n,).
        gradient: g + H s, the gradient that is expected after it, shape (n,).
        decrease: By how much |g|^2 / 2 is expected to fall.
    """

    step: jax.Array
    gradient: jax.Array
    decrease: jax.Array


Rule = Callable[[Gradient, jax.Array, _krylov.EigenModel, jax.Array, jax.Array], Proposal]


def newton_step(model: _krylov.EigenModel) -> jax.Array:
    """Return the coefficients of -H^{-1} g, zero in the directions in which H is singular."""
    size = jnp.max(jnp.abs(model.eigenvalues))
    # Not >=, or the zero matrix is regular. On a manifold of stationary points rounding divided by
    # rounding would lead anywhere.
    regular = jnp.abs(model.eigenvalues) > spacing(size.dtype) ** (2 / 3) * size
    return -jnp.where(regular, model.gradient / jnp.where(regular, model.eigenvalues, 1), 0)


def newton(
    _: Gradient, x: jax.Array, model: _krylov.EigenModel, radius: jax.Array, index: jax.Array
) -> Proposal:
    """Propose Newton's step for g = 0, shortened to the radius."""
    del x, index
    full = newton_step(model)
    length = _krylov.norm(full)
    return _as_proposal(model, full * jnp.minimum(1, radius / jnp.where(length > 0, length, 1)))


def levenberg_marquardt(
    _: Gradient, x: jax.Array, model: _krylov.EigenModel, radius: jax.Array, index: jax.Array
) -> Proposal:
    """Propose the least-squares step for g + H s = 0 within the radius."""
    del x, index
    squares, slopes = model.eigenvalues**2, model.eigenvalues * model.gradient
    order = jnp.argsort(squares)
    sorted_step = _krylov.trust_region_minimizer(squares[order], slopes[order], radius=radius)
    return _as_proposal(model, jnp.zeros_like(sorted_step).at[order].set(sorted_step))


def gradient_norm(
    gradient: Gradient, x: jax.Array, model: _krylov.EigenModel, radius: jax.Array, index: jax.Array
) -> Proposal:
    """Propose the trust-region Newton step for the minimization of |g|^2 / 2."""
    del index

    def half_square(x: jax.Array) -> jax.Array:
        return jnp.sum(jnp.square(gradient(x))) / 2

    slope, operator = _krylov.flat_hessian(half_square, x)
    of_norm = _krylov.eigen_model(operator, slope)
    step = _krylov.trust_region_minimizer(of_norm.eigenvalues, of_norm.gradient, radius=radius)
    change = of_norm.gradient @ step + of_norm.eigenvalues @ step**2 / 2
    step = step @ of_norm.vectors
    return _as_proposal(model, model.vectors @ step)._replace(step=step, decrease=-change)


def eigenvector_following(
    _: Gradient, x: jax.Array, model: _krylov.EigenModel, radius: jax.Array, index: jax.Array
) -> Proposal:
    """Propose the trust-region step on the image function for the wanted index."""
    del x
    sign = jnp.where(jnp.arange(model.eigenvalues.size) < index, -1, 1)
    image = sign * model.eigenvalues
    order = jnp.argsort(image)
    step = _krylov.trust_region_minimizer(
        image[order], (sign * model.gradient)[order], radius=radius
    )
    return _as_proposal(model, jnp.zeros_like(step).at[order].set(step))


def _as_proposal(model: _krylov.EigenModel, coefficients: jax.Array) -> Proposal:
    """Return the step that has these coefficients in H's eigenbasis."""
    expected = model.gradient + model.eigenvalues * coefficients
    return Proposal(
        step=coefficients @ model.vectors,
        gradient=expected @ model.vectors,
        decrease=(model.gradient @ model.gradient - expected @ expected) / 2,
    )


def fall_of_norm(proposal: Proposal, gradient: jax.Array, reached: jax.Array) -> jax.Array:
    """Return the actual fall of |g|^2 / 2 over the expected one."""
    fall = (gradient @ gradient - reached @ reached) / 2
    return fall / jnp.where(proposal.decrease > 0, proposal.decrease, jnp.nan)


def agreement(proposal: Proposal, gradient: jax.Array, reached: jax.Array) -> jax.Array:
    """Return 1 minus the error of the expected gradient, relative to the terms it is a sum of."""
    change = _krylov.norm(proposal.gradient - gradient)
    error = _krylov.norm(reached - proposal.gradient)
    return 1 - error / (_krylov.norm(gradient) + change)


RULES: dict[str, Rule] = {
    "newton": newton,
    "levenberg_marquardt": levenberg_marquardt,
    "eigenvector_following": eigenvector_following,
    "gradient_norm": gradient_norm,
}
