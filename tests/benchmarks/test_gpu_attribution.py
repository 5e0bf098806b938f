"""The benchmark of a card runs from end to end at a tiny size on the processor."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu_attribution.py"


@pytest.mark.slow
def test_every_number_is_measured(tmp_path):
    command = [sys.executable, str(SCRIPT), "--tiny", "--device", "cpu", "--json", str(tmp_path / "rows.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [row["unit"] for row in rows] == [
        "seconds a pair", "of peak", "seconds a pair", "of peak", "examples a second", "tokens a second",
        "tokens a second",
    ]  # fmt: skip
    assert all(row["value"] > 0 for row in rows)
    assert "cpu" in done.stdout.splitlines()[0]
