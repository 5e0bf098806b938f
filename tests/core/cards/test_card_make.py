"""From a ranking to cards, and back from a table."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from card_cases import all_pairs, chat_of

from neurontune_core import tables
from neurontune_core.cards.activations import last_activations, plain_prompts
from neurontune_core.cards.card import NeuronCard, cards_of, cards_table
from neurontune_core.cards.columns import promoted_and_suppressed
from neurontune_core.cards.make import make_cards, strongest
from neurontune_core.records import NeuronId, NeuronSet

SELECTED = NeuronSet((NeuronId(0, 1), NeuronId(1, 2), NeuronId(1, 9)), (NeuronId(0, 7),))
ROWS = [
    ("safety", 1, 9, 0.9, 0.5, 1.3), ("safety", 0, 4, 0.8, 0.4, 1.2), ("utility", 0, 7, 0.7, 0.1, 1.3),
    ("safety", 0, 1, 0.6, 0.2, 1.0), ("safety", 1, 2, math.nan, math.nan, math.nan),
]  # fmt: skip
RANKING = pd.DataFrame(ROWS, columns=["role", "layer", "index", "score", "low", "high"])


def places(rows: pd.DataFrame) -> list[tuple[str, int, int]]:
    return list(rows[["role", "layer", "index"]].itertuples(index=False, name=None))


def test_the_strongest_of_each_set_in_the_order_of_the_ranking() -> None:
    """Neuron 4 of layer 0 is ranked and not selected."""
    assert places(strongest(RANKING, SELECTED, 2)) == [("safety", 1, 9), ("safety", 0, 1), ("utility", 0, 7)]
    assert len(strongest(RANKING, SELECTED, 99)) == 4
    alone = strongest(RANKING, NeuronSet(SELECTED.safety, ()), 1)
    assert places(alone) == [("safety", 1, 9)]
    assert len(strongest(RANKING, NeuronSet((), ()), 3)) == 0


def test_cards_have_the_scores_tokens_and_prompts_of_their_neurons(tmp_path: Path) -> None:
    chat = chat_of("llama")
    rows, pairs = strongest(RANKING, SELECTED, 10), all_pairs()
    cards = make_cards(rows, pairs, chat)
    neurons = [card.neuron for card in cards]
    assert neurons == [NeuronId(1, 9), NeuronId(0, 1), NeuronId(1, 2), NeuronId(0, 7)]
    assert [card.role for card in cards] == ["safety"] * 3 + ["utility"]
    assert (cards[0].score, cards[0].low, cards[0].high) == (0.9, 0.5, 1.3) and math.isnan(cards[2].score)
    assert [(card.promoted, card.suppressed) for card in cards] == promoted_and_suppressed(chat, neurons, 5)
    prompts = plain_prompts(pairs)
    activations = last_activations(chat, [one.conversation for one in prompts], neurons)
    for card, mine in zip(cards, activations.T, strict=True):
        values = [prompt.activation for prompt in card.prompts]
        assert values == sorted(mine.tolist(), reverse=True)[:3]
        best = prompts[int(np.argmax(mine))]
        assert (card.prompts[0].id, card.prompts[0].text) == (best.id, best.prompt)
        assert all(prompt.harmful == prompt.id.startswith("safety") for prompt in card.prompts)
    tables.save_table(tmp_path, "cards", cards_table(cards))
    assert repr(cards_of(tables.load_table(tmp_path, "cards"))) == repr(cards)


@pytest.mark.parametrize("role", ["safety", "utility"])
def test_few_prompts_or_none_and_no_neuron(tmp_path: Path, role: str) -> None:
    chat = chat_of("gpt2")
    rows = strongest(RANKING, SELECTED, 1)
    few = [one for one in all_pairs() if one.role == role and one.split == "train"][:2]  # one of them attacked
    assert [len(card.prompts) for card in make_cards(rows, few, chat)] == [1, 1]
    bare = make_cards(rows, [], chat)
    assert [card.prompts for card in bare] == [(), ()]
    for cards in (bare, make_cards(rows.iloc[:0], few, chat)):
        tables.save_table(tmp_path, "cards", cards_table(cards))
        back: list[NeuronCard] = cards_of(tables.load_table(tmp_path, "cards"))
        assert back == cards
