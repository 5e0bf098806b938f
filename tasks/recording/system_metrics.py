"""Samples of processor, memory and GPU memory during a long stage, on its machine; recorded when the stage ends."""

import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

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
            sample |= _of_gpus(torch.cuda)
        samples.append(sample)
        if len(samples) >= 2 * MOST_SAMPLES:
            samples[:], interval = samples[::2], 2 * interval


def _of_gpus(cuda: Any) -> Sample:
    """Return memory use and utilisation of the GPUs that this process uses; looking at another would occupy it."""
    sample: Sample = {}
    for number in range(cuda.device_count()):
        if not cuda.memory_reserved(number):
            continue
        free, total = cuda.mem_get_info(number)
        sample[f"gpu_{number}_memory_usage_percentage"] = 100 * (1 - free / total)
        with suppress(Exception):  # of any type: nvidia-ml-py is not installed, or the GPU does not measure it
            sample[f"gpu_{number}_utilization_percentage"] = float(cuda.utilization(number))
    return sample
