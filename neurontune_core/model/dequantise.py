"""Weights stored as MXFP4 (gpt-oss) or FP8 (DeepSeek, Qwen): dequantised once into an ordinary folder."""

import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partialmethod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig
from transformers.integrations.finegrained_fp8 import Fp8Dequantize
from transformers.utils.quantization_config import FineGrainedFP8Config, Mxfp4Config

from neurontune_core.model.identity import model_files

DEQUANTISERS = {"mxfp4": Mxfp4Config, "fp8": FineGrainedFP8Config}
"""The formats that transformers dequantises without a GPU, by `quantization_config.quant_method` of config.json."""


@contextmanager
def dequantising(stored: str) -> Iterator[dict[str, Any]]:
    """Yield the arguments with which `from_pretrained` dequantises weights of a format; none for ordinary weights.

    Inside this context transformers dequantises FP8 weights also if their last block is not whole.
    """
    if not stored:
        yield {}
        return
    own = Fp8Dequantize._dequantize_one
    Fp8Dequantize._dequantize_one = partialmethod(_whole_blocks, own)  # type: ignore[method-assign, assignment]
    try:
        yield {"quantization_config": DEQUANTISERS[stored](dequantize=True)}
    finally:
        Fp8Dequantize._dequantize_one = own  # type: ignore[method-assign]


def _whole_blocks(
    operation: Any, dequantise: Callable[..., Tensor], weight: Tensor, scales: Tensor, **settings: Any
) -> Tensor:
    """Return a dequantised weight; it is padded to whole blocks first.

    transformers divides a weight by its number of scales, which is not the block's size where the last block is cut
    off: DeepSeek-V3's `kv_a_proj_with_mqa` has 576 rows in blocks of 128.
    """
    block = operation.hf_quantizer.quantization_config.weight_block_size
    sides = weight.shape[-2:]
    counts = [math.ceil(side / size) for side, size in zip(sides, block or sides, strict=True)]
    if list(scales.shape[-2:]) != counts:  # not scales of such blocks
        return dequantise(operation, weight, scales, **settings)
    whole = [count * size for count, size in zip(counts, block or sides, strict=True)]
    padded = weight.new_zeros(*weight.shape[:-2], *whole)
    padded[..., : sides[0], : sides[1]] = weight
    return dequantise(operation, padded, scales, **settings)[..., : sides[0], : sides[1]]


def dequantise_folder(source: Path, folder: Path, stored: str) -> None:
    """Write a model with dequantised weights into a folder, in the number format that its config.json names.

    Tokenizer, chat template and generation settings are copied.

    Args:
        source: the folder with quantised weights.
        folder: the folder to fill.
        stored: their format, one of `DEQUANTISERS`.
    """
    shape = AutoConfig.from_pretrained(source, trust_remote_code=False)
    dtype = shape.dtype or torch.bfloat16
    with dequantising(stored) as settings:
        model: Any = AutoModelForCausalLM.from_pretrained(
            source, dtype=dtype, use_safetensors=True, trust_remote_code=False, **settings
        )
    # with the conversions by which it was read, transformers would quantise the weights again
    model._weight_conversions = None
    model.generation_config = GenerationConfig.from_model_config(model.config)  # the source's own is copied below
    model.to(dtype).save_pretrained(folder)
    for file in model_files(source):
        if file.suffix == ".safetensors" or file.name in ("config.json", "model.safetensors.index.json"):
            continue
        copy = folder / file.relative_to(source)
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(file, copy)
