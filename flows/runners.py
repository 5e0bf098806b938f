"""Task runners for the shards of attribution: threads, processes or Dask workers, by the runtime settings.

CUDA_VISIBLE_DEVICES gives each worker process of this machine its own GPU, so `cuda` is a different GPU in each.
"""

import multiprocessing
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

from neurontune_core.config import RuntimeConfig
from neurontune_core.errors import InputError
from tasks import progress

VISIBLE = "CUDA_VISIBLE_DEVICES"
CONNECT_SECONDS = 10


def make_runner(runtime: RuntimeConfig) -> TaskRunner[Any]:
    """Return the task runner of the runtime settings, not yet started.

    Raises:
        InputError: the Dask extra is not installed.
    """
    if runtime.runner == "threads":
        return ThreadPoolTaskRunner(max_workers=runtime.workers)
    cards = _cards(runtime)
    if runtime.runner == "processes":
        started = multiprocessing.get_context("spawn").Value("i", 0)
        return ProcessPoolTaskRunner(runtime.workers, initializer=_begin_worker, initargs=(cards, started))
    try:
        from distributed import Nanny, Scheduler, SpecCluster
        from prefect_dask import DaskTaskRunner
    except ImportError as error:
        raise InputError("runtime.runner: dask is not installed; pip install 'neurontune[dask]'") from error
    if runtime.dask_address is not None:
        return DaskTaskRunner(address=runtime.dask_address)
    here = {"host": "127.0.0.1"}
    # no memory limit: Dask would kill a worker above its share of the memory, even if the model needs more
    options = here | {"nthreads": 1, "memory_limit": None}
    workers = {
        number: {"cls": Nanny, "options": options | {"env": _card_of(number, cards)}}
        for number in range(runtime.workers)
    }
    scheduler = {"cls": Scheduler, "options": here | {"dashboard": False}}
    return DaskTaskRunner(cluster_class=SpecCluster, cluster_kwargs={"workers": workers, "scheduler": scheduler})


def check_runner(runtime: RuntimeConfig) -> None:
    """Check that shards can run with these settings, before anything is computed.

    Raises:
        InputError: the Dask extra is not installed, or no scheduler answers at the address given.
    """
    if runtime.runner != "dask":
        return
    make_runner(runtime)
    if runtime.dask_address is None:
        return
    place = urlsplit(runtime.dask_address if "//" in runtime.dask_address else f"//{runtime.dask_address}")
    try:
        socket.create_connection((place.hostname or "", place.port or 0), timeout=CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise InputError(
            f"runtime.dask_address: no Dask scheduler answers at {runtime.dask_address} ({error}); start one, correct "
            f"the address, or set runtime.runner=threads"
        ) from error


@contextmanager
def started(runtime: RuntimeConfig) -> Iterator[TaskRunner[Any]]:
    """Yield a started runner; when the run is interrupted, the work in threads and processes is stopped."""
    with ExitStack() as stack:
        runner = make_runner(runtime)
        if runtime.runner == "processes":
            # a task sets the environment of its submitter in the worker, which would overwrite the worker's GPU
            stack.enter_context(_without(VISIBLE))
        elif runtime.dask_address is not None and runtime.device.startswith("cuda"):
            import dask

            stack.enter_context(dask.annotate(resources={"GPU": 1}))
        stack.enter_context(runner)
        try:
            yield runner
        except Exception:
            raise
        except BaseException:
            progress.stop_requested.set()  # signals do not reach the threads of the shards
            for child in multiprocessing.active_children():
                child.terminate()
            raise


def _cards(runtime: RuntimeConfig) -> list[str]:
    """Return the GPUs for the workers, as named in CUDA_VISIBLE_DEVICES; none if one is chosen (`cuda:0`) or absent."""
    if runtime.device not in ("auto", "cuda"):
        return []
    if (visible := os.environ.get(VISIBLE)) is not None:
        return [card for card in visible.split(",") if card]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def _card_of(worker: int, cards: Sequence[str]) -> dict[str, str]:
    return {VISIBLE: cards[worker % len(cards)]} if cards else {}


def _begin_worker(cards: Sequence[str], started: Any) -> None:
    """Initialise a worker process: give it the next GPU, and end it when the run's process ends."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with started.get_lock():
        number = started.value
        started.value += 1
    os.environ.update(_card_of(number, cards))


def _end_with_parent() -> None:
    """End this process when its parent has ended: a parent that was killed cannot stop its workers."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _without(name: str) -> Iterator[None]:
    value = os.environ.pop(name, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ[name] = value
