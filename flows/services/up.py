"""`neurontune up`: Prefect server, workers and MLflow on loopback, to run pipelines from Prefect's UI."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import psutil
import yaml

from flows.commands.console import echo
from flows.services import ending, environment, login, server, work_pools
from neurontune_core import artifacts
from neurontune_core.config import change_runtime, load_config
from neurontune_core.errors import InputError, NeuronTuneError
from tasks.recording.mlflow_store import check_registry, tracking_uri, without_password

DEPLOYMENTS = work_pools.DEPLOYMENTS
PROJECT = DEPLOYMENTS.parent.parent
STOP_SECONDS = 15
NEURONTUNE = [sys.executable, "-c", "from flows.commands.cli import main; main()"]


class ServiceError(NeuronTuneError):
    """A service did not start, or ended; the message names its log."""


@dataclass
class Service:
    """A program that is kept running until `up` ends."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log: Path
    process: "subprocess.Popen[bytes]"

    def restart(self) -> None:
        """Start it again after it has ended."""
        self.process = _start(self.command, self.environment, self.log)


def up(settings: Sequence[str], port: int, mlflow_port: int, show_password: bool) -> None:
    """Start everything, print the addresses, and keep it running until interrupted.

    With `show_password` while everything runs already, only the password is printed.

    Raises:
        InputError: a port is in use, the MLflow store has no place, or the model registry is another server.
        ServiceError: a service did not start.
    """
    runtime = change_runtime(load_config(), settings).runtime
    root, uri = artifacts.absolute_root(runtime.root), tracking_uri(runtime)
    os.environ.pop("PREFECT_API_URL", None)
    environment.apply(runtime, quiet=False)
    home = environment.prefect_home(runtime)
    if other := os.environ.get("PREFECT_API_URL"):
        if show_password:
            echo(login.read_login(home))
            return
        raise InputError(
            f"runtime.root: another `neurontune up` runs on {root}, at {other.removesuffix('/api')}; use it, or stop "
            f"it first"
        )
    for option, number in (("--port", port), ("--mlflow-port", mlflow_port)):
        _check_free(option, number)
    if own_mlflow := not uri.startswith("http"):
        check_registry(f"http://127.0.0.1:{mlflow_port}")
    logs = home / "logs"
    _say("starting Prefect, MLflow and the workers")
    prefect = server.start_server(home, logs / "server.log", port)
    shared = {
        "PREFECT_API_URL": f"{prefect.address}/api",
        "PREFECT_API_AUTH_STRING": prefect.login,
        "NEURONTUNE_ROOT": root,
        "PREFECT_WORKER_QUERY_SECONDS": "2",
    }
    with _running(logs) as start, work_pools.connect(shared["PREFECT_API_URL"], prefect.login) as api:
        kept, noted = [], {"PREFECT_API_URL": shared["PREFECT_API_URL"]}
        if own_mlflow:
            kept.append(start("mlflow", *_mlflow_server(root, uri, mlflow_port, prefect.login)))
            uri = noted["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{mlflow_port}"
            shared |= login.mlflow_variables(prefect.login)
        shared["MLFLOW_TRACKING_URI"] = uri
        workers, deployments = _start_workers(start, prefect, api, shared)
        _wait_for_all(api, uri)
        # what was kept while MLflow was away, and runs that were killed; nobody waits for it
        start("sync", [*NEURONTUNE, "sync", *(word for each in settings for word in ("--set", each))], shared)
        with environment.announced(home, noted):
            addresses = (without_password(uri), root, deployments, home / login.FILE)
            _print_addresses(prefect, *addresses, show_password, own_mlflow)
            _watch(prefect, [*kept, workers], lambda: server.start_server(home, prefect.log, port))


def _start_workers(
    start: Callable[[str, list[str], dict[str, str]], Service],
    prefect: server.EmbeddedServer,
    api: httpx.Client,
    shared: dict[str, str],
) -> tuple[Service, str]:
    """Start the workers and register the deployments when Prefect answers; return the workers and the deployments.

    Raises:
        ServiceError: the deployments could not be registered.
    """
    # it imports the flows, which takes seconds, while Prefect starts
    deployer = start("deployments", _deployer(), shared | {"PWD": str(PROJECT)}) if DEPLOYMENTS.is_file() else None
    prefect.wait_until_ready()
    _say("Prefect answers")
    work_pools.limit_gpus(api)
    work_pools.make_pools(api)
    workers = start("workers", [sys.executable, "-P", "-m", "flows.services.workers", *work_pools.work_pools()], shared)
    deployments = _deploy(deployer)  # while MLflow and the workers start
    _say("deployments are registered")
    return workers, deployments


def _wait_for_all(api: httpx.Client, mlflow: str) -> None:
    """Wait until MLflow and the worker of every pool answer.

    Raises:
        ServiceError: one of them does not answer.
    """
    _wait("MLflow", lambda: httpx.get(f"{mlflow}/health", timeout=5).is_success)
    _say("MLflow answers")
    for pool in work_pools.work_pools():
        _wait(f"worker of {pool}", partial(work_pools.is_online, api, pool))
    _say("the workers are ready")


def _watch(
    prefect: server.EmbeddedServer, kept: Sequence[Service], start_prefect: Callable[[], server.EmbeddedServer]
) -> None:
    """Start the Prefect server or a service again when it ends.

    Raises:
        ServerStartError: the Prefect server does not start again.
    """
    while True:
        time.sleep(1)
        if prefect.process.poll() is not None:
            echo(f"the Prefect server has ended and is started again; see {prefect.log}", error=True)
            prefect = start_prefect()
            prefect.wait_until_ready()
        for service in kept:
            if service.process.poll() is not None:
                echo(f"{service.name} has ended and is started again; see {service.log}", error=True)
                service.restart()


def _mlflow_server(root: str, uri: str, port: int, password: str) -> tuple[list[str], dict[str, str]]:
    """Return the command of this machine's MLflow server on the store `uri`, and its environment."""
    # runs write their files themselves, so the files must be in a place that all runs can reach
    command = [sys.executable, "-P", "-m", "flows.services.mlflow_server", _place(f"{root}/mlflow"), str(port)]
    return command, {
        # by environment, because it may contain a password and other users of the machine can read options
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PREFECT_API_AUTH_STRING": password,
        # MLflow's default list also allows names that begin like private addresses (`10.`, `192.168.`)
        "MLFLOW_SERVER_ALLOWED_HOSTS": f"127.0.0.1:{port},localhost:{port}",
    }


def _place(folder: str) -> str:
    return Path(folder).as_uri() if Path(folder).is_absolute() else folder


def _check_free(option: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise InputError(
                f"{option}: {port} is in use on this machine; stop the program that uses it, or choose another port"
            ) from error


def _start(command: list[str], extra: dict[str, str], log: Path) -> "subprocess.Popen[bytes]":
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            env=os.environ | extra,
            cwd=PROJECT if DEPLOYMENTS.is_file() else None,
            stdin=subprocess.PIPE,  # nothing is written: the deployer waits for its end
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


@contextmanager
def _running(logs: Path) -> Iterator[Callable[[str, list[str], dict[str, str]], Service]]:
    """Yield a function that starts services; at the end all of them are stopped, with their child processes."""
    services: list[Service] = []

    def start(name: str, command: list[str], extra: dict[str, str]) -> Service:
        log = logs / f"{name.replace(' ', '-')}.log"
        services.append(Service(name, command, extra, log, _start(command, extra, log)))
        return services[-1]

    try:
        yield start
    finally:
        _say("stopping Prefect, MLflow and the workers")
        # stopping has its own time limit; a second Ctrl-C in the middle would leave services running
        ending.bounded.set()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        _stop([service.process.pid for service in services])
        _say("stopped")


def _say(what: str) -> None:
    """Print the progress of starting or stopping to standard error; only addresses go to standard output."""
    with suppress(OSError):  # the terminal was closed
        echo(what, error=True)


def _stop(pids: Sequence[int]) -> None:
    """End processes and all their children: a worker gives each flow run a session of its own."""
    family: list[psutil.Process] = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            family += [process, *process.children(recursive=True)]
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    for process in psutil.wait_procs(family, timeout=STOP_SECONDS)[1]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _wait(name: str, answers: Callable[[], bool]) -> None:
    deadline = time.monotonic() + server.START_SECONDS
    while time.monotonic() < deadline:
        try:
            if answers():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise ServiceError(f"{name} does not answer after {server.START_SECONDS} s; see the logs in the artifact root")


def _deployer() -> list[str]:
    return [sys.executable, "-m", "flows.services.deployer", str(DEPLOYMENTS)]


def _deploy(deployer: Service | None) -> str:
    """Let the deployer process, which has imported the flows, register them; return the names of the deployments.

    Raises:
        ServiceError: the deployments could not be registered.
    """
    if deployer is None:
        return "none: deployments/prefect.yaml is in the project's repository"
    assert deployer.process.stdin is not None
    with suppress(BrokenPipeError):  # it has ended; its exit code tells
        deployer.process.stdin.close()
    if deployer.process.wait(timeout=server.START_SECONDS):
        said = deployer.log.read_text(encoding="utf-8", errors="replace")[-500:]
        raise ServiceError(f"the deployments could not be registered: {said}")
    return ", ".join(deployment["name"] for deployment in yaml.safe_load(DEPLOYMENTS.read_text())["deployments"])


def _print_addresses(
    prefect: server.EmbeddedServer,
    mlflow: str,
    root: str,
    deployments: str,
    file: Path,
    show_password: bool,
    own_mlflow: bool,
) -> None:
    echo(f"Prefect      {prefect.address}")
    echo(f"password     {prefect.login if show_password else f'in {file}, or by `neurontune up --show-password`'}")
    echo(f"MLflow       {mlflow}")
    echo(f"workers      {', '.join(work_pools.work_pools())}")
    echo(f"deployments  {deployments}")
    echo(f"artifacts    {root}")
    echo("`neurontune run` on these artifacts uses these servers; for other programs and folders run first")
    variables = {"PREFECT_API_URL": f"{prefect.address}/api", "MLFLOW_TRACKING_URI": mlflow, "NEURONTUNE_ROOT": root}
    given = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
    given += f' PREFECT_API_AUTH_STRING="$(cat {shlex.quote(str(file))})"'
    if own_mlflow:
        user = shlex.quote(prefect.login.partition(":")[0])
        given += f' MLFLOW_TRACKING_USERNAME={user} MLFLOW_TRACKING_PASSWORD="$(cut -d: -f2- {shlex.quote(str(file))})"'
    echo(f"export {given}")
    echo("Ctrl-C stops all of them.")
