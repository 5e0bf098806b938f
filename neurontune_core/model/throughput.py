"""The share of a device's speed that a computation reaches: counted operations against a measured matrix product."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode

PEAK_SIZE = 1024
Result = TypeVar("Result")


@dataclass
class MeasuredWork:
    """Floating-point operations of matrix products and attention, and the seconds they took."""

    flops: float = 0.0
    seconds: float = 0.0

    def share_of(self, peak: float) -> float:
        """Return the share of `peak`, in operations a second; 0 if nothing was counted."""
        return self.flops / self.seconds / peak if self.seconds else 0.0


@contextmanager
def counted(work: MeasuredWork) -> Iterator[None]:
    """Add the operations and the seconds of the code run inside; counting itself takes a few percent of the time."""
    started = time.perf_counter()
    with FlopCounterMode(display=False) as counter:
        yield
    work.flops += counter.get_total_flops()
    work.seconds += time.perf_counter() - started


def matmul_peak(device: torch.device, dtype: torch.dtype, size: int = PEAK_SIZE, repeats: int = 6) -> float:
    """Return the best measured operations a second of a square matrix product on a device."""
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = 0.0
    for _ in range(repeats):
        _, seconds = timed(lambda: left @ right, device)
        best = max(best, 2 * size**3 / seconds)
    return best


def timed(run: Callable[[], Result], device: torch.device) -> tuple[Result, float]:
    """Return a function's result and its seconds, waiting for the device before and after."""
    _synchronise(device)
    started = time.perf_counter()
    result = run()
    _synchronise(device)
    return result, time.perf_counter() - started


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
