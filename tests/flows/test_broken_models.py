"""A broken model folder on the command line: exit code 2 and one line, from `run` as from `coverage`."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, BloomConfig

from flows.commands import cli
from neurontune_core.model import tiny


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder as `save_pretrained` leaves it."""
    tiny.model("llama").save_pretrained(tmp_path / "m")
    tiny.tokenizer().save_pretrained(tmp_path / "m")
    return tmp_path / "m"


def ended(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run a command in this process; return its exit code and what it says of errors."""
    monkeypatch.setattr(sys, "argv", ["neurontune", *arguments])
    capsys.readouterr()
    code = cli._exit_code()
    return code, capsys.readouterr().err


@pytest.mark.parametrize("damage", ["pointer", "quantised", "sizes"])
def test_coverage_of_a_broken_folder_ends_with_two_and_a_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    config = folder / "config.json"
    settings = json.loads(config.read_text())
    if damage == "pointer":
        (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    elif damage == "quantised":
        config.write_text(json.dumps(settings | {"quantization_config": {"quant_method": "awq"}}))
    else:
        config.write_text(json.dumps(settings | {"num_hidden_layers": 10**9}))
    word = {"pointer": "git lfs pull", "quantised": "(awq)", "sizes": "num_hidden_layers is 1000000000"}[damage]
    code, told = ended(monkeypatch, capsys, "coverage", str(folder))
    assert code == 2 and word in told and len(told.splitlines()) == 1


@pytest.mark.parametrize("command", ["coverage", "plan", "run"])
@pytest.mark.parametrize(
    "settings",
    [{"quant_method": "gptq", "bits": 4, "group_size": 128}, {"quant_method": "awq", "bits": 4, "version": "gemm"},
     {"quant_method": "bitsandbytes", "load_in_4bit": True}, {"load_in_8bit": True}],
    ids=lambda settings: next(iter(settings.items()))[1],
)  # fmt: skip
def test_a_quantised_folder_is_told_before_its_weights_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, settings: Any
) -> None:
    tiny.configuration("llama").save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"quantization_config": settings}))
    more = [] if command == "coverage" else ["--set", f"runtime.root={tmp_path / 'root'}"]
    code, told = ended(monkeypatch, capsys, command, str(tmp_path), *more)
    assert code == 2 and len(told.splitlines()) == 1
    assert f"quantised ({settings.get('quant_method', 'bitsandbytes')})" in told
    assert "use the unquantised model" in told and "model.quantization=int4" in told


@pytest.mark.slow
def test_a_run_with_a_broken_folder_ends_with_two_and_a_line(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    root = tmp_path / "root"
    settings = ["--set", f"model.name={folder}", "--set", f"runtime.root={root}"]
    command = [
        sys.executable,
        "-c",
        "from flows.commands.cli import main; main()",
        "run",
        "--preset",
        "tiny",
        *settings,
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "model.safetensors: is a Git LFS pointer" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr and not list(root.rglob("manifest.json"))


def test_coverage_of_a_good_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(monkeypatch, capsys, "coverage", str(folder)) == (0, "")


@pytest.mark.parametrize("command", ["coverage", "plan", "run"])
def test_attention_that_cannot_be_followed_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Bloom's attention does not go through transformers' interface."""
    model = tmp_path / "model"
    config = BloomConfig(vocab_size=264, hidden_size=32, n_layer=2, n_head=4, pad_token_id=256)
    AutoModelForCausalLM.from_config(config).save_pretrained(model)
    tiny.tokenizer().save_pretrained(model)
    more = [] if command == "coverage" else ["--set", f"runtime.root={tmp_path / 'root'}"]
    code, told = ended(monkeypatch, capsys, command, str(model), *more)
    assert code == 2 and len(told.splitlines()) == 1
    assert "BloomForCausalLM cannot be run with a shared prefix" in told and "attribution.method=gradient" in told
