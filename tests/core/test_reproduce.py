"""The command that makes a run again gives the same configuration, whatever was changed."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from neurontune_core.config import PipelineConfig, load_config
from neurontune_core.preset_files import preset_names
from neurontune_core.reproduce import command


def read(text: str) -> PipelineConfig:
    program, subcommand, *words = shlex.split(text)
    assert (program, subcommand) == ("neurontune", "run")
    options = list(zip(words[::2], words[1::2], strict=True))
    presets = [value for option, value in options if option == "--preset"] or ["smollm2"]
    return load_config(presets[0], [value for option, value in options if option == "--set"])


def results_of(config: PipelineConfig) -> dict[str, Any]:
    return config.model_dump(exclude={"runtime"})


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_is_named_alone(name: str) -> None:
    assert command(load_config(name)) == "neurontune run" + ("" if name == "smollm2" else f" --preset {name}")


@pytest.mark.parametrize(
    "settings",
    [
        ["scaling.steps=7", "scaling.outer_optimiser=adam", "scaling.order=second", "selection.safety_neurons=0.01"],
        ["model.name='it is a folder'", "model.revision='12'", 'model.system_prompt="Say \\"no\\"\\n= ü $HOME"'],
        ["pairs.sources.advbench.path=my file.csv", "pairs.sources.alpaca.limit=9", 'pairs.harmful=["advbench"]'],
        ["attribution.normalise=false", "evaluation.benchmarks=['shipped', 'advbench/all']", "model.revision='true'"],
    ],
)
def test_changed_settings_come_back(settings: list[str], tmp_path: Path) -> None:
    for preset in ("tiny", "smollm2"):
        config = load_config(preset, settings)
        assert results_of(read(command(config))) == results_of(config)


def test_settings_of_no_preset_come_back_too(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("[scaling]\nsteps = 3\n")
    config = load_config(str(file))
    assert results_of(read(command(config))) == results_of(config)


def test_where_a_run_was_carried_out_does_not_matter() -> None:
    assert command(load_config("tiny", ["runtime.root=elsewhere"])) == "neurontune run --preset tiny"
