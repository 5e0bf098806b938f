"""A wrong name of a run is told before torch is imported, which takes longer than the search."""

import inspect
import subprocess
import sys
from pathlib import Path

from flows.commands import cli

COMMANDS = {
    "shard": ["wrong", "1"],
    "causal": ["wrong"],
    "export": ["wrong", "--to", "new"],
    "lineage": ["wrong"],
    "register": ["wrong"],
    "promote": ["wrong"],
    "compare": ["wrong", "other"],
    "neurons": ["wrong"],
    "chat": ["wrong"],
}
PROGRAM = """
import sys
sys.modules |= {"torch": None, "transformers": None}  # an import fails
from flows.commands.cli import _exit_code
from tasks.recording.mlflow_store import open_experiment, uri_beside
open_experiment(uri_beside(ROOT), "neurontune", ROOT)
for command, arguments in COMMANDS.items():
    sys.argv = ["neurontune", command, *arguments, "--set", f"runtime.root={ROOT}"]
    print(f"{command} ends with {_exit_code()}", file=sys.stderr)
"""


def test_every_command_refuses_a_wrong_run_before_torch_is_imported(tmp_path: Path) -> None:
    of_a_run = {
        command.__name__ for command in cli.COMMANDS if {"run", "runs"} & set(inspect.signature(command).parameters)
    }
    assert of_a_run - {"ability"} == set(COMMANDS), "ability first asks lm-evaluation-harness about its tasks"
    names = f"ROOT, COMMANDS = {str(tmp_path)!r}, {COMMANDS!r}\n"
    done = subprocess.run([sys.executable, "-c", names + PROGRAM], capture_output=True, text=True, cwd=tmp_path)
    said = done.stderr.splitlines()
    for command in COMMANDS:
        place = said.index(f"{command} ends with 2")
        assert "run: no run has the name or id 'wrong'" in said[place - 1], command
