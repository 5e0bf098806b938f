"""A run is found again by each of its names, with its own settings and artifacts."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from recorded_runs import record_run

from flows.first_stages import pairs_only
from flows.pipeline import pipeline
from neurontune_core.config import PipelineConfig, RuntimeConfig, load_config
from neurontune_core.errors import ArtifactError, InputError
from neurontune_core.run_name import run_name
from tasks import evaluation
from tasks.recording.mlflow_store import client_of, tracking_uri
from tasks.recording.runs import find_run, places


@pytest.mark.usefixtures("prefect_server")
def test_run_is_found_by_each_of_its_names(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pipeline(config)
    changed = config.runtime.model_copy(update={"changed": ("pairs.seed=7",)})
    other = config.model_copy(update={"pairs": config.pairs.model_copy(update={"seed": 7}), "runtime": changed})

    def fail(*_: Any) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(evaluation.evaluate, "evaluate", fail)
    with pytest.raises(RuntimeError):
        pipeline(other)
    pairs_only(config)

    done = find_run(run_name(config), config.runtime)
    assert done.config.pairs == config.pairs
    report = made.pop("report")  # a file of the run, not one of its stages
    assert report.stage not in done.stages
    assert {stage: done.artifact(stage) for stage in made} == made
    flow_run = client_of(tracking_uri(config.runtime)).get_run(done.run_id).data.tags["prefect.flow_run_id"]
    for name in (done.run_id, flow_run):
        assert find_run(name, config.runtime) == done
    assert find_run("latest", config.runtime, finished=True) == done
    failed = find_run("latest", config.runtime)
    assert (failed.name, failed.status, failed.config.pairs.seed) == ("llama · preset · pairs.seed=7", "FAILED", 7)
    assert failed.artifact("scaling") != made["scaling"]
    with pytest.raises(InputError, match="no evaluation"):
        failed.artifact("evaluation")
    shutil.rmtree(made["scaling"].uri.removeprefix("file://"))
    with pytest.raises(ArtifactError, match="missing"):
        done.artifact("scaling")
    for name in ("nonsense", "it's"):
        with pytest.raises(InputError, match=name):
            find_run(name, config.runtime)


@pytest.mark.parametrize("name", ["it's", 'a "quoted" word', "both ' and \" in it", "k=500 · 50%, \\d"])
def test_a_run_is_found_by_a_name_with_any_signs(config: PipelineConfig, name: str) -> None:
    record_run(config, "another")
    run = record_run(config, name)
    assert find_run(name, config.runtime).run_id == run


def test_only_unusual_places_are_named_and_all_of_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("NEURONTUNE_ROOT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    root, server = str(tmp_path / "neurontune-artifacts"), "http://127.0.0.1:5000"
    beside = f"sqlite:///{root}/mlflow.db"
    for usual in (RuntimeConfig(), RuntimeConfig(root=root), RuntimeConfig(root=root, mlflow_uri=beside)):
        assert places(usual) == []
    unusual = RuntimeConfig(root="mine", mlflow_uri=server, experiment="own")
    found = load_config(settings=places(unusual)).runtime
    assert (found.root, found.mlflow_uri, found.experiment) == (str(tmp_path / "mine"), server, "own")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    assert not any("mlflow_uri" in place for place in places(unusual))


def test_where_nothing_is_recorded_is_said_and_nothing_made(config: PipelineConfig, tmp_path: Path) -> None:
    elsewhere = config.runtime.model_copy(update={"root": str(tmp_path / "elsewhere")})
    with pytest.raises(InputError, match=r"runtime\.root"):
        find_run("latest", elsewhere)
    assert not (tmp_path / "elsewhere").exists()
    with pytest.raises(InputError, match=r"runtime\.experiment"):
        find_run("latest", config.runtime)
