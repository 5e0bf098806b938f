"""Attention that attribution cannot follow is told, before the model has weights where it can be."""

import pytest
import torch
from attribution_cases import DENSE, EXPERTS, encoded_pairs, in_own_units, relative_difference
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from neurontune_core import neurons
from neurontune_core.attribution import verify
from neurontune_core.attribution.gradient import gradient_scores
from neurontune_core.errors import InputError
from neurontune_core.model import tiny
from neurontune_core.model.head import Head
from neurontune_core.model.load import ChatModel
from neurontune_core.records import NeuronId, NeuronSet

OTHER = {
    "bloom": {},
    "bamba": {"attn_layer_indices": [1], "mamba_n_heads": 4, "mamba_d_head": 16},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 4, "expert_layer_offset": 0},
    "qwen3_next": {
        "layer_types": ["linear_attention", "full_attention"], "num_experts": 4, "num_experts_per_tok": 2,
        "moe_intermediate_size": 16, "shared_expert_intermediate_size": 24, "linear_num_value_heads": 4,
        "linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8, "head_dim": 8,
    },
    "lfm2": {"layer_types": ["conv", "full_attention"]},
}  # fmt: skip
"""Models some of whose layers do not attend through transformers' interface."""


V4 = {
    "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "head_dim": 8, "q_lora_rank": 16,
    "qk_rope_head_dim": 8, "o_lora_rank": 8, "o_groups": 2, "index_n_heads": 2, "index_head_dim": 16, "index_topk": 4,
}  # fmt: skip


def other(family: str, more: dict[str, object] | None = None) -> PreTrainedModel:
    usual = tiny.configuration("llama").to_dict()
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
             "num_key_value_heads", "pad_token_id", "initializer_range")  # fmt: skip
    config = AutoConfig.for_model(family, **({name: usual[name] for name in names} | (more or OTHER.get(family, {}))))
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize("family", DENSE + EXPERTS)
def test_attention_of_a_supported_model_is_not_told(family):
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(tiny.configuration(family))
    verify.check_attention(model)


@pytest.mark.parametrize("family", OTHER)
def test_layers_outside_of_the_interface_are_told_without_weights(family):
    model = other(family)
    told = r"layers \[0.*\] of \w+ did not call transformers' attention interface.*set attribution\.method=gradient"
    early = "BloomForCausalLM cannot be run with a shared prefix .it takes no positions" if family == "bloom" else told
    with pytest.raises(InputError, match=early):
        verify.check_attention(model.to("meta"))
    with pytest.raises(InputError, match=told):
        verify.check_prefix_logits(model := other(family), Head.of(model))


@pytest.mark.parametrize(
    ("family", "more", "told"),
    [
        ("doge", {}, "hides some positions by a mask of its own"),
        ("diffllama", {}, "is computed several times in one pass"),
        ("bert-generation", {}, "is not causal"),
        ("codegen", {"n_embd": 32, "n_head": 4, "n_layer": 2, "rotary_dim": 4}, "do not call transformers' attention"),
        ("falcon_h1", {
            "mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "head_dim": 8,
        }, "its layers also keep a running state"),
        ("deepseek_v4", V4, "reads hidden states of 4 dimensions"),
    ],
)  # fmt: skip
def test_attention_that_computes_something_else_is_told_without_weights(family, more, told):
    model = other(family, more).to("meta")
    with pytest.raises(InputError, match=rf"model: .*{told}.*; set attribution\.method=gradient, or choose another"):
        verify.check_attention(model)


@pytest.mark.parametrize("family", OTHER)
def test_the_gradient_of_such_a_model_is_that_of_its_factors(family):
    """Each pair alone, without padding, by the factors' own hooks."""
    model = other(family)
    chat = ChatModel(model, tiny.tokenizer(), torch.device("cpu"))
    widths, pairs = neurons.neuron_counts(model), encoded_pairs()
    every = NeuronSet(tuple(NeuronId(layer, one) for layer, count in enumerate(widths) for one in range(count)), ())
    for pair, found in zip(pairs, gradient_scores(chat, dict(enumerate(widths)), pairs), strict=True):
        alpha = torch.ones(sum(widths), requires_grad=True)
        with neurons.scaled(model, every, alpha):
            ids = torch.tensor([[*pair.answered, *pair.response[:-1]]])
            logs = model(input_ids=ids, use_cache=False).logits[0, len(pair.answered) - 1 :].log_softmax(-1)
        value = logs.gather(-1, torch.tensor(pair.response)[:, None]).sum()
        (expected,) = torch.autograd.grad(value, alpha)
        assert relative_difference(in_own_units(found), expected.double()) < 1e-3, pair.id


@pytest.mark.parametrize(
    ("family", "more"),
    [
        ("phimoe", {"num_local_experts": 4, "sliding_window": 5}),
        ("qwen2_moe", {
            "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
            "shared_expert_intermediate_size": 24, "use_sliding_window": True, "sliding_window": 5,
            "layer_types": ["full_attention", "sliding_attention"],
        }),
    ],
)  # fmt: skip
def test_a_window_that_only_the_mask_knows_is_kept(family, more):
    model = other(family, more)
    verify.check_prefix_logits(model, Head.of(model))
    wide = other(family, more | {"sliding_window": 500})
    ids = torch.arange(24)[None]
    assert (model(ids).logits - wide(ids).logits).abs().max() > 0.01  # the window matters


@pytest.mark.parametrize("error", [TypeError("no mask"), IndexError("no such layer"), RuntimeError("sizes differ")])
def test_a_model_whose_own_code_fails_is_told_by_name(monkeypatch, error):
    """Sparse attention reads a mask that rows on a shared prefix do not have."""
    model = tiny.model("llama")

    def fails(*arguments: object, **settings: object) -> None:
        raise error

    monkeypatch.setattr(verify, "capture_prefix", fails)
    told = rf"^model: LlamaForCausalLM cannot be run with a shared prefix \({type(error).__name__}: .*method=gradient"
    with pytest.raises(InputError, match=told):
        verify.check_prefix_logits(model, Head.of(model))
    if not isinstance(error, RuntimeError):  # which may be of torch's meta device
        with pytest.raises(InputError, match=told):
            verify.check_attention(tiny.model("llama").to("meta"))


def test_memory_that_is_short_is_not_called_a_kind_of_attention(monkeypatch):
    model = tiny.model("llama")

    def fails(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(verify, "capture_prefix", fails)
    with pytest.raises(torch.OutOfMemoryError):
        verify.check_prefix_logits(model, Head.of(model))
