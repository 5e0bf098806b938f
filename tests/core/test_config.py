"""Configuration: its sections, changes by `section.field=value`, and configurations of recorded runs."""

from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from pydantic import ValidationError

from neurontune_core.config import PipelineConfig, Section, change_runtime, load_config, recorded_config
from neurontune_core.data.settings import SourceConfig
from neurontune_core.errors import InputError
from neurontune_core.evaluation.settings import ModelJudgeSettings, PrecomputedSettings, RulesSettings
from neurontune_core.section_methods import METHODS


def test_paths_of_models_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    for given in ("here", "./here/", "~/here", "../" + tmp_path.name + "/here", str(tmp_path / "here")):
        assert load_config(model=given).model.name == str(tmp_path / "here")
        assert load_config("tiny", [f"model.name={given}"]).model.name == str(tmp_path / "here")
    assert load_config(model="~/missing").model.name == str(tmp_path / "missing")
    assert load_config(model="org/model").model.name == "org/model"
    assert load_config(model="x" * 5000).model.name == "x" * 5000


def test_every_section_and_field_is_described() -> None:
    sections = {name: field.annotation for name, field in PipelineConfig.model_fields.items()}
    assert set(sections) == {
        "model", "pairs", "attribution", "selection", "scaling", "baseline", "evaluation", "causal",
        "robustness", "runtime",
    }  # fmt: skip
    one_form = [section for name, section in sections.items() if name not in METHODS]
    of_methods = [form for forms in METHODS.values() for form in forms.values()]
    for section in [*one_form, *of_methods, SourceConfig]:
        assert isinstance(section, type) and issubclass(section, Section) and section.__doc__
        undescribed = [name for name, field in section.model_fields.items() if not field.description]
        assert undescribed == []


def test_sections_are_frozen_and_closed() -> None:
    config = load_config("tiny")
    section: Any = config.scaling
    with pytest.raises(ValidationError, match="frozen"):
        section.steps = 3
    models: list[Any] = [PipelineConfig, *(type(getattr(config, name)) for name in PipelineConfig.model_fields)]
    for model in models:
        with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
            model.model_validate({"surprise": 1})


def test_a_configuration_survives_json() -> None:
    config = load_config("tiny", ["pairs.sources.advbench.path=/data/a.csv", "selection.safety_neurons=0.01"])
    assert PipelineConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("scaling.steps=20", 20),
        ("attribution.normalise=false", False),
        ("selection.safety_neurons=0.02", 0.02),
        ("selection.safety_neurons=64", 64),
        ("selection.safety_neurons=64.0", 64),
        ("attribution.first_layer=2.0", 2),
        ("model.name=meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B-Instruct"),
        ("model.name='random:qwen3'", "random:qwen3"),
        ("model.system_prompt=You are terse.", "You are terse."),
        ('model.system_prompt=Say "no" = refuse', 'Say "no" = refuse'),
        ("runtime.mlflow_uri=postgresql://host/db?a=1", "postgresql://host/db?a=1"),
        ('evaluation.benchmarks=["advbench", "alpaca"]', ("advbench", "alpaca")),
        ("pairs.holdout_attack_categories=[]", ()),
        ("pairs.sources.advbench.path=/data/advbench.csv", {"advbench": SourceConfig(path="/data/advbench.csv")}),
        ("pairs.sources.alpaca.limit=50", {"alpaca": SourceConfig(limit=50)}),
    ],
)
def test_settings_are_read_as_toml_or_text(setting: str, value: Any) -> None:
    section, field, *_ = setting.partition("=")[0].split(".")
    got = getattr(getattr(load_config("smollm2", [setting]), section), field)
    assert got == value and type(got) is type(value)


def test_settings_change_only_what_they_name() -> None:
    plain, changed = load_config("tiny"), load_config("tiny", ["scaling.seed=3", "scaling.steps=9", "scaling.steps=5"])
    assert changed.scaling == plain.scaling.model_copy(update={"seed": 3, "steps": 5})
    assert changed.model_copy(update={"scaling": plain.scaling}) == plain
    assert load_config("tiny") == plain


def test_two_settings_of_one_source_add_up() -> None:
    config = load_config("tiny", ["pairs.sources.advbench.path=a.csv", "pairs.sources.advbench.limit=5"])
    assert config.pairs.sources["advbench"] == SourceConfig(path="a.csv", limit=5)


def fields_of(wanted: Callable[[Any], bool]) -> list[tuple[type[Section], str]]:
    """Return the fields, of all sections and methods, whose annotation is wanted."""
    forms = [field.annotation for name, field in PipelineConfig.model_fields.items() if name not in METHODS]
    forms += [form for methods in METHODS.values() for form in methods.values()]
    sections = [form for form in forms if isinstance(form, type) and issubclass(form, Section)]
    return [(each, name) for each in sections for name, field in each.model_fields.items() if wanted(field.annotation)]


def test_a_field_that_takes_counts_and_fractions_keeps_whole_numbers_as_counts() -> None:
    mixed = fields_of(lambda annotation: {int, float} <= set(get_args(annotation)))
    assert len(mixed) >= 3
    for section, name in mixed:
        assert type(getattr(section.model_validate({name: 2.0}), name)) is int
        assert getattr(section.model_validate({name: 0.5}), name) == 0.5


def test_a_single_number_is_a_list_of_one() -> None:
    def is_of_numbers(annotation: Any) -> bool:
        return get_origin(annotation) is tuple and get_args(get_args(annotation)[0])[:1] in ((int,), (float,))

    lists = fields_of(is_of_numbers)
    assert {name for _, name in lists} >= {"counts", "factors", "shots", "fractions", "bits", "safety_factors"}
    for section, name in lists:
        first = getattr(section(), name)[0]
        assert getattr(section.model_validate({name: first}), name) == (first,)
    assert load_config("tiny", ["causal.counts=0.01"]).causal.counts == (0.01,)


def test_the_parameter_form_has_a_default_for_everything() -> None:
    schema = PipelineConfig.model_json_schema()
    assert "required" not in schema
    for name, definition in schema["$defs"].items():
        assert "required" not in definition, name


def test_of_a_recorded_configuration_only_the_runtime_changes() -> None:
    config = load_config("tiny", ["scaling.steps=7"])
    changed = change_runtime(config, ["runtime.device=cpu", "runtime.timeouts.attribution=600"])
    assert changed.runtime.device == "cpu" and changed.runtime.timeouts == {"attribution": 600}
    assert changed.model_copy(update={"runtime": config.runtime}) == config
    for setting, words in [
        ("scaling.steps=8", "would change the result"),
        ("runtime.gadget=1", "runtime.gadget: unknown field"),
        ("runtime.timeouts.attribution=0", "runtime.timeouts.attribution"),
    ]:
        with pytest.raises(InputError, match=words):
            change_runtime(config, [setting])


def test_a_run_knows_its_preset_and_the_root_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_config("tiny").runtime.preset == "tiny"
    monkeypatch.setenv("NEURONTUNE_ROOT", "s3://bucket/root")
    assert load_config("tiny").runtime.root == "s3://bucket/root"
    assert load_config("tiny", ["runtime.root=here"]).runtime.root == "here"


def test_a_run_recorded_with_settings_that_are_gone_is_read_if_it_did_not_use_them() -> None:
    config = load_config("tiny", ["pairs.seed=3"])
    assert recorded_config(config.model_dump(mode="json")) == config
    old = config.model_dump(mode="json") | {"scores": {}}
    old["pairs"] |= {"attacks_per_type": 1, "ranking_success_tokens": 0, "refusal_phrasings": 1}
    old["baseline"] |= {"lora_learning_rate": 0.005}
    assert recorded_config(old) == config
    old["pairs"]["attacks_per_type"] = 2
    with pytest.raises(InputError, match=r"run: it was made with the setting pairs\.attacks_per_type, which"):
        recorded_config(old)


@pytest.mark.parametrize("given", ['judge = "wildguard"', '[evaluation.judge]\nmethod = "wildguard"'])
def test_a_judge_is_given_by_its_name_or_with_what_it_reads(tmp_path: Path, given: str) -> None:
    file = tmp_path / "own.toml"
    file.write_text(f'extends = "tiny"\n[evaluation]\n{given}\n')
    own = load_config(str(file))
    assert own.evaluation.judge == ModelJudgeSettings(method="wildguard")
    placed = ModelJudgeSettings(method="wildguard", path="here")
    assert load_config(str(file), ["evaluation.judge.path=here"]).evaluation.judge == placed
    for settings in permutations(["evaluation.judge=wildguard", "evaluation.judge.path=here"]):
        assert load_config("tiny", settings).evaluation.judge == placed
    (tmp_path / "next.toml").write_text('extends = "own.toml"\n[evaluation.judge]\npath = "here"\n')
    assert load_config(str(tmp_path / "next.toml")).evaluation.judge == placed
    assert load_config(str(tmp_path / "next.toml"), ["evaluation.judge=rules"]).evaluation.judge == RulesSettings()
    changed = load_config("tiny", ["evaluation.judge=wildguard"])
    assert PipelineConfig.model_validate_json(changed.model_dump_json()) == changed


def test_the_judge_of_a_run_that_an_earlier_version_recorded_is_read() -> None:
    config = load_config("tiny")
    old = config.model_dump(mode="json")
    old["evaluation"] |= {"judge": "rules", "judge_path": None}
    assert recorded_config(old) == config
    old["evaluation"] |= {"judge": "precomputed", "judge_path": "verdicts.jsonl"}
    assert recorded_config(old).evaluation.judge == PrecomputedSettings(path="verdicts.jsonl")
    for judge in ("rules", "keyword"):  # which left a path unread
        old["evaluation"] |= {"judge": judge, "judge_path": "verdicts.jsonl"}
        assert recorded_config(old).evaluation.judge.method == judge
