"""Tiny GGUF files of random models, written as llama.cpp's converter would write them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import MODEL_ARCH, GGMLQuantizationType, GGUFWriter, TokenType, get_tensor_name_map, quants
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedModel

from neurontune_core.model import tiny

TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
ARCHITECTURES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gemma2": "gemma2", "gemma3_text": "gemma3"}


def model(family: str, dtype: torch.dtype = torch.float32, **settings: Any) -> PreTrainedModel:
    """A random model of a family whose rows are multiples of 32 values, as blocks of quantised weights ask for."""
    shape = tiny.configuration(family)
    for name, value in ({"intermediate_size": 64, "tie_word_embeddings": False} | settings).items():
        setattr(shape, name, value)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        built: PreTrainedModel = AutoModelForCausalLM.from_config(shape)
        for name, weight in built.named_parameters():
            if weight.dim() == 1:
                torch.nn.init.normal_(weight.data, 0.0 if name.endswith("bias") else 1.0, 0.1)
    return built.to(dtype).eval()


def write(
    path: Path,
    model: PreTrainedModel,
    kind: str = "F32",
    parts: int = 1,
    change: Callable[[GGUFWriter], object] | None = None,
    metadata: Mapping[str, Any] | None = None,
    tokenizer: bool = True,
    tensors: Mapping[str, Any] | None = None,
) -> Path:
    """Write a model as a GGUF file, matrices as `kind`; return its first file, `path` itself unless it is split.

    `metadata` adds or replaces numbers and texts, `tensors` arrays (None drops one).
    """
    shape = model.config
    name = ARCHITECTURES[shape.model_type]
    architecture = next(one for one in MODEL_ARCH if one.name.lower() == name)
    stored = {key: _stored(key, weight, shape) for key, weight in _tensors(model, architecture)} | dict(tensors or {})
    stored = {key: array for key, array in stored.items() if array is not None}
    writer = GGUFWriter(path, name, split_max_tensors=-(-len(stored) // parts) if parts > 1 else 0)
    writer.add_block_count(shape.num_hidden_layers)
    writer.add_context_length(shape.max_position_embeddings)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_feed_forward_length(shape.intermediate_size)
    writer.add_head_count(shape.num_attention_heads)
    writer.add_head_count_kv(shape.num_key_value_heads)
    writer.add_layer_norm_rms_eps(shape.rms_norm_eps)
    if hasattr(shape, "head_dim"):
        writer.add_key_length(shape.head_dim)
    if hasattr(shape, "sliding_window") and shape.sliding_window:
        writer.add_sliding_window(shape.sliding_window)
    if name == "llama":
        writer.add_rope_dimension_count(shape.hidden_size // shape.num_attention_heads)
    if tokenizer:
        add_tokenizer(writer)
    for key, value in (metadata or {}).items():
        (writer.add_string if isinstance(value, str) else writer.add_float32)(key, value)
    if change:
        change(writer)
    for key, array in stored.items():
        form = GGMLQuantizationType.F32 if array.ndim == 1 else GGMLQuantizationType[kind]
        writer.add_tensor(key, quants.quantize(array, form), raw_dtype=form)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path if parts == 1 else path.with_name(f"{path.stem}-00001-of-{parts:05}.gguf")


def _tensors(model: PreTrainedModel, architecture: MODEL_ARCH) -> list[tuple[str, Any]]:
    names = get_tensor_name_map(architecture, model.config.num_hidden_layers)
    found = []
    for name, weight in model.state_dict().items():
        base, _, ending = name.rpartition(".")
        if not (name == "lm_head.weight" and model.config.tie_word_embeddings):
            found.append((f"{names.get_name(base)}.{ending}", weight.float().numpy()))
    return found


def _stored(name: str, weight: Any, shape: Any) -> Any:
    """The array as the converter stores it: llama's queries and keys in pairs, gemma's norms around 1."""
    if shape.model_type == "llama" and (".attn_q." in name or ".attn_k." in name):
        heads = shape.num_attention_heads if ".attn_q." in name else shape.num_key_value_heads
        pairs = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
        return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(weight.shape))
    return weight + 1 if shape.model_type.startswith("gemma") and "norm" in name else weight


def add_tokenizer(writer: GGUFWriter) -> None:
    """Give a file a tokenizer of 256 bytes, four chat tokens and one merge."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
    tokens = [*letters, *special, "he", *(f"[PAD{number}]" for number in range(261, 264))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(
        [TokenType.NORMAL] * 256 + [TokenType.CONTROL] * 4 + [TokenType.NORMAL] + [TokenType.UNUSED] * 3
    )
    writer.add_token_merges(["h e"])
    writer.add_eos_token_id(256)
    writer.add_pad_token_id(256)
    writer.add_chat_template(TEMPLATE)
