"""Strategic attack selection: which attacks move the model furthest from refusing (section 3.1 of the paper)."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit  # not scipy.stats, whose import takes half a second

from neurontune_core.data.corpus import Attack
from neurontune_core.model.chat import encode_response
from neurontune_core.model.likelihood import TokenSequence, response_log_probabilities
from neurontune_core.model.load import ChatModel
from neurontune_core.progress import Track, silent
from neurontune_core.records import Conversation


def rank_attacks(
    chat: ChatModel,
    attacks: Sequence[Attack],
    queries: Sequence[str | Conversation],
    refusal: str,
    track: Track = silent,
) -> pd.DataFrame:
    """Rank attacks within their type by how far they lower the log-probability of a refusal.

    The score of an attack is the mean over queries of `log P(refusal | query) - log P(refusal | attacked query)` in
    nats; `low` and `high` bound its 95% interval (Student t over queries), and are NaN for a single query. Equal
    attacks are in the order of their names. The strongest attack of each type is `selected`.

    Args:
        chat: the model.
        attacks: the attacks to rank.
        queries: harmful queries, alone or with the turns before them, the same for every attack.
        refusal: the safe response.
        track: reports the progress of the batches.
    """
    response = encode_response(chat.tokenizer, refusal, None)
    plain = [Conversation(query) if isinstance(query, str) else query for query in queries]
    attacked = [replace(query, prompt=attack.wrap(query.prompt)) for attack in attacks for query in plain]
    encoded = [chat.prompt_tokens(prompt) for prompt in (*plain, *attacked)]
    sequences = [TokenSequence(tokens, response) for tokens in encoded]
    values = np.array(response_log_probabilities(chat, sequences, track))
    count = len(queries)
    drops = values[:count] - values[count:].reshape(len(attacks), count)
    low, high = mean_intervals(drops)
    table = pd.DataFrame(
        {
            "attack_type": [attack.type for attack in attacks],
            "attack_category": [attack.category for attack in attacks],
            "attack_name": [attack.name for attack in attacks],
            "drop": drops.mean(axis=1),
            "low": low,
            "high": high,
            "queries": count,
        }
    )
    order = ["attack_type", "drop", "attack_name"]
    table = table.sort_values(order, ascending=[True, False, True], ignore_index=True)
    table["rank"] = table.groupby("attack_type").cumcount() + 1
    table["selected"] = table["rank"] == 1
    return table


def mean_intervals(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the 95% interval (Student t) of the mean of each row `[row, value]`; NaN for rows of one value."""
    count = values.shape[1]
    mean = values.mean(axis=1)
    if count < 2:
        return np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    margin = stdtrit(count - 1, 0.975) * values.std(axis=1, ddof=1) / np.sqrt(count)
    return mean - margin, mean + margin


def explain_ranking(ranking: pd.DataFrame) -> str:
    """Return one line that says which attacks were chosen, why, and how sure the choice is."""
    names, sure = [], 0
    for attack_type, table in ranking.groupby("attack_type"):
        chosen, others = table[table["selected"]], table[~table["selected"]]
        names.append(f"{', '.join(chosen['attack_name'])} ({str(attack_type).replace('_', ' ')})")
        # comparisons with NaN are false, so a choice by one query is never sure
        sure += int(others.empty or bool(chosen["low"].min() > others["high"].max()))
    types, queries = len(names), int(ranking["queries"].iloc[0])
    return (
        f"Chosen: {'; '.join(names)} - of {len(ranking)} attacks the strongest of each type by the drop in "
        f"log P(refusal) over {queries} harmful training {'query' if queries == 1 else 'queries'}; "
        f"the 95% intervals of the drop set them apart from the rest in {sure} of {types} types."
    )
