"""Every argument of everything public, given what it must not be, names itself in the error.

Nothing is computed: an argument is judged before the first trace.
"""

import collections
import re
import warnings

import jax
import numpy as np
import pytest

from tests.fuzz import calls

CHECKED = tuple(calls.PACKAGES)


def breach(name, argument, value):
    """Call with one wrong argument; say what is wrong with the answer, if anything is."""
    arguments = calls.valid_call(name) | {argument: value}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            calls.call(name, arguments)
        except (ValueError, TypeError) as error:
            words = set(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", str(error)))
            named = argument in words
            return None if named else f"{name}({argument}={value!r}) says {error!r:.200}"
        except Exception as error:
            return f"{name}({argument}={value!r}) raises {error!r:.200}"
    return f"{name}({argument}={value!r}) is accepted"


def everything(package):
    return [
        (name, argument, value)
        for name in calls.public()
        if name not in calls.SKIPPED and name.startswith(f"{package}.")
        for argument, _, wrong in calls.cases(name)
        for value in wrong
    ]


def test_every_public_name_has_a_valid_call():
    for name, function in calls.public().items():
        if name in calls.SKIPPED:
            continue
        known = set(calls.kinds_of(name)) | calls.NOT_OURS.get(name, set())
        unknown = {p.name for p in calls.parameters(function)} - known
        assert not unknown, f"say in tests/fuzz/calls.py what {unknown} of {name} are"
        calls.valid_call(name)


@pytest.mark.parametrize("package", CHECKED)
def test_wrong_arguments_are_named(package):
    breaches = [found for case in everything(package) if (found := breach(*case))]
    assert not breaches, "\n".join([f"{len(breaches)} breaches", *breaches])


@pytest.mark.nightly
def test_ten_thousand_wrong_arguments_are_named():
    rng = np.random.default_rng(0)
    varied = [
        (name, argument, kind)
        for name in calls.public()
        if name not in calls.SKIPPED and name.partition(".")[0] in CHECKED
        for argument, kind, _ in calls.cases(name)
    ]
    breaches, tried = [], collections.Counter()
    while tried.total() < 10_000:
        name, argument, kind = varied[rng.integers(len(varied))]
        tried[name] += 1
        if found := breach(name, argument, kind.draw(rng)):
            breaches.append(found)
    assert not breaches, "\n".join([f"{len(breaches)} breaches", *breaches])


@pytest.mark.nightly
def test_integers_of_numpy_are_integers(tmp_path):
    """They serve wherever Python's do, in the descriptions of checkpoints as well."""
    failures = []
    for name in calls.public():
        for argument, kind, _ in () if name in calls.SKIPPED else calls.cases(name):
            if not kind.is_integer:
                continue
            given = {argument: np.int64(2 if kind.make() is None else kind.make())}
            if name in ("saddle.escape", "saddle.find", "training.fit"):
                given["checkpoint"] = tmp_path / name / argument
            if name == "saddle.escape_to_disk":
                given["folder"] = tmp_path / name / argument
            if argument == "group_size":
                given["num_groups"] = None
            if argument == "minibatch":
                given["keys"] = jax.random.split(jax.random.key(0), 2)
            try:
                calls.call(name, calls.valid_call(name) | given)
            except Exception as error:
                failures.append(f"{name}({argument}={given[argument]!r}) raises {error!r:.200}")
    assert not failures, "\n".join(failures)
