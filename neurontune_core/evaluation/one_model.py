"""Evaluate any model on public sets or files of one's own: no run and no tuning is needed."""

from dataclasses import asdict
from typing import Any

import pandas as pd

from neurontune_core.config import EvaluationConfig
from neurontune_core.data_names import short_name
from neurontune_core.errors import InputError
from neurontune_core.evaluation import answers, benchmarks
from neurontune_core.evaluation.answers_judged import AnswerRates, evaluate_answers
from neurontune_core.evaluation.public_sets import SHIPPED, Library, needed, public_prompts
from neurontune_core.model.generate import decode, generate
from neurontune_core.model.load import ChatModel
from neurontune_core.model.positions import overflow
from neurontune_core.progress import Track, silent


def evaluate_model(
    chat: ChatModel, config: EvaluationConfig, library: Library, batch_tokens: int, track: Track = silent
) -> tuple[pd.DataFrame, dict[str, AnswerRates]]:
    """Let a model answer the prompts of benchmarks, and judge the answers.

    Returns:
        The answers, a row a prompt (benchmark, id, role, prompt, completion, verdict, refused, gave, explanation), and
        the rates of each benchmark.

    Raises:
        InputError: an unknown benchmark, `shipped`, which needs a run's own pairs, or prompts longer than the model.
    """
    check(config)
    chosen = {short_name(name): public_prompts(name, [], config, needed(library, name)) for name in config.benchmarks}
    prompts = answers.prompt_table(chosen)
    encoded = [chat.prompt_tokens(each) for each in answers.conversations(prompts)]
    reasons = [overflow(chat, len(tokens), config.max_new_tokens) for tokens in encoded]
    if reason := next(filter(None, reasons), ""):
        raise InputError(f"{sum(map(bool, reasons))} prompts do not fit the model: {reason}; lower the tokens")
    written = decode(chat, generate(chat, encoded, config.max_new_tokens, batch_tokens, track))
    prompts = prompts.assign(completion=written)
    tables, rates = [], {}
    for name, part in prompts.groupby("benchmark", sort=False):
        harmful = (part["role"] == "safety").tolist()
        judged = evaluate_answers(
            part["prompt"].tolist(), part["completion"].tolist(), harmful, config.judge, config.judge_path
        )
        rates[str(name)] = judged
        columns = part[["benchmark", "id", "role"]].reset_index(drop=True)
        tables.append(pd.concat([columns, judged.verdicts], axis=1))
    return pd.concat(tables, ignore_index=True), rates


def check(config: EvaluationConfig) -> None:
    """Check the names of the benchmarks.

    Raises:
        InputError: an unknown benchmark, or `shipped`, which needs a run's own pairs.
    """
    benchmarks.check(config)
    if SHIPPED in config.benchmarks:
        raise InputError("--benchmarks: shipped is the test split of a run; name a public set or a file of your own")


def as_plain(rates: dict[str, AnswerRates]) -> dict[str, Any]:
    """Return the rates of each benchmark as plain data, ready for JSON."""
    names = ("refused", "gave", "harm", "over_refusal")
    return {
        benchmark: {name: asdict(rate) if (rate := getattr(each, name)) else None for name in names}
        | {"unscored": each.unscored}
        for benchmark, each in rates.items()
    }
