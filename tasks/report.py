"""The report of a run: one HTML file beside the evaluation, made anew where earlier runs have been added."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from neurontune_core import artifacts, reproduce, tables
from neurontune_core.config import PipelineConfig
from neurontune_core.evaluation import report
from neurontune_core.evaluation.report import EarlierRun, RunRecord
from neurontune_core.model.source import ModelReference
from neurontune_core.pairs.own_refusals import warning
from neurontune_core.records import Artifact
from neurontune_core.selection.knockout import statement
from tasks import tracking
from tasks.cards import cards_in
from tasks.mlflow_entities import facts_of
from tasks.mlflow_store import Tracking

STAGE, FILE = "report", "report.html"


@task(name=STAGE, task_run_name=STAGE, cache_policy=NO_CACHE)
def write_report(
    config: PipelineConfig, title: str, made: Mapping[str, Artifact], model: ModelReference, root: str, record: Tracking
) -> Artifact:
    """Write the report of a run from the artifacts of its stages, below the artifact root."""
    earlier = [EarlierRun(*each) for each in tracking.earlier_runs(record)]

    def fill(folder: Path) -> dict[str, Any]:
        page = report.render_report(_gathered(config, title, made, model, earlier))
        (folder / FILE).write_text(page, encoding="utf-8")
        return {}

    settings = config.model_dump(mode="json", exclude={"runtime"})
    inputs = [title, *(artifact.digest for artifact in made.values()), *map(str, earlier)]
    key = artifacts.stage_key(STAGE, report.VERSION, settings, model.identity, inputs)
    artifact = artifacts.find(root, STAGE, key) or artifacts.write(root, STAGE, key, fill, settings)
    tracking.record_file(record, artifact, FILE)
    return artifact


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
        completions=tables.load_table(evaluation, "completions"),
        facts=facts_of(made["evaluation"]) | {f"{a.stage}/{n}": v for a in others for n, v in facts_of(a).items()},
        scaling=tables.load_scaling(scaling) if scaling else None,
        curve=tables.load_table(scaling, "curve") if scaling else None,
        neurons_per_layer=model.neurons_per_layer,
        dequantised=model.dequantised,
        settings=config.model_dump(mode="json", exclude={"runtime"}),
        versions=artifacts.read_manifest(made["evaluation"])["versions"],
        digests={stage: artifact.digest for stage, artifact in made.items()},
        command=reproduce.command(config),
        earlier=earlier,
        warning=warning(facts_of(made["pairs"])),
        silenced=statement(facts_of(made["selection"])) if "selection" in made else "",
        cards=cards_in(made["cards"]) if "cards" in made else (),
    )
