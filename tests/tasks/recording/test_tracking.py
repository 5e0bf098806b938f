"""The tree of MLflow runs a pipeline run leaves, on a real SQLite store with fake core functions."""

import base64
import json
import zlib
from collections import Counter
from typing import Any

import pytest
from recorded_tree import RECORDED, Run, below, check_parent, runs_of

from flows.pipeline import pipeline
from neurontune_core.config import PipelineConfig
from neurontune_core.data import corpus
from tasks import attribution, evaluation, scaling
from tasks.recording import mlflow_view, step_runs, tracking
from tasks.recording.mlflow_entities import metrics_of, parameters_of
from tasks.recording.mlflow_store import Tracking, client_of, tracking_uri


@pytest.mark.usefixtures("prefect_server")
def test_runs_of_an_executed_and_of_a_reused_pipeline(config: PipelineConfig, core_calls: Counter[str]) -> None:
    made = pipeline(config)
    assert pipeline(config) == made, "the report too"
    (first, second), steps = runs_of(config)
    executed, reused = below(first, steps), below(second, steps)
    assert sorted(executed) == sorted(RECORDED)
    assert sorted(reused) == sorted(f"{stage} [cached]" for stage in RECORDED)
    assert {run.info.status for run in [first, second, *steps]} == {"FINISHED"}
    for stage in RECORDED:
        tags, stub = executed[stage].data.tags, reused[f"{stage} [cached]"].data.tags
        assert tags["step.outcome"] == "executed" and stub["step.outcome"] == "cached"
        assert tags["step.cache_key"] == stub["step.cache_key"]
        assert stub["step.source_run_id"] == executed[stage].info.run_id
        assert executed[stage].info.run_id in stub["mlflow.note.content"]
        assert tags["prefect.flow_run_id"] == first.data.tags["prefect.flow_run_id"] != stub["prefect.flow_run_id"]
        assert stage == "attribution" or tags["prefect.task_run_id"]
    assert executed["scaling"].data.tags["step.cache_key"] == made["scaling"].key
    assert executed["scaling"].data.params["scaling.steps"] == str(config.scaling.steps)
    assert "pairs.seed" not in executed["scaling"].data.params
    _check_datasets(executed["scaling"], made)
    assert {item.dataset.name for item in executed["pairs"].inputs.dataset_inputs} == {
        "pairs",
        *(f"shipped/{file}" for file in corpus.FILES),
    }
    _check_walk_back(executed, "")
    _check_walk_back(reused, " [cached]")
    files = {f"shipped/{file}" for file in corpus.FILES}
    for parent in (first, second):
        check_parent(config, parent)
        assert {item.dataset.name for item in parent.inputs.dataset_inputs} == files
    assert files < {item.dataset.name for item in reused["pairs [cached]"].inputs.dataset_inputs}
    _check_shards(config, executed["attribution"], [1.0, 1.0, 1.0])
    _check_shards(config, reused["attribution [cached]"], [0.0, 0.0, 0.0])
    files = {
        file.path for file in client_of(tracking_uri(config.runtime)).list_artifacts(executed["scaling"].info.run_id)
    }
    assert files == {"alpha.safetensors", "curve.parquet", "manifest.json"}


def _check_walk_back(steps: dict[str, Run], cached: str) -> None:
    """Every step links to the steps of the same run that its inputs are from."""
    inputs = {
        "attribution": ["pairs"], "scores": ["attribution"], "selection": ["pairs", "scores"],
        "scaling": ["pairs", "selection"],
        "cards": ["pairs", "selection"], "base": ["pairs"], "tuned": ["base", "scaling"],
        "evaluation": ["base", "tuned"], "ability": ["base-ability", "scaling"],
        "triggers": ["scaling", "evaluation"],
    }  # fmt: skip
    for stage, names in inputs.items():
        note = steps[stage + cached].data.tags["mlflow.note.content"]
        links = [f"[{name}](#/experiments/1/runs/{steps[name + cached].info.run_id})" for name in names]
        assert note.endswith(f"Made from {', '.join(links)}."), note


def _check_datasets(run: Run, made: dict[str, Any]) -> None:
    found = {(item.dataset.name, item.dataset.digest, item.tags[0].value) for item in run.inputs.dataset_inputs}
    assert found == {
        ("pairs", made["pairs"].digest[:36], "input"),
        ("selection", made["selection"].digest[:36], "input"),
        ("scaling", made["scaling"].digest[:36], "output"),
    }


def _check_shards(config: PipelineConfig, run: Run, executed: list[float]) -> None:
    history = client_of(tracking_uri(config.runtime)).get_metric_history(run.info.run_id, "attribution/executed")
    assert [(point.step, point.value) for point in history] == list(enumerate(executed))


@pytest.mark.usefixtures("prefect_server")
def test_a_run_shows_its_shards_together_and_each_shard_has_a_run_of_its_own(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, gaps = attribution.shards.attribute_shard, iter([7.8e-5, 4.1e-5, 2.6e-5])

    def with_gap(*args: Any, **named: Any) -> Any:
        made = whole(*args, **named)
        made.facts |= {"completeness_gap_max": next(gaps), "pairs": 4.0, "waves_per_pair": 2.0}
        return made

    monkeypatch.setattr(attribution.shards, "attribute_shard", with_gap)
    pipeline(config)
    pipeline(config)
    (first, second), steps = runs_of(config)
    expected = {"shards": 3.0, "pairs": 12.0, "completeness_gap_max": 7.8e-5, "waves_per_pair": 2.0}
    step = below(first, steps)["attribution"]
    for run in (first, second, step, below(second, steps)["attribution [cached]"]):
        assert {name: run.data.metrics[f"attribution/{name}"] for name in expected} == pytest.approx(expected)
    shards = below(step, steps)
    assert sorted(shards) == [f"attribution shard {number}/3" for number in (1, 2, 3)]
    assert sorted(run.data.metrics["attribution/completeness_gap_max"] for run in shards.values()) == [
        2.6e-5, 4.1e-5, 7.8e-5,
    ]  # fmt: skip
    assert {run.info.status for run in shards.values()} == {"FINISHED"}


@pytest.mark.usefixtures("prefect_server")
def test_failed_attempt_retry_and_failed_run(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    learn, errors = scaling.learn.learn_scaling, [ConnectionResetError("gone")]

    def flaky(*args: Any, **named: Any) -> Any:
        if errors:
            raise errors.pop()
        return learn(*args, **named)

    def broken(*args: Any) -> Any:
        raise ValueError("a bug")

    monkeypatch.setattr(scaling.learn, "learn_scaling", flaky)
    monkeypatch.setattr(evaluation.evaluate, "evaluate", broken)
    with pytest.raises(ValueError, match="a bug"):
        pipeline(config)
    (parent,), steps = runs_of(config)
    attempts = [run for run in steps if run.info.run_name == "scaling"]
    assert [(run.info.status, run.data.tags["step.attempt"]) for run in attempts] == [
        ("FAILED", "1"),
        ("FINISHED", "2"),
    ]
    assert attempts[0].data.tags["step.error"] == "gone"
    assert parent.info.status == "FAILED"
    assert parent.data.tags["step.error"] == "a bug"
    assert parent.data.metrics["scaling/loss_last"] == 1.0


@pytest.mark.usefixtures("prefect_server")
def test_interrupted_run_is_marked_killed(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any, **named: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(scaling.learn, "learn_scaling", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pipeline(config)
    (parent,), steps = runs_of(config)
    assert parent.info.status == "KILLED"
    assert {run.info.run_name: run.info.status for run in steps}["scaling"] == "KILLED"


@pytest.mark.usefixtures("prefect_server")
def test_step_interrupted_while_it_is_opened_is_marked_killed(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = step_runs.record_parameters

    def interrupted(record: Tracking, run_id: str, settings: Any) -> None:
        if "scaling" in settings and len(settings) == 1:
            raise KeyboardInterrupt
        whole(record, run_id, settings)

    monkeypatch.setattr(step_runs, "record_parameters", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pipeline(config)
    _, steps = runs_of(config)
    assert {run.info.run_name: run.info.status for run in steps}["scaling"] == "KILLED"


def test_the_view_offers_the_settings_that_differ(config: PipelineConfig) -> None:
    client = client_of(tracking_uri(config.runtime))
    for nodes, threads in ((3, 1), (5, 2)):
        attribution = config.attribution.model_copy(update={"nodes": nodes})
        runtime = config.runtime.model_copy(update={"threads": threads})
        run = config.model_copy(update={"attribution": attribution, "runtime": runtime})
        record = tracking.start_run(run, "run", "model")
        client.set_tag(record.run_id, tracking.FLOW_TAG, tracking.PIPELINE)
        tracking.finish_run(record, [], None)
    experiment = client.get_experiment_by_name("neurontune")
    packed = json.loads(experiment.tags[mlflow_view.TAG])["state"].removeprefix("deflate;")
    columns = json.loads(zlib.decompress(base64.b64decode(packed)))["selectedColumns"]
    assert [name for name in columns if name.startswith("params")] == ["params.`attribution.nodes`"]
    # MLflow sorts the columns of metrics by name
    metrics = sorted(name.split("`")[1] for name in columns if name.startswith("metrics"))
    assert metrics[:3] == ["eval/safety", "eval/su_f1", "eval/utility"] and len(metrics) <= 6
    assert mlflow_view.table_link(experiment.experiment_id) in experiment.tags["mlflow.note.content"]
    client.set_experiment_tag(experiment.experiment_id, "mlflow.note.content", "mine")
    tracking.offer_view(record)
    assert client.get_experiment_by_name("neurontune").tags["mlflow.note.content"] == "mine"


def test_names_of_metrics_and_parameters() -> None:
    metrics = metrics_of("pairs", {"n [odd], name": 1.0, "eval/su_f1": 0.5}, step=3)
    assert [(metric.key, metric.step) for metric in metrics] == [("eval/su_f1", 3), ("pairs/n _odd__ name", 3)]
    settings = {"scaling": {"steps": 3, "order": "first"}, "pairs": {"harmful": ["a", "b"], "system": None}}
    assert dict(parameters_of(settings)) == {
        "scaling.steps": "3",
        "scaling.order": "first",
        "pairs.harmful": json.dumps(["a", "b"]),
        "pairs.system": "null",
    }
