"""Runs that are interrupted in the terminal, or cancelled in Prefect's UI."""

import signal
import threading
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pipeline_runs import newest_run
from prefect.client.orchestration import get_client
from prefect.exceptions import Abort
from prefect.states import Cancelling

from flows import cancelling
from flows.commands import cli
from flows.pipeline import pipeline
from neurontune_core.config import PipelineConfig
from tasks import attribution

pytestmark = pytest.mark.usefixtures("prefect_server", "untracked")


def test_interrupt_ends_shards_at_their_next_item_and_leaves_nothing(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []

    def endless(mine: Any, settings: Any, chat: Any, memory: Any, track: Any) -> Any:
        threading.Timer(0.3, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT]).start()
        for item in track(range(1000), "attributing", 1000):
            done.append(item)
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
    assert 0 < len(done) < 200
    root = Path(config.runtime.root)
    assert not [path for path in (root / ".partial").iterdir() if path.is_dir()]
    assert not (root / "attribution").exists()


def test_run_without_a_worker_is_cancelled_in_the_ui(
    config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancelling, "LOOK_SECONDS", 0.1)
    done: list[int] = []

    def endless(mine: Any, settings: Any, chat: Any, memory: Any, track: Any) -> Any:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(newest_run().id, Cancelling(), force=True)
        for item in track(range(1000), "attributing", 1000):
            done.append(item)
            time.sleep(0.05)

    monkeypatch.setattr(attribution.shards, "attribute_shard", endless)
    with pytest.raises(Abort):
        pipeline(config)
    assert len(done) < 1000, "it ended before its end"
    state = newest_run().state
    assert state is not None and state.is_cancelled(), "not crashed, or it would be resumed"
    assert not [path for path in (Path(config.runtime.root) / ".partial").iterdir() if path.is_dir()]
