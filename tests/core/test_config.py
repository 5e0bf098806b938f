"""Configuration: presets, changes by `section.field=value`, and errors that name field, value and remedy."""

import os
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from pydantic import ValidationError

from neurontune_core.baselines.settings import LoraSettings
from neurontune_core.config import (
    PipelineConfig,
    RuntimeConfig,
    Section,
    change_runtime,
    check_dial,
    load_config,
    recorded_config,
)
from neurontune_core.data.settings import SourceConfig
from neurontune_core.errors import InputError
from neurontune_core.evaluation.settings import ModelJudgeSettings, PrecomputedSettings, RulesSettings
from neurontune_core.preset_files import preset_names
from neurontune_core.section_methods import METHODS


def error_of(*settings: str, preset: str = "smollm2") -> str:
    with pytest.raises(InputError) as caught:
        load_config(preset, settings)
    return str(caught.value)


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


@pytest.mark.parametrize(
    ("setting", "parts"),
    [
        ("scaling.stepz=1", ["scaling.stepz", "unknown field", "steps"]),
        ("scalling.steps=1", ["scalling", "unknown field", "model, pairs, attribution"]),
        ("scores.depth=1", ["scores", "unknown field", "robustness"]),
        ("pairs.sources.advbench.pth=a", ["pairs.sources.advbench.pth", "unknown field", "path, revision, limit"]),
        ("scaling.steps=many", ["scaling.steps", "valid integer", "'many'"]),
        ("scaling.steps=", ["scaling.steps", "valid integer", "''"]),
        ("scaling.steps=-1", ["scaling.steps", "greater than or equal to 0", "-1"]),
        ("scaling.sign=both", ["scaling.sign", "'free', 'by_role' or 'against_role'", "'both'"]),
        ("pairs.harmful.x=1", ["pairs.harmful", "must be a list", "write a list as a,b"]),
        ("evaluation.benchmarks=3", ["evaluation.benchmarks.0", "valid string", "3"]),
        ("robustness.shots=1.5", ["robustness.shots.0", "valid integer", "1.5"]),
        ("robustness.bits=9", ["robustness.bits.0", "less than or equal to 8", "9"]),
        ("pairs.sources.advbench=3", ["pairs.sources.advbench", "must be a section of fields", "3"]),
        ("pairs.validation_fraction=1.5", ["pairs.validation_fraction", "less than 1", "1.5"]),
        ("scaling.utility_weight=nan", ["scaling.utility_weight", "nan"]),
        ("scaling.prior_width=inf", ["scaling.prior_width", "finite number", "inf"]),
        ("model.revision=12345", ["model.revision", "valid string", "12345"]),
    ],
)
def test_errors_name_field_value_and_remedy(setting: str, parts: list[str]) -> None:
    message = error_of(setting)
    assert message.startswith(parts[0] + ":")
    assert all(part in message for part in parts)


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


def test_a_field_of_two_types_gives_one_error() -> None:
    message = error_of("selection.safety_neurons=some")
    assert message.startswith("selection.safety_neurons: ") and message.count("selection") == 1
    assert error_of("selection.safety_neurons=inf").startswith("selection.safety_neurons: ")


def test_all_errors_are_reported_at_once() -> None:
    message = error_of("scaling.steps=x", "selection.method=y")
    assert "scaling.steps: " in message and "selection.method: " in message


@pytest.mark.parametrize("setting", ["scaling.steps", "scaling=3", "=3", ".steps=3", "scaling.=3", "a..b=3", ""])
def test_malformed_settings_show_the_form(setting: str) -> None:
    message = error_of(setting)
    assert repr(setting) in message and "section.field=value, e.g. scaling.steps=20" in message


def test_a_setting_below_a_plain_value_is_refused() -> None:
    assert "model.name.x" in error_of("model.name.x=1")
    assert error_of("pairs.harmful.x=1").startswith("pairs.harmful: ")


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


@pytest.mark.parametrize("address", ["postgresql://ada:hidden@host/db", "https://ada:hidden@host"])
def test_password_in_an_address_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(InputError, match="put the address into MLFLOW_TRACKING_URI") as caught:
        load_config("tiny", [f"runtime.mlflow_uri={address}"])
    assert "hidden" not in str(caught.value) and "//***@host" in str(caught.value)
    assert load_config("tiny", ["runtime.mlflow_uri=sqlite:////a:b@c/mlflow.db"]).runtime.mlflow_uri is not None


def test_password_in_the_root_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that comes from the environment: it would become a setting there."""
    address = "ftp://ada:hidden@host/root"
    with pytest.raises(InputError, match=r"runtime\.root: .*as fsspec reads it"):
        load_config("tiny", [f"runtime.root={address}"])
    monkeypatch.setenv("NEURONTUNE_ROOT", address)
    with pytest.raises(InputError, match=r"runtime\.root: .*as fsspec reads it") as caught:
        load_config("tiny")
    assert "hidden" not in str(caught.value)
    with pytest.raises(ValidationError) as raw:
        RuntimeConfig()
    assert "hidden" not in str(raw.value)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("scaling.steps=true", ["scaling.steps: a number is needed, not true or false (got True)"]),
        ("selection.safety_neurons=false", ["selection.safety_neurons: a number is needed"]),
        ("runtime.timeouts.pairs=true", ["runtime.timeouts: a number is needed", "'pairs': True"]),
        ("pairs.sources.advbench.limit=true", ["pairs.sources.advbench.limit: a number is needed"]),
        ("causal.counts=[true]", ["causal.counts"]),
        (
            "scaling.steps=1000000000",
            ["scaling.steps: more than any run needs; give at most 10000000 (got 1000000000)"],
        ),
        ("scaling.steps='1000000000'", ["scaling.steps: more than any run needs"]),
        ("scaling.prior_width=1e9", ["scaling.prior_width: more than any run needs"]),
        ("selection.utility_neurons=1e300", ["selection.utility_neurons: more than any run needs"]),
        ("pairs.seed=100000000000000000000", ["pairs.seed: more than any run needs; give at most 4294967295"]),
        ("attribution.shards=1000000", ["attribution.shards: must be less than or equal to 10000"]),
        ("runtime.workers=1000000000", ["runtime.workers"]),
        ("runtime.root=", ["runtime.root: String should have at least 1 character"]),
        ('runtime.root="a\\u0000b"', ["runtime.root: a text with a NUL character names nothing"]),
        ("runtime.experiment=''", ["runtime.experiment"]),
        ("pairs.sources.advbench.path=''", ["pairs.sources.advbench.path"]),
        (f"scaling.steps={'9' * 6000}", ["scaling.steps: ", "999..."]),
        (f"scaling.steps={'[' * 3000}", ["scaling.steps: "]),
        ("scaling.steps=5\nseed=3", ["scaling.steps: ", r"5\nseed=3"]),
        (f"scaling.steps={'x' * 9000}", ["scaling.steps: ", "xxx..."]),
        ("\x1b[31m.x=1", ["'\\x1b[31m': unknown field"]),
        (f"{'x' * 9000}=1", ["--set: 'xxx"]),
    ],
)
def test_absurd_values_are_told_in_one_short_line(setting: str, words: list[str]) -> None:
    message = error_of(setting)
    assert all(word in message for word in words) and message.isprintable()
    assert len(message) < 400


def test_a_whole_section_of_nonsense_gives_a_short_line(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("[evaluation]\n" + "".join(f"a{number} = 1\n" for number in range(999)))
    assert error_of(preset=str(file)).endswith("; and 994 more")


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


@pytest.mark.parametrize("method", ["none", "system_prompt", "steering"])
def test_a_setting_of_another_baseline_is_an_error(method: str) -> None:
    for settings in permutations([f"baseline.method={method}", "baseline.learning_rate=0.1"]):
        assert error_of(*settings).startswith("baseline.learning_rate: unknown field; the fields there are ")
    changed = load_config("tiny", ["baseline.learning_rate=0.1", "baseline.method=lora"])
    assert changed.baseline == LoraSettings(learning_rate=0.1)
    assert PipelineConfig.model_validate_json(changed.model_dump_json()) == changed


def test_an_unknown_baseline_is_explained_with_those_there_are() -> None:
    message = error_of("baseline.method=dpo2")
    assert message.startswith(
        "baseline.method: unknown method; choose one of none, system_prompt, steering, alphasteer, lora"
    )
    assert message.endswith("(got 'dpo2')")


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


@pytest.mark.parametrize("judge", ["rules", "keyword"])
def test_a_path_of_a_judge_that_reads_nothing_is_an_error_that_names_those_that_do(judge: str) -> None:
    for name in ("evaluation.judge", "evaluation.judge.method"):
        for settings in permutations([f"{name}={judge}", "evaluation.judge.path=here"]):
            message = error_of(*settings)
            assert message.startswith(
                "evaluation.judge.path: unknown field; the fields there are method; it belongs to "
            )
            assert "classifier, precomputed, llama-guard-3" in message


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


def test_a_judge_that_does_not_exist_or_lacks_what_it_reads_is_told() -> None:
    for setting in ("evaluation.judge=oracle", "evaluation.judge.method=oracle"):
        message = error_of(setting)
        assert message.startswith("evaluation.judge.method: unknown method; choose one of rules, keyword, classifier")
        assert message.endswith("(got 'oracle')")
    for judge in ("classifier", "precomputed"):
        message = error_of(f"evaluation.judge={judge}")
        assert message.startswith("evaluation.judge.path: this judge reads a model folder or a verdict file; give its")


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


@pytest.mark.parametrize(
    "address", ["", "nope", "tcp://nope", "tcp://:8786", "host:port", "tcp://ho st:1", "x:1234567"]
)
def test_the_address_of_a_dask_scheduler_has_host_and_port(address: str) -> None:
    message = error_of(f"runtime.dask_address='{address}'")
    assert message.startswith("runtime.dask_address: not the address of a Dask scheduler")


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:8786", "host:8786", "tls://[::1]:8786", "tcp://dask.example:1/"])
def test_addresses_of_dask_schedulers_are_taken(address: str) -> None:
    assert load_config("tiny", [f"runtime.dask_address='{address}'"]).runtime.dask_address == address


@pytest.mark.parametrize("field", ["model.name", "runtime.root", "runtime.experiment", "runtime.device"])
def test_a_text_of_blanks_is_no_value(field: str) -> None:
    assert error_of(f"{field}='  \t'").startswith(f"{field}: ")


def test_presets_that_extend_one_another_without_measure_are_told(tmp_path: Path) -> None:
    for number in range(2000):
        (tmp_path / f"{number}.toml").write_text(f'extends = "{number + 1}.toml"')
    assert "merge some" in error_of(preset=str(tmp_path / "0.toml"))


@pytest.mark.parametrize("kind", ["folder", "pipe", "large"])
def test_a_preset_that_is_no_file_of_settings_is_told(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "own.toml"
    {"folder": file.mkdir, "pipe": lambda: os.mkfifo(file), "large": lambda: file.write_bytes(b"#" * 2**21)}[kind]()
    assert "own.toml' is not a file of at most 1,048,576 bytes" in error_of(preset=str(file))


def test_the_dial_is_refused_for_neurons_that_it_would_scale_the_wrong_way() -> None:
    """Damping neurons that carry answers, or amplifying those that work against refusal, is no dial."""
    dial, right = "scaling.method=dial", "selection.utility_set=opposes_refusal"
    for wrong, told in (
        ([], "selection.utility_set: is carries_answers, .*set it to opposes_refusal"),
        ([right, "selection.safety_set=opposes_refusal"], "selection.safety_set: .*set it to carries_refusal"),
    ):
        with pytest.raises(InputError, match=told):
            check_dial(load_config("tiny", [dial, *wrong]))
    check_dial(load_config("tiny", [dial, right]))
    check_dial(load_config("tiny", [dial, "selection.utility_neurons=0"]))
    check_dial(load_config("tiny", [dial, "baseline.method=system_prompt"]))
