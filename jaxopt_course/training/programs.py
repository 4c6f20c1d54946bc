"""The compiled programs of training: initialization, an epoch, an evaluation, each for all runs."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax import nnx

from jaxopt_course.nn.functional_view import FunctionalView, functional_view

Data = tuple[Any, Any]
PerExample = Callable[[Any, Any], jax.Array]


@flax.struct.dataclass
class Runs:
    """Where a batch of runs stands; every leaf has the runs as its leading axis.

    Attributes:
        key: Typed keys.
        params: Parameters.
        state: Running statistics and random streams of the network.
        opt_state: State of the optimizer.
        steps: Steps taken, int32.
        diverged: Whether the loss or the parameters ceased to be finite, or the loss exceeded the
            limit. Such a run stands where it was before that epoch.
    """

    key: jax.Array
    params: Any
    state: Any
    opt_state: Any
    steps: jax.Array
    diverged: jax.Array


@dataclasses.dataclass(frozen=True)
class Plan:
    """What the compiled programs depend on; equal plans share them."""

    apply: Callable[..., Any]
    optimizer: Any
    loss: PerExample
    metrics: tuple[tuple[str, PerExample], ...]
    batch_size: int
    evaluation_batch_size: int
    max_loss: float
    augment: Callable[..., Any] | None
    gradient_norm: bool

    def transformation(self, key: jax.Array) -> optax.GradientTransformationExtraArgs:
        """Return the optimizer of the run with this key."""
        optimizer = self.optimizer
        if not isinstance(optimizer, optax.GradientTransformation):
            optimizer = optimizer(jax.random.fold_in(key, 2))
        return optax.with_extra_args_support(optimizer)

    def measure(self, outputs: Any, labels: Any) -> dict[str, jax.Array]:
        """Return loss and metrics of every example, shape `(N,)`."""
        named = (("loss", self.loss), *self.metrics)
        return {name: function(outputs, labels) for name, function in named}


def _view(built: nnx.Module | FunctionalView) -> FunctionalView:
    return functional_view(built) if isinstance(built, nnx.Module) else FunctionalView(*built)


def trace_apply(build: Callable[[jax.Array], Any], keys: jax.Array) -> Callable[..., Any]:
    """Return the pure function of the network that `build` gives, drawing no parameters."""
    found = []
    jax.eval_shape(lambda key: found.append(_view(build(key)).apply), keys[0])
    return found[0]


def init(
    plan: Plan,
    build: Callable[[jax.Array], Any],
    keys: jax.Array,
    hyperparams: dict[str, jax.Array],
) -> Runs:
    """Draw the parameters of every run and set its hyperparameters."""
    compiled = _init_on_cpu if jax.default_backend() == "cpu" else _init_elsewhere
    return compiled(plan, build, keys, hyperparams)


def _init(
    plan: Plan,
    build: Callable[[jax.Array], Any],
    keys: jax.Array,
    hyperparams: dict[str, jax.Array],
) -> Runs:

    def one(key, hyperparams):
        _, params, state = _view(build(jax.random.fold_in(key, 0)))
        opt_state = plan.transformation(key).init(params)
        for name, value in hyperparams.items():
            try:
                opt_state = optax.tree.set(opt_state, **{name: value})
            except KeyError:
                raise ValueError(
                    f"hyperparams names {name!r}, which the optimizer does not inject; make it "
                    f"by optax.inject_hyperparams(...)({name}=...)"
                ) from None
        return Runs(key, params, state, opt_state, jnp.zeros((), jnp.int32), jnp.zeros((), bool))

    return jax.vmap(one)(keys, hyperparams)


# It runs once. For the random numbers of a ResNet-8 LLVM takes 41 s at its highest level and 5 s at
# the first, with a program that is as fast.
_init_on_cpu = jax.jit(
    _init, static_argnums=(0, 1), compiler_options={"xla_backend_optimization_level": 1}
)
_init_elsewhere = jax.jit(_init, static_argnums=(0, 1))


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def run_epoch(
    plan: Plan, data_axis: int | None, runs: Runs, train: Data, epoch: jax.typing.ArrayLike
) -> tuple[Runs, dict[str, jax.Array]]:
    """Take every run through the training data once."""

    def one(runs: Runs, train: Data):
        shuffle, augment = jax.random.split(
            jax.random.fold_in(jax.random.fold_in(runs.key, 1), epoch)
        )
        examples = jax.tree.leaves(train)[0].shape[0]
        steps = examples // plan.batch_size
        order = jax.random.permutation(shuffle, examples)[: steps * plan.batch_size]
        step = functools.partial(_step, plan, train, augment)
        moved, record = jax.lax.scan(step, runs, order.reshape(steps, plan.batch_size))
        finite = jax.tree.map(lambda leaf: jnp.isfinite(leaf).all(), moved.params)
        diverged = moved.diverged | ~jax.tree.reduce(jnp.logical_and, finite, jnp.array(True))
        # Going back once an epoch is free; to select the new state or the old one at every step
        # takes two to three times as long as the step, since it can no longer be done in place.
        runs = jax.tree.map(lambda new, old: jnp.where(diverged, old, new), moved, runs)
        runs = dataclasses.replace(runs, diverged=diverged)
        return runs, _unless_diverged(runs, jax.tree.map(jnp.mean, record))

    return _map_runs(one, data_axis, runs, train)


def _step(
    plan: Plan, train: Data, augment_key: jax.Array, runs: Runs, chosen: jax.Array
) -> tuple[Runs, dict[str, jax.Array]]:
    inputs, labels = jax.tree.map(lambda leaf: leaf[chosen], train)
    if plan.augment is not None:
        inputs = plan.augment(jax.random.fold_in(augment_key, runs.steps), inputs)

    def batch_loss(params):
        outputs, state = plan.apply(params, runs.state, inputs, train=True)
        measured = jax.tree.map(jnp.mean, plan.measure(outputs, labels))
        return measured["loss"], (state, measured)

    (value, (state, record)), gradient = jax.value_and_grad(batch_loss, has_aux=True)(runs.params)
    updates, opt_state = plan.transformation(runs.key).update(
        gradient,
        runs.opt_state,
        runs.params,
        value=value,
        grad=gradient,
        value_fn=lambda params: batch_loss(params)[0],
    )
    if plan.gradient_norm:
        record["gradient_norm"] = optax.tree.norm(gradient)
    moved = Runs(
        key=runs.key,
        params=optax.apply_updates(runs.params, updates),
        state=state,
        opt_state=opt_state,
        steps=runs.steps + 1,
        # Written so that NaN counts as diverged.
        diverged=runs.diverged | ~(jnp.isfinite(value) & (value <= plan.max_loss)),
    )
    return moved, record


@functools.partial(jax.jit, static_argnums=(0, 1))
def evaluate(plan: Plan, data_axis: int | None, runs: Runs, data: Data) -> dict[str, jax.Array]:
    """Return the means of loss and metrics over a set of examples, in evaluation mode."""

    def one(runs: Runs, data: Data):
        def total(data):
            inputs, labels = data
            outputs, _ = plan.apply(runs.params, runs.state, inputs, train=False)
            return jax.tree.map(jnp.sum, plan.measure(outputs, labels))

        examples = jax.tree.leaves(data)[0].shape[0]
        size = min(plan.evaluation_batch_size, examples)
        whole = examples // size
        parts = jax.lax.map(
            total,
            jax.tree.map(lambda x: x[: whole * size].reshape(whole, size, *x.shape[1:]), data),
        )
        totals = jax.tree.map(jnp.sum, parts)
        if whole * size < examples:
            rest = total(jax.tree.map(lambda x: x[whole * size :], data))
            totals = jax.tree.map(jnp.add, totals, rest)
        return _unless_diverged(runs, jax.tree.map(lambda value: value / examples, totals))

    return _map_runs(one, data_axis, runs, data)


def _map_runs(one: Callable[..., Any], data_axis: int | None, runs: Runs, data: Data) -> Any:
    """Map over the runs; a single one goes without `vmap`, which would cost it a third more."""
    if runs.key.shape[0] > 1:
        return jax.vmap(one, in_axes=(0, data_axis))(runs, data)
    first = jax.tree.map(lambda leaf: leaf[0], (runs, data if data_axis == 0 else None))
    result = one(first[0], data if data_axis is None else first[1])
    return jax.tree.map(lambda leaf: leaf[None], result)


def _unless_diverged(runs: Runs, record: dict[str, jax.Array]) -> dict[str, jax.Array]:
    return jax.tree.map(lambda value: jnp.where(runs.diverged, jnp.nan, value), record)
