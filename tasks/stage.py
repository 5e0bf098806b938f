"""What the tasks of all stages share: cache, retries, and how an artifact is made and recorded."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec

from prefect import Task, task
from prefect.tasks import exponential_backoff
from pydantic import BaseModel

from neurontune_core import artifacts
from neurontune_core.config import RuntimeConfig
from neurontune_core.records import Artifact
from tasks.caching import ArtifactSerializer, cached_by_key, result_storage
from tasks.recording import step_runs
from tasks.recording.mlflow_store import Tracking
from tasks.retries import FIRST_DELAY_SECONDS, JITTER, retry_transient

Arguments = ParamSpec("Arguments")
_keys: dict[str, Callable[..., str]] = {}
"""The functions that compute content keys, by the stage's name."""


@dataclass(frozen=True)
class StageRun:
    """The run of one stage: the content key of its artifact, where it is computed, and where it is recorded."""

    key: str
    runtime: RuntimeConfig
    record: Tracking


def stage_task(
    stage: str, key: Callable[..., str], run_name: str | Callable[[], str] | None = None
) -> Callable[[Callable[Arguments, Artifact]], Task[Arguments, Artifact]]:
    """Make a function the task of a stage, cached by its content key; its result is a checked artifact reference.

    Args:
        stage: name of the stage, of the task, and of its folder under the artifact root. It is no tag of the task,
            because Prefect asks the server about the limits of every tag before a task starts: two seconds each.
        key: computes the stage's content key from the arguments that the result depends on.
        run_name: template of the task run's name; by default the stage's name.
    """
    _keys[stage] = key
    return task(
        name=stage,
        task_run_name=run_name or stage,
        cache_policy=cached_by_key(stage),
        persist_result=True,
        result_serializer=ArtifactSerializer(),
        retry_condition_fn=retry_transient,
        retry_jitter_factor=JITTER,
    )


def with_key(
    stage: Task[..., Artifact], runtime: RuntimeConfig, record: Tracking, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments of a stage's task with its `run`; only this function computes the content key."""
    key = _keys[stage.name]
    own_key = key(**{name: arguments[name] for name in inspect.signature(key).parameters})
    return {**arguments, "run": StageRun(own_key, runtime, record)}


def configured(stage: Task[Arguments, Artifact], runtime: RuntimeConfig) -> Task[Arguments, Artifact]:
    """Return a stage's task with the retries, the time limit and the result storage of a run."""
    return stage.with_options(
        retries=runtime.retries,
        retry_delay_seconds=exponential_backoff(FIRST_DELAY_SECONDS),
        result_storage=result_storage(runtime.root),
        timeout_seconds=runtime.timeouts.get(stage.name),
    )


def with_parts(settings: BaseModel, parts: Sequence[Artifact]) -> dict[str, Any]:
    """Return the settings of the table of some parts, for its manifest, with the device that computed each part."""
    devices = [artifacts.read_manifest(part)["settings"].get("device", "not known") for part in parts]
    numbered = [{"part": number, "device": device} for number, device in enumerate(devices, 1)]
    return settings.model_dump(mode="json") | {"parts": numbered}


def carry_out(
    stage: str,
    run: StageRun,
    fill: Callable[[Path], Mapping[str, Any]],
    settings: BaseModel | Mapping[str, Any],
    inputs: Sequence[Artifact],
) -> Artifact:
    """Return the stage's finished artifact if it exists; else make it, with the files that `fill` writes."""
    root, key = run.runtime.root, run.key
    if found := artifacts.find(root, stage, key):
        return found
    with step_runs.step(run.record, stage, key, settings, inputs) as run_id:
        artifact = artifacts.write(root, stage, key, fill, settings, inputs)
        step_runs.record_artifact(run.record, run_id, artifact)
    return artifact
