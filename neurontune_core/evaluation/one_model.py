"""Evaluate any model on public sets or the user's files, without a run and without tuning."""

from dataclasses import asdict
from typing import Any

import pandas as pd

from neurontune_core.data_names import short_name
from neurontune_core.errors import InputError
from neurontune_core.evaluation import answers, benchmarks
from neurontune_core.evaluation.answers_judged import AnswerRates, evaluate_answers
from neurontune_core.evaluation.judging import check_ids, further_judges, judge_of
from neurontune_core.evaluation.public_sets import SHIPPED, Library, needed, public_prompts
from neurontune_core.evaluation.settings import EvaluationConfig
from neurontune_core.evaluation.statistics import Rate
from neurontune_core.model.load import ChatModel
from neurontune_core.progress import Track, silent

RATES = ("refused", "gave", "harm", "over_refusal", "unscored")


def evaluate_one_model(
    chat: ChatModel, config: EvaluationConfig, library: Library, track: Track = silent
) -> tuple[pd.DataFrame, dict[str, AnswerRates], pd.DataFrame]:
    """Let a model answer the prompts of benchmarks, and judge the answers.

    Returns:
        The answers, a row a prompt (benchmark, id, role, query_category, query, history, and the verdicts of all
        judges), the rates of each benchmark, and the prompts that do not fit the model (`left_out.with_room`).

    Raises:
        InputError: an unknown benchmark, `shipped` (it needs the pairs of a run), one with no prompt that fits, or a
            verdict file without a verdict for any prompt.
    """
    check_public(config)
    device = str(chat.device)
    judge, further = judge_of(config, device), further_judges(config, device)
    chosen = {short_name(name): public_prompts(name, [], config, needed(library, name)) for name in config.benchmarks}
    check_ids(judge, [pair.id for members in chosen.values() for pair in members])
    prompts, left_out = answers.answers_to(chosen, config, chat, track)
    tables, rates = [], {}
    for name, part in prompts.groupby("benchmark", sort=False):
        judged = evaluate_answers(
            part["prompt"].tolist(),
            part["completion"].tolist(),
            (part["role"] == "safety").tolist(),
            judge,
            also_judges=further,
            categories=part["query_category"].tolist(),
            queries=part["query"].tolist(),
            ids=part["id"].tolist(),
            histories=part["history"].tolist(),
        )
        rates[str(name)] = judged
        columns = part[["benchmark", "id", "role", "query_category", "query", "history"]].reset_index(drop=True)
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
    return {
        benchmark: _rates(each)
        | {"categories": {category: asdict(rate) for category, rate in each.categories.items()}}
        | {"words": each.words, "distinct": each.distinct}
        | {"further_judges": {judge: _rates(other) for judge, other in each.further.items()}}
        | {"agreement": dict(each.agreement), "answered_by": way}
        | {"left_out": left_out[left_out["benchmark"] == benchmark].drop(columns="benchmark").to_dict("records")}
        for benchmark, each in rates.items()
    }


def _rates(judged: AnswerRates) -> dict[str, Any]:
    values = {name: getattr(judged, name) for name in RATES}
    return {name: asdict(value) if isinstance(value, Rate) else value for name, value in values.items()}
