"""The benchmarks of a card run from end to end at a tiny size on the processor."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

pytestmark = pytest.mark.slow


def measured(script: str, folder: Path) -> tuple[str, list[dict[str, Any]]]:
    file = folder / "rows.json"
    command = [sys.executable, str(BENCHMARKS / script), "--tiny", "--device", "cpu", "--json", str(file)]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    done = subprocess.run(command, env=environ | {"HOME": str(folder)}, capture_output=True, text=True, check=True)
    return done.stdout, json.loads(file.read_text())["rows"]


def test_every_number_is_measured(tmp_path):
    printed, rows = measured("gpu_attribution.py", tmp_path)
    assert [row["unit"] for row in rows] == [
        "seconds a pair", "of peak", "seconds a pair", "of peak", "examples a second", "tokens a second",
        *["tokens a second"] * (4 if find_spec("vllm") else 3),
    ]  # fmt: skip
    assert all(row["value"] > 0 for row in rows)
    assert "cpu" in printed.splitlines()[0]


def test_a_whole_run_is_measured_and_planned(tmp_path):
    printed, rows = measured("whole_run.py", tmp_path)
    found = {row["stage"]: row for row in rows}
    both = {"pairs", "attribution", "scores", "selection", "cards", "scaling", "base", "tuned", "evaluation", "report"}
    assert both <= set(found) and all(found[stage]["seconds"] > 0 for stage in both)
    assert all(found[stage]["predicted"] > 0 for stage in (*both, "whole run"))
    assert found["whole run"]["seconds"] > sum(found[stage]["seconds"] for stage in both)
    assert "cpu" in printed.splitlines()[0]
