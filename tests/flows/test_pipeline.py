"""The flow with fake core functions: what is computed, what is reused, what happens when something fails."""

import logging
import shutil
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import Abort
from prefect.flow_engine import run_flow
from prefect.states import AwaitingRetry, Cancelling

from flows import cancelling
from flows.commands import cli
from flows.pipeline import attribution_shard, pairs_only, pipeline, selection_only
from flows.shards import ShardError
from neurontune_core import artifacts, tables
from neurontune_core.attribution.shard import attribute_shard
from neurontune_core.config import PipelineConfig
from neurontune_core.data.settings import SourceConfig
from neurontune_core.errors import InputError
from neurontune_core.evaluation.settings import KeywordSettings, PrecomputedSettings
from neurontune_core.model.load import load
from neurontune_core.records import Artifact
from neurontune_core.run_name import run_name
from tasks import attribution, evaluation, models, pairs, report, scaling
from tasks.progress import tracker
from tasks.recording import tracking
from tasks.recording.mlflow_store import Tracking
from tasks.recording.runs import RecordedRun
from tasks.scores import merge_scores
from tasks.stage import StageRun

pytestmark = pytest.mark.usefixtures("prefect_server")
ALL_ONCE = {"pairs": 1, "attribution": 3, "cards": 1, "scaling": 1, "base": 1, "tuned": 1, "evaluation": 1}


@pytest.fixture(autouse=True)
def untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave MLflow out: it has its own tests, and takes most of the time of a run of fakes."""
    monkeypatch.setattr(tracking, "start_run", lambda *_: Tracking(uri=""))


def changed(config: PipelineConfig, section: str, **values: Any) -> PipelineConfig:
    return config.model_copy(update={section: getattr(config, section).model_copy(update=values)})


def folder(artifact: Artifact) -> Path:
    return Path(artifact.uri.removeprefix("file://"))


def test_second_run_reuses_every_stage(config: PipelineConfig, core_calls: Counter[str]) -> None:
    first = pipeline(config)
    assert core_calls == ALL_ONCE
    assert pipeline(config) == first
    assert core_calls == ALL_ONCE
    records = [path for path in (Path(config.runtime.root) / ".prefect-results").rglob("*") if path.is_file()]
    assert len(records) == 11 + 3, "a record a stage and a record a shard"
    assert all(b"pickle" not in path.read_bytes() for path in records)
    for path in records:
        path.unlink()
    assert pipeline(config) == first, "an artifact made elsewhere, which Prefect knows nothing of, is reused too"
    assert core_calls == ALL_ONCE


def test_pairs_alone_are_those_of_the_pipeline(config: PipelineConfig, core_calls: Counter[str]) -> None:
    alone = pairs_only(config)
    assert core_calls == {"pairs": 1}
    assert {file.name for file in folder(alone).glob("*.parquet")} == {
        "own_refusals.parquet",
        "pairs.parquet",
        "ranking.parquet",
        "rejected.parquet",
        "sources.parquet",
    }
    assert pipeline(config)["pairs"] == alone
    assert core_calls == ALL_ONCE


def test_damaged_artifact_is_computed_again(config: PipelineConfig, core_calls: Counter[str]) -> None:
    first = pipeline(config)
    file = folder(first["pairs"]) / "pairs.parquet"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert pipeline(config) == first
    assert core_calls == ALL_ONCE | {"pairs": 2}
    file.unlink()
    assert pipeline(config) == first
    assert core_calls == ALL_ONCE | {"pairs": 3}
    shutil.rmtree(file.parent)
    assert pipeline(config) == first
    assert core_calls == ALL_ONCE | {"pairs": 4}


def test_changed_section_runs_from_there(config: PipelineConfig, core_calls: Counter[str]) -> None:
    pipeline(config)
    pipeline(changed(config, "runtime", retries=0, batch_tokens=64, threads=1, memory_mib=64))
    assert core_calls == ALL_ONCE, "where a run is carried out is in no key"
    pipeline(changed(config, "evaluation", max_new_tokens=7))
    assert core_calls == ALL_ONCE | {"base": 2, "tuned": 2, "evaluation": 2}
    pipeline(changed(config, "evaluation", max_new_tokens=7, judge=KeywordSettings(), also_judges=("rules",)))
    assert core_calls == ALL_ONCE | {"base": 2, "tuned": 2, "evaluation": 3}, "judged again without generating"
    pipeline(changed(config, "selection", safety_neurons=7))
    assert core_calls == ALL_ONCE | {"cards": 2, "scaling": 2, "base": 2, "tuned": 3, "evaluation": 4}, (
        "base answers are shared"
    )
    pipeline(changed(config, "pairs", seed=1))
    assert core_calls == {
        "pairs": 2,
        "attribution": 6,
        "cards": 3,
        "scaling": 3,
        "base": 3,
        "tuned": 4,
        "evaluation": 5,
    }


def test_raised_stage_version_runs_stage_again(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline(config)
    monkeypatch.setattr(scaling.learn, "VERSION", scaling.learn.VERSION + 1)
    pipeline(config)
    assert core_calls == ALL_ONCE | {"scaling": 2}


def test_refresh_computes_named_stages_only(config: PipelineConfig, core_calls: Counter[str]) -> None:
    pipeline(config)
    pipeline(config, refresh=("attribution", "evaluation"))
    assert core_calls == ALL_ONCE | {"attribution": 6, "evaluation": 2}


def fail_shard(monkeypatch: pytest.MonkeyPatch, bad: set[int], error: Exception) -> list[int]:
    """Let the given shards fail; the list returned collects the shards that were tried, in order."""
    tried: list[int] = []
    in_shard, whole = attribution.shards.in_shard, attribution.shards.attribute_shard

    def noted(chosen: Any, shard: int, shards: int) -> Any:
        tried.append(shard)
        return in_shard(chosen, shard, shards)

    def attribute(*args: Any) -> Any:
        if tried[-1] in bad:
            raise error
        return whole(*args)

    monkeypatch.setattr(attribution.shards, "in_shard", noted)
    monkeypatch.setattr(attribution.shards, "attribute_shard", attribute)
    return tried


def test_failed_shard_is_named_and_the_others_are_kept(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = {1}
    tried = fail_shard(monkeypatch, bad, RuntimeError("broken on purpose"))
    monkeypatch.setattr(tracking, "start_run", lambda *_: Tracking(uri="", run_id="abc"))
    with pytest.raises(ShardError, match=r"1 of 3 shards failed .attribution shard 2/3: .*broken on purpose") as failed:
        pipeline(config)
    assert tried == [0, 1, 2]
    assert f"`neurontune shard abc 2 --set runtime.root={config.runtime.root}`" in str(failed.value)
    assert '{"run": "abc", "shard": 2, "settings": ["runtime.root=' in str(failed.value)
    bad.clear()
    tried.clear()
    pipeline(config)
    assert tried == [1]


def test_error_of_a_failed_run_is_kept_as_json(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_shard(monkeypatch, {1}, RuntimeError("broken on purpose"))
    with pytest.raises(ShardError):
        pipeline(config)
    state = newest_run().state
    assert state is not None and state.is_failed() and state.data.serializer.type == "json"


def test_retry_of_a_refreshing_run_keeps_what_it_had_refreshed(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline(config)
    bad = {1}
    tried = fail_shard(monkeypatch, bad, RuntimeError("broken on purpose"))
    refresh = ("attribution", "scaling")
    with pytest.raises(ShardError):
        pipeline(config, refresh=refresh)
    assert tried == [0, 1, 2]
    bad.clear()
    tried.clear()
    failed = newest_run()
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(failed.id, AwaitingRetry(), force=True)
        again = client.read_flow_run(failed.id)
    run_flow(pipeline, flow_run=again, parameters={"config": config, "refresh": refresh})
    assert tried == [1]
    assert core_calls == ALL_ONCE | {"attribution": 6, "scaling": 2}, "scaling, which it had not come to, is refreshed"


def newest_run() -> FlowRun:
    with get_client(sync_client=True) as client:
        (run,) = client.read_flow_runs(sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=1)
    return run


def test_bad_input_of_one_shard_is_named_too(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow is away: no id is given by which nobody would find the run."""
    tried = fail_shard(monkeypatch, {2}, InputError("pairs: no attacked pair"))
    monkeypatch.setattr(tracking, "start_run", lambda *_: Tracking(uri="", run_id="kept-abc"))
    with pytest.raises(ShardError, match=r"attribution shard 3/3: InputError: pairs: no attacked pair") as failed:
        pipeline(config)
    assert tried == [0, 1, 2]
    assert "A retry" in str(failed.value) and "kept-abc" not in str(failed.value)


def test_one_shard_of_a_recorded_run(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pipeline(config)
    shards = sorted((Path(config.runtime.root) / "attribution").iterdir())
    written = {path.name: path.stat().st_mtime_ns for path in shards}
    monkeypatch.setattr(
        "flows.pipeline.find_run", lambda run, runtime: RecordedRun(run, "llama seed 0", "FAILED", config, {})
    )
    tried = fail_shard(monkeypatch, set(), RuntimeError())
    reused = attribution_shard("abc", 2)
    assert tried == [] and newest_run().name == "llama seed 0 shard 2"
    assert attribution_shard("abc", 2, force=True) == reused
    assert tried == [1]
    changed_files = {path.name for path in shards if path.stat().st_mtime_ns != written[path.name]}
    assert changed_files == {reused.key}
    assert pipeline(config) == first
    assert core_calls == ALL_ONCE | {"attribution": 4}
    for number in (0, 4):
        with pytest.raises(InputError, match="1 to 3"):
            attribution_shard("abc", number)
    with pytest.raises(InputError, match="would change the result"):
        attribution_shard("abc", 1, ("attribution.nodes=2",))


@pytest.mark.parametrize("method", ["integrated_gradients", "gradient", "mask", "activation"])
def test_every_method_goes_through_shards_and_merge(
    config: PipelineConfig,
    core_calls: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    method: str,
) -> None:
    monkeypatch.setattr(attribution.shards, "attribute_shard", attribute_shard)
    monkeypatch.setattr(models, "load", load)
    chosen = changed(config, "attribution", method=method)
    with caplog.at_level("INFO", "neurontune"):
        made = selection_only(chosen)
    (line,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("attribution ")]
    assert "3 shards" in line and ("completeness gap" in line) == (method == "integrated_gradients")
    merged = tables.load_table(artifacts.open_folder(made["scores"]), "scores")
    wanted = dict.fromkeys(("safety", "utility"), 6)
    assert merged[merged["layer"].eq(1) & merged["neuron"].eq(47)].groupby("role")["count"].sum().to_dict() == wanted
    parts = [artifacts.find(config.runtime.root, "attribution", path.name)
             for path in (Path(config.runtime.root) / "attribution").iterdir()]  # fmt: skip
    folders = [artifacts.open_folder(part) for part in parts if part]
    assert len(folders) == 3
    expected = 2 * 4 * 3 if method == "integrated_gradients" else 0  # layers, checked pairs, shards
    assert sum(len(tables.load_table(each, "completeness")) for each in folders) == expected


def test_merge_refuses_an_incomplete_set(config: PipelineConfig, core_calls: Counter[str]) -> None:
    pipeline(config)
    root = config.runtime.root
    shards = [artifacts.find(root, "attribution", path.name) for path in (Path(root) / "attribution").iterdir()]
    parts = sorted(
        (part for part in shards if part), key=lambda part: artifacts.read_manifest(part)["settings"]["shard"]
    )
    for given, words in [
        (parts[1:], "1 of 3 shards are missing: shard 1;"),
        (parts[1:2], "2 of 3 shards are missing: shard 1, 3;"),
        ([*parts, parts[0]], "more than once, or of another run: shard 1"),
    ]:
        with pytest.raises(InputError, match=words):
            merge_scores.fn(given, StageRun("key", config.runtime, Tracking(uri="")))


def test_two_runs_at_once_compute_each_artifact_once(config: PipelineConfig, core_calls: Counter[str]) -> None:
    results: list[dict[str, Artifact]] = []
    threads = [threading.Thread(target=lambda: results.append(pipeline(config))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert len(results) == 2 and results[0] == results[1]
    assert core_calls == ALL_ONCE


def test_shard_over_its_time_limit_fails_and_is_named(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(mine: Any, settings: Any, chat: Any, memory: Any, track: Any) -> Any:
        for _ in track(range(2000), "attributing", 2000):
            time.sleep(0.01)

    monkeypatch.setattr(attribution.shards, "attribute_shard", slow)
    limited = changed(config, "runtime", timeouts={"attribution": 0.2}, retries=0)
    with pytest.raises(ShardError, match=r"shard 1/3: TaskRunTimeoutError: .*0.2 second"):
        pipeline(limited)
    with pytest.raises(InputError, match=r"runtime.timeouts: unknown stage 'pears'"):
        pipeline(changed(config, "runtime", timeouts={"pears": 1.0}))


def test_bad_input_in_shards_is_not_retried(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = fail_shard(monkeypatch, {0, 1, 2}, InputError("pairs: no attacked pair"))
    with pytest.raises(InputError, match=r"^pairs: no attacked pair$"):
        pipeline(config)
    assert tried == [0, 1, 2]


def test_transient_error_is_retried(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate, errors = evaluation.evaluate.evaluate, [ConnectionResetError("gone"), TimeoutError("late")]

    def flaky(*args: Any) -> Any:
        if errors:
            raise errors.pop()
        return evaluate(*args)

    monkeypatch.setattr(evaluation.evaluate, "evaluate", flaky)
    pipeline(config)
    assert core_calls == ALL_ONCE


def test_bad_input_is_found_before_anything_is_computed(config: PipelineConfig, core_calls: Counter[str]) -> None:
    with pytest.raises(InputError, match="safety_neurons"):
        pipeline(changed(config, "selection", safety_neurons=10**6))
    with pytest.raises(InputError, match="nonsense"):
        pipeline(changed(config, "model", name="random:nonsense"))
    with pytest.raises(InputError, match=r"evaluation\.sources\.alpaca\.path: no file"):
        pipeline(changed(config, "evaluation", benchmarks=("alpaca",), sources={"alpaca": SourceConfig(path="gone")}))
    with pytest.raises(InputError, match=r"evaluation\.judge\.path"):
        pipeline(changed(config, "evaluation", judge=PrecomputedSettings(path="gone.jsonl")))
    with pytest.raises(InputError, match="device"):
        pipeline(changed(config, "runtime", device="gramophone"))
    assert not core_calls


def test_interrupt_ends_shards_at_their_next_item_and_leaves_nothing(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[float] = []

    def endless(mine: Any, settings: Any, chat: Any, memory: Any, track: Any) -> Any:
        threading.Timer(0.3, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT]).start()
        for _ in track(range(1000), "attributing", 1000):
            done.append(time.monotonic())
            time.sleep(0.05)
        return SimpleNamespace()

    monkeypatch.setattr(attribution.shards, "attribute_shard", endless)
    # as the command line does: the exception alone can be lost inside a library's callback, on a busy machine it was
    before = signal.signal(signal.SIGINT, cli._interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            pipeline(config)
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - done[0] < 20
    assert 0 < len(done) < 200
    root = Path(config.runtime.root)
    assert not [path for path in (root / ".partial").iterdir() if path.is_dir()]
    assert not (root / "attribution").exists()


def test_run_without_a_worker_is_cancelled_in_the_ui(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancelling, "LOOK_SECONDS", 0.1)

    def endless(mine: Any, settings: Any, chat: Any, memory: Any, track: Any) -> Any:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(newest_run().id, Cancelling(), force=True)
        for _ in track(range(1000), "attributing", 1000):
            time.sleep(0.05)

    monkeypatch.setattr(attribution.shards, "attribute_shard", endless)
    started = time.monotonic()
    with pytest.raises(Abort):
        pipeline(config)
    assert time.monotonic() - started < 40
    state = newest_run().state
    assert state is not None and state.is_cancelled(), "not crashed, or it would be resumed"
    assert not [path for path in (Path(config.runtime.root) / ".partial").iterdir() if path.is_dir()]


def test_results_are_published_to_prefect(config: PipelineConfig, core_calls: Counter[str]) -> None:
    from prefect.artifacts import Artifact as Published

    made = pipeline(config)
    table, summary = Published.get("results"), Published.get("summary")
    page = folder(made["report"]) / "report.html"
    assert table is not None and "50.0% [15, 85]" in str(table.data)
    assert summary is not None and "SU-F1" in str(summary.data) and page.as_uri() in str(summary.data)
    assert str(summary.data).startswith("**SU-F1 0.50 [0.50, 0.50], base model"), "what it came to stands first"
    assert str(summary.data).index("report.html") < str(summary.data).index("| refused on |")
    assert page.read_text().startswith(f"<h1>{run_name(config)}</h1>neurontune run")
    own = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[newest_run().id]))
    with get_client(sync_client=True) as client:
        shown = client.read_artifacts(artifact_filter=own)  # as Prefect's page asks for them: without an order
    assert [artifact.key for artifact in shown] == ["summary", "results"]


@pytest.mark.parametrize("own", [5, 6])
def test_a_model_that_refuses_too_little_is_told_with_every_run(
    own: int, config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    build_pairs = pairs.build.build_pairs

    def few(*args: Any) -> Any:
        made = build_pairs(*args)
        others = {"not_refused_plainly": 40.0, "refused_under_attack": 2.0, "broken_under_attack": 1.0}
        made.facts |= {"own_refusals": float(own), **others, "safety_established": float(own >= 6)}
        return made

    monkeypatch.setattr(pairs.build, "build_pairs", few)
    monkeypatch.setattr(report.report, "render_report", lambda record: f"<p>{record.warning}</p>")
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("neurontune")
    logger.addHandler(handler)
    try:
        for way in ("done", "reused"):
            lines.clear()
            made = pipeline(config)
            (place,) = [number for number, line in enumerate(lines) if line.startswith("pairs ")]
            assert way in lines[place] and f"own refusals {own}" in lines[place]
            told = [line for line in lines if line.startswith("warning: the model refuses")]
            page = (folder(made["report"]) / "report.html").read_text()
            if own == 6:
                assert not told and page == "<p></p>"
                continue
            assert told == [lines[place + 1]], "once, right below"
            assert "refuses 8 of 48 plain harmful queries, and answers 5 of these" in told[0] and told[0].endswith(
                "are not established"
            )
            assert page == f"<p>{told[0].removeprefix('warning: ')}</p>"
    finally:
        logger.removeHandler(handler)


def test_flow_run_has_a_speaking_name_and_shards_are_numbered(config: PipelineConfig, core_calls: Counter[str]) -> None:
    pipeline(changed(changed(config, "pairs", seed=5), "runtime", preset=""))
    run = newest_run()
    assert run.name == "llama · pairs.seed=5 · attribution.shards=3 · safety_neurons=5 · utility_neurons=4"
    with get_client(sync_client=True) as client:
        deadline = time.monotonic() + 20
        wanted = {
            "pairs",
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
            "report",
        }
        wanted |= {f"attribution shard {number}/3" for number in (1, 2, 3)}
        names: set[str] = set()
        while names != wanted and time.monotonic() < deadline:  # task runs are recorded by a service, a little later
            names = {task_run.name for task_run in client.read_task_runs() if task_run.flow_run_id == run.id}
            time.sleep(0.2)
    assert names == wanted


def test_tracker_stops_when_asked() -> None:
    from tasks.progress import stop_requested

    stop_requested.set()
    try:
        with pytest.raises(KeyboardInterrupt):
            list(tracker("stage")(range(3), "working", 3))
    finally:
        stop_requested.clear()
