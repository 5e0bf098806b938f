"""The whole configuration: all sections together, read from presets and from changes on the command line."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from neurontune_core.attribution.settings import AttributionConfig
from neurontune_core.baselines.settings import BaselineConfig, NoBaseline
from neurontune_core.causal.settings import CausalConfig
from neurontune_core.data_names import short_name, with_absolute_paths
from neurontune_core.errors import InputError
from neurontune_core.evaluation.settings import EvaluationConfig
from neurontune_core.model.settings import ModelConfig
from neurontune_core.pairs.settings import PairsConfig
from neurontune_core.preset_files import preset_names, read_preset
from neurontune_core.robustness.settings import RobustnessConfig
from neurontune_core.runtime_settings import RuntimeConfig
from neurontune_core.scaling.settings import MarginFitSettings, ScalingConfig
from neurontune_core.section import Section
from neurontune_core.section_methods import without_foreign
from neurontune_core.selection.settings import SelectionConfig
from neurontune_core.setting_changes import LONGEST_VALUE, apply_setting, apply_settings
from neurontune_core.setting_errors import explain_settings
from neurontune_core.shown_text import quoted

DEFAULT_PRESET = "smollm2"
ANY_MODEL_PRESET = "default"
"""The preset of a run that names a model and no preset."""


def absolute_path(name: str) -> str:
    """Return the absolute path of a file or folder, so that a process in another folder finds it; else the name.

    A name is a path if it starts with `~`, `./` or `../`, or if a file or folder of that name exists.
    """
    path = os.path.expanduser(name)
    return os.path.abspath(path) if name.startswith(("~", "./", "../")) or os.path.exists(path) else name


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
        # so that a worker in another folder finds the same files
        lists = {name: with_absolute_paths(getattr(section, name)) for name in DATA_LISTS if hasattr(section, name)}
        return section.model_copy(update=lists)


CAUSAL_SECTIONS = ("causal", "evaluation", "runtime")
"""Sections that a causal study of a recorded run may set."""
DATA_LISTS = ("harmful", "benign", "attacks", "refusals", "benchmarks")
"""Settings that name data."""


def contents(section: PairsConfig | EvaluationConfig) -> dict[str, Any]:
    """Return a section's settings for a stage's key: places of data are left out, because the key has their digests.

    So the same data give the same key under any path, or from the hub. The name of a user's file is part of the
    settings, but its folder is not.
    """
    settings = section.model_dump(mode="json")
    limits = {name: source.limit for name, source in section.sources.items() if source.limit is not None}
    prompts = {
        name: source.system_prompt for name, source in section.sources.items() if source.system_prompt is not None
    }
    lists = {name: [short_name(text) for text in settings[name]] for name in DATA_LISTS if name in settings}
    if isinstance(section, PairsConfig):
        settings["holdout_unsafety_categories"] = []  # a former setting, which is still in the keys of existing runs
    return settings | lists | {"sources": limits} | ({"system_prompts": prompts} if prompts else {})


def load_config(
    preset: str | None = None,
    settings: Sequence[str] = (),
    model: str | None = None,
    variant: Sequence[str] = (),
) -> PipelineConfig:
    """Return the configuration of a preset (shipped name, or path of a TOML file) with `section.field=value` changes.

    Args:
        preset: name or path; by default `smollm2`, or `default` where a model is named.
        settings: the changes, e.g. `scaling.steps=20`.
        model: the model to use instead of the preset's, as in the setting `model.name`.
        variant: changes that come after the others. If they change a section's method, settings of that section that
            only other methods have are left out: `scaling.method=dial` leaves out `scaling.steps`.

    Raises:
        InputError: unknown preset or field, or a value that does not fit.
    """
    name = (DEFAULT_PRESET if model is None else ANY_MODEL_PRESET) if preset is None else preset
    tree = read_preset(name)
    sections = [tree.setdefault(section, {}) for section in ("model", "runtime")]
    if not all(isinstance(section, dict) for section in sections):
        return _validated(tree)  # this error names the section that is not a table
    named, runtime = sections
    runtime.setdefault("preset", Path(name).stem)
    apply_settings(tree, settings)
    apply_settings(tree, variant)
    if name not in preset_names():
        changed = [setting for setting in (*settings, *variant) if not setting.startswith("runtime.")]
        runtime.setdefault("changed", changed)
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
        raise InputError(explain_settings(error, PipelineConfig)) from error


GONE = {
    "pairs": {
        "attacks_per_type": 1,
        "ranking_success_tokens": 0,
        "refusal_phrasings": 1,
        "holdout_unsafety_categories": [],
    }
}
"""Settings of earlier versions, each with the value that has the same effect as the present code."""


def recorded_config(tree: Mapping[str, Any]) -> PipelineConfig:
    """Return the configuration of a recorded run, also of a run by an earlier version that had more settings.

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
                    f"run: it was made with the setting {section}.{name}, which this version of NeuronTune does not "
                    f"have; use the version that made it"
                )
    evaluation = tree.get("evaluation", {})
    path = evaluation.pop("judge_path", None)
    if path is not None and isinstance(evaluation.get("judge"), str):
        judge = {"method": evaluation["judge"], "path": path}
        evaluation["judge"] = without_foreign("evaluation.judge", judge, judge["method"])  # rules never read a path
    baseline = tree.get("baseline", {})
    tree["baseline"] = without_foreign("baseline", baseline, baseline.get("method"))
    return PipelineConfig.model_validate(tree)


def check_dial(config: PipelineConfig) -> None:
    """Check that the dial scales the neurons that carry refusal and those that work against it, before it is learned.

    Raises:
        InputError: one of the sets is another one, and has neurons.
    """
    if config.scaling.method != "dial" or config.baseline.method != "none":
        return
    selection = config.selection
    for role, wanted in (("safety", "carries_refusal"), ("utility", "opposes_refusal")):
        chosen = getattr(selection, f"{role}_set")
        if chosen != wanted and getattr(selection, f"{role}_neurons"):
            raise InputError(
                f"selection.{role}_set: is {chosen}, but scaling.method=dial amplifies the neurons that carry refusal "
                f"and damps those that work against it; set it to {wanted}"
            )


def change_sections(config: PipelineConfig, settings: Sequence[str], sections: Sequence[str]) -> PipelineConfig:
    """Return a configuration with changes to some of its sections.

    Raises:
        InputError: a setting of another section or an unknown one, or a value that does not fit.
    """
    tree = config.model_dump(mode="json")
    for setting in settings:
        if setting.partition(".")[0] not in sections:
            allowed = ", ".join(f"{section}.*" for section in sections)
            raise InputError(
                f"--set: {quoted(setting, LONGEST_VALUE)} would change the result; "
                f"of a recorded run only {allowed} can change"
            )
        apply_setting(tree, setting)
    return _validated(tree)


def change_runtime(config: PipelineConfig, settings: Sequence[str]) -> PipelineConfig:
    """Return a configuration with changes to `runtime`, which do not change its results.

    Raises:
        InputError: a setting of another section or an unknown one, or a value that does not fit.
    """
    return change_sections(config, settings, ("runtime",))


def runtime_alone(settings: Sequence[str]) -> list[str]:
    """Return the settings of the section `runtime`."""
    return [setting for setting in settings if setting.startswith("runtime.")]
