"""End a process that has run out of memory, where its threads would wait for ever for those that died of it."""

import mmap
import os
import threading
import time

BLOCK = 8 << 20
"""Bytes without which nothing goes on."""
SECONDS = 1.0
TRIES = 5
PROBLEM = (
    "out of memory; lower runtime.batch_tokens or runtime.memory_mib, take a smaller model, or give the process more; "
    "finished stages are kept and will be reused"
)
_LINE = f"neurontune: error: {PROBLEM}\n".encode()


def start() -> None:
    """Watch this process until it ends: at no memory for some seconds, or a thread lost to it, it ends with a line."""
    before = threading.excepthook

    def lost(arguments: threading.ExceptHookArgs) -> None:
        if issubclass(arguments.exc_type, MemoryError):
            _end()
        before(arguments)

    threading.excepthook = lost
    threading.Thread(target=_watch, name="memory watch", daemon=True).start()


def _watch() -> None:
    failed = 0
    while failed < TRIES:
        time.sleep(SECONDS)
        try:
            mmap.mmap(-1, BLOCK).close()
            failed = 0
        except (OSError, MemoryError):
            failed += 1
    _end()


def _end() -> None:
    # what was made before is safe, and nothing that needs memory would be carried out
    os.write(2, _LINE)
    os._exit(1)
