"""Log-probabilities of responses against a plain loop over all logits of one sequence at a time."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from neurontune_core.model import tiny
from neurontune_core.model.likelihood import TokenSequence, response_hidden, response_log_probabilities, shared_prefix
from neurontune_core.model.load import ChatModel

GENERATOR = random.Random(3)
SEQUENCES = [
    TokenSequence(
        [GENERATOR.randrange(256) for _ in range(prompt)], [GENERATOR.randrange(257) for _ in range(response)]
    )
    for prompt, response in [(5, 3), (1, 9), (30, 1), (12, 0), (7, 7), (2, 20)]
]
FLOAT32_ONLY = ("gemma2", *tiny.EXPERTS)  # transformers' eager attention and experts compute in float32


@torch.no_grad()
def plain(chat: ChatModel, sequence: TokenSequence) -> float:
    """log P(response | prompt) token by token, each from a forward pass over all that comes before it."""
    total = 0.0
    for place, token in enumerate(sequence.response):
        before = torch.tensor([[*sequence.prompt, *sequence.response[:place]]])
        logits = chat.model(input_ids=before).logits[0, -1].double()
        total += float(logits[token] - logits.logsumexp(0))
    return total


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_log_probabilities_equal_the_plain_loop(tiny_chat: Callable[..., ChatModel], family: str) -> None:
    single = family in FLOAT32_ONLY
    chat = tiny_chat(family, torch.float32 if single else torch.float64)
    expected = [plain(chat, sequence) for sequence in SEQUENCES]
    assert response_log_probabilities(chat, SEQUENCES) == pytest.approx(expected, rel=1e-5 if single else 1e-11)
    assert expected[3] == 0.0 and min(expected) < -20


@pytest.mark.parametrize("batch_tokens", [1, 30, 64])
def test_the_bound_on_a_batch_changes_nothing(tiny_chat: Callable[..., ChatModel], batch_tokens: int) -> None:
    chat = tiny_chat(dtype=torch.float64)
    whole = response_log_probabilities(chat, SEQUENCES)
    assert response_log_probabilities(replace(chat, batch_tokens=batch_tokens), SEQUENCES) == pytest.approx(
        whole, rel=1e-12
    )


def test_only_empty_responses(tiny_chat: Callable[..., ChatModel]) -> None:
    assert response_log_probabilities(tiny_chat(), [TokenSequence([1, 2], [])]) == [0.0]
    assert response_log_probabilities(tiny_chat(), []) == []


def test_hidden_states_stand_in_order_with_tokens_and_places(tiny_chat: Callable[..., ChatModel]) -> None:
    chat = tiny_chat(dtype=torch.float64)
    hidden, tokens, places = response_hidden(chat, SEQUENCES, shared_prefix(chat, SEQUENCES))
    assert tokens.tolist() == [token for sequence in SEQUENCES for token in sequence.response]
    assert places.tolist() == [place for sequence in SEQUENCES for place in range(len(sequence.response))]
    start = 0
    for sequence in SEQUENCES:
        alone = chat.model.base_model(input_ids=torch.tensor([sequence.tokens])).last_hidden_state[0]
        first, count = len(sequence.prompt) - 1, len(sequence.response)
        torch.testing.assert_close(hidden[start : start + count], alone[first : first + count], rtol=1e-10, atol=1e-10)
        start += count


def test_float32_is_close_to_float64(tiny_chat: Callable[..., ChatModel]) -> None:
    single = response_log_probabilities(tiny_chat(), SEQUENCES)
    double = response_log_probabilities(tiny_chat(dtype=torch.float64), SEQUENCES)
    assert single == pytest.approx(double, rel=1e-5) and single != double
