"""The tree of MLflow runs a pipeline run leaves, on a real SQLite store with fake core functions."""

import base64
import json
import logging
import os
import time
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flows.pipeline import pipeline
from neurontune_core.config import PipelineConfig
from neurontune_core.data import corpus
from neurontune_core.records import Artifact
from tasks import attribution, evaluation, scaling, scores
from tasks.recording import mlflow_spool, mlflow_store, mlflow_view, step_runs, tracking
from tasks.recording.mlflow_entities import metrics_of, parameters_of
from tasks.recording.mlflow_store import Tracking, client_of, tracking_uri
from tasks.recording.runs import find_run

Run = Any


def runs_of(config: PipelineConfig) -> tuple[list[Run], list[Run]]:
    """Return the pipeline runs and the step runs, oldest first; not the answers, which are below no run."""
    client = client_of(tracking_uri(config.runtime))
    experiment = client.get_experiment_by_name("neurontune")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], order_by=["start_time ASC"])
    runs = [run for run in runs if run.data.tags.get("step.name") != "answers"]
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    return parents, [run for run in runs if run not in parents]


def below(parent: Run, steps: list[Run]) -> dict[str, Run]:
    return {run.info.run_name: run for run in steps if run.data.tags["mlflow.parentRunId"] == parent.info.run_id}


@pytest.mark.usefixtures("prefect_server")
def test_runs_of_an_executed_and_of_a_reused_pipeline(config: PipelineConfig, core_calls: Counter[str]) -> None:
    made = pipeline(config)
    assert pipeline(config) == made, "the report too"
    (first, second), steps = runs_of(config)
    stages = [
        "pairs",
        "attribution",
        "scores",
        "selection",
        "cards",
        "scaling",
        "base",
        "tuned",
        "evaluation",
        "base-ability",
        "ability",
        "triggers",
    ]
    executed, reused = below(first, steps), below(second, steps)
    assert sorted(executed) == sorted(stages)
    assert sorted(reused) == sorted(f"{stage} [cached]" for stage in stages)
    assert {run.info.status for run in [first, second, *steps]} == {"FINISHED"}
    for stage in stages:
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
        _check_parent(config, parent)
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


def _check_parent(config: PipelineConfig, run: Run) -> None:
    client = client_of(tracking_uri(config.runtime))
    assert run.data.params["scaling.steps"] == str(config.scaling.steps)
    assert "runtime.mlflow_uri" not in run.data.params
    assert run.data.metrics["eval/su_f1"] == 0.5
    assert [point.value for point in client.get_metric_history(run.info.run_id, "scaling/loss")] == [2.0, 1.0]
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"completions.json", "rates.json", "report.html"} <= files


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


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_what_mlflow_missed_is_kept_and_sent_later_as_if_it_had_not_been_away(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(*_: Any) -> Any:
        raise ConnectionError("server stopped")

    # there at the start, away from the second stage on, and away for all of the second run
    away = {"now": False}
    reachable = mlflow_store.client_of
    for module in (tracking, step_runs, mlflow_spool):
        monkeypatch.setattr(module, "client_of", lambda uri: gone() if away["now"] else reachable(uri))
    merge = scores.merge.merge_tables
    monkeypatch.setattr(scores.merge, "merge_tables", lambda parts: (away.update(now=True), merge(parts))[1])
    stages = [
        *("pairs", "scores", "selection", "cards", "scaling"),
        *("base", "tuned", "evaluation", "base-ability", "ability", "triggers", "report"),
    ]
    assert sorted(pipeline(config)) == sorted(stages)
    assert "MLflow: could not record artifact scores: ConnectionError: server stopped; the run goes on" in caplog.text
    assert caplog.text.count("the run goes on") == 1
    assert "records: record artifact scores, " in caplog.text and "`neurontune sync`" in caplog.text
    pipeline(config)
    started = [run.info.start_time for run in runs_of(config)[0]]
    assert len(started) == 1 and len(mlflow_spool.waiting(config.runtime.root)) > 25

    away["now"] = False
    sent = mlflow_spool.send(config.runtime)
    assert sent.sent > 25 and not sent.left and not sent.refused and not mlflow_spool.waiting(config.runtime.root)
    (first, second), steps = runs_of(config)
    stages = [
        "pairs",
        "attribution",
        "scores",
        "selection",
        "cards",
        "scaling",
        "base",
        "tuned",
        "evaluation",
        "base-ability",
        "ability",
        "triggers",
    ]
    assert sorted(below(first, steps)) == sorted(stages)
    assert sorted(below(second, steps)) == sorted(f"{stage} [cached]" for stage in stages)
    assert {run.info.status for run in [first, second, *steps]} == {"FINISHED"}
    assert second.data.tags["prefect.flow_run_id"] != first.data.tags["prefect.flow_run_id"]
    _check_parent(config, first)
    _check_parent(config, second)
    (table,) = [load_table(config, run) for run in (first,)]
    assert len(table["data"]) == 4
    assert find_run(second.info.run_id, config.runtime).artifact("scaling")


def load_table(config: PipelineConfig, run: Run) -> dict[str, Any]:
    found = client_of(tracking_uri(config.runtime)).download_artifacts(run.info.run_id, "completions.json")
    table: dict[str, Any] = json.loads(Path(found).read_text())
    return table


def test_a_creation_that_mlflow_repeats_leaves_one_run(config: PipelineConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's client sends a request again that a slow server has not answered in time."""
    uri = tracking_uri(config.runtime)
    client = client_of(uri)
    create = client.create_run

    def twice(*arguments: Any, **options: Any) -> Run:
        create(*arguments, **options)
        return create(*arguments, **options)

    monkeypatch.setattr(client, "create_run", twice)
    monkeypatch.setattr(mlflow_spool, "SLOW_SECONDS", 0)
    place = Tracking(uri=uri, root=config.runtime.root, experiment="neurontune")
    made = tracking.open_run(place, "run", {})
    assert [run.info.run_id for run in client.search_runs(["1"])] == [made]


def test_after_a_slow_failure_records_are_kept_at_once(
    config: PipelineConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[str] = []

    @mlflow_spool.best_effort
    def record_it(record: Tracking, stage: str) -> None:
        calls.append(stage)
        if not record.experiment:
            time.sleep(0.05)
            raise TimeoutError("no answer")

    monkeypatch.setattr(mlflow_spool, "SLOW_SECONDS", 0.01)
    monkeypatch.setattr(mlflow_spool, "_paused_until", 0.0)
    root, uri = config.runtime.root, tracking_uri(config.runtime)
    with caplog.at_level(logging.WARNING):
        for stage in ("pairs", "scores", "scaling"):
            record_it(Tracking(uri=uri, root=root, run_id="1"), stage)
        record_it(Tracking(uri="http://me:secret@elsewhere", root=root, run_id="1"), "selection")
    assert calls == ["pairs"]
    assert mlflow_spool.waiting(root) == [f"record it {name}" for name in ("pairs", "scores", "scaling", "selection")]
    kept = "".join(file.read_text() for file in Path(root).glob(".unrecorded/*"))
    assert "secret" not in kept and "elsewhere" in kept
    assert mlflow_spool.send(config.runtime) == mlflow_spool.Sent(
        0, [], mlflow_spool.waiting(root), ("http://elsewhere",)
    )
    assert calls == ["pairs", "pairs"], "the first failed again, so the others were not tried"


def test_what_can_never_be_recorded_is_dropped_with_its_reason(
    config: PipelineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, root = tracking_uri(config.runtime), config.runtime.root
    record = Tracking(uri=uri, root=root, experiment="neurontune", run_id="r1")
    step_runs.record_artifact(record, "r1", Artifact("pairs", "k", f"{root}/pairs/k", "d"))
    sent = mlflow_spool.send(config.runtime)
    assert sent.sent == 0 and not sent.left
    assert len(sent.refused) == 1 and sent.refused[0].startswith("record artifact pairs (ArtifactError: ")
    assert not mlflow_spool.waiting(root)


def keep_something(config: PipelineConfig, monkeypatch: pytest.MonkeyPatch, uri: str = "") -> None:
    """Open a run while MLflow is away."""
    with monkeypatch.context() as away:
        away.setattr(mlflow_spool, "client_of", lambda _: 1 / 0)
        place = Tracking(uri=uri or tracking_uri(config.runtime), root=config.runtime.root, experiment="neurontune")
        tracking.open_run(place, "kept", {})


def test_two_that_send_at_once_send_everything_once(config: PipelineConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        keep_something(config, monkeypatch)
    create = mlflow_spool.create_run

    def slowly(*args: Any) -> str:
        time.sleep(0.2)
        return create(*args)

    monkeypatch.setattr(tracking, "create_run", slowly)
    with ThreadPoolExecutor() as pool:
        sent = [found.result() for found in [pool.submit(mlflow_spool.send, config.runtime) for _ in range(2)]]
    assert sorted(each.sent for each in sent) == [0, 3]
    assert len(runs_of(config)[0]) == 3


def test_a_record_that_another_sends_or_that_is_damaged_stops_nothing(
    config: PipelineConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keep_something(config, monkeypatch)
    folder = Path(config.runtime.root) / mlflow_spool.FOLDER
    (folder / "0-damaged.json").touch()
    (folder / "9-gone.json").symlink_to(folder / "elsewhere")
    assert mlflow_spool.waiting(config.runtime.root) == ["open run kept"]
    assert "0-damaged.json is not a readable record; it is set aside" in caplog.text
    assert mlflow_spool.send(config.runtime).sent == 1


def test_a_server_that_fails_now_and_then_stops_no_run(config: PipelineConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Counter[str]()

    def failing(*args: Any) -> str:
        calls["all"] += 1
        if calls["all"] == 2:
            raise ConnectionError("gone for a moment")
        return mlflow_store.open_experiment(*args)

    monkeypatch.setattr(mlflow_spool, "open_experiment", failing)
    record = tracking.start_run(config, "run", "model")
    assert calls["all"] > 2 and record.run_id and not record.experiment_id
    assert tracking.run_link(record) == ""
    tracking.finish_run(record, [], None)
    assert [run.info.status for run in runs_of(config)[0]] == ["FINISHED"]
    assert not mlflow_spool.waiting(config.runtime.root)


def test_no_password_is_shown() -> None:
    shown = mlflow_store.without_password("postgresql://user:secret@database:5432/mlflow")
    assert shown == "postgresql://database:5432/mlflow"
    assert mlflow_store.without_password("http://localhost:5000") == "http://localhost:5000"
    assert mlflow_store.without_password("sqlite:////data/a@b/mlflow.db") == "sqlite:////data/a@b/mlflow.db"


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


def test_password_of_a_server_leaves_its_address(config: PipelineConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's errors quote the address it was given."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ada:hid%2Fden@server:5000")
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", "older")
    for _ in range(2):
        assert tracking_uri(config.runtime) == os.environ["MLFLOW_TRACKING_URI"] == "https://server:5000"
        assert os.environ["MLFLOW_TRACKING_USERNAME"] == "ada"
        assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "hid/den"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://ada:hidden@database/mlflow")
    assert "hidden" in tracking_uri(config.runtime), "a database has no other place for it"


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
