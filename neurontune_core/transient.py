"""Errors after which a retry makes sense: network, busy device, memory used by others. Bad input is never retried."""

import errno
import random
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from neurontune_core.errors import NeuronTuneError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

ATTEMPTS = 4
FIRST_DELAY_SECONDS = 0.2
# by name: no need to import what did not raise, and some are there with an extra only. The Hugging Face hub's client
# raises the errors of whichever of the two httpx it was built on
_TYPES = {
    "aiohttp.client_exceptions.ClientConnectionError",
    "aiohttp.client_exceptions.ClientPayloadError",
    "botocore.exceptions.ConnectionError",
    "botocore.exceptions.HTTPClientError",
    "builtins.ConnectionError",
    "builtins.TimeoutError",
    "httpx.TransportError",
    "httpx2.TransportError",
    "requests.exceptions.ChunkedEncodingError",
    "requests.exceptions.ConnectionError",
    "requests.exceptions.Timeout",
    "torch.OutOfMemoryError",
}
_STATUSES = {408, 425, 429, 500, 502, 503, 504}
_ERRNOS = {
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
    getattr(errno, "EREMOTEIO", errno.EIO),  # what s3fs makes of the status 500
}


def is_transient(error: BaseException | None) -> bool:
    """Tell whether the same call may succeed a little later.

    An error raised from a transient one is transient too (libraries wrap a lost connection in their own errors); an
    error this project raises on purpose never is.
    """
    if error is None or isinstance(error, NeuronTuneError):
        return False
    if _is_one_of(error, _TYPES) or _status(error) in _STATUSES or is_out_of_memory(error):
        return True
    if isinstance(error, OSError) and error.errno in _ERRNOS:
        return True
    return is_transient(error.__cause__)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether a device had no memory left; while it is being set up, and on Apple's, torch has no type for it."""
    return _is_one_of(error, {"torch.OutOfMemoryError"}) or (
        isinstance(error, RuntimeError) and "out of memory" in str(error)
    )


def tried_again(request: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
    """Return what a request to storage returns; one that fails for a moment is made again, `ATTEMPTS` times in all.

    So work that takes many requests ends though now and then one of them fails.
    """
    for attempt in range(ATTEMPTS - 1):
        try:
            return request(*arguments, **named)
        except Exception as error:
            if not is_transient(error):
                raise
        time.sleep(FIRST_DELAY_SECONDS * 2**attempt * (1 + random.random()))
    return request(*arguments, **named)


def _is_one_of(error: BaseException, types: set[str]) -> bool:
    return any(f"{kind.__module__}.{kind.__name__}" in types for kind in type(error).__mro__)


def _status(error: BaseException) -> int | None:
    """HTTP status of an error that carries a response, as those of httpx, requests and the Hugging Face hub do."""
    return getattr(getattr(error, "response", None), "status_code", None)
