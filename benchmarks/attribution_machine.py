"""What the machine can do and what a process takes of it."""

import threading

import psutil
import torch


class PeakMemory:
    """Peak resident memory of this process within a `with` block, sampled; on CUDA the allocator's own peak."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.bytes = device, 0

    def __enter__(self) -> "PeakMemory":
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        if self.device.type == "cuda":
            self.bytes = torch.cuda.max_memory_allocated(self.device)
        else:
            self._thread.join()

    def _watch(self) -> None:
        process = psutil.Process()
        while not self._stopped.wait(0.004):
            self.bytes = max(self.bytes, process.memory_info().rss)


def memory_now(device: torch.device) -> int:
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else psutil.Process().memory_info().rss
