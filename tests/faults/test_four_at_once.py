"""Four commands at once in a root that does not exist yet."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

MAIN = [sys.executable, "-c", "from flows.commands.cli import main; main()"]
PATIENCE = 1800


@pytest.mark.slow
def test_four_runs_at_once_in_a_fresh_root_all_succeed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    command = [*MAIN, "run", "--preset", "tiny", "--set", "runtime.device=cpu", "--set", f"runtime.root={root}"]
    runs = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    try:
        said = [run.communicate(timeout=PATIENCE) for run in runs]
    finally:
        for run in runs:
            run.kill()
    assert [run.returncode for run in runs] == [0] * 4, said
    assert all("SU-F1" in output for output, _ in said)
    for words in ("MLflow: could not", "MLflow lacks", "UNIQUE constraint", "sqlalchemy", "Traceback"):
        assert not any(words in output or words in errors for output, errors in said), said
    for stage in ("pairs", "scores", "selection", "scaling", "base", "tuned", "evaluation"):
        assert len(list((root / stage).iterdir())) == 1
    with closing(sqlite3.connect(root / ".prefect" / "prefect.db")) as database:
        assert database.execute("SELECT state_type, count(*) FROM flow_run GROUP BY 1").fetchall() == [("COMPLETED", 4)]
    with closing(sqlite3.connect(root / "mlflow.db")) as database:
        assert database.execute("SELECT DISTINCT status FROM runs").fetchall() == [("FINISHED",)]
