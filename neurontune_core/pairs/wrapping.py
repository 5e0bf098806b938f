"""Choose the attacks in which each query is wrapped."""

import random
from collections import defaultdict
from collections.abc import Sequence
from itertools import zip_longest
from typing import TypeVar

from neurontune_core.data.corpus import Attack, Query
from neurontune_core.data.prompts import prompt_of
from neurontune_core.pairs.settings import PairsConfig
from neurontune_core.records import ROLES, PromptPair, Split

Member = TypeVar("Member")


def wrap_queries(
    queries: Sequence[Query],
    splits: dict[str, Split],
    seen: Sequence[Attack],
    unseen: Sequence[Attack],
    chosen: Sequence[Attack],
    config: PairsConfig,
) -> list[PromptPair]:
    """Return the prompts of all queries, still without responses: every query plain, some of each role wrapped.

    Both roles are treated alike. In training, `selected_queries` queries are wrapped in the strongest attacks, for
    attribution. Further queries, up to `wrapped_queries` in all, are each wrapped in `attacks_per_query` of all
    training attacks. In test, `wrapped_test_queries` queries are wrapped both in training and in held-out attacks; in
    validation, half as many queries in training attacks. Queries come from all categories, and all attacks wrap about
    as many queries.
    """
    pairs = [prompt_of(query, None, query.role, splits[query.id], query.source) for query in queries]
    names = {attack.name for attack in chosen}
    for role in ROLES:
        for split in ("train", "validation", "test"):
            mine = [query for query in queries if query.role == role and splits[query.id] == split]
            mixed = _from_all_categories(mine, f"{config.seed}/wrap/{role}/{split}")
            if split == "train":
                selected, others = mixed[: config.selected_queries], mixed[config.selected_queries :]
                # prompts under one attack have similar lengths, so batches have little padding
                others = sorted(
                    others[: max(0, config.wrapped_queries - len(selected))], key=lambda q: len(q.conversation.text)
                )
                plans = [(selected, chosen, 1), (others, seen, config.attacks_per_query)]
            elif split == "validation":
                plans = [(mixed[: config.wrapped_test_queries // 2], seen, 1)]
            else:
                plans = [(mixed[: config.wrapped_test_queries], attacks, 1) for attacks in (seen, unseen)]
            for members, attacks, each in plans:
                turns = _in_turn(attacks, len(members), each, f"{config.seed}/attacks/{split}")
                for query, attack in zip(members * each, turns, strict=False):
                    strongest = attack.name in names
                    pairs.append(prompt_of(query, attack, query.role, splits[query.id], query.source, strongest))
    return pairs


def _from_all_categories(queries: Sequence[Query], seed: str) -> list[Query]:
    """Return queries shuffled within their category, the categories taking turns."""
    by_category: dict[str, list[Query]] = defaultdict(list)
    for query in queries:
        by_category[query.category].append(query)
    generator = random.Random(seed)
    return in_turns([generator.sample(by_category[name], len(by_category[name])) for name in sorted(by_category)])


def in_turns(groups: Sequence[Sequence[Member]]) -> list[Member]:
    """Return the members of all groups: the first of each group, then the second of each, and so on."""
    return [member for row in zip_longest(*groups) for member in row if member is not None]


def _in_turn(attacks: Sequence[Attack], members: int, each: int, seed: str) -> list[Attack]:
    """Return an attack for every member, in `each` rounds, or in fewer rounds if there are fewer attacks.

    Attacks are shuffled. Each wraps consecutive members; in the next round the assignment is shifted by one attack.
    """
    order = random.Random(seed).sample(list(attacks), len(attacks))
    turns = range(min(each, len(order)))
    return [order[(place * len(order) // members + turn) % len(order)] for turn in turns for place in range(members)]
