"""Find a recorded pipeline run: its settings and the artifacts of its stages."""

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import fsspec
from fsspec.implementations.local import LocalFileSystem

from neurontune_core import artifacts
from neurontune_core.config import PipelineConfig, RuntimeConfig, recorded_config
from neurontune_core.errors import InputError
from neurontune_core.records import Artifact
from tasks.recording.mlflow_store import client_of, is_beside, tracking_uri
from tasks.recording.run_list import SHOWN_DIGITS, listed, search, store_of
from tasks.recording.step_runs import ATTRIBUTION, SHARDS_FILE
from tasks.recording.tracking import CONFIG_FILE

if TYPE_CHECKING:
    from mlflow.entities import Run

LATEST = "latest"
SHOWN_RUNS = 10
"""The most runs of the same name that an error lists."""


@dataclass(frozen=True)
class RecordedRun:
    """A pipeline run, as recorded in MLflow.

    `stages` maps stage names to the run's final keys and folders; `made` are all artifacts that it made or reused,
    including shards, with their digests at that time.
    """

    run_id: str
    name: str
    status: str
    config: PipelineConfig
    stages: dict[str, Artifact]
    made: tuple[Artifact, ...] = ()

    def artifact(self, stage: str) -> Artifact:
        """Return the artifact that a stage of the run made or reused; its content is checked when it is opened.

        Raises:
            InputError: the run did not finish that stage.
            ArtifactError: the artifact has been deleted, or its manifest is damaged.
        """
        if stage == "scaling" and "baseline" in self.stages:
            method = self.config.baseline.method
            raise InputError(
                f"run {self.name} ({self.run_id}) has no scaling: it fitted the baseline {method}; "
                f"name a run without a baseline (`neurontune runs` lists them)"
            )
        if stage not in self.stages:
            raise InputError(f"run {self.name} ({self.run_id}) has no {stage}: it ended {self.status}; run it again")
        found = self.stages[stage]
        return replace(found, digest=artifacts.read_manifest(found)["digest"])

    def check_shard(self, number: int) -> None:
        """Check that the run has a shard of attribution of this number, counted from 1.

        Raises:
            InputError: it has not.
        """
        shards = self.config.attribution.shards
        if not 1 <= number <= shards:
            raise InputError(f"shard: {number} does not exist; choose one of 1 to {shards}, the shards of {self.name}")


def find_run(run: str, runtime: RuntimeConfig, finished: bool = False) -> RecordedRun:
    """Return the pipeline run that `run` names, with the settings of that run.

    Args:
        run: MLflow run id or its first digits, id of the Prefect flow run, name as shown in both UIs, or `latest`.
        runtime: says where the MLflow store is (root, tracking URI, experiment); the run's own root is in its settings.
        finished: for `latest`: consider only runs that ended well, because a result is needed.

    Raises:
        InputError: there is no such run, several share the name, or its settings were not recorded.
    """
    client, experiment, where = store_of(runtime)
    uri, found = tracking_uri(runtime), _find(run, runtime, finished)
    if found is None:
        kind = "finished run" if finished and run == LATEST else "run"
        raise InputError(
            f"run: no {kind} has the name or id {run!r} in {where}; give an MLflow run id, a flow run id, a run's name "
            f"or {LATEST}; `neurontune runs` lists them"
        )
    steps = _steps_of(found.info.run_id, experiment, uri)
    below = _is_below(client.get_experiment(experiment).artifact_location, runtime.root)
    here = below or is_beside(uri, runtime.root)
    config = _settings_of(found.info.run_id, uri, where, artifacts.absolute_root(runtime.root) if here else "")
    return RecordedRun(
        run_id=found.info.run_id,
        name=found.info.run_name,
        status=found.info.status,
        config=config,
        stages=_stages_of(steps, config.runtime.root),
        made=tuple(_made_by(steps, config.runtime.root, uri)),
    )


def places(runtime: RuntimeConfig) -> list[str]:
    """Return the settings, as `runtime.field=value`, that another process needs to find runs with these settings."""
    usual = RuntimeConfig()
    root, uri = artifacts.absolute_root(runtime.root), runtime.mlflow_uri
    elsewhere = uri and uri != os.environ.get("MLFLOW_TRACKING_URI") and not is_beside(uri, root)
    return [
        *([f"runtime.root={root}"] if root != artifacts.absolute_root(usual.root) else []),
        *([f"runtime.mlflow_uri={uri}"] if elsewhere else []),
        *([f"runtime.experiment={runtime.experiment}"] if runtime.experiment != usual.experiment else []),
    ]


def _find(run: str, runtime: RuntimeConfig, finished: bool) -> "Run | None":
    """Return the only run that `run` names (`latest`: the newest); None if there is none.

    Raises:
        InputError: several runs have the name.
    """
    if run == LATEST:
        return next(search(runtime, "attributes.status = 'FINISHED'" if finished else ""), None)
    for found in _ways(run, runtime):
        if len(found) == 1:
            return found[0]
        if found:
            lines = [listed(each).line for each in found[:SHOWN_RUNS]]
            more = [f"{len(found) - SHOWN_RUNS} more"] if len(found) > SHOWN_RUNS else []
            raise InputError(
                f"run: {len(found)} runs have the name or id {run!r}; give the id of one: {'; '.join(lines + more)} "
                f"(`neurontune runs` lists them)"
            )
    return None


def _ways(run: str, runtime: RuntimeConfig) -> "Iterator[list[Run]]":
    """Yield the runs found by each way to name a run: an id, the name, the first digits of an id."""
    quote = '"' if "'" in run else "'"
    if quote not in run:
        yield list(search(runtime, f"attributes.run_id = {quote}{run}{quote}"))
        # a flow run that was killed and started again has several MLflow runs: take the last attempt
        yield list(search(runtime, f"tags.`prefect.flow_run_id` = {quote}{run}{quote}"))[:1]
        yield list(search(runtime, f"attributes.run_name = {quote}{run}{quote}"))
    else:  # MLflow's filters cannot have both kinds of quotes in a value
        yield [each for each in search(runtime) if each.info.run_name == run]
    if len(run) >= SHOWN_DIGITS and set(run) <= set("0123456789abcdef"):
        yield [each for each in search(runtime) if str(each.info.run_id).startswith(run)]


def _is_below(location: str, root: str) -> bool:
    """Tell whether MLflow's files are under a local artifact root; its records then belong to this root, even moved."""
    filesystem, base = fsspec.url_to_fs(root)
    path = unquote(urlsplit(location).path) if location.startswith("file:") else location
    return isinstance(filesystem, LocalFileSystem) and Path(path).is_relative_to(base)


def _settings_of(run_id: str, uri: str, where: str, root: str) -> PipelineConfig:
    """Return the settings of a run, with `root` as artifact root; if `root` is "", the recorded one is kept."""
    settings = _read_json(run_id, CONFIG_FILE, uri)
    if not isinstance(settings, dict) or not isinstance(settings.get("runtime"), dict):
        raise InputError(f"run: the settings of {run_id} are not in {where}; run it again")
    settings["runtime"] |= {"root": root} if root else {}
    # do not record an address from the environment: it may contain a password
    settings["runtime"]["mlflow_uri"] = None if uri == os.environ.get("MLFLOW_TRACKING_URI") else uri
    return recorded_config(settings)


def _read_json(run_id: str, name: str, uri: str) -> Any:
    """Return the content of a JSON file of a run; None if the run has no such file."""
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as folder:
        try:
            file = client_of(uri).download_artifacts(run_id, name, folder)
        except (MlflowException, OSError):
            return None
        try:
            return json.loads(Path(file).read_text())
        except ValueError:
            return None


def _steps_of(run_id: str, experiment_id: str, uri: str) -> "list[Run]":
    query = f"tags.`mlflow.parentRunId` = '{run_id}' and attributes.status = 'FINISHED'"
    return list(client_of(uri).search_runs([experiment_id], query, order_by=["start_time ASC"]))


def _made_by(steps: "Sequence[Run]", root: str, uri: str) -> Iterator[Artifact]:
    """Yield the artifacts that steps made or reused, from tags: MLflow's datasets have one place for each content."""
    for stage, artifact in _stages_of(steps, root).items():
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
            for shard in _read_json(step.info.run_id, SHARDS_FILE, uri) or []:
                yield artifacts.at(root, shard["stage"], shard["key"], shard["digest"])


def _stages_of(steps: "Sequence[Run]", root: str) -> dict[str, Artifact]:
    return {
        tags["step.name"]: artifacts.at(root, tags["step.name"], tags["step.cache_key"])
        for tags in (step.data.tags for step in steps)
        if "step.artifact" in tags
    }
