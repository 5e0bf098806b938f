"""Tiny random models with a byte-level tokenizer: no download, for tests and for trying the workflow in seconds."""

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

from neurontune_core.errors import InputError

VERSION = 1
DENSE = ("llama", "qwen2", "qwen3", "mistral", "gemma2", "gemma3_text", "phi3", "gpt2", "gpt_neox", "opt")
EXPERTS = ("mixtral", "qwen3_moe", "qwen2_moe", "olmoe", "deepseek_v2", "deepseek_v3", "gpt_oss")
FAMILIES = DENSE + EXPERTS
_SPECIAL = ("<|end|>", "<|user|>", "<|assistant|>", "<|system|>")
_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_SPECIFIC: dict[str, dict[str, Any]] = {
    "gpt2": {"n_inner": 48},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
    "qwen2_moe": {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 24,
        "decoder_sparse_step": 1,
    },
    "olmoe": {"num_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 16},
    "deepseek_v2": {
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "n_shared_experts": 3,
        "first_k_dense_replace": 1,
        "q_lora_rank": None,
        "kv_lora_rank": 16,
        "qk_nope_head_dim": 8,
        "qk_rope_head_dim": 8,
        "v_head_dim": 8,
        "n_group": 1,
        "topk_group": 1,
        "num_key_value_heads": 4,
        "head_dim": 8,
    },
    "deepseek_v3": {
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "n_shared_experts": 1,
        "first_k_dense_replace": 1,
        "q_lora_rank": None,
        "kv_lora_rank": 16,
        "qk_nope_head_dim": 8,
        "qk_rope_head_dim": 8,
        "v_head_dim": 8,
        "n_group": 2,
        "topk_group": 1,
        "num_key_value_heads": 4,
    },
    "gpt_oss": {
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "intermediate_size": 16,
        "head_dim": 8,
        "sliding_window": 16,
    },
    "gemma2": {"head_dim": 8, "sliding_window": 16, "query_pre_attn_scalar": 8},
    "gemma3_text": {"head_dim": 8, "sliding_window": 16, "query_pre_attn_scalar": 8},
    "mistral": {"sliding_window": 16},
}


def tokenizer() -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer (256 bytes and four chat tokens) with a chat template."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={symbol: i for i, symbol in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>", pad_token="<|end|>")
    wrapped.add_special_tokens({"additional_special_tokens": list(_SPECIAL[1:])})
    wrapped.chat_template = _TEMPLATE
    return wrapped


def configuration(family: str) -> PretrainedConfig:
    """Return the configuration of a random two-layer model of a family.

    Raises:
        InputError: unknown family.
    """
    if family not in FAMILIES:
        raise InputError(f"model.name: unknown random family {family!r}; known: {', '.join(FAMILIES)}")
    settings: dict[str, Any] = {
        "vocab_size": 264,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "initializer_range": 0.3,
        "pad_token_id": 256,
        "eos_token_id": 256,
        "bos_token_id": None,
    }
    return AutoConfig.for_model(family, **(settings | _SPECIFIC.get(family, {})))


def model(family: str, seed: int = 0) -> PreTrainedModel:
    """Return a random two-layer model of a family, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built: PreTrainedModel = AutoModelForCausalLM.from_config(configuration(family))
    return built.eval()
