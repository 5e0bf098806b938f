"""Which build of torch `make` installs."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def told(path: str, *settings: str) -> str:
    """What `make` would do to set the environment up, with programs looked for in these folders."""
    command = [shutil.which("make") or "make", "--dry-run", "--always-make", ".venv/.ready", *settings]
    environment = {name: value for name, value in os.environ.items() if name not in ("TORCH_INDEX", "MAKEFLAGS")}
    done = subprocess.run(
        command, cwd=ROOT, env=environment | {"PATH": path}, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_cuda_build_is_taken_where_a_driver_is(tmp_path: Path) -> None:
    assert "index-url" not in told(str(tmp_path))
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\n")
    driver.chmod(0o755)
    assert "--extra-index-url https://download.pytorch.org/whl/cu130 torch==" in told(str(tmp_path))
    assert "index-url" not in told(str(tmp_path), "TORCH_INDEX=")
    assert "--extra-index-url https://here torch==" in told(str(tmp_path), "TORCH_INDEX=https://here")
    assert "--extra-index-url https://download.pytorch.org/whl/cu130" in (ROOT / "constraints.txt").read_text()
