import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxopt_course.nn import MLP, ActivationNoise, BatchNorm, ConvNet, functional_view


def factors_and_offsets(shape, **options):
    """Return s and m of one call, read off two inputs that meet the same noise."""
    apply, params, state = functional_view(ActivationNoise(**options, rngs=nnx.Rngs(noise=0)))
    offset, _ = apply(params, state, jnp.zeros(shape), train=True)
    both, _ = apply(params, state, jnp.ones(shape), train=True)
    return np.asarray(both - offset), np.asarray(offset)


def test_noise_has_the_published_moments():
    scale, shift = factors_and_offsets((500, 800))
    assert np.abs(shift).max() <= 0.6
    # Units differ, the examples of a unit hardly: the means of units are U(-1/2, 1/2).
    assert shift.mean(0).std() == pytest.approx(12**-0.5, rel=0.1)
    assert shift.std(0).mean() == pytest.approx(0.2 / 12**0.5, rel=0.05)
    assert scale.mean() == pytest.approx(1.125, abs=0.01)
    assert scale.mean(0).std() == pytest.approx(0.25 / 12**0.5, rel=0.1)
    assert scale.std(0).mean() == pytest.approx(0.1, rel=0.05)


def test_each_range_and_spread_is_what_it_says():
    none = {"mean_range": 0.0, "scale_range": 1.0, "mean_spread": 0.0, "scale_spread": 0.0}
    scale, shift = factors_and_offsets((4, 5), **none)
    np.testing.assert_array_equal(scale, 1)
    np.testing.assert_array_equal(shift, 0)
    _, shift = factors_and_offsets((4, 5), **(none | {"mean_range": 3.0}))
    assert (shift == shift[0]).all()
    assert np.ptp(shift[0]) > 0
    _, shift = factors_and_offsets((4, 500), **(none | {"mean_spread": 3.0}))
    assert 2.9 < np.abs(shift).max() <= 3
    assert np.ptp(shift, axis=0).min() > 0
    scale, _ = factors_and_offsets((4, 500), **(none | {"scale_range": 3.0}))
    assert (scale.min(), scale.max()) == pytest.approx((1, 3), abs=0.02)
    np.testing.assert_allclose(scale, scale[:1].repeat(4, 0), rtol=1e-6)
    scale, _ = factors_and_offsets((400, 50), **(none | {"scale_spread": 3.0}))
    assert scale.std() == pytest.approx(3, rel=0.03)


def test_units_are_channels_and_positions_count_as_examples():
    none = {"scale_range": 1.0, "mean_spread": 0.0, "scale_spread": 0.0}
    _, shift = factors_and_offsets((2, 3, 3, 4), **none)
    assert (shift == shift[0, 0, 0]).all()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64])
def test_the_dtype_is_that_of_the_input(dtype):
    with jax.enable_x64(True):
        x = jnp.ones((3, 2), dtype)
        assert ActivationNoise(rngs=nnx.Rngs(0))(x).dtype == dtype


def test_integers_become_floats():
    layer = ActivationNoise(rngs=nnx.Rngs(0))
    assert layer(jnp.ones((3, 2), jnp.int32)).dtype == jnp.float32
    layer.eval()
    assert layer(np.ones((3, 2), np.int8)).dtype == jnp.float32


def test_evaluation_leaves_the_input_and_training_draws_anew():
    network = ConvNet(1, (2,), normalization=ActivationNoise.after(BatchNorm), rngs=nnx.Rngs(0))
    apply, params, state = functional_view(network)
    x = jax.random.normal(jax.random.key(0), (4, 8, 8, 1))
    plain = functional_view(ConvNet(1, (2,), normalization=BatchNorm, rngs=nnx.Rngs(0)))
    evaluated, same = apply(params, state, x)
    assert same is state
    assert jax.tree.leaves(params)[0].shape == jax.tree.leaves(plain.params)[0].shape
    run = jax.jit(lambda state: apply(params, state, x, train=True))
    first, after = run(state)
    second, _ = run(after)
    again, _ = run(state)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, evaluated)
    gradient = jax.grad(lambda params: run(state)[0].sum() + apply(params, state, x)[0].sum())
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient(params)))


def test_a_batch_of_networks_has_noise_of_its_own():
    def outputs(key):
        model = MLP((3, 4, 2), normalization=ActivationNoise.after(BatchNorm), rngs=nnx.Rngs(key))
        apply, params, state = functional_view(model)
        return apply(jax.tree.map(jnp.ones_like, params), state, x, train=True)[0]

    x = jax.random.normal(jax.random.key(1), (5, 3))
    keys = jax.random.split(jax.random.key(0), 2)
    found = jax.vmap(outputs)(keys)
    assert not np.array_equal(found[0], found[1])
    np.testing.assert_allclose(found[1], outputs(keys[1]), rtol=1e-5)


def test_two_factories_of_the_same_are_equal_programs():
    make = lambda: MLP(  # noqa: E731
        (3, 4, 2), normalization=ActivationNoise.after(BatchNorm), rngs=nnx.Rngs(0, noise=1)
    )
    assert functional_view(make()).apply == functional_view(make()).apply


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean_range": -1.0}, "mean_range must not be negative, got -1.0"),
        ({"scale_range": 0.5}, "scale_range must be at least 1, got 0.5"),
        ({"scale_range": float("nan")}, "scale_range must be finite, got nan"),
        ({"mean_spread": float("inf")}, "mean_spread must be finite, got inf"),
        ({"scale_spread": -0.1}, "scale_spread must not be negative"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        ActivationNoise(**options, rngs=nnx.Rngs(0))


def test_what_is_no_array_of_units_is_named():
    with pytest.raises(ValueError, match=r"x must have an axis of units, got shape \(\)"):
        ActivationNoise(rngs=nnx.Rngs(0))(jnp.float32(1))
    with pytest.raises(TypeError, match="rngs must be a flax"):
        ActivationNoise(rngs=0)
    with pytest.raises(TypeError, match="normalization must be a function, got None"):
        ActivationNoise.after(None)
