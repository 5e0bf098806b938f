"""The embedded Prefect server: started for a run and stopped after it; its UI is available meanwhile.

Prefect's own temporary server has no UI, and it shares the terminal's process group: Ctrl-C would stop it before the
run can report that it was interrupted. This server needs a password and answers only its own pages.
"""

import atexit
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from flows.services import server_changes
from flows.services.guard import OwnPagesOnly
from flows.services.login import make_login
from tasks.importing import without_collecting
from tasks.recording import new_database  # not mlflow_store: the server does not need what that imports
from tasks.recording.new_database import database_path

START_SECONDS = 600  # a busy machine takes minutes
POLL_SECONDS = 0.1
SINGLE_RUN = {
    f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false"
    for name in ("SCHEDULER", "LATE_RUNS", "TRIGGERS", "FOREMAN", "PAUSE_EXPIRATIONS", "CLEANUP_RECONCILER")
} | {"PREFECT_API_BLOCKS_REGISTER_ON_START": "false"}
"""Services for deployments, automations and workers, and block types; the server of a single run does not need them."""


class ServerStartError(RuntimeError):
    """The embedded server did not start."""


@dataclass(frozen=True)
class EmbeddedServer:
    """A server that ends with this process; `login` is the `user:password` that its API requires."""

    address: str
    log: Path
    login: str
    process: "subprocess.Popen[bytes]"

    def wait_until_ready(self) -> None:
        """Wait until the server answers.

        Raises:
            ServerStartError: it has ended, or does not answer within `START_SECONDS`.
        """
        deadline = time.monotonic() + START_SECONDS
        reason = "it does not answer"
        # one client for all tries: a new one reads the system's certificates, which takes longer than the request
        with httpx.Client(timeout=5, trust_env=False) as client:
            while self.process.poll() is None and time.monotonic() < deadline:
                try:
                    answer = client.get(f"{self.address}/api/health")
                    if answer.is_success:
                        return
                    reason = f"it answers {answer.status_code}"
                except httpx.TransportError as error:
                    reason = f"{type(error).__name__}: {error}"
                time.sleep(POLL_SECONDS)
        if (code := self.process.poll()) is not None:
            reason = f"it ended with {code}: {_last_line(self.log)}"
        raise ServerStartError(
            f"the embedded Prefect server did not start at {self.address} ({reason}); see {self.log}"
        )


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "no reason is given")


def start_server(home: Path, log: Path, port: int | None = None) -> EmbeddedServer:
    """Start a server without waiting until it answers; without `port` it is that of a single run, on a free port.

    Its password is that of the Prefect home; it gets it by an environment variable, which other users cannot read.
    """
    login, of_single_run = make_login(home), port is None
    log.parent.mkdir(parents=True, exist_ok=True)
    # bind the socket here: another process could take a free port before the server starts
    with socket.socket() as bound, log.open("ab") as output:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", port or 0))
        port = bound.getsockname()[1]
        environment = os.environ | {
            "PREFECT_SERVER_API_HOST": "127.0.0.1",
            "PREFECT_SERVER_API_PORT": str(port),
            "PREFECT_SERVER_API_AUTH_STRING": login,
            "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{port},http://localhost:{port}",
            # errors name this log, so it must contain the reason even if libraries print nothing to the terminal
            "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",
            # to find out whether block types are new, Prefect imports all its installed extensions, which takes longer
            # than registering them
            "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
        }
        if of_single_run:
            environment = SINGLE_RUN | environment
        if (encoded := database_path(home / "prefect.db")) != str(home / "prefect.db"):
            # Prefect would use the folder's name, without quoting, as an address
            environment.setdefault("PREFECT_SERVER_DATABASE_CONNECTION_URL", f"sqlite+aiosqlite:///{encoded}")
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "flows.services.server", str(bound.fileno()), str(os.getpid())],
            env=environment,
            pass_fds=[bound.fileno()],
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    # only after Prefect has sent its last events, which it does when the interpreter ends
    atexit.register(_stop, process)
    return EmbeddedServer(f"http://127.0.0.1:{port}", log, login, process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _serve(bound: int, parent: int) -> None:
    """Serve on a bound socket until stopped, or until the parent process is gone.

    A lock makes servers on the same database start one after another: each migrates it, and two that create it at the
    same time would damage it.
    """
    with without_collecting():  # before taking the lock, because it takes seconds
        import uvicorn
        from filelock import FileLock, Timeout
        from prefect.server.api.server import create_app
        from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, PREFECT_HOME

        server_changes.change_server()
        app = OwnPagesOnly(create_app())
    # otherwise an open page or a listening worker would prevent the server from ending before a restart
    config = uvicorn.Config(app, host="127.0.0.1", log_level="error", lifespan="on", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    starting = FileLock(PREFECT_HOME.value() / "starting.lock", thread_local=False)

    def watch() -> None:
        while os.getppid() == parent:
            if server.started and starting.is_locked:
                starting.release()
            time.sleep(POLL_SECONDS if starting.is_locked else 1)
        server.should_exit = True

    with suppress(Timeout):  # do not wait without end for a server that hangs
        starting.acquire(timeout=START_SECONDS / 2)
        file = PREFECT_HOME.value() / "prefect.db"
        if PREFECT_API_DATABASE_CONNECTION_URL.value() == f"sqlite+aiosqlite:///{database_path(file)}":
            new_database.create(file, "prefect")
    threading.Thread(target=watch, daemon=True).start()
    server.run(sockets=[socket.socket(fileno=bound)])


if __name__ == "__main__":
    _serve(int(sys.argv[1]), int(sys.argv[2]))
