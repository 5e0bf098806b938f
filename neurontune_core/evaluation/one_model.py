"""Evaluate any model on public sets or the user's files, without a run and without tuning."""

from dataclasses import asdict
from typing import Any

import pandas as pd

from neurontune_core.data_names import short_name
from neurontune_core.errors import InputError
from neurontune_core.evaluation import answers, benchmarks
from neurontune_core.evaluation.answers_judged import AnswerRates, evaluate_answers
from neurontune_core.evaluation.judging import judge_of
from neurontune_core.evaluation.public_sets import SHIPPED, Library, needed, public_prompts
from neurontune_core.evaluation.settings import EvaluationConfig
from neurontune_core.model.load import ChatModel
from neurontune_core.progress import Track, silent


def evaluate_one_model(
    chat: ChatModel, config: EvaluationConfig, library: Library, track: Track = silent
) -> tuple[pd.DataFrame, dict[str, AnswerRates], pd.DataFrame]:
    """Let a model answer the prompts of benchmarks, and judge the answers.

    Returns:
        The answers, a row a prompt (benchmark, id, role, prompt, completion, verdict, refused, gave, explanation), the
        rates of each benchmark, and the prompts that do not fit the model (`left_out.with_room`).

    Raises:
        InputError: an unknown benchmark, `shipped` (it needs the pairs of a run), or one with no prompt that fits.
    """
    check_public(config)
    chosen = {short_name(name): public_prompts(name, [], config, needed(library, name)) for name in config.benchmarks}
    prompts, left_out = answers.answers_to(chosen, config, chat, track)
    tables, rates = [], {}
    for name, part in prompts.groupby("benchmark", sort=False):
        harmful = (part["role"] == "safety").tolist()
        judged = evaluate_answers(part["prompt"].tolist(), part["completion"].tolist(), harmful, judge_of(config))
        rates[str(name)] = judged
        columns = part[["benchmark", "id", "role"]].reset_index(drop=True)
        tables.append(pd.concat([columns, judged.verdicts], axis=1))
    return pd.concat(tables, ignore_index=True), rates, left_out


def check_public(config: EvaluationConfig) -> None:
    """Check the names of the benchmarks.

    Raises:
        InputError: an unknown benchmark, or `shipped` (it needs the pairs of a run).
    """
    benchmarks.check_benchmarks(config)
    if SHIPPED in config.benchmarks:
        raise InputError("--benchmarks: shipped is the test split of a run; name a public set or a file of your own")


def as_plain(rates: dict[str, AnswerRates], left_out: pd.DataFrame, way: str) -> dict[str, Any]:
    """Return the rates of each benchmark, what generated the answers (`answered_by`), and the prompts left out, as
    plain data, ready for JSON.
    """
    names = ("refused", "gave", "harm", "over_refusal")
    return {
        benchmark: {name: asdict(rate) if (rate := getattr(each, name)) else None for name in names}
        | {"unscored": each.unscored, "answered_by": way}
        | {"left_out": left_out[left_out["benchmark"] == benchmark].drop(columns="benchmark").to_dict("records")}
        for benchmark, each in rates.items()
    }
