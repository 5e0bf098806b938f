"""`chat` in the terminal: what it prints fits the terminal, and no word is broken."""

from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from flows.commands import chat
from neurontune_core.evaluation.judges import Verdict

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
