"""Cards of neurons in experts: their address, and how often their expert is asked."""

import math
from pathlib import Path

import pandas as pd
import torch
from card_cases import all_pairs, chat_of

from neurontune_core import tables
from neurontune_core.cards.activations import last_states, plain_prompts
from neurontune_core.cards.card import cards_of, cards_table
from neurontune_core.cards.columns import output_columns
from neurontune_core.cards.make import make_cards
from neurontune_core.cards.shown import shown_cards
from neurontune_core.expert_address import expert_of, neuron_in_words
from neurontune_core.records import NeuronId

SHAPES = [(0, 0), (4, 16)]


def test_addresses_by_hand() -> None:
    assert expert_of(NeuronId(0, 70), SHAPES) == ("", 70)
    assert expert_of(NeuronId(1, 0), SHAPES) == ("0", 0)
    assert expert_of(NeuronId(1, 63), SHAPES) == ("3", 15)
    assert expert_of(NeuronId(1, 64), SHAPES) == ("shared", 0)
    assert expert_of(NeuronId(1, 90), SHAPES) == ("shared", 26)
    assert expert_of(NeuronId(5, 7), ()) == ("", 7)
    words = [neuron_in_words(NeuronId(1, index), *expert_of(NeuronId(1, index), SHAPES)) for index in (18, 64)]
    assert [*words, neuron_in_words(NeuronId(0, 5), "", 5)] == ["expert 1, 2", "shared expert, 0", "5"]


def test_cards_tell_how_often_the_expert_is_asked(tmp_path: Path) -> None:
    chat, pairs = chat_of("deepseek_v3"), all_pairs()
    rows = [("safety", 1, 18, 0.9, 0.5, 1.3), ("safety", 1, 64, 0.8, 0.4, 1.2), ("utility", 0, 7, 0.7, 0.1, 1.3)]
    table = pd.DataFrame(rows, columns=["role", "layer", "index", "score", "low", "high"])
    cards = make_cards(table, pairs, chat)
    assert [(card.expert, card.place) for card in cards] == [("1", 2), ("shared", 0), ("", 7)]
    assert [len(card.routed) for card in cards] == [2, 0, 0]
    prompts = plain_prompts(pairs)
    harmful = [prompt.role == "safety" for prompt in prompts]
    sent = {True: [], False: []}  # type: ignore[var-annotated]
    for prompt, kind in zip(prompts, harmful, strict=True):
        chosen: list[torch.Tensor] = []
        gate = chat.model.model.layers[1].mlp.gate  # type: ignore[union-attr, index]
        handle = gate.register_forward_hook(lambda _, inputs, output, chosen=chosen: chosen.append(output[-1][-1]))
        chat.model(torch.tensor([chat.prompt_tokens(prompt.conversation)]))
        handle.remove()
        sent[kind].append(1 in chosen[0].tolist())
    assert cards[0].routed == tuple(sum(sent[kind]) / len(sent[kind]) for kind in (True, False))
    shown = shown_cards(cards, None)
    assert [card.neuron for card in shown] == ["expert 1, 2", "shared expert, 0", "7"]
    assert shown[0].routed.endswith("of harmless") and shown[1].routed == shown[2].routed == ""
    tables.save_table(tmp_path, "cards", cards_table(cards))
    assert cards_of(tables.load_table(tmp_path, "cards")) == cards
    old = cards_table(cards).drop(columns=["expert", "place", "routed"])
    assert [card.routed for card in cards_of(old)] == [()] * 3
    alone = make_cards(table, [pair for pair in pairs if pair.role == "safety"], chat)[0]
    assert math.isnan(alone.routed[1]) and "harmless" not in shown_cards([alone], None)[0].routed


def test_a_prompt_that_does_not_go_to_the_expert_has_activation_0() -> None:
    chat, neurons = chat_of("mixtral"), [NeuronId(1, expert * 48 + 5) for expert in range(4)]
    prompts = [pair.conversation for pair in plain_prompts(all_pairs())]
    activations, routed = last_states(chat, prompts, neurons)
    assert (routed.sum(1) == 2).all() and ((activations != 0) == routed).all()


def test_output_columns_are_those_of_the_expert() -> None:
    for family, transposed in (("mixtral", False), ("gpt_oss", True)):
        model = chat_of(family).model
        experts = model.model.layers[1].mlp.experts  # type: ignore[union-attr, index]
        width = experts.down_proj.shape[1 if transposed else 2]
        weight = experts.down_proj[3]
        (column,) = output_columns(model, [NeuronId(1, 3 * width + 4)])
        assert torch.equal(column, weight[4] if transposed else weight[:, 4])
    shared = chat_of("deepseek_v3").model
    (column,) = output_columns(shared, [NeuronId(1, 64 + 2)])
    assert torch.equal(column, shared.model.layers[1].mlp.shared_experts.down_proj.weight[:, 2])  # type: ignore[union-attr, index]
