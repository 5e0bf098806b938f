"""What tests of whole runs of the pipeline share."""

from pathlib import Path
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from test_document_links import broken

from neurontune_core.config import PipelineConfig
from neurontune_core.records import Artifact

ALL_ONCE = {"pairs": 1, "attribution": 3, "cards": 1, "scaling": 1, "base": 1, "tuned": 1, "evaluation": 1}
"""The calls of the core (`core_calls`) in a run that reuses nothing."""


def changed(config: PipelineConfig, section: str, **values: Any) -> PipelineConfig:
    return config.model_copy(update={section: getattr(config, section).model_copy(update=values)})


def folder(artifact: Artifact) -> Path:
    return Path(artifact.uri.removeprefix("file://"))


def page_of(study: Path) -> str:
    """Return the page in the folder of a study; it shows the drawing, and every file that it links to is there."""
    page = study / "page.md"
    assert broken(page) == []
    text = page.read_text(encoding="utf-8")
    assert "](plot.svg)" in text
    return text


def newest_run() -> FlowRun:
    with get_client(sync_client=True) as client:
        (run,) = client.read_flow_runs(sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=1)
    return run
