"""Runs on disk: all of them or an error; on request what there is, with a warning."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_course import saddle
from jaxopt_course._engine import _crews as crews

RUNS = 300


class Interruption(Exception):
    pass


def begin(folder, **options):
    """Runs that take 1 to 1000 steps, so that some have ended long before others."""
    return saddle.escape_to_disk(
        lambda x: jnp.sum(x**2),
        optax.sgd(0.005),
        lambda key: jax.random.uniform(key, (1,)),
        jax.random.key(0),
        runs=RUNS,
        folder=folder,
        max_steps=1000,
        target_value=0.01,
        lanes=8,
        devices=jax.devices()[:1],
        **options,
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The folder of a batch that has ended, and of one that has not."""

    def interrupt(progress):
        if progress.ended > 50:
            raise Interruption

    keep = crews.Engine._keep

    def patient(engine, ended):
        kept = keep(engine, ended)
        if engine.ended > 50:  # Then nothing is done before the callback has interrupted it.
            assert engine._stop.wait(60)
        return kept

    whole, part = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("part")
    begin(whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crews, "_SECONDS_A_CALL", 0.001)
        patch.setattr(crews.Engine, "_keep", patient)
        with pytest.raises(Interruption):
            begin(part, callback=interrupt)
    return whole, part


def test_an_unfinished_batch_is_not_taken_for_a_whole_one(folders):
    whole, part = folders
    with pytest.raises(ValueError, match=rf"{part} holds \d+ of 300 runs: give the same call as b"):
        saddle.StoredRuns(part).load()
    assert saddle.StoredRuns(str(whole)).load().steps.shape == (RUNS,)


def test_on_request_there_is_what_has_ended_with_a_warning_of_what_is_missing(folders):
    whole, part = (saddle.StoredRuns(folder) for folder in folders)
    with pytest.warns(UserWarning, match=r"holds \d+ of 300 runs; missing are \d") as told:
        numbers, runs = part.load(partial=True)
    assert 50 < numbers.size < RUNS
    assert str(told[0].message).endswith(("to 299", " more"))
    assert f"holds {numbers.size} of 300" in str(told[0].message)
    assert np.all(np.diff(numbers) > 0)
    everyone, all_runs = whole.load(partial=True)
    assert everyone.tolist() == list(range(RUNS))
    jax.tree.map(
        np.testing.assert_array_equal, runs, jax.tree.map(lambda leaf: leaf[numbers], all_runs)
    )
    assert sorted(np.concatenate([numbers for numbers, _ in part.parts()])) == numbers.tolist()


def test_the_runs_of_processes_that_are_elsewhere_are_missed(folders, tmp_path):
    whole, _ = folders
    (tmp_path / "process-0-of-2").symlink_to(whole / "process-0-of-1")
    with pytest.raises(ValueError, match=r"holds 300 of 300 runs, and nothing of process-1-of-2"):
        saddle.StoredRuns(tmp_path).load()
    with pytest.warns(UserWarning, match=r"missing are all of process-1-of-2"):
        numbers, _ = saddle.StoredRuns(tmp_path).load(partial=True)
    assert numbers.size == RUNS


def test_damaged_results_are_left_out_on_request_and_computed_again_by_the_same_call(tmp_path):
    stored = begin(tmp_path)
    wanted = stored.load()
    (path,) = tmp_path.glob("process-0-of-1/ended-*.npz")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"{path.name} has .* bytes .* the same call as before"):
        stored.load()
    with (
        pytest.warns(UserWarning, match=path.name),
        pytest.raises(ValueError, match="holds no run that can be read"),
    ):
        stored.load(partial=True)
    with pytest.warns(UserWarning, match=rf"{path.name} .* its runs, 300 of 300, are computed ag"):
        begin(tmp_path)
    jax.tree.map(np.testing.assert_array_equal, stored.load(), wanted)
