"""Batches in an experiment: numbered checkpoints, which an interrupted one goes on from."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from experiments.lab import resumable
from jaxopt_course import saddle
from jaxopt_course._engine import _batch
from jaxopt_course.nn import MLP

SGD = optax.sgd(0.1)


def bowl(x):
    return jnp.sum(x**2)


def double_well(x):
    return jnp.sum((x**2 - 1) ** 2)


def escape(scale, **options):
    return resumable.escape(bowl, SGD, scale * jnp.ones((20, 2)), max_steps=200, **options)


class Interruption(Exception):
    pass


def test_outside_an_experiment_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resumable.folder() is None
    assert escape(1.0).steps.tolist() == [200] * 20
    assert not list(tmp_path.iterdir())


def test_a_census_has_a_folder_too(tmp_path, monkeypatch):
    def interrupt(progress):
        raise Interruption

    def find(**options):
        return find_of_library(*options.pop("arguments"), **options | {"callback": interrupt})

    find_of_library = saddle.find
    starts = jnp.linspace(-2, 2, 30)[:, None]
    with monkeypatch.context() as patch, resumable.into(tmp_path / "kept"):
        patch.setattr(saddle, "find", lambda *arguments, **more: find(arguments=arguments, **more))
        with pytest.raises(Interruption):
            resumable.find(double_well, starts)
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["000"]
    with resumable.into(tmp_path / "kept"):
        census = resumable.find(double_well, starts)
    assert census.point.index.tolist() == [0, 0, 1]


def test_a_training_has_a_folder_too(tmp_path):
    inputs = jax.random.normal(jax.random.key(0), (20, 2))
    labels = (inputs[:, 0] > 0).astype(int)
    fitted = []
    for _ in range(2):
        with resumable.into(tmp_path / "kept"):
            fitted.append(
                resumable.fit(
                    lambda key: MLP((2, 3, 2), rngs=nnx.Rngs(key)),
                    SGD,
                    (inputs, labels),
                    jax.random.split(jax.random.key(1), 2),
                    epochs=2,
                    batch_size=10,
                ).history["loss"]
            )
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["000"]
    assert fitted[0].shape == (2, 2)
    np.testing.assert_array_equal(*fitted)


def test_folders_are_numbered_in_the_order_of_the_batches(tmp_path):
    with resumable.into(tmp_path / "kept"):
        assert [resumable.folder().name for _ in range(2)] == ["000", "001"]
    with resumable.into(tmp_path / "kept"):
        assert resumable.folder().name == "000"


def test_an_interrupted_experiment_goes_on_with_the_batch_it_was_at(tmp_path, monkeypatch):
    kept, escape_of_library = tmp_path / "kept", saddle.escape
    monkeypatch.setattr(_batch, "_WORTH_KEEPING", 1000.0)  # seconds, however busy the machine

    def interrupt(progress):
        raise Interruption

    def interrupted(*arguments, **options):
        return escape_of_library(*arguments, **options | {"callback": interrupt})

    def experiment():
        escape(1.0)
        with monkeypatch.context() as patch:
            patch.setattr(saddle, "escape", interrupted)
            escape(2.0)

    with pytest.raises(Interruption), resumable.into(kept):
        experiment()
    # The first batch was not worth keeping; the second was written when it was stopped.
    assert [path.name for path in kept.iterdir()] == ["001"]
    with resumable.into(kept):
        assert escape(1.0).steps.tolist() == [200] * 20
        with pytest.raises(ValueError, match="of a batch with starts = "):
            escape(3.0)  # another batch than the second was
    resumable.forget(kept)
    assert not list(tmp_path.iterdir())
    resumable.forget(kept)  # there is none, and that is all right
