"""The prompts of a causal study: groups of the validation or the test split, and public sets."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence

import pandas as pd

from neurontune_core.causal.cells import Kind
from neurontune_core.causal.settings import CausalConfig
from neurontune_core.errors import InputError
from neurontune_core.evaluation import left_out
from neurontune_core.evaluation.benchmarks import GROUPS, WRAPPED, group_of, test_prompts
from neurontune_core.evaluation.public_sets import Library, sample, trained_categories
from neurontune_core.evaluation.settings import EvaluationConfig
from neurontune_core.model.load import ChatModel
from neurontune_core.records import PromptPair

logger = logging.getLogger("neurontune")


def grouped_prompts(
    pairs: Sequence[PromptPair], config: CausalConfig, evaluation: EvaluationConfig, library: Library | None = None
) -> dict[str, list[PromptPair]]:
    """Return the prompts by group, at most `prompts` of each; harmless prompts only without an attack.

    Args:
        pairs: all pairs.
        config: the split, the groups, the number of prompts.
        evaluation: benchmarks and their sources, for the test split.
        library: the public datasets, if benchmarks name some.

    Raises:
        InputError: an unknown group, or one without a prompt.
    """
    limited = evaluation.model_copy(update={"prompts_per_benchmark": config.prompts, "seed": config.seed})
    if config.split == "test":
        found = test_prompts(pairs, limited, library)
    else:
        trained = trained_categories(pairs)
        members: dict[str, list[PromptPair]] = defaultdict(list)
        for pair in pairs:
            if pair.split == "validation":
                members[group_of(pair, trained)].append(pair)
        found = {name: sample(members[name], name, limited) for name in GROUPS if name in members}
    if unknown := sorted(set(config.groups) - set(found)):
        raise InputError(f"causal.groups: there is no group {unknown[0]!r}; choose among {', '.join(found)}")
    return {
        name: list(own) for name, own in found.items() if (name in config.groups if config.groups else _asked(name))
    }


def prompts_with_room(
    prompts: Mapping[str, Sequence[PromptPair]], chat: ChatModel, tokens: int
) -> tuple[dict[str, list[PromptPair]], pd.DataFrame]:
    """Return the prompts that leave room for an answer in the model's positions, and those left out, with the reason.

    Raises:
        InputError: no prompt of a group leaves room.
    """
    kept, without_room = left_out.with_room(prompts, chat, tokens)
    if without_room.empty:
        return kept, without_room
    words = left_out.left_out_in_words(without_room)
    if empty := [name for name, own in kept.items() if not own]:
        raise InputError(
            f"causal.groups: no prompt of {empty[0]} fits the model's positions: {words}; lower causal.tokens, which "
            f"is {tokens}, or leave this group out"
        )
    logger.warning("causal: %s", words)
    return kept, without_room


def kind_of(pairs: Sequence[PromptPair]) -> Kind:
    """Return the kind of prompts that a group has."""
    if any(pair.role == "utility" for pair in pairs):
        return "harmless"
    return "attacked" if any(pair.attack_name for pair in pairs) else "plain"


def _asked(name: str) -> bool:
    return name not in WRAPPED
