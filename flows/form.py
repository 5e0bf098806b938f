"""The pipeline as a form in Prefect's UI: what people change first, and one list for everything else."""

import json
from typing import Any, Literal

from prefect import flow

from flows.pipeline import pipeline
from flows.run_names import named
from flows.stage_names import Stage
from neurontune_core.config import PipelineConfig, load_config
from neurontune_core.records import Artifact
from neurontune_core.run_name import run_name

PresetName = Literal[
    "default",
    "gemma-3-1b",
    "llama-3.1-8b",
    "llama-3.2-1b",
    "qwen2.5-1.5b",
    "qwen2.5-coder-0.5b",
    "qwen2.5-coder-1.5b",
    "smollm2",
    "smollm2-quick",
    "tiny",
]
FIELDS = {
    "harmful": "pairs.harmful",
    "benign": "pairs.benign",
    "safety_neurons": "selection.safety_neurons",
    "utility_neurons": "selection.utility_neurons",
    "steps": "scaling.steps",
    "benchmarks": "evaluation.benchmarks",
}
"""The form's own fields, and the settings they stand for."""


def config_of(given: dict[str, Any]) -> PipelineConfig:
    """Return the configuration that the form's fields ask for; an entry of `settings` wins over a field.

    Raises:
        InputError: unknown preset or setting, or a value that does not fit.
    """
    fields = [f"{name}={json.dumps(given[field])}" for field, name in FIELDS.items() if given[field] not in (None, [])]
    named_run = [f"runtime.name={json.dumps(given['name'].strip())}"] if given["name"].strip() else []
    return load_config(given["preset"], [*fields, *named_run, *given["settings"]], given["model"].strip() or None)


@flow(name="neurontune", flow_run_name=named(lambda given: run_name(config_of(given))))
def neurontune(
    preset: PresetName = "smollm2",
    model: str = "",
    harmful: list[str] = [],  # noqa: B006  # what the form shows; never changed
    benign: list[str] = [],  # noqa: B006
    safety_neurons: float | None = None,
    utility_neurons: float | None = None,
    steps: int | None = None,
    benchmarks: list[str] = [],  # noqa: B006
    settings: list[str] = [],  # noqa: B006
    name: str = "",
    refresh: list[Stage] = [],  # noqa: B006
) -> dict[str, Artifact]:
    """Find and scale the neurons that carry safety and utility in a chat model, and measure what that changes.

    Args:
        preset: Fills in everything that is left empty below; `default` is for models of your own.
        model: Folder, GGUF file, hub id or `packaged:NAME`; empty: the preset's.
        harmful: Datasets of harmful queries: `shipped`, `advbench` and others, or files; empty: the preset's.
        benign: Datasets of harmless queries: `shipped`, `alpaca` and others, or files; empty: the preset's.
        safety_neurons: Number of safety neurons: a count, or a fraction of all if below 1.
        utility_neurons: Number of utility neurons: a count, or a fraction of all if below 1.
        steps: Number of outer steps in which the factors are learned.
        benchmarks: Prompts of the evaluation: `shipped`, `advbench`, `advbench/heldout`, or files; empty: the preset's.
        settings: Any other setting, an entry each, as `section.field=value`, e.g. `attribution.shards=8`;
            `neurontune settings` lists them.
        name: Name of the run; empty: model, preset and changed settings.
        refresh: Stages to compute again even if their results exist.
    """
    given = {
        "preset": preset, "model": model, "harmful": harmful, "benign": benign, "safety_neurons": safety_neurons,
        "utility_neurons": utility_neurons, "steps": steps, "benchmarks": benchmarks, "settings": settings,
        "name": name,
    }  # fmt: skip
    return pipeline.fn(config_of(given), tuple(refresh))
