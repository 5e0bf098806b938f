"""Finding a recorded pipeline run again: its settings and what its stages made."""

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurontune_core import artifacts
from neurontune_core.config import PipelineConfig, RuntimeConfig
from neurontune_core.errors import InputError
from neurontune_core.records import Artifact
from tasks.mlflow_store import client_of, database_file, tracking_uri, without_password
from tasks.tracking import ATTRIBUTION, CONFIG_FILE, FLOW_TAG, PIPELINE, SHARDS_FILE

if TYPE_CHECKING:
    from mlflow.entities import Run

LATEST = "latest"


@dataclass(frozen=True)
class RecordedRun:
    """A pipeline run as MLflow knows it.

    `stages` maps stage names to the keys and folders the run ended with; `made` is everything it made or reused, shards
    included, with the digests of that time.
    """

    run_id: str
    name: str
    status: str
    config: PipelineConfig
    stages: dict[str, Artifact]
    made: tuple[Artifact, ...] = ()

    def artifact(self, stage: str) -> Artifact:
        """Return what a stage of the run made or reused; its content is checked when it is opened.

        Raises:
            InputError: the run did not come to the end of that stage.
            ArtifactError: the artifact has been deleted, or its manifest is damaged.
        """
        if stage not in self.stages:
            raise InputError(f"run {self.name} ({self.run_id}) has no {stage}: it ended {self.status}; run it again")
        found = self.stages[stage]
        return replace(found, digest=artifacts.read_manifest(found)["digest"])


def find_run(run: str, runtime: RuntimeConfig, finished: bool = False) -> RecordedRun:
    """Return the newest pipeline run that goes by `run`, with the settings it ran with.

    Args:
        run: MLflow run id, id of the Prefect flow run, name as shown in both UIs, or `latest`.
        runtime: says where the MLflow store is (root, tracking URI, experiment); the run's own root is in its settings.
        finished: consider only runs that ended well.

    Raises:
        InputError: there is no such run, or its settings were not recorded.
    """
    uri = tracking_uri(runtime)
    where = f"{without_password(uri)}, experiment {runtime.experiment}"
    if uri.startswith("sqlite:///") and not database_file(uri).is_file():
        raise InputError(f"run: nothing is recorded in {where}; set runtime.root to the artifact root of the run")
    client = client_of(uri)
    experiment = client.get_experiment_by_name(runtime.experiment)
    if experiment is None:
        raise InputError(f"run: there is no such experiment in {where}; set runtime.experiment")
    condition = f"tags.`{FLOW_TAG}` = '{PIPELINE}'" + (" and attributes.status = 'FINISHED'" if finished else "")
    for way in _ways(run):
        found = client.search_runs(
            [experiment.experiment_id], condition + way, max_results=1, order_by=["start_time DESC"]
        )
        if found:
            break
    else:
        kind = "finished run" if finished else "run"
        raise InputError(
            f"run: no {kind} goes by {run!r} in {where}; give an MLflow run id, a flow run id, a run's name or {LATEST}"
        )
    steps = _steps_of(found[0].info.run_id, str(experiment.experiment_id), uri)
    return RecordedRun(
        run_id=found[0].info.run_id,
        name=found[0].info.run_name,
        status=found[0].info.status,
        config=_settings_of(found[0].info.run_id, uri, where),
        stages=_stages_of(steps),
        made=tuple(_made_by(steps, uri)),
    )


def _ways(run: str) -> list[str]:
    """The conditions by which a run is looked for, one after another."""
    if run == LATEST:
        return [""]
    if "'" in run:
        return []
    fields = ("attributes.run_id", "tags.`prefect.flow_run_id`", "attributes.run_name")
    return [f" and {field} = '{run}'" for field in fields]


def _settings_of(run_id: str, uri: str, where: str) -> PipelineConfig:
    settings = _read_json(run_id, CONFIG_FILE, uri)
    if settings is None:
        raise InputError(f"run: the settings of {run_id} are not in {where}; run it again")
    # an address from the environment stays there: it may hold a password
    settings["runtime"]["mlflow_uri"] = None if uri == os.environ.get("MLFLOW_TRACKING_URI") else uri
    return PipelineConfig.model_validate(settings)


def _read_json(run_id: str, name: str, uri: str) -> Any:
    """Return the content of a file of a run, None where the run has no such file."""
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as folder:
        try:
            file = client_of(uri).download_artifacts(run_id, name, folder)
        except (MlflowException, OSError):
            return None
        return json.loads(Path(file).read_text())


def _steps_of(run_id: str, experiment_id: str, uri: str) -> "list[Run]":
    query = f"tags.`mlflow.parentRunId` = '{run_id}' and attributes.status = 'FINISHED'"
    return list(client_of(uri).search_runs([experiment_id], query, order_by=["start_time ASC"]))


def _made_by(steps: "Sequence[Run]", uri: str) -> Iterator[Artifact]:
    """Yield what steps made or reused; not by MLflow's datasets, which know one place, the first, of each content."""
    for stage, artifact in _stages_of(steps).items():
        outputs = [
            item.dataset
            for step in steps
            for item in (step.inputs.dataset_inputs if step.inputs else ())
            if item.dataset.name == step.data.tags["step.name"] == stage and item.tags[0].value == "output"
        ]
        if outputs:
            yield replace(artifact, digest=json.loads(outputs[-1].source)["digest"])
    for step in steps:
        if step.data.tags["step.name"] == ATTRIBUTION:
            yield from (Artifact(**shard) for shard in _read_json(step.info.run_id, SHARDS_FILE, uri) or [])


def _stages_of(steps: "Sequence[Run]") -> dict[str, Artifact]:
    return {
        tags["step.name"]: Artifact(tags["step.name"], tags["step.cache_key"], tags["step.artifact"], digest="")
        for tags in (step.data.tags for step in steps)
        if "step.artifact" in tags
    }
