"""The workers of `neurontune up` in one process: each in its own would import Prefect again, which takes seconds."""

import os
import sys
from collections.abc import Sequence

import anyio
from prefect.utilities.processutils import setup_signal_handlers_worker
from prefect.workers.process import ProcessWorker


async def work(pools: Sequence[str]) -> None:
    """Run a process worker for each work pool until this process is asked to end, as `prefect worker start` does.

    If one worker fails, all end, and `neurontune up` starts them again.
    """
    setup_signal_handlers_worker(os.getpid(), "the process workers", print)
    async with anyio.create_task_group() as group:
        for pool in pools:
            group.start_soon(ProcessWorker(pool, name="local").start)


if __name__ == "__main__":
    anyio.run(work, sys.argv[1:])
