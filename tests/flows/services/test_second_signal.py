"""A second signal while `neurontune up` stops its services must leave none of them running."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

SLOW_TO_END = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: (time.sleep(2), exit())); time.sleep(600)"
UP = f"""
import signal, sys, time
from pathlib import Path
from flows.commands import cli
from flows.services import ending, up
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, cli._interrupt)
ending.watch_signals()
with up._running(Path(sys.argv[1])) as start:
    print(*[start(name, [sys.executable, "-c", {SLOW_TO_END!r}], {{}}).process.pid for name in ("mlflow", "worker")])
    time.sleep(1)
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_leaves_no_service_running(tmp_path: Path, second: int) -> None:
    up = subprocess.Popen([sys.executable, "-c", UP, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert up.stdout is not None
    pids = [int(pid) for pid in up.stdout.readline().split()]
    assert up.stdout.readline() == "ready\n" and all(map(psutil.pid_exists, pids))
    up.send_signal(signal.SIGINT)
    time.sleep(0.7)
    up.send_signal(second)
    up.wait(timeout=60)
    assert not any(map(psutil.pid_exists, pids))
