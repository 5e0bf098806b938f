"""A study's result: the artifacts of its variants' runs, read into one table, one drawing and one page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from neurontune_core import artifacts, tables
from neurontune_core.baselines.settings import SearchedSettings
from neurontune_core.config import PipelineConfig
from neurontune_core.evaluation.answered_by import answered_by
from neurontune_core.model.source import ModelReference
from neurontune_core.records import Artifact, Role
from neurontune_core.run_name import leaves
from neurontune_core.selection.ranking import Values, strengths
from neurontune_core.studies import budget, overlap, page, plots, results, worth
from neurontune_core.studies.catalogue import Study
from neurontune_core.studies.results import Measured
from tasks.baseline import changing_stage
from tasks.recording import reproduce, tracking
from tasks.recording.mlflow_entities import facts_of
from tasks.recording.mlflow_store import Tracking
from tasks.scores import shard_manifests

STAGE = "study"
TABLE, TRIALS, OVERLAP, VARIANTS, PAGE, PLOT = "table", "trials", "overlap", "variants", "page.md", "plot.svg"
VERSION = 7


@dataclass(frozen=True)
class Variant:
    """A finished variant: its configuration, its artifacts by stage, and its model."""

    config: PipelineConfig
    made: Mapping[str, Artifact]
    model: ModelReference


@task(name=STAGE, task_run_name=STAGE, cache_policy=NO_CACHE)
def write_study(
    name: str,
    study: Study,
    variants: Mapping[str, Variant],
    trials: Sequence[Mapping[str, float]],
    common: PipelineConfig,
    command: str,
    record: Tracking,
) -> Artifact:
    """Write a study's table, drawing and page below the artifact root, and record them to MLflow."""
    table = _table(study, variants)
    searches = _searches(variants) if study.searched == "baselines" else {}
    every_trial = pd.DataFrame(trials)
    if searches:
        every_trial = pd.concat([one.assign(variant=name) for name, one in searches.items()])
    search_note = page.trial_rows(trials) if trials else ""
    if study.searched == "baselines" and (searches or study.through == "evaluation"):
        search_note = budget.section(common, searches, _preferred(variants))
    engines = {name: answered_by(dict(leaves(one.config))) for name, one in variants.items()}
    engine_note = page.answer_note(engines) if study.through == "evaluation" else ""

    def fill(folder: Path) -> dict[str, Any]:
        tables.save_table(folder, TABLE, table)
        if len(every_trial):
            tables.save_table(folder, TRIALS, every_trial)
        # `neurontune run` makes neither the causal table nor the table of attacks
        repeatable = {} if study.through in ("causal", "robustness") else variants
        commands = {variant: reproduce.command(one.config) for variant, one in repeatable.items()}
        body = page.comparison_body(table, study, PLOT)
        if study.layout == "layers":
            shared = overlap.overlap_table({variant: _strengths(one) for variant, one in variants.items()})
            tables.save_table(folder, OVERLAP, shared)
            body += "\n\n" + page.overlap_section(shared)
        if study.layout == "worth":
            every = _every_variant(variants)
            tables.save_table(folder, VARIANTS, every)
            body += "\n\n" + page.variants_section(every)
        notes = "\n\n".join(filter(None, [engine_note, search_note]))
        (folder / PAGE).write_text(page.render_page(study, body, command, commands, notes), encoding="utf-8")
        (folder / PLOT).write_text(plots.draw(table, study.layout, study.title), encoding="utf-8")
        return {}

    inputs = [artifact for one in variants.values() for artifact in one.made.values()]
    settings = {"study": name, "variants": {variant: list(study.variants.get(variant, ())) for variant in variants}}
    shown = [table.to_json(orient="records"), every_trial.to_json(orient="records")]
    digests = [*(artifact.digest for artifact in inputs), command, *shown, *filter(None, [engine_note])]
    root = artifacts.absolute_root(common.runtime.root)
    key = artifacts.stage_key(STAGE, VERSION, settings, "", digests)
    artifact = artifacts.find(root, STAGE, key) or artifacts.write(root, STAGE, key, fill, settings, inputs)
    for file in artifacts.read_manifest(artifact)["files"]:
        tracking.record_file(record, artifact, file)
    return artifact


def _table(study: Study, variants: Mapping[str, Variant]) -> pd.DataFrame:
    if study.layout == "layers":
        return results.layer_table(
            {
                name: (tables.load_neurons(artifacts.open_folder(one.made["selection"])), one.model.neurons_per_layer)
                for name, one in variants.items()
            }
        )
    if study.layout in ("causal", "rankings"):
        tables_of = {
            name: tables.load_table(artifacts.open_folder(one.made["causal"]), "table")
            for name, one in variants.items()
        }
        seconds = {name: _seconds_of_attribution(one.made) for name, one in variants.items()}
        return results.causal_tables(tables_of, seconds)
    if study.layout == "robustness":
        return results.attack_table(
            {
                name: tables.load_table(artifacts.open_folder(one.made["robustness"]), "table")
                for name, one in variants.items()
            }
        )
    measured = {name: _measured(one.made) for name, one in variants.items()}
    if study.layout == "worth":
        return worth.worth_table(measured, _arms(variants))
    if study.layout == "attack_types":
        return results.attack_type_table(measured)
    if study.layout == "datasets":
        return results.dataset_table(measured)
    table = results.comparison_table(measured)
    return pd.concat([table, results.spread(table)], ignore_index=True) if study.layout == "seeds" else table


def _arms(variants: Mapping[str, Variant]) -> dict[str, worth.Arm]:
    return worth.arms_of({name: one.config for name, one in variants.items()})


def _every_variant(variants: Mapping[str, Variant]) -> pd.DataFrame:
    """Return a row for each variant of a study of selection, compared with the attributed one of its size and seed."""
    measured = {name: _measured(one.made) for name, one in variants.items()}
    return results.comparison_table(measured, worth.references(_arms(variants)))


def _strengths(one: Variant) -> dict[Role, Values]:
    """Return how strongly every neuron carries each role, by the variant's scores and ranking settings."""
    table = tables.load_table(artifacts.open_folder(one.made["scores"]), "scores")
    return strengths(table, one.config.selection, one.model.neurons_per_layer, one.config.attribution.method)


def _searches(variants: Mapping[str, Variant]) -> dict[str, pd.DataFrame]:
    """Return the trials of each baseline that Optuna searched, a row a trial."""
    found = {}
    for name, one in variants.items():
        if isinstance(one.config.baseline, SearchedSettings) and one.config.baseline.trials:
            found[name] = tables.load_table(artifacts.open_folder(one.made[changing_stage(one.made)]), TRIALS)
    return found


def _preferred(variants: Mapping[str, Variant]) -> dict[str, Mapping[str, float]]:
    """Return the facts of each fit by preferences (DPO)."""
    dpo = {name: one for name, one in variants.items() if one.config.baseline.method == "dpo"}
    return {name: facts_of(one.made[changing_stage(one.made)]) for name, one in dpo.items()}


def _seconds_of_attribution(made: Mapping[str, Artifact]) -> float:
    """Return the seconds that attribution of all pairs took: the sum over the shards of the scores."""
    return sum(float(shard["seconds"]) for shard in shard_manifests(made["scores"]))


def _measured(made: Mapping[str, Artifact]) -> Measured:
    change = made[changing_stage(made)]
    evaluation = made["evaluation"]
    chosen = facts_of(made["selection"])
    parameters = facts_of(change).get("parameters", chosen["safety_neurons"] + chosen["utility_neurons"])
    return Measured(
        completions=tables.load_table(artifacts.open_folder(evaluation), "completions"),
        facts=facts_of(evaluation),
        parameters=int(parameters),
        seconds=float(artifacts.read_manifest(change)["seconds"]),
    )
