"""Evaluate a list of prompts and answers of any model, without a run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from neurontune_core.errors import InputError
from neurontune_core.evaluation.compared_answers import distinct_share, mean_words
from neurontune_core.evaluation.given_lists import texts, truths, turns
from neurontune_core.evaluation.judges import Completion, Judge, judge_by_name
from neurontune_core.evaluation.judging import agreement
from neurontune_core.evaluation.statistics import Rate, wilson_of_known


@dataclass(frozen=True)
class AnswerRates:
    """Verdicts, a row an answer, and rates over the answers with a verdict; a rate over no answer is None.

    `refused` and `gave` are over all answers with a verdict; `harm` is `gave` over harmful prompts (attack success),
    `over_refusal` is `refused` over harmless prompts, `categories` is `refused` by category of the prompts.
    `words` and `distinct` are the mean length and diversity of the answers (None of no answers). `further` has the
    rates by each further judge (`keyword 1`), `agreement` those of `judging.agreement`.
    """

    verdicts: pd.DataFrame
    refused: Rate | None
    gave: Rate | None
    harm: Rate | None
    over_refusal: Rate | None
    unscored: int
    categories: Mapping[str, Rate]
    words: float | None
    distinct: float | None
    further: Mapping[str, "AnswerRates"]
    agreement: Mapping[str, float]


def evaluate_answers(
    prompts: Iterable[str],
    answers: Iterable[str | None],
    harmful: Iterable[bool] | None = None,
    judge: str | Judge = "rules",
    judge_path: str | None = None,
    also_judges: Sequence[str | Judge] = (),
    categories: Iterable[str | None] | None = None,
    queries: Iterable[str | None] | None = None,
    ids: Iterable[str] | None = None,
    histories: Iterable[Sequence[Mapping[str, str]] | None] | None = None,
) -> AnswerRates:
    """Judge answers of any model, and return verdicts and rates with 95% Wilson intervals.

    Args:
        prompts: the prompts.
        answers: the answer to each prompt; None or NaN for a missing answer, which gets the verdict `unscored`.
        harmful: whether each prompt is harmful, for `harm` and `over_refusal`.
        judge: a judge, or the name of one (`keyword`, `wildguard=FOLDER`).
        judge_path: the model folder or the verdict file that the named judge reads, if its name has none.
        also_judges: further judges, or their names (`keyword`, `wildguard=FOLDER`); their verdicts are the columns
            `verdict/<judge>` and `gave/<judge>`.
        categories: the category of each prompt, "", None or NaN for none.
        queries: the plain request of each prompt, where prompts are wrapped in attacks.
        ids: the id of each answer, by which the judge `precomputed` looks up its verdict; by default its index.
        histories: the messages before each prompt, each with `role` and `content`, or None; model judges read them.

    Raises:
        InputError: lists of different length, something else than a list, an item of another type, a judge that cannot
            be loaded, or one that does not give a verdict on each answer.
    """
    prompts, answers = texts("prompts", prompts), texts("answers", answers, missing=True)
    harmful = None if harmful is None else truths("harmful", harmful)
    kinds = None if categories is None else [kind or "" for kind in texts("categories", categories, missing=True)]
    plain = None if queries is None else [query or "" for query in texts("queries", queries, missing=True)]
    ids = None if ids is None else texts("ids", ids)
    earlier = None if histories is None else turns("histories", histories)
    given: dict[str, list[Any] | None] = {"answers": answers, "harmful": harmful, "categories": kinds}
    given |= {"queries": plain, "ids": ids, "histories": earlier}
    for name, values in given.items():
        if values is not None and len(values) != len(prompts):
            raise InputError(f"{name}: {len(values)} for {len(prompts)} prompts; give one for each")
    if isinstance(also_judges, str):
        raise InputError(f"also_judges: a single text was given; give a list, such as [{also_judges!r}]")
    judging = _judge("judge", judge, judge_path)
    others = [_judge("also_judges", each) for each in also_judges]
    count = len(prompts)
    names = [str(i) for i in range(count)] if ids is None else ids
    asked = [""] * count if plain is None else plain
    before = [()] * count if earlier is None else earlier
    batch = [
        Completion(id=name, prompt=prompt, response=answer, query=query, history=history)
        for name, prompt, answer, query, history in zip(names, prompts, answers, asked, before, strict=True)
    ]
    return _rates(batch, judging, others, harmful, kinds)


def _rates(
    batch: Sequence[Completion],
    judge: Judge,
    others: Sequence[Judge],
    harmful: Sequence[bool] | None,
    categories: Sequence[str] | None,
) -> AnswerRates:
    """Return verdicts and rates by a judge, and by each of the other judges."""
    verdicts = judge(batch)
    if [verdict.id for verdict in verdicts] != [completion.id for completion in batch]:
        raise InputError(
            f"judge {judge.name}: {len(verdicts)} verdicts on {len(batch)} answers; return one on each, in order"
        )
    table = pd.DataFrame(
        {
            "prompt": [completion.prompt for completion in batch],
            "completion": [completion.response for completion in batch],
            "verdict": [verdict.label for verdict in verdicts],
            "refused": [verdict.refused for verdict in verdicts],
            "gave": pd.array([verdict.gave for verdict in verdicts], dtype="boolean"),
            "explanation": [verdict.explanation for verdict in verdicts],
        }
    )
    further = {f"{each.name} {each.version}": _rates(batch, each, (), harmful, categories) for each in others}
    for title, other in further.items():
        table[f"verdict/{title}"], table[f"gave/{title}"] = other.verdicts["verdict"], other.verdicts["gave"]
    scored = table["verdict"] != "unscored"
    known = [completion.response for completion in batch if completion.response is not None]
    unsafe = np.array([] if harmful is None else harmful, dtype=bool)
    kinds = np.array([] if categories is None else categories, dtype=str)
    return AnswerRates(
        verdicts=table,
        refused=wilson_of_known(table["refused"][scored]),
        gave=wilson_of_known(table["gave"][scored]),
        harm=None if harmful is None else wilson_of_known(table["gave"][scored & unsafe]),
        over_refusal=None if harmful is None else wilson_of_known(table["refused"][scored & ~unsafe]),
        unscored=int((~scored).sum()),
        categories={
            str(kind): rate
            for kind in np.unique(kinds)
            if kind and (rate := wilson_of_known(table["refused"][scored & (kinds == kind)]))
        },
        words=mean_words(known) if known else None,
        distinct=distinct_share(known),
        further=further,
        agreement=agreement(table if harmful is None else table.assign(role=np.where(unsafe, "safety", "utility"))),
    )


def _judge(field: str, judge: str | Judge, path: str | None = None) -> Judge:
    if isinstance(judge, str):
        name, _, folder = judge.partition("=")
        return judge_by_name(name, path or folder or None)
    if not (callable(judge) and hasattr(judge, "name") and hasattr(judge, "version")):
        raise InputError(f"{field}: {judge!r} is no judge; give the name of one, or an object with name and version")
    return judge
