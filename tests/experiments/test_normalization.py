import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments import normalization
from experiments.normalization import _critics
from tests.experiments.refuting import unrefuted

CONFIG = normalization.Config(
    seeds=2,
    batch_sizes=(32, 4),
    widths=(4,),
    groups=2,
    epochs=1,
    critic_hidden=(8,),
    critic_epochs=2,
)


# The small experiment takes a minute to compile; what needs it is nightly.
@pytest.fixture(scope="module")
def dataset():
    return normalization.run(CONFIG)


def held(dataset, words):
    (claim,) = [c for c in normalization.claims(dataset) if words in c.statement]
    return claim.holds


@pytest.mark.nightly
def test_every_kind_is_trained_at_every_batch_size(dataset):
    assert dataset.test_error.shape == (4, 2, 2)
    assert ((dataset.test_error > 0) & (dataset.test_error < 0.95)).all()


@pytest.mark.nightly
def test_second_derivatives_are_right_and_only_batch_norm_mixes_examples(dataset):
    assert held(dataset, "Hessian-vector products")
    assert held(dataset, "no output depends")
    assert held(dataset, "outputs depend on other")


@pytest.mark.nightly
def test_a_wrong_product_or_a_mixing_network_does_not_hold(dataset):
    wrong = dataset.copy(deep=True)
    wrong.product_error[:] = [1e-9, np.nan]
    wrong.others.loc[{"critic": "weight"}] = 0.1
    assert not held(wrong, "Hessian-vector products")
    assert not held(wrong, "no output depends")


@pytest.mark.nightly
def test_the_verdict_on_small_batches_follows_the_errors(dataset):
    made = dataset.copy(deep=True)
    made.test_error[:] = np.array([0.02, 0.021])
    made.test_error.loc[{"normalization": "batch", "batch_size": 4}] = [0.1, 0.102]
    assert held(made, "test error rises")
    assert held(made, "errs more than group normalization")
    made.test_error.loc[{"normalization": "batch", "batch_size": 4}] = [0.02, 0.021]
    assert not held(made, "test error rises")
    assert not held(made, "the others err more")
    made.test_error.loc[{"normalization": ["layer", "instance", "group"]}] = [0.03, 0.0301]
    assert held(made, "the others err more")


def test_layer_normalization_has_the_statistics_of_one_whole_example():
    build = normalization._factory("layer", CONFIG, 32)
    layer = build(4, rngs=nnx.Rngs(0))
    y = layer(jax.random.normal(jax.random.key(0), (3, 5, 5, 4)) * 7 + 2)
    np.testing.assert_allclose(y.mean((1, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(y.std((1, 2, 3)), 1, rtol=1e-5)


def test_noise_has_the_mean_and_deviation_of_the_images():
    images = np.random.default_rng(0).normal(3, [0.0, 1.0, 2.0], size=(20_000, 3))
    real, fake, share = _critics._pairs(images, np.random.default_rng(1))
    np.testing.assert_allclose(fake.mean(0), real.mean(0), atol=0.05)
    np.testing.assert_allclose(fake.std(0), real.std(0), atol=0.05)
    assert share.min() >= 0
    assert share.max() < 1


def test_the_critic_measures_the_slope_of_a_linear_function():
    def network(params, state, x, train=False):
        return x @ params[:, None], state

    critic = _critics.Critic(network)
    pairs = jnp.ones((4, 2)), jnp.zeros((4, 2)), jnp.full(4, 0.3)
    outputs, _ = critic(jnp.array([3.0, 4.0]), {}, pairs)
    np.testing.assert_allclose(outputs["slope"], 5, rtol=1e-6)
    np.testing.assert_allclose(outputs["distance"], 7, rtol=1e-6)
    np.testing.assert_allclose(_critics.slope_error(outputs, None), 4, rtol=1e-6)


@pytest.mark.nightly
def test_the_figure_tells_the_change_and_names_every_normalization(dataset):
    figure = normalization.plot(dataset)
    assert "changes by" in figure.get_suptitle()
    names = {text.get_text() for text in figure.axes[0].get_legend().get_texts()}
    assert names == set(normalization.NORMALIZATIONS)


def test_batch_sizes_must_fall():
    with pytest.raises(ValueError, match="batch_sizes must fall"):
        normalization.Config(batch_sizes=(2, 4))


@pytest.mark.nightly
def test_every_claim_is_refuted_by_some_wrong_measurement(dataset):
    assert unrefuted(normalization.claims, dataset) == []
