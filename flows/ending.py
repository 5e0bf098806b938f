"""End a process that was asked to end and does not: it hangs, waits for ever, or the exception was swallowed."""

import os
import signal
import threading
import time

IDLE_SECONDS = 20.0
"""A process that has done next to nothing for so long since it was asked hangs."""
MOST_SECONDS = 120.0
"""What ending may take on a machine that is busy with other things."""
WORKING = 0.02
"""Share of one processor that a process uses which is still ending; what looks at it now and then uses less."""
INTERRUPTED = 130
_LINE = (
    b"neurontune: error: interrupted, and ended because it did not end; finished stages are kept and will be reused\n"
)

bounded = threading.Event()
"""Set by what ends within a time of its own, and must not be ended in the middle of it."""


def start() -> None:
    """Watch for requests to end, in a thread: the main one may hang where no handler of Python's is ever called."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reading,), name="ending", daemon=True).start()


def _watch(reading: int) -> None:
    asked = False
    while not asked:
        asked = os.read(reading, 1)[0] in (signal.SIGINT, signal.SIGTERM)
    asked_at = idle_since = time.monotonic()
    used = time.process_time()
    while (now := time.monotonic()) - asked_at < MOST_SECONDS and now - idle_since < IDLE_SECONDS:
        time.sleep(0.5)
        if time.process_time() - used > WORKING * IDLE_SECONDS:
            used, idle_since = time.process_time(), time.monotonic()
    command_over = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # in a process that goes on without it
    if not (bounded.is_set() or command_over):
        os.write(2, _LINE)
        os._exit(INTERRUPTED)
