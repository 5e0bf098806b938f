"""Recording that never fails a stage: a call that MLflow does not take is kept in a file and sent later.

A record is one call of a recording function. If the call fails, its name and arguments go to a file under
`<root>/.unrecorded/`, beside the artifacts, so that any process on any machine that reaches the root can send it. The
name `kept-<record>` stands for a run that could not be created; records that name it are kept too. Sending repeats the
calls in their order with their first time stamps, so that metric points that had arrived are not stored twice.
"""

import json
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import fsspec
import prefect.runtime
from pydantic import BaseModel

from neurontune_core import artifacts
from neurontune_core.config import RuntimeConfig
from neurontune_core.errors import ArtifactError
from neurontune_core.records import Artifact
from tasks.recording.held_signals import signals_held
from tasks.recording.kept_records import KEPT, Record, keep, kept, waiting
from tasks.recording.mlflow_store import (
    BESIDE,
    StoreError,
    Tracking,
    client_of,
    is_named,
    is_of_database,
    open_experiment,
    reason_of,
    store_name,
    tracking_uri,
    uri_beside,
)

RECORD_TAG = "neurontune.record"
SLOW_SECONDS = 5.0
PAUSE_SECONDS = 60.0
# errors that a later attempt would get again
_REFUSALS = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"}

_DELETED = "must be in the 'active' state"
"""MLflow's error text for a run that was deleted, or whose experiment was deleted."""

logger = logging.getLogger("neurontune")
_functions: dict[str, Callable[..., Any]] = {}
_paused_until = 0.0

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


_current: ContextVar[Record | None] = ContextVar("current", default=None)


@dataclass(frozen=True)
class Sent:
    """Result of sending: number sent, records that MLflow refuses for good (with the reason), records still kept.

    `elsewhere` are the other stores that some of the kept records belong to; `reason` is why the first record of this
    store is still kept.
    """

    sent: int
    refused: list[str]
    left: list[str]
    elsewhere: tuple[str, ...] = ()
    reason: str = field(default="", compare=False)


def now() -> int:
    """Return the time of the event that is being recorded, in ms."""
    record = _current.get()
    return record.at if record else int(time.time() * 1000)


def prefect_tags() -> dict[str, str]:
    """Return tags with the ids of the Prefect runs in which the recorded event happened."""
    if record := _current.get():
        return record.tags
    task = prefect.runtime.task_run
    ids = {"prefect.flow_run_id": prefect.runtime.flow_run.id, "prefect.task_run_id": task.id}
    ids |= {"step.attempt": task.run_count} if task.id else {}
    return {name: str(value) for name, value in ids.items() if value}


def is_repeated() -> bool:
    """Tell whether the event is being recorded once more: the first attempt may have recorded a part of it."""
    record = _current.get()
    return record is not None and record.repeated


def create_run(tracking: Tracking, name: str, tags: Mapping[str, str]) -> str:
    """Create an MLflow run within a recording function and return its id; a repeated call finds the same run."""
    record = _current.get()
    assert record is not None
    client, experiment = client_of(tracking.uri), experiment_of(tracking)
    if record.repeated and (found := _made_by(tracking, record.id)):
        return found
    tags = dict(tags) | {RECORD_TAG: record.id}
    started = time.monotonic()
    made = str(client.create_run(experiment, start_time=record.at, tags=tags, run_name=name).info.run_id)
    if time.monotonic() - started > SLOW_SECONDS:
        return _made_by(tracking, record.id) or made
    return made


def experiment_of(tracking: Tracking) -> str:
    """Return the id of a run's experiment, which is created if it does not exist."""
    return tracking.experiment_id or open_experiment(tracking.uri, tracking.experiment, tracking.root)


def best_effort(
    function: Callable[Concatenate[Tracking, Arguments], Result],
) -> Callable[Concatenate[Tracking, Arguments], Result | str | None]:
    """Wrap a recording function so that a failure warns instead of raising, and the call is kept and sent later.

    A kept call returns the name that stands for the run it would have created. After a slow failure (the server does
    not answer) further calls are kept at once for a while. Arguments must be text, numbers, settings or artifacts.
    Without a tracking address nothing is recorded.
    """
    _functions[function.__name__] = function

    @wraps(function)
    def recorded(tracking: Tracking, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result | str | None:
        global _paused_until
        if not tracking.uri:
            return None
        record = _describe(function.__name__, tracking, args, kwargs)
        started = time.monotonic()
        if started < _paused_until or KEPT in json.dumps([record.tracking, record.arguments]):
            return keep(tracking, record)
        with signals_held(tracking.uri):
            try:
                return _recorded(record, function, tracking, *args, **kwargs)
            except Exception as error:
                if time.monotonic() - started > SLOW_SECONDS:
                    _paused_until = time.monotonic() + PAUSE_SECONDS
                if not waiting(tracking.root):
                    logger.warning("MLflow: could not %s: %s; the run goes on", record.words, _told(error))
                return keep(tracking, record)

    return recorded


def _recorded(
    record: Record,
    function: Callable[Concatenate[Tracking, Arguments], Result],
    tracking: Tracking,
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> Result:
    """Call a recording function, twice if another process inserted the same row at the same moment."""
    try:
        with _as_current(record):
            return function(tracking, *args, **kwargs)
    except Exception as error:
        if "UNIQUE constraint" not in str(error):
            raise
    with _as_current(replace(record, repeated=True)):  # finds the row of the other process
        return function(tracking, *args, **kwargs)


def send(runtime: RuntimeConfig, of_every_store: bool = False) -> Sent:
    """Send the kept records of an artifact root to its MLflow store, until MLflow fails again.

    Records of other stores stay kept, unless `of_every_store` sends them to this store. Only one process sends at a
    time, because two would create the same run twice.
    """
    if not waiting(runtime.root):
        return Sent(0, [], [])
    with artifacts.working_lock(runtime.root, "mlflow", "records"):
        return _send(runtime, of_every_store)


def _send(runtime: RuntimeConfig, of_every_store: bool) -> Sent:
    uri = tracking_uri(runtime)
    sent, refused, left = 0, [], []
    away, elsewhere, reason = False, set(), ""
    filesystem, _ = fsspec.url_to_fs(runtime.root)
    for path, record in kept(runtime.root):
        moved = not is_named(record.store, uri, runtime.root)
        address = uri_beside(runtime.root) if record.store == BESIDE else record.store
        if moved and not of_every_store:
            elsewhere.add(address)
        if away or (moved and not of_every_store):
            left.append(record.words)
            continue
        try:
            with signals_held(uri):
                _repeat(record, uri, runtime)
            sent += 1
        except Exception as error:
            if not _is_refusal(error):
                # a deleted run or a damaged store concerns only this record; any other error stops the sending
                away = away or not (isinstance(error, StoreError) or _DELETED in str(error))
                reason = reason or _told(error)
                left.append(record.words)
                continue
            if moved:  # only the record's own store has the run that it belongs to
                elsewhere.add(address)
                left.append(record.words)
                continue
            refused.append(f"{record.words} ({_told(error)})")
        with suppress(FileNotFoundError):  # another machine has sent it
            filesystem.rm(path)
    return Sent(sent, refused, left, tuple(sorted(elsewhere)), reason)


def _repeat(record: Record, uri: str, runtime: RuntimeConfig) -> None:
    # find the experiment by name: another store numbers it differently, and a deleted one is created again
    tracking = Tracking(**record.tracking | {"uri": uri, "root": runtime.root, "experiment_id": ""})
    if tracking.experiment:
        open_experiment(uri, tracking.experiment, runtime.root)

    def resolved(value: Any) -> Any:
        if isinstance(value, str) and value.startswith(KEPT):
            found = _made_by(tracking, value.removeprefix(KEPT))
            if found is None:
                raise ArtifactError(f"the run it belongs to was never recorded: {value}")
            return found
        if isinstance(value, dict):
            if set(value) == {"artifact"}:
                known = value["artifact"]
                return artifacts.at(runtime.root, known["stage"], known["key"], known["digest"])
            return {name: resolved(part) for name, part in value.items()}
        return [resolved(part) for part in value] if isinstance(value, list) else value

    tracking = tracking.model_copy(update=resolved({"run_id": tracking.run_id, "step_run_id": tracking.step_run_id}))
    args, kwargs = resolved(record.arguments)
    with _as_current(replace(record, repeated=True)):
        _functions[record.call](tracking, *args, **kwargs)


def _made_by(tracking: Tracking, record: str) -> str | None:
    """Return the run that a record has made, if any, and delete its duplicates.

    MLflow's client repeats a request that is not answered in time, so a slow server may create several runs.
    """
    from mlflow.entities import ViewType

    client, query = client_of(tracking.uri), f"tags.`{RECORD_TAG}` = '{record}'"
    found = list(client.search_runs([experiment_of(tracking)], query, run_view_type=ViewType.ALL))
    there = [run for run in found if run.info.lifecycle_stage == "active"]
    for other in there[1:]:
        client.delete_run(other.info.run_id)
    return next((str(run.info.run_id) for run in there or found), None)


def _describe(call: str, tracking: Tracking, args: Any, kwargs: Any) -> Record:
    arguments = json.loads(json.dumps([args, kwargs], default=_plain))
    named = [value.stage if isinstance(value, Artifact) else value for value in args]
    words = [call.replace("_", " "), *(name for name in named if isinstance(name, str) and name.isalpha())]
    where = tracking.model_dump(exclude={"uri", "root"})  # an address may contain a password, and a root can be moved
    store = store_name(tracking.uri, tracking.root)
    return Record(uuid.uuid4().hex, now(), call, " ".join(words), store, prefect_tags(), where, arguments)


@contextmanager
def _as_current(record: Record) -> Iterator[None]:
    token = _current.set(record)
    try:
        yield
    finally:
        _current.reset(token)


def _plain(value: Any) -> Any:
    if isinstance(value, Artifact):
        return {"artifact": value.to_dict()}
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} cannot be kept")


def _is_refusal(error: Exception) -> bool:
    """Tell whether sending again is useless: MLflow refuses the call, or its artifact is gone.

    It can help later if the run was deleted in MLflow, which can be undone, or if the database was damaged.
    """
    if isinstance(error, StoreError) or is_of_database(error) or _DELETED in str(error):
        return False
    if isinstance(error, ArtifactError | KeyError | TypeError):
        return True
    return getattr(error, "error_code", None) in _REFUSALS


def _told(error: Exception) -> str:
    """Return an error in one line, with its type unless the message itself names the remedy."""
    if isinstance(error, StoreError) or is_of_database(error):
        return reason_of(error)
    if _DELETED in str(error):
        return "it has been deleted in MLflow; restore the experiment or the run there"
    return f"{type(error).__name__}: {reason_of(error)}"
