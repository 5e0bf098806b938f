"""The promotion flow waits for a person's form, and refuses without one that agrees."""

import asyncio
import threading
from typing import Any

import pytest
from recorded_runs import record_run

from flows.promotion import promotion
from neurontune_core.config import PipelineConfig
from neurontune_core.errors import InputError
from tasks.recording.mlflow_store import client_of, tracking_uri


async def answer_form(form: dict[str, Any]) -> None:
    """Resume the first flow run that waits, as the button in the UI does."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter

    waiting = FlowRunFilter.model_validate({"state": {"type": {"any_": ["PAUSED"]}}})
    async with get_client() as client:
        for _ in range(240):
            if runs := await client.read_flow_runs(flow_run_filter=waiting):
                await client.resume_flow_run(runs[0].id, run_input=form)
                return
            await asyncio.sleep(0.5)
    raise AssertionError("no flow run waited for a person within two minutes")


def promote_with(config: PipelineConfig, run: str, form: dict[str, Any]) -> Any:
    person = threading.Thread(target=lambda: asyncio.run(answer_form(form)), daemon=True)
    person.start()
    try:
        return promotion(run, "safe", (f"runtime.root='{config.runtime.root}'",), wait_seconds=240)
    finally:
        person.join(timeout=10)


@pytest.mark.services
@pytest.mark.usefixtures("prefect_server")
def test_a_person_decides(config: PipelineConfig) -> None:
    record_run(config, "good", ("h0", "h1", "h2", "h3"))
    record_run(config, "weak", ("h0",))
    with pytest.raises(InputError, match="was not approved"):
        promote_with(config, "good", {"approve": False, "approved_by": "Ada", "override_reason": ""})
    made = promote_with(config, "good", {"approve": True, "approved_by": "Ada", "override_reason": ""})
    version = client_of(tracking_uri(config.runtime)).get_model_version_by_alias("safe", "champion")
    assert str(version.version) == made["version"] and version.tags["approved_by"] == "Ada"
    with pytest.raises(InputError, match="below the champion's"):
        promote_with(config, "weak", {"approve": True, "approved_by": "Ada", "override_reason": ""})
