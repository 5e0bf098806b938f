"""End a process that does not end after SIGINT or SIGTERM, and print a line if it was killed without a message.

A process may not end because it hangs, or because a library swallowed the exception. It may be killed because memory is
short, or by a crash.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

IDLE_SECONDS = 20.0
"""Seconds with almost no processor time after the request to end, after which a process counts as hanging."""
MOST_SECONDS = 120.0
"""The most seconds that ending may take on a busy machine."""
WORKING = 0.02
"""Share of one processor above which a process counts as still ending; background threads alone use less."""
INTERRUPTED = 130
_LINE = (
    b"neurontune: error: interrupted, and stopped by force because it did not end in time; finished stages are kept "
    b"and will be reused\n"
)
_LOST = (
    b"neurontune: error: killed from outside, or by a fault, mostly for want of memory (ulimit -v, a cgroup, the "
    b"system's own killer); give the process more or take a smaller model; "
    b"finished stages are kept and will be reused\n"
)
_well: list[int] = []
"""Pipe to the waiting process; a byte means that this process has reported its own end."""

_asking = {signal.SIGINT, signal.SIGTERM}
"""The signals that ask this process to end."""

bounded = threading.Event()
"""Set by code that ends within a time limit of its own and must not be interrupted, such as stopping services."""


def tell_if_lost() -> None:
    """Fork a process that waits for the end of this one, and prints a line if `reported` was not called before.

    Call it before any thread is started, because of the fork.
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
    """Note that this process has printed why it ends."""
    if _well:
        os.write(_well[0], b".")


def leave(line: bytes, code: int) -> None:
    """End this process at once, with a line."""
    os.write(2, line)
    reported()
    os._exit(code)


@contextmanager
def sigint_only_raises() -> Iterator[None]:
    """Inside this context SIGINT (Ctrl-C) raises KeyboardInterrupt, and the process goes on; SIGTERM still ends it."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    _asking.discard(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        _asking.add(signal.SIGINT)


def watch_signals() -> None:
    """Watch for signals to end, in a thread: the main thread may hang in a call where Python runs no handler."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reading,), name="ending", daemon=True).start()


def _watch(reading: int) -> None:
    asked = False
    while not asked:
        asked = os.read(reading, 1)[0] in _asking
    asked_at = idle_since = time.monotonic()
    used = time.process_time()
    while (now := time.monotonic()) - asked_at < MOST_SECONDS and now - idle_since < IDLE_SECONDS:
        time.sleep(0.5)
        if time.process_time() - used > WORKING * IDLE_SECONDS:
            used, idle_since = time.process_time(), time.monotonic()
    command_over = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # in a process that goes on without it
    if not (bounded.is_set() or command_over):
        leave(_LINE, INTERRUPTED)
