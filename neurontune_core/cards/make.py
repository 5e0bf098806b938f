"""Cards of the strongest neurons of a selection."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from neurontune_core.cards.activations import last_states, plain_prompts
from neurontune_core.cards.card import ExcitingPrompt, NeuronCard
from neurontune_core.cards.columns import promoted_and_suppressed
from neurontune_core.expert_address import SHARED, expert_of
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import expert_counts
from neurontune_core.progress import Track, silent
from neurontune_core.records import NeuronId, NeuronSet, PromptPair, Role

VERSION = 1
TOKENS, PROMPTS = 5, 3
"""On a card: tokens of either kind, and prompts."""


def strongest(ranking: pd.DataFrame, selected: NeuronSet, count: int) -> pd.DataFrame:
    """Return the rows of the first `count` neurons of each set, in the order of the ranking.

    Args:
        ranking: columns `role`, `layer`, `index`, `score`, `low`, `high`; strongest first within a role.
        selected: the two sets.
        count: how many of each.
    """

    def first(role: Role, neurons: Sequence[NeuronId]) -> pd.DataFrame:
        mine, members = ranking[ranking["role"] == role], set(neurons)
        return mine[
            np.array([place in members for place in zip(mine["layer"], mine["index"], strict=True)], bool)
        ].head(count)

    return pd.concat([first("safety", selected.safety), first("utility", selected.utility)], ignore_index=True)


def make_cards(
    rows: pd.DataFrame, pairs: Sequence[PromptPair], chat: ChatModel, track: Track = silent
) -> list[NeuronCard]:
    """Return the card of every neuron of a ranking's rows, in their order.

    Args:
        rows: of `strongest`.
        pairs: those of the run; prompts without an attack are read, of the splits but test.
        chat: the base model.
        track: reports the progress.
    """
    records: list[dict[Any, Any]] = rows.to_dict("records")
    neurons = [NeuronId(int(row["layer"]), int(row["index"])) for row in records]
    if not neurons:
        return []
    prompts = plain_prompts(pairs)
    activations, routed = last_states(chat, [pair.conversation for pair in prompts], neurons, track)
    tokens = promoted_and_suppressed(chat, neurons, TOKENS)
    shapes, harmful = expert_counts(chat.model), np.array([prompt.role == "safety" for prompt in prompts], dtype=bool)
    cards = []
    for place, (row, neuron, (promoted, suppressed)) in enumerate(zip(records, neurons, tokens, strict=True)):
        mine = activations[:, place]
        excited = [
            ExcitingPrompt(prompts[i].id, prompts[i].prompt, prompts[i].role == "safety", float(mine[i]))
            for i in np.argsort(-mine, kind="stable")[:PROMPTS]
        ]
        score, low, high = (float(row[name]) for name in ("score", "low", "high"))
        address = expert_of(neuron, shapes)
        shares: tuple[float, ...] = ()
        if address[0] not in ("", SHARED):
            shares = tuple(float(routed[kind, place].mean()) if kind.any() else np.nan for kind in (harmful, ~harmful))
        cards.append(
            NeuronCard(row["role"], *neuron, score, low, high, promoted, suppressed, tuple(excited), *address, shares)
        )
    return cards
