"""Shards of attribution that fail in a run of the pipeline with fake core functions, and shards computed alone."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pipeline_runs import ALL_ONCE, changed, newest_run
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from prefect.states import AwaitingRetry

from flows.pipeline import attribution_shard, pipeline
from flows.shards import ShardError
from neurontune_core.config import PipelineConfig
from neurontune_core.errors import InputError
from tasks import attribution
from tasks.recording import tracking
from tasks.recording.mlflow_store import Tracking
from tasks.recording.runs import RecordedRun

pytestmark = pytest.mark.usefixtures("prefect_server", "untracked")


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
