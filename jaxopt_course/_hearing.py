"""What compiled programs tell the host: by a number, so that one program serves every callback.

JAX makes the function that a program calls back a part of the program: another function would be
another program, compiled anew. Here a program calls back one function of this module alone, and
hands it, as an argument, the number under which the host has filed who is to hear the news.
"""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course._checks import is_tracing

Tell = Callable[..., None]

_hearers: dict[int, Callable[..., Any]] = {}
_raised: dict[int, BaseException] = {}
_numbers = itertools.count()


@contextlib.contextmanager
def telling(hearer: Callable[..., Any]) -> Iterator[Tell]:
    """Yield a function that has the host call `hearer` with arrays, wherever it is called.

    On the way out it waits until everything was heard; what `hearer` raised is raised there, as it
    was, where JAX would put it into the text of an error of its own. Within a function that is
    traced by the caller, whose program may run at any time, it waits for nothing, and `hearer` is a
    part of the program.

    Example:
        >>> heard = []
        >>> with telling(heard.append) as tell:
        ...     jax.jit(tell)(3)
        >>> print(heard[0])
        3
    """
    if is_tracing():
        yield functools.partial(jax.debug.callback, hearer)
        return
    number = next(_numbers)
    # With an axis, as a number without one may be written into the program.
    filed = jnp.full(1, number, jnp.int32)
    _hearers[number] = hearer
    try:
        yield lambda *news: jax.debug.callback(_hear, filed, *news)
        jax.effects_barrier()
    except Exception:
        if (raised := _raised.get(number)) is not None:
            raise raised from None
        raise
    finally:
        del _hearers[number]
        _raised.pop(number, None)


def _hear(filed: Any, *news: Any) -> None:
    """Hand the news on to the one whose number this is."""
    number = int(np.asarray(filed)[0])  # To index an array of JAX compiles a program.
    hearer = _hearers.get(number)
    if hearer is None or number in _raised:
        return
    try:
        hearer(*news)
    except BaseException as error:
        _raised[number] = error
        raise


HEAR = f"{_hear.__module__}.{_hear.__qualname__}:"
"""How the fingerprint of a callback begins that is heard here, after what JAX wraps around it."""
