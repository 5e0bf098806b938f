"""The disk under an artifact root is full in mid-run: one line says so, and after room is made the run goes on."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

MAIN = [sys.executable, "-c", "from flows.commands.cli import main; main()"]
PATIENCE = 900
RAW = ("Traceback", "sqlalche", "sqlite3.", "[SQL", "Prefect Flow", "prefect.")
TOO_SMALL, ENOUGH = "6600k", "80m"
"""Of a tiny run the first holds the pairs and the scores, the second all."""


def mount(*options: str) -> bool:
    return subprocess.run(["mount", *options], capture_output=True).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    if not mount("-t", "tmpfs", "-o", f"size={TOO_SMALL}", "tmpfs", str(place)):
        pytest.skip("no right to mount a small disk")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.slow
def test_a_disk_that_is_full_in_mid_run_is_told_and_the_run_taken_up(disk: Path, tmp_path: Path) -> None:
    root = disk / "root"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [*MAIN, "run", "--preset", "tiny", "--set", "runtime.device=cpu", "--set", f"runtime.root={root}"]

    def run() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)

    full = run()
    *_, last = full.stderr.splitlines()
    assert full.returncode == 1 and last.startswith("neurontune: error: "), full.stderr
    assert str(root) in last and "No space left on device: make room there" in last and "reused" in last
    assert full.stderr.count("neurontune: error: ") == 1 and not any(sign in full.stderr for sign in RAW), full.stderr
    assert full.stderr.count("cannot even be kept") <= 1, full.stderr
    assert mount("-o", f"remount,size={ENOUGH}", str(disk))
    roomy = run()
    assert roomy.returncode == 0 and "SU-F1" in roomy.stdout, roomy.stderr
    assert any(line.split()[:2] == ["pairs", "reused"] for line in roomy.stderr.splitlines()), roomy.stderr
