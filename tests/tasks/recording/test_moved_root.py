"""A root that was moved or copied works as where it was made, and what it holds names no place."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from flows.pipeline import pipeline
from neurontune_core import artifacts
from neurontune_core.config import PipelineConfig, RuntimeConfig
from tasks.recording import mlflow_spool, tracking
from tasks.recording.killed_runs import at_work
from tasks.recording.lineage import trace
from tasks.recording.mlflow_store import BESIDE, Tracking, client_of, tracking_uri
from tasks.recording.moved_root import readdress
from tasks.recording.runs import find_run


def at(runtime: RuntimeConfig, root: Path) -> RuntimeConfig:
    return runtime.model_copy(update={"root": str(root)})


@pytest.mark.usefixtures("prefect_server")
def test_a_copy_is_a_root_of_its_own_with_the_runs_of_the_original(
    config: PipelineConfig, core_calls: Counter[str], tmp_path: Path
) -> None:
    original, copy = Path(config.runtime.root), tmp_path / "another place" / "copy"
    made = pipeline(config)
    shutil.copytree(original, copy)
    before = core_calls.copy()
    readdress(str(copy))
    there = config.model_copy(update={"runtime": at(config.runtime, copy)})
    found = find_run("latest", there.runtime)
    assert found.config.runtime.root == str(copy)
    shown = json.dumps([[node.to_dict() for node in trace(found)], [one.uri for one in found.made]])
    assert str(original) not in shown and str(copy) in shown
    # the original is gone in part: nothing of the copy may lead there
    shutil.rmtree(original / "scaling")
    again = pipeline(there)
    assert core_calls == before, "every stage is reused"
    assert {stage: one.digest for stage, one in again.items()} == {stage: one.digest for stage, one in made.items()}
    assert all(str(copy) in one.uri for one in again.values())
    assert not (original / "scaling").exists()
    assert {run.artifact("scaling").uri for run in [found, find_run("latest", there.runtime)]} == {again["scaling"].uri}
    # and what the copy lacks it computes, though the original has it
    shutil.rmtree(copy / "selection")
    pipeline(there)
    assert (copy / "selection").exists() and str(copy) in artifacts.at(str(copy), "selection", "k").uri
    runs = client_of(tracking_uri(there.runtime)).search_runs(["1"])
    assert all(run.info.artifact_uri.startswith((copy / "mlflow").as_uri()) for run in runs)
    assert _names(copy, original) == []


def _names(root: Path, place: Path) -> list[str]:
    """Return the files of a root that name another place; Prefect's own records apart, which nothing here reads by."""
    wanted = str(place).encode()
    return [
        str(file.relative_to(root))
        for file in root.rglob("*")
        if file.is_file() and ".prefect" not in str(file.relative_to(root)) and wanted in file.read_bytes()
    ]


def test_records_that_were_kept_move_with_the_root(
    config: PipelineConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, moved = Path(config.runtime.root), tmp_path / "moved"
    place = Tracking(uri=tracking_uri(config.runtime), root=str(root), experiment="neurontune")
    with monkeypatch.context() as away:
        away.setattr(mlflow_spool, "client_of", lambda _: 1 / 0)
        tracking.open_run(place, "kept", {})
    assert _names(root, root) == []
    root.rename(moved)
    there = at(config.runtime, moved)
    other = there.model_copy(update={"mlflow_uri": f"sqlite:///{tmp_path}/other.db"})
    assert mlflow_spool.send(other).elsewhere == (f"sqlite:///{moved}/mlflow.db",), "where they are wanted is told"
    assert mlflow_spool.send(there) == mlflow_spool.Sent(1, [], [])
    (run,) = client_of(tracking_uri(there)).search_runs(["1"])
    assert run.info.run_name == "kept"


def test_a_note_of_a_run_at_work_names_no_place(config: PipelineConfig) -> None:
    with at_work(config.runtime):
        (note,) = Path(config.runtime.root).rglob("run-*.json")
        assert json.loads(note.read_text())["store"] == BESIDE


def test_a_moved_database_names_its_own_files_and_no_others(config: PipelineConfig, tmp_path: Path) -> None:
    root = Path(config.runtime.root)
    client = client_of(tracking_uri(config.runtime))
    elsewhere = tmp_path / "theirs" / "mlflow"
    places = {"own": (root / "mlflow").as_uri(), "served": f"{root}/mlflow/3", "theirs": elsewhere.as_uri()}
    runs = {}
    for name, place in places.items():
        run = client.create_run(client.create_experiment(name, artifact_location=place))
        client.log_text(run.info.run_id, name, "file.txt")
        runs[name] = run.info.run_id
    client.create_experiment("empty", artifact_location=(root / "mlflow").as_uri())
    model = client.create_logged_model(client.get_run(runs["own"]).info.experiment_id, "model")
    moved = tmp_path / "moved"
    root.rename(moved)
    for _ in range(2):
        readdress(str(moved))
        there = client_of(f"sqlite:///{moved / 'mlflow.db'}")
        found = {name: there.get_run(run).info.artifact_uri for name, run in runs.items()}
        assert found["own"] == f"{(moved / 'mlflow').as_uri()}/{runs['own']}/artifacts"
        assert found["served"] == f"{moved}/mlflow/3/{runs['served']}/artifacts"
        assert found["theirs"] == f"{elsewhere.as_uri()}/{runs['theirs']}/artifacts"
        for name in ("own", "empty"):
            experiment = there.get_experiment_by_name(name)
            assert experiment is not None and experiment.artifact_location == (moved / "mlflow").as_uri()
        assert there.get_logged_model(model.model_id).artifact_location.startswith((moved / "mlflow").as_uri())


@pytest.mark.parametrize("content", [b"", b"no database" * 100, None])
def test_a_database_that_cannot_be_read_is_left_alone(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "mlflow.db"
    file.write_bytes(content) if content is not None else file.mkdir()
    readdress(str(tmp_path))
    assert file.is_dir() if content is None else file.read_bytes() == content
    readdress("memory://bucket")
