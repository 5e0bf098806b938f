"""Records that MLflow did not accept are kept, and sent later."""

import logging
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from recorded_tree import RECORDED, Run, below, check_parent, load_table, runs_of

from flows.pipeline import pipeline
from neurontune_core.config import PipelineConfig
from neurontune_core.records import Artifact
from tasks import scores
from tasks.recording import kept_records, mlflow_spool, mlflow_store, step_runs, tracking
from tasks.recording.mlflow_store import Tracking, client_of, tracking_uri
from tasks.recording.runs import find_run


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
    assert len(started) == 1 and len(kept_records.waiting(config.runtime.root)) > 25

    away["now"] = False
    sent = mlflow_spool.send(config.runtime)
    assert sent.sent > 25 and not sent.left and not sent.refused and not kept_records.waiting(config.runtime.root)
    (first, second), steps = runs_of(config)
    assert sorted(below(first, steps)) == sorted(RECORDED)
    assert sorted(below(second, steps)) == sorted(f"{stage} [cached]" for stage in RECORDED)
    assert {run.info.status for run in [first, second, *steps]} == {"FINISHED"}
    assert second.data.tags["prefect.flow_run_id"] != first.data.tags["prefect.flow_run_id"]
    check_parent(config, first)
    check_parent(config, second)
    (table,) = [load_table(config, run) for run in (first,)]
    assert len(table["data"]) == 4
    assert find_run(second.info.run_id, config.runtime).artifact("scaling")


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
    assert kept_records.waiting(root) == [f"record it {name}" for name in ("pairs", "scores", "scaling", "selection")]
    kept = "".join(file.read_text() for file in Path(root).glob(".unrecorded/*"))
    assert "secret" not in kept and "elsewhere" in kept
    assert mlflow_spool.send(config.runtime) == mlflow_spool.Sent(
        0, [], kept_records.waiting(root), ("http://elsewhere",)
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
    assert not kept_records.waiting(root)


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
    folder = Path(config.runtime.root) / kept_records.FOLDER
    (folder / "0-damaged.json").touch()
    (folder / "9-gone.json").symlink_to(folder / "elsewhere")
    assert kept_records.waiting(config.runtime.root) == ["open run kept"]
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
    assert not kept_records.waiting(config.runtime.root)
