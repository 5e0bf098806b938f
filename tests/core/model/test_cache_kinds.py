"""Layers that remember in other ways than by keys and values: batches give the numbers of each row alone, or are told.

Caches of linear attention, Mamba and convolutions, of sparse attention, and positions that a model counts by itself.
"""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from neurontune_core.errors import InputError
from neurontune_core.model import tiny
from neurontune_core.model.checks.config import build_skeleton, check_run
from neurontune_core.model.generate import generate
from neurontune_core.model.likelihood import TokenSequence, response_log_probabilities
from neurontune_core.model.load import ChatModel

LINEAR = {"layer_types": ["linear_attention", "full_attention"]}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
HYBRIDS = {
    "bamba": {"attn_layer_indices": [1], "mamba_n_heads": 4, "mamba_d_head": 16},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 4, "expert_layer_offset": 0},
    "qwen3_next": LINEAR | EXPERTS | {
        "shared_expert_intermediate_size": 24, "linear_num_value_heads": 4, "linear_num_key_heads": 2,
        "linear_key_head_dim": 8, "linear_value_head_dim": 8, "head_dim": 8,
    },
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "granitemoehybrid": {
        "layer_types": ["mamba", "attention"], "num_local_experts": 4, "num_experts_per_tok": 2,
        "shared_intermediate_size": 24, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_n_groups": 1, "mamba_d_state": 8,
    },
}  # fmt: skip
TEXTS = ("Hello there, how are you?", "Hi", "Ho")
ANSWER = (71, 72, 73)


def configuration(family: str, more: dict[str, object]) -> PretrainedConfig:
    usual = tiny.configuration("llama").to_dict()
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
             "num_key_value_heads", "pad_token_id", "initializer_range")  # fmt: skip
    return AutoConfig.for_model(family, **({name: usual[name] for name in names} | more))


def hybrid(family: str) -> ChatModel:
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(configuration(family, HYBRIDS[family]))
    return ChatModel(model.eval().requires_grad_(False), tiny.tokenizer(), torch.device("cpu"))


def alone(chat: ChatModel, tokens: list[int]) -> torch.Tensor:
    """Log-probabilities of the answer's tokens and of the one after, `[step, token]`, without cache and padding."""
    with torch.inference_mode():
        logits = chat.model(input_ids=torch.tensor([[*tokens, *ANSWER]]), use_cache=False).logits[0]
    return logits.float().log_softmax(-1)[len(tokens) - 1 :]


@pytest.mark.parametrize("family", HYBRIDS)
def test_rows_of_a_batch_that_share_a_beginning_are_as_likely_as_alone(family):
    chat = hybrid(family)
    prompts = [chat.prompt_tokens(text) for text in TEXTS]
    found = response_log_probabilities(chat, [TokenSequence(prompt, list(ANSWER)) for prompt in prompts])
    places = torch.tensor(ANSWER)[:, None]
    expected = [float(alone(chat, prompt)[:-1].gather(-1, places).sum()) for prompt in prompts]
    assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("family", HYBRIDS)
def test_rows_that_are_generated_together_read_what_they_read_alone(family):
    """Two prompts have the same length, and one of them ends before the other."""
    chat, seen = hybrid(family), {0: [], 1: [], 2: []}
    prompts = [chat.prompt_tokens(text) for text in TEXTS]

    def choose(logits, places):
        for row, place in zip(logits.log_softmax(-1), places, strict=True):
            seen[place].append(row.clone())
        steps = [(place, len(seen[place])) for place in places]
        return torch.tensor([256 if step == (1, 2) else ANSWER[min(step[1], 3) - 1] for step in steps])

    generate(chat, prompts, 4, choose=choose)
    assert [len(rows) for rows in seen.values()] == [4, 2, 4]
    for place, rows in seen.items():
        torch.testing.assert_close(torch.stack(rows), alone(chat, prompts[place])[: len(rows)], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("family", [*HYBRIDS, *tiny.FAMILIES])
def test_models_whose_answers_can_be_generated_are_not_told(family):
    found = configuration(family, HYBRIDS[family]) if family in HYBRIDS else tiny.configuration(family)
    check_run(build_skeleton(found))


@pytest.mark.parametrize(
    ("family", "more", "told"),
    [
        ("bart", {"d_model": 32, "decoder_layers": 2, "decoder_attention_heads": 4}, "counts positions by itself"),
        ("mbart", {"d_model": 32, "decoder_layers": 2, "decoder_attention_heads": 4}, "counts positions by itself"),
        ("cpmant", {"num_attention_heads": 4, "dim_head": 8, "dim_ff": 48}, "needs a cache of its own kind"),
    ],
)  # fmt: skip
def test_models_whose_answers_cannot_be_generated_in_batches_are_told_without_weights(family, more, told):
    with pytest.raises(InputError, match=f"config.json: .*{told}.*choose another decoder"):
        check_run(build_skeleton(AutoConfig.for_model(family, vocab_size=264, **more)))
