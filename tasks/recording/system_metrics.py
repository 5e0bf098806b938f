"""What a long stage takes of its machine: processor, memory, GPU memory; taken where it runs, recorded at its end."""

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
"""A stage that takes less has no samples."""
MOST_SAMPLES = 240
"""Twice as many are thinned to this many, and then taken half as often."""

Sample = dict[str, float]


@contextmanager
def sampled() -> Iterator[list[Sample]]:
    """Lend a list that fills with samples of this machine, each with its time `at` in ms."""
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
    """Return samples as MLflow's page of system metrics shows them."""
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
