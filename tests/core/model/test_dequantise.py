"""Folders of MXFP4 and FP8 weights: dequantised once, exactly, into a folder that is not quantised again."""

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from neurontune_core.errors import InputError
from neurontune_core.export.folder import write_folder
from neurontune_core.model import load as loading
from neurontune_core.model import tiny
from neurontune_core.model.load import conversion, load
from neurontune_core.model.settings import ModelConfig
from neurontune_core.model.source import describe, skeleton, stored_bytes
from neurontune_core.records import NeuronId, NeuronSet, ScalingFactors

CPU = torch.device("cpu")
FOUR_BITS = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
SCALES = "model.layers.1.mlp.down_proj.weight_scale_inv"

Weights = dict[str, Tensor]


def saved(folder: Path, family: str, stored: dict[str, object]) -> Weights:
    """Save a random model in bfloat16 whose config.json says that its weights are quantised; return its weights."""
    shape = tiny.configuration(family)
    if family == "gpt_oss":
        shape.intermediate_size = 32  # a whole block of MXFP4
    torch.manual_seed(0)
    kind = type(tiny.model(family))
    kind(shape).to(torch.bfloat16).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"quantization_config": stored}))
    return load_file(folder / "model.safetensors")


def mxfp4(folder: Path) -> Weights:
    """Write gpt-oss as it is published; return what its experts' weights are, dequantised by the format's definition.

    A block is 32 weights along the input, in 4 bits each (sign, 2 bits of exponent, 1 of mantissa), the earlier one in
    the low half of a byte, with one power of two as scale, stored as exponent + 127.
    """
    stored, exact = saved(folder, "gpt_oss", {"quant_method": "mxfp4"}), {}
    for name in [each for each in stored if each.endswith("_proj") and "experts" in each]:
        blocks = stored.pop(name).float().transpose(1, 2).unflatten(-1, (-1, 32))
        exponent = (blocks.abs().amax(-1) / 6).log2().ceil()
        ratio = blocks / exponent.exp2()[..., None]
        code = (ratio.abs()[..., None] - FOUR_BITS).abs().argmin(-1)
        rounded = FOUR_BITS[code] * ratio.sign() * exponent.exp2()[..., None]
        exact[name] = rounded.flatten(-2).transpose(1, 2)
        code = (code + 8 * (ratio < 0)).to(torch.uint8)
        stored[f"{name}_blocks"] = (code[..., 0::2] | code[..., 1::2] << 4).contiguous()
        stored[f"{name}_scales"] = (exponent + 127).to(torch.uint8)
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    return exact


def fp8(folder: Path, family: str = "llama", block: tuple[int, int] = (16, 16)) -> Weights:
    """Write a model in FP8 with a scale for every block of weights; return the dequantised weights.

    The last block of a side that is not divisible by the block's size has fewer weights.
    """
    settings = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": list(block)}
    stored, exact = saved(folder, family, settings), {}
    for name in [each for each in stored if each.endswith(("_proj.weight", "_proj_with_mqa.weight"))]:
        whole = stored[name].float()
        scale = torch.stack([
            torch.stack([part.abs().amax() / 448 for part in rows.split(block[1], 1)]) for rows in whole.split(block[0])
        ])  # fmt: skip
        each = scale.repeat_interleave(block[0], 0).repeat_interleave(block[1], 1)[: len(whole), : whole.shape[1]]
        stored[name], stored[f"{name}_scale_inv"] = (whole / each).to(torch.float8_e4m3fn), scale
        exact[name] = stored[name].float() * each
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    return exact


def of_experts(weights: Weights, layer: int) -> Tensor:
    place = f"model.layers.{layer}.mlp.experts"
    return torch.stack([weights[f"{place}.{expert}.down_proj.weight"] for expert in range(4)])


@pytest.mark.parametrize(
    ("write", "stored"),
    [
        (mxfp4, "MXFP4"), (fp8, "FP8"), (lambda folder: fp8(folder, "qwen3_moe"), "FP8"),
        (lambda folder: fp8(folder, block=(20, 12)), "FP8"), (lambda folder: fp8(folder, "qwen3_moe", (12, 10)), "FP8"),
        (lambda folder: fp8(folder, "deepseek_v3"), "FP8"),
    ],
    ids=["mxfp4", "fp8", "fp8 experts", "fp8 cut blocks", "fp8 experts in cut blocks", "24 rows of 16"],
)  # fmt: skip
def test_weights_are_what_the_format_says(tmp_path: Path, write: Callable[[Path], Weights], stored: str) -> None:
    exact = write(tmp_path / "model")
    config = ModelConfig(name=str(tmp_path / "model"))
    reference = describe(config)
    assert (reference.dequantised, reference.dtype) == (stored, "float32")
    chat = load(reference, str(tmp_path / "root"), CPU)
    found = dict(chat.model.named_parameters())
    assert {weight.dtype for weight in found.values()} == {torch.float32}
    for name in exact:
        if name in found:
            torch.testing.assert_close(found[name].float(), exact[name].bfloat16().float(), rtol=0, atol=0)
    if "qwen" in type(chat.model).__name__.lower():
        experts = found["model.layers.1.mlp.experts.down_proj"]
        torch.testing.assert_close(experts.float(), of_experts(exact, 1).bfloat16().float(), rtol=0, atol=0)
    assert chat.prompt_tokens("Why?")
    (copy,) = (tmp_path / "root" / "model").iterdir()
    written = load_file(copy / "model.safetensors")
    assert {weight.dtype for weight in written.values()} == {torch.bfloat16}
    assert "quantization_config" not in json.loads((copy / "config.json").read_text())
    size = sum(weight.nbytes for name, weight in written.items() if not name.endswith("correction_bias"))
    assert stored_bytes(config, reference) == size


def test_an_export_has_the_factors_and_is_not_quantised_again(tmp_path: Path) -> None:
    exact = fp8(tmp_path / "model")
    reference = describe(ModelConfig(name=str(tmp_path / "model")))
    scaling = ScalingFactors(NeuronSet((NeuronId(1, 3),), ()), torch.tensor([2.0]).numpy())
    check = write_folder(tmp_path / "tuned", scaling, reference, str(tmp_path / "root"), {})
    assert check.dtype == "bfloat16" and check.effect > 0
    name = "model.layers.1.mlp.down_proj.weight"
    tuned = load_file(tmp_path / "tuned" / "model.safetensors")[name].float()
    expected = exact[name].bfloat16().float()
    expected[:, 3] *= 2
    assert torch.equal(tuned, expected)


@pytest.mark.parametrize(("write", "scales"), [(mxfp4, "down_proj_scales"), (fp8, SCALES)])
def test_missing_scales_are_told_before_a_weight_is_read(
    tmp_path: Path, write: Callable[[Path], Weights], scales: str
) -> None:
    write(tmp_path)
    held = load_file(tmp_path / "model.safetensors")
    kept = {name: weight for name, weight in held.items() if not name.endswith(scales)}
    assert len(kept) < len(held)
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"model\.safetensors: .*scales"):
        describe(ModelConfig(name=str(tmp_path)))


def test_what_the_conversion_took_is_known_afterwards(tmp_path: Path) -> None:
    fp8(tmp_path / "model")
    reference, root = describe(ModelConfig(name=str(tmp_path / "model"))), str(tmp_path / "root")
    found = conversion(reference, root)
    (copy,) = (tmp_path / "root" / "model").iterdir()
    files = [file for file in copy.rglob("*") if file.name != "manifest.json"]
    assert found and (found.stored_bytes, found.temporary_bytes) == (sum(file.stat().st_size for file in files), 0)
    assert found.seconds > 0 and conversion(reference, root) == found  # not converted again
    tiny.model("llama").save_pretrained(tmp_path / "plain")
    tiny.tokenizer().save_pretrained(tmp_path / "plain")
    for name in (str(tmp_path / "plain"), "random:llama"):
        assert conversion(describe(ModelConfig(name=name)), root) is None


def test_the_memory_of_a_conversion_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fp8(tmp_path / "model")
    reference, own = describe(ModelConfig(name=str(tmp_path / "model"))), loading.dequantise_folder
    held: list[int] = []

    def greedy(source: Path, folder: Path, stored: str) -> None:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        held.append(most - psutil.Process().memory_info().rss + (64 << 20))
        assert len(b"x" * held[0]) == held[0]  # more than this process ever held
        own(source, folder, stored)

    monkeypatch.setattr(loading, "dequantise_folder", greedy)
    found = conversion(reference, str(tmp_path / "root"))
    assert found and held[0] - (8 << 20) <= found.memory_bytes <= held[0] + (64 << 20)


def test_a_folder_that_changes_under_a_run_is_refused(tmp_path: Path) -> None:
    fp8(tmp_path / "model")
    reference = describe(ModelConfig(name=str(tmp_path / "model")))
    held = load_file(tmp_path / "model" / "model.safetensors")
    held[SCALES] = held[SCALES] * 2
    save_file(held, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="has changed since the run checked it"):
        load(reference, str(tmp_path / "root"), CPU)
    assert skeleton(ModelConfig(name=str(tmp_path / "model"))).config.hidden_size == 32
