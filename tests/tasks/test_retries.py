import errno
from types import SimpleNamespace

import aiohttp
import botocore.exceptions
import httpx
import pytest
import requests
import torch
from prefect.states import Failed
from pydantic import ValidationError

from neurontune_core.errors import ArtifactError, InputError, NumericalError
from neurontune_core.scaling.settings import MamlSettings
from neurontune_core.transient import is_transient
from tasks.retries import delay, retry_transient


def raised_from(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def hub_error(status: int) -> Exception:
    error = requests.HTTPError("from the hub")
    error.response = SimpleNamespace(status_code=status)  # type: ignore[assignment]
    return error


def validation_error() -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        MamlSettings.model_validate({"steps": -1})
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError("gone"),
        TimeoutError("late"),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("late"),
        requests.ConnectionError("refused"),
        requests.Timeout("late"),
        hub_error(503),
        hub_error(429),
        requests.exceptions.ChunkedEncodingError("broke off"),
        botocore.exceptions.EndpointConnectionError(endpoint_url="http://storage"),
        botocore.exceptions.ReadTimeoutError(endpoint_url="http://storage"),
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientOSError(errno.ECONNREFUSED, "refused"),
        torch.OutOfMemoryError("device is full"),
        RuntimeError("CUDA error: out of memory"),
        OSError(errno.EIO, "disk"),
        OSError(errno.ESTALE, "network share"),
        raised_from(OSError("could not reach the hub"), httpx.ConnectError("refused")),
    ],
    ids=repr,
)
def test_transient(error: Exception) -> None:
    assert is_transient(error)
    assert retry_transient(None, None, Failed(data=error))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "error",
    [
        InputError("scaling.steps: -1"),
        raised_from(InputError("model.name: not there"), ConnectionError("refused")),
        ArtifactError("gone"),
        NumericalError("NaN"),
        validation_error(),
        ValueError("bug"),
        RuntimeError("CUDA error: illegal memory access"),
        botocore.exceptions.NoCredentialsError(),
        FileNotFoundError(errno.ENOENT, "no such file"),
        OSError(errno.ENOSPC, "disk full"),
        PermissionError(errno.EACCES, "denied"),
        hub_error(401),
        hub_error(404),
    ],
    ids=repr,
)
def test_not_transient(error: Exception) -> None:
    assert not is_transient(error)
    assert not retry_transient(None, None, Failed(data=error))  # type: ignore[arg-type]


def test_delays_double_and_differ() -> None:
    for attempt, least in ((0, 2), (1, 4), (2, 8)):
        delays = {delay(attempt) for _ in range(20)}
        assert len(delays) > 1 and least <= min(delays) and max(delays) <= 1.5 * least
