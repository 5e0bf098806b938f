"""A GGUF model as a Hugging Face folder: configuration, safetensors weights, tokenizer with chat template.

transformers reads the weights, but silently ignores some contents; this module restores or refuses them.
"""

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tqdm.auto import tqdm
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    modeling_gguf_pytorch_utils,
)
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from neurontune_core.errors import InputError
from neurontune_core.model.checks.loaded import check_fit
from neurontune_core.model.gguf import Header
from neurontune_core.model.gguf_file import write_file

_FILE = "model.gguf"
_ROTARY = "rope_freqs.weight"
_LLAMA3 = {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}
_LLAMA3_POSITIONS = 8192


def gguf_configuration(header: Header) -> PretrainedConfig:
    """Return the configuration that a GGUF header describes.

    Raises:
        InputError: transformers does not read this architecture, or the model extends its positions in an unsupported
            way.
    """
    with tempfile.TemporaryDirectory() as place:
        write_file(header, Path(place) / _FILE, weights=False, vocabulary=_is_newer(header))
        try:
            shape: PretrainedConfig = AutoConfig.from_pretrained(place, gguf_file=_FILE)
        except Exception as error:  # transformers raises many kinds of errors for unusual metadata
            raise InputError(
                f"model.name: {header.files[0]} has architecture {header.architecture!r}, which transformers cannot "
                f"read from this GGUF file ({_line(error)}); give the model as a folder of safetensors"
            ) from error
    _complete(shape, header)
    shape.dtype = getattr(torch, header.dtype)
    return shape


def convert_to_folder(header: Header, folder: Path) -> None:
    """Write the model into a folder that `from_pretrained` reads: weights in `header.dtype`, tokenizer, template.

    Raises:
        InputError: its tokenizer or a tensor cannot be read, or weights are missing or left over.
    """
    shape = gguf_configuration(header)
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        write_file(header, Path(place) / _FILE, weights=False, vocabulary=True)
        try:
            _write_tokenizer(place, header.metadata["tokenizer.ggml.tokens"], folder)
        except Exception as error:
            kind = header.metadata.get("tokenizer.ggml.model")
            raise InputError(
                f"model.name: transformers cannot read the tokenizer of {header.files[0]} (kind {kind!r}: "
                f"{_line(error)}); give the model as a folder of safetensors"
            ) from error
        write_file(header, Path(place) / _FILE, weights=True, vocabulary=_is_newer(header))
        try:
            model, report = _read_weights(shape, place, getattr(torch, header.dtype))
        except (ValueError, RuntimeError, KeyError, IndexError, NotImplementedError) as error:
            raise InputError(
                f"model.name: transformers cannot read the weights of {header.files[0]} ({_line(error)}); "
                f"give the model as a folder of safetensors"
            ) from error
    check_fit(report, f"model.name: {header.files[0]}")
    if not _is_newer(header) and (left_over := _left_over(header, model)):
        raise InputError(
            f"model.name: {header.files[0]} holds {left_over[0]} and {len(left_over) - 1} more tensors for which "
            f"transformers' {shape.model_type} has no place; give the model as a folder of safetensors"
        )
    # transformers refuses to save a model it believes is quantised, although the weights are plain numbers now
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder)


def _is_newer(header: Header) -> bool:
    """Return whether the newer of transformers' two readers takes this architecture.

    The newer reader needs the size of the vocabulary; the older one makes an object of every word, so it gets none.
    """
    try:
        from transformers.integrations.gguf import GGUF_CONFIG_ARCHS
    except ImportError:  # an earlier transformers
        return False
    return header.architecture in GGUF_CONFIG_ARCHS


def _write_tokenizer(place: str, words: int, folder: Path) -> None:
    """Write the tokenizer and chat template of the GGUF file in `place`, whose vocabulary has this many words."""
    # the general class: the file describes its tokenizer whole, and finding the family's own class takes 20 seconds
    PreTrainedTokenizerFast.from_pretrained(place, gguf_file=_FILE).save_pretrained(folder)
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    # transformers gives every byte-level tokenizer an <|endoftext|>, for which a model that knows none has no row
    content["added_tokens"] = [token for token in content["added_tokens"] if token["id"] < words]
    file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _read_weights(shape: PretrainedConfig, place: str, dtype: torch.dtype) -> tuple[Any, dict[str, Any]]:
    # transformers draws this bar wherever it runs; it belongs in a terminal only
    vars(modeling_gguf_pytorch_utils)["tqdm"] = partial(tqdm, disable=None)
    settings: dict[str, Any] = {"gguf_file": _FILE, "config": shape, "dtype": dtype, "output_loading_info": True}
    if hasattr(transformers, "GgufConfig"):
        settings["quantization_config"] = transformers.GgufConfig(dequantize=True)
    loaded: Any = AutoModelForCausalLM.from_pretrained(place, **settings)
    model, report = loaded
    return model, report


def _left_over(header: Header, model: Any) -> list[str]:
    """Return the tensors that transformers' older reader drops, without experts, which it places by another rule."""
    kinds = modeling_gguf_pytorch_utils.TENSOR_PROCESSORS
    processor = kinds.get(header.architecture, modeling_gguf_pytorch_utils.TensorProcessor)
    known = modeling_gguf_pytorch_utils.get_gguf_hf_weights_map(model, processor(config=model.config.to_dict()))
    ours = (_ROTARY, "output.weight")
    return [
        tensor.name
        for tensor in header.tensors
        if tensor.name not in known and tensor.name not in ours and "_exps" not in tensor.name
    ]


def _complete(shape: PretrainedConfig, header: Header) -> None:
    """Add to a configuration what transformers leaves out: size of heads, biases, extended positions."""
    names = {tensor.name for tensor in header.tensors}
    width = header.metadata.get(f"{header.architecture}.attention.key_length")
    if width and getattr(shape, "head_dim", width) != width and not hasattr(shape, "global_head_dim"):
        shape.head_dim = width
    if "blk.0.attn_q.bias" in names and getattr(shape, "attention_bias", None) is False:
        shape.attention_bias = True
    if not hasattr(shape, "vocab_size") or header.architecture in ("gpt2", "starcoder2"):
        shape.vocab_size = header.metadata["tokenizer.ggml.tokens"]
    positions = getattr(shape, "rope_parameters", None) or {}
    positions = positions.get("full_attention", positions)
    if positions.get("rope_type", "default") == "default":
        positions.update(_extension(header, shape, names))


def _extension(header: Header, shape: PretrainedConfig, names: set[str]) -> dict[str, Any]:
    """Return the rope parameters that extend a model's positions beyond those of training, {} if there are none."""
    scaling = {
        key.removeprefix(f"{header.architecture}.rope.scaling."): value
        for key, value in header.metadata.items()
        if key.startswith(f"{header.architecture}.rope.scaling.")
    }
    kind = scaling.pop("type", "linear" if "factor" in scaling else "none")
    scaling.pop("finetuned", None)
    if _ROTARY in names:
        return _llama3_extension(header, shape)
    if kind == "none" or (kind == "linear" and scaling.get("factor", 1.0) == 1.0):
        return {}
    if kind == "linear":
        return {"rope_type": "linear", "factor": scaling["factor"]}
    if kind == "yarn" and set(scaling) == {"factor", "original_context_length"}:
        original = scaling["original_context_length"]
        return {"rope_type": "yarn", "factor": scaling["factor"], "original_max_position_embeddings": original}
    raise InputError(
        f"model.name: {header.files[0]} extends its positions by {kind!r} ({', '.join(scaling)}), which cannot be read "
        f"from GGUF; give the model as a folder of safetensors"
    )


def _llama3_extension(header: Header, shape: PretrainedConfig) -> dict[str, Any]:
    """Return the parameters that give the factors in `rope_freqs.weight`; the file holds nothing but these factors."""
    (stored,) = (tensor for tensor in header.tensors if tensor.name == _ROTARY)
    with stored.file.open("rb") as file:
        file.seek(stored.start)
        factors = torch.from_numpy(np.frombuffer(file.read(stored.size), dtype="<f4").copy())
    if torch.all(factors == 1):
        return {}
    found = {**_LLAMA3, "factor": float(factors.max()), "original_max_position_embeddings": _LLAMA3_POSITIONS}
    trial = type(shape).from_dict(shape.to_dict())
    width = getattr(shape, "head_dim", None) or shape.hidden_size // shape.num_attention_heads
    plain = 1 / trial.rope_parameters["rope_theta"] ** (torch.arange(0, width, 2).float() / width)
    trial.rope_parameters = trial.rope_parameters | found
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](trial, torch.device("cpu"))
    if scaled.shape != factors.shape or not torch.allclose(plain / scaled, factors, rtol=1e-3):
        raise InputError(
            f"model.name: {header.files[0]} extends its positions by its own factors ({_ROTARY}), which cannot be read "
            f"from GGUF; give the model as a folder of safetensors"
        )
    return found


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]
