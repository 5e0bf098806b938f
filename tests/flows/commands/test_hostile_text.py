"""Names, prompts and answers that would steer a terminal or a page, through the commands that show them."""

import ast
import io
import json
import logging
import re
import sys
from pathlib import Path

import pandas as pd
import pytest
from markdown_it import MarkdownIt
from recorded_runs import record_run
from rich.table import Table
from rich.tree import Tree

from flows.commands import cli
from flows.commands.console import SafeRecord, TextConsole, json_text
from neurontune_core.config import PipelineConfig
from neurontune_core.shown_text import markdown_table
from neurontune_core.studies.catalogue import Study
from neurontune_core.studies.page import render_page

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\rx"
STYLES = re.compile(r"\x1b\[[0-9;]*m")


def steers(text: str) -> bool:
    return any(not sign.isprintable() and sign != "\n" for sign in text)


COMMANDS = (
    ("compare", "{run}", "other", "--full", "--harmful"),
    ("compare", "{run}", "none{run}"),
    ("runs",),
    ("runs", "--json"),
    ("runs", "{run}"),
    ("runs", "--state", "{run}"),
    ("register", "{run}", "--name", "{run}"),
    ("register", "{run}", "--name", "m", "--alias", "{run}"),
    ("promote", "{run}", "--name", "no/{run}"),
    ("shard", "{run}", "1{run}"),
    ("ability", "{run}", "{run}"),
    ("chat", "{run}", "--attack", "{run}"),
    ("evaluate", "--model", "/no/{run}", "--benchmarks", "{run}"),
    ("evaluate", "--model", "random:llama", "--benchmarks", "shipped", "--to", "/no/{run}/x"),
    ("pairs", "--set", "pairs.harmful={run}"),
    ("plan", "--set", "{run}"),
    ("settings", "{run}"),
    ("settings", "--preset", "{run}"),
    ("sync", "--to", "{run}"),
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
    config: PipelineConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"a{HOSTILE}\nforged"
    record_run(config, name, seed=HOSTILE)
    record_run(config, "other", refused=("h0", "h1"), seed=HOSTILE)
    own = tmp_path / "own.toml"
    own.write_text(f"[runtime]\nexperiment = {json.dumps(HOSTILE)}\n")
    torn = []
    for command in (*COMMANDS, ("settings", "--preset", str(own)), ("settings", "--preset", str(own), "--json")):
        where = ["--set", f"runtime.root={json.dumps(config.runtime.root)}"]
        given = [part.format(run=name) for part in command]
        rootless = ("judge", "coverage", "evaluate", "settings", "{run}")
        monkeypatch.setattr(sys, "argv", ["neurontune", *given, *([] if command[0] in rootless else where)])
        cli._exit_code()
        out, err = capsys.readouterr()
        assert out + err, command
        assert not steers(out) and not steers(err), command
        # whole answers keep their lines
        if "--full" not in command and re.search(r"^[\s│├└─]*forged", out + err, flags=re.MULTILINE):
            torn.append((command, out, err))
    assert torn == []


def test_commands_print_by_what_spells_it_out() -> None:
    """A bare `print` shows whatever it is given."""
    rooms = Path(cli.__file__).parent, Path(cli.__file__).parents[1] / "services"
    for file in (file for room in rooms for file in room.glob("*.py") if file.name != "console.py"):
        calls = [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        bare = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in ("print", "Console")]
        assert not [ast.unparse(call) for call in bare if "printable(" not in ast.unparse(call)], file


def test_json_holds_it_as_json_escapes_it() -> None:
    value = [{"a": HOSTILE, "ü": "\ud800·"}]
    assert not steers(json_text(value)) and "·" in json_text(value) and json.loads(json_text(value)) == value


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
        markdown_table([{"variant": name, "n": "1"}]),
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
