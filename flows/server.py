"""The embedded Prefect server: started for a run, stopped after it, its address open in a browser meanwhile.

Prefect's own temporary server shares the terminal's process group, so that Ctrl-C would stop it before the run could
report that it was interrupted; and it has no UI.
"""

import atexit
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

START_SECONDS = 600  # a machine busy with something else takes minutes
POLL_SECONDS = 0.1


class ServerStartError(RuntimeError):
    """The embedded server did not come up."""


@dataclass(frozen=True)
class EmbeddedServer:
    """A server that ends with this process."""

    address: str
    log: Path
    process: "subprocess.Popen[bytes]"

    def wait_until_ready(self) -> None:
        """Wait until the server answers.

        Raises:
            ServerStartError: it has ended, or does not answer within `START_SECONDS`.
        """
        deadline = time.monotonic() + START_SECONDS
        # one client for all tries: each new one reads the system's certificates, which takes longer than the answer
        with httpx.Client(timeout=5) as client:
            while self.process.poll() is None and time.monotonic() < deadline:
                try:
                    if client.get(f"{self.address}/api/health").is_success:
                        return
                except httpx.TransportError:
                    time.sleep(POLL_SECONDS)
        raise ServerStartError(f"the embedded Prefect server did not come up at {self.address}; see {self.log}")


def start_server(log: Path, port: int | None = None) -> EmbeddedServer:
    """Start a server, on a free port if none is given; it takes some seconds until it answers."""
    if port is None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    environment = os.environ | {"PREFECT_SERVER_API_HOST": "127.0.0.1", "PREFECT_SERVER_API_PORT": str(port)}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "flows.server", str(port), str(os.getpid())],
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    # not before Prefect has sent its last events, which it does when the interpreter ends
    atexit.register(_stop, process)
    return EmbeddedServer(f"http://127.0.0.1:{port}", log, process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _serve(port: int, parent: int) -> None:
    """Serve until told to stop, or until the process that started this one is gone."""
    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config(
            "prefect.server.api.server:create_app",
            factory=True,
            host="127.0.0.1",
            port=port,
            log_level="error",
            lifespan="on",
        )
    )

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        server.should_exit = True

    threading.Thread(target=watch, daemon=True).start()
    server.run()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), int(sys.argv[2]))
