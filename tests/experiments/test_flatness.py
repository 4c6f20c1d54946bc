"""The one step against optax, rescaled networks, and every claim on data where it must fail."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr
from optax import contrib

from experiments import flatness
from experiments.flatness import _statistics, _training
from experiments.flatness._training import ARMS, MEASURES, SCALINGS

CONFIG = flatness.Config(
    images=40, validation=40, hidden=(8, 8), rates=(0.1, 0.3), batch=10, target=0.5, seeds=3,
    trials=2, time=80.0,
)  # fmt: skip


@pytest.fixture
def dataset():
    """What a run gives where arms differ as the papers say, and flatness tells the test error."""
    seeds, rates = np.arange(5), np.array([0.1, 0.2, 0.4])
    by_arm = np.array([1.0, 2.0, 0.3, 0.4, 0.9])[:, None, None]
    by_rate = np.array([1.0, 0.7, 0.4])[:, None]
    level = by_arm * by_rate * np.ones(5)
    jitter = 1 + 0.01 * (seeds - 2)
    # Within a cell flatness and error agree and disagree by turns.
    sign = (-1.0) ** np.add.outer(np.arange(5), np.arange(3))[..., None]
    error = 0.05 + 0.02 * np.log(level / level.min()) + 1e-5 * sign * (seeds - 2)
    shape = ("arm", "rate", "seed")
    sharpness = level * jitter
    # Plain sharpness is off in one arm, by a factor that the weights' scale makes.
    scaled = sharpness * np.array([1.0, 1.0, 1.0, 1.9, 0.2])[:, None, None]
    factor = np.array(SCALINGS)
    trial = np.array([0.06, 0.05, 0.06]) * np.ones((5, 1))
    return xr.Dataset(
        {
            "sharpness": (shape, scaled),
            "adaptive sharpness": (shape, sharpness),
            "rise": (shape, 0.1 * sharpness),
            "residual": (shape, 1e-4 * scaled),
            "adaptive residual": (shape, 1e-4 * sharpness),
            "test error": (shape, error),
            "loss": (shape, np.full(level.shape, 0.0099)),
            "trial error": (shape[:2], trial),
            "rescaled sharpness": (("factor", "seed"), np.outer(factor**2, jitter)),
            "rescaled adaptive sharpness": (("factor", "seed"), np.outer(factor**0, jitter)),
            "rescaled rise": (("factor", "seed"), np.outer(factor**0, jitter)),
            "rescaled gap": (("factor", "seed"), np.zeros((5, 5))),
            "rescaled block": (("factor", "seed"), np.outer(factor**0, 0.9 * jitter)),
        },
        coords={"arm": list(ARMS), "rate": rates, "factor": factor},
        attrs={"target": 0.01},
    )


def failed(dataset):
    return [claim.statement for claim in flatness.claims(dataset) if not claim.holds]


def test_all_claims_hold_where_flatness_tells_the_error(dataset):
    assert failed(dataset) == []
    assert len(flatness.claims(dataset)) == 4 + 5 + 4 + 4 + 7


def test_the_one_step_is_optax_s_sam_and_the_gradient_at_its_ends():
    weights = [jnp.array([[1.0, -2.0]]), jnp.array([3.0])]

    def fun(w):
        return jnp.sum(jnp.tanh(w[0]) ** 2) * w[1][0] + jnp.sum(w[1] ** 4)

    grad = jax.grad(fun)
    radius, rate = 0.1, 0.3
    rule = contrib.sam(
        optax.sgd(rate),
        optax.chain(contrib.normalize(), optax.sgd(radius)),
        opaque_mode=True,
    )
    updates, _ = rule.update(
        grad(weights), rule.init(weights), weights, grad_fn=lambda w, _: grad(w)
    )
    moved = _training.direction(grad, weights, 1.0, radius)
    for ours, theirs in zip(moved, updates, strict=True):
        np.testing.assert_allclose(-rate * ours, theirs, rtol=1e-5)
    plain = _training.direction(grad, weights, 0.0, radius)
    jax.tree.map(np.testing.assert_array_equal, plain, grad(weights))


def test_the_penalty_descends_the_loss_and_the_gradient_s_norm_to_first_order(x64):
    weights = jnp.array([0.4, -0.3])

    def fun(w):
        return jnp.sum(jnp.cosh(w) * jnp.array([1.0, 3.0]))

    share, radius = 0.5, 1e-5
    found = _training.direction(jax.grad(fun), weights, share, radius)
    norm = jax.grad(lambda w: optax.tree.norm(jax.grad(fun)(w)))(weights)
    np.testing.assert_allclose((found - jax.grad(fun)(weights)) / (share * radius), norm, rtol=1e-4)


def test_rescaled_networks_are_the_same_functions_and_rise_alike():
    net, key = _training.network(CONFIG), jax.random.key(0)
    weights, (inputs, _) = net.init(key), _training.divided(CONFIG, net, key).train
    other = _training.rescaled(weights, SCALINGS[-1])
    np.testing.assert_array_equal(net.outputs(inputs, other), net.outputs(inputs, weights))

    def fun(weights):
        return net.loss(*_training.divided(CONFIG, net, key).train, weights)

    found = jax.jit(lambda weights: _training.rise(fun, weights, key))
    np.testing.assert_array_equal(found(other), found(weights))
    assert float(abs(found(weights))) > 0


def test_the_jackknife_of_a_mean_is_student_s_interval():
    values = xr.Dataset({"x": ("seed", [1.0, 2.0, 4.0, 8.0])})
    found = _statistics.jackknife(lambda part: float(part.x.mean()), values)
    middle, half = _statistics.mean_interval(values.x)
    np.testing.assert_allclose(found, [middle, middle - half, middle + half])


def test_a_seed_divides_all_images_and_another_otherwise():
    net = _training.network(CONFIG)
    one, other = (_training.divided(CONFIG, net, jax.random.key(k)) for k in range(2))
    assert [len(labels) for _, labels in one] == [40, 40, 1797 - 80]
    rows = np.concatenate([inputs for inputs, _ in one])
    np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(net.inputs, axis=0))
    assert (one.train[1] != other.train[1]).any()


def test_runs_that_did_not_arrive_are_left_out(dataset):
    lost = dataset.copy(deep=True)
    lost.loss[:, 2] = 0.02
    runs = flatness.ends(lost)
    assert runs.sharpness[:, 2].isnull().all()
    # No trial run arrives at it either: NaN is not the best.
    lost["trial error"][:, 2] = np.nan
    assert set(flatness.best(lost).values()) == {0.2}
    lost["trial error"][0] = np.nan
    assert np.isnan(flatness.best(lost)["SGD"])
    assert any("comes to the target" in statement for statement in failed(lost))


@pytest.mark.parametrize(
    ("name", "at", "change", "broken"),
    [
        ("loss", {"arm": 1}, lambda x: 2 * x, ["target loss", "small batches", "large batch has"]),
        ("loss", {}, lambda x: 0.9 * x, ["at equal loss"]),
        ("trial error", {"rate": 0}, lambda x: 0 * x, ["largest or smallest"]),
        ("adaptive residual", {}, lambda x: 1e3 * x, ["known well enough"]),
        ("rescaled gap", {"factor": 1}, lambda x: x + 1e-7, ["to the last bit"]),
        ("rescaled sharpness", {"factor": 2}, lambda x: 0.5 * x, ["own (smallest"]),
        ("rescaled sharpness", {}, lambda x: 1e-3 * x, ["own (smallest", "than any end"]),
        ("rescaled adaptive sharpness", {"factor": 4}, lambda x: 1.01 * x, ["sharpness does"]),
        ("rescaled rise", {"factor": 4}, lambda x: 1.01 * x, ["rise along filter"]),
        ("rise", {"arm": 2}, lambda x: 9 * x, ["SAM ends flatter"]),
        ("adaptive sharpness", {"arm": 3}, lambda x: 9 * x, ["the gradient-norm penalty ends"]),
        ("rise", {"arm": 1}, lambda x: x / 9, ["small batches end flatter"]),
        ("rise", {"arm": 0, "rate": 0}, lambda x: x / 9, ["SGD ends flatter at rate 0.4"]),
        ("test error", {}, lambda x: -x, ["has a smaller"] * 3 + ["has a larger"]
         + ["the larger the"] * 3 + ["says more"]),
        ("test error", {}, lambda x: 0 * x + 0.1 * np.arange(5), ["says little"] * 3),
    ],
)  # fmt: skip
def test_each_claim_fails_on_data_that_refute_it(dataset, name, at, change, broken):
    wrong = dataset.copy(deep=True)
    wrong[name][at] = change(dataset[name][at].values)
    found = failed(wrong)
    for text in set(broken):
        assert sum(text in statement for statement in found) == broken.count(text)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"images": 1700}, "images . validation must leave 20 of the 1797 of digits to test"),
        ({"batch": 200}, "batch must be at most images // 2, got 200, 300"),
        ({"rates": (0.2, 0.1)}, "rates must be two or more, ascending"),
    ],
)
def test_a_config_that_cannot_be_measured_is_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        flatness.Config(**fields)


@pytest.mark.nightly
def test_a_small_run_measures_all_that_is_judged():
    found = flatness.run(CONFIG)
    assert found.sizes["seed"] == CONFIG.seeds
    assert float((found.loss <= CONFIG.target).mean()) > 0.9
    claims = {claim.statement: claim for claim in flatness.claims(found)}
    assert all(claim.holds is not None for claim in claims.values())
    exact = [claim for name, claim in claims.items() if "the same functions" in name]
    assert len(exact) == 3
    assert all(claim.holds for claim in exact)


def test_the_figure_has_a_panel_a_measure_and_one_of_rescaling(dataset):
    axes = flatness.plot(dataset).axes
    assert [one.get_xlabel() for one in axes] == [*MEASURES, "c"]
