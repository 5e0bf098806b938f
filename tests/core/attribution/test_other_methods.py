"""Gradient and activation scores: against finite differences and captured activations, alone, together, as a stage."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from attribution_cases import (
    DENSE,
    EXPERTS,
    encoded_pairs,
    float64_throughout,
    prompt_pair,
    relative_difference,
    tiny_chat,
)

from neurontune_core.attribution import methods
from neurontune_core.attribution.encode import EncodedPair, encode_pair
from neurontune_core.attribution.pair_scores import PairScores
from neurontune_core.attribution.settings import AttributionConfig
from neurontune_core.attribution.shard import attribute_shard, in_shard
from neurontune_core.attribution.table import COLUMNS, half_of
from neurontune_core.errors import InputError, NumericalError
from neurontune_core.model.batches import bytes_per_token
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import captured, leave_out_uncovered, neuron_counts, scaled
from neurontune_core.records import NeuronId, NeuronSet

OTHERS = ("gradient", "mask", "activation")
KEYS = ["role", "attack_category", "layer", "neuron", "half"]
FEW = [prompt_pair(number, role, attack) for role in ("safety", "utility") for attack in "ab" for number in range(3)]
LENGTHS = [*encoded_pairs(), *(replace(pair, role="utility") for pair in encoded_pairs())]


def scores_of(
    chat: ChatModel, pairs: Sequence[EncodedPair], memory_mib: int | None = None, **settings: object
) -> dict[int, PairScores]:
    """The scores of every pair, by its place."""
    method = methods.build_method(AttributionConfig(**settings), chat, memory_mib)
    return {
        place: result
        for places in method.batches(pairs)
        for place, result in zip(places, method.score([pairs[place] for place in places], False), strict=True)
    }


def central_differences(chat: ChatModel, text: Sequence[int], response: Sequence[int]) -> torch.Tensor:
    """d log P(response | text) / d alpha at 1, each neuron in turn moved by 1e-4 up and down, in a row of its own."""
    widths = neuron_counts(chat.model)
    every = tuple(NeuronId(layer, index) for layer, width in enumerate(widths) for index in range(width))
    steps = 1e-4 * torch.eye(len(every), dtype=torch.float64)
    ids = torch.tensor([[*text, *response]])
    logs = []
    with torch.no_grad():
        for alpha in (1 + steps, 1 - steps):
            with scaled(chat.model, NeuronSet(every, ()), alpha):
                logits = chat.model(input_ids=ids.expand(len(every), -1)).logits[:, len(text) - 1 : -1]
            chosen = torch.tensor(response)[None, :, None].expand(len(every), -1, 1)
            logs.append(logits.log_softmax(-1).gather(-1, chosen).sum((1, 2)))
    return (logs[0] - logs[1]) / 2e-4


@pytest.mark.parametrize("family", DENSE + EXPERTS)
def test_gradients_are_those_of_finite_differences(family):
    """Of several pairs in one batch; the response of a safety pair follows its query, else the attacked prompt."""
    with float64_throughout():
        chat = tiny_chat(family)
        method = methods.build_method(AttributionConfig(method="gradient"), chat)
        for pair, result in zip(LENGTHS, method.score(LENGTHS, False), strict=True):
            text = pair.query if pair.role == "safety" else pair.prompt
            expected = central_differences(chat, text, pair.response)
            assert relative_difference(result.scores, expected) < 1e-5, pair.id
            assert (result.id, result.scale, result.scores.dtype) == (pair.id, 0.0, torch.float64)


@pytest.mark.parametrize("family", DENSE)
def test_activations_are_those_at_the_end_of_the_query(family):
    with float64_throughout():
        chat = tiny_chat(family)
        found = methods.build_method(AttributionConfig(method="activation"), chat).score(LENGTHS, False)
        for pair, result in zip(LENGTHS, found, strict=True):
            with torch.no_grad(), captured(chat.model, lambda values: values[0, -1]) as store:
                chat.model(input_ids=torch.tensor([pair.query]))
            assert relative_difference(result.scores, torch.cat([store[layer] for layer in range(3)])) < 1e-9, pair.id


@pytest.mark.parametrize("method", OTHERS)
@pytest.mark.parametrize("family", ["llama", "gemma2", "opt"])
def test_scores_in_float32_and_in_a_batch_are_those_of_a_pair_alone(family, method):
    chat = tiny_chat(family, torch.float32)
    together = methods.build_method(AttributionConfig(method=method), chat).score(LENGTHS, False)
    for pair, result in zip(LENGTHS, together, strict=True):
        (alone,) = scores_of(chat, [pair], method=method).values()
        assert relative_difference(result.scores, alone.scores) < 1e-4, pair.id


@pytest.mark.parametrize("method", OTHERS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_formats_give_scores_near_the_float32_ones(dtype, method):
    chat, exact = tiny_chat("llama", dtype), tiny_chat("llama", torch.float32)
    exact.model.load_state_dict(chat.model.state_dict())
    (found,), (expected,) = ([*scores_of(each, LENGTHS[:1], method=method).values()] for each in (chat, exact))
    assert relative_difference(found.scores, expected.scores) < (0.2 if method == "mask" else 0.1)


@pytest.mark.parametrize("method", OTHERS)
def test_layers_below_the_first_are_left_out(method):
    chat = tiny_chat("llama", torch.float32)
    whole, upper = (scores_of(chat, LENGTHS, method=method, first_layer=first) for first in (0, 1))
    for place in whole:
        assert len(upper[place].scores) == 2 * 48
        if method != "mask":  # a mask is learned for all its neurons together
            torch.testing.assert_close(upper[place].scores, whole[place].scores[48:], rtol=1e-4, atol=1e-6)
    with pytest.raises(InputError, match=r"attribution\.first_layer: 3, but the model has 3 layers"):
        scores_of(chat, LENGTHS, method=method, first_layer=3)


@pytest.mark.parametrize("method", OTHERS)
def test_layers_without_neurons_are_refused_or_left_out(method):
    chat = tiny_chat("llama", torch.float32)
    whole = scores_of(chat, LENGTHS, method=method)
    chat.model.model.layers[1].mlp.register_parameter("experts", torch.nn.Parameter(torch.zeros(2, 2, 2)))
    with pytest.raises(InputError, match="layer 1: mixture of experts"):
        scores_of(chat, LENGTHS, method=method)
    leave_out_uncovered(chat.model)
    for place, result in scores_of(chat, LENGTHS, method=method).items():
        expected = torch.cat([whole[place].scores[:48], whole[place].scores[96:]])
        assert len(result.scores) == len(expected)
        if method != "mask":
            torch.testing.assert_close(result.scores, expected, rtol=1e-4, atol=1e-6)
    assert set(attribute_shard(FEW, AttributionConfig(method=method), chat).table["layer"]) == {0, 2}


@pytest.mark.parametrize("method", OTHERS)
def test_batches_hold_texts_of_similar_length_within_the_memory_given(method):
    chat = tiny_chat("llama", torch.float32)
    config = AttributionConfig(method=method)
    lengths = [methods.positions(config, pair) for pair in LENGTHS]
    for memory_mib in (None, 1):
        batches = methods.build_method(config, chat, memory_mib).batches(LENGTHS)
        assert sorted(place for places in batches for place in places) == list(range(len(LENGTHS)))
        longest = [max(lengths[place] for place in places) for places in batches]
        assert all(lengths[place] >= 0.8 * most for places, most in zip(batches, longest, strict=True)
                   for place in places)  # fmt: skip
        if memory_mib:
            each = bytes_per_token(chat.model)
            assert all(len(places) == 1 or len(places) * most * each <= 1 << 20
                       for places, most in zip(batches, longest, strict=True))  # fmt: skip
    assert methods.build_method(config, chat).batches([]) == []


@pytest.mark.parametrize("method", OTHERS)
def test_a_batch_that_does_not_fit_is_halved(method, monkeypatch):
    chat = tiny_chat("llama", torch.float32)
    expected = methods.build_method(AttributionConfig(method=method), chat).score(LENGTHS, False)
    scores = getattr(methods, f"{method}_scores")

    def small(chat, layers, pairs):
        if len(pairs) > 2:
            raise torch.OutOfMemoryError("too many")
        return scores(chat, layers, pairs)

    monkeypatch.setattr(methods, f"{method}_scores", small)
    found = methods.build_method(AttributionConfig(method=method), chat).score(LENGTHS, False)
    assert [result.id for result in found] == [pair.id for pair in LENGTHS]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.scores, other.scores, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", OTHERS)
@pytest.mark.parametrize("family", ["gpt2", "opt"])
def test_a_text_that_fills_all_learned_positions_is_scored(family, method):
    chat = tiny_chat(family, torch.float32)
    pair = EncodedPair("full", tuple(range(200)) * 5 + (1,) * 21, (5,), (7, 8, 9, 10))  # the last is never read
    assert torch.isfinite(scores_of(chat, [pair, *LENGTHS], method=method)[0].scores).all()


@pytest.mark.parametrize("method", OTHERS)
@pytest.mark.parametrize("normalise", [True, False])
def test_table_holds_the_sums_of_the_pairs_scores(normalise, method):
    chat = tiny_chat("llama", torch.float32, layers=2)
    config = AttributionConfig(method=method, normalise=normalise)
    table = attribute_shard(FEW, config, chat).table
    assert tuple(table.columns) == COLUMNS
    assert not table.duplicated(KEYS).any()
    for (role, category, half), rows in table.groupby(["role", "attack_category", "half"]):
        group = [p for p in FEW if (p.role, p.attack_category, half_of(p.id)) == (role, category, half)]
        each = [result.scores for result in scores_of(
            chat, [encode_pair(pair, chat, 12) for pair in group], method=method).values()]  # fmt: skip
        total = torch.stack([scores / scores.norm() if normalise else scores for scores in each])
        assert (rows["count"] == len(group)).all() and len(group) > 0
        places = rows["layer"].to_numpy() * 48 + rows["neuron"].to_numpy()
        np.testing.assert_allclose(rows["score_sum"], total.sum(0)[places], rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(rows["score_sq_sum"], total.square().sum(0)[places], rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("method", OTHERS)
def test_tables_of_shards_add_up_to_the_table_of_the_whole(method):
    chat, config = tiny_chat("llama", layers=2), AttributionConfig(method=method)
    whole = attribute_shard(FEW, config, chat).table.set_index(KEYS).sort_index()
    parts = pd.concat([attribute_shard(in_shard(FEW, shard, 5), config, chat).table for shard in range(5)])
    pd.testing.assert_frame_equal(parts.groupby(KEYS).sum(), whole, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("method", OTHERS)
def test_facts_have_no_completeness(method):
    shard = attribute_shard(FEW, AttributionConfig(method=method), tiny_chat("llama", torch.float32, layers=2))
    assert set(shard.facts) == {"pairs", "pairs_safety", "pairs_utility", "seconds_per_pair", "seconds_to_build"}
    assert (shard.facts["pairs"], shard.facts["pairs_safety"], shard.facts["pairs_utility"]) == (12, 6, 6)
    assert shard.facts["seconds_per_pair"] > 0 and all(type(value) is float for value in shard.facts.values())
    assert len(shard.completeness) == 0 and "relative_gap" in shard.completeness


@pytest.mark.parametrize("method", OTHERS)
def test_an_empty_shard_has_an_empty_table(method):
    shard = attribute_shard([], AttributionConfig(method=method), tiny_chat("llama", torch.float32, layers=2))
    assert tuple(shard.table.columns) == COLUMNS and len(shard.table) == 0 and shard.facts["pairs"] == 0


@pytest.mark.parametrize("method", OTHERS)
def test_nan_scores_stop_the_shard_and_name_the_pair(method):
    chat = tiny_chat("llama", torch.float32, layers=2)
    (tilde,) = chat.tokenizer("~")["input_ids"]
    chat.model.lm_head.weight = torch.nn.Parameter(chat.model.lm_head.weight.clone(), requires_grad=False)
    chat.model.model.embed_tokens.weight[tilde] = torch.nan
    pairs = [prompt_pair(0), prompt_pair(1, query="How ~ bread?"), prompt_pair(2)]
    with pytest.raises(NumericalError, match="pair safety-actor-1 gave NaN"):
        attribute_shard(pairs, AttributionConfig(method=method), chat)
    assert not any(module._forward_pre_hooks for module in chat.model.modules())


def test_only_the_activation_needs_no_response():
    chat = tiny_chat("llama", torch.float32, layers=2)
    silent, spoken = (prompt_pair(3, response=response) for response in ("", "I am sorry."))
    with pytest.raises(InputError, match="safety-actor-3: its response has no token"):
        attribute_shard([silent], AttributionConfig(method="gradient"), chat)
    tables = [attribute_shard([pair], AttributionConfig(method="activation"), chat).table for pair in (silent, spoken)]
    pd.testing.assert_frame_equal(*tables)


@pytest.mark.parametrize("role", ["safety", "utility"])
def test_a_response_follows_the_prompt_it_was_given_to(role):
    """The other prompt does not matter to the gradient."""
    chat = tiny_chat("llama", torch.float32, layers=2)
    pair = prompt_pair(0, role)
    other = replace(pair, prompt="Otherwise.") if role == "safety" else replace(pair, query="Otherwise?")
    tables = [attribute_shard([each], AttributionConfig(method="gradient"), chat).table for each in (pair, other)]
    pd.testing.assert_frame_equal(*tables)
