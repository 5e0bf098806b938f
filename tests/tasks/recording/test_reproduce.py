"""The command that makes a run again gives the same configuration, whatever was changed."""

import shlex
from pathlib import Path
from typing import Any, get_args

import pytest

from neurontune_core.config import PipelineConfig, load_config
from neurontune_core.preset_files import preset_names
from neurontune_core.scaling.settings import METHODS
from tasks.recording.reproduce import command


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
        ["scaling.steps=7", "scaling.method=maml", "scaling.order=second", "selection.safety_neurons=0.01"],
        ["scaling.method=maml"],
        ["scaling.method=margin_fit", "scaling.refusal_openings=['No, \"you\"', 'Sorry']", "scaling.sign=by_role"],
        ["scaling.refusal_openings=[]", "scaling.patience=0"],
        ["scaling.method=dial"],
        ["scaling.method=dial", "scaling.safety_factors=1.25,2", "scaling.validation_prompts=9", "scaling.seed=4"],
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


@pytest.mark.parametrize("method", METHODS)
def test_every_field_of_every_method_comes_back(method: str) -> None:
    """Each is changed alone, whatever the preset's own method; then all of them together."""
    other: dict[str, str] = {}
    for name, field in METHODS[method].model_fields.items():
        value = field.default
        if isinstance(value, bool) or name == "method":
            continue
        if isinstance(value, int | float):
            other[name] = f"scaling.{name}={value / 2 if isinstance(value, float) else value + 1}"
        elif isinstance(value, tuple):
            other[name] = f"scaling.{name}={[*value, 'Never'] if name == 'refusal_openings' else [*value, 0.125]}"
        else:
            (last,) = {text for text in get_args(field.annotation) if text != value} - {"against_role"}
            other[name] = f"scaling.{name}={last}"
    assert set(other) == set(METHODS[method].model_fields) - {"method"}
    chosen = f"scaling.method={method}"
    for settings in ([], *([setting] for setting in other.values()), list(other.values())):
        config = load_config("smollm2-quick", [*settings, chosen])
        assert config.scaling.method == method
        text = command(config)
        assert results_of(read(text)) == results_of(config)
        assert (chosen in text) == (method != "margin_fit")


def test_presets_of_ones_own_with_another_method_come_back(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    for text in (
        'extends = "smollm2"\n[scaling]\nmethod = "dial"\n',
        'extends = "tiny"\n[scaling]\nmethod = "maml"\ninner_steps = 3\n',
        '[scaling]\nmethod = "maml"\norder = "second"\n',
    ):
        file.write_text(text)
        config = load_config(str(file))
        assert results_of(read(command(config))) == results_of(config)


def test_where_a_run_was_carried_out_does_not_matter() -> None:
    assert command(load_config("tiny", ["runtime.root=elsewhere"])) == "neurontune run --preset tiny"


@pytest.mark.parametrize("settings", [("wildguard",), ("wildguard", "evaluation.judge.path=here"), ("keyword",)])
def test_a_judge_is_given_with_what_it_reads(settings: tuple[str, ...]) -> None:
    config = load_config("tiny", [f"evaluation.judge={settings[0]}", *settings[1:]])
    assert read(command(config)) == config
    assert f"--set evaluation.judge.method={settings[0]}" in command(config)
