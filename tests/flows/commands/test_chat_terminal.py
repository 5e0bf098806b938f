"""`chat` in the terminal: what it prints fits the terminal, and no word is broken."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from rich.console import Console

from flows.commands import chat
from neurontune_core.evaluation.judges import Verdict

CHAT = """
import sys, time
from types import SimpleNamespace
from flows.commands import chat, cli
from flows.services import ending
from tasks.recording import runs

def answers(message):
    while True:
        yield "an answer", "another"
        time.sleep(0.01)

session = SimpleNamespace(answers=answers, strength=1.0, set_attack=lambda name: None)
chat.open_session = lambda run, runtime: ("run", session)
runs.find_run = lambda *given, **named: None
ending.IDLE_SECONDS, ending.MOST_SECONDS = 0.5, 1
sys.argv = ["neurontune", "chat", "run", "--set", f"runtime.root={sys.argv[1]}"]
cli.main()
"""
ANSWERS = ("Blue is a colour. " * 6, "Green is another colour. " * 6)


def shown(width: int) -> list[str]:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    session: Any = SimpleNamespace(strength=1.0)
    console.print(chat._beside(session, ANSWERS, (Verdict("a", "compliance"), Verdict("a", "refusal")), width))
    return console.export_text().splitlines()


@pytest.mark.parametrize("width", [40, 60, 120])
def test_answers_use_the_width_of_the_terminal(width: int) -> None:
    lines = [line.rstrip() for line in shown(width)]
    titles = [line for line in lines if " base " in line or " tuned, strength 1 " in line]
    assert max(map(len, lines)) <= width
    assert len(titles) == (2 if width < chat.BESIDE else 1), "side by side, or one below the other"
    assert min(len(line) for line in titles) >= width - 2


@pytest.mark.parametrize("columns", [40, 60, 120])
def test_the_list_of_commands_breaks_no_word(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    session: Any = None
    text = chat.obey(session, "/help")
    assert text.split() == chat.HELP.split()
    assert max(map(len, text.splitlines())) <= columns
    explained = [line for line in text.splitlines() if line.startswith("/")]
    assert all(line[: chat.EXPLAINED - 1].split() and line[chat.EXPLAINED - 1] == " " for line in explained)


class Terminal:
    """A chat in a terminal of its own, with a model that answers until it is stopped."""

    def __init__(self, root: Path) -> None:
        self.controller, terminal = pty.openpty()
        command = [sys.executable, "-c", CHAT, str(root)]
        self.process = subprocess.Popen(
            command, stdin=terminal, stdout=terminal, stderr=terminal, env=os.environ | {"TERM": "xterm"}
        )
        os.close(terminal)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self.controller, f"{text}\n".encode())

    def until(self, text: str) -> None:
        """Read up to a text that has not been read before."""
        while text not in self.seen:
            assert select.select([self.controller], [], [], 300)[0], f"{text!r} does not come: {self.seen}"
            self.seen += os.read(self.controller, 4096).decode(errors="replace")
        self.seen = self.seen.partition(text)[2]

    def until_prompt(self) -> None:
        """Read up to the next prompt, and wait until it is waited at: `input` misses a signal that comes earlier."""
        self.until("> ")
        while psutil.Process(self.process.pid).status() != psutil.STATUS_SLEEPING:
            time.sleep(0.01)

    def ended(self) -> int:
        """Read to the end of the process, and return its exit code."""
        try:
            while part := os.read(self.controller, 4096):
                self.seen += part.decode(errors="replace")
        except OSError:  # the process has closed the terminal
            pass
        return self.process.wait()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(tmp_path)
    yield made
    if made.process.poll() is None:
        made.process.kill()
        made.process.wait()
    os.close(made.controller)


def test_ctrl_c_stops_an_answer_or_drops_a_line_and_the_chat_goes_on(terminal: Terminal) -> None:
    terminal.until_prompt()
    terminal.process.send_signal(signal.SIGINT)
    terminal.until("> ")
    terminal.type("Hello")
    terminal.until("another")
    terminal.process.send_signal(signal.SIGINT)
    terminal.until("(stopped)")
    time.sleep(2)  # longer than a process that was asked to end is given
    terminal.type("/tokens")
    terminal.until("tokens 200")
    terminal.type("/quit")
    assert terminal.ended() == 0 and "interrupted" not in terminal.seen


@pytest.mark.parametrize("answering", [False, True], ids=["at the prompt", "during an answer"])
def test_sigterm_ends_a_chat(terminal: Terminal, answering: bool) -> None:
    terminal.until_prompt()
    if answering:
        terminal.type("Hello")
        terminal.until("another")
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.ended() == 130 and "interrupted; finished stages are kept" in terminal.seen
