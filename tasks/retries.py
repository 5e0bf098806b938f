"""When a stage is tried again, and the delay before that."""

import random
from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun

from neurontune_core.transient import is_transient

FIRST_DELAY_SECONDS = 2
JITTER = 0.5


def retry_transient(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Prefect's retry condition: only transient errors are tried again."""
    return isinstance(state.data, BaseException) and is_transient(state.data)


def delay(attempt: int) -> float:
    """Return the delay in seconds before retry `attempt`, counted from 0, of code that Prefect does not retry.

    Like Prefect's delays it doubles, with random jitter, so that tasks that failed together do not retry together.
    """
    return FIRST_DELAY_SECONDS * 2**attempt * (1 + JITTER * random.random())
