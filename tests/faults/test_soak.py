"""200 tiny runs one after another in one root: what a process and its root hold does not grow without bound."""

import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from flows.pipeline import pipeline
from neurontune_core.config import PipelineConfig

RUNS, WARM_UP = 200, 20
MIB = 1 << 20
MOST_MIB, MOST_FILES, MOST_THREADS = 200, 20, 10
MOST_KIB_A_RUN = 400


@dataclass(frozen=True)
class Held:
    memory: int
    files: int
    threads: int
    database: int


def held(root: str) -> Held:
    process = psutil.Process()
    database = (Path(root) / "mlflow.db").stat().st_size
    return Held(process.memory_info().rss, process.num_fds(), threading.active_count(), database)


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_two_hundred_runs_leave_nothing_behind(config: PipelineConfig, core_calls: Counter[str]) -> None:
    root = config.runtime.root
    for number in range(RUNS):
        seed = config.pairs.model_copy(update={"seed": number // 2})  # every second run reuses all of the one before
        pipeline(config.model_copy(update={"pairs": seed}))
        if number == WARM_UP - 1:
            before = held(root)
    after = held(root)
    print(before, after)
    assert after.memory - before.memory < MOST_MIB * MIB
    assert after.files - before.files < MOST_FILES
    assert after.threads - before.threads < MOST_THREADS
    assert (after.database - before.database) / (RUNS - WARM_UP) < MOST_KIB_A_RUN * 1024
    left = [path for path in (Path(root) / ".partial").iterdir() if path.suffix != ".lock"]
    assert not left and not list(Path(root).glob(".unrecorded/*"))
    assert not list((Path(root) / ".partial").glob("run-*"))
