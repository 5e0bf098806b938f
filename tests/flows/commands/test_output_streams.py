"""What the commands do with the output: signs that it cannot show, streams that are closed, and warnings."""

import io
import json
import os
import subprocess
import sys

import pytest

from flows.commands import cli
from flows.commands.console import json_text

LIBRARY_WARNINGS = """
import warnings
from flows.commands.console import show_own_lines
show_own_lines()
import mlflow, prefect, torch, transformers
warnings.warn("changes in version 6", FutureWarning)
warnings.warn("this file is odd")
"""


def test_the_terminal_does_not_show_what_libraries_will_change() -> None:
    done = subprocess.run([sys.executable, "-c", LIBRARY_WARNINGS], capture_output=True, text=True, check=True)
    assert "this file is odd" in done.stderr
    assert "FutureWarning" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_signs_that_the_output_cannot_show_end_no_command(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    shown = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", shown)
    cli._ready_streams()
    name = "llama \u00b7 k=5 \u6f22"
    print(name)
    print(json_text(name))
    shown.seek(0)
    plain, as_json = shown.read().splitlines()
    assert plain == name.encode(encoding, errors="replace").decode(encoding)
    assert json.loads(as_json) == name


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no device that is always full")
@pytest.mark.parametrize("arguments", [["presets"], ["settings", "--json"], ["--help"]], ids=" ".join)
def test_a_full_disk_below_the_output_is_one_line(arguments: list[str]) -> None:
    program = "import sys; from flows.commands.cli import main; main()"
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-c", program, *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "neurontune: error: the output or a file: No space left on device: make room there\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_end_no_command(closed: str) -> None:
    program = "import sys; from flows.commands.cli import main; main()"
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", program, "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("neurontune ") == (">&-" not in closed.split())
