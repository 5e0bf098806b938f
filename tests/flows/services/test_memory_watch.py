"""A process without memory ends by itself, with a line."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

START = """
import resource, threading, time
from flows.services import memory_watch
memory_watch.SECONDS = 0.1
memory_watch.watch_memory()
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
TOLD = """
import sys
print("neurontune: error: out of memory; lower runtime.batch_tokens", file=sys.stderr)
memory_watch.ENDING_SECONDS = 0.5
memory_watch.told()
threading.Thread(target=time.sleep, args=(60,)).start()
"""


@pytest.mark.parametrize("what", [FULL, LOST, TOLD])
def test_a_process_without_memory_ends_with_a_line(what: str) -> None:
    ended = subprocess.run([sys.executable, "-c", START + what], capture_output=True, text=True, timeout=50)
    assert ended.returncode == 1
    assert ended.stderr.startswith("neurontune: error: out of memory; lower runtime.batch_tokens")
    assert ended.stderr.count("\n") == 1


def test_a_process_with_memory_is_left_alone() -> None:
    ended = subprocess.run([sys.executable, "-c", START + "time.sleep(2); print(3)"], capture_output=True, timeout=50)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"3\n", b"")


@pytest.mark.parametrize("kib", [2_000_000, 4_000_000, 6_000_000])
def test_a_run_under_a_low_limit_ends_with_a_line_and_writes_nothing(kib: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from flows.commands.cli import main; main()", "run", "--preset", "tiny"]
    command += ["--set", f"runtime.root='{tmp_path}/root'"]
    limit = (kib << 10, kib << 10)
    ended = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=100,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit),
    )
    assert ended.returncode == 2 and ended.stdout == ""
    assert ended.stderr.startswith(f"neurontune: error: the limit of address space (ulimit -v) is {kib} KiB")
    assert ended.stderr.count("\n") == 1 and list(tmp_path.iterdir()) == []
