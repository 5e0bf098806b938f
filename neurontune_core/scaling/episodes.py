"""Episodes of meta-learning: a task is an attack category, and support and query differ in attack."""

import math
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from neurontune_core.config import ScalingConfig
from neurontune_core.errors import InputError
from neurontune_core.model.batches import shared_length
from neurontune_core.model.chat import encode_response
from neurontune_core.model.likelihood import TokenSequence
from neurontune_core.model.load import ChatModel
from neurontune_core.records import PromptPair, Role
from neurontune_core.scaling.losses import Example

PLAIN = ""


@dataclass(frozen=True)
class Episode:
    """The two batches of one task: the inner step is taken on `support`, the outer gradient on `query`."""

    category: str
    support: list[PromptPair]
    query: list[PromptPair]


class EpisodeSampler:
    """Draws episodes from training pairs, the same for the same seed.

    The `attacked_share` of each role's batch is in attacks of the task's category, in support one, in query up to
    `query_attacks` others; the rest are plain. Harmful and harmless prompts get the same attacks, so that a wrapper
    alone decides nothing. Categories, attacks and prompts come in turn: none comes again while others have not been
    drawn.

    Raises:
        InputError: a role has no plain training prompt, or no category has an attack around both roles.
    """

    def __init__(self, pairs: Sequence[PromptPair], config: ScalingConfig, seed: int):
        self._config = config
        self._random = random.Random(seed)
        pools: dict[tuple[Role, str], list[PromptPair]] = defaultdict(list)
        attacks: dict[str, set[str]] = defaultdict(set)
        for pair in pairs:
            pools[pair.role, pair.attack_name].append(pair)
            if pair.attack_name:
                attacks[pair.attack_category].add(pair.attack_name)
        self._attacks: dict[str, list[str]] = {}
        for category in sorted(attacks):
            both = [a for a in sorted(attacks[category]) if pools["safety", a] and pools["utility", a]]
            if both:
                self._attacks[category] = both
        if not (pools["safety", PLAIN] and pools["utility", PLAIN] and self._attacks):
            raise InputError(
                "scaling: the training split needs plain harmful and plain harmless prompts, and one attack around "
                "both; check pairs.harmful, pairs.benign and the split fractions"
            )

        self._decks = {name: _Deck(pool, self._random) for name, pool in pools.items()}
        self._categories = _Deck(list(self._attacks), self._random)
        self._turns = {category: _Deck(attacks, self._random) for category, attacks in self._attacks.items()}

    def draw(self) -> list[Episode]:
        """Return the episodes of one outer step, each of a different category as far as there are enough."""
        return [self._episode(category) for category in self._categories.draw(self._config.tasks_per_step)]

    def _episode(self, category: str) -> Episode:
        attacks = self._attacks[category]
        query = self._turns[category].draw(min(self._config.query_attacks, max(1, len(attacks) - 1)))
        support = self._random.choice([attack for attack in attacks if attack not in query] or query)
        size = self._config.support_batch
        return Episode(
            category,
            self._batch([support], size, size),
            self._batch(query, self._config.harmful_batch, self._config.benign_batch),
        )

    def _batch(self, attacks: Sequence[str], harmful: int, benign: int) -> list[PromptPair]:
        sizes: list[tuple[Role, int]] = [("safety", harmful), ("utility", benign)]
        batch: list[PromptPair] = []
        for role, size in sizes:
            attacked = math.ceil(size * self._config.attacked_share)
            for number, attack in enumerate(attacks):
                batch += self._decks[role, attack].draw(len(range(number, attacked, len(attacks))))
            batch += self._decks[role, PLAIN].draw(size - attacked)
        return batch


Member = TypeVar("Member")


class _Deck(Generic[Member]):
    """Members in a shuffled order: all are drawn before any comes again, but for a remainder too small for a draw."""

    def __init__(self, members: list[Member], generator: random.Random):
        self._members = members
        self._random = generator
        self._left: list[Member] = []

    def draw(self, count: int) -> list[Member]:
        """Return so many different members, or all there are."""
        count = min(count, len(self._members))
        if len(self._left) < count:
            self._left = self._random.sample(self._members, len(self._members))
        drawn, self._left = self._left[:count], self._left[count:]
        return drawn


def encode(chat: ChatModel, pairs: Sequence[PromptPair], utility_tokens: int) -> list[Example]:
    """Return pairs as token ids; a refusal is closed with the end-of-turn token, so that it is not repeated for ever.

    Of a harmless response the first `utility_tokens` tokens are taken, with no end; a pair with none is left out.
    """
    examples: list[Example] = []
    prompts: dict[str, list[list[int]]] = defaultdict(list)
    for pair in pairs:
        end = chat.end_tokens[0] if pair.role == "safety" else None
        response = encode_response(chat.tokenizer, pair.response, end)
        if pair.role == "utility":
            response = response[:utility_tokens]
        if response:
            sequence = TokenSequence(chat.prompt_tokens(pair.prompt), response)
            examples.append(Example(pair.id, pair.role, sequence, pair.attack_name))
            prompts[pair.attack_name].append(sequence.prompt)
    shared = {wrapper: shared_length(mine) for wrapper, mine in prompts.items()}
    return [replace(example, shared=shared[example.wrapper]) for example in examples]


def encode_episodes(chat: ChatModel, episodes: Sequence[Episode], config: ScalingConfig) -> dict[str, Example]:
    """Return every pair of the episodes as an example, by id; pairs with an empty response are left out."""
    used = {pair.id: pair for episode in episodes for pair in episode.support + episode.query}
    ordered = [used[name] for name in sorted(used)]
    return {example.id: example for example in encode(chat, ordered, config.utility_tokens)}


def batches_of(episode: Episode, examples: Mapping[str, Example]) -> tuple[list[Example], list[Example]]:
    """Return the support and the query batch of an episode."""
    support, query = ([examples[p.id] for p in part if p.id in examples] for part in (episode.support, episode.query))
    return support, query
