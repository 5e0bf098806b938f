"""End a process that has run out of memory, because its threads would wait for threads that have died."""

import mmap
import threading
import time

from flows.services.ending import leave

BLOCK = 8 << 20
"""Bytes that must be available; a process that cannot allocate them is out of memory."""
SECONDS = 1.0
TRIES = 5
ENDING_SECONDS = 10.0
"""Seconds that a process may take to end after the line is printed."""
PROBLEM = (
    "out of memory; lower runtime.batch_tokens or runtime.memory_mib, take a smaller model, or give the process more; "
    "finished stages are kept and will be reused"
)
_told = threading.Event()
_LINE = f"neurontune: error: {PROBLEM}\n".encode()


def watch_memory() -> None:
    """Watch this process: end it with a line if it has no memory for some seconds, or if a thread died of that."""
    before = threading.excepthook

    def lost(arguments: threading.ExceptHookArgs) -> None:
        if issubclass(arguments.exc_type, MemoryError):
            leave(_LINE, 1)
        before(arguments)

    threading.excepthook = lost
    threading.Thread(target=_watch, name="memory watch", daemon=True).start()


def told() -> None:
    """Note that the line was printed; the process gets some seconds to end, since it may wait for dead threads."""
    _told.set()


def _watch() -> None:
    failed = 0
    while failed < TRIES and not _told.is_set():
        time.sleep(SECONDS)
        try:
            mmap.mmap(-1, BLOCK).close()
            failed = 0
        except (OSError, MemoryError):
            failed += 1
    if _told.is_set():
        time.sleep(ENDING_SECONDS)
        leave(b"", 1)
    # end at once: finished artifacts are safe, and cleaning up would need memory
    leave(_LINE, 1)
