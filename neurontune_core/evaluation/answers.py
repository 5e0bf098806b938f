"""Answers to the test prompts, kept apart from what judges say of them, so that they can be judged again."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from neurontune_core.config import EvaluationConfig, contents
from neurontune_core.evaluation import benchmarks
from neurontune_core.evaluation.divergence import response_divergence
from neurontune_core.evaluation.public_sets import Library
from neurontune_core.interventions import Intervention, applied
from neurontune_core.model.generate import decode, generate
from neurontune_core.model.load import ChatModel
from neurontune_core.progress import Track, silent
from neurontune_core.records import PromptPair, ScalingFactors

VERSION = 2
FIELDS = ("benchmarks", "sources", "prompts_per_benchmark", "max_new_tokens", "seed")


def settings(config: EvaluationConfig) -> dict[str, Any]:
    """Return the settings answers depend on: what is asked and how long an answer may be."""
    return {name: value for name, value in contents(config).items() if name in FIELDS}


def base_answers(
    pairs: Sequence[PromptPair],
    config: EvaluationConfig,
    chat: ChatModel,
    batch_tokens: int,
    track: Track = silent,
    library: Library | None = None,
) -> pd.DataFrame:
    """Return the base model's greedy answers to the prompts of all benchmarks; they serve every tuning of it.

    Columns: those of `prompt_table`, tokens (ids, without the one that ends the turn), completion.

    Args:
        pairs: all pairs; those of the test split are what the shipped benchmarks ask.
        config: benchmarks, prompts of each, longest answer.
        chat: the base model.
        batch_tokens: tokens a batch holds at most.
        track: progress of the batches.
        library: the public datasets, where benchmarks name some.

    Raises:
        InputError: unknown benchmark or an empty test split.
    """
    prompts = prompt_table(benchmarks.test_prompts(pairs, config, library))
    return _answered(prompts, config, chat, batch_tokens, track)


def tuned_answers(
    base: pd.DataFrame,
    change: ScalingFactors | Intervention,
    config: EvaluationConfig,
    chat: ChatModel,
    batch_tokens: int,
    track: Track = silent,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return the tuned model's answers to the prompts the base model has answered, and how far it has moved from it.

    The facts, `eval/kl_to_base` and `eval/perplexity_ratio`, are measured on the base model's own answers to ordinary
    harmless prompts, in nats a token and as a ratio; there are none without such prompts.

    Args:
        base: `base_answers`.
        change: the factors, or a baseline.
        config: the same as the base model's.
        chat: the base model; it is changed while it answers.
        batch_tokens: tokens a batch holds at most.
        track: progress of the batches.

    Raises:
        NumericalError: the tuned model's logits are not finite.
    """
    with applied(change, chat) as changed:
        answers = _answered(base.drop(columns=["tokens", "completion"]), config, changed, batch_tokens, track)
    ordinary = base[benchmarks.are_ordinary(base)]
    responses = [(prompt, ids) for prompt, ids in zip(ordinary["prompt"], token_lists(ordinary), strict=True) if ids]
    divergence = response_divergence(chat, change, responses, batch_tokens, track)
    if divergence is None:
        return answers, {}
    return answers, {"eval/kl_to_base": divergence.kl, "eval/perplexity_ratio": divergence.perplexity_ratio}


def prompt_table(prompts: Mapping[str, Sequence[PromptPair]]) -> pd.DataFrame:
    """Return one row a prompt of every benchmark.

    Columns: prompt, benchmark, id, query_id, role, query_category, attack_category, attack_name.
    """
    fields = ("id", "query_id", "role", "query_category", "attack_category", "attack_name")
    rows = [
        {"prompt": pair.prompt, "benchmark": name} | {field: getattr(pair, field) for field in fields}
        for name, members in prompts.items()
        for pair in members
    ]
    return pd.DataFrame(rows)


def token_lists(answers: pd.DataFrame) -> list[list[int]]:
    """Return the token ids of the answers as lists of numbers; from parquet they come as arrays."""
    return [[int(token) for token in tokens] for tokens in answers["tokens"]]


def facts_of(answers: pd.DataFrame) -> dict[str, float]:
    """Return how many answers there are and how long they are on average, in tokens."""
    return {"answers": float(len(answers)), "tokens_mean": float(answers["tokens"].map(len).mean())}


def _answered(
    prompts: pd.DataFrame, config: EvaluationConfig, chat: ChatModel, batch_tokens: int, track: Track
) -> pd.DataFrame:
    encoded = [chat.prompt_tokens(prompt) for prompt in prompts["prompt"]]
    tokens = generate(chat, encoded, config.max_new_tokens, batch_tokens, track)
    return prompts.assign(tokens=pd.Series(tokens, index=prompts.index), completion=decode(chat, tokens))
