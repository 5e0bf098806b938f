"""The MLflow store: where it is, made ready once, and written to without ever failing a stage."""

import os
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import fsspec
from filelock import FileLock
from fsspec.implementations.local import LocalFileSystem
from pydantic import BaseModel, ConfigDict

from neurontune_core.config import RuntimeConfig
from neurontune_core.errors import InputError
from tasks import mlflow_view

if TYPE_CHECKING:
    from mlflow import MlflowClient

# by default MLflow waits for minutes for a server that is away
for _name, _value in {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}.items():
    os.environ.setdefault(_name, _value)


class Tracking(BaseModel):
    """Where a pipeline run is recorded: small enough to cross any task boundary.

    `run_id` is the pipeline's own run and `step_run_id` attribution's, which its shards share; each stands for a run
    yet to be made where MLflow was away (`tasks.mlflow_spool`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str
    root: str = ""
    experiment: str = ""
    experiment_id: str = ""
    run_id: str = ""
    step_run_id: str = ""


def tracking_uri(runtime: RuntimeConfig) -> str:
    """Return the configured tracking URI, else that of MLFLOW_TRACKING_URI, else a SQLite file in the artifact root.

    Raises:
        InputError: the artifact root is no local folder and no URI is given.
    """
    if given := runtime.mlflow_uri or _uri_of_environment():
        return given
    filesystem, base = fsspec.url_to_fs(runtime.root)
    if not isinstance(filesystem, LocalFileSystem):
        raise InputError(
            f"runtime.mlflow_uri: a SQLite file cannot live in {runtime.root}; set it to the address of an MLflow "
            f"server or to sqlite:///FILE"
        )
    return f"sqlite:///{database_path(Path(base) / 'mlflow.db')}"


def database_path(file: Path) -> str:
    """Return a file as the address of a SQLite database holds it: what ends or encodes an address is encoded."""
    return str(file).replace("%", "%25").replace("?", "%3F").replace("#", "%23")


def database_file(uri: str) -> Path:
    """Return the file of a SQLite database by its address."""
    return Path(unquote(uri.removeprefix("sqlite:///").partition("?")[0]))


def _uri_of_environment() -> str:
    """Return MLFLOW_TRACKING_URI, after moving a server's user and password into the variables MLflow has for them.

    MLflow's errors quote the address, and errors go to logs.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https") and parts.password is not None:
        os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(parts.username or "")
        os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(parts.password)
        uri = os.environ["MLFLOW_TRACKING_URI"] = without_password(uri)
    return uri


def without_password(uri: str) -> str:
    """Return a tracking URI as it may be shown: user and password left out."""
    scheme, separator, rest = uri.partition("://")
    return scheme + separator + (rest if scheme == "sqlite" else rest.rpartition("@")[2])


@lru_cache(maxsize=4)
def client_of(uri: str) -> "MlflowClient":
    """Return the client of a tracking URI; explicit run ids are used everywhere, never MLflow's thread-local run."""
    from mlflow import MlflowClient

    # without an address of its own the registry would be in the working folder, whatever the tracking URI
    return MlflowClient(uri, os.environ.get("MLFLOW_REGISTRY_URI", uri))


def open_experiment(uri: str, name: str, root: str) -> str:
    """Return the id of the experiment, made if it is not there, and leave the store ready for parallel writers.

    Two processes that create a SQLite store at the same time would damage it: hence the lock.
    """
    with FileLock(_database(uri) + ".lock") if uri.startswith("sqlite:///") else nullcontext():
        client = client_of(uri)
        experiment = client.get_experiment_by_name(name)
        if experiment is not None:
            return str(experiment.experiment_id)
        filesystem, base = fsspec.url_to_fs(root)
        local = uri.startswith("sqlite:///") and isinstance(filesystem, LocalFileSystem)
        location = (Path(base) / "mlflow").absolute().as_uri() if local else None
        return str(client.create_experiment(name, artifact_location=location))


def run_table(runtime: RuntimeConfig) -> str:
    """Return the address of the experiment's run table, below the MLflow server's own, "" where MLflow cannot say."""
    from mlflow.exceptions import MlflowException

    try:
        experiment = client_of(tracking_uri(runtime)).get_experiment_by_name(runtime.experiment)
    except MlflowException:
        return ""
    return mlflow_view.table_link(experiment.experiment_id) if experiment else ""


def _database(uri: str) -> str:
    file = database_file(uri)
    file.parent.mkdir(parents=True, exist_ok=True)
    return str(file)
