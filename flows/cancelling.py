"""Carry out a cancellation from the UI without a worker: a run from a shell has none, or the worker was killed."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context

import httpx
import prefect.runtime
from prefect.client.orchestration import get_client
from prefect.exceptions import Abort
from prefect.states import Cancelled

LOOK_SECONDS = 2.5

logger = logging.getLogger("neurontune")


@contextmanager
def cancellable() -> Iterator[None]:
    """End the code inside, as SIGTERM does, when this flow run is cancelled in the UI.

    Raises:
        Abort: the flow run was cancelled; its state is set already.
    """
    over, cancelled = threading.Event(), threading.Event()
    arguments = (_watch, str(prefect.runtime.flow_run.id), over, cancelled)
    threading.Thread(target=copy_context().run, args=arguments, daemon=True).start()
    try:
        yield
    except BaseException as error:
        if cancelled.is_set():
            raise Abort("cancelled in the UI") from error
        raise
    finally:
        over.set()


def _watch(run: str, over: threading.Event, cancelled: threading.Event) -> None:
    """Poll the flow run's state; act only on the second poll that sees it cancelling: a worker may act before."""
    seen = 0
    while not over.wait(LOOK_SECONDS):
        try:
            with get_client(sync_client=True) as client:
                state = client.read_flow_run(run).state  # type: ignore[arg-type]
                seen = seen + 1 if state is not None and state.is_cancelling() else 0
                if seen < 2 or over.is_set():
                    continue
                client.set_flow_run_state(run, Cancelled(message="Cancelled by the run itself."), force=True)
        except httpx.HTTPError as error:  # a server that does not answer is asked again at the next poll
            logger.debug("the state of this run is not known: %s", error)
            continue
        cancelled.set()
        os.kill(os.getpid(), signal.SIGTERM)
        return
