"""What automations start when a run goes wrong: tell somebody, or take an abandoned run up again."""

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
"""A run that was abandoned this often is left alone."""

SETTLE_SECONDS = 30
"""How long a crashed run is left to its worker, which reports a crash twice: at once, and when it has cleared up. The
second report would end a run that was resumed in between."""

logger = logging.getLogger("neurontune")


@flow(name="notify", flow_run_name="notify {flow_run_id}")
def notify(flow_run_id: UUID, block: str = "") -> str:
    """Say that a run has failed, with its reason, by a Prefect notification block and in this run's log.

    Args:
        flow_run_id: The run that failed.
        block: Notification block to send by, as `slack-webhook/alerts`; none: the log alone.

    Returns:
        What was said.

    Raises:
        InputError: the block is no notification block.
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
    """Start a run again whose process or machine is gone; what it had finished is reused.

    Args:
        flow_run_id: The abandoned run; one without a deployment, one that has gone on or ended otherwise meanwhile and
            one that was abandoned too often are left alone.
        silent: It is said to run, but its machine is gone with its worker: nothing has been heard from it.

    Returns:
        Whether it was started again.
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
            logger.info("%s is left alone", run.name)
            return False
        client.set_flow_run_state(flow_run_id, AwaitingRetry(message="Its process was gone."), force=True)
    return True
