"""Notice runs whose process was killed, and end them in MLflow and Prefect.

The process of a run holds a file lock, and a note beside the lock has the run's ids in Prefect and MLflow. The system
frees the lock when the process ends, also when it is killed. So a note whose lock is free belongs to a run that was
never ended. If the artifacts are in object storage, lock and note are local to the machine, and only the machine that
a run was on can end it.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import prefect.runtime
from filelock import FileLock, Timeout
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from neurontune_core import artifacts
from neurontune_core.config import RuntimeConfig
from tasks.recording.held_signals import signals_held
from tasks.recording.kept_records import waiting
from tasks.recording.mlflow_models import withdraw
from tasks.recording.mlflow_store import Tracking, client_of, is_named, store_name, tracking_uri

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

WHY = "Its process was killed."

logger = logging.getLogger("neurontune")


@dataclass(frozen=True)
class Note:
    """Identity of a run: the Prefect flow run and its attempt, its parent flow runs, and the MLflow experiment."""

    flow_run: str
    attempt: int
    above: tuple[str, ...]
    store: str
    experiment: str


@contextmanager
def at_work(runtime: RuntimeConfig) -> Iterator[None]:
    """Hold the lock of this flow run, with a note from which others can end the run if its process is killed."""
    this = prefect.runtime.flow_run
    lock = _lock(runtime, str(this.id))
    try:
        lock.acquire(timeout=0)
    except Timeout:  # an earlier attempt, given up by Prefect, is still running and holds the lock
        yield
        return
    above = {str(one) for one in (this.parent_flow_run_id, this.root_flow_run_id) if one and one != this.id}
    store = store_name(tracking_uri(runtime), runtime.root)
    note = Note(str(this.id), int(this.run_count), tuple(sorted(above)), store, runtime.experiment)
    file = _file(lock)
    file.write_text(json.dumps(asdict(note)))
    try:
        yield
    finally:
        _remove(lock)


def end_killed(runtime: RuntimeConfig) -> int:
    """End the runs whose process was killed, KILLED in MLflow and Crashed in Prefect, and return their number.

    A run that cannot be ended now, because MLflow or Prefect does not answer, is left for the next call.
    """
    ended = 0
    for lock, note in _abandoned(runtime):
        try:
            with signals_held(tracking_uri(runtime)):
                known = _end_in_mlflow(note, runtime)
            with get_client(sync_client=True) as client:
                _end_in_prefect(note, client)
        except Exception as error:
            logger.debug("a killed run could not be ended: %s: %s", type(error).__name__, error)
            lock.release()
            continue
        ended += 1
        if known and not waiting(runtime.root):
            _remove(lock)
        lock.release()
    return ended


def are_killed(runtime: RuntimeConfig) -> bool:
    """Tell whether there are runs whose process was killed and that nobody has ended yet."""
    found = False
    for lock, _ in _abandoned(runtime):
        lock.release()
        found = True
    return found


def _abandoned(runtime: RuntimeConfig) -> Iterator[tuple[FileLock, Note]]:
    """Yield the notes of killed runs, each with its lock, held; a note that cannot be read is removed."""
    for file in sorted(_file(_lock(runtime, "-")).parent.glob("run-*.json")):
        lock = FileLock(file.with_suffix(".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        try:
            fields = json.loads(file.read_text())
            note = Note(**fields | {"above": tuple(fields["above"])})
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            _remove(lock)
            continue
        yield lock, note


def _end_in_mlflow(note: Note, runtime: RuntimeConfig) -> bool:
    """End a flow run's open MLflow runs at the last time recorded; False if another store may have the run."""
    uri = tracking_uri(runtime)
    client = client_of(uri)
    experiment = client.get_experiment_by_name(note.experiment)
    if experiment is None:
        return is_named(note.store, uri, runtime.root)
    runs = client.search_runs([experiment.experiment_id], f"tags.`prefect.flow_run_id` = '{note.flow_run}'")
    last = max((run.info.end_time or run.info.start_time for run in runs), default=0)
    for run in runs:
        if run.info.status == "RUNNING":
            client.set_tag(run.info.run_id, "step.error", WHY)
            client.set_terminated(run.info.run_id, "KILLED", end_time=last)
            withdraw(Tracking(uri=uri, experiment_id=str(experiment.experiment_id), run_id=str(run.info.run_id)))
    return bool(runs) or is_named(note.store, uri, runtime.root)


def _end_in_prefect(note: Note, client: "SyncPrefectClient") -> None:
    """End the flow run with its task runs, unless it has been started again.

    Its parent flow runs were in the same process; they are ended too, unless a worker can start them again.
    """
    for name in (note.flow_run, *note.above):
        try:
            run = client.read_flow_run(name)  # type: ignore[arg-type]
        except ObjectNotFound:
            continue
        again = run.run_count != note.attempt if name == note.flow_run else run.deployment_id is not None
        if again or run.state is None or not run.state.is_running():
            continue
        for task in client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))):
            if task.state is not None and task.state.is_running():
                client.set_task_run_state(task.id, Crashed(message=WHY), force=True)
        client.set_flow_run_state(run.id, Crashed(message=WHY), force=True)


def _lock(runtime: RuntimeConfig, name: str) -> FileLock:
    return artifacts.working_lock(runtime.root, "run", name)


def _file(lock: FileLock) -> Path:
    return Path(lock.lock_file).with_suffix(".json")


def _remove(lock: FileLock) -> None:
    """Delete a note and its lock, which is held."""
    _file(lock).unlink(missing_ok=True)
    Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()
