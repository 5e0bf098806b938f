"""Signals during a call of MLflow's database: raised after the call, never lost, and no run stays RUNNING."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from filelock import FileLock
from sqlalchemy import event

from neurontune_core.config import PipelineConfig
from neurontune_core.records import Artifact
from tasks.recording import killed_runs, mlflow_spool, step_runs, tracking
from tasks.recording.held_signals import HELD, signals_held
from tasks.recording.mlflow_store import Tracking, client_of, tracking_uri

SQLITE = "sqlite:///any.db"


@pytest.fixture(autouse=True)
def python_handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(mlflow_spool, "_paused_until", 0.0)
    before = {number: signal.getsignal(number) for number in HELD}

    def raises(number: int, frame: object) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    for number in HELD:
        signal.signal(number, raises)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", HELD)
def test_a_signal_acts_after_the_code_inside(number: signal.Signals) -> None:
    done = []
    with pytest.raises(KeyboardInterrupt, match=number.name), signals_held(SQLITE):
        signal.raise_signal(number)
        done.append("whole")
    assert done == ["whole"]
    with pytest.raises(KeyboardInterrupt, match=number.name):  # the handlers are back
        signal.raise_signal(number)


def test_a_second_signal_acts_at_once() -> None:
    with pytest.raises(KeyboardInterrupt, match="SIGTERM"), signals_held(SQLITE):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("it waited")


def test_the_outer_of_two_calls_ends_before_a_signal_acts() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt, match="SIGINT"), signals_held(SQLITE):
        with signals_held(SQLITE):
            signal.raise_signal(signal.SIGINT)
            done.append("inner")
        done.append("outer")
    assert done == ["inner", "outer"]


def test_a_signal_is_not_lost_by_an_error() -> None:
    with pytest.raises(KeyboardInterrupt, match="SIGINT"), signals_held(SQLITE):
        signal.raise_signal(signal.SIGINT)
        raise ValueError("the call failed")


def test_a_call_of_a_server_is_interrupted_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), signals_held("http://127.0.0.1:5000"):
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it waited")


def test_other_threads_leave_the_handlers_alone() -> None:
    seen: list[Any] = []

    def work() -> None:
        with signals_held(SQLITE):
            seen.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


@contextmanager
def interrupted_in_sqlalchemy() -> Iterator[None]:
    """Send SIGINT within the first SQL statement; an exception there becomes another one, as in a session's close()."""
    left = [signal.SIGINT]

    def arrive(*_: Any) -> None:
        try:
            if left:
                signal.raise_signal(left.pop())
        except KeyboardInterrupt as error:
            raise sqlalchemy.exc.InvalidRequestError("Method 'close()' can't be called here") from error

    event.listen(sqlalchemy.Engine, "before_cursor_execute", arrive)
    try:
        yield
    finally:
        event.remove(sqlalchemy.Engine, "before_cursor_execute", arrive)
    assert not left, "no SQL statement was carried out"


def recorded_run(config: PipelineConfig) -> Tracking:
    uri = tracking_uri(config.runtime)
    record = Tracking(uri=uri, root=config.runtime.root, experiment=config.runtime.experiment)
    record = record.model_copy(update={"run_id": tracking.open_run(record, "whole", {})})
    return record.model_copy(update={"experiment_id": mlflow_spool.experiment_of(record)})


def open_step(config: PipelineConfig, record: Tracking) -> None:
    step_runs.open_step(record, "scaling", "key", {"steps": 10}, [])


def read_earlier_runs(config: PipelineConfig, record: Tracking) -> None:
    tracking.earlier_runs(record, Artifact("evaluation", "key", "uri", "digest"))


def send_kept(config: PipelineConfig, record: Tracking) -> None:
    step_runs.record_parameters(record.model_copy(update={"run_id": "kept-none"}), "kept-none", {"a": 1})
    mlflow_spool.send(config.runtime)


def end_killed(config: PipelineConfig, record: Tracking) -> None:
    killed_runs.end_killed(config.runtime)


@pytest.mark.parametrize("call", [open_step, read_earlier_runs, send_kept, end_killed])
def test_an_interrupt_inside_sqlalchemy_ends_the_run(
    call: Callable[[PipelineConfig, Tracking], None], config: PipelineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = recorded_run(config)
    note = killed_runs.Note("flow", 1, (), "beside", config.runtime.experiment)
    abandoned = [(FileLock(Path(config.runtime.root) / "run.lock"), note)]
    monkeypatch.setattr(killed_runs, "_abandoned", lambda runtime: iter(abandoned))
    with pytest.raises(KeyboardInterrupt), interrupted_in_sqlalchemy():
        call(config, record)
    tracking.close_leftovers(record, "KILLED")
    runs = client_of(record.uri).search_runs([record.experiment_id], "attributes.run_name = 'scaling'")
    assert [run.info.status for run in runs] == (["KILLED"] if call is open_step else [])
