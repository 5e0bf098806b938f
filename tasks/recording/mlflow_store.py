"""The MLflow store: its address, its creation and checks, and its client."""

import logging
import os
import re
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import fsspec
from filelock import FileLock, Timeout
from fsspec.implementations.local import LocalFileSystem
from pydantic import BaseModel, ConfigDict

from neurontune_core.config import RuntimeConfig
from neurontune_core.errors import InputError
from neurontune_core.shown_text import quoted
from tasks.importing import without_collecting
from tasks.recording import mlflow_view, new_database
from tasks.recording.new_database import database_path

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = "sqlite:///"
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
DATABASE = "mlflow.db"
BESIDE = "beside"
"""Name of the store that is the SQLite file in the artifact root."""
REGISTRY = "MLFLOW_REGISTRY_URI"
_LOGIN = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
LOCKED_SECONDS = 20
_DAMAGE = ("malformed", "not a database", "no such", "corrupt", "disk I/O", "already exists")
HELD_SECONDS = 60

# by default MLflow waits for minutes for a server that does not answer
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
    """Where a pipeline run is recorded; plain fields, so that it can be passed to any task.

    `run_id` is the pipeline's run and `step_run_id` the run of attribution, which its shards share. If MLflow did not
    answer, the id stands for a run to be created (`tasks.recording.mlflow_spool`). `harmful_text`: `masked` or `shown`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str
    root: str = ""
    experiment: str = ""
    experiment_id: str = ""
    run_id: str = ""
    step_run_id: str = ""
    harmful_text: str = "masked"


def tracking_uri(runtime: RuntimeConfig) -> str:
    """Return the configured tracking URI, else that of MLFLOW_TRACKING_URI, else a SQLite file in the artifact root.

    Raises:
        InputError: the artifact root is not a local folder and no URI is given, a URI is not valid, or MLflow would
            send the login of `neurontune up` to another server, the model registry.
    """
    if given := runtime.mlflow_uri or os.environ.get("MLFLOW_TRACKING_URI"):
        _check_uri("runtime.mlflow_uri" if runtime.mlflow_uri else "MLFLOW_TRACKING_URI", given)
    uri = runtime.mlflow_uri or _uri_of_environment() or _uri_in(runtime)
    if runtime.mlflow_uri and not is_same_server(uri, os.environ.get("MLFLOW_TRACKING_URI", "")):
        forget_own_login()
    if _is_own_login():
        check_registry(uri)
    return uri


def _check_uri(field: str, uri: str) -> None:
    """Check that MLflow supports a tracking URI, before MLflow gets it.

    Raises:
        InputError: MLflow does not; it would create a folder of that name, or raise an unclear error.
    """
    scheme, separator, rest = uri.partition("://")
    try:
        parts = urlsplit(uri)
        if scheme in ("http", "https"):
            known = bool(parts.hostname) and parts.port != 0
        elif scheme.partition("+")[0] in _DATABASES:
            known = bool(rest.strip("/"))
        elif scheme in entry_points(group="mlflow.tracking_store").names:  # of a plugin, such as azureml-mlflow
            known = True
        else:
            known = parts.scheme == "file" or uri.startswith("databricks") or (not separator and "/" in uri)
    except ValueError:  # a port that is not a number, or brackets that do not close
        known = False
    if not known or not uri.isprintable():
        raise InputError(
            f"{field}: {quoted(without_password(uri))} is not an address that MLflow supports; give http://HOST:PORT "
            f"or sqlite:///FILE"
        )


def _uri_in(runtime: RuntimeConfig) -> str:
    uri = uri_beside(runtime.root)
    if not uri:
        raise InputError(
            f"runtime.mlflow_uri: a SQLite file cannot be stored in {runtime.root}; set the field to the address of an "
            f"MLflow server or to sqlite:///FILE"
        )
    return uri


def uri_beside(root: str) -> str:
    """Return the tracking URI of the SQLite file in an artifact root; "" if the root is not a local folder."""
    filesystem, base = fsspec.url_to_fs(root)
    return f"{SQLITE}{database_path(Path(base) / DATABASE)}" if isinstance(filesystem, LocalFileSystem) else ""


def is_beside(uri: str, root: str) -> bool:
    """Tell whether a tracking URI is that of the SQLite file in an artifact root, which moves with the root."""
    return bool(uri) and uri == uri_beside(root)


def store_name(uri: str, root: str) -> str:
    """Return the name of a store in files under an artifact root: its URI without password, or `beside`.

    The URI of the SQLite file in the root contains the root's path, which is wrong after the root has been moved.
    """
    return BESIDE if is_beside(uri, root) else without_password(uri)


def is_named(name: str, uri: str, root: str) -> bool:
    """Tell whether a file under an artifact root names this store; earlier versions always wrote the URI."""
    return name in (store_name(uri, root), without_password(uri))


def database_file(uri: str) -> Path:
    """Return the file of a SQLite database by its address."""
    return Path(unquote(uri.removeprefix(SQLITE).partition("?")[0]))


def _uri_of_environment() -> str:
    """Return MLFLOW_TRACKING_URI without user and password, which are moved to MLflow's variables for them.

    MLflow's errors quote the address, and errors are logged.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https") and parts.password is not None:
        os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(parts.username or "")
        os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(parts.password)
        uri = os.environ["MLFLOW_TRACKING_URI"] = without_password(uri)
    return uri


def forget_own_login(*logins: str) -> None:
    """Delete these logins (`user:password`) from MLflow's variables: MLflow would send them to any server.

    The login of Prefect's server is always included: if MLflow's login equals it, `neurontune up` has set both.
    """
    if _is_own_login(*logins):
        for name in _LOGIN:
            del os.environ[name]


def _is_own_login(*logins: str) -> bool:
    """Tell whether the login in MLflow's variables is one of these logins or that of Prefect's server."""
    user, password = (os.environ.get(name, "") for name in _LOGIN)
    return bool(password) and f"{user}:{password}" in (*logins, os.environ.get("PREFECT_API_AUTH_STRING"))


def check_registry(uri: str) -> None:
    """Check that the model registry is on the server at `uri`, because MLflow sends the registry the same login.

    Raises:
        InputError: MLFLOW_REGISTRY_URI names another server.
    """
    registry = os.environ.get(REGISTRY, "")
    if registry.startswith("http") and not is_same_server(uri, registry):
        raise InputError(
            f"{REGISTRY}: {without_password(registry)!r} is not the MLflow of `neurontune up`, and MLflow would send "
            f"it the password of `up`; unset the variable"
        )


def is_same_server(one: str, other: str) -> bool:
    """Tell whether two addresses are of the same server; `localhost` and `127.0.0.1` are the same."""
    try:
        first, second = (urlsplit(uri.replace("//localhost", "//127.0.0.1")) for uri in (one, other))
    except ValueError:  # brackets that do not close
        return False
    return (first.scheme, first.netloc) == (second.scheme, second.netloc)


def without_password(uri: str) -> str:
    """Return a tracking URI without user and password, so that it can be shown."""
    scheme, separator, rest = uri.partition("://")
    return scheme + separator + (rest if scheme == "sqlite" else rest.rpartition("@")[2])


class StoreError(InputError):
    """The MLflow store cannot be used as it is; the message names the place and the remedy."""


@lru_cache(maxsize=4)
def client_of(uri: str) -> "MlflowClient":
    """Return the client of a tracking URI; all code uses explicit run ids, never MLflow's thread-local active run.

    A lock prevents two processes from creating a SQLite store at the same time, which would damage it.

    Raises:
        StoreError: the SQLite store is damaged or locked.
    """
    # this logger prints SQLAlchemy's error over many lines; the exception that follows says the same
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    with _writing_alone(uri), without_collecting():
        from mlflow import MlflowClient

        if uri.startswith(SQLITE):
            _make_or_check(Path(_file_of(uri)))
        # without an explicit address MLflow would put the registry into the working folder
        return MlflowClient(uri, os.environ.get(REGISTRY) or uri)  # imports MLflow's stores


def open_experiment(uri: str, name: str, root: str) -> str:
    """Return the id of the experiment, which is created if it does not exist.

    Raises:
        StoreError: the experiment has been deleted.
    """
    client = client_of(uri)
    with _writing_alone(uri):
        experiment = client.get_experiment_by_name(name)
        if experiment is not None:
            if experiment.lifecycle_stage == "deleted":
                raise StoreError(deleted(uri, name, experiment.experiment_id))
            return str(experiment.experiment_id)
        filesystem, base = fsspec.url_to_fs(root)
        local = uri.startswith(SQLITE) and isinstance(filesystem, LocalFileSystem)
        location = (Path(base) / "mlflow").absolute().as_uri() if local else None
        return str(client.create_experiment(name, artifact_location=location))


def deleted(uri: str, name: str, experiment_id: str) -> str:
    """Return the error text for a deleted experiment, with the command that restores it."""
    command = f"MLFLOW_TRACKING_URI={shlex.quote(without_password(uri))} mlflow experiments restore"
    return f"runtime.experiment: {name!r} has been deleted in MLflow; restore it with `{command} -x {experiment_id}`"


def reason_of(error: BaseException) -> str:
    """Return the reason of an error of MLflow or its database in one line, without SQL."""
    text = str(error)
    for cause in (error.__cause__, error.__context__):
        text = text if cause is None or "sqlite3." in text else f"{text} {cause}"
    if found := re.search(r"\(sqlite3\.\w+\) ([^\n\[]*)", text):
        return _said_of_database(found[1].strip())
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def is_of_database(error: BaseException) -> bool:
    """Tell whether an error comes from MLflow's database rather than from the request."""
    return any(sign in str(error) for sign in ("(sqlite3.", "sqlalche.me", "(psycopg"))


def _said_of_database(message: str, place: str = "MLflow's database") -> str:
    if "locked" in message:
        return f"{place} is locked by another program; end that program"
    if any(sign in message for sign in _DAMAGE):
        return f"{place} is damaged ({message}); move the file away; MLflow then creates a new one"
    return f"{place}: {message}"


def _make_or_check(file: Path) -> None:
    """Create a SQLite store atomically, so that a killed process leaves no half-made one; check one that exists.

    The check is quick, while MLflow retries a damaged store for two minutes.

    Raises:
        StoreError: the store is damaged or locked.
    """
    try:
        if not file.exists():
            _make(file)
        with closing(sqlite3.connect(file, timeout=LOCKED_SECONDS)) as database:
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
            database.execute("BEGIN IMMEDIATE").connection.rollback()
    except sqlite3.Error as error:
        raise StoreError(f"runtime.mlflow_uri: {_said_of_database(str(error), str(file))}") from error


def _make(file: Path) -> None:
    for left in file.parent.glob(f"{file.name}.*.part"):
        left.unlink()
    new_database.create(file, "mlflow")
    if file.exists():
        return
    # another version of MLflow is installed, which runs its migrations
    from mlflow import MlflowClient

    part = file.with_name(f"{file.name}.{uuid4().hex}.part")  # MLflow caches opened stores by name
    address = f"{SQLITE}{database_path(part)}"
    MlflowClient(address, address).search_experiments(max_results=1)
    part.replace(file)


@contextmanager
def _writing_alone(uri: str) -> Iterator[None]:
    """Hold the lock of a SQLite store.

    Raises:
        StoreError: another process has held the lock for a minute, so it probably hangs.
    """
    if not uri.startswith(SQLITE):
        yield
        return
    Path(_file_of(uri)).parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{_file_of(uri)}.lock", timeout=HELD_SECONDS)
    try:
        lock.acquire()
    except Timeout as error:
        raise StoreError(f"runtime.mlflow_uri: {_said_of_database('locked', _file_of(uri))}") from error
    try:
        yield
    finally:
        lock.release()


def run_table(runtime: RuntimeConfig) -> str:
    """Return the address of the experiment's run table, relative to the MLflow server; "" if MLflow cannot be read."""
    try:
        experiment = client_of(tracking_uri(runtime)).get_experiment_by_name(runtime.experiment)
    except Exception:
        return ""
    return mlflow_view.table_link(experiment.experiment_id) if experiment else ""


def _file_of(uri: str) -> str:
    return str(database_file(uri))
