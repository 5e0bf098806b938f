"""When Prefect tries a stage again, and how long it is waited before that."""

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
    """Return the seconds to wait before retry number `attempt`, counted from 0, where Prefect does not do the waiting.

    As Prefect's do, they double, and differ so that not all that failed together begin together.
    """
    return FIRST_DELAY_SECONDS * 2**attempt * (1 + JITTER * random.random())
