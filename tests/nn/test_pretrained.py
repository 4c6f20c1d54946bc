import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx

from jaxopt_course import nn


class Net(nnx.Module):
    """A body with state and a head of a size to choose."""

    def __init__(self, classes, seed, dtype=jnp.float32):
        rngs = nnx.Rngs(seed)
        options = {"kernel_init": nn.scaled_normal(1.0), "rngs": rngs, "param_dtype": dtype}
        self.body = nnx.List(
            [nnx.Linear(4, 6, **options), nn.BatchNorm(6, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)]
        )
        self.normed = nn.WeightNorm(nnx.Linear(6, 6, **options), rngs=rngs)
        self.head = nnx.Linear(6, classes, bias_init=nn.scaled_normal(1.0), **options)


BODY = {
    "body/0/bias",
    "body/0/kernel",
    "body/1/bias",
    "body/1/mean",
    "body/1/scale",
    "body/1/var",
    "normed/layer_instance/bias",
    "normed/layer_instance/kernel",
    "normed/scales/('kernel',)",
}


def saved(folder, tree):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "weights", tree)
    return folder / "weights"


@pytest.fixture
def source():
    net = Net(classes=3, seed=1)
    net.body[1].mean[...] = jnp.arange(6.0)
    return net


def weights_of(net):
    return nnx.state(net, (nnx.Param, nnx.BatchStat))


@pytest.mark.parametrize("form", ["state", "dictionary"])
def test_every_leaf_comes_back_in_either_form(form, source, tmp_path):
    state = weights_of(source)
    path = saved(tmp_path, state if form == "state" else nnx.to_pure_dict(state))
    model = Net(classes=3, seed=2)
    report = nn.from_pretrained(model, path)
    assert set(report.taken) == BODY | {"head/kernel", "head/bias"}
    assert report.taken == {name: name for name in report.taken}
    assert (report.fresh, report.mismatched, report.unused) == ((), {}, ())
    jax.tree.map(np.testing.assert_array_equal, weights_of(model), weights_of(source))


def test_a_head_of_another_size_stays_fresh_and_is_reported(source, tmp_path):
    path = saved(tmp_path, weights_of(source))
    model, fresh = Net(classes=5, seed=2), Net(classes=5, seed=2)
    report = nn.from_pretrained(model, path)
    assert set(report.taken) == BODY
    assert report.mismatched == {"head/kernel": ((6, 5), (6, 3)), "head/bias": ((5,), (3,))}
    assert set(report.unused) == {"head/kernel", "head/bias"}
    np.testing.assert_array_equal(model.head.kernel[...], fresh.head.kernel[...])
    np.testing.assert_array_equal(model.body[0].kernel[...], source.body[0].kernel[...])
    assert "9 leaves taken, 2 kept fresh, 2 of the checkpoint unused" in str(report)
    assert "head/kernel  has shape (6, 5), in the checkpoint (6, 3)" in str(report)


def test_a_regular_expression_must_match_the_whole_path(source, tmp_path):
    path = saved(tmp_path, weights_of(source))
    model, fresh = Net(classes=3, seed=2), Net(classes=3, seed=2)
    report = nn.from_pretrained(model, path, match=r"body/\d+/kernel|head/.*")
    assert set(report.taken) == {"body/0/kernel", "head/kernel", "head/bias"}
    assert set(report.fresh) == BODY - {"body/0/kernel"}
    np.testing.assert_array_equal(model.body[0].bias[...], fresh.body[0].bias[...])
    np.testing.assert_array_equal(model.head.bias[...], source.head.bias[...])
    with pytest.raises(ValueError, match=r"match must take at least one leaf, took none of body/0"):
        nn.from_pretrained(model, path, match="body")


def test_a_function_says_where_a_leaf_is_to_come_from(source, tmp_path):
    other = {"step": np.array(3), "network": nnx.to_pure_dict(weights_of(source))}
    path = saved(tmp_path, other)
    model = Net(classes=3, seed=2)

    def match(name):
        return f"network/{name}" if name.startswith("body") else name == "head/bias"

    report = nn.from_pretrained(model, path, match=match)
    assert report.taken["body/0/kernel"] == "network/body/0/kernel"
    assert "head/bias" in report.fresh
    assert "step" in report.unused
    np.testing.assert_array_equal(model.body[1].mean[...], source.body[1].mean[...])


def test_random_streams_are_not_touched(source, tmp_path):
    path = saved(tmp_path, weights_of(source))
    model = Net(classes=3, seed=2)
    before = jax.random.key_data(model.body[2].rngs.key[...])
    nn.from_pretrained(model, path)
    np.testing.assert_array_equal(jax.random.key_data(model.body[2].rngs.key[...]), before)


def test_values_take_the_dtype_and_devices_of_what_they_replace(source, tmp_path):
    path = saved(tmp_path, weights_of(source))
    model = Net(classes=3, seed=2, dtype=jnp.bfloat16)
    mesh = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    placed = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(None, "d"))
    model.body[0].kernel.set_value(jax.device_put(model.body[0].kernel[...], placed))
    nn.from_pretrained(model, path)
    kernel = model.body[0].kernel[...]
    assert kernel.dtype == jnp.bfloat16
    assert kernel.sharding == placed
    np.testing.assert_array_equal(kernel, source.body[0].kernel[...].astype(jnp.bfloat16))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        nn.from_pretrained(Net(classes=3, seed=0), tmp_path / "nowhere")
