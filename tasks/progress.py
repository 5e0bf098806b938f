"""Progress: a bar in a terminal, else a log line every half minute, and a bar in Prefect's UI."""

import logging
import re
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from tqdm import tqdm

from neurontune_core.progress import Track

if TYPE_CHECKING:
    from uuid import UUID

LINE_SECONDS = 30.0
UI_SECONDS = 5.0
PROGRESS_LINE = {"progress_line": True}
"""Marks log lines that repeat what a progress bar shows."""

logger = logging.getLogger("neurontune")
logger.setLevel(logging.INFO)
stop_requested = threading.Event()
"""Set when the run is interrupted. Signals do not reach other threads, so their loops check it at every item."""

Item = TypeVar("Item")
_variant: ContextVar[str] = ContextVar("variant", default="")


@contextmanager
def of_variant(name: str) -> Iterator[None]:
    """Inside this context the lines on screen begin with the name of a study's variant or trial."""
    token = _variant.set(name)
    try:
        yield
    finally:
        _variant.reset(token)


def named_line(text: str) -> str:
    """Return a line of a stage, after the name of the study's variant if there is one."""
    return f"{_variant.get()}: {text}" if _variant.get() else text


def tracker(label: str) -> Track:
    """Return the progress reporter of one stage or shard, called `label` on screen and in the logs."""

    def track(items: Iterable[Item], description: str, total: int) -> Iterator[Item]:
        title = named_line(f"{label}: {description}")
        started = announced = time.monotonic()
        published = _Published(title)
        with tqdm(total=total, desc=title, leave=False, disable=None, dynamic_ncols=True) as bar:
            for done, item in enumerate(items):
                check()
                now = time.monotonic()
                if now - announced >= LINE_SECONDS:
                    announced = now
                    left = f", about {(now - started) / done * (total - done):.0f} s left" if done else ""
                    logger.info("%s %d/%d%s", title, done, total, left, extra=PROGRESS_LINE)
                published.show(done / max(1, total), now)
                yield item
                bar.update()
        published.close()

    return track


def check() -> None:
    """Raise if the run was interrupted.

    Raises:
        KeyboardInterrupt: the run was interrupted.
        CancelledError: this is a Dask worker, and the run no longer waits for its result.
    """
    if stop_requested.is_set():
        raise KeyboardInterrupt("the run was interrupted")
    if _was_given_up():
        raise CancelledError("the run was interrupted")  # a KeyboardInterrupt would end the Dask worker


def _was_given_up() -> bool:
    worker = sys.modules.get("distributed.worker")
    key = getattr(worker.thread_state, "key", None) if worker is not None else None
    if worker is None or key is None:
        return False
    task = worker.get_worker().state.tasks.get(key)
    return task is None or task.state == "cancelled"


class _Published:
    """A progress artifact on the page of the task run; it is created once a loop has run for a while."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.artifact: UUID | None = None
        self.next_time: float | None = None

    def show(self, share: float, now: float) -> None:
        if self.next_time is None:
            self.next_time = now + UI_SECONDS
        if now < self.next_time:
            return
        self.next_time = now + UI_SECONDS
        self._publish(100 * share)

    def close(self) -> None:
        if self.artifact is not None:
            self._publish(100.0)

    def _publish(self, percent: float) -> None:
        from prefect.artifacts import create_progress_artifact, update_progress_artifact
        from prefect.runtime import task_run

        if task_run.id is None:
            return
        try:
            if self.artifact is None:
                key = re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")
                self.artifact = create_progress_artifact(percent, key, self.title)  # type: ignore[assignment]
            else:
                update_progress_artifact(self.artifact, percent)
        except Exception as error:  # a failing progress bar must not end the work
            logger.debug("progress of %s is not shown in Prefect: %s", self.title, error)
