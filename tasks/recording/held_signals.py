"""Signals that ask the process to end wait until a call of MLflow's database is complete.

Their handlers raise an exception. Raised inside SQLAlchemy, it can leave the database locked by this process, so that
the run stays RUNNING, or become another exception, so that the run goes on.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

HELD = (signal.SIGALRM, signal.SIGTERM, signal.SIGINT)
"""Prefect's time limit of a stage, the end asked for by a worker or a system, and Ctrl-C."""


@contextmanager
def signals_held(uri: str) -> Iterator[None]:
    """Run the handlers of signals after the code inside, if `uri` is that of a database; a second signal never waits.

    A call of an MLflow server can be interrupted anywhere, and must be, because a server may not answer.
    """
    if uri.startswith("http") or threading.current_thread() is not threading.main_thread():
        yield  # Python runs handlers in the main thread only
        return
    before = {number: handler for number in HELD if callable(handler := signal.getsignal(number))}
    waiting: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        if not waiting:
            waiting.append(number)
            return
        waiting.clear()
        before[signal.Signals(number)](number, frame)

    try:
        for held in before:
            signal.signal(held, hold)
        yield
    finally:
        for held, handler in before.items():
            signal.signal(held, handler)
        for number in waiting:
            before[signal.Signals(number)](number, None)
