"""Log-probabilities of responses against a plain loop over all logits of one sequence at a time."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from neurontune_core.model import head, tiny
from neurontune_core.model.likelihood import (
    TokenSequence,
    option_log_probabilities,
    response_hidden,
    response_log_probabilities,
    shared_prefix,
)
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


@pytest.mark.parametrize("batch_tokens", [1, 64, 1000])
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_options_have_the_log_probabilities_that_each_has_alone(
    tiny_chat: Callable[..., ChatModel], family: str, batch_tokens: int
) -> None:
    single = family in FLOAT32_ONLY
    chat = tiny_chat(family, torch.float32 if single else torch.float64)
    begin = [7, 8, 9]
    prompts = [[*begin, *s.prompt] for s in SEQUENCES] + [[*begin, 4, 5, 6, 7, 8], [1, 2], [1, 2], [3]]
    options = [
        [[GENERATOR.randrange(256) for _ in range(GENERATOR.choice([1, 1, 2, 6]))] for _ in range(count)]
        for count in (4, 1, 3, 4, 2, 5, 4, 4, 2, 1)
    ]
    expected = [
        response_log_probabilities(chat, [TokenSequence(prompt, option) for option in some])
        for prompt, some in zip(prompts, options, strict=True)
    ]
    found = option_log_probabilities(replace(chat, batch_tokens=batch_tokens), prompts, options)
    for some, wanted in zip(found, expected, strict=True):
        assert some == pytest.approx(wanted, rel=1e-5 if single else 1e-10)


def test_a_prompt_is_run_once_for_all_its_options(
    tiny_chat: Callable[..., ChatModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    chat, run = tiny_chat(), []
    hidden_states = head.hidden_states
    monkeypatch.setattr(head, "hidden_states", lambda *given: (run.append(given[1].numel()), hidden_states(*given))[1])
    option_log_probabilities(chat, [list(range(1, 21))], [[[3, 4], [5, 6], [7, 8], [9, 10]]])
    assert run == [20, 4]
    run.clear()
    option_log_probabilities(chat, [list(range(1, 21))], [[[3], [5], [7], [9]]])
    assert run == [20]
