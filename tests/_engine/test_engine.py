"""Lanes that are refilled, batches that are interrupted, killed and divided: the same bits."""

import itertools
import signal
import subprocess
import threading
import time
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_course import saddle, transforms
from jaxopt_course._engine import _batch as batch
from jaxopt_course._engine import _compiled as memory
from jaxopt_course._engine import _crews as crews
from jaxopt_course._streams import stream
from jaxopt_course.saddle import Stop
from jaxopt_course.saddle._escape_program import Limits, Start, trace_program
from tests._engine import octopus_batch
from tests.own_processes import run_together, start

SCRIPT = octopus_batch.__file__
RUNS = 4000


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A batch that nothing interrupted."""
    return octopus_batch.to_disk(tmp_path_factory.mktemp("whole"), RUNS, 60)


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_a_run_has_the_same_bits_in_whichever_lane_and_after_whomever(stored):
    whole = stored.load()
    assert set(whole.reason.tolist()) == {Stop.TARGET_VALUE}
    assert len(np.unique(whole.steps)) > 20  # lanes were given up at all times
    few = np.array([3, 500, RUNS - 1])

    own = stream(jax.random.key(0), "runs")

    def draw(number):
        """As the documentation of `escape_to_disk` has it."""
        for_start, for_noise = jax.random.split(jax.random.fold_in(own, number))
        return octopus_batch.OCTOPUS.init(for_start), for_noise

    alone = octopus_batch.in_memory(*jax.vmap(draw)(few))
    assert_same(alone, jax.tree.map(lambda leaf: leaf[few], whole))


@pytest.fixture(scope="module")
def refilled():
    """Runs of which most waited for a lane."""
    return octopus_batch.in_memory(*octopus_batch.starts(100), devices=jax.devices()[:1])


@pytest.mark.parametrize(
    ("runs", "devices", "callback"),
    [
        (5, 1, None),
        (16, 1, lambda progress: None),
        (32, 2, lambda progress: None),
        (27, 2, None),
    ],
)
def test_runs_that_all_have_a_lane_work_in_blocks_to_the_bits_of_others(
    runs, devices, callback, refilled
):
    progress = []
    here = jax.devices()[:devices]
    found = octopus_batch.in_memory(
        *octopus_batch.starts(runs), devices=here, callback=callback and progress.append
    )
    assert_same(found, jax.tree.map(lambda leaf: leaf[:runs], refilled))
    assert progress[-1][:2] == (runs, runs) if callback else not progress


@pytest.mark.parametrize("order", [(1, 2), (2, 1)], ids=["refilled first", "blocks first"])
def test_a_checkpoint_of_one_way_is_continued_in_the_other(order, tmp_path, monkeypatch, refilled):
    keep = crews.Engine._keep

    def interrupt(progress):
        if progress.steps > 20:
            assert progress.ended < 32
            raise Interruption

    def patient(engine, ended):
        kept = keep(engine, ended)
        if engine.progress.steps > 20:  # Nothing more is done before it is interrupted.
            assert engine._stop.wait(60)
        return kept

    batch = octopus_batch.starts(32)
    first, then = (jax.devices()[:devices] for devices in order)
    with monkeypatch.context() as patch:
        patch.setattr(crews, "_SECONDS_A_CALL", 0.0)  # A step a call, after the first few.
        patch.setattr(crews.Engine, "_keep", patient)
        with pytest.raises(Interruption):
            octopus_batch.in_memory(*batch, checkpoint=tmp_path, callback=interrupt, devices=first)
    resumed = octopus_batch.in_memory(*batch, checkpoint=tmp_path, devices=then)
    assert_same(resumed, jax.tree.map(lambda leaf: leaf[:32], refilled))


def test_a_block_whose_runs_have_ended_where_they_start_takes_no_step():
    seen = []
    runs = saddle.escape(
        lambda x: jnp.sum(x**2),
        optax.sgd(0.1),
        jnp.zeros((3, 2)),
        max_steps=100,
        target_value=1.0,
        lanes=4,
        callback=seen.append,
    )
    assert runs.counts() == {"TARGET_VALUE": 3}
    assert runs.steps.tolist() == [0, 0, 0]
    assert seen[-1].ended == 3
    assert seen[-1].steps == 0


def test_lanes_do_not_wait_for_the_slowest_run():
    # One run in ten takes 50 times as long as the others.
    seen = []
    starts = jnp.where(jnp.arange(4000) % 10 == 0, 1.0, 1e-2)[:, None]
    runs = saddle.escape(
        lambda x: jnp.sum(x**2),
        optax.sgd(0.005),
        starts,
        max_steps=2000,
        target_value=0.9e-4,
        lanes=8,
        devices=jax.devices()[:1],
        callback=seen.append,
    )
    steps = np.asarray(runs.steps)
    assert steps[0] > 50 * steps[1]
    assert seen[-1][:2] == (4000, 4000)
    assert 0.9 < seen[-1].useful <= 1
    # In blocks of 8, nearly all would be as slow as their slowest.
    in_blocks = steps.sum() / (8 * steps.reshape(-1, 8).max(axis=1).sum())
    assert in_blocks < 0.4


def program_of(limits=Limits(None, None, None), lanes=16):  # noqa: B008
    starts, keys = octopus_batch.starts(1)
    return trace_program(
        octopus_batch.OCTOPUS.fun,
        octopus_batch.rule,
        Start(jax.ShapeDtypeStruct(starts.shape[1:], starts.dtype), keys[0]),
        at=lambda: starts[0],
        limits=limits,
        max_steps=400,
        lanes=lanes,
    )


def never_compiled(rates=itertools.count(1)):  # noqa: B008
    """A rule with a rate of its own."""
    rate = 0.1 + next(rates) / 1000
    return lambda key: transforms.perturbed_gradient_descent(rate, 0.1, 0.1, 1, key=key)


class Interruption(Exception):
    """Stands for Ctrl-C or what a signal handler raises."""


def test_an_interrupted_batch_goes_on_to_the_same_bits_on_any_number_of_devices(
    stored, tmp_path, monkeypatch
):
    monkeypatch.setattr(crews, "_SECONDS_A_CALL", 0.005)
    ended = []

    def interrupt(progress):
        ended.append(progress.ended)
        raise Interruption

    for devices in (1, 2):
        with pytest.raises(Interruption):
            octopus_batch.to_disk(
                tmp_path, RUNS, 60, callback=interrupt, devices=jax.devices()[:devices]
            )
    assert ended == sorted(ended)
    assert ended[-1] < RUNS
    resumed = octopus_batch.to_disk(tmp_path, RUNS, 60)
    assert_same(resumed.load(), stored.load())


def test_a_pause_leaves_no_more_crews_than_devices():
    limits = Limits(octopus_batch.TO_THE_MINIMUM["target_value"], None, None)
    source = batch.Batch(Start(*octopus_batch.starts(2000)))
    engine = crews.Engine(program_of(limits), source, range(2000), tuple(jax.devices()[:2]))
    pauses = 0
    while not engine.finished:
        engine.work(seconds=0.01)
        pauses += 1
        assert len(engine.crews) <= 2
        assert engine.whole
    assert pauses > 2
    # Two crews at work on what is dealt in pieces leave few steps unused, pauses or not.
    assert engine.progress.useful > 0.85


def test_however_little_time_there_is_something_is_done_in_it():
    source = batch.Batch(Start(*octopus_batch.starts(64)))
    engine = crews.Engine(program_of(), source, range(64), tuple(jax.devices()[:1]))
    for _ in range(3):
        before = engine._lane_steps
        engine.work(seconds=0)
        assert engine._lane_steps > before


@pytest.mark.parametrize(
    ("limits", "at_work"), [({}, 2), ({"epsilon": 0.01, "hessian_lipschitz": 1.0}, 1)]
)
def test_the_program_is_compiled_once_a_device(limits, at_work, caplog, monkeypatch):
    """The check of memory compiles what is called afterwards, not something of the kind."""
    starts, keys = octopus_batch.starts(4)
    employ, arrived = crews.Engine._employ, set()

    def together(engine, crew, device, enough):
        # No device begins before each has runs and its program: the first could take all of them.
        arrived.add(device)
        until = time.monotonic() + 60
        while len(arrived) < engine._at_work and time.monotonic() < until:
            time.sleep(0.01)
        employ(engine, crew, device, enough)

    monkeypatch.setattr(crews.Engine, "_employ", together)
    jax.config.update("jax_log_compiles", True)  # in all threads, unlike the context manager
    try:
        for devices in (1, 2):
            caplog.clear()
            arrived.clear()
            saddle.escape(
                octopus_batch.OCTOPUS.fun,
                never_compiled(),
                starts,
                keys,
                max_steps=100,
                lanes=2,
                devices=tuple(jax.devices()[:devices]),
                **limits,
            )
            compiled = [line for line in caplog.messages if "compilation of jit(_advance)" in line]
            assert len(compiled) == min(devices, at_work)
    finally:
        jax.config.update("jax_log_compiles", False)


@pytest.fixture
def logged(caplog):
    """The devices for which `advance` was compiled since the last look."""
    jax.config.update("jax_log_compiles", True)  # in all threads, unlike the context manager

    def so_far():
        return sum("compilation of jit(_advance)" in line for line in caplog.messages)

    def compiled():
        found = so_far()
        caplog.clear()
        return found

    compiled.so_far = so_far
    yield compiled
    jax.config.update("jax_log_compiles", False)


def compiled_in(seconds, monkeypatch):
    """Let every program say that it took so long to compile."""
    compile_ = memory._compile

    def lasting(*of):
        found = compile_(*of)
        return found._replace(needs=found.needs._replace(seconds=seconds))

    monkeypatch.setattr(memory, "_compile", lasting)
    monkeypatch.setattr(memory, "_known", {})


@pytest.mark.parametrize("callback", [None, lambda progress: None], ids=["at leisure", "told"])
def test_a_batch_whose_devices_nobody_named_is_compiled_for_the_first(
    callback, monkeypatch, logged
):
    compiled_in(np.inf, monkeypatch)
    # On two devices, too, some runs wait for a lane: else they would be another program's.
    rule, batch = never_compiled(), octopus_batch.starts(48)
    options = {"max_steps": 400, "lanes": 16, "callback": callback}
    escape = partial(saddle.escape, octopus_batch.OCTOPUS.fun, rule, *batch, **options)
    alone = escape()
    assert logged() == 1
    employ = crews.Engine._employ

    def behind(engine, crew, device, enough):
        # The first has its program and could take all runs while the second compiles its own.
        until = time.monotonic() + 60
        while device == jax.devices()[0] and not logged.so_far() and time.monotonic() < until:
            time.sleep(0.01)
        employ(engine, crew, device, enough)

    monkeypatch.setattr(crews.Engine, "_employ", behind)
    both = escape(devices=tuple(jax.devices()[:2]))
    assert logged() == 1
    assert_same(alone, both)


@pytest.mark.parametrize("callback", [None, lambda progress: None], ids=["at leisure", "told"])
@pytest.mark.parametrize("after", [0, 1, 4])
def test_other_devices_join_a_batch_that_takes_long(callback, after, monkeypatch):
    looks, second = itertools.count(), threading.Event()
    employ, keep = crews.Engine._employ, crews.Engine._keep

    def announced(engine, crew, device, enough):
        if device == jax.devices()[1]:
            second.set()
        employ(engine, crew, device, enough)

    def patient(engine, ended):
        if engine._called.is_set():  # Then nobody goes on before both devices are there.
            assert second.wait(60)
        return keep(engine, ended)

    options = {"max_steps": 4000, "lanes": 16}
    escape = partial(
        saddle.escape,
        octopus_batch.OCTOPUS.fun,
        octopus_batch.rule,
        *octopus_batch.starts(32),
        **options,
    )
    named = escape(devices=tuple(jax.devices()[:1]))
    monkeypatch.setattr(crews.Engine, "_is_alone", lambda engine: next(looks) < after)
    monkeypatch.setattr(crews.Engine, "_employ", announced)
    monkeypatch.setattr(crews.Engine, "_keep", patient)
    assert_same(escape(callback=callback), named)
    assert second.is_set()


def test_devices_join_after_the_time_of_a_compilation_or_at_once_where_they_have_theirs(
    monkeypatch,
):
    compiled_in(3.0, monkeypatch)
    now = [0.0]
    monkeypatch.setattr(crews, "time", SimpleNamespace(monotonic=lambda: now[0]))
    source = batch.Batch(Start(*octopus_batch.starts(64)))
    program = program_of(Limits(None, None, None), lanes=4)
    alone = []
    for seconds in (0.0, 2.9, 3.1):
        engine = crews.Engine(program, source, range(8), tuple(jax.devices()[:2]), one_first=True)
        engine._at_work = 2
        now[0] = 0.0
        engine._is_alone()
        now[0] = seconds
        alone.append(engine._is_alone())
    assert alone == [True, True, False]
    engine._loop.needs(jax.devices()[1])
    engine = crews.Engine(program, source, range(8), tuple(jax.devices()[:2]), one_first=True)
    engine._at_work = 2
    assert not engine._is_alone()


@pytest.mark.parametrize("runs", [64, 32])
def test_where_lapack_divides_its_batches_one_cpu_device_works(runs):
    source = batch.Batch(Start(*octopus_batch.starts(64)))
    for limits, working in ((Limits(None, None, None), 2), (Limits(None, 0.1, 1.0), 1)):
        engine = crews.Engine(program_of(limits), source, range(runs), tuple(jax.devices()[:2]))
        assert len(engine._devices_at_work()) == working
        # On one device half of the 32 runs wait for a lane.
        assert (engine._loop.size == 16) == (runs == 32 and working == 2)


def test_every_device_has_work_to_the_end():
    source = batch.Batch(Start(*octopus_batch.starts(1)))
    for runs in (32, 64, 1000):
        engine = crews.Engine(program_of(), source, range(runs), tuple(jax.devices()[:2]))
        dealt = list(iter(lambda engine=engine: len(engine._deal()), 0))
        assert sum(dealt) == runs
        before = np.cumsum([0, *dealt[:-1]])
        # Whoever is dealt runs leaves as many to the others, until the last lanes are filled.
        assert all(n <= max(16, (runs - b) / 2) for n, b in zip(dealt, before, strict=True))
        assert max(dealt) == (16 if runs < 100 else 128)


def test_a_finished_batch_is_read_and_not_computed_again(stored, monkeypatch):
    monkeypatch.setattr(crews.Engine, "_employ", None)
    assert_same(octopus_batch.to_disk(stored.folder, RUNS, 60).load(), stored.load())


def test_a_batch_in_memory_goes_on_from_its_checkpoint(tmp_path):
    def interrupt(progress):
        raise Interruption

    with pytest.raises(Interruption):
        octopus_batch.in_memory(
            *octopus_batch.starts(300), checkpoint=tmp_path, callback=interrupt, record_every=100
        )
    assert (tmp_path / "process-0-of-1").is_dir()
    resumed = octopus_batch.in_memory(
        *octopus_batch.starts(300), checkpoint=tmp_path, record_every=100
    )
    assert_same(resumed, octopus_batch.in_memory(*octopus_batch.starts(300), record_every=100))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runs": RUNS - 1}, "runs = 4000, this one has 3999"),
        ({"lanes": 8}, "lanes = 16, this one has 8"),
        ({"target_value": -1.0}, "target_value = .*, this one has -1.0"),
        ({"key": jax.random.key(1)}, r"key = \[0, 0\], this one has \[0, 1\]"),
    ],
    ids=["runs", "lanes", "target", "key"],
)
def test_a_checkpoint_of_another_batch_is_refused(stored, changes, message):
    with pytest.raises(ValueError, match=message):
        octopus_batch.to_disk(stored.folder, every=60, **{"runs": RUNS} | changes)


def test_a_checkpoint_of_more_processes_is_refused(tmp_path):
    (tmp_path / "process-1-of-4").mkdir()
    with pytest.raises(ValueError, match="has process-1-of-4, this batch has 1 processes"):
        octopus_batch.in_memory(*octopus_batch.starts(10), checkpoint=tmp_path)


def test_what_is_no_checkpoint_is_said_to_be_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        saddle.StoredRuns(tmp_path).load()


def test_starts_without_a_finite_gradient_end_at_once_and_harm_nobody(tmp_path):
    def fun(x):
        return jnp.sum(x**1.5)

    stored = saddle.escape_to_disk(
        fun,
        optax.sgd(1e-4),
        lambda key: jax.random.normal(key, (1,)),
        jax.random.key(0),
        runs=100,
        folder=tmp_path,
        max_steps=10,
        lanes=8,
    )
    runs = stored.load()
    diverged = runs.reason == Stop.DIVERGED
    assert 30 < diverged.sum() < 70
    assert np.all(runs.steps[diverged] == 0)
    assert np.all(runs.steps[~diverged] == 10)
    assert np.all(np.isfinite(runs.value[~diverged]))


def test_too_many_lanes_are_refused_before_anything_runs(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda device: 2**14)
    monkeypatch.setattr(memory, "_NEGLIGIBLE", 2**14)
    monkeypatch.setattr(crews.Engine, "_employ", None)
    with pytest.raises(MemoryError, match=r"lanes=256 need .* GiB on .* free; lanes=\d+ would fit"):
        octopus_batch.in_memory(*octopus_batch.starts(10), lanes=256)


@pytest.mark.parametrize(
    ("free", "cure"),
    [(100, None), (99, "lanes=32 would fit"), (60, "lanes=32 would fit"), (1, "not even one lane")],
)
def test_the_lanes_that_would_fit_are_named(free, cure):
    device = jax.devices()[0]
    if cure is None:
        memory.check_that_it_fits(100, 64, device, free)
        return
    with pytest.raises(MemoryError, match=cure):
        memory.check_that_it_fits(100, 64, device, free)


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.nightly)])
def test_a_batch_that_is_killed_again_and_again_ends_with_the_same_bits(tmp_path, kills):
    runs = 100 * (kills + 10)
    random = np.random.default_rng(0)
    for _ in range(kills):
        with start(SCRIPT, tmp_path / "killed", "--runs", runs, "--every", 0.02) as process:
            process.stdout.readline()  # it works
            try:
                process.wait(random.uniform(0, 0.3))
            except subprocess.TimeoutExpired:
                process.kill()
    resumed = octopus_batch.to_disk(tmp_path / "killed", runs, 60)
    whole = octopus_batch.to_disk(tmp_path / "whole", runs, 60)
    assert_same(resumed.load(), whole.load())


def test_sigterm_leaves_a_checkpoint_and_exits_with_status_75(stored, tmp_path):
    with start(SCRIPT, tmp_path, "--runs", RUNS, "--every", 3600) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        output = process.communicate(timeout=60)[0]
    assert process.returncode == 75, output
    assert_same(octopus_batch.to_disk(tmp_path, RUNS, 60).load(), stored.load())


@pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.nightly)])
def test_several_processes_get_the_bits_of_one(tmp_path, processes):
    runs = 2 * processes + 51  # shares of different sizes
    run_together(SCRIPT, tmp_path, "--runs", runs, processes=processes)
    on_disk = saddle.StoredRuns(tmp_path / "disk").load()  # of all processes
    assert_same(on_disk, octopus_batch.to_disk(tmp_path / "one", runs, 60).load())
    one = octopus_batch.arrays(octopus_batch.in_memory(*octopus_batch.starts(runs)))
    for process in range(processes):
        with np.load(tmp_path / f"results-{process}.npz") as found:
            assert_same({name: found[name] for name in one}, one)
