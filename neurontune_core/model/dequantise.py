"""Weights stored as MXFP4 (gpt-oss) or FP8 (DeepSeek, Qwen): dequantised once into an ordinary folder."""

import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig
from transformers.utils.quantization_config import FineGrainedFP8Config, Mxfp4Config

from neurontune_core.model.identity import model_files

DEQUANTISERS = {"mxfp4": Mxfp4Config, "fp8": FineGrainedFP8Config}
"""The formats that transformers dequantises without a GPU, by `quantization_config.quant_method` of config.json."""


def dequantising(stored: str) -> dict[str, Any]:
    """Return the arguments with which `from_pretrained` dequantises weights of a format; none for ordinary weights."""
    return {"quantization_config": DEQUANTISERS[stored](dequantize=True)} if stored else {}


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
    model: Any = AutoModelForCausalLM.from_pretrained(
        source, dtype=dtype, use_safetensors=True, trust_remote_code=False, **dequantising(stored)
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
