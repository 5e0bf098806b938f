"""Flows that automations start after a run has failed or its process is gone: notify a person, resume the run."""

import logging
import time
from uuid import UUID

from prefect import flow
from prefect.blocks.core import Block
from prefect.blocks.notifications import NotificationBlock
from prefect.client.orchestration import get_client
from prefect.states import AwaitingRetry

from neurontune_core.errors import InputError

MOST_RUNS = 5
"""A run that has been started this often is not resumed again."""

SETTLE_SECONDS = 30
"""Delay before a crashed run is resumed. Its worker reports a crash twice, at once and after cleaning up, and the
second report would end a run that was resumed in between."""

logger = logging.getLogger("neurontune")


@flow(name="notify", flow_run_name="notify {flow_run_id}")
def notify(flow_run_id: UUID, block: str = "") -> str:
    """Send the reason why a run failed by a Prefect notification block, and write it to this run's log.

    Args:
        flow_run_id: The run that failed.
        block: Notification block, such as `slack-webhook/alerts`; empty: only the log.

    Returns:
        The message.

    Raises:
        InputError: the block is not a notification block.
    """
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(flow_run_id)
    state = run.state_name or "unknown state"
    text = f"{run.name} ended {state}: {(run.state.message if run.state else None) or 'no reason given'}"
    logger.warning(text)
    if block:
        sender = Block.load(block)
        if not isinstance(sender, NotificationBlock):
            raise InputError(f"block: {block} does not send notifications; give one such as slack-webhook/alerts")
        sender.notify(text, subject=f"NeuronTune: {run.name} {state}")  # type: ignore[unused-coroutine]
    return text


@flow(name="resume", flow_run_name="resume {flow_run_id}")
def resume(flow_run_id: UUID, silent: bool = False) -> bool:
    """Start a run again whose process or machine is gone; its finished stages are reused.

    Args:
        flow_run_id: The run. It is not started again if it has no deployment, has continued or ended meanwhile, or has
            been started too often.
        silent: Prefect shows the run as running, but its machine is gone and its heartbeats are missing.

    Returns:
        Whether the run was started again.
    """
    with get_client(sync_client=True) as client:
        seen = client.read_flow_run(flow_run_id)
        if not silent:
            time.sleep(SETTLE_SECONDS)
        run = client.read_flow_run(flow_run_id)
        state = run.state
        unchanged = state is not None and seen.state is not None and state.id == seen.state.id
        abandoned = unchanged and state is not None and (state.is_running() if silent else state.is_crashed())
        if run.deployment_id is None or not abandoned or run.run_count >= MOST_RUNS:
            logger.info("%s is not started again", run.name)
            return False
        client.set_flow_run_state(flow_run_id, AwaitingRetry(message="Its process was gone."), force=True)
    return True
