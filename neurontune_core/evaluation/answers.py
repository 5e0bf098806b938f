"""Answers to the test prompts, stored without verdicts, so that another judge can read them later."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

import pandas as pd

from neurontune_core.config import contents
from neurontune_core.data_names import short_name
from neurontune_core.errors import InputError
from neurontune_core.evaluation import benchmarks, vllm_engine
from neurontune_core.evaluation import left_out as left
from neurontune_core.evaluation.divergence import response_divergence
from neurontune_core.evaluation.public_sets import Library
from neurontune_core.evaluation.settings import EvaluationConfig
from neurontune_core.interventions import Intervention
from neurontune_core.model.generate import decode, generate
from neurontune_core.model.load import ChatModel
from neurontune_core.progress import Track, silent
from neurontune_core.records import Conversation, PromptPair
from neurontune_core.tables import messages

VERSION = 4
FIELDS = ("benchmarks", "sources", "system_prompts", "prompts_per_benchmark", "max_new_tokens", "seed")

KINDS = {"safety": "harmful prompts", "utility": "harmless prompts"}

logger = logging.getLogger("neurontune")


def prompt_settings(config: EvaluationConfig) -> dict[str, Any]:
    """Return the settings that the prompts and the longest answer depend on."""
    return {name: value for name, value in contents(config).items() if name in FIELDS}


def answer_settings(config: EvaluationConfig) -> dict[str, Any]:
    """Return the settings that the answers depend on: those of the prompts, and vLLM if it writes them."""
    known = prompt_settings(config)
    return known if config.engine == "transformers" else known | {"engine": config.engine}


def base_answers(
    pairs: Sequence[PromptPair],
    config: EvaluationConfig,
    chat: ChatModel,
    track: Track = silent,
    library: Library | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the base model's greedy answers to the prompts of all benchmarks, and the prompts that do not fit it.

    All tuned models of this base share the answers. Columns: those of `prompt_table`, tokens (ids, without the
    end-of-turn token), completion. The second table is that of `left_out.with_room`.

    Args:
        pairs: all pairs; the benchmark `shipped` asks those of the test split.
        config: benchmarks, prompts of each, longest answer.
        chat: the base model.
        track: progress of the batches.
        library: the public datasets, needed if a benchmark names one.

    Raises:
        InputError: unknown benchmark, an empty test split, or no prompt of a benchmark or a role fits the model.
    """
    return answers_to(benchmarks.test_prompts(pairs, config, library), config, chat, track)


def answers_to(
    prompts: Mapping[str, Sequence[PromptPair]],
    config: EvaluationConfig,
    chat: ChatModel,
    track: Track = silent,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a model's answers to the prompts of these benchmarks, and the prompts that do not fit: see `base_answers`.

    Raises:
        InputError: no prompt of a benchmark or a role fits the model.
    """
    fitting, left_out = prompts_that_fit(prompts, config, chat)
    return _answered(prompt_table(fitting), config, chat, track), left_out


def tuned_answers(
    base: pd.DataFrame,
    change: Intervention,
    config: EvaluationConfig,
    chat: ChatModel,
    track: Track = silent,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return the tuned model's answers to the base model's prompts, and how far its predictions are from the base's.

    The facts are `eval/kl_to_base` (nats a token) and `eval/perplexity_ratio`, measured on the base model's own answers
    to ordinary harmless prompts. Without such prompts there are no facts.

    Args:
        base: the result of `base_answers`.
        change: the factors, or a baseline.
        config: the settings that `base_answers` was given.
        chat: the base model; it is changed while it answers.
        track: progress of the batches.

    Raises:
        NumericalError: the tuned model's logits are not finite.
    """
    asked = base.drop(columns=["tokens", "completion"])
    with nullcontext(chat) if config.engine == "vllm" else change.applied(chat) as changed:
        answers = _answered(asked, config, changed, track, change)
    ordinary = base[benchmarks.are_ordinary(base)]
    said = zip(conversations(ordinary), token_lists(ordinary), strict=True)
    responses = [(conversation, ids) for conversation, ids in said if ids]
    divergence = response_divergence(chat, change, responses, track)
    if divergence is None:
        return answers, {}
    return answers, {"eval/kl_to_base": divergence.kl, "eval/perplexity_ratio": divergence.perplexity_ratio}


def prompt_table(prompts: Mapping[str, Sequence[PromptPair]]) -> pd.DataFrame:
    """Return one row a prompt of every benchmark.

    Columns: prompt, query (the prompt without an attack), history (a list of messages with role and content), system,
    benchmark, id, query_id, role, query_category, attack_category, attack_name.
    """
    fields = ("query", "id", "query_id", "role", "query_category", "attack_category", "attack_name")
    rows = [
        {
            "prompt": pair.prompt,
            "history": [asdict(message) for message in pair.history],
            "system": pair.system,
            "benchmark": name,
        }
        | {field: getattr(pair, field) for field in fields}
        for name, members in prompts.items()
        for pair in members
    ]
    return pd.DataFrame(rows)


def conversations(prompts: pd.DataFrame) -> list[Conversation]:
    """Return the conversation that each row of a table of prompts puts to the model."""
    columns = (prompts[name] for name in ("prompt", "history", "system"))
    return [Conversation(prompt, messages(history), system) for prompt, history, system in zip(*columns, strict=True)]


def token_lists(answers: pd.DataFrame) -> list[list[int]]:
    """Return the token ids of the answers as lists of numbers; parquet gives them as arrays."""
    return [[int(token) for token in tokens] for tokens in answers["tokens"]]


def answer_facts(answers: pd.DataFrame) -> dict[str, float]:
    """Return how many answers there are and how long they are on average, in tokens."""
    return {"answers": float(len(answers)), "tokens_mean": float(answers["tokens"].map(len).mean())}


def engine_fact(config: EvaluationConfig) -> dict[str, float]:
    """Return `by_vllm`, the mark of answers that vLLM generated; nothing of others."""
    return {"by_vllm": 1.0} if config.engine == "vllm" else {}


def _answered(
    prompts: pd.DataFrame,
    config: EvaluationConfig,
    chat: ChatModel,
    track: Track,
    change: Intervention | None = None,
) -> pd.DataFrame:
    """Return the prompts with the model's answers; vLLM folds `change`, without vLLM `chat` is changed already."""
    encoded = [chat.prompt_tokens(conversation) for conversation in conversations(prompts)]
    if config.engine == "vllm":
        tokens = vllm_engine.generate(chat, encoded, config.max_new_tokens, change)
    else:
        tokens = generate(chat, encoded, config.max_new_tokens, track)
    return prompts.assign(tokens=pd.Series(tokens, index=prompts.index), completion=decode(chat, tokens))


def prompts_that_fit(
    prompts: Mapping[str, Sequence[PromptPair]], config: EvaluationConfig, chat: ChatModel
) -> tuple[dict[str, list[PromptPair]], pd.DataFrame]:
    """Return the prompts that fit the model, and those that are left out.

    Raises:
        InputError: no prompt of a benchmark or of a role fits.
    """
    fitting, left_out = left.with_room(prompts, chat, config.max_new_tokens)
    if left_out.empty:
        return fitting, left_out
    words = left.left_out_in_words(left_out)
    empty = {name for name, members in fitting.items() if not members}
    gone = [name for name in config.benchmarks if short_name(name) in empty]
    gone += [KINDS[role] for role in KINDS if _of_role(prompts, role) and not _of_role(fitting, role)]
    if gone:
        raise InputError(
            f"evaluation.benchmarks: no prompt is left of {', '.join(gone)}: {words}; lower "
            f"evaluation.max_new_tokens, which is {config.max_new_tokens}, or ask other prompts"
        )
    logger.warning("evaluation: %s", words)
    return fitting, left_out


def _of_role(prompts: Mapping[str, Sequence[PromptPair]], role: str) -> bool:
    return any(pair.role == role for members in prompts.values() for pair in members)
