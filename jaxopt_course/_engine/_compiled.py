"""The loop of a batch as it is compiled: for which shapes, what it needs, a call of it."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course._engine._lanes import Ended, Lanes, Plan, Queue, idle_lanes, places
from jaxopt_course._engine._loop import advance
from jaxopt_course._engine._memory import Needs, check_that_it_fits, needs_of


class CompiledLoop:
    """A plan's loop, over given data.

    Attributes:
        plan: The plan.
        constants: Arrays that all runs share.
        size: How many runs a queue holds.
    """

    def __init__(
        self, plan: Plan, constants: Any, starts: Any, keys: jax.Array, *, long_steps: bool
    ) -> None:
        """Trace nothing yet.

        Args:
            plan: What runs do.
            constants: Arrays they share.
            starts: Those of any runs, of which the first is looked at.
            keys: Likewise.
            long_steps: Whether no more runs are to wait, or to be returned, than there are lanes.
        """
        self.plan, self.constants = plan, jax.tree.map(jnp.asarray, constants)
        self._one_run = jax.tree.map(lambda leaf: leaf[0], starts), keys[0]
        self.size, self._room = places(plan, self._one_run[0])
        if long_steps:
            self.size, self._room = plan.lanes, plan.lanes

    def idle_lanes(self, device: jax.Device | None = None) -> Lanes:
        """Return lanes without runs, on a device."""
        return _idle_lanes(self.plan, self.constants, *jax.device_put(self._one_run, device))

    def no_rows(self) -> dict[str, Any]:
        """Return what is kept of no runs at all."""
        shapes = self.shapes(None)
        _, _, ended = _advance.eval_shape(self.plan, *shapes, room=self._room, **_CONTROL)
        return jax.tree.map(lambda leaf: np.zeros((0, *leaf.shape[1:]), leaf.dtype), ended.rows)

    def __call__(
        self, lanes: Lanes, queue: Queue, constants: Any, *, budget: int, more: bool
    ) -> tuple[Lanes, jax.Array, Ended]:
        """Let the lanes, which are given away, step on the device where all lies; see `advance`."""
        return _advance(
            self.plan,
            lanes,
            queue,
            constants,
            room=self._room,
            budget=np.int32(budget),
            more=np.bool_(more),
        )

    def shapes(self, device: jax.Device | None) -> tuple[Lanes, Queue, Any]:
        """Return lanes, queue and constants on a device, as far as shapes go."""
        lanes = _idle_lanes.eval_shape(self.plan, self.constants, *self._one_run)
        starts, keys = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((self.size, *leaf.shape), leaf.dtype), self._one_run
        )
        number: Any = jax.ShapeDtypeStruct((), np.int32)
        queue = Queue(starts, keys, first=number, head=number, size=number)
        place = None if device is None else jax.sharding.SingleDeviceSharding(device)

        def shape(leaf: Any) -> jax.ShapeDtypeStruct:
            # A type or place not quite that of the array would have the program compiled twice.
            weak = getattr(leaf, "weak_type", False)
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place, weak_type=weak)

        return jax.tree.map(shape, (lanes, queue, self.constants))

    def needs(self, device: jax.Device) -> Needs:
        """Return what it needs on a device."""
        leaves, structure = jax.tree.flatten(self.shapes(device))
        return _needs(self.plan, self._room, structure, tuple(leaves))

    def check_memory(self, device: jax.Device) -> None:
        """Raise MemoryError if the lanes do not fit, before any are made."""
        check_that_it_fits(self.needs(device).bytes, self.plan.lanes, device)


_idle_lanes = jax.jit(idle_lanes, static_argnums=0)
_advance = jax.jit(advance, static_argnums=0, static_argnames="room", donate_argnums=1)
_CONTROL = {"budget": np.int32(0), "more": np.bool_(False)}


@functools.lru_cache(maxsize=64)
def _needs(plan: Plan, room: int, structure: Any, leaves: tuple[Any, ...]) -> Needs:
    """Return what the compiled loop needs; compiled here, it is not compiled again when called."""
    lanes, queue, constants = jax.tree.unflatten(structure, leaves)
    lowered = _advance.lower(plan, lanes, queue, constants, room=room, **_CONTROL)
    return needs_of(lowered.compile())
