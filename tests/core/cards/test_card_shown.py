"""What a person sees of a card: hostile tokens and prompts are text and nothing else."""

import math

import numpy as np
import pytest

from neurontune_core.cards.card import ExcitingPrompt, NeuronCard
from neurontune_core.cards.shown import one_line, shown_cards
from neurontune_core.records import NeuronId, NeuronSet, ScalingFactors

HOSTILE = [
    "\x1b[31mred\x1b[0m",
    "\u202etxet",
    "a\rb\nc\td",
    "\x00\x07\x9b2J",
    "\u2028\u2029\x85",
    "\ud800",
    "\u200b\ufeff",
]


def card(**changes: object) -> NeuronCard:
    given = {"role": "safety", "layer": 1, "index": 2, "score": 0.01234, "low": 0.001, "high": 0.0234}
    given |= {"promoted": (" the",), "suppressed": ("é",), "prompts": ()}
    return NeuronCard(**given | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_no_sign_of_a_token_or_prompt_steers_the_terminal(text: str) -> None:
    (shown,) = shown_cards(
        [card(promoted=(text,), suppressed=(text,), prompts=(ExcitingPrompt("a", text, True, 1.0),))], None
    )
    for given in (*shown.promoted, *shown.suppressed, *(prompt.text for prompt in shown.prompts)):
        assert given.isprintable()
    assert shown.promoted[0] != f"'{text}'", "what was there is told"


def test_tokens_are_quoted_and_prompts_cut_to_one_line() -> None:
    (shown,) = shown_cards([card(prompts=(ExcitingPrompt("a", "x" * 101, False, -3.14159),))], None)
    assert (shown.promoted, shown.suppressed) == (("' the'",), ("'é'",))
    assert shown.prompts[0].text == "x" * 100 + "..." and shown.prompts[0].activation == "-3.14"
    assert one_line(" two\n\n lines \x1b[2J ") == "two lines [2J"
    assert one_line("y" * 100) == "y" * 100
    assert one_line("\n" * 5000 + "far behind") == "far behind"


def test_score_interval_and_factor_as_far_as_they_exist() -> None:
    factors = ScalingFactors(NeuronSet((NeuronId(1, 2),), (NeuronId(0, 0),)), np.array([1.5, -0.25], dtype=np.float32))
    cards = [card(), card(low=math.nan, high=math.nan), card(score=math.nan, low=math.nan, high=math.nan, index=3)]
    shown = shown_cards(cards, factors)
    assert [one.score for one in shown] == ["0.0123 [0.001, 0.0234]", "0.0123", "no score"]
    assert [one.factor for one in shown] == ["1.500", "1.500", ""]
    assert [one.factor for one in shown_cards(cards, None)] == ["", "", ""]
