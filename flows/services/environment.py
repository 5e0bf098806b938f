"""Set the environment variables that a run needs, before Prefect, MLflow or transformers is imported; set ones stay."""

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from flows.commands.console import show_own_lines
from flows.services.login import mlflow_variables, read_login
from neurontune_core.config import RuntimeConfig, change_runtime, load_config
from neurontune_core.errors import InputError
from neurontune_core.shown_text import quoted
from neurontune_core.storage import check_protocol, problem
from tasks.recording.mlflow_store import forget_own_login, is_same_server
from tasks.recording.moved_root import readdress

# the same as prefect.toml, which is found only in the project's folder
DEFAULTS = {
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # for a server started by hand, which by default answers the pages of any site
    "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": "http://127.0.0.1:4200,http://localhost:4200",
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "true",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",  # wait for a locked SQLite database on a busy machine instead of failing
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # without heartbeats nobody notices that a machine is gone
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",  # for the exception of a failed run: JSON, never pickle
    "PREFECT_LOGGING_EXTRA_LOGGERS": "neurontune",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}
QUIET = {
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

LOOPBACK = ("127.0.0.1", "localhost", "::1")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")

RUNNING = "running.json"
"""File beside the root's Prefect database with the addresses of the servers of a running `neurontune up`."""


def apply(runtime: RuntimeConfig, quiet: bool) -> None:
    """Set defaults in the environment; `quiet` keeps the lines of other libraries off the console.

    Raises:
        InputError: the artifact root cannot be created or has an unknown protocol, or a configured proxy is not usable.
    """
    reach_loopback_directly()
    # if its server rejects a log line (full disk), Prefect prints a traceback to the terminal
    logging.raiseExceptions = not quiet
    for name, value in (DEFAULTS | (QUIET if quiet else {})).items():
        os.environ.setdefault(name, value)
    check_protocol(runtime.root)
    readdress(runtime.root)
    if (home := own_prefect_home(runtime)) is not None:
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = problem(error) or error.strerror
            raise InputError(f"runtime.root: {quoted(str(home))} cannot be created ({why})") from error
        os.environ["PREFECT_HOME"] = str(home)
        running = running_servers(home)
        for name, value in running.items():
            os.environ.setdefault(name, value)
        if running and os.environ["PREFECT_API_URL"] == running["PREFECT_API_URL"] and (password := read_login(home)):
            os.environ["PREFECT_API_AUTH_STRING"] = password
            mlflow = running.get("MLFLOW_TRACKING_URI")
            if mlflow and is_same_server(runtime.mlflow_uri or os.environ["MLFLOW_TRACKING_URI"], mlflow):
                for name, value in mlflow_variables(password).items():
                    os.environ.setdefault(name, value)
            else:  # the password is only for that server
                forget_own_login(password)


def reach_loopback_directly() -> None:
    """Exclude this machine from the configured proxies, because the servers started here are on loopback.

    Raises:
        InputError: a configured proxy is not usable.
    """
    given = [name for name in PROXIES for name in (name, name.lower()) if os.environ.get(name)]
    if not given:
        return
    known = [host.strip() for name in ("no_proxy", "NO_PROXY") for host in os.environ.get(name, "").split(",")]
    if "*" in known:
        return
    direct = ",".join(dict.fromkeys(host for host in (*known, *LOOPBACK) if host))
    os.environ |= {"no_proxy": direct, "NO_PROXY": direct}
    import httpx

    try:
        httpx.Client().close()
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise InputError(f"{' and '.join(given)}: {error}; give the address of an HTTP proxy, or unset it") from error


def ready(settings: Sequence[str], debug: bool) -> RuntimeConfig:
    """Set up this process for reading recorded runs, and return the runtime settings.

    Raises:
        InputError: a setting of another section, which would have no effect.
    """
    runtime = change_runtime(load_config(), settings).runtime
    apply(runtime, quiet=not debug)
    show_own_lines()
    return runtime


def running_servers(home: Path) -> dict[str, str]:
    """Return the variables with the addresses of a running `neurontune up` on this root; none if it does not run."""
    import httpx
    import psutil

    noted = _noted(home)
    try:
        if psutil.pid_exists(noted["pid"]) and httpx.get(f"{noted['PREFECT_API_URL']}/health", timeout=5).is_success:
            return {name: str(value) for name, value in noted.items() if name.startswith(("PREFECT_", "MLFLOW_"))}
    except (KeyError, TypeError, ValueError, OverflowError, httpx.HTTPError, httpx.InvalidURL):
        pass
    return {}


def _noted(home: Path) -> dict[str, Any]:
    """Return what `announced` wrote for this folder; a damaged or copied file counts as missing."""
    if not (home / RUNNING).is_file():
        return {}
    try:
        noted = json.loads((home / RUNNING).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(noted, dict) or noted.get("home") != str(home.absolute()):
        return {}
    return {name: value for name, value in noted.items() if name == "pid" or str(value).isprintable()}


@contextmanager
def announced(home: Path, servers: Mapping[str, str]) -> Iterator[None]:
    """Inside this context other commands on this root find the servers, by the variables with their addresses."""
    file, part = home / RUNNING, home / f"{RUNNING}.part"
    part.write_text(json.dumps({"pid": os.getpid(), "home": str(home.absolute()), **servers}), encoding="utf-8")
    part.replace(file)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def prefect_home(runtime: RuntimeConfig) -> Path:
    """Return the folder of the Prefect database that records runs with these settings."""
    return own_prefect_home(runtime) or Path(os.environ.get("PREFECT_HOME", Path.home() / ".prefect"))


def own_prefect_home(runtime: RuntimeConfig) -> Path | None:
    """Return the folder of this root's own Prefect database; None if the user has configured Prefect.

    So the records of runs are beside their artifacts, and apart from the database of another Prefect version.
    """
    filesystem, base = fsspec.url_to_fs(runtime.root)
    if not isinstance(filesystem, LocalFileSystem):
        return None
    home = Path(base) / ".prefect"
    if os.environ.get("PREFECT_HOME") == str(home):
        return home
    theirs = any(name in os.environ for name in ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_PROFILE"))
    return None if theirs or (Path.home() / ".prefect" / "profiles.toml").exists() else home
