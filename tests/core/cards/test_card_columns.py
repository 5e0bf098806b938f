"""The tokens of a neuron's output column, against direct matrix products with the model's own weights."""

import pytest
import torch
from card_cases import DENSE, chat_of
from torch import Tensor

from neurontune_core.cards import columns
from neurontune_core.cards.columns import output_columns, promoted_and_suppressed
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import down_projections, edited
from neurontune_core.records import NeuronId

NEURONS = [NeuronId(0, 3), NeuronId(1, 47), NeuronId(1, 0)]
WORDS = 260
"""Tokens of the tiny tokenizer; the tiny models' heads have four rows more."""


def named(chat: ChatModel, ids: Tensor) -> tuple[str, ...]:
    given = [chat.tokenizer.decode([token]) for token in ids.tolist()]
    names = chat.tokenizer.convert_ids_to_tokens(ids.tolist())
    return tuple(name if "\ufffd" in text else text for text, name in zip(given, names, strict=True))


def expected(chat: ChatModel, changes: Tensor, count: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    order = changes[:WORDS].argsort(descending=True)
    return named(chat, order[:count]), named(chat, order.flip(0)[:count])


def test_linear_columns_against_a_matrix_product() -> None:
    chat = chat_of("llama")
    gain, head = chat.model.model.norm.weight, chat.model.lm_head.weight
    gain.copy_(torch.randn(32, generator=torch.Generator().manual_seed(1)))
    head[WORDS:] = 50.0  # rows for which there is no token
    found = promoted_and_suppressed(chat, NEURONS, 5)
    for neuron, tokens in zip(NEURONS, found, strict=True):
        column = chat.model.model.layers[neuron.layer].mlp.down_proj.weight[:, neuron.index]
        changes = head @ (gain * column / (column.square().mean() + 1e-6).sqrt())
        assert tokens == expected(chat, changes, 5)
        assert all(len(part) == 5 for part in tokens)


def test_conv1d_columns_against_a_matrix_product_and_biases_count_for_nothing() -> None:
    chat = chat_of("gpt2")
    generator = torch.Generator().manual_seed(1)
    norm, head = chat.model.transformer.ln_f, chat.model.lm_head.weight
    norm.weight.copy_(torch.randn(32, generator=generator))
    norm.bias.copy_(30 * torch.randn(32, generator=generator))
    for neuron, tokens in zip(NEURONS, promoted_and_suppressed(chat, NEURONS, 5), strict=True):
        column = chat.model.transformer.h[neuron.layer].mlp.c_proj.weight[neuron.index, :]
        centred = column - column.mean()
        changes = head @ (norm.weight * centred / (centred.square().mean() + 1e-5).sqrt())
        assert tokens == expected(chat, changes, 5)


@pytest.mark.parametrize("family", DENSE)
def test_a_column_is_what_a_neuron_adds(family: str) -> None:
    """Raising one activation by 1 moves the down projection's output by its column."""
    chat = chat_of(family)
    ids = torch.arange(5)[None]
    for neuron in NEURONS:
        outputs = []
        module = down_projections(chat.model)[neuron.layer]
        handle = module.register_forward_hook(lambda _, inputs, output, seen=outputs: seen.append(output.view(-1, 32)))
        unit = torch.zeros(48).index_fill(0, torch.tensor([neuron.index]), 1.0)
        chat.model(input_ids=ids)
        with edited(chat.model, {neuron.layer: lambda values, unit=unit: values + unit}):
            chat.model(input_ids=ids)
        handle.remove()
        (column,) = output_columns(chat.model, [neuron])
        torch.testing.assert_close(outputs[1] - outputs[0], column.expand(5, -1), rtol=1e-3, atol=1e-4)


def test_many_columns_come_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    chat = chat_of("qwen2")
    neurons = [NeuronId(layer, index) for layer in (0, 1) for index in range(48)]
    whole = promoted_and_suppressed(chat, neurons, 3)
    monkeypatch.setattr(columns, "COLUMNS_AT_ONCE", 7)
    assert promoted_and_suppressed(chat, neurons, 3) == whole and len(whole) == 96


def test_parts_of_characters_and_blanks_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    chat = chat_of("llama")
    (space,) = chat.tokenizer.encode(" ")
    first = chat.tokenizer.encode("é")[0]
    assert columns._text_of(chat.tokenizer, space) == " "
    assert columns._text_of(chat.tokenizer, first) == chat.tokenizer.convert_ids_to_tokens(first)
    monkeypatch.setattr(chat.tokenizer, "convert_ids_to_tokens", lambda _: "\u2581word")
    monkeypatch.setattr(chat.tokenizer, "decode", lambda _: "word")
    assert columns._text_of(chat.tokenizer, 7) == " word"
