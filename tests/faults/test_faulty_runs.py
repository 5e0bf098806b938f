"""The rows of the fault table that a flow meets in its own process."""

import shutil
from collections import Counter
from pathlib import Path

import pytest
from fault_table import IN_PROCESS, Fault
from faulty_run import digests, run_with_fault

from flows.pipeline import pipeline
from neurontune_core.config import PipelineConfig
from tasks.recording.mlflow_store import client_of, tracking_uri

_UNDISTURBED: dict[str, str] = {}


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize(
    "row",
    [pytest.param(row, id=row.point, marks=[] if row.quick else [pytest.mark.slow]) for row in IN_PROCESS],
)
def test_a_run_with_a_fault_and_the_next_make_what_an_undisturbed_run_makes(
    config: PipelineConfig, core_calls: Counter[str], tmp_path: Path, row: Fault
) -> None:
    if not _UNDISTURBED:
        apart = config.model_copy(
            update={"runtime": config.runtime.model_copy(update={"root": str(tmp_path / "undisturbed")})}
        )
        (tmp_path / "undisturbed").mkdir()
        shutil.copy(tmp_path / "root" / "mlflow.db", tmp_path / "undisturbed")
        pipeline(apart)
        _UNDISTURBED.update(digests(apart.runtime.root))
    assert run_with_fault(config, row.point) == _UNDISTURBED
    client = client_of(tracking_uri(config.runtime))
    open_runs = client.search_runs(["1"], "attributes.status = 'RUNNING'")
    assert not open_runs, "nothing stays RUNNING"
    left = [path for path in (tmp_path / "root" / ".partial").iterdir() if path.suffix != ".lock"]
    assert not left, "nothing half-made is left"
