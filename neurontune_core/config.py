"""The whole configuration: all sections together, read from presets and from changes on the command line."""

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from neurontune_core.attribution.settings import AttributionConfig
from neurontune_core.baselines.settings import BaselineConfig, NoBaseline
from neurontune_core.causal.settings import CausalConfig
from neurontune_core.data.settings import SourceConfig
from neurontune_core.data_names import short_name, with_absolute_paths
from neurontune_core.errors import InputError, nearest_first
from neurontune_core.evaluation.settings import EvaluationConfig
from neurontune_core.model.settings import ModelConfig
from neurontune_core.pairs.settings import PairsConfig
from neurontune_core.preset_files import preset_names, read_preset
from neurontune_core.robustness.settings import RobustnessConfig
from neurontune_core.scaling.settings import MarginFitSettings, ScalingConfig
from neurontune_core.section import UNKNOWN_METHOD, Section
from neurontune_core.section_methods import METHODS, section_at, with_section, without_foreign
from neurontune_core.selection.settings import SelectionConfig
from neurontune_core.shown_text import quoted

_LONGEST_VALUE = 120
_MOST_ERRORS = 5
DEFAULT_PRESET = "smollm2"
ANY_MODEL_PRESET = "default"
"""The preset of a run that names a model and no preset."""
DASK_ADDRESS = r"^([a-z]+://)?(\[[0-9a-fA-F:.]+\]|[^\s/:@\[\]]+):[0-9]{1,5}/?$"
PASSWORD_IN_ADDRESS = r"[^/]+://[^/]*:[^/]*@"


def absolute_path(name: str) -> str:
    """Return the absolute path of a file or folder, so that a process in another folder finds it; else the name.

    A name is a path if it starts with `~`, `./` or `../`, or if a file or folder of that name is there.
    """
    path = os.path.expanduser(name)
    return os.path.abspath(path) if name.startswith(("~", "./", "../")) or os.path.exists(path) else name


class RuntimeConfig(Section):
    """Where and how the run is carried out. These settings change no result, so they are in no content key."""

    root: str = Field(
        default_factory=lambda: os.environ.get("NEURONTUNE_ROOT", "neurontune-artifacts"),
        min_length=1,
        description="Artifact root: a folder or any fsspec URL; by default NEURONTUNE_ROOT or ./neurontune-artifacts. "
        "Credentials come from the environment, never with the URL.",
        validate_default=True,
        json_schema_extra={"pattern": f"^(?!{PASSWORD_IN_ADDRESS})"},
    )
    mlflow_uri: str | None = Field(
        default=None,
        description="MLflow tracking URI; MLFLOW_TRACKING_URI or a SQLite file in the root by default. One with a "
        "password can only come from the environment.",
        json_schema_extra={"pattern": f"^(?!{PASSWORD_IN_ADDRESS})"},
    )
    experiment: str = Field(default="neurontune", min_length=1, description="MLflow experiment.")
    device: str = Field(
        default="auto",
        description="`auto`, `cpu`, `cuda`, `cuda:1`, `mps`; or several, over which the model's layers are spread: "
        "`cuda:0,cuda:1`, with `cpu` last for what they cannot hold.",
    )
    max_memory: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict,
        description="GiB of weights a device may hold where a model is spread over several "
        "(`runtime.max_memory.cuda:0=60`); by default 70% of what is free.",
    )
    threads: int | None = Field(
        default=None, ge=1, le=10_000, description="Processor threads of torch; all cores by default."
    )
    batch_tokens: int | None = Field(
        default=None,
        ge=64,
        description="Tokens a batch holds at most in generation and scoring; by default what a quarter of the device's "
        "memory holds, at most 3072 on a processor.",
    )
    memory_mib: int | None = Field(
        default=None, ge=64, description="Activation memory of attribution; automatic by default."
    )
    price_per_hour: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="Price of an hour of this machine, by which `neurontune plan` says what a run costs.",
    )
    harmful_text: Literal["masked", "shown"] = Field(
        default="masked",
        description="Harmful prompts and the answers to them in MLflow's traces and table of completions: `masked` or "
        "`shown`. The report and the artifacts hold them in any case.",
    )
    name: str = Field(default="", description="Name of the run; by default model, preset and what differs from it.")
    preset: str = Field(default="", description="Name of the preset the settings came from, for the names of runs.")
    changed: tuple[str, ...] = Field(
        default=(), description="Settings changed from a preset that is a file of your own, for the names of runs."
    )
    retries: int = Field(default=2, ge=0, le=1000, description="Retries of a stage after a transient error.")
    timeouts: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict,
        description="Longest time one attempt at a stage may take, in seconds, by stage; for attribution that of a "
        "shard (`runtime.timeouts.attribution=600`).",
    )
    runner: Literal["threads", "processes", "dask"] = Field(
        default="threads",
        description="What the shards run on: threads of this process, which share its one model; processes of this "
        "machine; or Dask workers on any machines.",
    )
    workers: int = Field(
        default=1, ge=1, le=10_000, description="Shards computed at a time, where Dask has no address."
    )
    dask_address: str | None = Field(
        default=None,
        description="Address of a Dask scheduler, e.g. `tcp://host:8786`; a cluster on this machine by default.",
        json_schema_extra={"pattern": DASK_ADDRESS},
    )
    concurrency_limit: str | None = Field(
        default=None,
        description="Prefect concurrency limit to hold while a model is in use; `gpu` by default on a CUDA device.",
    )

    @field_validator("root", "mlflow_uri")
    @classmethod
    def _holds_no_password(cls, uri: str | None, field: ValidationInfo) -> str | None:
        # settings are parameters of the flow run, which anybody may read who sees the Prefect UI
        if uri is not None and re.match(PASSWORD_IN_ADDRESS, uri):
            place = "MLFLOW_TRACKING_URI" if field.field_name == "mlflow_uri" else "the environment, as fsspec reads it"
            raise ValueError(f"an address with a password is no setting: put it into {place}")
        return uri

    @field_validator("dask_address")
    @classmethod
    def _has_a_port(cls, address: str | None) -> str | None:
        if address is not None and not re.fullmatch(DASK_ADDRESS, address):
            raise ValueError("no address of a Dask scheduler; give tcp://HOST:PORT, as it prints when it starts")
        return address


class PipelineConfig(Section):
    """Everything a pipeline run depends on."""

    model: ModelConfig = ModelConfig()
    pairs: PairsConfig = PairsConfig()
    attribution: AttributionConfig = AttributionConfig()
    selection: SelectionConfig = SelectionConfig()
    scaling: ScalingConfig = MarginFitSettings()
    baseline: BaselineConfig = NoBaseline()
    evaluation: EvaluationConfig = EvaluationConfig()
    causal: CausalConfig = CausalConfig()
    robustness: RobustnessConfig = RobustnessConfig()
    runtime: RuntimeConfig = Field(default_factory=RuntimeConfig)

    @field_validator("pairs", "evaluation")
    @classmethod
    def _paths_are_absolute(cls, section: PairsConfig | EvaluationConfig) -> PairsConfig | EvaluationConfig:
        # a worker in another folder is to find the same files
        lists = {name: with_absolute_paths(getattr(section, name)) for name in DATA_LISTS if hasattr(section, name)}
        return section.model_copy(update=lists)


CAUSAL_SECTIONS = ("causal", "evaluation", "runtime")
"""Sections that a causal study of a recorded run may set."""
DATA_LISTS = ("harmful", "benign", "attacks", "refusals", "benchmarks")
"""Settings that name data."""


def contents(section: PairsConfig | EvaluationConfig) -> dict[str, Any]:
    """Return a section's settings as they enter a stage's key: where data lies is left out, its digest enters instead.

    So the same data give the same key under any path, or from the hub. The name of a file of one's own is part of the
    settings, its folder is not.
    """
    settings = section.model_dump(mode="json")
    limits = {name: source.limit for name, source in section.sources.items() if source.limit is not None}
    prompts = {
        name: source.system_prompt for name, source in section.sources.items() if source.system_prompt is not None
    }
    lists = {name: [short_name(text) for text in settings[name]] for name in DATA_LISTS if name in settings}
    if isinstance(section, PairsConfig):
        settings["holdout_unsafety_categories"] = []  # gone, but in the keys of the runs there are
    return settings | lists | {"sources": limits} | ({"system_prompts": prompts} if prompts else {})


def load_config(preset: str | None = None, settings: Sequence[str] = (), model: str | None = None) -> PipelineConfig:
    """Return the configuration of a preset (shipped name, or path of a TOML file) with `section.field=value` changes.

    Args:
        preset: name or path; by default `smollm2`, or `default` where a model is named.
        settings: the changes, e.g. `scaling.steps=20`.
        model: the model in place of the preset's, as in the setting `model.name`.

    Raises:
        InputError: unknown preset or field, or a value that does not fit.
    """
    name = (DEFAULT_PRESET if model is None else ANY_MODEL_PRESET) if preset is None else preset
    tree = read_preset(name)
    sections = [tree.setdefault(section, {}) for section in ("model", "runtime")]
    if not all(isinstance(section, dict) for section in sections):
        return _validated(tree)  # which names the one that is no table
    named, runtime = sections
    runtime.setdefault("preset", Path(name).stem)
    _apply_settings(tree, settings)
    if name not in preset_names():
        runtime.setdefault("changed", [setting for setting in settings if not setting.startswith("runtime.")])
    if model is not None:
        if any(setting.partition("=")[0] == "model.name" for setting in settings):
            raise InputError(f"MODEL: {model!r} is given, and --set model.name={named['name']} too; give one")
        named["name"] = model
    if isinstance(named.get("name"), str) and named["name"]:
        named["name"] = absolute_path(named["name"])
    return _validated(tree)


def _validated(tree: dict[str, Any]) -> PipelineConfig:
    try:
        return PipelineConfig.model_validate(tree)
    except ValidationError as error:
        raise InputError(_explain(error)) from error


GONE = {
    "pairs": {
        "attacks_per_type": 1,
        "ranking_success_tokens": 0,
        "refusal_phrasings": 1,
        "holdout_unsafety_categories": [],
    }
}
"""Settings that earlier versions had, and the value of each that does what is done now."""


def recorded_config(tree: Mapping[str, Any]) -> PipelineConfig:
    """Return the configuration of a recorded run, also of one that an earlier version recorded with more settings.

    Raises:
        InputError: it used a setting that this version no longer has.
    """
    tree = {name: dict(section) if isinstance(section, dict) else section for name, section in tree.items()}
    if tree.get("scores") == {}:
        del tree["scores"]
    for section, settings in GONE.items():
        for name, usual in settings.items():
            if tree.get(section, {}).pop(name, usual) != usual:
                raise InputError(
                    f"run: it was made with {section}.{name}, which this version does not have; use the version that "
                    "made it"
                )
    evaluation = tree.get("evaluation", {})
    path = evaluation.pop("judge_path", None)
    if path is not None and isinstance(evaluation.get("judge"), str):
        judge = {"method": evaluation["judge"], "path": path}
        evaluation["judge"] = without_foreign("evaluation.judge", judge, judge["method"])  # rules never read a path
    baseline = tree.get("baseline", {})
    tree["baseline"] = without_foreign("baseline", baseline, baseline.get("method"))
    return PipelineConfig.model_validate(tree)


def change_runtime(
    config: PipelineConfig, settings: Sequence[str], sections: Sequence[str] = ("runtime",)
) -> PipelineConfig:
    """Return a recorded run's configuration with changes to `runtime`, which leave its results as they are.

    `sections` names those that may be changed, in place of `runtime` alone.

    Raises:
        InputError: a setting of another section or an unknown one, or a value that does not fit.
    """
    tree = config.model_dump(mode="json")
    for setting in settings:
        if setting.partition(".")[0] not in sections:
            allowed = ", ".join(f"{section}.*" for section in sections)
            raise InputError(
                f"--set: {quoted(setting, _LONGEST_VALUE)} would change the result; "
                f"of a recorded run only {allowed} can change"
            )
        _apply_setting(tree, setting)
    return _validated(tree)


def runtime_alone(settings: Sequence[str]) -> list[str]:
    """Return the settings of the section `runtime`."""
    return [setting for setting in settings if setting.startswith("runtime.")]


METHOD = "scaling.method"


def _apply_settings(tree: dict[str, Any], settings: Sequence[str]) -> None:
    """Apply changes in their order, changes of a method before all others: they take the old method's settings away."""
    sections = {f"{section}.method": section for section in METHODS}
    written = [_with_method(setting) for setting in settings]
    for setting in sorted(written, key=lambda each: each.partition("=")[0] not in sections):
        _apply_setting(tree, setting)
        if section := sections.get(setting.partition("=")[0]):
            known = section_at(tree, section)
            tree |= with_section(tree, section, without_foreign(section, known, known["method"]))


def _with_method(setting: str) -> str:
    """Return a setting that names a judge, `evaluation.judge=keyword`, as the one of its method that it stands for."""
    name, _, text = setting.partition("=")
    is_name = "." in name and name in METHODS and isinstance(set_value(text), str)
    return f"{name}.method={text}" if is_name else setting


def _apply_setting(tree: dict[str, Any], setting: str) -> None:
    name, equals, text = setting.partition("=")
    keys = name.split(".")
    if not equals or len(keys) < 2 or not all(keys):
        raise InputError(
            f"--set: {quoted(setting, _LONGEST_VALUE)} is not of the form section.field=value, e.g. scaling.steps=20"
        )
    branch = tree
    for key in keys[:-1]:
        branch = branch.setdefault(key, {})
        if not isinstance(branch, dict):
            raise InputError(
                f"--set: {quoted(name, _LONGEST_VALUE)} goes below a field that is a plain value; "
                "see `neurontune settings`"
            )
    branch[keys[-1]] = set_value(text)


def set_value(text: str) -> Any:
    """Return a value read as TOML, or the text itself if it is no TOML: quotes are optional."""
    try:
        read = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # no TOML, or a number or nesting that Python does not read
        return text
    return read["value"] if len(read) == 1 else text


def _explain(error: ValidationError) -> str:
    lines: dict[str, str] = {}
    for item in error.errors():
        location = _without_method(item["loc"])
        # where a field takes two types, pydantic reports one error for each and adds the type to the place
        place = ".".join(_plain(part) for part in location if part not in ("int", "float"))
        if item["type"] == "extra_forbidden":
            listed = nearest_first(str(item["loc"][-1]), _fields_at(item["loc"][:-1]))
            owners = ", ".join(_owners(item["loc"]))
            belongs = f"; it belongs to {owners}" if owners else ""
            lines[place] = f"{place}: unknown field; the fields there are {listed or 'none'}{belongs}"
        else:
            value = item["input"]
            if item["type"] == UNKNOWN_METHOD:
                place, value = f"{place}.method", value["method"] if isinstance(value, dict) else value
            given = re.sub(r"//[^/]*@", "//***@", quoted(value, _LONGEST_VALUE))
            syntax = "; write a list as a,b" if item["type"] in ("tuple_type", "list_type") else ""
            lines[place] = f"{place}: {item['msg'].removeprefix('Value error, ')} (got {given}){syntax}"
    shown = list(lines.values())[:_MOST_ERRORS]
    return "; ".join(shown + ([f"and {len(lines) - len(shown)} more"] if len(lines) > len(shown) else []))


def _plain(part: int | str) -> str:
    """Return a key as it is, or between quotes with its control characters spelled out."""
    return (
        str(part) if str(part).isprintable() and 0 < len(str(part)) <= _LONGEST_VALUE else quoted(part, _LONGEST_VALUE)
    )


def _without_method(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return the place of an error without the method, which pydantic adds: `scaling`, `maml`, `steps`."""
    section, method = _method_at(location)
    return (*location[:section], *location[section + 1 :]) if method else location


def _method_at(location: tuple[int | str, ...]) -> tuple[int, str]:
    """Return how many parts of the place of an error name its section, and the method that follows, "" without one."""
    for section, methods in METHODS.items():
        parts = section.split(".")
        count = len(parts)
        if len(location) > count and list(location[:count]) == parts and location[count] in methods:
            return count, str(location[count])
    return len(location), ""


def _owners(location: tuple[int | str, ...]) -> list[str]:
    """Return the methods that have a field which is unknown to a method without settings of its own."""
    count, method = _method_at(location)
    methods = METHODS.get(".".join(map(str, location[:count])), {})
    if not method or list(methods[method].model_fields) != ["method"]:
        return []
    return [name for name, form in methods.items() if location[-1] in form.model_fields]


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    section: type[BaseModel] = PipelineConfig
    count, method = _method_at(location)
    if method:
        section, location = METHODS[".".join(map(str, location[:count]))][method], location[count + 1 :]
    for part in location:
        field = section.model_fields.get(str(part))
        annotation = field.annotation if field else SourceConfig
        section = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else SourceConfig
    return list(section.model_fields)
