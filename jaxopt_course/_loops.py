"""JAX's loops, compiled once for all data.

Outside `jit`, JAX compiles a loop as a program of its own, which it finds again by the identity of
the loop's body. A body that is defined within a function, as one that multiplies by a Hessian is,
is another one at every call, so every call would compile what the one before has compiled. Here the
loop is traced, into equations and the arrays that its body closes over (see `_tracing`), and loops
of equal equations share a program, whose arguments the arrays are.

Within a traced function these are JAX's loops and nothing more. So they are where the body calls
back to the host: what it calls there can be told from others by its identity alone. News for a
callback go by a number instead (`_hearing`), and are no exception.
"""

from collections.abc import Callable
from typing import Any

import jax

from jaxopt_course._checks import is_traced, is_tracing
from jaxopt_course._tracing import Traced, trace_once


def while_loop(
    goes_on: Callable[[Any], Any],
    body: Callable[[Any], Any],
    begin: Any,
    *,
    consume: bool = False,
) -> Any:
    """Do what `jax.lax.while_loop` does; with `consume` in the memory of `begin`, which is lost.

    Example:
        >>> print(while_loop(lambda x: x < 9, lambda x: 2 * x, jnp.array(1)))
        16
    """
    return computed(lambda begin: jax.lax.while_loop(goes_on, body, begin), begin, consume=consume)


def fori_loop(lower: Any, upper: Any, body: Callable[[Any, Any], Any], begin: Any) -> Any:
    """Do what `jax.lax.fori_loop` does.

    Example:
        >>> print(fori_loop(0, 4, lambda i, x: x + i, jnp.array(0)))
        6
    """
    return computed(lambda begin: jax.lax.fori_loop(lower, upper, body, begin), begin)


def scan(
    body: Callable[[Any, Any], tuple[Any, Any]],
    begin: Any,
    rows: Any = None,
    *,
    length: int | None = None,
) -> tuple[Any, Any]:
    """Do what `jax.lax.scan` does.

    Example:
        >>> print(scan(lambda total, x: (total + x, None), jnp.zeros(()), jnp.arange(3.0))[0])
        3.0
    """
    return computed(lambda begin, rows: jax.lax.scan(body, begin, rows, length), begin, rows)


def map(fun: Callable[[Any], Any], rows: Any, *, batch_size: int | None = None) -> Any:
    """Do what `jax.lax.map` does, of an array where there is a `batch_size`.

    Example:
        >>> print(map(lambda x: 2 * x, jnp.arange(3)), map(jnp.sin, jnp.zeros(3), batch_size=2))
        [0 2 4] [0. 0. 0.]
    """
    if batch_size is None:
        return computed(lambda rows: jax.lax.map(fun, rows), rows)
    # What the batches leave over is no part of the loop.
    several, whole = jax.vmap(fun), len(rows) - len(rows) % batch_size
    if not whole:
        return several(rows)
    batches = rows[:whole].reshape(-1, batch_size, *rows.shape[1:])
    parts = map(several, batches)
    parts = parts.reshape(whole, *parts.shape[2:])
    if whole == len(rows):
        return parts
    return jax.lax.concatenate([parts, several(rows[whole:])], dimension=0)


def computed(loop: Callable[..., Any], *operands: Any, consume: bool = False) -> Any:
    """Compute what holds a loop by a program that all of equal equations share.

    Args:
        loop: A function that JAX would compile as a whole: a loop, or a condition.
        *operands: Its arguments, pytrees of arrays.
        consume: Whether the first of them may be overwritten.

    Returns:
        What the function returns.

    Example:
        >>> print(computed(lambda x: jax.lax.cond(x > 0, jnp.sin, jnp.cos, x), 0.0))
        1.0
    """
    if is_tracing():
        return loop(*operands)
    traced = trace_once(loop, *operands)
    # Under `vmap` the first operand may be smaller than what is computed of it.
    consume = consume and not is_traced((traced, operands))
    if traced.equations.comparable and not traced.equations.asks_host:
        return (_run_consuming if consume else _run)(traced, *operands)
    return (jax.jit(loop, donate_argnums=0) if consume else loop)(*operands)


def _call(loop: Traced, *operands: Any) -> Any:
    return loop(*operands)


_run = jax.jit(_call)
_run_consuming = jax.jit(_call, donate_argnums=1)
