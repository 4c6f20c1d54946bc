"""What is observed along a run: functions of parameters, optimizer state and objective.

Some observations cost less where the last one is remembered: an eigenvector has moved little since.
Such an observable says what it remembers and how it goes on from there (`Following`); whatever
follows a run, `transforms.path`, `saddle.escape` and `training.fit`, carries that along:

    memory = begin(observe, params)
    seen, memory = look(observe, memory, params, state, fun)
"""

import dataclasses
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import jax

from jaxopt_course._brief import brief
from jaxopt_course._checks import check_mapping

Observable = Callable[[Any, Any, Callable[[Any], jax.Array]], Any]
"""From the parameters, the optimizer's state and the objective to a pytree of arrays."""


@dataclasses.dataclass(frozen=True)
class Following:
    """An observable that takes up where its last observation ended.

    Called as any observable is, with the parameters, the optimizer's state and the objective, it
    remembers nothing.

    Attributes:
        begin: From the parameters to what is remembered before the first observation, a pytree of
            arrays.
        follow: From parameters, optimizer state, objective and what is remembered to what is
            observed and what is remembered then, of the same shapes and dtypes.

    Example:
        >>> moved = Following(
        ...     begin=lambda params: params,
        ...     follow=lambda params, state, fun, last: (jnp.abs(params - last), params),
        ... )
        >>> from jaxopt_course import transforms
        >>> run = transforms.path(lambda x: x**2, optax.sgd(0.25), 8.0, 3, observe={"moved": moved})
        >>> run.observed["moved"].tolist()
        [0.0, 4.0, 2.0, 1.0]
    """

    begin: Callable[[Any], Any]
    follow: Callable[[Any, Any, Callable[[Any], jax.Array], Any], tuple[Any, Any]]

    def __call__(self, params: Any, state: Any, fun: Callable[[Any], jax.Array]) -> Any:
        """Observe once."""
        return self.follow(params, state, fun, self.begin(params))[0]


@dataclasses.dataclass(frozen=True)
class Sharing(Following):
    """A following observable whose search others of the same look may need as well.

    `follow` is `find` and then `measure`. Of those with equal `identity` in one look only the first
    searches; each remembers what its own search would have left, so that no bit depends on who
    else looks.

    Attributes:
        find: As `follow`, but to what was found.
        measure: From what was found, parameters, state and objective to what is observed.
        identity: All that `find` depends on, beside its arguments.
    """

    find: Callable[[Any, Any, Callable[[Any], jax.Array], Any], tuple[Any, Any]]
    measure: Callable[[Any, Any, Any, Callable[[Any], jax.Array]], Any]
    identity: Hashable


def check_observe(observe: Mapping[str, Observable] | None) -> dict[str, Observable]:
    """The observables by name, checked to be functions; none for None.

    Raises:
        TypeError: for what is no mapping from names, or an observable that cannot be called.
    """
    check_mapping(observe=observe, optional=True)
    for name, observable in (observe or {}).items():
        if not callable(observable):
            raise TypeError(f"observe[{name!r}] must be a function, got {brief(observable)}")
    return dict(observe or {})


def begin(observe: Mapping[str, Observable], params: Any) -> dict[str, Any]:
    """What is remembered before the first observation, of those that remember anything."""
    return {
        name: observable.begin(params)
        for name, observable in observe.items()
        if isinstance(observable, Following)
    }


def look(
    observe: Mapping[str, Observable],
    memory: dict[str, Any],
    params: Any,
    state: Any,
    fun: Callable[[Any], jax.Array],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Observe, and return what is seen, and what is remembered, by name."""
    seen, memory, found = {}, dict(memory), {}
    for name, observable in observe.items():
        if isinstance(observable, Sharing):
            if observable.identity not in found:
                found[observable.identity] = observable.find(params, state, fun, memory[name])
            what, memory[name] = found[observable.identity]
            seen[name] = observable.measure(what, params, state, fun)
        elif isinstance(observable, Following):
            seen[name], memory[name] = observable.follow(params, state, fun, memory[name])
        else:
            seen[name] = observable(params, state, fun)
    return seen, memory
