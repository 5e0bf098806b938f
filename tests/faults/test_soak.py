"""200 tiny runs one after another in one root: what a process and its root hold does not grow without bound."""

import gc
import sqlite3
import threading
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from prefect.settings import get_current_settings

from flows.pipeline import pipeline
from neurontune_core.config import PipelineConfig

RUNS, WARM_UP = 200, 20
MOST_GROWTH = 1.1
"""How much more a process may hold at the end than half-way: a leak that matters goes on."""
OPEN_AT_A_TIME = 10
"""How many files and threads come and go: those of connections and of pools, which a look may meet or miss."""
MOST_ACCELERATION = 1.25
"""How much more the databases may grow in the second half than in the first: each run has its rows, none has more."""


@dataclass(frozen=True)
class Held:
    memory: int
    files: int
    threads: int
    records: int
    flow_runs: int


def held(root: str) -> Held:
    process = psutil.Process()
    gc.collect()
    address = get_current_settings().server.database.connection_url
    assert address is not None
    prefect = address.get_secret_value().rpartition(":///")[2]
    records, flow_runs = pages(f"{root}/mlflow.db"), pages(prefect)
    return Held(process.memory_info().rss, process.num_fds(), threading.active_count(), records, flow_runs)


def pages(file: str) -> int:
    """Return the pages of a SQLite database, with those that are still in its journal."""
    with closing(sqlite3.connect(file, timeout=60)) as database:
        return int(database.execute("PRAGMA page_count").fetchone()[0])


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_two_hundred_runs_leave_nothing_behind(config: PipelineConfig, core_calls: Counter[str]) -> None:
    root = config.runtime.root
    looks = []
    for number in range(RUNS):
        seed = config.pairs.model_copy(update={"seed": number // 2})  # every second run reuses all of the one before
        pipeline(config.model_copy(update={"pairs": seed}))
        if number + 1 in (WARM_UP, (RUNS + WARM_UP) // 2, RUNS):
            looks.append(held(root))
    begin, middle, end = looks
    print(begin, middle, end)
    assert end.memory <= middle.memory * MOST_GROWTH, looks
    assert end.files <= middle.files * MOST_GROWTH + OPEN_AT_A_TIME, looks
    assert end.threads <= middle.threads * MOST_GROWTH + OPEN_AT_A_TIME, looks
    assert end.records - middle.records <= (middle.records - begin.records) * MOST_ACCELERATION, looks
    assert end.flow_runs - middle.flow_runs <= (middle.flow_runs - begin.flow_runs) * MOST_ACCELERATION, looks
    assert not list(Path(root).glob(".unrecorded/*"))
    assert not [path for path in (Path(root) / ".partial").iterdir() if path.suffix != ".lock"]
    assert not list((Path(root) / ".partial").glob("run-*"))
