"""Whole runs of models with experts: pairs to report, and the exported folder gives the tuned model's logits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from neurontune_core.model import tiny
from neurontune_core.neurons import modulated
from neurontune_core.tables import load_scaling

pytestmark = pytest.mark.slow


def model_folder(family: str, folder: Path) -> None:
    """A random model of four layers, with the tokenizer and the chat template of the tiny ones."""
    config = tiny.configuration(family)
    config.num_hidden_layers = 4
    if hasattr(config, "layer_types") and config.layer_types:
        config.layer_types = [*config.layer_types, *config.layer_types]
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)


def command(root: Path, *arguments: str) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    environ |= {"HOME": str(root.parent), "NEURONTUNE_ROOT": str(root)}
    line = [sys.executable, "-c", "from flows.commands.cli import main; main()", *arguments]
    done = subprocess.run(line, env=environ, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("family", ["qwen3_moe", "olmoe"])
def test_a_run_of_a_model_with_experts(tmp_path: Path, family: str) -> None:
    model_folder(family, tmp_path / "model")
    root = tmp_path / "root"
    command(root, "run", str(tmp_path / "model"), "--preset", "tiny", "--set", "runtime.device=cpu")
    command(root, "export", "latest", "--to", str(tmp_path / "tuned"), "--set", f"runtime.root={root}")
    (selection,), (factors,), (report,) = (
        list((root / stage).iterdir()) for stage in ("selection", "scaling", "report")
    )
    facts = json.loads((selection / "manifest.json").read_text())["facts"]
    assert facts["safety_experts"] >= 1 and facts["utility_experts"] >= 1
    page = next(report.rglob("*.html")).read_text()
    assert "expert " in page and "last token is routed to the expert" in page
    base, tuned = (AutoModelForCausalLM.from_pretrained(tmp_path / name).eval() for name in ("model", "tuned"))
    ids = torch.tensor([[5, 9, 200, 31, 7, 80]])
    scaling = load_scaling(factors)
    with torch.no_grad(), modulated(base, scaling):
        hooked = base(ids).logits
    with torch.no_grad():
        torch.testing.assert_close(tuned(ids).logits, hooked, rtol=1e-4, atol=1e-4)
        assert float((base(ids).logits - hooked).abs().max()) > 1e-4
