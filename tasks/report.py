"""The report of a run: one HTML file beside the evaluation, written again when runs with other results are new."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from neurontune_core import artifacts, tables
from neurontune_core.config import PipelineConfig
from neurontune_core.evaluation import report
from neurontune_core.evaluation.judging import MODELS
from neurontune_core.evaluation.report import EarlierRun, RunRecord
from neurontune_core.evaluation.report_headline import StageTime
from neurontune_core.model.source import ModelReference
from neurontune_core.pairs.own_refusals import warning
from neurontune_core.records import Artifact
from neurontune_core.selection.knockout import silencing_statement
from tasks import causal, scores
from tasks.baseline import changing_stage
from tasks.cards import cards_in
from tasks.models import describe, device_in_words
from tasks.recording import reproduce, tracking
from tasks.recording.mlflow_entities import facts_of
from tasks.recording.mlflow_store import Tracking, tracking_uri
from tasks.recording.run_list import store_of
from tasks.recording.runs import RecordedRun
from tasks.recording.step_runs import ATTRIBUTION

STAGE, FILE = "report", "report.html"


@task(name=STAGE, task_run_name=STAGE, cache_policy=NO_CACHE)
def write_report(
    config: PipelineConfig, title: str, made: Mapping[str, Artifact], model: ModelReference, root: str, record: Tracking
) -> Artifact:
    """Write the report of a run from the artifacts of its stages, below the artifact root."""
    earlier = [EarlierRun(*each) for each in tracking.earlier_runs(record, made["evaluation"])]

    def fill(folder: Path) -> dict[str, Any]:
        page = report.render_report(_gathered(config, title, made, model, earlier))
        (folder / FILE).write_text(page, encoding="utf-8")
        return {}

    settings = config.model_dump(mode="json", exclude={"runtime"})
    digests = [artifact.digest for artifact in made.values()]
    inputs = [title, device_in_words(config.runtime), *digests, *map(str, earlier)]
    key = artifacts.stage_key(STAGE, report.VERSION, settings, model.identity, inputs)
    artifact = artifacts.find(root, STAGE, key) or artifacts.write(root, STAGE, key, fill, settings)
    tracking.record_file(record, artifact, FILE)
    return artifact


def page_of(run: RecordedRun) -> str:
    """Return the report of a recorded run, rendered again from its artifacts; no model is loaded.

    Raises:
        InputError: the run was not evaluated, or its model does not exist.
        ArtifactError: an artifact is gone or damaged.
    """
    for stage in ("evaluation", "pairs", "selection", changing_stage(run.stages)):
        run.artifact(stage)
    runtime = run.config.runtime
    record = Tracking(uri=tracking_uri(runtime), run_id=run.run_id, experiment_id=store_of(runtime)[1])
    made = shown_stages(run)
    earlier = [EarlierRun(*each) for each in tracking.earlier_runs(record, made["evaluation"])]
    return report.render_report(_gathered(run.config, run.name, made, describe(run.config.model), earlier))


def shown_stages(run: RecordedRun) -> dict[str, Artifact]:
    """Return the artifacts that a recorded run's report shows, by stage.

    Raises:
        ArtifactError: an artifact is gone, or its manifest is damaged.
    """
    return {stage: run.artifact(stage) for stage in run.stages if stage not in (ATTRIBUTION, STAGE)}


def _gathered(
    config: PipelineConfig, title: str, made: Mapping[str, Artifact], model: ModelReference, earlier: list[EarlierRun]
) -> RunRecord:
    evaluation = artifacts.open_folder(made["evaluation"])
    scaling = artifacts.open_folder(made["scaling"]) if "scaling" in made else None
    others = [artifact for artifact in made.values() if artifact.stage != "evaluation"]
    return RunRecord(
        title=title,
        model=model.name,
        rates=tables.load_table(evaluation, "rates"),
        completions=_with_cuts(tables.load_table(evaluation, "completions"), made, config.evaluation.max_new_tokens),
        facts=facts_of(made["evaluation"]) | {f"{a.stage}/{n}": v for a in others for n, v in facts_of(a).items()},
        scaling=tables.load_scaling(scaling) if scaling else None,
        curve=tables.load_table(scaling, "curve") if scaling else None,
        neurons_per_layer=model.neurons_per_layer,
        dequantised=model.dequantised,
        quantised=model.rounded,
        settings=config.model_dump(mode="json", exclude={"runtime"}),
        versions=artifacts.read_manifest(made["evaluation"])["versions"],
        digests={stage: artifact.digest for stage, artifact in made.items()},
        command=reproduce.command(config),
        earlier=earlier,
        warning=warning(facts_of(made["pairs"])),
        silenced=silencing_statement(facts_of(made["selection"])) if "selection" in made else "",
        cards=cards_in(made["cards"]) if "cards" in made else (),
        works=_works(made),
        device=device_in_words(config.runtime),
        weights=model.weights,
        triggers=tables.load_table(artifacts.open_folder(made["triggers"]), "words") if "triggers" in made else None,
        causal=_curves(made["causal"]) if "causal" in made else {},
    )


def _curves(study: Artifact) -> dict[str, bytes]:
    """Return the drawings of a causal study by name, a panel each."""
    # matplotlib, which other reports do not need
    from neurontune_core.causal.drawing import draw_panels
    from neurontune_core.studies.plots import as_svg

    panels = draw_panels(tables.load_table(artifacts.open_folder(study), causal.TABLE))
    return {name: as_svg(figure).encode() for name, figure in panels.items()}


def _works(made: Mapping[str, Artifact]) -> list[StageTime]:
    """Return when each stage was computed and how long it took; attribution's shards are inputs of the scores."""
    works = []
    for stage, artifact in made.items():
        manifest = artifacts.read_manifest(artifact)
        if stage == scores.STAGE and (shards := scores.shard_manifests(artifact)):
            seconds = sum(shard["seconds"] for shard in shards)
            works.append(StageTime(ATTRIBUTION, min(shard["started"] for shard in shards), seconds))
        works.append(StageTime(stage, manifest["started"], manifest["seconds"]))
    return works


def _with_cuts(completions: pd.DataFrame, made: Mapping[str, Artifact], longest: int) -> pd.DataFrame:
    """Return the completions with the column `cut`: the answer reached the longest allowed length."""
    given = [tables.load_table(artifacts.open_folder(made[model]), "answers") for model in MODELS if model in made]
    lengths = [len(ids) for table in given if "tokens" in table for ids in table["tokens"]]
    if len(lengths) != len(completions):  # earlier versions did not store the tokens of answers
        return completions.assign(cut=False)
    return completions.assign(cut=[length >= longest for length in lengths])
