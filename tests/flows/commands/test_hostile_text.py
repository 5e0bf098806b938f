"""Names, prompts and answers that would steer a terminal or a page, through the commands that show them."""

import io
import json
import logging
import re
import sys

import pandas as pd
import pytest
from markdown_it import MarkdownIt
from recorded_runs import record_run
from rich.table import Table
from rich.tree import Tree

from flows.commands import cli
from flows.commands.console import SafeRecord, TextConsole
from neurontune_core.causal.page import markdown
from neurontune_core.config import PipelineConfig
from neurontune_core.studies.catalogue import Study
from neurontune_core.studies.page import render_page

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\rx"
STYLES = re.compile(r"\x1b\[[0-9;]*m")


def steers(text: str) -> bool:
    return any(not sign.isprintable() and sign != "\n" for sign in text)


COMMANDS = (
    ("compare", "{run}", "other", "--full", "--harmful"),
    ("compare", "{run}", "none{run}"),
    ("lineage", "{run}"),
    ("lineage", "--dataset", "{run}"),
    ("neurons", "{run}", "--harmful"),
    ("causal", "{run}", "--set", "causal.{run}=1"),
    ("export", "{run}", "--to", "/no/{run}"),
    ("judge", "/no/{run}"),
    ("coverage", "/no/{run}"),
    ("run", "--set", "model.name={run}"),
    ("run", "--preset", "{run}"),
    ("study", "{run}"),
    ("{run}",),
)


def test_no_command_sends_it_raw(
    config: PipelineConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"a{HOSTILE}"
    record_run(config, name, seed=HOSTILE)
    record_run(config, "other", refused=("h0", "h1"), seed=HOSTILE)
    for command in COMMANDS:
        where = ["--set", f"runtime.root={json.dumps(config.runtime.root)}"]
        given = [part.format(run=name) for part in command]
        monkeypatch.setattr(
            sys, "argv", ["neurontune", *given, *([] if command[0] in ("judge", "coverage", "{run}") else where)]
        )
        cli._exit_code()
        out, err = capsys.readouterr()
        assert out + err, command
        assert not steers(out) and not steers(err), command


def test_a_terminal_gets_no_sequence_but_the_consoles_own() -> None:
    shown = io.StringIO()
    console = TextConsole(file=shown, force_terminal=True, color_system="standard")
    table = Table(HOSTILE, title=HOSTILE)
    table.add_row(HOSTILE)
    tree = Tree(HOSTILE)
    tree.add(HOSTILE)
    for each in (HOSTILE, table, tree, f"[bold]{HOSTILE}[/bold] :smile:"):
        console.print(each)
    assert not steers(STYLES.sub("", shown.getvalue()))
    assert "[bold]" in shown.getvalue() and ":smile:" in shown.getvalue()


def test_a_line_of_the_log_has_it_spelled_out() -> None:
    record = SafeRecord("neurontune", logging.INFO, "", 0, "warning: %s", (HOSTILE,), None)
    assert not steers(record.getMessage())


def test_a_page_of_a_study_shows_it_as_text() -> None:
    name = f"<img src=x> | [a](javascript:b) {HOSTILE}\n```\n# b"
    page = render_page(
        Study("Own variants", "How?", {name: ()}),
        markdown([{"variant": name, "n": "1"}]),
        f"run '{name}'",
        {name: name},
    )
    tokens = MarkdownIt("gfm-like", {"html": True, "linkify": False}).parse(page)
    kinds = {part.type for token in tokens if token.type == "inline" for part in token.children or []}
    assert kinds <= {"text", "text_special", "softbreak"}
    assert [token.type for token in tokens].count("fence") == 2 and not [t for t in tokens if t.type == "html_block"]
    assert next(token.content for token in tokens if token.type == "inline") == "Own variants"
    assert not steers(page)
    assert pd.Series([page]).str.contains("javascript").all(), "it is shown, though"
