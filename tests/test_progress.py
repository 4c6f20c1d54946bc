"""Bars tell compiling from running, and change nothing of what is computed."""

import importlib.util
import io
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from rich.console import Console

from jaxopt_course import _progress, saddle, training
from jaxopt_course._checks import is_key
from jaxopt_course._engine._crews import Progress
from jaxopt_course.nn import MLP

KEY = jax.random.key(0)
POINT = jnp.linspace(0.5, 1, 200)


def quadratic(x):
    return jnp.linspace(1, 2, 200) @ x**2 / 2


def train(**options):
    data = (jnp.linspace(-1, 1, 8)[:, None], jnp.arange(8) % 2)
    return training.fit(
        lambda key: MLP((1, 2, 2), rngs=nnx.Rngs(key)),
        optax.sgd(0.1),
        data,
        jax.random.split(KEY, 2),
        epochs=3,
        batch_size=4,
        **options,
    )


def escape(**options):
    starts = jnp.ones((3, 2))
    return saddle.escape(lambda x: x @ x, optax.sgd(0.1), starts, max_steps=20, **options)


def find(**options):
    starts = jnp.ones((3, 2))
    return saddle.find(lambda x: jnp.sum((x**2 - 1) ** 2), starts, method="newton", **options)


CALLS = {
    "escape": (escape, "3 of 3 runs"),
    "find": (find, "3 of 3 runs"),
    "fit": (train, "3 of 3 epochs of 2 networks"),
    "extreme_eigenpairs": (
        partial(saddle.extreme_eigenpairs, quadratic, POINT, key=KEY),
        "products, residual",
    ),
    "classify": (partial(saddle.classify, quadratic, POINT, method="lanczos"), "products"),
    "trace": (
        partial(saddle.trace, quadratic, POINT, num_probes=7, key=KEY, method="hutch++"),
        "7 of 7 products",
    ),
    "diagonal": (
        partial(saddle.diagonal, quadratic, POINT, num_probes=3, key=KEY),
        "3 of 3 products",
    ),
    "spectral_density": (
        partial(saddle.spectral_density, quadratic, POINT, num_steps=4, num_probes=2, key=KEY),
        "8 of 8 products",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_long_call_shows_what_it_does_and_gives_what_it_gives_without(name, capsys):
    call, told = CALLS[name]
    heard = []
    result = call(progress=True, callback=heard.append)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"{name}: compiling"
    assert told in lines[-1]
    assert "of it compiling" in lines[-1]
    assert heard  # a callback is told as ever
    for left, right in zip(jax.tree.leaves(result), jax.tree.leaves(call()), strict=True):
        if isinstance(left, np.ndarray | jax.Array) and not is_key(left):
            np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-4)


def test_runs_on_disk_have_a_bar_too(tmp_path, capsys):
    def draw(key):
        return jax.random.normal(key, (2,))

    sgd = optax.sgd(0.1)
    options = {"runs": 5, "folder": tmp_path, "max_steps": 9}
    saddle.escape_to_disk(lambda x: x @ x, sgd, draw, KEY, progress=True, **options)
    assert "escape_to_disk: 5 of 5 runs, done in" in capsys.readouterr().err


def test_a_dense_hessian_is_called_so(capsys):
    saddle.classify(lambda x: x @ x, jnp.zeros(3), progress=True)
    shown = capsys.readouterr().err
    assert "classify: the dense Hessian of 3 parameters" in shown
    assert "of it compiling" not in shown


def test_a_terminal_gets_one_line_with_the_time_that_is_left(monkeypatch):
    console = Console(file=io.StringIO(), force_terminal=True, width=110)
    monkeypatch.setattr("rich.console.Console", lambda **_: console)
    with _progress.Bar("escape", None, unit="runs", limit=100) as bar:
        bar(Progress(0, 10, 0.0))
        assert "compiling" in shown(bar, console)
        bar(Progress(0, 10, 1.0, steps=20.0, compiled=True))
        assert "running" in shown(bar, console)
        (task,) = bar._display._drawn.tasks
        assert task.completed == 0.2  # none has ended, and all will have after 100 steps
        bar(Progress(5, 10, 1.0, steps=25.0, compiled=True))
        assert task.completed == 0.5
        assert "5 of 10 runs" in shown(bar, console)
    assert "done in 0:00:00" in console.file.getvalue()


def test_epochs_are_said_to_be_those_of_all_networks(capsys):
    with _progress.Bar("fit", None, unit="epochs", limit=10) as bar:
        bar(Progress(1, 4, 1.0, steps=3.0, compiled=True))
    assert "fit: 3 of 10 epochs of 4 networks, 1 of them ended" in capsys.readouterr().err


def shown(bar, console):
    bar._display._drawn.refresh()
    return console.file.getvalue()


def test_progress_is_true_or_false_and_not_for_traced_functions(monkeypatch):
    with pytest.raises(TypeError, match="progress must be True or False, got 1"):
        escape(progress=1)
    with pytest.raises(ValueError, match="progress must be False within a traced function"):
        jax.vmap(lambda x: saddle.classify(quadratic, x, progress=True))(jnp.ones((2, 200)))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'jaxopt_course\[progress\]'"):
        escape(progress=True)
