"""Are a few normal numbers of many keys drawn faster than by jax.random, with the same bits?

    python benchmarks/noise.py [--repeats 5] [--cpu-time] [--steps 500]

`steps` draws in a row inside one compiled loop, as a batch of runs makes them: `lanes` keys and 12
numbers a key, the noise of ten parameters. Also what compiling each of them takes.
"""

import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from _timing import arguments, compare, show

from jaxopt_course.transforms import _draws

SIZE = 12


def of_jax(key, number):
    return jax.random.normal(jax.random.fold_in(key, number), (SIZE,))


def in_a_loop(draw, keys, steps):
    """Compile `steps` draws of all keys with the lanes last; return the call and its seconds."""
    draws = jax.vmap(draw, in_axes=(0, None), out_axes=-1)

    def total(keys):
        zeros = jnp.zeros((SIZE, keys.shape[0]))
        return jax.lax.fori_loop(0, steps, lambda n, sums: sums + draws(keys, n), zeros)

    began = time.process_time()
    compiled = jax.jit(total).lower(keys).compile()
    return partial(compiled, keys), time.process_time() - began


def main():
    parser = arguments(__doc__)
    parser.add_argument("--steps", type=int, default=500)
    options = parser.parse_args()
    ours = partial(_draws.normal, size=SIZE, dtype="float32")
    rows = []
    for lanes in (1, 64, 512, 2048):
        keys = jax.random.split(jax.random.key(0), lanes)
        rivals, compiling = {}, {}
        for name, draw in {"jax.random": of_jax, "lanes last": ours}.items():
            rivals[name], compiling[name] = in_a_loop(draw, keys, options.steps)
        answers, times = compare(rivals, options, "jax.random")
        np.testing.assert_allclose(*map(np.asarray, answers.values()), rtol=1e-3, atol=1e-3)
        for name, (seconds, ratio) in times.items():
            each = f"{1e6 * seconds / options.steps:.1f} us"
            rows.append(
                (f"{lanes} lanes, {name}", each, f"{ratio:.2f}x", f"{compiling[name]:.2f} s")
            )
    show("normal numbers", ("draw", "time", "ratio", "compiling"), rows)


if __name__ == "__main__":
    main()
