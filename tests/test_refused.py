"""What compilers for accelerators refuse is refused before, in the caller's terms.

That they refuse it, and nothing else of what `docs/accelerators.md` names, was seen by compiling.
"""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from jaxopt_course import landscape, nn, observables, saddle, training, transforms
from jaxopt_course._engine import _compiled
from jaxopt_course._platforms import traced_for

X = jnp.linspace(0.5, 2.0, 16)
KEY = jax.random.key(0)


def of_eigenvalues(x):
    return jnp.sum(jnp.abs(jnp.linalg.eigvals(x.reshape(4, 4))) ** 2)


def of_schur(x):
    return jnp.trace(jax.scipy.linalg.schur(x.reshape(4, 4))[0])


def of_windows(x):
    image = x.reshape(1, 4, 4, 1)
    window = (1, 2, 2, 1)
    largest = jax.lax.reduce_window(image, -jnp.inf, jax.lax.max, window, window, "VALID")
    return jnp.sum(largest**2)


def of_counts(x):
    counts = jnp.arange(16).reshape(4, 4)
    return jnp.sum(counts @ counts) * jnp.sum(x**2)


def escape(fun):
    starts, keys = X[None], jax.random.split(KEY, 1)
    return saddle.escape(fun, transforms.gradient_descent(0.1), starts, keys, max_steps=2)


CALLS = {
    "classify": lambda fun: saddle.classify(fun, X, order=2),
    "find": lambda fun: saddle.find(fun, X[None], max_steps=2),
    "escape": escape,
    "extreme_eigenpairs": lambda fun: saddle.extreme_eigenpairs(fun, X, key=KEY),
    "line": lambda fun: landscape.line(fun, X, 2 * X),
}


def shapes(call, fun):
    """What a call returns, traced and never compiled."""
    return jax.eval_shape(lambda: call(fun))


@pytest.mark.parametrize("name", CALLS)
def test_an_objective_is_refused_by_what_it_computes_and_where(name):
    for fun, what, platforms in (
        (of_eigenvalues, "fun computes eigenvalues of .* no compiler on tpu: take eigh", ["tpu"]),
        (of_schur, "fun computes the Schur form of .* compute it beforehand", ["tpu", "gpu"]),
    ):
        for platform in platforms:
            with traced_for(platform), pytest.raises(ValueError, match=what):
                CALLS[name](fun)


def test_what_a_gpu_takes_is_refused_for_a_tpu_alone():
    for platform in ("gpu", "cuda"):
        with traced_for(platform):
            shapes(CALLS["line"], of_eigenvalues)


def test_maxima_in_windows_of_float64_are_refused_where_they_are_differentiated(x64):
    del x64
    x = X.astype(jnp.float64)
    with traced_for("tpu"):
        with pytest.raises(ValueError, match=r"float64 .*max_pool.* take float32, or the maximum"):
            saddle.classify(of_windows, x)
        jax.eval_shape(lambda: landscape.line(of_windows, x, 2 * x))
        jax.eval_shape(lambda: saddle.classify(of_windows, x.astype(jnp.float32)))
    with traced_for("gpu"):
        jax.eval_shape(lambda: saddle.classify(of_windows, x))


def test_what_a_tpu_does_not_emulate_of_float64_is_refused(x64):
    del x64
    functions = {
        "a Fourier transform": lambda x: jnp.sum(jnp.abs(jnp.fft.fft(x)) ** 2),
        "a rounding": lambda x: jnp.sum(jax.lax.reduce_precision(x, 5, 10) ** 2),
        "the next number": lambda x: jnp.sum(jnp.nextafter(x, x + 1)),
    }
    for what, fun in functions.items():
        x = X.astype(jnp.float64)
        with traced_for("tpu"):
            with pytest.raises(ValueError, match=f"fun computes {what}"):
                landscape.line(fun, x, 2 * x)
            jax.eval_shape(lambda fun=fun: landscape.line(fun, X, 2 * X))
        with traced_for("gpu"):
            jax.eval_shape(lambda fun=fun, x=x: landscape.line(fun, x, 2 * x))


def test_products_of_long_integers_are_refused_for_a_tpu(x64):
    del x64
    with traced_for("tpu"), pytest.raises(ValueError, match=r"64-bit integers.* take int32"):
        saddle.classify(of_counts, X)


def test_an_algorithm_of_other_devices_is_refused_for_a_tpu_and_a_precision_is_not():
    def product(x, precision):
        with jax.default_matmul_precision(precision):
            return jnp.sum(x.reshape(4, 4) @ x.reshape(4, 4))

    for platform, precision in (
        ("tpu", "BF16_BF16_F32_X3"),
        ("tpu", "highest"),
        ("gpu", "TF32_TF32_F32"),
    ):
        with traced_for(platform):
            shapes(CALLS["line"], lambda x, precision=precision: product(x, precision))
    with traced_for("tpu"), pytest.raises(ValueError, match=r"by TF32_TF32_F32, .* take a prec"):
        CALLS["line"](lambda x: product(x, "TF32_TF32_F32"))


def test_a_loss_is_refused_before_it_is_trained():
    data = (jnp.zeros((8, 16)), jnp.zeros(8, jnp.int32))

    def build(key):
        def apply(params, state, inputs, *, train):
            del inputs, train
            return params, state

        return apply, jax.random.normal(key, (16,)), {}

    with traced_for("tpu"), pytest.raises(ValueError, match="loss or metrics computes eigenval"):
        training.fit(
            build,
            transforms.gradient_descent(0.1),
            data,
            epochs=1,
            batch_size=8,
            keys=jax.random.split(KEY, 1),
            loss=lambda outputs, labels: of_eigenvalues(outputs) + 0.0 * labels,
            metrics={},
        )


def test_default_weights_of_float64_are_refused_for_a_tpu_and_our_own_are_not(x64):
    del x64

    def build(**options):
        def state(key):
            return nnx.split(nn.MLP((4, 3), rngs=nnx.Rngs(key), **options))[1]

        jax.eval_shape(state, KEY)

    with traced_for("tpu"):
        with pytest.raises(ValueError, match=r"param_dtype must be float32 on .* take kernel_init"):
            build(param_dtype=jnp.float64)
        build()
        build(param_dtype=jnp.float64, kernel_init=nn.kaiming_normal())
    with traced_for("gpu"):
        build(param_dtype=jnp.float64)


def test_what_asks_the_host_on_an_accelerator_is_not_refused():
    rule = transforms.heavy_ball(0.1)
    step_radius = observables.step_radius(rule)

    def observe(x):
        return step_radius(x, rule.init(x), lambda x: jnp.sum(x**2))

    with traced_for("tpu"):
        runs = jax.eval_shape(
            lambda: saddle.escape(
                lambda x: jnp.sum(x**2),
                rule,
                X[None],
                jax.random.split(KEY, 1),
                max_steps=2,
                record_every=1,
                observe={"radius": lambda x, state, fun: observe(x)},
            )
        )
    assert runs.steps.shape == (1,)


def test_a_cpu_takes_all_of_it():
    for fun in (of_eigenvalues, of_schur):
        for leaf in jax.tree.leaves(CALLS["line"](fun)):
            assert jnp.all(jnp.isfinite(leaf))


def test_a_program_for_which_its_compiler_finds_no_memory_is_named_by_its_lanes(monkeypatch):
    def compiles(*lowered):
        raise jax.errors.JaxRuntimeError(said)

    monkeypatch.setattr(_compiled, "_compile", compiles)
    monkeypatch.setattr(_compiled, "_known", {})
    said = "RESOURCE_EXHAUSTED: E1000: Ran out of memory on HBM (40.00G).\nHLO module: jit."
    with pytest.raises(MemoryError, match=r"lanes=3 need more .* has; fewer .* \(40.00G\)\.$"):
        saddle.escape(
            lambda x: x @ x,
            transforms.gradient_descent(0.1),
            jnp.ones((3, 2)),
            jax.random.split(KEY, 3),
            max_steps=2,
            lanes=3,
        )
    said = "INTERNAL: something else"
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        escape(lambda x: x @ x)
