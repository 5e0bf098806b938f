"""End a process that was asked to end and does not, and tell where one ended without a word.

It hangs, waits for ever, or the exception was swallowed; or a fault of the memory or the system has killed it.
"""

import os
import signal
import sys
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
_LOST = (
    b"neurontune: error: killed from outside, or by a fault, mostly for want of memory (ulimit -v, a cgroup, the "
    b"system's own killer); give the process more or take a smaller model; "
    b"finished stages are kept and will be reused\n"
)
_well: list[int] = []
"""Where the process that waits for the end of this one is told that its end has been reported."""

bounded = threading.Event()
"""Set by what ends within a time of its own, and must not be ended in the middle of it."""


def tell_if_lost() -> None:
    """Have a process wait for the end of this one, which prints a line if `reported` was not called before.

    To be called before any thread is started: the process is a fork of this one.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork():
        os.close(reading)
        _well.append(writing)
        return
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for unused in (writing, 0, 1):
        os.close(unused)
    if not os.read(reading, 1):
        os.write(2, _LOST)
    os._exit(0)


def reported() -> None:
    """Note that what is to be said of this process' end has been said."""
    if _well:
        os.write(_well[0], b".")


def leave(line: bytes, code: int) -> None:
    """End this process at once, with a line."""
    os.write(2, line)
    reported()
    os._exit(code)


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
        leave(_LINE, INTERRUPTED)
