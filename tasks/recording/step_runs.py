"""The MLflow runs of a pipeline run's steps: one for each attempt at a stage, a stub for a stage that is reused."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from neurontune_core import artifacts
from neurontune_core.records import Artifact
from tasks.recording import system_metrics
from tasks.recording.mlflow_entities import (
    curve_of,
    data_files_of,
    dataset_of,
    facts_of,
    metrics_of,
    parameters_of,
    place_of,
)
from tasks.recording.mlflow_links import origin_tags, reuse_tags
from tasks.recording.mlflow_models import name_output
from tasks.recording.mlflow_spool import best_effort, create_run, now, prefect_tags
from tasks.recording.mlflow_store import Tracking, client_of

if TYPE_CHECKING:
    from mlflow.entities import Metric

LARGEST_FILE = 16 << 20
SHARDS_FILE = "shards.json"
"""The file of an attribution step that names its shards, reused ones included."""
ATTRIBUTION = "attribution"
SHARD = "attribution-shard"
"""`step.name` of the runs of single shards, below attribution's."""


@contextmanager
def step(
    tracking: Tracking, stage: str, key: str, settings: BaseModel | Mapping[str, Any], inputs: Sequence[Artifact]
) -> Iterator[str | None]:
    """Open a run for one attempt at a stage; it ends FINISHED, FAILED, or KILLED if it was interrupted.

    Yields the run's id, None if it could not be recorded.
    """
    run_id = open_step(tracking, stage, key, settings, inputs)
    samples: Sequence[Mapping[str, float]] = []
    try:
        with system_metrics.sampled() as samples:
            yield run_id
    except BaseException as error:
        record_samples(tracking, run_id, samples)  # they show, for example, how the memory ran out
        close_step(tracking, run_id, "FAILED" if isinstance(error, Exception) else "KILLED", str(error))
        raise
    record_samples(tracking, run_id, samples)
    close_step(tracking, run_id, "FINISHED")


@best_effort
def record_samples(tracking: Tracking, run_id: str | None, samples: Sequence[Mapping[str, float]]) -> None:
    """Record the samples of processor and memory that a stage used."""
    if run_id is not None and samples:
        log_metrics(tracking, run_id, system_metrics.points(samples))


@best_effort
def open_step(
    tracking: Tracking, stage: str, key: str, settings: BaseModel | Mapping[str, Any], inputs: Sequence[Artifact]
) -> str:
    """Open the run of a stage attempt, with its settings as parameters and its inputs as datasets."""
    tags = {"step.attempt": "1"} | _step_tags(tracking, stage, key, "executed") | origin_tags(tracking, inputs)
    client = client_of(tracking.uri)
    run_id = create_run(tracking, stage, tags)
    settings = settings.model_dump(mode="json") if isinstance(settings, BaseModel) else settings
    name_output(tracking, run_id)
    record_parameters(tracking, run_id, {stage: settings})
    client.log_inputs(run_id, datasets=[dataset_of(artifact, "input") for artifact in inputs])
    return run_id


@best_effort
def close_step(tracking: Tracking, run_id: str | None, status: str, reason: str = "") -> None:
    """End the run of a stage attempt; a failure's reason is kept as a tag."""
    if run_id is None:
        return
    if reason:
        client_of(tracking.uri).set_tag(run_id, "step.error", reason[:1000])
    client_of(tracking.uri).set_terminated(run_id, status, end_time=now())


@best_effort
def record_parameters(tracking: Tracking, run_id: str, settings: Mapping[str, Any]) -> None:
    """Record settings as parameters named `section.field`."""
    from mlflow.entities import Param

    values = [Param(name, value) for name, value in parameters_of(settings)]
    for start in range(0, len(values), 100):
        client_of(tracking.uri).log_batch(run_id, params=values[start : start + 100])


@best_effort
def record_artifact(tracking: Tracking, run_id: str | None, artifact: Artifact) -> None:
    """Record what a stage made: its facts as metrics, its digest as an output dataset, and its smaller files."""
    if run_id is None:
        return
    client = client_of(tracking.uri)
    manifest = artifacts.read_manifest(artifact)
    log_metrics(tracking, run_id, metrics_of(artifact.stage, manifest["facts"]) + curve_of(artifact))
    client.log_inputs(run_id, datasets=[dataset_of(artifact, "output")])
    client.set_tag(run_id, "step.artifact", place_of(artifact))
    folder = artifacts.open_folder(artifact)
    small = [name for name, entry in manifest["files"].items() if entry["bytes"] <= LARGEST_FILE]
    for name in [*small, artifacts.MANIFEST]:
        client.log_artifact(run_id, str(folder / name), str(Path(name).parent) if "/" in name else None)


@best_effort
def record_facts(tracking: Tracking, run_id: str | None, stage: str, facts: Mapping[str, float]) -> None:
    """Record facts of a stage as metrics of a run."""
    if run_id is not None:
        log_metrics(tracking, run_id, metrics_of(stage, facts))


@best_effort
def record_shard(
    tracking: Tracking, shard: int, name: str, artifact: Artifact, samples: Sequence[Mapping[str, float]] = ()
) -> None:
    """Add a run below attribution's for a shard that was computed now, with its facts."""
    if not tracking.step_run_id:
        return
    tags = {"mlflow.parentRunId": tracking.step_run_id, "step.name": SHARD, "step.cache_key": artifact.key}
    tags |= {"step.outcome": "executed", "step.artifact": place_of(artifact), "step.shard": str(shard)} | prefect_tags()
    run_id = create_run(tracking, name, tags)
    name_output(tracking, run_id)
    taken = system_metrics.points(samples)
    log_metrics(tracking, run_id, metrics_of(artifact.stage, facts_of(artifact)) + taken)
    client_of(tracking.uri).log_inputs(run_id, datasets=[dataset_of(artifact, "output")])
    client_of(tracking.uri).set_terminated(run_id, "FINISHED", end_time=now())


@best_effort
def record_executed(tracking: Tracking, run_id: str | None, parts: Mapping[int, Artifact], executed: bool) -> None:
    """Record on the attribution run, at step `shard`, whether this run computed shards or found them."""
    if run_id is None:
        return
    points = [metrics_of(part.stage, {"executed": float(executed)}, int(shard)) for shard, part in parts.items()]
    log_metrics(tracking, run_id, [metric for metrics in points for metric in metrics])
    client_of(tracking.uri).log_inputs(run_id, datasets=[dataset_of(part, "output") for part in parts.values()])


@best_effort
def record_places(tracking: Tracking, run_id: str | None, parts: Sequence[Artifact]) -> None:
    """Record the artifacts of a step's shards in a file: MLflow's datasets have only one place for each content."""
    if run_id is not None:
        client_of(tracking.uri).log_text(run_id, json.dumps([part.to_dict() for part in parts], indent=1), SHARDS_FILE)


@best_effort
def mark_reused(tracking: Tracking, run_id: str | None, stage: str, key: str, inputs: Sequence[Artifact] = ()) -> None:
    """Turn an open run into the stub of a reused stage, linked to the run that made it."""
    if run_id is None:
        return
    client = client_of(tracking.uri)
    client.set_tag(run_id, "mlflow.runName", f"{stage} [cached]")
    for name, value in ({"step.outcome": "cached"} | reuse_tags(tracking, stage, key, inputs)).items():
        client.set_tag(run_id, name, value)


@best_effort
def record_reused(tracking: Tracking, artifact: Artifact, inputs: Sequence[Artifact] = ()) -> None:
    """Add a stub for a stage whose artifact existed already, linked to the run that made it and to its inputs."""
    client = client_of(tracking.uri)
    tags = _step_tags(tracking, artifact.stage, artifact.key, "cached") | {"step.artifact": place_of(artifact)}
    tags |= reuse_tags(tracking, artifact.stage, artifact.key, inputs)
    run_id = create_run(tracking, f"{artifact.stage} [cached]", tags)
    name_output(tracking, run_id)
    read = [dataset_of(one, "input") for one in [*inputs, *data_files_of(artifact)]]
    client.log_inputs(run_id, datasets=[*read, dataset_of(artifact, "output")])
    client.set_terminated(run_id, "FINISHED", end_time=now())


def log_metrics(tracking: Tracking, run_id: str, metrics: "Sequence[Metric]") -> None:
    """Send metrics to a run, as many at a time as MLflow takes."""
    for start in range(0, len(metrics), 1000):
        client_of(tracking.uri).log_batch(run_id, metrics=metrics[start : start + 1000])


def _step_tags(tracking: Tracking, stage: str, key: str, outcome: str) -> dict[str, str]:
    tags = {"mlflow.parentRunId": tracking.run_id, "step.name": stage, "step.cache_key": key, "step.outcome": outcome}
    return tags | prefect_tags()
