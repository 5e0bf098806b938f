"""Which errors are worth another try: the network, a busy device, memory that others hold. Bad input never is."""

import errno
import importlib
import importlib.util
import random
from typing import Any

import requests
import torch
from prefect import Task
from prefect.client.schemas.objects import State, TaskRun

from neurontune_core.errors import NeuronTuneError

FIRST_DELAY_SECONDS = 2
JITTER = 0.5
# the Hugging Face hub's client raises the errors of whichever of the two it was built on
_HTTP_CLIENTS = [importlib.import_module(name) for name in ("httpx", "httpx2") if importlib.util.find_spec(name)]
_TRANSIENT_TYPES: tuple[type[BaseException], ...] = (
    ConnectionError,
    TimeoutError,
    *(client.TransportError for client in _HTTP_CLIENTS),
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)
# of libraries that are there with an extra only, by name: no need to import what did not raise
_TRANSIENT_NAMES = {
    "aiohttp.client_exceptions.ClientConnectionError",
    "aiohttp.client_exceptions.ClientPayloadError",
    "botocore.exceptions.ConnectionError",
    "botocore.exceptions.HTTPClientError",
}
_TRANSIENT_STATUSES = {408, 425, 429, 500, 502, 503, 504}
_TRANSIENT_ERRNOS = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTUNREACH,
    errno.EIO,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EPIPE,
    errno.ESTALE,
    errno.ETIMEDOUT,
}


def is_transient(error: BaseException | None) -> bool:
    """Tell whether the same call may succeed a little later.

    An error raised from a transient one is transient too (libraries wrap a lost connection in their own errors); an
    error this project raises on purpose never is.
    """
    if error is None or isinstance(error, NeuronTuneError):
        return False
    if isinstance(error, _TRANSIENT_TYPES) or _status(error) in _TRANSIENT_STATUSES or is_out_of_memory(error):
        return True
    if any(f"{kind.__module__}.{kind.__name__}" in _TRANSIENT_NAMES for kind in type(error).__mro__):
        return True
    if isinstance(error, OSError) and error.errno in _TRANSIENT_ERRNOS:
        return True
    return is_transient(error.__cause__)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether a device had no memory left; while it is being set up, and on Apple's, torch has no type for it."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "out of memory" in str(error)
    )


def retry_transient(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Prefect's retry condition: only transient errors are tried again."""
    return isinstance(state.data, BaseException) and is_transient(state.data)


def delay(attempt: int) -> float:
    """Return the seconds to wait before retry number `attempt`, counted from 0, where Prefect does not do the waiting.

    As Prefect's do, they double, and differ so that not all that failed together begin together.
    """
    return FIRST_DELAY_SECONDS * 2**attempt * (1 + JITTER * random.random())


def _status(error: BaseException) -> int | None:
    """HTTP status of an error that carries a response, as those of httpx, requests and the Hugging Face hub do."""
    return getattr(getattr(error, "response", None), "status_code", None)
