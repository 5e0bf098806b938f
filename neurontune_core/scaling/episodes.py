"""Episodes of meta-learning: a task is an attack category; support and query batches use different attacks."""

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from neurontune_core.errors import InputError
from neurontune_core.records import PromptPair, Role
from neurontune_core.scaling.settings import TrainingSettings

PLAIN = ""


@dataclass(frozen=True)
class Episode:
    """The two batches of one task: the inner loop uses `support`, the outer gradient `query`."""

    category: str
    support: list[PromptPair]
    query: list[PromptPair]


Member = TypeVar("Member")


class _Deck(Generic[Member]):
    """Draws without replacement from a shuffled list; the list is shuffled again when too few members remain."""

    def __init__(self, members: list[Member], generator: random.Random):
        self._members = members
        self._random = generator
        self._left: list[Member] = []

    def __len__(self) -> int:
        return len(self._members)

    def draw(self, count: int) -> list[Member]:
        """Return `count` different members, or all of them if there are fewer."""
        count = min(count, len(self._members))
        if len(self._left) < count:
            self._left = self._random.sample(self._members, len(self._members))
        drawn, self._left = self._left[:count], self._left[count:]
        return drawn


Decks = dict[tuple[Role, str], _Deck[PromptPair]]
"""The prompts of each role under each attack; "" stands for plain prompts."""


def _around_both(pairs: Sequence[PromptPair], decks: Decks) -> dict[str, list[str]]:
    """Return, by category, the attacks that wrap prompts of both roles; plain prompts have the category ""."""
    attacks: dict[str, set[str]] = defaultdict(set)
    for pair in pairs:
        if {("safety", pair.attack_name), ("utility", pair.attack_name)} <= decks.keys():
            attacks[pair.attack_category].add(pair.attack_name)
    return {category: sorted(attacks[category]) for category in sorted(attacks)}


class EpisodeSampler:
    """Draws episodes from training pairs, the same for the same seed.

    In each role's batch, `attacked_share` of the prompts are under attacks of the task's category and the rest are
    plain. The support batch uses one attack, the query batch up to `query_attacks` others. Harmful and harmless prompts
    get the same attacks, so that the attack alone does not predict the label. Categories, attacks and prompts are drawn
    without replacement until all have been drawn.

    Args:
        pairs: the pairs from which prompts are drawn.
        settings: the sizes of the query batch, `attacked_share`, and the seed.
        support: number of prompts of each role in a support batch; 0 gives no support batch.
        tasks: number of episodes drawn at a time.

    Raises:
        InputError: a role has no plain training prompt, or no category has an attack around both roles.
    """

    def __init__(self, pairs: Sequence[PromptPair], settings: TrainingSettings, support: int = 0, tasks: int = 1):
        self._settings, self._support, self._tasks = settings, support, tasks
        self._random = random.Random(settings.seed)
        pools: dict[tuple[Role, str], list[PromptPair]] = defaultdict(list)
        for pair in pairs:
            pools[pair.role, pair.attack_name].append(pair)
        self._decks: Decks = {name: _Deck(pool, self._random) for name, pool in pools.items()}
        attacks = _around_both(pairs, self._decks)
        if not (attacks.pop(PLAIN, None) and attacks):
            raise InputError(
                "scaling: the training split needs plain harmful and plain harmless prompts, and one attack around "
                "both; check pairs.harmful, pairs.benign, pairs.responses and the split fractions"
            )
        self._attacks = attacks
        self._categories = _Deck(list(attacks), self._random)
        self._turns = {category: _Deck(names, self._random) for category, names in attacks.items()}

    def draw(self) -> list[Episode]:
        """Return the episodes of one outer step, of different categories if there are enough categories."""
        return [self._episode(category) for category in self._categories.draw(self._tasks)]

    def _episode(self, category: str) -> Episode:
        turns, settings = self._turns[category], self._settings
        spared = 1 if self._support and len(turns) > 1 else 0
        query = turns.draw(min(settings.query_attacks, len(turns) - spared))
        others = [attack for attack in self._attacks[category] if attack not in query]
        support = self._random.choice(others or self._attacks[category])
        return Episode(
            category,
            self._batch([support], self._support, self._support),
            self._batch(query, settings.harmful_batch, settings.harmless_batch),
        )

    def _batch(self, attacks: Sequence[str], harmful: int, harmless: int) -> list[PromptPair]:
        sizes: list[tuple[Role, int]] = [("safety", harmful), ("utility", harmless)]
        batch: list[PromptPair] = []
        for role, size in sizes:
            attacked = math.ceil(size * self._settings.attacked_share)
            for number, attack in enumerate(attacks):
                batch += self._decks[role, attack].draw(len(range(number, attacked, len(attacks))))
            batch += self._decks[role, PLAIN].draw(size - attacked)
        return batch


def answered(pairs: Sequence[PromptPair]) -> list[PromptPair]:
    """Return the pairs that have a response."""
    return [pair for pair in pairs if pair.response]
