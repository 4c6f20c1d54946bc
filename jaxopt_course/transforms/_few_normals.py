"""A few normal numbers for every key of many, as fast as a CPU can, and independent of how many.

`jax.random` lets the numbers of a key be the innermost axis, of which there are too few to fill a
vector register, and on a CPU takes the rounds of its hash one by one. Here a scan goes over the
numbers: what is computed in each of its passes has the keys as its only axis, and is one loop over
them. The bits are those of `jax.random`: number i of a key is the exclusive or of both outputs of
the hash at the counter (0, i).

The length of a key's numbers is summed in their order, one addition after the other. A reduction
would leave the order, and which products are rounded, to the compiler, which chooses by the number
of keys, so that the last bit of a direction would depend on it.

Salmon, Moraes, Dror and Shaw (2011), "Parallel Random Numbers: As Easy as 1, 2, 3" (Threefry-2x32
with 20 rounds).
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_MOST = 64
"""Numbers of a key beyond which its own axis is long enough."""
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)


@partial(jax.jit, static_argnames=("size", "dtype", "unit"))
def normals(
    key: jax.Array, number: jax.Array, *, size: int, dtype: jax.typing.DTypeLike, unit: bool
) -> jax.Array:
    """Return `jax.random.normal(jax.random.fold_in(key, number), (size,), dtype)`.

    Args:
        key: A typed key.
        number: An integer.
        size: How many numbers.
        dtype: Their dtype.
        unit: Whether to divide them by the length of the vector that they are.
    """
    few = partial(_few, size=size, dtype=dtype, unit=unit)
    usual = partial(_usual, size=size, dtype=dtype, unit=unit)
    ours = str(jax.random.key_impl(key)) == "threefry2x32"
    ours &= jax.config.jax_threefry_partitionable  # pyrefly: ignore[missing-attribute]
    if not (ours and 0 < size <= _MOST and np.dtype(dtype) in (np.float32, np.float64)):
        return usual(key, number)
    return jax.lax.platform_dependent(key, number, cpu=few, default=usual)


def _usual(
    key: jax.Array, number: jax.Array, *, size: int, dtype: jax.typing.DTypeLike, unit: bool
) -> jax.Array:
    drawn = jax.random.normal(jax.random.fold_in(key, number), (size,), dtype)
    return drawn / jnp.linalg.norm(drawn) if unit else drawn


def _few(
    key: jax.Array, number: jax.Array, *, size: int, dtype: jax.typing.DTypeLike, unit: bool
) -> jax.Array:
    """The same by a scan over the numbers."""
    zero = jnp.zeros((), jnp.uint32)
    first, second = jax.random.key_data(key)
    folded = _hash(first, second, zero, jnp.asarray(number).astype(jnp.uint32))
    root: Any = np.asarray(np.sqrt(2), dtype)

    def draw(_: None, i: jax.Array) -> tuple[None, jax.Array]:
        bits = _hash(*folded, zero, i)
        return None, root * jax.lax.erf_inv(_uniform(*bits, dtype))

    _, drawn = jax.lax.scan(draw, None, jnp.arange(size, dtype=jnp.uint32))
    if not unit:
        return drawn
    squares = drawn[0] * drawn[0]
    for i in range(1, size):
        squares = squares + drawn[i] * drawn[i]
    return drawn / jnp.sqrt(squares)


def _hash(
    key0: jax.Array, key1: jax.Array, x0: jax.Array, x1: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Threefry-2x32 of a counter, both words uint32."""
    schedule = (key0, key1, key0 ^ key1 ^ _PARITY)
    x0, x1 = x0 + key0, x1 + key1
    for group in range(5):
        for bits in _ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = ((x1 << np.uint32(bits)) | (x1 >> np.uint32(32 - bits))) ^ x0
        x0 = x0 + schedule[(group + 1) % 3]
        x1 = x1 + schedule[(group + 2) % 3] + np.uint32(group + 1)
    return x0, x1


def _uniform(high: jax.Array, low: jax.Array, dtype: jax.typing.DTypeLike) -> jax.Array:
    """The number in (-1, 1) that `jax.random.normal` makes of the words of the hash."""
    if np.dtype(dtype) == np.float32:
        bits = (high ^ low) >> np.uint32(9)
    else:
        wide = [word.astype(jnp.uint64) for word in (high, low)]
        bits = ((wide[0] << np.uint64(32)) | wide[1]) >> np.uint64(12)
    # Behind the exponent of 1 the bits make a number from 1 to 2.
    one, lowest = np.ones((), dtype), np.nextafter(np.array(-1, dtype), np.array(0, dtype))
    exponent = one.view(bits.dtype)
    unit = jax.lax.bitcast_convert_type(bits | exponent, dtype) - one
    return jnp.maximum(unit * (one - lowest) + lowest, lowest)
