import pickle
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from prefect import Task
from pydantic import BaseModel

from neurontune_core import artifacts
from neurontune_core.config import RuntimeConfig
from neurontune_core.errors import ArtifactError
from neurontune_core.records import Artifact
from tasks.caching import ArtifactSerializer, cached_by_key, discard, reading_root, result_storage
from tasks.recording.mlflow_store import Tracking
from tasks.stage import StageRun, configured, stage_task, with_key


class Settings(BaseModel):
    size: int = 1


def make(root: Path, key: str = "k") -> Artifact:
    def fill(folder: Path) -> dict[str, float]:
        (folder / "part.bin").write_bytes(b"data")
        return {}

    return artifacts.write(str(root), "scores", key, fill, Settings())


def test_serializer_returns_what_it_was_given(tmp_path: Path) -> None:
    artifact = make(tmp_path)
    blob = ArtifactSerializer().dumps(artifact)
    assert b"pickle" not in blob and str(tmp_path).encode() not in blob
    reading_root.set(str(tmp_path))
    assert ArtifactSerializer().loads(blob) == artifact


def test_serializer_refuses_missing_and_changed_files(tmp_path: Path) -> None:
    blob = ArtifactSerializer().dumps(make(tmp_path))
    reading_root.set(str(tmp_path))
    file = tmp_path / "scores" / "k" / "part.bin"
    file.write_bytes(b"dota")
    with pytest.raises(ArtifactError, match=r"part.bin has changed"):
        ArtifactSerializer().loads(blob)
    file.unlink()
    with pytest.raises(ArtifactError, match=r"part.bin is missing"):
        ArtifactSerializer().loads(blob)


def test_the_key_sees_only_what_the_key_function_takes() -> None:
    @stage_task("example", lambda config, shard: f"{config.size}-{shard}")
    def example(config: Settings, shard: int, run: StageRun) -> Artifact:
        raise NotImplementedError

    def call(record: str = "", **changes: Any) -> StageRun:
        arguments = {"config": Settings(), "shard": 2} | changes
        return with_key(example, RuntimeConfig(), Tracking(uri=record), arguments)["run"]  # type: ignore[no-any-return]

    assert call().key == call("another").key == "1-2"
    assert call(shard=3).key == "1-3" and call(config=Settings(size=4)).key == "4-2"


def test_prefect_caches_by_the_key_that_a_task_is_given() -> None:
    run = StageRun("1-2", RuntimeConfig(), Tracking(uri=""))
    policy = cached_by_key("scores")
    key = policy.compute_key(None, {"run": run, "shard": 2}, {})  # type: ignore[arg-type]
    assert key == "scores/1-2"
    elsewhere = replace(run, runtime=RuntimeConfig.model_validate({"device": "cpu"}))
    assert policy.compute_key(None, {"run": elsewhere}, {}) == key  # type: ignore[arg-type]
    assert policy.compute_key(None, {"run": replace(run, key="1-3")}, {}) == "scores/1-3"  # type: ignore[arg-type]


def test_discard_removes_one_artifact_and_forgives_a_missing_one(tmp_path: Path) -> None:
    make(tmp_path, "a")
    kept = make(tmp_path, "b")
    discard(str(tmp_path), "scores", "a")
    discard(str(tmp_path), "scores", "a")
    assert artifacts.find(str(tmp_path), "scores", "a") is None
    assert artifacts.find(str(tmp_path), "scores", "b") == kept


@pytest.mark.usefixtures("prefect_server")
def test_result_records_live_beside_the_artifacts(tmp_path: Path) -> None:
    assert result_storage(str(tmp_path)) == tmp_path / ".prefect-results"
    remote = result_storage("memory://bucket/root")
    assert not isinstance(remote, Path)
    remote.write_path("scores/k", b"record")  # type: ignore[unused-coroutine]
    assert remote.read_path("scores/k") == b"record"


@pytest.mark.parametrize("module", ["attribution", "causal"])
def test_a_stage_can_be_sent_to_a_dask_worker(module: str) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    stages = [each for each in vars(import_module(f"tasks.{module}")).values() if isinstance(each, Task)]
    assert stages
    for stage in stages:
        sent = pickle.loads(cloudpickle.dumps(configured(stage, RuntimeConfig())))
        assert sent.name == stage.name
