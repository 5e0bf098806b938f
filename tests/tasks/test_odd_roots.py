"""A root whose name holds what ends or encodes an address: its files lie in it, and nothing lies beside it."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from flows.pipeline import pipeline
from neurontune_core import artifacts
from neurontune_core.config import PipelineConfig, RuntimeConfig
from tasks.recording.mlflow_store import client_of, database_file, open_experiment, tracking_uri

NAMES = ["a%20b", "a%2Fb", "a%252Fb", "a#b", "a?b", "a[b]", "a[b]*", "ü b%3F?c#d&e=f+g"]


@pytest.mark.parametrize("name", NAMES)
def test_the_database_lies_in_the_root_and_nothing_beside_it(
    tmp_path: Path, mlflow_template: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    root = tmp_path / "roots" / name
    root.mkdir(parents=True)
    if name != NAMES[-1]:  # the last is made anew
        shutil.copy(mlflow_template, root / "mlflow.db")
    uri = tracking_uri(RuntimeConfig(root=str(root)))
    assert database_file(uri) == root / "mlflow.db"
    known = open_experiment(uri, "neurontune", str(root))
    client_of.cache_clear()
    assert open_experiment(uri, "neurontune", str(root)) == known
    assert [path.name for path in (tmp_path / "roots").iterdir()] == [name]
    assert {path.name for path in root.iterdir()} <= {"mlflow.db", "mlflow.db.lock", "mlflow.db-wal", "mlflow.db-shm"}
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("name", ["a%20b%2Fc#d?e[f]"])
def test_a_run_uses_such_a_root_and_the_next_reuses_it(
    config: PipelineConfig, core_calls: Counter[str], mlflow_template: Path, tmp_path: Path, name: str
) -> None:
    root = tmp_path / "roots" / name
    root.mkdir(parents=True)
    shutil.copy(mlflow_template, root / "mlflow.db")
    odd = config.model_copy(update={"runtime": config.runtime.model_copy(update={"root": str(root)})})
    made = pipeline(odd)
    calls = Counter(core_calls)
    again = pipeline(odd)
    assert core_calls == calls
    assert {stage: each.digest for stage, each in again.items()} == {stage: each.digest for stage, each in made.items()}
    assert artifacts.open_folder(made["scaling"]).parent.parent == root
    runs = client_of(tracking_uri(odd.runtime)).search_runs(["1"], "tags.`prefect.flow_name` = 'neurontune'")
    assert [run.info.status for run in runs] == ["FINISHED"] * 2
    assert [path.name for path in (tmp_path / "roots").iterdir()] == [name]
