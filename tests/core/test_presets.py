"""Presets: shipped ones, a user's own, presets that extend others, and what is wrong with one."""

import os
from pathlib import Path

import pytest
from refused_settings import error_of

from neurontune_core.config import PipelineConfig, load_config
from neurontune_core.errors import InputError
from neurontune_core.preset_files import preset_names


def test_every_preset_loads() -> None:
    assert {"llama-3.1-8b", "smollm2", "tiny"} <= set(preset_names())
    assert all(isinstance(load_config(name), PipelineConfig) for name in preset_names())


def test_presets_say_what_they_are() -> None:
    assert load_config().model.name == "packaged:smollm2-135m-instruct"
    assert load_config("tiny").model.name == "random:llama"
    paper = load_config("llama-3.1-8b")
    assert paper.model.name == "meta-llama/Llama-3.1-8B-Instruct" and paper.model.dtype == "bfloat16"
    assert (paper.selection.safety_neurons, paper.selection.utility_neurons) == (1500, 1500)


def test_quick_preset_shares_all_stages_up_to_the_selection_with_the_default() -> None:
    quick, default = load_config("smollm2-quick"), load_config("smollm2")
    for section in ("model", "pairs", "attribution", "selection"):
        assert getattr(quick, section) == getattr(default, section)


def test_presets_for_models_take_what_fits_any_model_from_the_default_one() -> None:
    models = {
        "qwen2.5-coder-0.5b": "packaged:qwen2.5-coder-0.5b-instruct",
        "qwen2.5-coder-1.5b": "packaged:qwen2.5-coder-1.5b-instruct",
        "qwen2.5-1.5b": "Qwen/Qwen2.5-1.5B-Instruct",
        "llama-3.2-1b": "meta-llama/Llama-3.2-1B-Instruct",
        "gemma-3-1b": "google/gemma-3-1b-it",
    }
    for preset, model in models.items():
        config, any_model = load_config(preset), load_config("default")
        assert config.model.name == model
        for section in ("pairs", "attribution", "selection", "scaling", "evaluation"):
            assert getattr(config, section) == getattr(any_model, section)


def test_a_model_alone_is_run_with_the_settings_for_any_model() -> None:
    config = load_config(model="someone/some-model", settings=["scaling.steps=3"])
    assert config == load_config("default", ["model.name=someone/some-model", "scaling.steps=3"])
    assert load_config("tiny", model="random:qwen2").model.name == "random:qwen2"
    with pytest.raises(InputError, match=r"MODEL: 'a/b' is given, and --set model\.name=c/d too; give one"):
        load_config(model="a/b", settings=["model.name=c/d"])
    with pytest.raises(InputError, match=r"model\.name: String should have at least 1 character"):
        load_config(model="")


def test_a_preset_extends_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "base.toml").write_text('extends = "tiny"\n[scaling]\nsteps = 7\nrefusal_openings = ["a", "b"]\n')
    (tmp_path / "own.toml").write_text('extends = "base.toml"\n[scaling]\nrefusal_openings = ["c"]\n')
    monkeypatch.chdir("/")
    config, tiny = load_config(str(tmp_path / "own.toml")), load_config("tiny")
    assert config.scaling == tiny.scaling.model_copy(update={"steps": 7, "refusal_openings": ("c",)})
    assert config.pairs == tiny.pairs and config.model == tiny.model
    assert config.runtime.preset == "own"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"own": 'extends = "nothing"'}, ["unknown name 'nothing'", "smollm2"]),
        ({"own": 'extends = "nothing.toml"'}, ["no file", "nothing.toml"]),
        ({"own": 'extends = ["tiny", "smollm2"]'}, ["own.toml", "extends is ['tiny', 'smollm2']", "one preset"]),
        ({"own": "extends = true"}, ["own.toml", "extends is True"]),
        ({"own": 'extends = "own.toml"'}, ["own.toml", "circle"]),
        ({"own": 'extends = "a.toml"', "a": 'extends = "own.toml"'}, ["a.toml", "circle"]),
        ({"own": 'extends = "a.toml"', "a": "extends = "}, ["a.toml", "not valid TOML"]),
    ],
)
def test_a_preset_that_extends_badly_is_explained(tmp_path: Path, files: dict[str, str], words: list[str]) -> None:
    for name, text in files.items():
        (tmp_path / f"{name}.toml").write_text(text)
    message = error_of(preset=str(tmp_path / "own.toml"))
    assert message.startswith("preset: ") and all(word in message for word in words)


@pytest.mark.parametrize("section", ["model", "runtime", "pairs", "scaling"])
@pytest.mark.parametrize("value", ["3", '"x"', "[1]"])
def test_a_section_that_is_no_table_is_named(tmp_path: Path, section: str, value: str) -> None:
    file = tmp_path / "own.toml"
    file.write_text(f"{section} = {value}\n")
    for settings in ((), (f"{'model.name' if section == 'runtime' else 'runtime.root'}=x",)):
        assert error_of(*settings, preset=str(file)).startswith(f"{section}: must be a section of fields")
    with pytest.raises(InputError, match=f"{section}: must be a section of fields"):
        load_config(str(file), model="some/model")


def test_unknown_presets_are_named_with_the_known_ones(tmp_path: Path) -> None:
    assert "'small'" in error_of(preset="small")
    assert all(name in error_of(preset="small") for name in preset_names())
    missing = str(tmp_path / "mine.toml")
    assert missing in error_of(preset=missing) and "smollm2" in error_of(preset=missing)


def test_a_preset_file_is_read_and_checked(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[model]\nname = "random:llama"\nsystem_prompt = "Grüße"\n', encoding="utf-8")
    assert load_config(str(file)).model.system_prompt == "Grüße"
    file.write_text("[model\n")
    message = error_of(preset=str(file))
    assert str(file) in message and "not valid TOML" in message and "line 1" in message
    file.write_bytes(b'[model]\nname = "\xff"\n')
    assert "not valid TOML" in error_of(preset=str(file))
    file.write_text("[scaling]\nstep = 1\n")
    assert error_of(preset=str(file)).startswith("scaling.step: unknown field")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.toml", b"[scaling]\nsteps = " + b"9" * 6000), ("a.toml", b"x = " + b"[" * 5000), ("a.toml", b"\xff\xfe["),
        ("a.toml", b"\0"), ("x" * 5000 + ".toml", None), ("a\0b.toml", None), ("", None), ("z" * 5000, None),
    ],
)  # fmt: skip
def test_a_preset_of_chance_is_told(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
        name = str(tmp_path / name)
    message = error_of(preset=name)
    assert message.startswith("preset: ") and message.isprintable() and len(message) < 600


def test_a_preset_may_start_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("[scaling]\nsteps = 3\n", encoding="utf-8-sig")
    assert load_config(str(tmp_path / "own.toml")).scaling.steps == 3


def test_presets_that_extend_one_another_without_measure_are_told(tmp_path: Path) -> None:
    for number in range(2000):
        (tmp_path / f"{number}.toml").write_text(f'extends = "{number + 1}.toml"')
    assert "merge some" in error_of(preset=str(tmp_path / "0.toml"))


@pytest.mark.parametrize("kind", ["folder", "pipe", "large"])
def test_a_preset_that_is_no_file_of_settings_is_told(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "own.toml"
    {"folder": file.mkdir, "pipe": lambda: os.mkfifo(file), "large": lambda: file.write_bytes(b"#" * 2**21)}[kind]()
    assert "own.toml' is not a file of at most 1,048,576 bytes" in error_of(preset=str(file))
