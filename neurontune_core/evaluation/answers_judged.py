"""Evaluate a list of prompts and answers of any model, without a run."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from neurontune_core.errors import InputError
from neurontune_core.evaluation.judges import Completion, Judge, judge_by_name
from neurontune_core.evaluation.statistics import Rate, wilson


@dataclass(frozen=True)
class AnswerRates:
    """Verdicts, a row an answer, and rates over the answers with a verdict; a rate over no answer is None.

    `refused` and `gave` are over all answers with a verdict; `harm` is `gave` over harmful prompts (attack success),
    `over_refusal` is `refused` over harmless prompts.
    """

    verdicts: pd.DataFrame
    refused: Rate | None
    gave: Rate | None
    harm: Rate | None
    over_refusal: Rate | None
    unscored: int


def evaluate_answers(
    prompts: Sequence[str],
    answers: Sequence[str | None],
    harmful: Sequence[bool] | None = None,
    judge: str | Judge = "rules",
    judge_path: str | None = None,
) -> AnswerRates:
    """Judge answers of any model, and return verdicts and rates with 95% Wilson intervals.

    Args:
        prompts: the prompts.
        answers: the answer to each prompt; None for a missing answer, which gets the verdict `unscored`.
        harmful: whether each prompt is harmful, for `harm` and `over_refusal`.
        judge: a judge, or the name of one.
        judge_path: the model folder or the verdict file that the named judge reads.

    Raises:
        InputError: lists of different length, or a judge that cannot be loaded.
    """
    for name, values in (("answers", answers), ("harmful", harmful)):
        if values is not None and len(values) != len(prompts):
            raise InputError(f"{name}: {len(values)} for {len(prompts)} prompts; give one for each")
    judging = judge_by_name(judge, judge_path) if isinstance(judge, str) else judge
    batch = [Completion(str(i), prompt, answers[i]) for i, prompt in enumerate(prompts)]
    verdicts = judging(batch)
    table = pd.DataFrame(
        {
            "prompt": list(prompts),
            "completion": list(answers),
            "verdict": [verdict.label for verdict in verdicts],
            "refused": [verdict.refused for verdict in verdicts],
            "gave": pd.array([verdict.gave for verdict in verdicts], dtype="boolean"),
            "explanation": [verdict.explanation for verdict in verdicts],
        }
    )
    sides = [None if harmful is None else harmful[i] for i in range(len(prompts))]
    read = table[table["verdict"] != "unscored"]

    def rate(column: str, side: bool | None = None) -> Rate | None:
        rows = read if side is None else read[[sides[i] is side for i in read.index]]
        outcomes = [bool(value) for value in rows[column].dropna()]
        return wilson(outcomes) if outcomes else None

    return AnswerRates(
        table, rate("refused"), rate("gave"), rate("gave", True), rate("refused", False), len(table) - len(read)
    )
