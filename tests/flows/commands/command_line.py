"""Calls the command line in this process."""

import signal
import sys

import pytest

from flows.commands import cli


def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run a command in this process; return exit code, standard output and standard error."""
    monkeypatch.setattr(sys, "argv", ["neurontune", *arguments])
    monkeypatch.setattr(cli.ending, "tell_if_lost", lambda: None)  # a fork of the tests would outlive the command
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with pytest.raises(SystemExit) as ended:
        cli.main()
    for number, handler in before.items():
        signal.signal(number, handler)
    signal.set_wakeup_fd(-1)
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err
