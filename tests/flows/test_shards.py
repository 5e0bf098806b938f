"""Shards and parts that fail: those lost with a worker process run again, and the others' errors are told."""

from concurrent.futures.process import BrokenProcessPool
from types import SimpleNamespace
from typing import Any

import pytest

from flows import shards
from neurontune_core.errors import InputError
from neurontune_core.records import Artifact

CALLS = [{"shard": shard} for shard in (0, 2, 3)]
RUN: Any = SimpleNamespace(runtime=SimpleNamespace(retries=2), record=None)
STAGE: Any = SimpleNamespace(name="causal-part")


def made(shard: int) -> Artifact:
    return Artifact("causal-part", str(shard), "", "")


def answering(monkeypatch: pytest.MonkeyPatch, *rounds: dict[int, Exception]) -> list[list[int]]:
    """Let shards fail as given for each round, and note which are run."""
    asked: list[list[int]] = []

    def run_side_by_side(stage: Any, runtime: Any, calls: Any) -> dict[int, Artifact | Exception]:
        asked.append([call["shard"] for call in calls])
        failing = rounds[len(asked) - 1]
        return {call["shard"]: failing.get(call["shard"], made(call["shard"])) for call in calls}

    monkeypatch.setattr(shards, "run_side_by_side", run_side_by_side)
    monkeypatch.setattr(shards, "with_key", lambda stage, runtime, record, call: call)
    monkeypatch.setattr(shards.retries, "delay", lambda attempt: 0.0)
    return asked


def test_parts_lost_with_a_worker_process_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = BrokenProcessPool("a process was killed")
    asked = answering(monkeypatch, {0: lost, 3: lost}, {3: lost}, {})
    assert shards.run_parts(STAGE, RUN, CALLS) == [made(0), made(2), made(3)]
    assert asked == [[0, 2, 3], [0, 3], [3]]


def test_parts_that_are_lost_each_time_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = {2: BrokenProcessPool("killed")}
    asked = answering(monkeypatch, lost, lost, lost)
    with pytest.raises(shards.ShardError, match=r"^1 of 3 parts failed \(BrokenProcessPool: killed\)"):
        shards.run_parts(STAGE, RUN, CALLS)
    assert asked == [[0, 2, 3], [2], [2]]


def test_bad_input_is_the_reason_only_if_all_parts_fail_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = InputError("no prompts")
    answering(monkeypatch, {0: bad, 2: bad, 3: bad})
    with pytest.raises(InputError, match=r"^no prompts$"):
        shards.run_parts(STAGE, RUN, CALLS)
    answering(monkeypatch, {0: bad})
    with pytest.raises(shards.ShardError, match=r"^1 of 3 parts failed \(InputError: no prompts\); run the same"):
        shards.run_parts(STAGE, RUN, CALLS)
