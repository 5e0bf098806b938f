"""Public sets of harmful and harmless prompts, each described by a file in `benchmark_files`."""

import random
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Protocol

from neurontune_core.data.corpus import Attack, Query
from neurontune_core.data.prompts import prompt_of
from neurontune_core.data.settings import SourceConfig
from neurontune_core.data_names import own_data, short_name
from neurontune_core.errors import InputError
from neurontune_core.evaluation.settings import EvaluationConfig
from neurontune_core.records import PromptPair, Role

SHIPPED = "shipped"
"""The test split of a run's own pairs."""


class Library(Protocol):
    """Provides public sets and attacks; `neurontune_core.data` implements it."""

    def questions(self, dataset: str, role: Role, source: SourceConfig) -> Sequence[Query]:
        """Return the harmful or the harmless queries of a dataset, the same for the same source."""
        ...

    def attacks(self) -> Sequence[Attack]:
        """Return the attack prompts to wrap queries in."""
        ...

    def digest(self, dataset: str, role: Role, source: SourceConfig) -> str:
        """Return a digest of what `questions` reads: the file's content and the way its columns are read."""
        ...


@dataclass(frozen=True)
class Benchmark:
    """One set: the queries of one role of a dataset. `version` rises when its prompts change."""

    version: int
    title: str
    role: Role
    dataset: str


@cache
def public_benchmarks() -> dict[str, Benchmark]:
    """Return the public sets by name."""
    folder = resources.files("neurontune_core") / "evaluation" / "benchmark_files"
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    return {
        file.name.removesuffix(".toml"): Benchmark(**tomllib.loads(file.read_text(encoding="utf-8")))
        for file in files
        if file.name.endswith(".toml")
    }


def benchmark_of(name: str) -> tuple[str, Benchmark, str]:
    """Return the dataset name, the set and the attack set of a benchmark other than `shipped`.

    A user's file holds harmful queries unless it is named `benign:FILE`.
    """
    own = own_data(name)
    if own is None:
        dataset, _, attacks = name.partition("/")
        return dataset, public_benchmarks()[dataset], attacks
    role: Role = "utility" if own.role == "benign" else "safety"
    return own.benchmark.partition("/")[0], Benchmark(1, own.name, role, own.place), own.attacks


def source_of(config: EvaluationConfig, name: str) -> SourceConfig:
    """Return the settings of the dataset of a benchmark."""
    own = own_data(name)
    return config.sources.get(own.name if own else name.partition("/")[0], SourceConfig())


def public_prompts(
    name: str, pairs: Sequence[PromptPair], config: EvaluationConfig, library: Library
) -> list[PromptPair]:
    """Return a sample of a public set or a user's file, each query plain or wrapped in an attack of a set.

    Repeated queries are left out, and so are queries that the run trains or validates on, from any dataset.

    Raises:
        InputError: unknown attack set, or no query of the dataset is left.
    """
    dataset, benchmark, attack_set = benchmark_of(name)
    seen = {_words(pair.plain_conversation.text) for pair in pairs if pair.split != "test"}
    source = source_of(config, name)
    questions = []
    for question in library.questions(benchmark.dataset, benchmark.role, source):
        if _words(question.conversation.text) not in seen:
            seen.add(_words(question.conversation.text))
            questions.append(question)
    if not questions:
        raise InputError(f"evaluation.benchmarks: the run trains on all queries of {dataset}; name another dataset")
    attacks = attacks_of(attack_set, library.attacks(), trained_categories(pairs)) if attack_set else []
    prompts = []
    for question in questions:
        # the draw depends only on the query, so a smaller sample has the same attack for the same query
        attack = random.Random(f"{config.seed}/{short_name(name)}/{question.id}").choice(attacks) if attacks else None
        prompts.append(prompt_of(question, attack, benchmark.role, "test", short_name(benchmark.dataset)))
    return sample(prompts, dataset, config, source.limit)


def trained_categories(pairs: Sequence[PromptPair]) -> set[str]:
    """Return the attack categories of the training split; all other categories are held out."""
    return {pair.attack_category for pair in pairs if pair.split == "train"}


def attacks_of(attack_set: str, attacks: Sequence[Attack], trained: set[str]) -> list[Attack]:
    """Return the attacks of a set: `all`, `heldout` (categories not trained on), a type, a category or a name.

    Raises:
        InputError: the set has no attack.
    """
    if attack_set == "heldout":
        found = [attack for attack in attacks if attack.category not in trained]
    else:
        found = [attack for attack in attacks if attack_set in ("all", attack.type, attack.category, attack.name)]
    if not found:
        known = sorted({name for attack in attacks for name in (attack.type, attack.category)})
        raise InputError(
            f"evaluation.benchmarks: no attack in the set {attack_set!r}; use all, heldout, {', '.join(known)}, or the "
            f"name of an attack; those of your own are given with evaluation.attacks"
        )
    return found


def set_digests(config: EvaluationConfig, library: Library | None) -> list[str]:
    """Return name, version and digest of the configured sets but the shipped one, for the stage key.

    Raises:
        InputError: a set is configured without a library, its file is missing or unreadable, or its attack set has
            no attack.
    """
    digests = set()
    for name in config.benchmarks:
        if name != SHIPPED:
            called, benchmark, attack_set = benchmark_of(name)
            if attack_set:
                attacks_of(attack_set, needed(library, name).attacks(), set())
            digest = needed(library, name).digest(benchmark.dataset, benchmark.role, source_of(config, name))
            digests.add(f"{called} {benchmark.version} {digest}")
    return sorted(digests)


def needed(library: Library | None, name: str) -> Library:
    """Return the library, which is needed to read the set `name`.

    Raises:
        InputError: there is none.
    """
    if library is None:
        raise InputError(f"evaluation.benchmarks: {name!r} is a public set, which cannot be read here; use shipped")
    return library


def sample(
    members: Sequence[PromptPair], name: str, config: EvaluationConfig, limit: int | None = None
) -> list[PromptPair]:
    """Return at most `prompts_per_benchmark` prompts, or `limit`, drawn by the seed: one query in any wrapping."""
    ordered = sorted(members, key=lambda pair: (pair.query_id, pair.id))
    count = min(config.prompts_per_benchmark, limit or len(ordered), len(ordered))
    return random.Random(f"{config.seed}/{name}").sample(ordered, count)


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\w+", text.lower()))
