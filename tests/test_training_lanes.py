"""Trainings that take turns in lanes, are interrupted, continued and divided: the same bits."""

import jax
import numpy as np
import pytest

from jaxopt_course._engine import _compiled as memory
from tests import spirals_batch
from tests.own_processes import run_together


@pytest.fixture(scope="module")
def whole():
    """Five epochs that nothing interrupted, on one device."""
    return spirals_batch.arrays(spirals_batch.fit())


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name], err_msg=name)


class Interruption(Exception):
    """Stands for Ctrl-C or what a signal handler raises."""


def interrupt(epochs):
    raise Interruption


def test_a_run_has_the_same_bits_on_whichever_device_and_after_whomever(whole):
    assert_same(whole, spirals_batch.arrays(spirals_batch.fit(devices=jax.devices()[:2])))


def test_lanes_of_diverged_runs_are_given_to_others():
    """Run 1 diverges in the first epoch; run 2 begins while run 0 has epochs to go."""
    seen = []
    fitted = spirals_batch.fit(
        callback=lambda told: seen.append(
            dict(zip(told.run.tolist(), told.epoch.tolist(), strict=True))
        )
    )
    assert fitted.runs.diverged.tolist() == [False, True, False, False, False]
    assert seen[:2] == [{0: 1, 1: 1}, {0: 2, 2: 1}]
    # 4 x 5 epochs and one in vain, 2 at a time: 10.5 steps, of which a last run alone takes some.
    assert sum(map(len, seen)) == 21
    assert len(seen) <= 13


def test_every_epoch_of_every_run_is_told_once_with_what_the_history_has():
    told = []
    fitted = spirals_batch.fit(callback=told.append, devices=jax.devices()[:2])
    assert told[-1].ended == told[-1].runs == 5
    seen = {}
    for epochs in told:
        assert sorted(epochs.run) == epochs.run.tolist()
        for place, at in enumerate(zip(epochs.run.tolist(), epochs.epoch.tolist(), strict=True)):
            assert at not in seen
            seen[at] = {name: values[place] for name, values in epochs.record.items()}
    assert len(seen) == 21
    for (run, epoch), record in seen.items():
        for name, value in record.items():
            np.testing.assert_array_equal(value, fitted.history[name][run, epoch - 1])


def test_an_interrupted_training_goes_on_to_the_same_bits_on_any_number_of_devices(whole, tmp_path):
    for devices in (1, 3, 2):
        with pytest.raises(Interruption):
            spirals_batch.fit(
                checkpoint=tmp_path, callback=interrupt, devices=jax.devices()[:devices]
            )
    assert_same(whole, spirals_batch.arrays(spirals_batch.fit(checkpoint=tmp_path)))


def test_a_training_without_lanes_given_goes_on_with_those_of_its_checkpoint(whole, tmp_path):
    with pytest.raises(Interruption):
        spirals_batch.fit(checkpoint=tmp_path, callback=interrupt)
    resumed = spirals_batch.fit(checkpoint=tmp_path, lanes=None)  # otherwise five
    assert_same(whole, spirals_batch.arrays(resumed))
    with pytest.raises(ValueError, match="with lanes = 2, this one has 3"):
        spirals_batch.fit(checkpoint=tmp_path, lanes=3)


@pytest.mark.parametrize("callback", [None, interrupt], ids=["finished", "interrupted"])
def test_more_epochs_continue_a_shorter_training(whole, tmp_path, callback):
    try:
        spirals_batch.fit(2, checkpoint=tmp_path, callback=callback)
    except Interruption:
        assert callback is interrupt
    epochs = set()
    longer = spirals_batch.fit(
        5, checkpoint=tmp_path, callback=lambda told: epochs.update(told.epoch.tolist())
    )
    assert_same(whole, spirals_batch.arrays(longer))
    # One epoch of two runs, and those that wait, were still to do in the one that was interrupted.
    assert epochs == ({3, 4, 5} if callback is None else {1, 2, 3, 4, 5})
    assert [path.name for path in tmp_path.iterdir()] == ["epochs-5"]
    with pytest.raises(ValueError, match="epochs must be at least the 5 of checkpoint"):
        spirals_batch.fit(4, checkpoint=tmp_path)


def test_a_finished_training_is_read_and_not_computed_again(whole, tmp_path):
    spirals_batch.fit(checkpoint=tmp_path)
    again = spirals_batch.fit(checkpoint=tmp_path, callback=interrupt)
    assert_same(whole, spirals_batch.arrays(again))


def test_more_epochs_than_a_history_holds_at_first_continue_it(tmp_path):
    """64 fit into the shortest."""
    spirals_batch.fit(2, checkpoint=tmp_path)
    longer = spirals_batch.fit(70, checkpoint=tmp_path)
    assert_same(spirals_batch.arrays(longer), spirals_batch.arrays(spirals_batch.fit(70)))


def test_too_many_lanes_are_refused_before_anything_runs(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda device: 2**20)
    monkeypatch.setattr(memory, "_NEGLIGIBLE", 2**20)
    with pytest.raises(MemoryError, match=r"lanes=256 need .* GiB on .* free; lanes=\d+ would fit"):
        spirals_batch.fit(lanes=256)


def test_two_processes_get_the_bits_of_one(whole, tmp_path):
    run_together(spirals_batch.__file__, tmp_path, processes=2)
    for process in range(2):
        with np.load(tmp_path / f"results-{process}.npz") as found:
            assert_same(whole, dict(found))
