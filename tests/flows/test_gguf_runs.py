"""The whole workflow from GGUF files: a tiny one, and the Qwen models that Python packages hold."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_gguf

from neurontune_core.errors import InputError
from neurontune_core.model.settings import ModelConfig
from neurontune_core.model.source import describe

pytestmark = pytest.mark.slow

SMALL = [
    "pairs.sources.shipped.limit=72", "pairs.response_tokens=4", "attribution.pairs_per_role=2", "attribution.shards=1",
    "evaluation.prompts_per_benchmark=1",
]  # fmt: skip


def neurontune(root: Path, *arguments: str, asked: str = "") -> str:
    """Run a command and return what it prints, after checking that it ended well."""
    program = [
        sys.executable,
        "-c",
        "from flows.commands.cli import main; main()",
        *arguments,
        "--set",
        f"runtime.root={root}",
    ]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(program, input=asked, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run(name: str, root: Path, formats: str) -> None:
    """Run, trace, talk to and export a model of which the settings ask almost nothing."""
    settings = [part for setting in SMALL for part in ("--set", setting)]
    neurontune(root, "run", name, "--preset", "tiny", *settings)
    (report,) = root.glob("report/*/report.html")
    assert f"weights dequantised from {formats}" in report.read_text(encoding="utf-8")
    assert json.loads(neurontune(root, "lineage", "latest", "--json"))["base"]["dequantised"] == formats
    assert "tuned [" in neurontune(root, "chat", "latest", asked="Hello\n")
    neurontune(root, "export", "latest", "--to", str(root / "out"))
    assert f"were dequantised from {formats}:" in (root / "out" / "README.md").read_text(encoding="utf-8")


def test_a_split_file_of_ones_own(tmp_path: Path) -> None:
    first = tiny_gguf.write(tmp_path / "mine.gguf", tiny_gguf.model("llama"), "Q8_0", parts=2)
    run(str(first), tmp_path / "root", "Q8_0")


@pytest.mark.parametrize(
    ("size", "layers", "formats"),
    [("0.5b", (4864,) * 24, "Q5_0, Q8_0, Q6_K and Q4_K"), ("1.5b", (8960,) * 28, "Q4_K and Q6_K")],
)
def test_packaged_qwen(tmp_path: Path, size: str, layers: tuple[int, ...], formats: str) -> None:
    name = f"packaged:qwen2.5-coder-{size}-instruct"
    try:
        reference = describe(ModelConfig(name=name))
    except InputError as missing:
        pytest.skip(str(missing))
    assert (reference.neurons_per_layer, reference.dequantised) == (layers, formats)
    run(name, tmp_path / "root", formats)
