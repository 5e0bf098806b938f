"""What every stage's task has in common: its cache, its retries, and how its artifact is made and recorded."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec

from prefect import Task, task
from prefect.tasks import exponential_backoff
from pydantic import BaseModel

from neurontune_core import artifacts
from neurontune_core.config import RuntimeConfig
from neurontune_core.records import Artifact
from tasks.caching import ArtifactSerializer, cached_by, result_storage
from tasks.recording import tracking
from tasks.recording.mlflow_store import Tracking
from tasks.retries import FIRST_DELAY_SECONDS, JITTER, retry_transient

Arguments = ParamSpec("Arguments")


def stage_task(
    stage: str, key: Callable[..., str], run_name: str | Callable[[], str] | None = None
) -> Callable[[Callable[Arguments, Artifact]], Task[Arguments, Artifact]]:
    """Make a function the task of a stage: cached by its content key, its result a checked reference.

    Args:
        stage: name of the stage: of the task, and of its folder under the artifact root. Not a tag: Prefect asks the
            server about the limits of every tag of a task before it starts, which takes two seconds.
        key: the stage's content key, from those of the task's arguments that the result depends on.
        run_name: template of the task run's name, where it is not the stage's.
    """
    return task(
        name=stage,
        task_run_name=run_name or stage,
        cache_policy=cached_by(stage, key),
        persist_result=True,
        result_serializer=ArtifactSerializer(),
        retry_condition_fn=retry_transient,
        retry_jitter_factor=JITTER,
    )


def configured(stage: Task[Arguments, Artifact], runtime: RuntimeConfig) -> Task[Arguments, Artifact]:
    """Return a stage's task with the retries, the time limit and the result storage of a run."""
    return stage.with_options(
        retries=runtime.retries,
        retry_delay_seconds=exponential_backoff(FIRST_DELAY_SECONDS),
        result_storage=result_storage(runtime.root),
        timeout_seconds=runtime.timeouts.get(stage.name),
    )


def carry_out(
    stage: str,
    key: str,
    fill: Callable[[Path], Mapping[str, Any]],
    settings: BaseModel | Mapping[str, Any],
    inputs: Sequence[Artifact],
    runtime: RuntimeConfig,
    record: Tracking,
) -> Artifact:
    """Return the stage's artifact: the finished one if it is there, else the one whose files `fill` writes."""
    if found := artifacts.find(runtime.root, stage, key):
        return found
    with tracking.step(record, stage, key, settings, inputs) as run_id:
        artifact = artifacts.write(runtime.root, stage, key, fill, settings, inputs)
        tracking.record_artifact(record, run_id, artifact)
    return artifact
