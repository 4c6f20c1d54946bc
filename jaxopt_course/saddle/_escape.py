r"""Batches of optimization runs, each stopped on its own condition.

For every run, from its own start and its own key, the steps

    x[t+1] = x[t] + update(gradient of fun at x[t], optimizer state)

until the first of: the value is small enough, the point is second-order stationary
(`|gradient| <= epsilon` and `min eigenvalue of the Hessian >= -sqrt(hessian_lipschitz * epsilon)`,
Jin et al. 2017, Definition 5), the norm of the gradient is no longer finite, or `max_steps`.

Runs take their steps together in compiled loops, on every device JAX sees. What a run does depends
on its start and its key alone: not on its neighbours, nor on the number of runs or devices.

Jin, Ge, Netrapalli, Kakade and Jordan (2017), https://arxiv.org/abs/1703.00887.
"""

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course._brief import brief
from jaxopt_course._checks import (
    check_batch,
    check_callable,
    check_count,
    check_flag,
    check_key,
    check_not_empty,
    check_number,
    check_positive,
    check_real_floating,
    hint_of_batch,
    is_traced,
)
from jaxopt_course._dataset import dataset, flags
from jaxopt_course._engine import _batch as batch
from jaxopt_course._engine import _preemption as preemption
from jaxopt_course._engine._batch import checked_execution
from jaxopt_course._engine._crews import Progress, Rows
from jaxopt_course._engine._meshes import within_any_mesh
from jaxopt_course._engine._recording import Recorder
from jaxopt_course._observe import Observable, check_observe
from jaxopt_course._progress import shown
from jaxopt_course._reading import Reading, how_many, in_words, part, readable, spread, tally
from jaxopt_course._tracing import Traced, row_of
from jaxopt_course.saddle._escape_program import (
    Limits,
    Objective,
    Optimizer,
    Start,
    about,
    default_lanes,
    key_for,
    trace_observed,
    trace_program,
)
from jaxopt_course.saddle._escape_program import Stop as Stop
from jaxopt_course.saddle._minibatches import with_minibatches
from jaxopt_course.transforms._protocol import check_rule, is_optimizer

if TYPE_CHECKING:
    import xarray


@readable
@flax.struct.dataclass
class EscapeRecord:
    """What was recorded of every run; once a run has ended its last entry repeats.

    Attributes:
        step: Steps at which the entries were taken, shape `(entries,)`.
        value: Shape `(runs, entries)`.
        gradient_norm: Shape `(runs, entries)`.
        params: Leaves of shape `(runs, entries, ...)`, or None if not asked for.
        min_eigenvalue: Of the Hessian, shape `(runs, entries)`, or None if not asked for.
        observed: What was asked for by name, leaves of shape `(runs, entries, ...)`, or None.
    """

    step: jax.Array
    value: jax.Array
    gradient_norm: jax.Array
    params: chex.ArrayTree | None = None
    min_eigenvalue: jax.Array | None = None
    observed: dict[str, Any] | None = None

    def _reading(self) -> Reading | None:
        """When entries were taken, and what they hold."""
        if np.ndim(self.step) != 1 or np.ndim(self.value) != 2:
            return None
        rows = [("value", part(self.value)), ("gradient norm", part(self.gradient_norm))]
        for name in ("min_eigenvalue", "params"):
            if getattr(self, name) is not None:
                rows.append((name, part(getattr(self, name))))
        rows += [(f"observed[{name!r}]", part(one)) for name, one in (self.observed or {}).items()]
        runs, entries = np.shape(self.value)
        at = f"at steps {spread(self.step).partition(',')[0]}"
        return Reading(
            f"{how_many(entries, 'entry', 'entries')} of {how_many(runs, 'run')}, {at}", rows
        )


@readable
@flax.struct.dataclass
class EscapeRuns:
    """Where, when and why every run ended; every leaf has the runs as its leading axis.

    Attributes:
        params: Parameters at the end, leaves of shape `(runs, ...)`.
        value: Value there.
        gradient_norm: Gradient norm there.
        steps: Steps taken until then, int32.
        reason: A `Stop` as int32; `runs.counts()` says how often each occurs.
        record: An `EscapeRecord`, or None if none was asked for.
    """

    params: chex.ArrayTree
    value: jax.Array
    gradient_norm: jax.Array
    steps: jax.Array
    reason: jax.Array
    record: EscapeRecord | None

    def _reading(self) -> Reading | None:
        """Why the runs ended, after how many steps, and what was recorded."""
        if np.ndim(self.reason) != 1:
            return None
        reasons = np.asarray(self.reason)
        rows = []
        for stop in Stop:
            mine = reasons == stop
            if mine.any() and not mine.all():
                rows.append((f"{in_words(stop)}:", f"steps {spread(np.asarray(self.steps)[mine])}"))
        if not rows:
            rows = [("steps", spread(self.steps))]
        rows += [("value", spread(self.value)), ("gradient norm", spread(self.gradient_norm))]
        if self.record is not None:
            recorded = ["value", "gradient norm"]
            for name in ("params", "min_eigenvalue"):
                recorded += [name] if getattr(self.record, name) is not None else []
            recorded += self.record.observed or []
            entries = how_many(np.size(self.record.step), "entry", "entries")
            rows.append(("recorded", f"{', '.join(recorded)}: {entries} a run"))
        rows.append(("more", ".counts(), .params, .to_xarray(); plot.escape_times(runs)"))
        return Reading(f"{how_many(reasons.size, 'run')}: {tally(reasons, Stop) or 'none'}", rows)

    def counts(self) -> dict[str, int]:
        """How many runs ended for which reason, by the names of `Stop`, those that occur."""
        reasons = np.asarray(self.reason)
        return {stop.name: int(np.sum(reasons == stop)) for stop in Stop if stop in reasons}

    def to_xarray(self) -> "xarray.Dataset":
        """The runs as a dataset, which needs the extra `xarray`.

        Dimensions are `run`, and for what was recorded `step`, with the numbers of the steps.
        Recorded variables are called `recorded_value` and so on, `recorded_observed.<name>` what
        was observed; parameters are a variable a leaf.
        The attributes of `reason` say what its integers mean.

        Raises:
            ModuleNotFoundError: If xarray is not installed.

        Example:
            >>> sgd, starts = optax.sgd(0.1), jnp.array([1.0, 0.5])
            >>> runs = escape(lambda x: x**2, sgd, starts, max_steps=20, record_every=10)
            >>> data = runs.to_xarray()
            >>> dict(data.sizes), data.recorded_value.sel(step=10).dims
            ({'run': 2, 'step': 3}, ('run',))
        """
        ended = ("value", "gradient_norm", "steps", "reason", "params")
        variables: dict[str, Any] = {name: (("run",), getattr(self, name)) for name in ended}
        coords = {}
        if self.record is not None:
            coords["step"] = np.asarray(self.record.step)
            for name in ("value", "gradient_norm", "min_eigenvalue", "params", "observed"):
                variables[f"recorded_{name}"] = (("run", "step"), getattr(self.record, name))
        return dataset(variables, coords=coords, attrs={"reason": flags(Stop)})


@preemption.watched_with("checkpoint")
@within_any_mesh
@shown("runs", limit="max_steps")
def escape(
    fun: Objective,
    optimizer: Optimizer,
    starts: chex.ArrayTree,
    keys: jax.Array | None = None,
    *,
    max_steps: int,
    target_value: chex.Numeric | None = None,
    epsilon: chex.Numeric | None = None,
    hessian_lipschitz: chex.Numeric | None = None,
    record_every: int | None = None,
    record_params: bool = False,
    record_min_eigenvalue: bool = False,
    observe: Mapping[str, Observable] | None = None,
    eval_params: Callable[[Any, Any], Any] | None = None,
    minibatch: int | None = None,
    replacement: bool = False,
    devices: tuple[jax.Device, ...] | None = None,
    lanes: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float = 60.0,
    callback: Callable[[Progress], Any] | None = None,
    progress: bool = False,
) -> EscapeRuns:
    """Runs of an optimizer, one from every start, each until its own condition ends it.

    The program is compiled once for what `fun` and `optimizer` compute, whatever objects they are,
    and for given shapes: arrays that they close over are arguments of it, looked at anew by every
    call. Memory grows with the number of runs and of recorded entries, not with the steps.

    Under `jax.distributed`, every process calls this with the same arguments, works on its share of
    the runs with its own devices and gets all results.

    Args:
        fun: The objective, from parameters (a pytree) to a scalar.
        optimizer: Any `optax.GradientTransformation`, which gives every run the same noise if it
            has any; or, for a rule with noise, a function from a key to one, which gives every run
            its own: `lambda key: transforms.perturbed_gradient_descent(..., key=key)`. Its `update`
            gets `value`, `grad` and `value_fn` as extra arguments.
        starts: Parameters of real floating dtype with the runs as leading axis of every leaf.
        keys: Typed keys, shape `(runs,)`; needed only where `optimizer` is a function, or with
            `minibatch`.
        max_steps: A run that reaches it ends with `Stop.MAX_STEPS`.
        target_value: End a run with `Stop.TARGET_VALUE` once its value is at most this.
        epsilon: End a run with `Stop.SECOND_ORDER_STATIONARY` once its gradient norm is at most
            this and the smallest eigenvalue of the Hessian at least
            `-sqrt(hessian_lipschitz * epsilon)`. The eigenvalue is computed (from the dense
            Hessian) only for runs whose gradient is that small.
        hessian_lipschitz: Lipschitz constant of the Hessian; needed with `epsilon`.
        record_every: Record at steps 0, `record_every`, 2 `record_every`, ... up to `max_steps`.
        record_params: Whether to record the parameters too.
        record_min_eigenvalue: Whether to record the smallest eigenvalue of the Hessian too.
        observe: What else to record: functions of parameters, optimizer state and objective, by
            name, such as those of `observables`. A run's steps are the same with them and without.
        eval_params: Function from optimizer state and parameters to the point at which a run is
            reported; by default `transforms.eval_params`. Runs end, and are recorded, by where
            their gradients are taken.
        minibatch: Number of examples of which each step's gradient is, drawn anew for every step of
            every run from its key; then `fun` is one of `mean_over_batches`, whose loss and data
            they are. Runs end, and are recorded, by value and gradient of the whole objective,
            which is computed at every step, too. The optimizer's `value`, `grad` and `value_fn` are
            those of the examples.
        replacement: Whether the examples are drawn independently. By default they are drawn without
            replacement: every pass over the data has a new order, cut into batches.
        devices: Devices among which the runs are divided. By default `jax.local_devices()`; then
            the first works alone until it has worked for as long as the program took to compile,
            as each device has the program compiled for it.
        lanes: How many runs a device takes through their steps together; whenever some have ended,
            others take their place. A run has the same bits for the same number of lanes, whatever
            the number of runs, devices and processes. By default a power of two that grows with the
            number of runs; more is faster per run, up to a point, and takes more memory.
        checkpoint: Folder for checkpoints (of every process, on a disk of its own or a shared one).
            If it has one, the batch continues from there, to the same bits as if it had never been
            interrupted, on as many devices as there are now.
        checkpoint_every: Seconds between checkpoints. Ctrl-C, SIGTERM and the end write one more,
            unless the end comes within a second.
        callback: Called a few times a second with a `Progress`.
        progress: Whether to show a bar, from the extra `progress`: what is being done, compiling or
            running, how many runs have ended, and how much time is left.

    Returns:
        An `EscapeRuns`. A run whose gradient norm stops being finite ends with `Stop.DIVERGED` and
        leaves the others as they are; a value that is not finite at the end is called that, too.

    Raises:
        TypeError: for an objective that is not scalar, parameters that are not real floating, or
            keys that are not typed keys.
        ValueError: for empty parameters, leading axes that differ, numbers out of range, a value
            that is not finite at a start, an objective or optimizer two traces of which differ, or
            a checkpoint of another batch.
        OSError: before anything runs, if the folder for checkpoints cannot be written to or (a
            `BlockingIOError`) another process works in it; later, if the disk is full.
        training.Preempted: after SIGTERM, where there are checkpoints and the program has no
            handler of its own; a `SystemExit` of status 75.
        MemoryError: before anything runs, if the compiled program needs more memory than a device
            has free; the message says how many lanes would fit.

    Example:
        >>> fun = lambda x: x[0] ** 2 - x[1] ** 2
        >>> runs = escape(fun, optax.sgd(0.1), jnp.array([[1.0, 1e-3]]), max_steps=100,
        ...               target_value=-1.0)
        >>> runs.counts(), int(runs.steps[0])
        ({'TARGET_VALUE': 1}, 38)
    """
    # Everything is checked before anything is traced.
    check_rule(optimizer)
    if minibatch is not None:
        optimizer = with_minibatches(fun, optimizer, minibatch, replacement)
    elif replacement is not False:
        raise ValueError(f"replacement must be given with minibatch only, got {brief(replacement)}")
    runs = _check_batch(starts, keys, optimizer)
    check_count(max_steps=max_steps)
    check_count(record_every=record_every, optional=True)
    check_flag(record_params=record_params, record_min_eigenvalue=record_min_eigenvalue)
    check_flag(progress=progress)
    check_positive(epsilon=epsilon, hessian_lipschitz=hessian_lipschitz, optional=True)
    check_limits(target_value, epsilon, hessian_lipschitz)
    check_callable(eval_params=eval_params, optional=True)
    observables = {} if observe is None else check_observe(observe)
    if record_every is None and (record_params or record_min_eigenvalue or observables):
        raise ValueError(
            "record_params, record_min_eigenvalue and observe need record_every, got None"
        )
    execution = checked_execution(devices, lanes, checkpoint, checkpoint_every, callback)
    shapes = jax.tree.map(row_of, starts)
    if lanes is None:
        lanes = default_lanes(runs, shapes, execution.devices[0])
    # Functions become what they compute.
    program = trace_program(
        fun,
        optimizer,
        Start(shapes, key_for(optimizer, keys)),
        at=lambda: jax.tree.map(lambda leaf: leaf[0], starts),
        limits=Limits(target_value, epsilon, hessian_lipschitz),
        max_steps=int(max_steps),
        lanes=int(lanes),
        eval_params=eval_params,
        hint=hint_of_batch("starts", starts),
    )
    # A value that is not finite at a start is a mistake of the caller's, later it is divergence.
    finite = _is_finite(program.fun, starts)
    if not is_traced((finite, keys, program)):
        (bad,) = np.nonzero(~np.asarray(finite))
        if bad.size:
            raise ValueError(
                f"fun must be finite at every start, got a value that is not in {bad.size} of "
                f"{runs} runs, first in {bad[0]}"
            )
    # What is recorded is a program around the program, and tells batches apart as well.
    recorded: Any = program
    recording: dict[str, Any] = {"record_every": record_every}
    if record_every is not None:
        recording["record_every"] = record_every = int(record_every)
        observed = trace_observed(
            program,
            fun,
            observables,
            params=bool(record_params),
            min_eigenvalue=bool(record_min_eigenvalue),
        )
        entries = int(max_steps) // record_every + 1
        recorded = Recorder(program, observed, record_every, entries)
        recording |= observed.about()
    rows = batch.run(
        recorded,
        Start(starts, None if is_optimizer(optimizer) else keys),
        about=lambda: about(program) | recording,
        execution=execution,
    )
    return _as_runs(jax.device_put(rows), record_every, max_steps)


def _as_runs(rows: Rows, every: int | None, max_steps: int) -> EscapeRuns:
    """Return what was kept of the runs as the caller gets it."""
    rows = dict(rows)
    record = rows.pop("record", None)
    if record is not None:
        step = jnp.arange(0, max_steps + 1, every, dtype=jnp.int32)
        record = EscapeRecord(step=step, **record)
    return EscapeRuns(record=record, **rows)


def check_limits(target_value: Any, epsilon: Any, hessian_lipschitz: Any) -> None:
    """Raise unless all are numbers, and the last two given together."""
    check_number(target_value=target_value, optional=True)
    if (epsilon is None) != (hessian_lipschitz is None):
        raise ValueError(
            "epsilon and hessian_lipschitz must be given together, got "
            f"epsilon={epsilon}, hessian_lipschitz={hessian_lipschitz}"
        )


def _check_batch(starts: chex.ArrayTree, keys: Any, optimizer: Any) -> int:
    """The number of runs, on which starts and keys are checked to agree."""
    check_not_empty("starts", starts)
    check_real_floating("starts", starts)
    runs = check_batch("starts", starts)
    if keys is not None:
        check_key(keys=keys)
        if keys.ndim != 1:
            raise ValueError(f"keys must have shape (runs,), got {keys.shape}")
        if keys.size != runs:
            raise ValueError(
                "starts and keys must agree on the number of runs, got "
                f"starts: {runs}, keys: {keys.size}; of one point "
                "jax.tree.map(lambda leaf: jnp.stack([leaf] * keys.size), point) makes starts"
            )
    elif not is_optimizer(optimizer):
        raise ValueError(
            "keys must be given where optimizer is a function of a key, or with minibatch, got None"
        )
    return runs


@jax.jit
def _is_finite(fun: Traced, starts: chex.ArrayTree) -> jax.Array:
    return jnp.isfinite(jax.vmap(fun)(starts))
