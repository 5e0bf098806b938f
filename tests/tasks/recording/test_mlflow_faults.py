"""MLflow's experiment deleted, its database damaged or locked: the run ends well, and says one line."""

import errno
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem

from flows.pipeline import pipeline
from neurontune_core.config import PipelineConfig, RuntimeConfig
from neurontune_core.errors import InputError
from tasks import scores
from tasks.recording import kept_records, killed_runs, mlflow_spool, mlflow_store, new_database, step_runs, tracking
from tasks.recording.kept_records import waiting
from tasks.recording.mlflow_spool import send
from tasks.recording.mlflow_store import Tracking, client_of, tracking_uri
from tasks.recording.runs import find_run

RAW = ("sqlalche", "sqlite3.", "[SQL", "Traceback", "\n")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(mlflow_store, "LOCKED_SECONDS", 0.1)
    monkeypatch.setattr(mlflow_store, "HELD_SECONDS", 0.1)
    monkeypatch.setattr(mlflow_spool, "_paused_until", 0.0)
    client_of.cache_clear()
    yield
    client_of.cache_clear()


def database_of(config: PipelineConfig) -> Path:
    return Path(config.runtime.root) / "mlflow.db"


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records if "MLflow" in record.getMessage()]
    assert not any(sign in line for line in found for sign in RAW), found
    assert not any(record.exc_info for record in caplog.records if record.name.startswith(("mlflow", "sqlalchemy")))
    return found


def experiment_id(config: PipelineConfig) -> str:
    found = client_of(tracking_uri(config.runtime)).get_experiment_by_name("neurontune")
    assert found is not None
    return str(found.experiment_id)


def in_mid_run(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], Any]) -> None:
    """Let something happen once, while the scores are merged."""
    merge, left = scores.merge.merge_tables, [happens]

    def merged(parts: Any) -> Any:
        while left:
            left.pop()()
        return merge(parts)

    monkeypatch.setattr(scores.merge, "merge_tables", merged)


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("when", [pytest.param("before the run", marks=pytest.mark.slow), "in mid-run"])
def test_what_an_experiment_that_was_deleted_missed_is_sent_after_it_is_restored(
    config: PipelineConfig,
    core_calls: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    when: str,
) -> None:
    client = client_of(tracking_uri(config.runtime))
    if when == "before the run":
        pipeline(config)
        client.delete_experiment(experiment_id(config))
    else:
        in_mid_run(monkeypatch, lambda: client.delete_experiment(experiment_id(config)))
    caplog.clear()
    assert "evaluation" in pipeline(config)
    said = warnings(caplog)
    assert sum("the run goes on" in line for line in said) == 1 and "restore" in said[0]
    lacks = waiting(config.runtime.root)
    assert lacks
    again = send(config.runtime)
    assert waiting(config.runtime.root) == lacks == again.left and not again.refused, "nothing is thrown away"
    assert "experiments restore -x 1" in again.reason
    with pytest.raises(InputError, match="experiments restore -x 1"):
        find_run("latest", config.runtime)
    client.restore_experiment(experiment_id(config))
    sent = send(config.runtime)
    assert sent.sent == len(lacks) and not sent.refused and not waiting(config.runtime.root)
    assert find_run("latest", config.runtime).status == "FINISHED"
    assert set(find_run("latest", config.runtime).stages) >= {"pairs", "scaling", "evaluation"}


def test_a_run_that_was_deleted_keeps_its_records_and_holds_up_no_others(config: PipelineConfig) -> None:
    uri, root = tracking_uri(config.runtime), config.runtime.root
    place = Tracking(uri=uri, root=root, experiment="neurontune")
    gone, there = (str(tracking.open_run(place, name, {})) for name in ("gone", "there"))
    client_of(uri).delete_run(gone)
    step_runs.close_step(place, gone, "FINISHED")
    assert len(waiting(root)) == 1 and len(send(config.runtime).left) == 1
    step_runs.close_step(place, there, "FINISHED")
    client_of(uri).restore_run(gone)
    assert send(config.runtime).sent == 1
    assert {client_of(uri).get_run(run).info.status for run in (gone, there)} == {"FINISHED"}


def garbage(file: Path) -> None:
    file.write_bytes(b"no database at all " * 1000)


def nulls(file: Path) -> None:
    file.write_bytes(b"\0" * file.stat().st_size)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 3])


def folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def holes(file: Path) -> None:
    content = bytearray(file.read_bytes())
    for place in range(4096, len(content), 4096):
        content[place : place + 64] = b"\xaa" * 64
    file.write_bytes(content)


@pytest.mark.parametrize("spoil", [garbage, nulls, cut, folder, holes])
def test_a_damaged_database_is_told_in_one_line_and_gets_its_records_later(
    config: PipelineConfig, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], None]
) -> None:
    whole = database_of(config).with_suffix(".whole")
    shutil.copy(database_of(config), whole)
    spoil(database_of(config))
    place = Tracking(uri=tracking_uri(config.runtime), root=config.runtime.root, experiment="neurontune")
    name = tracking.open_run(place, "run", {tracking.FLOW_TAG: tracking.PIPELINE})
    assert kept_records.is_kept(str(name))
    tracking.record_configuration(place.model_copy(update={"run_id": name}), config.model_dump(mode="json"))
    (said,) = warnings(caplog)
    assert "the run goes on" in said and ("mlflow.db" in said or "MLflow's database" in said)
    assert mlflow_store.run_table(config.runtime) == ""
    client_of.cache_clear()
    shutil.rmtree(database_of(config)) if database_of(config).is_dir() else database_of(config).unlink()
    shutil.copy(whole, database_of(config))
    assert send(config.runtime).sent == 2 and find_run("latest", config.runtime).name == "run"


def test_a_database_is_made_whole_or_not_at_all(
    config: PipelineConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also by the migrations of another version of MLflow, for which no schema is shipped."""
    from mlflow import MlflowClient

    monkeypatch.setattr(new_database, "SCHEMAS", tmp_path)
    database_of(config).unlink()
    part = database_of(config).with_name("mlflow.db.0.part")
    part.write_text("left by a killed process")
    with monkeypatch.context() as killed:
        killed.setattr(MlflowClient, "search_experiments", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            client_of(tracking_uri(config.runtime))
        assert not database_of(config).exists()
    assert mlflow_store.open_experiment(tracking_uri(config.runtime), "neurontune", config.runtime.root) == "1"
    assert database_of(config).exists() and not list(part.parent.glob("*.part"))


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("spoil", [garbage, holes])
def test_a_damaged_database_at_the_start_costs_a_run_one_line(
    config: PipelineConfig, core_calls: Counter[str], caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], None]
) -> None:
    whole = database_of(config).with_suffix(".whole")
    shutil.copy(database_of(config), whole)
    spoil(database_of(config))
    assert "evaluation" in pipeline(config)
    said = [line for line in warnings(caplog) if "the run goes on" in line]
    assert (len(said) == 1 and "mlflow.db" in said[0]) or "database" in said[0]
    with pytest.raises(Exception) as caught:
        find_run("latest", config.runtime)
    assert "database" in mlflow_store.reason_of(caught.value) or "mlflow.db" in str(caught.value)
    client_of.cache_clear()
    shutil.rmtree(database_of(config)) if database_of(config).is_dir() else database_of(config).unlink()
    shutil.copy(whole, database_of(config))
    sent = send(config.runtime)
    assert sent.sent and not sent.left and not sent.refused
    assert find_run("latest", config.runtime).status == "FINISHED"


@pytest.mark.usefixtures("prefect_server")
def test_a_database_damaged_in_mid_run_costs_a_run_one_line(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    in_mid_run(monkeypatch, lambda: garbage(database_of(config)))
    assert "evaluation" in pipeline(config)
    assert sum("the run goes on" in line for line in warnings(caplog)) == 1
    assert "is damaged" in caplog.text and waiting(config.runtime.root)


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_locked_database_costs_a_run_one_line_and_gets_its_records_later(
    config: PipelineConfig, core_calls: Counter[str], caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(database_of(config))) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert "evaluation" in pipeline(config)
    said = [line for line in warnings(caplog) if "the run goes on" in line]
    assert len(said) == 1 and "is locked by another program" in said[0]
    sent = send(config.runtime)
    assert sent.sent and not sent.left and not sent.refused


def test_a_lock_that_nobody_gives_back_is_not_waited_for(config: PipelineConfig) -> None:
    with mlflow_store._writing_alone(tracking_uri(config.runtime)):
        with pytest.raises(mlflow_store.StoreError, match="is locked by another program"):
            mlflow_store.open_experiment(tracking_uri(config.runtime), "neurontune", config.runtime.root)
        assert killed_runs.end_killed(config.runtime) == 0


@pytest.mark.parametrize("content", ["", "[]", "null", "7", "[" * 100_000, '{"id": 1}'])
def test_a_damaged_record_is_put_aside(config: PipelineConfig, content: str) -> None:
    place = Path(config.runtime.root) / kept_records.FOLDER
    place.mkdir()
    (place / "1.json").write_text(content)
    assert waiting(config.runtime.root) == []
    assert [file.name for file in place.iterdir()] == ["1.json.damaged"]


@pytest.mark.usefixtures("prefect_server")
def test_records_that_cannot_even_be_kept_are_told_once(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a disk that is full."""
    write = LocalFileSystem.pipe_file

    def full(self: LocalFileSystem, path: str, *arguments: Any, **options: Any) -> Any:
        if kept_records.FOLDER in path:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, path, *arguments, **options)

    database_of(config).write_bytes(b"garbage")
    monkeypatch.setattr(LocalFileSystem, "pipe_file", full)
    pipeline(config)
    (told,) = [line for line in warnings(caplog) if "cannot even be kept" in line]
    assert config.runtime.root in told and told.endswith("No space left on device: make room there")


@pytest.mark.parametrize(
    "address",
    [
        "nope", " ", "ftp://host", "http://", "http://:5000", "http://host:99999", "http://host:x", "http://[::1",
        "http://a\nb", "sqlite://", "sqlite:///", "postgresql://",
    ],
)  # fmt: skip
@pytest.mark.parametrize("by", ["runtime.mlflow_uri", "MLFLOW_TRACKING_URI"])
def test_an_address_of_no_mlflow_is_told_before_it_is_asked(
    config: PipelineConfig, monkeypatch: pytest.MonkeyPatch, address: str, by: str
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    runtime = config.runtime
    if by == "MLFLOW_TRACKING_URI":
        monkeypatch.setenv(by, address)
    else:
        runtime = runtime.model_copy(update={"mlflow_uri": address})
    with pytest.raises(InputError, match=f"^{by}: .* is not an address that MLflow supports; give http://HOST:PORT"):
        tracking_uri(runtime)


def test_the_scheme_of_an_installed_plugin_is_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = RuntimeConfig(mlflow_uri="cloudml://workspace")
    with pytest.raises(InputError, match="not an address that MLflow supports"):
        tracking_uri(runtime)
    plugin = EntryPoint("cloudml", "cloudml:Store", "mlflow.tracking_store")
    monkeypatch.setattr(mlflow_store, "entry_points", lambda group: EntryPoints([plugin]))
    assert tracking_uri(runtime) == "cloudml://workspace"


@pytest.mark.parametrize(
    "address",
    [
        "http://host", "https://host:5000/mlflow", "http://[::1]:5000", "sqlite:////a/b.db", "sqlite:///b.db",
        "postgresql+psycopg2://host/db", "mysql://host/db", "file:///a/b", "./mlruns", "databricks",
    ],
)  # fmt: skip
def test_addresses_that_mlflow_takes_are_taken(config: PipelineConfig, address: str) -> None:
    assert tracking_uri(config.runtime.model_copy(update={"mlflow_uri": address})) == address
