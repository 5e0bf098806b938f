"""The Prefect server of `neurontune up` ends in the middle of a run: it is started again, and the run goes on."""

import subprocess
import time

import psutil
import pytest
from running_machine import MAIN, PATIENCE, Machine, machine, until

__all__ = ["machine"]
pytestmark = pytest.mark.services
WITHIN_SECONDS = 60
"""How long after the server is back the result may take."""


def test_a_run_outlives_the_server(machine: Machine) -> None:
    hold, notes = machine.notes / "wait-1", machine.notes / "computed"
    hold.touch()
    options = ["--preset", "tiny", "--set", "attribution.shards=3"]
    for setting in (f"runtime.root='{machine.root}'", "runtime.device=cpu"):
        options += ["--set", setting]
    command = [*MAIN, "run", *options]
    run = subprocess.Popen(command, env=machine.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: notes.read_text().split() if notes.exists() else [], lambda computed: computed == ["0", "1"])
    server = next(
        process for process in psutil.Process(machine.pid).children() if "flows.server" in " ".join(process.cmdline())
    )
    server.kill()
    hold.unlink()
    until(lambda: machine.answers() or run.poll() is not None, bool)
    back = time.monotonic()
    out, err = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, err
    assert "SU-F1" in out and time.monotonic() - back < WITHIN_SECONDS + 60  # the rest of the run included
    assert "Traceback" not in err
    found = machine.post("/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}})
    assert any("tiny" in each["name"] for each in found)
