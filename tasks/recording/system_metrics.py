"""Samples of processor, memory and GPU memory during a long stage, on its machine; recorded when the stage ends."""

import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from mlflow.entities import Metric

SAMPLE_SECONDS = 15.0
"""Shorter stages have no samples."""
MOST_SAMPLES = 240
"""When there are twice as many samples, every second one is dropped, and samples are taken half as often."""

Sample = dict[str, float]


@contextmanager
def sampled() -> Iterator[list[Sample]]:
    """Yield a list to which samples of this machine are added meanwhile, each with its time `at` in ms."""
    samples: list[Sample] = []
    over = threading.Event()
    thread = threading.Thread(target=_sample, args=(samples, over), name="system metrics", daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()


def points(samples: Sequence[Mapping[str, float]]) -> "list[Metric]":
    """Return samples as metrics with the names that MLflow's page of system metrics reads."""
    from mlflow.entities import Metric

    return [
        Metric(f"system/{name}", value, int(sample["at"]), step)
        for step, sample in enumerate(samples)
        for name, value in sample.items()
        if name != "at"
    ]


def _sample(samples: list[Sample], over: threading.Event) -> None:
    process, interval = psutil.Process(), SAMPLE_SECONDS
    while not over.wait(interval):
        sample = {
            "at": time.time() * 1000,
            "cpu_utilization_percentage": psutil.cpu_percent(),
            "system_memory_usage_percentage": psutil.virtual_memory().percent,
            "process_memory_usage_megabytes": process.memory_info().rss / 2**20,
        }
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            free, total = torch.cuda.mem_get_info()
            sample["gpu_0_memory_usage_percentage"] = 100 * (1 - free / total)
        samples.append(sample)
        if len(samples) >= 2 * MOST_SAMPLES:
            samples[:], interval = samples[::2], 2 * interval
