"""Runs whose process was killed are ended by the next, in MLflow and in Prefect; those at work are left alone."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.states import Running

from flows.pipeline import pipeline
from neurontune_core import artifacts
from neurontune_core.config import PipelineConfig
from neurontune_core.errors import InputError
from tasks.recording import killed_runs
from tasks.recording.killed_runs import Note
from tasks.recording.mlflow_store import client_of, open_experiment, tracking_uri

ELSEWHERE = "http://elsewhere"


@pytest.fixture
def prefect(prefect_server: None) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


def running(prefect: SyncPrefectClient, name: str) -> UUID:
    """Make a flow run that Prefect believes to run, with a task run of the kind."""

    @flow(name=name)
    def empty() -> None:
        pass

    made = prefect.create_flow_run(empty)
    prefect.set_flow_run_state(made.id, Running(), force=True)
    return made.id


def leave_open(config: PipelineConfig, flow_run: UUID, **changes: Any) -> tuple[str, str]:
    """Leave an MLflow run and a step of it open, and the note of a process that is gone."""
    uri = tracking_uri(config.runtime)
    client = client_of(uri)
    experiment = open_experiment(uri, "neurontune", config.runtime.root)
    tags = {"prefect.flow_run_id": str(flow_run)}
    run = client.create_run(experiment, start_time=1000, run_name="killed", tags=tags).info.run_id
    below = tags | {"mlflow.parentRunId": run}
    done = client.create_run(experiment, start_time=1500, run_name="pairs", tags=below).info.run_id
    client.set_terminated(done, "FINISHED", end_time=2000)
    step = client.create_run(experiment, start_time=1800, run_name="scaling", tags=below).info.run_id
    note = Note(str(flow_run), 1, (), uri, "neurontune")
    fields = asdict(note) | changes
    file_of(config, flow_run).write_text(json.dumps(fields))
    return run, step


def file_of(config: PipelineConfig, flow_run: UUID | str) -> Path:
    lock = artifacts.working_lock(config.runtime.root, "run", str(flow_run))
    return Path(lock.lock_file).with_suffix(".json")


def status_of(config: PipelineConfig, run: str) -> tuple[str, int | None]:
    info = client_of(tracking_uri(config.runtime)).get_run(run).info
    return info.status, info.end_time


def state_of(prefect: SyncPrefectClient, run: UUID) -> str | None:
    return prefect.read_flow_run(run).state_name


def test_the_next_run_ends_a_killed_one(
    config: PipelineConfig, core_calls: Counter[str], prefect: SyncPrefectClient
) -> None:
    killed = running(prefect, "killed")
    above = running(prefect, "above")
    run, step = leave_open(config, killed, above=[str(above)])
    pipeline(config)
    assert status_of(config, run) == status_of(config, step) == ("KILLED", 2000), "the last time known of it"
    assert state_of(prefect, killed) == state_of(prefect, above) == "Crashed"
    assert not list(file_of(config, killed).parent.glob("run-*")), "neither notes nor locks are left"


def test_a_run_is_noted_before_its_inputs_are_looked_at(
    config: PipelineConfig, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[Path] = []

    def looked_at(_: PipelineConfig) -> None:
        notes.extend(file_of(config, "-").parent.glob("run-*.json"))
        assert not killed_runs.are_killed(config.runtime), "its lock is held"
        raise InputError("enough seen")

    monkeypatch.setattr("flows.pipeline.check_inputs", looked_at)
    with pytest.raises(InputError):
        pipeline(config)
    assert len(notes) == 1 and not notes[0].exists(), "an error before the first stage leaves no note"


def test_a_run_at_work_is_left_alone(config: PipelineConfig, prefect: SyncPrefectClient) -> None:
    alive = running(prefect, "alive")
    run, _ = leave_open(config, alive)
    with artifacts.working_lock(config.runtime.root, "run", str(alive)):
        assert not killed_runs.are_killed(config.runtime)
        assert killed_runs.end_killed(config.runtime) == 0
    assert status_of(config, run)[0] == "RUNNING" and state_of(prefect, alive) == "Running"
    assert killed_runs.are_killed(config.runtime) and killed_runs.end_killed(config.runtime) == 1
    assert not killed_runs.are_killed(config.runtime)


def test_a_run_that_was_started_again_stays_in_prefect(config: PipelineConfig, prefect: SyncPrefectClient) -> None:
    resumed = running(prefect, "resumed")
    run, _ = leave_open(config, resumed, attempt=7)
    killed_runs.end_killed(config.runtime)
    assert status_of(config, run)[0] == "KILLED" and state_of(prefect, resumed) == "Running"


def test_what_cannot_be_ended_now_is_ended_later(
    config: PipelineConfig, prefect: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = running(prefect, "killed while away")
    run, _ = leave_open(config, killed)
    with monkeypatch.context() as away:
        away.setattr(killed_runs, "client_of", lambda _: 1 / 0)
        assert killed_runs.end_killed(config.runtime) == 0
    assert killed_runs.end_killed(config.runtime) == 1
    assert status_of(config, run)[0] == "KILLED" and state_of(prefect, killed) == "Crashed"


def test_a_run_of_another_store_waits_for_that_store(config: PipelineConfig, prefect: SyncPrefectClient) -> None:
    killed = running(prefect, "recorded elsewhere")
    open_experiment(tracking_uri(config.runtime), "neurontune", config.runtime.root)
    note = Note(str(killed), 1, (), ELSEWHERE, "neurontune")
    file_of(config, killed).write_text(json.dumps(asdict(note)))
    killed_runs.end_killed(config.runtime)
    assert file_of(config, killed).exists() and state_of(prefect, killed) == "Crashed"


@pytest.mark.parametrize("content", ["", "[]", "null", "{", '{"above": 1}', "\0\0", "[" * 100_000])
def test_a_damaged_note_is_removed(config: PipelineConfig, content: str) -> None:
    file = file_of(config, "damaged")
    file.write_text(content)
    assert killed_runs.end_killed(config.runtime) == 0
    assert not file.exists()
