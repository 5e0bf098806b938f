"""What tests of commands on recorded runs share."""

import io
import json
import sys

import pytest

from flows.commands import cli
from neurontune_core.config import PipelineConfig


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config: PipelineConfig):
    """Return what calls the command line on the test's artifact root: arguments, input lines -> code, out, err."""

    def run(*arguments: str, lines: str = "") -> tuple[int, str, str]:
        root = f"runtime.root={json.dumps(config.runtime.root)}"
        monkeypatch.setattr(sys, "argv", ["neurontune", *arguments, "--set", root, "--set", "runtime.device=cpu"])
        monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
        code = cli._exit_code()
        return code, *capsys.readouterr()

    return run
