"""Real kills at every stage, one after another in one root; then what is there is what an undisturbed run makes."""

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_table import KILLS, Fault
from faulty_run import digests
from prefect.client.orchestration import get_client
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_API_AUTH_STRING, get_current_settings

from tasks.recording.mlflow_store import client_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]
PATIENCE = 900


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("killed") / "root"
    root.mkdir()
    shutil.copy(mlflow_template, root / "mlflow.db")
    yield root


def run(root: Path, *point: str) -> int:
    here = Path(__file__)
    environment = os.environ | {
        "PREFECT_API_URL": str(get_current_settings().api.url),
        "PREFECT_API_AUTH_STRING": PREFECT_API_AUTH_STRING.value(),
        "PYTHONPATH": str(here.parents[2]),
    }
    command = [sys.executable, str(here.with_name("victim.py")), str(root), *point]
    return subprocess.run(command, env=environment, timeout=PATIENCE, capture_output=True).returncode


@pytest.mark.parametrize("row", KILLS, ids=lambda row: row.point)
def test_a_run_killed_at_a_stage_is_taken_up_by_the_next(root: Path, row: Fault) -> None:
    before = digests(str(root))
    assert run(root, row.point) == -signal.SIGKILL
    after = digests(str(root))
    assert before.items() <= after.items(), "what was finished stays"
    assert "damaged" not in after.values()
    stage = row.point.split()[-1]
    assert ("rename" in row.point) == any(name.startswith(f"{stage}/") for name in after)


def test_after_all_kills_the_files_are_those_of_an_undisturbed_run(
    root: Path, tmp_path: Path, mlflow_template: Path
) -> None:
    assert run(root) == 0
    apart = tmp_path / "apart"
    apart.mkdir()
    shutil.copy(mlflow_template, apart / "mlflow.db")
    assert run(apart) == 0
    assert digests(str(root)) == digests(str(apart))
    runs = client_of(f"sqlite:///{root / 'mlflow.db'}").search_runs(["1"])
    assert {each.info.status for each in runs} <= {"FINISHED", "KILLED"}
    with get_client(sync_client=True) as client:
        known = client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=50)
    states = Counter(each.state_name for each in known if each.parameters["config"]["runtime"]["root"] == str(root))
    assert states == {"Completed": 1, "Crashed": len(KILLS)}
    assert not [path for path in (root / ".partial").iterdir() if path.suffix != ".lock"]
