"""The tree of MLflow runs that a pipeline run leaves, for tests."""

import json
from pathlib import Path
from typing import Any

from neurontune_core.config import PipelineConfig
from tasks.recording.mlflow_store import client_of, tracking_uri

Run = Any
RECORDED = (
    *("pairs", "attribution", "scores", "selection", "cards", "scaling"),
    *("base", "tuned", "evaluation", "base-ability", "ability", "triggers"),
)
"""The stages that have a run below that of a pipeline without a baseline."""


def runs_of(config: PipelineConfig) -> tuple[list[Run], list[Run]]:
    """Return the pipeline runs and the step runs, oldest first; not the answers, which are below no run."""
    client = client_of(tracking_uri(config.runtime))
    experiment = client.get_experiment_by_name("neurontune")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], order_by=["start_time ASC"])
    runs = [run for run in runs if run.data.tags.get("step.name") != "answers"]
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    return parents, [run for run in runs if run not in parents]


def below(parent: Run, steps: list[Run]) -> dict[str, Run]:
    return {run.info.run_name: run for run in steps if run.data.tags["mlflow.parentRunId"] == parent.info.run_id}


def check_parent(config: PipelineConfig, run: Run) -> None:
    client = client_of(tracking_uri(config.runtime))
    assert run.data.params["scaling.steps"] == str(config.scaling.steps)
    assert "runtime.mlflow_uri" not in run.data.params
    assert run.data.metrics["eval/su_f1"] == 0.5
    assert [point.value for point in client.get_metric_history(run.info.run_id, "scaling/loss")] == [2.0, 1.0]
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"completions.json", "rates.json", "report.html"} <= files


def load_table(config: PipelineConfig, run: Run) -> dict[str, Any]:
    found = client_of(tracking_uri(config.runtime)).download_artifacts(run.info.run_id, "completions.json")
    table: dict[str, Any] = json.loads(Path(found).read_text())
    return table
