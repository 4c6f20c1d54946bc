import dataclasses
import typing

import pytest

from experiments.lab import cli, commands, fields, registry, store


def test_experiments_are_the_modules_that_define_a_config(toys):
    assert list(registry.experiments(toys)) == ["other", "toy"]


def test_the_docstring_gives_claim_section_and_cost(toys):
    toy = registry.find("toy", toys)
    assert toy.claim == "A toy's sum is what arithmetic says."
    assert toy.section == "Toys"
    assert toy.cost == "quick 0 s; paper 1 s"


def test_presets_and_fields_are_read_without_importing(toys):
    toy = registry.find("toy", toys)
    assert toy.sizes == {"quick": "Three numbers.", "paper": ""}
    assert toy.fields == ("size", "expected", "seed")


def test_unknown_names_suggest_the_nearest_and_only_if_there_is_one(toys):
    with pytest.raises(registry.UnknownNameError, match="did you mean 'other'"):
        registry.find("othr", toys)
    with pytest.raises(registry.UnknownNameError) as caught:
        registry.find("zzz", toys)
    assert "did you mean" not in str(caught.value)


def test_presets_are_the_public_classmethods(toys):
    config_class = registry.find("toy", toys).load().Config
    assert registry.presets(config_class) == ["quick", "paper"]
    with pytest.raises(registry.UnknownNameError, match="did you mean 'paper'"):
        registry.make_preset(config_class, "papper")


@pytest.mark.parametrize("name", list(registry.experiments()))
def test_every_experiment_keeps_the_contract(name):
    experiment = registry.find(name)
    assert experiment.claim.endswith(".")
    assert experiment.section
    assert experiment.cost
    assert all(experiment.sizes.values())
    assert experiment.last_result
    assert f"python -m experiments run {name}" in experiment.description
    module = experiment.load()
    assert list(experiment.sizes) == registry.presets(module.Config)
    assert experiment.fields == tuple(field.name for field in dataclasses.fields(module.Config))
    order = [list(vars(module)).index(part) for part in ("Config", "run", "claims", "plot")]
    assert order == sorted(order)
    assert {"quick", "paper"} <= set(registry.presets(module.Config))
    assert registry.make_preset(module.Config, "quick") != registry.make_preset(
        module.Config, "paper"
    )


@pytest.mark.parametrize("name", list(registry.experiments()))
def test_every_field_of_every_config_has_its_range_or_its_choices(name):
    config_class = registry.find(name).load().Config
    assert issubclass(config_class, fields.Checked)
    hints = typing.get_type_hints(config_class, include_extras=True)
    assert [field for field in hints if not fields.is_bounded(hints[field])] == []
    for preset in registry.presets(config_class):
        fields.check(registry.make_preset(config_class, preset))


@pytest.mark.parametrize("name", list(registry.experiments()))
@pytest.mark.parametrize("preset", ["quick", "paper"])
def test_the_command_line_gives_a_preset_its_own_folder(name, preset, tmp_path):
    experiment = registry.find(name)
    config = cli._configure(experiment, commands.HowToRun(preset=preset), [])
    assert config == registry.make_preset(experiment.load().Config, preset)
    assert store.folder_of(tmp_path, name, config).name == preset
