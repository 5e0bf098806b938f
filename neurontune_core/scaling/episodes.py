"""Episodes of meta-learning: a task is an attack category, and support and query differ in attack."""

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
    """The two batches of one task: the inner step is taken on `support`, the outer gradient on `query`."""

    category: str
    support: list[PromptPair]
    query: list[PromptPair]


Member = TypeVar("Member")


class _Deck(Generic[Member]):
    """Members in a shuffled order: all are drawn before any comes again, but for a remainder too small for a draw."""

    def __init__(self, members: list[Member], generator: random.Random):
        self._members = members
        self._random = generator
        self._left: list[Member] = []

    def __len__(self) -> int:
        return len(self._members)

    def draw(self, count: int) -> list[Member]:
        """Return so many different members, or all there are."""
        count = min(count, len(self._members))
        if len(self._left) < count:
            self._left = self._random.sample(self._members, len(self._members))
        drawn, self._left = self._left[:count], self._left[count:]
        return drawn


Decks = dict[tuple[Role, str], _Deck[PromptPair]]
"""Prompts of a role in an attack, or plain."""


def _around_both(pairs: Sequence[PromptPair], decks: Decks) -> dict[str, list[str]]:
    """Return the attacks around prompts of both roles, by category; that of plain prompts is empty."""
    attacks: dict[str, set[str]] = defaultdict(set)
    for pair in pairs:
        if {("safety", pair.attack_name), ("utility", pair.attack_name)} <= decks.keys():
            attacks[pair.attack_category].add(pair.attack_name)
    return {category: sorted(attacks[category]) for category in sorted(attacks)}


class EpisodeSampler:
    """Draws episodes from training pairs, the same for the same seed.

    The `attacked_share` of each role's batch is in attacks of the task's category, in support one, in query up to
    `query_attacks` others; the rest are plain. Harmful and harmless prompts get the same attacks, so that a wrapper
    alone decides nothing. Categories, attacks and prompts come in turn: none comes again while others have not been
    drawn.

    Args:
        pairs: what is drawn from.
        settings: sizes of the query batch, shares, seed.
        support: prompts of each role in a support batch; 0 for none.
        tasks: episodes drawn at a time.

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
        """Return the episodes of one outer step, each of a different category as far as there are enough."""
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
