"""A process that was asked to end ends, whatever hangs in it."""

import signal
import subprocess
import sys
import time

import pytest

START = """
import ctypes, signal, sys, threading, time
from flows.commands import cli
from flows.services import ending
ending.IDLE_SECONDS, ending.MOST_SECONDS = 1.5, 5
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, cli._interrupt)
ending.watch_signals()
print("ready", flush=True)
"""
IN_NATIVE_CODE = """
lock = ctypes.create_string_buffer(128)
for _ in range(2):  # the second time it waits for itself, whatever signal comes
    ctypes.CDLL(None).pthread_mutex_lock(lock)
"""
WAITS_FOR_EVER = """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(1) as pool:
    pool.submit(threading.Event().wait).result()
"""
SWALLOWS = """
while True:
    try:
        time.sleep(1)
    except KeyboardInterrupt:
        pass
"""
GOES_ON = """
while True:
    try:
        sum(range(1000))
    except KeyboardInterrupt:
        pass
"""


def asked_to_end(what: str, number: int) -> "tuple[subprocess.Popen[str], str, float]":
    process = subprocess.Popen(
        [sys.executable, "-c", START + what], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    time.sleep(0.5)
    started = time.monotonic()
    process.send_signal(number)
    _, said = process.communicate(timeout=50)
    return process, said, time.monotonic() - started


@pytest.mark.parametrize(
    ("what", "number"),
    [
        (IN_NATIVE_CODE, signal.SIGINT),
        (WAITS_FOR_EVER, signal.SIGTERM),
        (SWALLOWS, signal.SIGINT),
        (GOES_ON, signal.SIGTERM),
    ],
    ids=["in native code", "waits for ever", "swallows the interrupt", "goes on"],
)
def test_a_process_that_does_not_end_is_ended_with_a_line(what: str, number: int) -> None:
    process, said, _ = asked_to_end(what, number)
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith(
        "neurontune: error: interrupted, and stopped by force because it did not end in time"
    )


def test_a_process_that_is_busy_ending_is_given_its_time() -> None:
    busy = """
try:
    time.sleep(50)
except KeyboardInterrupt:
    until = time.monotonic() + 3
    while time.monotonic() < until:
        sum(range(1000))
    sys.exit(7)
"""
    process, said, seconds = asked_to_end(busy, signal.SIGTERM)
    assert (process.returncode, said) == (7, "") and seconds >= 3


def test_what_ends_within_a_time_of_its_own_is_left_alone() -> None:
    stopping = """
try:
    time.sleep(50)
except KeyboardInterrupt:
    ending.bounded.set()
    time.sleep(3)
    sys.exit(7)
"""
    process, said, _ = asked_to_end(stopping, signal.SIGTERM)
    assert (process.returncode, said) == (7, "")


LOST = """
import os, signal, subprocess, sys
from flows.services import ending
ending.tell_if_lost()
"""
ENDS = {
    "a segmentation fault": ("os.kill(os.getpid(), signal.SIGSEGV)", -signal.SIGSEGV, True),
    "the system's killer": ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, True),
    "with a child": ("subprocess.Popen(['sleep', '3'], stderr=-3); os.kill(os.getpid(), 9)", -signal.SIGKILL, True),
    "reported": ("ending.reported(); sys.exit(2)", 2, False),
    "reported, then killed": ("ending.reported(); os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, False),
    "with a line of its own": ("ending.leave(b'', 1)", 1, False),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_process_that_was_killed_is_told_in_one_line(how: str) -> None:
    what, code, told = ENDS[how]
    began = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", LOST + what], capture_output=True, text=True, timeout=50)
    assert ended.returncode == code
    assert ended.stderr.startswith("neurontune: error: killed from outside, or by a fault") is told
    assert ended.stderr.count("\n") == told and ended.stdout == ""
    assert time.monotonic() - began < 20


def test_an_exit_from_within_a_command_is_no_fault() -> None:
    command = "import sys; from flows.commands import cli; cli.app = lambda **_: sys.exit(130); cli.main()"
    ended = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, timeout=50)
    assert (ended.returncode, ended.stderr) == (130, "")


IN_A_CALLBACK = """
import os, signal, sys, weakref
from flows.commands import cli
from tasks import progress

class Shard: ...

def work(**_):
    shard = Shard()
    reference = weakref.ref(shard, lambda _: os.kill(os.getpid(), signal.SIGINT))
    del shard  # the signal arrives in the callback, where Python swallows the interrupt
    assert reference() is None
    reference = weakref.ref(again := Shard(), lambda _: 1 / 0)
    del again
    progress.check()

cli.app = work
cli.main()
"""


def test_an_interrupt_in_a_callback_ends_the_command_with_its_line_alone() -> None:
    ended = subprocess.run([sys.executable, "-c", IN_A_CALLBACK], capture_output=True, text=True, timeout=50)
    assert ended.returncode == 130
    assert "KeyboardInterrupt" not in ended.stderr
    assert "ZeroDivisionError: division by zero" in ended.stderr, "other exceptions are still shown"
    assert ended.stderr.splitlines()[-1].startswith("neurontune: error: interrupted; finished stages are kept")
