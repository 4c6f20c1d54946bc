"""Two singular values and the tanh network, and every claim on data where it must fail."""

import jax
import numpy as np
import pytest
import xarray as xr

from experiments import saddle_to_saddle as passing
from tests.experiments.refuting import unrefuted

CONFIG = passing.Config(
    singular_values=(2.0, 1.0),
    depths=(2,),
    two_layer_scales=(1e-3, 1e-5),
    learning_rate=0.05,
    two_layer_steps=800,
    observations=200,
)


@pytest.fixture
def dataset():
    """What a run gives that jumps when it is to, past the known saddles."""
    scales, sigma = np.array(CONFIG.two_layer_scales), np.array(CONFIG.singular_values)
    known = passing.known_values(CONFIG.singular_values)
    step = 4 * np.arange(201)
    jump = 20 - np.log(scales)[:, None] / np.log1p(CONFIG.learning_rate * sigma)
    down = np.clip(0.5 - (step - jump[..., None]) / 16, 0, 1)
    loss = np.einsum("k,skt->st", -np.diff(known), down)
    points = {
        "value": known,
        "index": [4, 1, 0],
        "rank": [0, 1, 2],
        "passed_at": [20, 120, 400],
    }
    return xr.Dataset(
        {name: (("case", "saddle"), np.array([leaf] * 2)) for name, leaf in points.items()}
        | {
            "distance": (("case", "saddle"), scales[:, None] * [1.0, 1, 0]),
            "step": (("case", "observation"), np.array([step] * 2)),
            "loss": (("case", "observation"), loss),
            "gradient_norm": (("case", "observation"), np.ones(loss.shape)),
            "known_value": (("case", "known_rank"), np.array([known] * 2)),
            "known_index": (("case", "known_rank"), np.array([[4, 1, 0]] * 2)),
            "depth": ("case", [2, 2]),
            "scale": ("case", scales),
            "tanh_value": ("tanh_saddle", [1.5, 0.04, 0.0]),
            "tanh_index": ("tanh_saddle", [6, 1, 0]),
            "tanh_passed_at": ("tanh_saddle", [20, 120, 400]),
            "tanh_step": ("observation", step),
            "tanh_loss": ("observation", loss[0]),
            "tanh_gradient_norm": ("observation", np.ones(201)),
            "tanh_known_value": ("tanh_plateau", [1.5, 0.04]),
            "tanh_known_index": ("tanh_plateau", [6, 0]),
            "singular_value": ("mode", sigma),
            "learning_rate": CONFIG.learning_rate,
        },
        coords={"saddle": np.arange(3), "known_rank": np.arange(3)},
    )


def refuted(dataset):
    return [claim.statement for claim in passing.claims(dataset) if not claim.holds]


def test_all_claims_hold_of_a_run_that_jumps_when_it_is_to(dataset):
    assert refuted(dataset) == []


@pytest.mark.nightly
def test_the_plateaus_are_the_known_saddles():
    dataset = passing.run(CONFIG)
    judged = passing.claims(dataset)
    assert len(judged) == 2 * 3 + 3 + 4
    assert refuted(dataset) == []
    np.testing.assert_allclose(dataset.known_value[0], [2.5, 0.5, 0])
    assert dataset.known_index[0].values.tolist() == [4, 1, 0]
    assert dataset.tanh_known_index[0] == 3 * 2


def test_each_claim_fails_on_data_that_refute_it(dataset):
    def after(change):
        wrong = dataset.copy(deep=True)
        change(wrong)
        return refuted(wrong)

    def set_(name, place, value):
        return lambda data: data[name].__setitem__(place, value)

    title = "2 layers from 0.001: "
    assert after(set_("value", (0, 1), 0.6)) == [
        title + "the run passes the saddles of rank 0, 1, ... in order and ends at the minimum "
        "(values)"
    ]
    (rank,) = after(set_("rank", (0, 1), 2))
    assert rank == title + "the rank of the map rises by one from each to the next"
    (index,) = after(set_("index", (0, 1), 2))
    assert index.startswith(title + "as many directions")
    (nearer,) = after(set_("distance", (-1, 0), 1.0))
    assert nearer.startswith("2 layers: the smaller the start, the nearer")
    later = after(lambda data: data.step.__setitem__((0, slice(None)), data.step[0] * 1.5))
    assert [claim[:32] for claim in later] == [
        "2 layers: the jump from rank 0 c",
        "2 layers: the jump from rank 1 c",
    ]
    for name, place, value, said in [
        ("tanh_value", 0, 2.0, "the first plateau is the origin"),
        ("tanh_index", 0, 5, "it has a direction of negative curvature"),
        ("tanh_value", 1, 0.05, "the second plateau is a stationary point"),
        ("tanh_index", 1, 0, "that is a strict saddle"),
    ]:
        (claim,) = after(set_(name, place, value))
        assert claim.startswith("tanh network: " + said)


def test_a_run_that_passes_nothing_refutes(dataset):
    # One that never leaves its start, and has found the origin alone.
    wrong = dataset.copy(deep=True)
    wrong.loss[:] = 2.5
    wrong.value[:, 1:] = np.nan
    wrong.tanh_value[:] = np.nan
    wrong.tanh_index[:] = np.nan if wrong.tanh_index.dtype.kind == "f" else 0
    verdicts = [claim.verdict for claim in passing.claims(wrong)]
    assert "holds" not in verdicts


def test_at_three_layers_the_time_at_the_origin_is_inverse_to_the_scale(dataset):
    deep = dataset.assign(depth=dataset.depth + 1)
    (origin,) = [claim for claim in passing.claims(deep) if "time at the origin" in claim.statement]
    assert origin.expected.startswith("100 within")
    # The logarithm of two layers is not that.
    assert not origin.holds
    first = passing.jumps(dataset.isel(case=0))[0]
    stretched = deep.copy(deep=True)
    late = passing.jumps(dataset.isel(case=1))[0]
    stretched["step"] = stretched.step.astype(float)
    stretched.step[1] = stretched.step[1] * 100 * first / late
    (origin,) = [c for c in passing.claims(stretched) if "time at the origin" in c.statement]
    assert origin.holds


def test_the_loss_of_no_units_is_that_of_zero_weights():
    fun, moment = passing._tanh_problem()
    zero = (np.zeros((3, 3)), np.zeros((2, 3)))
    # The gradient vanishes there; between one incoming and one outgoing weight the Hessian is
    # -E y x^T.
    gradient = jax.grad(fun)(zero)
    assert all(np.abs(leaf).max() == 0 for leaf in gradient)
    mixed = jax.hessian(fun)(zero)[0][1]
    np.testing.assert_allclose(mixed[0, :, :, 0], -moment.T, rtol=1e-5)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"singular_values": (1.0, 2.0)}, "singular_values must be two numbers or more"),
        ({"deep_scales": (0.1,)}, "deep_scales must be two numbers or more"),
        ({"two_layer_steps": 1001}, "two_layer_steps must be a multiple of observations = 500"),
    ],
)
def test_a_config_that_cannot_be_measured_is_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        passing.Config(**fields)


def test_the_figure_has_a_column_a_network(dataset):
    axes = passing.plot(dataset).axes
    assert [one.get_title() for one in axes[:2]] == ["linear, 2 layers", "tanh, one hidden layer"]
    # A run is a line and its saddles; a known value a line.
    assert [len(one.lines) for one in axes] == [2 * 2 + 2, 2 + 2, 2 * 2, 2]


def test_every_claim_is_refuted_by_some_wrong_measurement(dataset):
    assert unrefuted(passing.claims, dataset) == []
