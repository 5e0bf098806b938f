"""Settings of the methods: each has its own, and none of another's."""

from itertools import permutations, product
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from neurontune_core.config import PipelineConfig, load_config
from neurontune_core.errors import InputError
from neurontune_core.preset_files import preset_names
from neurontune_core.scaling.settings import (
    DEFAULT_METHOD,
    METHODS,
    ChoosingSettings,
    DialSettings,
    MamlSettings,
    MarginFitSettings,
    ScalingConfig,
    TrainingSettings,
)
from neurontune_core.setting_changes import set_value

SHARED = set(ChoosingSettings.model_fields)
OWN = {name: set(model.model_fields) - {"method"} for name, model in METHODS.items()}
FOREIGN = [
    (method, field)
    for method in METHODS
    for field in sorted(set().union(*OWN.values()) - OWN[method])
    if field in ("inner_steps", "order", "prior_width", "refusal_openings", "safety_factors", "steps", "sign")
]


def error_of(*settings: str, preset: str = "smollm2") -> str:
    with pytest.raises(InputError) as caught:
        load_config(preset, settings)
    return str(caught.value)


def value_of(method: str, field: str) -> str:
    """A value other than the default, as `--set` reads it."""
    default = METHODS[method].model_fields[field].default
    if isinstance(default, tuple):
        return "1,2"
    if isinstance(default, str):
        annotation = METHODS[method].model_fields[field].annotation
        return next(text for text in get_args(annotation) if text != default)
    return str(default + 1 if isinstance(default, int) else default / 2)


def test_the_default_and_what_methods_share() -> None:
    assert PipelineConfig().scaling == MarginFitSettings() and DEFAULT_METHOD == "margin_fit"
    assert set.intersection(*OWN.values()) == SHARED
    assert OWN["maml"] & OWN["margin_fit"] == set(TrainingSettings.model_fields)
    assert {name: model().method for name, model in METHODS.items()} == {name: name for name in METHODS}


def test_every_field_is_described() -> None:
    for model in METHODS.values():
        undescribed = [name for name, field in model.model_fields.items() if not field.description]
        assert undescribed == [] and model.__doc__


@pytest.mark.parametrize("method", METHODS)
def test_settings_survive_json_and_are_told_apart_by_their_method(method: str) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(ScalingConfig)
    settings = METHODS[method](seed=3)
    assert adapter.validate_json(settings.model_dump_json()) == settings
    assert adapter.validate_python(settings) is settings
    assert type(adapter.validate_python({"method": method})) is METHODS[method]
    config = PipelineConfig(scaling=settings)
    assert PipelineConfig.model_validate_json(config.model_dump_json()) == config
    assert type(adapter.validate_python({})) is MarginFitSettings


@pytest.mark.parametrize(("method", "field"), FOREIGN)
def test_a_setting_of_another_method_is_an_error_that_names_what_there_is(method: str, field: str) -> None:
    """In either order, in a file, and in the library."""
    owner = next(name for name in METHODS if field in OWN[name])
    given = f"scaling.{field}={value_of(owner, field)}"
    for settings in permutations([f"scaling.method={method}", given]):
        message = error_of(*settings)
        assert message.startswith(f"scaling.{field}: unknown field; the fields there are ") and ";" not in message[60:]
        assert OWN[method] | {"method"} == set(message.partition("there are ")[2].split(", "))
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        METHODS[method].model_validate({field: METHODS[owner].model_fields[field].default})


@pytest.mark.parametrize("value", ["mamll", "MAML", "", "3", "true", "[1]", "['maml']", "{a=1}", "1.5"])
def test_an_unknown_method_is_explained_with_those_there_are(value: str) -> None:
    for settings in ([f"scaling.method={value}"], ["scaling.steps=3", f"scaling.method={value}"]):
        for each in permutations(settings):
            message = error_of(*each)
            given = repr(set_value(value))
            assert message == f"scaling.method: unknown method; choose one of maml, margin_fit, dial (got {given})"


@pytest.mark.parametrize("preset", preset_names())
@pytest.mark.parametrize("method", METHODS)
def test_every_preset_takes_every_method(preset: str, method: str) -> None:
    """Of the preset's settings those stay that the method has."""
    own, changed = load_config(preset), load_config(preset, [f"scaling.method={method}"])
    assert type(changed.scaling) is METHODS[method]
    shared = OWN[own.scaling.method] & OWN[method]
    for field in shared:
        assert getattr(changed.scaling, field) == getattr(own.scaling, field)
    fresh = METHODS[method]()
    for field in OWN[method] - shared:
        assert getattr(changed.scaling, field) == getattr(fresh, field)
    assert changed.model_copy(update={"scaling": own.scaling}) == own


@pytest.mark.parametrize(("method", "field"), [(m, f) for m in METHODS for f in ("seed", *sorted(OWN[m] - SHARED))])
def test_a_setting_of_the_method_holds_in_either_order(method: str, field: str) -> None:
    settings = [f"scaling.method={method}", f"scaling.{field}={value_of(method, field)}"]
    one, other = (load_config("tiny", each) for each in permutations(settings))
    assert one == other and getattr(one.scaling, field) != METHODS[method].model_fields[field].default


def test_the_last_of_two_methods_counts() -> None:
    for first, last in product(METHODS, METHODS):
        config = load_config("tiny", [f"scaling.method={first}", "scaling.seed=5", f"scaling.method={last}"])
        assert config.scaling.method == last and config.scaling.seed == 5


def written(folder: Path, **files: str) -> str:
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)
    return str(folder / "own.toml")


def test_a_preset_that_extends_with_another_method_drops_the_settings_of_the_old(tmp_path: Path) -> None:
    preset = written(
        tmp_path,
        base='extends = "tiny"\n[scaling]\nmethod = "maml"\norder = "second"\nsteps = 7\n',
        own='extends = "base.toml"\n[scaling]\nmethod = "margin_fit"\nprior_width = 3.0\n',
        third='extends = "own.toml"\n[scaling]\nmethod = "dial"\nsafety_factors = [3.0]\n',
        back='extends = "third.toml"\n[scaling]\nmethod = "maml"\n',
    )
    tiny, own = load_config("tiny").scaling, load_config(preset).scaling
    assert isinstance(own, MarginFitSettings) and isinstance(tiny, MarginFitSettings)
    assert own == tiny.model_copy(update={"steps": 7, "prior_width": 3.0})
    third = load_config(str(tmp_path / "third.toml")).scaling
    assert third == DialSettings(safety_factors=(3.0,), validation_prompts=4, validation_tokens=3)
    back = load_config(str(tmp_path / "back.toml")).scaling
    assert back == MamlSettings(validation_prompts=4, validation_tokens=3), "what was dropped does not come back"


def test_a_preset_that_names_the_same_method_keeps_its_settings(tmp_path: Path) -> None:
    preset = written(tmp_path, own='extends = "smollm2"\n[scaling]\nmethod = "margin_fit"\nsteps = 3\n')
    assert load_config(preset).scaling == load_config("smollm2", ["scaling.steps=3"]).scaling


def test_in_a_preset_too_a_foreign_setting_or_an_unknown_method_is_explained(tmp_path: Path) -> None:
    message = error_of(preset=written(tmp_path, own='extends = "smollm2"\n[scaling]\nmethod = "maml"\ndamping = 1\n'))
    assert message.startswith("scaling.damping: unknown field; the fields there are ")
    message = error_of(preset=written(tmp_path, own='[scaling]\nmethod = "dial"\nsteps = 1\n'))
    assert message.startswith("scaling.steps: unknown field")
    for method in ('"gauss"', "3", "[]", "{}"):
        message = error_of(preset=written(tmp_path, own=f'extends = "smollm2"\n[scaling]\nmethod = {method}\n'))
        assert message.startswith("scaling.method: unknown method; choose one of maml, margin_fit, dial")


@pytest.mark.parametrize("section", ["3", '"x"', "[1]"])
def test_a_scaling_section_that_is_no_table_is_named(tmp_path: Path, section: str) -> None:
    for base in ("", 'extends = "smollm2"\n'):
        preset = written(tmp_path, own=f"{base}scaling = {section}\n")
        assert error_of(preset=preset).startswith("scaling: must be a section of fields")
        assert error_of("scaling.method=maml", preset=preset).startswith("--set: 'scaling.method' names a field below")


@pytest.mark.parametrize(
    ("method", "setting", "words"),
    [
        ("maml", "inner_learning_rate=0", ["scaling.inner_learning_rate: ", "more than 0", "(got 0)"]),
        ("maml", "support_batch=1", ["scaling.support_batch: ", "at least 2", "(got 1)"]),
        ("maml", "order=third", ["scaling.order: ", "'first' or 'second'", "'third'"]),
        ("maml", "safety_start=inf", ["scaling.safety_start: ", "finite number"]),
        ("margin_fit", "joint_share=1.5", ["scaling.joint_share: ", "at most 1", "1.5"]),
        ("margin_fit", "refusal_openings=['']", ["scaling.refusal_openings.0: ", "at least 1 character"]),
        ("dial", "safety_factors=[]", ["scaling.safety_factors: ", "at least 1 item"]),
        ("dial", "utility_factors=1,-1", ["scaling.utility_factors.1: ", "at least 0", "-1"]),
        ("dial", "validation_prompts=3", ["scaling.validation_prompts: ", "at least 4", "3"]),
    ],
)
def test_errors_name_the_field_as_it_is_set(method: str, setting: str, words: list[str]) -> None:
    """Without the method, which pydantic has in the place of an error."""
    message = error_of(f"scaling.method={method}", f"scaling.{setting}")
    assert message.startswith(words[0]) and all(word in message for word in words)
