"""The Prefect server, or all of `neurontune up`, ends or is restarted in the middle of a run: the run goes on."""

import subprocess
import threading
import time
from collections.abc import Callable

import psutil
import pytest
from running_machine import FEW_PROMPTS, MAIN, PATIENCE, Machine, machine, until

__all__ = ["machine"]
pytestmark = pytest.mark.services
WITHIN_SECONDS = 60
"""How long after the last stage the result may take."""


def server_of(machine: Machine) -> psutil.Process:
    alive = [each for each in psutil.Process(machine.pid).children() if each.status() != psutil.STATUS_ZOMBIE]
    return next(process for process in alive if "flows.services.server" in " ".join(process.cmdline()))


def restart_up(machine: Machine) -> None:
    machine.stop_up()
    machine.start_again()


RESTARTS: dict[str, Callable[[Machine], None]] = {
    "the server is killed": lambda machine: server_of(machine).kill(),
    "the server is stopped": lambda machine: server_of(machine).terminate(),
    "up is stopped and started": restart_up,
}


@pytest.mark.parametrize("restart", RESTARTS)
def test_a_run_outlives_the_server(machine: Machine, restart: str) -> None:
    number = list(RESTARTS).index(restart)
    hold, notes = machine.notes / "wait-1", machine.notes / "computed"
    notes.unlink(missing_ok=True)
    hold.touch()
    settings = ["attribution.shards=3", f"attribution.nodes={2 + number}", *FEW_PROMPTS]
    command = [*MAIN, "run", "--preset", "tiny"]
    for setting in (*settings, f"runtime.root='{machine.root}'", "runtime.device=cpu"):
        command += ["--set", setting]
    run = subprocess.Popen(command, env=machine.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    told: list[tuple[float, str]] = []

    def listen() -> None:
        assert run.stderr is not None
        told.extend((time.monotonic(), line) for line in run.stderr)

    listening = threading.Thread(target=listen)
    listening.start()
    until(lambda: notes.read_text().split() if notes.exists() else [], lambda computed: computed == ["0", "1"])
    RESTARTS[restart](machine)
    hold.unlink()
    until(lambda: machine.answers() or run.poll() is not None, bool)
    assert run.stdout is not None
    out = run.stdout.read()
    ended = time.monotonic()
    assert run.wait(timeout=PATIENCE) == 0, told
    listening.join()
    assert "SU-F1" in out and not any("Traceback" in line for _, line in told), told
    (last,) = [at for at, line in told if line.startswith("triggers ")]
    assert ended - last < WITHIN_SECONDS, told
    assert sorted(machine.take_computed()) == [0, 1, 2]
    found = machine.post("/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}})
    assert len([each for each in found if "tiny" in each["name"]]) == number + 1
