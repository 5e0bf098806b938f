"""`neurontune up` on a root whose name ends or encodes an address: its runs use it, and nothing beside it."""

import json
import subprocess
from pathlib import Path

import pytest
from running_machine import FEW_PROMPTS, MAIN, PATIENCE, machine_on

pytestmark = pytest.mark.services
NAME = "a%20b%2Fc#d?e [f] ü"


def test_up_and_the_runs_on_it_use_such_a_root(tmp_path: Path) -> None:
    beside = tmp_path / "roots"
    root = beside / NAME
    root.mkdir(parents=True)
    (tmp_path / "machine").mkdir()
    with machine_on(tmp_path / "machine", root) as machine:
        settings = ["runtime.device=cpu", "attribution.shards=2", *FEW_PROMPTS]
        run = machine.start("neurontune", {"preset": "tiny", "settings": settings})
        machine.end_of(run, "Completed")
        command = [*MAIN, "run", "--preset", "tiny", *(word for each in settings for word in ("--set", each))]
        again = subprocess.run(command, env=machine.environment, capture_output=True, text=True, timeout=PATIENCE)
        assert again.returncode == 0 and "SU-F1" in again.stdout, again.stderr
        assert sorted(machine.take_computed()) == [0, 1], "the second run reuses the shards of the first"
        listed = [*MAIN, "runs", "--json"]
        found = subprocess.run(listed, env=machine.environment, capture_output=True, text=True, timeout=PATIENCE)
        assert len(json.loads(found.stdout)) == 2, found.stderr
    assert [path.name for path in beside.iterdir()] == [NAME]
    assert {"mlflow.db", ".prefect", "scaling"} <= {path.name for path in root.iterdir()}
