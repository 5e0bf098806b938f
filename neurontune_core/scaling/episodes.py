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
    drawn. Harmless prompts of a support batch have a response; those of a query batch need none.

    Raises:
        InputError: a role has no plain training prompt, or no category has an attack around both roles; or so of the
            harmless prompts that have a response.
    """

    def __init__(self, pairs: Sequence[PromptPair], config: ScalingConfig, seed: int):
        self._config = config
        self._random = random.Random(seed)
        self._decks = self._decks_of(pairs)
        self._answered = self._decks_of(answered(pairs))
        attacks, supports = _around_both(pairs, self._decks), _around_both(pairs, self._answered)
        if not (supports.pop(PLAIN, None) and supports):
            raise InputError(
                "scaling: the training split needs plain harmful and plain harmless prompts, and one attack around "
                "both; check pairs.harmful, pairs.benign, pairs.responses and the split fractions"
            )
        self._supports = supports
        self._categories = _Deck(list(supports), self._random)
        self._turns = {category: _Deck(attacks[category], self._random) for category in supports}

    def _decks_of(self, pairs: Sequence[PromptPair]) -> Decks:
        pools: dict[tuple[Role, str], list[PromptPair]] = defaultdict(list)
        for pair in pairs:
            pools[pair.role, pair.attack_name].append(pair)
        return {name: _Deck(pool, self._random) for name, pool in pools.items()}

    def draw(self) -> list[Episode]:
        """Return the episodes of one outer step, each of a different category as far as there are enough."""
        return [self._episode(category) for category in self._categories.draw(self._config.tasks_per_step)]

    def _episode(self, category: str) -> Episode:
        turns, supports = self._turns[category], self._supports[category]
        query = turns.draw(min(self._config.query_attacks, max(1, len(turns) - 1)))
        support = self._random.choice([attack for attack in supports if attack not in query] or supports)
        size = self._config.support_batch
        return Episode(
            category,
            self._batch(self._answered, [support], size, size),
            self._batch(self._decks, query, self._config.harmful_batch, self._config.benign_batch),
        )

    def _batch(self, decks: Decks, attacks: Sequence[str], harmful: int, benign: int) -> list[PromptPair]:
        sizes: list[tuple[Role, int]] = [("safety", harmful), ("utility", benign)]
        batch: list[PromptPair] = []
        for role, size in sizes:
            attacked = math.ceil(size * self._config.attacked_share)
            for number, attack in enumerate(attacks):
                batch += decks[role, attack].draw(len(range(number, attacked, len(attacks))))
            batch += decks[role, PLAIN].draw(size - attacked)
        return batch


def encode(chat: ChatModel, pairs: Sequence[PromptPair], utility_tokens: int) -> list[Example]:
    """Return pairs as token ids; a refusal is closed with the end-of-turn token, so that it is not repeated for ever.

    Of a harmless response the first `utility_tokens` tokens are taken, with no end; there may be none.
    """
    examples: list[Example] = []
    prompts: dict[str, list[list[int]]] = defaultdict(list)
    for pair in pairs:
        end = chat.end_tokens[0] if pair.role == "safety" else None
        response = encode_response(chat.tokenizer, pair.response, end)
        if pair.role == "utility":
            response = response[:utility_tokens]
        sequence = TokenSequence(chat.prompt_tokens(pair.conversation), response)
        examples.append(Example(pair.id, pair.role, sequence, pair.attack_name))
        prompts[pair.attack_name].append(sequence.prompt)
    shared = {wrapper: shared_length(mine) for wrapper, mine in prompts.items()}
    return [replace(example, shared=shared[example.wrapper]) for example in examples]


def answered(pairs: Sequence[PromptPair]) -> list[PromptPair]:
    """Return the pairs that have a response."""
    return [pair for pair in pairs if pair.response]


def encode_episodes(chat: ChatModel, episodes: Sequence[Episode], config: ScalingConfig) -> dict[str, Example]:
    """Return every pair of the episodes as an example, by id (`encode`)."""
    used = {pair.id: pair for episode in episodes for pair in episode.support + episode.query}
    ordered = [used[name] for name in sorted(used)]
    return {example.id: example for example in encode(chat, ordered, config.utility_tokens)}


def batches_of(episode: Episode, examples: Mapping[str, Example]) -> tuple[list[Example], list[Example]]:
    """Return the support and the query batch of an episode."""
    support, query = ([examples[pair.id] for pair in part] for part in (episode.support, episode.query))
    return support, query
