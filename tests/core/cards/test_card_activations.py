"""Which prompts are read, and the activations at their ends."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from card_cases import DENSE, all_pairs, chat_of, pair

from neurontune_core.cards.activations import last_activations, plain_prompts
from neurontune_core.neurons import captured
from neurontune_core.records import Conversation, Message, NeuronId

NEURONS = [NeuronId(1, 5), NeuronId(0, 0), NeuronId(1, 47)]
PROMPTS = [
    Conversation("Hello"),
    Conversation("How long is a longer question than the others, if one may ask?"),
    Conversation("And then?", (Message("user", "Hello"), Message("assistant", "Hi"))),
    Conversation("x"),
    Conversation("Hello", system="Be brief."),
]


@pytest.mark.parametrize("system", [None, "You are a careful assistant."], ids=["alone", "shared system message"])
@pytest.mark.parametrize("family", DENSE)
@torch.no_grad()
def test_activations_against_a_plain_loop(family: str, system: str | None) -> None:
    chat = replace(chat_of(family), system_prompt=system)
    prompts = PROMPTS if system is None else PROMPTS[:4]
    found = last_activations(replace(chat, batch_tokens=60), prompts, NEURONS)
    for row, prompt in zip(found, prompts, strict=True):
        with captured(chat.model) as values:
            chat.model(input_ids=torch.tensor([chat.prompt_tokens(prompt)]))
        wanted = [float(values[neuron.layer][0, -1, neuron.index]) for neuron in NEURONS]
        np.testing.assert_allclose(row, wanted, rtol=1e-3, atol=1e-4)
    assert found.std(axis=0).max() > 1e-2


def test_one_prompt_and_none() -> None:
    chat = chat_of("llama")
    assert last_activations(replace(chat, batch_tokens=4), PROMPTS[:1], NEURONS).shape == (1, 3)
    assert last_activations(replace(chat, batch_tokens=4), [], NEURONS).shape == (0, 3)


def test_plain_prompts_of_both_roles_and_never_test() -> None:
    drawn = plain_prompts(all_pairs())
    assert {(one.role, one.split) for one in drawn} == {
        (role, split) for role in ("safety", "utility") for split in ("train", "validation")
    }
    assert len(drawn) == 12 and not any(one.attack_name for one in drawn)


def test_a_fixed_seed_draws_from_many_and_equal_prompts_count_once() -> None:
    many = [pair(f"{number}", "safety") for number in range(50)]
    drawn = plain_prompts(many, most=10)
    assert drawn == plain_prompts(many, most=10) and len(set(drawn)) == 10
    assert drawn != many[:10]
    twice = [pair("a", "utility", prompt="same"), pair("b", "utility", "validation", prompt="same")]
    assert len(plain_prompts(twice)) == 1
