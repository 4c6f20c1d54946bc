"""What `fit` was told, and the program that it traces from that.

Users give functions: of a key, a network; of outputs and labels, a loss; of parameters, what is to
be observed. Here they become `Traced`s, and those a `TrainingProgram`.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxopt_course import _observe
from jaxopt_course._equations import digest_of
from jaxopt_course._observe import Observable
from jaxopt_course._streams import stream
from jaxopt_course._tracing import Traced, trace, trace_once
from jaxopt_course.nn._arguments import built_from
from jaxopt_course.nn._functional_view import FunctionalView, functional_view
from jaxopt_course.training._program import Data, Observing, Sets, TrainingProgram, capacity
from jaxopt_course.transforms._protocol import adapt, check_rule

PerExample = Callable[[Any, Any], jax.Array]
"""From outputs and labels to a number for every example, shape `(N,)`."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """The arguments of `fit` that say what is to be trained and how, checked."""

    build: Callable[[jax.Array], Any]
    optimizer: Any
    loss: PerExample
    metrics: dict[str, PerExample]
    batch_size: int
    evaluation_batch_size: int
    max_loss: float
    augment: Callable[..., Any] | None
    gradient_norm: bool
    eval_params: Callable[[Any, Any], Any]
    data_axis: int | None
    observe: dict[str, Observable]
    observe_every: int

    @property
    def written_by_users(self) -> tuple[Any, ...]:
        """The functions that say, besides numbers, what is computed of a batch."""
        return (
            *(self.build, self.optimizer, self.loss),
            *self.metrics.values(),
            *self.observe.values(),
        )

    def transformation(self, key: jax.Array) -> optax.GradientTransformationExtraArgs:
        """Return the optimizer of the run with this key."""
        return adapt(check_rule(self.optimizer, stream(key, "optimizer")))

    def examples(self, data: Data) -> int:
        """Return how many examples a run has in a set."""
        return jax.tree.leaves(data)[0].shape[0 if self.data_axis is None else 1]

    def batch_shapes(self, data: Data, size: int) -> Data:
        """Return the shapes of so many examples of a set."""
        leading = 1 if self.data_axis is None else 2
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((size, *leaf.shape[leading:]), leaf.dtype), data
        )

    def measure(self, outputs: Any, labels: Any) -> dict[str, jax.Array]:
        """Return loss and metrics of every example, shape `(N,)`."""
        named = {"loss": self.loss} | self.metrics
        return {name: function(outputs, labels) for name, function in named.items()}


class Network(NamedTuple):
    """A network: how it begins, traced, and what it computes, as a function of Python.

    Attributes:
        start: From a key and hyperparameters to parameters, state and optimizer state.
        apply: The network, a function of parameters, state and inputs.
    """

    start: Traced
    apply: Callable[..., Any]


def trace_start(plan: Plan, keys: jax.Array, hyperparams: dict[str, jax.Array]) -> Network:
    """Trace what draws a run's parameters and sets its hyperparameters."""
    found = []

    def start(key: jax.Array, hyperparams: dict[str, Any]) -> Any:
        built = built_from("build", plan.build, stream(key, "model"))
        if not isinstance(built, nnx.Module) and not (isinstance(built, tuple) and len(built) == 3):
            raise TypeError(
                "build must return an nnx.Module, or what it computes, its parameters and its "
                f"state, got {type(built).__name__}"
            )
        view = functional_view(built) if isinstance(built, nnx.Module) else FunctionalView(*built)
        found.append(view.apply)
        opt_state = plan.transformation(key).init(view.params)
        for name, value in hyperparams.items():
            try:
                opt_state = optax.tree.set(opt_state, **{name: value})
            except KeyError:
                raise ValueError(
                    f"hyperparams names {name!r}, which the optimizer does not inject; make it "
                    f"by optax.inject_hyperparams(...)({name}=...)"
                ) from None
        return view.params, view.state, opt_state

    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((), leaf.dtype), (keys, hyperparams))
    return Network(trace("build", start, *one, of=plan.written_by_users), found[-1])


def trace_program(
    plan: Plan, network: Network, sets: Sets, keys: jax.Array, *, epochs: int, lanes: int
) -> TrainingProgram:
    """Trace everything that an epoch consists of.

    Args:
        plan: What `fit` was told.
        network: The network to be trained.
        sets: The data.
        keys: The runs' keys.
        epochs: How many epochs a run takes in all.
        lanes: How many runs are trained together.
    """
    params, state, opt_state = network.start.result()
    traced = partial(trace, of=plan.written_by_users)
    key = jax.ShapeDtypeStruct((), keys.dtype)

    # The loss of a batch, which is differentiated, and the optimizer's update by its gradient.
    def batch_loss(params: Any, state: Any, batch: Data) -> Any:
        inputs, labels = batch
        outputs, state = network.apply(params, state, inputs, train=True)
        measured = jax.tree.map(jnp.mean, plan.measure(outputs, labels))
        return measured["loss"], (state, measured)

    def update(
        key: Any, gradient: Any, opt_state: Any, params: Any, value: Any, state: Any, batch: Data
    ) -> Any:
        return plan.transformation(key).update(
            gradient,
            opt_state,
            params,
            value=value,
            grad=gradient,
            value_fn=lambda params: batch_loss(params, state, batch)[0],
        )

    # Sums of loss and metrics over a batch of an evaluation set, and over the rest of it.
    def total(params: Any, state: Any, data: Data) -> dict[str, jax.Array]:
        inputs, labels = data
        outputs, _ = network.apply(params, state, inputs, train=False)
        return jax.tree.map(jnp.sum, plan.measure(outputs, labels))

    def evaluation(data: Data) -> tuple[Traced, Traced | None]:
        examples = plan.examples(data)
        size = min(plan.evaluation_batch_size, examples)
        name, rest = "build, loss or metrics", examples % size
        of_batch = traced(name, total, params, state, plan.batch_shapes(data, size))
        if not rest:
            return of_batch, None
        return of_batch, traced(name, total, params, state, plan.batch_shapes(data, rest))

    # Observables; their objective is the loss over all examples, without dropout.
    def observing() -> Observing:
        def look(memory: Any, params: Any, opt_state: Any, state: Any, data: Data) -> Any:
            inputs, labels = data

            def fun(params: Any) -> jax.Array:
                outputs, _ = network.apply(params, state, inputs, train=False)
                return jnp.mean(plan.loss(outputs, labels))

            return _observe.look(plan.observe, memory, params, opt_state, fun)

        first = traced("observe", lambda params: _observe.begin(plan.observe, params), params)
        data = plan.batch_shapes(sets.train, plan.examples(sets.train))
        later = traced("observe", look, first.result(), params, opt_state, state, data)
        return Observing(first, later, plan.observe_every)

    # All of these traced, for batches of the shapes that the augmentation leaves.
    inputs, labels = plan.batch_shapes(sets.train, plan.batch_size)
    augment = None
    if plan.augment is not None:
        augment = trace("augment", plan.augment, key, inputs)
        inputs = augment.result()
    batch = (inputs, labels)
    what = "build, loss or metrics"
    forward = traced(what, batch_loss, params, state, batch, differentiated=True)
    value, _ = forward.result()
    return TrainingProgram(
        forward=forward,
        judged=trace("eval_params", plan.eval_params, opt_state, params),
        evaluate={name: evaluation(data) for name, data in sets.evaluation.items()},
        update=traced("optimizer", update, key, params, opt_state, params, value, state, batch),
        augment=augment,
        observing=observing() if plan.observe else None,
        sets=sets,
        epochs=np.int32(epochs),
        max_loss=jnp.asarray(plan.max_loss),
        batch_size=plan.batch_size,
        gradient_norm=plan.gradient_norm,
        data_axis=plan.data_axis,
        lanes=lanes,
        capacity=capacity(epochs),
    )


def about(plan: Plan, network: Network, program: TrainingProgram) -> dict[str, Any]:
    """What tells this training from others, as JSON.

    Entries that users know by name come first: of the first that differs an error message is made.
    """
    params, state, _ = network.start.result()
    inputs, labels = plan.batch_shapes(program.sets.train, plan.batch_size)
    if program.augment is not None:
        inputs = program.augment.result()
    apply = {
        train: trace_once(partial(network.apply, train=train), params, state, inputs)
        for train in (True, False)
    }
    outputs, _ = apply[True].result()
    measures = {"loss": plan.loss} | {f"metric {name!r}": f for name, f in plan.metrics.items()}
    data = {"train": program.sets.train} | program.sets.evaluation
    return (
        {
            "batch_size": plan.batch_size,
            "examples": plan.examples(program.sets.train),
            "gradient_norm": plan.gradient_norm,
            "max_loss": float(plan.max_loss),
            "data_axis": plan.data_axis,
            "evaluation_batch_size": plan.evaluation_batch_size,
        }
        | {f"data of {name!r}": digest_of(tree) for name, tree in data.items()}
        | {
            name: trace_once(function, outputs, labels).digest()
            for name, function in measures.items()
        }
        | {
            "network": digest_of([traced.digest() for traced in apply.values()]),
            "initial parameters": network.start.digest(),
            "optimizer": program.update.digest(),
            "eval_params": program.judged.digest(),
            "augment": None if program.augment is None else program.augment.digest(),
            "observe": (None if program.observing is None else program.observing.look.digest()),
            "observe_every": plan.observe_every if plan.observe else None,
        }
    )
