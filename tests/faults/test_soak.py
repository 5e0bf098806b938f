"""200 tiny runs one after another in one root: what a process and its root hold does not grow without bound."""

import gc
import threading
from collections import Counter
from dataclasses import astuple, dataclass
from pathlib import Path

import psutil
import pytest
from prefect.settings import get_current_settings

from flows.pipeline import pipeline
from neurontune_core.config import PipelineConfig

RUNS, WARM_UP = 200, 20
MOST_GROWTH = 1.1
"""How much more a process may hold at the end than half-way: a leak that matters goes on."""
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
    records, flow_runs = (Path(file).stat().st_size for file in (f"{root}/mlflow.db", prefect))
    return Held(process.memory_info().rss, process.num_fds(), threading.active_count(), records, flow_runs)


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
    for half_way, at_the_end in zip(astuple(middle)[:3], astuple(end)[:3], strict=True):
        assert at_the_end <= half_way * MOST_GROWTH, looks
    assert end.records - middle.records <= (middle.records - begin.records) * MOST_ACCELERATION, looks
    assert end.flow_runs - middle.flow_runs <= (middle.flow_runs - begin.flow_runs) * MOST_ACCELERATION, looks
    assert not list(Path(root).glob(".unrecorded/*"))
    assert not [path for path in (Path(root) / ".partial").iterdir() if path.suffix != ".lock"]
    assert not list((Path(root) / ".partial").glob("run-*"))
