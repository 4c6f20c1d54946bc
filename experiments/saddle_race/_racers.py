"""The rules that race in `saddle_race`, and what a step of each costs.

Costs are in gradient evaluations. A Hessian-vector product counts as two, so a dense Hessian in n
dimensions as 2 n; a value alone as a half. What a rule reports about its own work is counted as
reported (conjugate-gradient products, line-search steps, searches); where it reports only that it
searched, the search is charged at the most it may have cost.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxopt_course import transforms

PRODUCT, VALUE = 2.0, 0.5
# Where a gradient counts as small, how far noise reaches, and how long it is given to grow.
GRADIENT_THRESHOLD, RADIUS, INTERVAL = 1e-2, 1e-2, 50
ESCAPE_RADIUS = 0.5
NEON2_STEPS = 100
MAX_CG_STEPS = 20
# An unsuccessful search along negative curvature halves its step 20 times, both ways.
SEARCH_VALUES = 1 + 2 * 21

Cost = Callable[[Any, Any, int], Any]


def _one_gradient(_before: Any, _after: Any, _size: int) -> float:
    return 1.0


def _at_least_one(_size: int) -> float:
    return 1.0


@dataclasses.dataclass(frozen=True)
class Racer:
    """A rule with one hyperparameter to tune.

    Attributes:
        name: As the figure has it.
        family: What kind of rule.
        make: From the hyperparameter and a key to the transformation.
        cost: From the states before and after a step, and the number of parameters, to what the
            step cost.
        least_cost: From the number of parameters to the least that a step can cost.
        random: Whether the rule draws noise.
    """

    name: str
    family: str
    make: Callable[[Any, jax.Array], optax.GradientTransformation]
    cost: Cost = _one_gradient
    least_cost: Callable[[int], float] = _at_least_one
    random: bool = False


def _state_of(state: Any, kind: type) -> Any:
    """Return the one state of this type within a chain's state."""
    leaves = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, kind))
    return next(leaf for leaf in leaves if isinstance(leaf, kind))


def _dense(before: Any, after: Any, size: int) -> float:
    """Charge a gradient and a dense Hessian."""
    del before, after
    return 1 + PRODUCT * size


def _conjugate_gradients(before: Any, after: Any, size: int) -> Any:
    del before, size
    return 1 + PRODUCT * _state_of(after, transforms.NewtonState).num_products


def _searches(before: Any, after: Any) -> Any:
    kind = transforms.EscapeState
    return _state_of(after, kind).num_searches - _state_of(before, kind).num_searches


def _eigenvector(before: Any, after: Any, size: int) -> Any:
    """Charge a dense Hessian and one more product for every search; for few parameters only."""
    return 1 + _searches(before, after) * (PRODUCT * (size + 1) + VALUE * SEARCH_VALUES)


def _neon2(before: Any, after: Any, size: int) -> Any:
    """Charge every search all its steps, the gradient at x, and one to measure curvature."""
    del size
    return 1 + _searches(before, after) * (NEON2_STEPS + 2 + VALUE * SEARCH_VALUES)


def _accelerated(before: Any, after: Any, size: int) -> Any:
    """Charge the gradients at x and y, with which the values come, and two values to exploit."""
    del size
    kind = transforms.PerturbedAcceleratedState
    exploited = _state_of(after, kind).num_exploitations - _state_of(before, kind).num_exploitations
    return 2 + 2 * VALUE * exploited


def _line_search(before: Any, after: Any, size: int) -> Any:
    """Charge what the line search evaluates; its last gradient serves the next step."""
    del before, size
    steps = _state_of(after, optax.ScaleByZoomLinesearchState).info.num_linesearch_steps
    return jnp.maximum(steps, 1)


def _plain(name: str, family: str, make: Callable[..., Any]) -> Racer:
    return Racer(name, family, lambda scale, _: make(scale))


def _accelerated_rule(scale: Any, key: jax.Array) -> optax.GradientTransformation:
    """Perturbed accelerated gradient descent at this rate."""
    theta = 0.1
    return transforms.perturbed_accelerated_gradient_descent(
        scale,
        theta,
        gamma=theta**2 / scale,
        nce_radius=0.1,
        radius=RADIUS,
        gradient_threshold=GRADIENT_THRESHOLD,
        interval=INTERVAL,
        key=key,
    )


def _neon2_rule(scale: Any, key: jax.Array) -> optax.GradientTransformation:
    """Gradient descent at this rate that looks for a way down by Neon2."""
    search = transforms.neon2(
        ESCAPE_RADIUS,
        GRADIENT_THRESHOLD,
        INTERVAL,
        key=key,
        smoothness=5.0,
        curvature=0.2,
        start_radius=1e-5,
        end_radius=1e-2,
        num_steps=NEON2_STEPS,
    )
    return optax.chain(transforms.gradient_descent(scale), search)


def _with_eigenvector(rule: Callable[..., Any]) -> Callable[[Any, jax.Array], Any]:
    def make(scale, key):
        search = transforms.escape_negative_curvature(
            ESCAPE_RADIUS, GRADIENT_THRESHOLD, INTERVAL, key=key
        )
        return optax.chain(rule(scale), search)

    return make


def _dense_size(size: int) -> float:
    return 1 + PRODUCT * size


def _one_product(_size: int) -> float:
    return 1 + PRODUCT


def _two_gradients(_size: int) -> float:
    return 2.0


FIRST_ORDER, ADAPTIVE, SECOND_ORDER, PERTURBED = (
    "first order",
    "adaptive",
    "second order",
    "perturbed or curvature-seeking",
)
RACERS = (
    _plain("gradient descent", FIRST_ORDER, transforms.gradient_descent),
    _plain("optax sgd", FIRST_ORDER, optax.sgd),
    _plain("heavy ball", FIRST_ORDER, transforms.heavy_ball),
    _plain("optax momentum", FIRST_ORDER, lambda scale: optax.sgd(scale, 0.9)),
    _plain("Nesterov", FIRST_ORDER, transforms.nesterov),
    _plain("optax Nesterov", FIRST_ORDER, lambda scale: optax.sgd(scale, 0.9, nesterov=True)),
    _plain("AdaGrad", ADAPTIVE, transforms.adagrad),
    _plain("optax AdaGrad", ADAPTIVE, optax.adagrad),
    _plain("RMSProp", ADAPTIVE, transforms.rmsprop),
    _plain("optax RMSProp", ADAPTIVE, optax.rmsprop),
    _plain("AdaDelta", ADAPTIVE, transforms.adadelta),
    _plain("optax AdaDelta", ADAPTIVE, optax.adadelta),
    _plain("Adam", ADAPTIVE, transforms.adam),
    _plain("optax Adam", ADAPTIVE, optax.adam),
    Racer("Newton", SECOND_ORDER, lambda scale, _: transforms.newton(scale), _dense, _dense_size),
    Racer(
        "Newton, conjugate gradients",
        SECOND_ORDER,
        lambda scale, _: transforms.newton(scale, solver="cg", max_cg_steps=MAX_CG_STEPS),
        _conjugate_gradients,
        # A step without a product is one that stays at a stationary point for ever.
        _one_product,
    ),
    Racer(
        "saddle-free Newton",
        SECOND_ORDER,
        lambda scale, _: transforms.saddle_free_newton(scale),
        _dense,
        _dense_size,
    ),
    Racer(
        "cubic Newton",
        SECOND_ORDER,
        lambda scale, _: transforms.cubic_newton(1 / scale),
        _dense,
        _dense_size,
    ),
    Racer(
        "trust region",
        SECOND_ORDER,
        lambda scale, _: transforms.trust_region(scale),
        lambda before, after, size: _dense(before, after, size) + VALUE,
        _dense_size,
    ),
    # The rate scales the step that the line search tries first.
    Racer("optax L-BFGS", SECOND_ORDER, lambda scale, _: optax.lbfgs(scale), _line_search),
    Racer(
        "noisy gradient descent",
        PERTURBED,
        lambda scale, key: transforms.noisy_gradient_descent(scale, 0.1, key),
        random=True,
    ),
    Racer(
        "optax noisy sgd",
        PERTURBED,
        lambda scale, key: optax.noisy_sgd(scale, eta=0.01, gamma=0.55, key=key),
        random=True,
    ),
    Racer(
        "perturbed gradient descent",
        PERTURBED,
        lambda scale, key: transforms.perturbed_gradient_descent(
            scale, RADIUS, GRADIENT_THRESHOLD, INTERVAL, key=key
        ),
        random=True,
    ),
    Racer(
        "perturbed accelerated GD",
        PERTURBED,
        _accelerated_rule,
        _accelerated,
        _two_gradients,
        random=True,
    ),
    Racer("gradient descent + Neon2", PERTURBED, _neon2_rule, _neon2, random=True),
    Racer(
        "gradient descent + eigenvector",
        PERTURBED,
        _with_eigenvector(transforms.gradient_descent),
        _eigenvector,
        random=True,
    ),
    Racer(
        "optax Adam + eigenvector",
        PERTURBED,
        _with_eigenvector(optax.adam),
        _eigenvector,
        random=True,
    ),
)


def counting(racer: Racer, size: int, fun: Callable[..., jax.Array]) -> Callable[..., Any]:
    """Return, for `saddle.escape`, a function from a key to a rule that keeps its own account.

    Its parameters are a dict of "x", the parameters that the racer moves; "scale", its
    hyperparameter, and "problem", which of the problems it solves, both left alone; and "cost",
    to which each step adds what it cost. So all rates and problems share one compiled program.

    Args:
        racer: The rule.
        size: Number of parameters in "x".
        fun: The objective, from such a dict to a scalar.
    """

    def make(key):
        def init(params):
            return racer.make(params["scale"], key).init(params["x"])

        def update(updates: Any, state: Any, params: Any = None, **extra_args: Any):
            def value_fn(x):
                return fun({**params, "x": x})

            rule = optax.with_extra_args_support(racer.make(params["scale"], key))
            extra_args |= {"grad": extra_args["grad"]["x"], "value_fn": value_fn}
            move, after = rule.update(updates["x"], state, params["x"], **extra_args)
            idle = jax.tree.map(jnp.zeros_like, params)
            cost = jnp.asarray(racer.cost(state, after, size), idle["cost"].dtype)
            return {**idle, "x": move, "cost": cost}, after

        return optax.GradientTransformationExtraArgs(init, update)

    return make
