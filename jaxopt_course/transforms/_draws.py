"""A few normal numbers of many keys, the bits of `jax.random` in a fraction of its time on a CPU.

`jax.random.normal(key, (n,))` has its numbers on the last axis, behind the keys that `vmap` brings,
and XLA vectorises over the n of them. Here every number is a scalar of its own, so that all
arithmetic is over the keys. The generator is threefry with counters (0, i), whose two outputs jax
xors (its partitionable form) or joins to 64 bits:

    Salmon, Moraes, Dror and Shaw (2011), https://doi.org/10.1145/2063384.2063405, Threefry-2x32-20.
"""

import jax
import jax.numpy as jnp
import numpy as np

# More numbers than this keep the machine's vectors busy by themselves, and take long to compile.
_FEW = 16
# Up to so many, the inverse error function is worth a transposition.
_SOME = 64
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def normal(key: jax.Array, number: jax.Array, size: int, dtype: jax.typing.DTypeLike) -> jax.Array:
    """Draw what `jax.random.normal(jax.random.fold_in(key, number), (size,), dtype)` draws.

    Args:
        key: A typed key. Of another implementation than threefry, `jax.random` draws all.
        number: The draw, an int32 scalar.
        size: How many numbers.
        dtype: float32 or float64.

    Returns:
        The numbers, shape `(size,)`; of the same bits up to the rounding of the last step.
    """
    if not size:  # Of a tree without leaves.
        return jnp.zeros((0,), dtype)
    lowest = np.nextafter(np.array(-1, dtype), np.array(0, dtype))
    if size <= _FEW and _is_partitionable_threefry(key):
        uniform = _uniform(key, number, size, lowest)
    else:
        key = jax.random.fold_in(key, number)
        uniform = jax.random.uniform(key, (size,), dtype, lowest, 1)
        if size <= _SOME:
            # A scan leaves the batch axis of `vmap` behind its own.
            _, uniform = jax.lax.scan(lambda _, one: (None, one), None, uniform, unroll=size)
    return jnp.asarray(np.sqrt(2), dtype) * jax.lax.erf_inv(uniform)


def _is_partitionable_threefry(key: jax.Array) -> bool:
    is_threefry = str(jax.random.key_impl(key)) == "threefry2x32"
    return is_threefry and bool(getattr(jax.config, "jax_threefry_partitionable", True))


def _uniform(key: jax.Array, number: jax.Array, size: int, lowest: np.ndarray) -> jax.Array:
    """Return `jax.random.uniform(fold_in(key, number), (size,), minval=lowest, maxval=1)`."""
    words = jax.random.key_data(key)
    zero = jnp.zeros((), jnp.uint32)
    folded = _threefry((words[0], words[1]), zero, jnp.asarray(number).astype(jnp.uint32))
    pairs = [_threefry(folded, zero, jnp.full((), i, jnp.uint32)) for i in range(size)]
    dtype = lowest.dtype
    info = np.finfo(dtype)
    # The bits fill the mantissa of a number in [1, 2).
    if info.bits == 64:
        whole = [(high.astype(jnp.uint64) << np.uint64(32)) | low for high, low in pairs]
        one = np.float64(1).view(np.uint64)
    else:
        whole = [high ^ low for high, low in pairs]
        one = np.float32(1).view(np.uint32)
    mantissa = jnp.stack(whole) >> one.dtype.type(info.bits - info.nmant)
    unit = jax.lax.bitcast_convert_type(mantissa | one, dtype) - dtype.type(1)
    return jnp.maximum(lowest, unit * (dtype.type(1) - lowest) + lowest)


def _threefry(
    key: tuple[jax.Array, jax.Array], first: jax.Array, second: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Encrypt a counter of two words: 20 rounds, with the key added after every four."""
    schedule = (*key, key[0] ^ key[1] ^ np.uint32(0x1BD11BDA))
    first, second = first + schedule[0], second + schedule[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            first = first + second
            left = second << np.uint32(rotation)
            second = (left | (second >> np.uint32(32 - rotation))) ^ first
        first = first + schedule[(group + 1) % 3]
        second = second + schedule[(group + 2) % 3] + np.uint32(group + 1)
    return first, second
