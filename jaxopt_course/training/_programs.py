"""The programs of training, each for all runs: initialization, an epoch with its evaluations."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax import nnx

from jaxopt_course._checks import is_key
from jaxopt_course._streams import stream
from jaxopt_course.nn._functional_view import FunctionalView, functional_view
from jaxopt_course.transforms._leaves import global_norm
from jaxopt_course.transforms._protocol import optimizer_of

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


class Sets(NamedTuple):
    """The data: inputs and labels, examples first; before them the runs if each has its own.

    Attributes:
        train: What is trained on.
        evaluation: On what the network is evaluated, by name.
    """

    train: Data
    evaluation: dict[str, Data]


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
    eval_params: Callable[[Any, Any], Any]
    data_axis: int | None = None

    def transformation(self, key: jax.Array) -> optax.GradientTransformationExtraArgs:
        """Return the optimizer of the run with this key."""
        return optimizer_of(self.optimizer, jax.random.fold_in(key, 2))

    def examples(self, data: Data) -> int:
        """Return how many examples a run has in a set."""
        return jax.tree.leaves(data)[0].shape[0 if self.data_axis is None else 1]

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


def init() -> Any:
    """Return what draws the parameters of every run and sets its hyperparameters, compiled.

    It takes a plan, what builds a network, keys and hyperparameters by name.
    """
    return _init_on_cpu if jax.default_backend() == "cpu" else _init_elsewhere


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

    # A weak type would not survive a checkpoint, and what goes on would be another program.
    return jax.tree.map(_with_own_type, jax.vmap(one)(keys, hyperparams))


def _with_own_type(leaf: jax.Array) -> jax.Array:
    return leaf if is_key(leaf) else jnp.asarray(leaf, leaf.dtype)


# It runs once. For the random numbers of a ResNet-8 LLVM takes 41 s at its highest level and 5 s at
# the first, with a program that is as fast.
_init_on_cpu = jax.jit(
    _init, static_argnums=(0, 1), compiler_options={"xla_backend_optimization_level": 1}
)
_init_elsewhere = jax.jit(_init, static_argnums=(0, 1))


@functools.partial(jax.jit, static_argnums=0)
def run_epoch(
    plan: Plan,
    sets: Sets,
    runs: Runs,
    number: jax.Array,
    epoch: jax.Array,
    running: jax.Array,
) -> tuple[Runs, dict[str, jax.Array]]:
    """Take every run through the training data once and evaluate it on every set.

    Args:
        plan: What is done.
        sets: The data.
        runs: Where the runs stand.
        number: Of every run.
        epoch: How many it has behind it.
        running: Whether it moves at all.

    Returns:
        Where they stand then, and what is recorded of the epoch.
    """

    def one(
        runs: Runs, number: jax.Array, epoch: jax.Array, running: jax.Array
    ) -> tuple[Runs, dict[str, jax.Array]]:
        runs, record = _train(plan, sets.train, runs, number, epoch, running)
        for name, data in sets.evaluation.items():
            own = data if plan.data_axis is None else jax.tree.map(lambda leaf: leaf[number], data)
            measured = _evaluate(plan, runs, own)
            record |= {f"{name}_{key}": value for key, value in measured.items()}
        return runs, jax.tree.map(lambda value: jnp.where(runs.diverged, jnp.nan, value), record)

    of_all = (runs, number, epoch, running)
    if number.shape[0] > 1:
        return jax.vmap(one)(*of_all)
    # A single one goes without `vmap`, which would cost it a third more.
    result = one(*jax.tree.map(lambda leaf: leaf[0], of_all))
    return jax.tree.map(lambda leaf: leaf[None], result)


def _train(
    plan: Plan, train: Data, runs: Runs, number: jax.Array, epoch: jax.Array, running: jax.Array
) -> tuple[Runs, dict[str, jax.Array]]:
    """Take one run through the training data once."""
    own = stream(runs.key, "minibatches")
    shuffle, augment = jax.random.split(jax.random.fold_in(own, epoch))
    examples = plan.examples(train)
    steps = examples // plan.batch_size
    order = jax.random.permutation(shuffle, examples)[: steps * plan.batch_size]

    def step(runs: Runs, chosen: jax.Array) -> tuple[Runs, dict[str, jax.Array]]:
        index = chosen if plan.data_axis is None else (number, chosen)
        return _step(plan, jax.tree.map(lambda leaf: leaf[index], train), augment, runs)

    moved, record = jax.lax.scan(step, runs, order.reshape(steps, plan.batch_size))
    finite = jax.tree.map(lambda leaf: jnp.isfinite(leaf).all(), moved.params)
    diverged = moved.diverged | ~jax.tree.reduce(jnp.logical_and, finite, jnp.array(True))
    # Going back once an epoch is free; to select the new state or the old one at every step
    # takes two to three times as long as the step, since it can no longer be done in place.
    stays = diverged | ~running
    diverged = jnp.where(running, diverged, runs.diverged)
    runs = jax.tree.map(lambda new, old: jnp.where(stays, old, new), moved, runs)
    return dataclasses.replace(runs, diverged=diverged), jax.tree.map(jnp.mean, record)


def _step(
    plan: Plan, batch: Data, augment_key: jax.Array, runs: Runs
) -> tuple[Runs, dict[str, jax.Array]]:
    inputs, labels = batch
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
        record["gradient_norm"] = global_norm(gradient)
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


def _evaluate(plan: Plan, runs: Runs, data: Data) -> dict[str, jax.Array]:
    """Return the means of loss and metrics of one run over a set, in evaluation mode."""
    params = plan.eval_params(runs.opt_state, runs.params)

    def total(data: Data) -> dict[str, jax.Array]:
        inputs, labels = data
        outputs, _ = plan.apply(params, runs.state, inputs, train=False)
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
    return jax.tree.map(lambda value: value / examples, totals)
