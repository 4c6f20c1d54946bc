"""The config of every experiment: any values of its fields are taken or refused by name.

What is taken is a value of the dataclass, whose folder has a safe name and which JSON can hold;
nothing is run here.
"""

import dataclasses
import json
import re
import types
import typing
from pathlib import Path

import pytest
from hypothesis import strategies as st

from experiments.lab import registry, store
from tests.fuzz.harness import Entry, fuzz
from tests.fuzz.strategies import Kind

NAMES = list(registry.experiments())
ODD = {
    int: st.one_of(st.sampled_from((0, -1, 1, 2**70, -(2**70))), st.integers()),
    float: st.one_of(st.sampled_from((0.0, -1.0, 1e308, 5e-324)), st.floats(), st.integers()),
    str: st.one_of(
        st.sampled_from(("", "../up", "/root", "nul\0", "x" * 400)), st.text(max_size=9)
    ),
    bool: st.booleans(),
    type(None): st.none(),
}


def values_of(kind):
    """What the command line lets through for a field of this type: any value of it."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return st.sampled_from(inner)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*map(values_of, inner))
    if origin is tuple and inner[-1:] == (...,):
        return st.lists(values_of(inner[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values_of, inner))
    return ODD[kind]


def entry(name):
    config_class = registry.find(name).load().Config
    preset = registry.make_preset(config_class, registry.presets(config_class)[0])
    types_ = typing.get_type_hints(config_class)
    kinds = {
        field.name: Kind(st.just(getattr(preset, field.name)), values_of(types_[field.name]))
        for field in dataclasses.fields(config_class)
    }
    return Entry(config_class, kinds, stored)


def stored(config, arguments, data, sane):
    """Whatever was accepted has a folder of its own inside the results, and goes into JSON."""
    out = Path("results")
    folder = store.folder_of(out, "name", config)
    assert folder.parent == out / "name"
    assert re.fullmatch(r"[a-z_0-9]+", folder.name)
    assert store.folder_of(out, "name", config) == folder
    assert isinstance(json.dumps(store.plain(config)), str)


def test_there_are_experiments():
    assert len(NAMES) > 20


@pytest.mark.parametrize("name", NAMES)
def test_configs_are_taken_or_refused_by_name(name):
    fuzz(entry(name), 4)


@pytest.mark.nightly
@pytest.mark.parametrize("name", NAMES)
def test_many_configs(name):
    fuzz(entry(name), 150, derandomize=False)
