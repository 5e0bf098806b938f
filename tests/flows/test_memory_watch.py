"""A process without memory ends by itself, with a line."""

import subprocess
import sys

import pytest

START = """
import resource, threading, time
from flows import memory_watch
memory_watch.SECONDS = 0.1
memory_watch.start()
"""
FULL = """
resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
held = []
try:
    while True:
        held.append(bytearray(2**20))
except MemoryError:
    time.sleep(60)
"""
LOST = """
def lost():
    raise MemoryError
threading.Thread(target=lost).start()
time.sleep(60)
"""


@pytest.mark.parametrize("what", [FULL, LOST])
def test_a_process_without_memory_ends_with_a_line(what: str) -> None:
    ended = subprocess.run([sys.executable, "-c", START + what], capture_output=True, text=True, timeout=50)
    assert ended.returncode == 1
    assert ended.stderr.startswith("neurontune: error: out of memory; lower runtime.batch_tokens")
    assert ended.stderr.count("\n") == 1


def test_a_process_with_memory_is_left_alone() -> None:
    ended = subprocess.run([sys.executable, "-c", START + "time.sleep(2); print(3)"], capture_output=True, timeout=50)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"3\n", b"")
