"""Pairs as token ids: prompts as the model is given them everywhere else."""

from dataclasses import replace

import pytest
import torch
from attribution_cases import attribute, prompt_pair, relative_difference, tiny_chat
from attribution_reference import reference_scores
from transformers import AutoModelForCausalLM

from neurontune_core.attribution.encode import constant_rotary_length, encode_pair
from neurontune_core.attribution.settings import AttributionConfig
from neurontune_core.attribution.shard import attribute_shard
from neurontune_core.errors import InputError
from neurontune_core.model import tiny
from neurontune_core.model.load import ChatModel


def test_prompts_hold_the_system_message():
    plain = tiny_chat("llama", layers=2)
    chat, pair = replace(plain, system_prompt="Be brief."), prompt_pair(0)
    encoded = encode_pair(pair, chat, 12)
    for ids, text in ((encoded.query, pair.query), (encoded.prompt, pair.prompt)):
        assert list(ids) == chat.prompt_tokens(text)
        assert chat.tokenizer.decode(ids) == f"<|system|>Be brief.<|end|><|user|>{text}<|end|><|assistant|>"
    assert encoded.response == encode_pair(pair, plain, 12).response


def test_scores_depend_on_the_system_message():
    plain = tiny_chat("llama", layers=2)
    sums = [
        attribute_shard([prompt_pair(0)], AttributionConfig(), chat).table["score_sum"].to_numpy()
        for chat in (plain, replace(plain, system_prompt="Be brief."))
    ]
    assert abs(sums[0] - sums[1]).max() > 1e-3


@pytest.mark.parametrize("bound", [1, 4])
def test_response_tokens_bound_the_response(bound):
    chat = tiny_chat("llama", layers=2)
    encoded = encode_pair(prompt_pair(0), chat, bound)
    assert encoded.response == tuple(chat.tokenizer("I am"[:bound])["input_ids"])


def long_context_chat(family, **settings):
    config = tiny.configuration(family)
    config.update(settings)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config).double().eval().requires_grad_(False)
    return ChatModel(model, tiny.tokenizer(), torch.device("cpu"))


def rotary(family, most):
    """Settings of a model that changes its rotary embeddings above `most` tokens."""
    if family == "llama":
        return {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0},
                "max_position_embeddings": most}  # fmt: skip
    factors = {"short_factor": [1.0] * 4, "long_factor": [4.0, 3.0, 2.0, 8.0]}
    return {"rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4, "partial_rotary_factor": 1.0, **factors,
                                "original_max_position_embeddings": most},
            "original_max_position_embeddings": most}  # fmt: skip


@pytest.mark.parametrize("family", ["llama", "phi3"])
def test_a_text_whose_length_changes_its_rotary_embeddings_is_refused(family):
    pair = prompt_pair(0)
    encoded = encode_pair(pair, tiny_chat("llama", layers=2), 12)
    length = max(len(encoded.query), len(encoded.prompt)) + len(encoded.response) - 1
    with pytest.raises(InputError, match=rf"pair {pair.id}: its text has {length} tokens.* above {length - 1} tokens"):
        encode_pair(pair, long_context_chat(family, **rotary(family, length - 1)), 12)
    chat = long_context_chat(family, **rotary(family, length))
    assert encode_pair(pair, chat, 12) == encoded and constant_rotary_length(chat.model) == length
    (found,) = attribute(chat, [encoded], nodes=2)
    expected, _ = reference_scores(chat.model, encoded.query, encoded.prompt, encoded.response, 2, False, True)
    assert relative_difference(found, torch.cat(expected)) < 1e-5
    assert constant_rotary_length(tiny_chat(family).model) is None
