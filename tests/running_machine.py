"""A machine on which `neurontune up` runs, for tests."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

PATIENCE = 900
MAIN = [sys.executable, "-c", "from flows.commands.cli import main; main()"]
FEW_PROMPTS = ("pairs.wrapped_queries=24", "evaluation.prompts_per_benchmark=2")
"""Settings of a run of which nothing but its course matters."""
# put into every process of the machine under test: notes each shard that is computed, and lets those fail or wait for
# which there is a file
SITECUSTOMIZE = """
import importlib.abc, importlib.util, os, pathlib, sys, time
PLACE = pathlib.Path(os.environ["SHARD_NOTES"])

class Patch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "neurontune_core.attribution.shard":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module
        def exec_module(module):
            load(module)
            chosen = module.in_shard
            def in_shard(pairs, shard, shards):
                with open(PLACE / "computed", "a") as notes:
                    notes.write(f"{shard}\\n")
                while (PLACE / f"wait-{shard}").exists():
                    from tasks.progress import check
                    check()
                    time.sleep(0.1)
                if (PLACE / f"fail-{shard}").exists():
                    raise RuntimeError("broken on purpose")
                return chosen(pairs, shard, shards)
            module.in_shard = in_shard
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Patch())
"""


@dataclass
class Machine:
    """A machine on which `neurontune up` runs, seen as an operator sees it: by the API of the Prefect UI."""

    api: httpx.Client
    root: Path
    notes: Path
    environment: dict[str, str]
    process: "subprocess.Popen[str]"
    printed: list[str]
    start_up: "Callable[[], tuple[subprocess.Popen[str], list[str]]]"

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop_up(self) -> None:
        """End `neurontune up` as a person does, by Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(timeout=60) == 130

    def start_again(self) -> None:
        self.process, self.printed = self.start_up()

    def start(self, deployment: str, parameters: dict[str, Any]) -> str:
        found = self.api.get(f"/deployments/name/{deployment}/{deployment}").raise_for_status().json()
        return str(self.post(f"/deployments/{found['id']}/create_flow_run", {"parameters": parameters})["id"])

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Post as Prefect's own clients do: SQLite may be busy for a moment, which the server tells by 503."""
        answer = until(lambda: self.api.post(path, json=body), lambda answer: answer.status_code != 503)
        return answer.raise_for_status().json()

    def switch_on(self, automation: str) -> None:
        """Enable an automation, as its switch in the Prefect UI does."""
        found = self.post("/automations/filter", {"automations": {"name": {"any_": [automation]}}})
        self.api.patch(f"/automations/{found[0]['id']}", json={"enabled": True}).raise_for_status()
        time.sleep(10)  # the server reloads automations after its answer; earlier events are missed

    def end_of(self, run: str, name: str) -> dict[str, Any]:
        state = until(lambda: self.state(run), lambda state: state["name"] in ("Completed", "Failed", "Crashed"))
        assert state["name"] == name, state
        return state

    def state(self, run: str) -> dict[str, Any]:
        return dict(self.api.get(f"/flow_runs/{run}").raise_for_status().json()["state"])

    def answers(self) -> bool:
        """Tell whether the Prefect server is there."""
        try:
            return self.api.get("/health").is_success
        except httpx.TransportError:
            return False

    def process_of(self, run: str) -> psutil.Process:
        for process in psutil.Process(self.pid).children(recursive=True):
            with suppress(psutil.Error):  # others end meanwhile
                if process.environ().get("PREFECT__FLOW_RUN_ID") == run:
                    return process
        raise AssertionError(f"no process of the run {run}")

    def take_computed(self) -> list[int]:
        """Return the shards computed since the last call."""
        file = self.notes / "computed"
        lines = file.read_text().split() if file.exists() else []
        file.unlink(missing_ok=True)
        return [int(line) for line in lines]


def until(look: Callable[[], Any], good: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not good(seen := look()):
        assert time.monotonic() < deadline, seen
        time.sleep(0.5)
    return seen


def start_up(command: list[str], environment: dict[str, str]) -> "tuple[subprocess.Popen[str], list[str]]":
    """Start `neurontune up`; return it, and what it printed until it was ready."""
    said = Path(environment["HOME"], "stderr")
    with said.open("w") as stderr:
        process = subprocess.Popen(
            command, env=environment, cwd=environment["HOME"], stdout=subprocess.PIPE, stderr=stderr, text=True
        )
    killer = threading.Timer(PATIENCE, process.kill)
    killer.start()
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("Ctrl-C"):
            break
    killer.cancel()
    return process, lines


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    place = tmp_path_factory.mktemp("machine")
    with machine_on(place, place / "root") as machine:
        yield machine


@contextmanager
def machine_on(place: Path, root: Path) -> Iterator[Machine]:
    """A machine with an artifact root; what it has besides is in the other folder."""
    notes = place / "notes"
    notes.mkdir()
    (place / "site").mkdir()
    (place / "site" / "sitecustomize.py").write_text(SITECUSTOMIZE)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    paths = [str(place / "site"), str(Path(__file__).parents[1])]
    environment |= {"HOME": str(place), "PYTHONPATH": os.pathsep.join(paths), "SHARD_NOTES": str(notes)}
    # nothing on this machine is asked by way of a proxy
    environment |= {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    port, mlflow_port = free_port(), free_port()
    command = [*MAIN, "up", "--set", f"runtime.root='{root}'", "--port", str(port), "--mlflow-port", str(mlflow_port)]
    up_environment = dict(environment)
    process, lines = start_up(command, up_environment)
    address = f"http://127.0.0.1:{port}"
    environment |= {"PREFECT_API_URL": f"{address}/api", "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{mlflow_port}"}
    environment["NEURONTUNE_ROOT"] = str(root)
    environment["PREFECT_API_AUTH_STRING"] = login = (root / ".prefect" / "login").read_text()
    user, _, password = login.partition(":")
    environment |= {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}
    try:
        assert f"Prefect      {address}\n" in lines
        # a connection of its own each time: the server may close an idle one just as it is used again
        with httpx.Client(
            base_url=f"{address}/api",
            timeout=60,
            auth=(user, password),
            limits=httpx.Limits(max_keepalive_connections=0),
        ) as api:
            machine = Machine(api, root, notes, environment, process, lines, lambda: start_up(command, up_environment))
            yield machine
            process = machine.process
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert (place / "stderr").read_text().splitlines()[-2:] == [
            "stopping Prefect, MLflow and the workers",
            "stopped",
        ]
        for number in (port, mlflow_port):
            with socket.socket() as probe:
                assert probe.connect_ex(("127.0.0.1", number)) != 0, "all of it is stopped"
