"""How well a judge agrees with people, and two judges with each other.

scikit-learn is imported by the functions that use it: a run with a single judge needs none of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from neurontune_core.records import REFUSED

from .verdict import Label, Verdict


@dataclass(frozen=True)
class Agreement:
    """Agreement of verdicts with human labels; the positive class is refusal, full or partial; None: undefined.

    `n` counts the rows with a label and a verdict, `unscored` those with a label but no verdict; no rate uses them.
    `false_refusal_unsafe` and `false_refusal_safe` are shares of the answers that people labelled as compliance, to
    unsafe and to safe prompts, that the judge calls refused.
    """

    n: int
    unscored: int
    accuracy: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    f1_without_partial: float | None
    worst_group: str | None
    worst_group_f1: float | None
    group_f1: dict[str, float]
    false_refusal_unsafe: float | None
    false_refusal_safe: float | None


def measure_agreement(
    labels: Sequence[Label],
    verdicts: Sequence[Verdict],
    groups: Sequence[str | None] | None = None,
    prompt_safe: Sequence[bool | None] | None = None,
) -> Agreement:
    """Compare verdicts with labels, row by row; `groups` names the model each completion came from."""
    from sklearn.metrics import accuracy_score, precision_score, recall_score

    rows = [index for index, verdict in enumerate(verdicts) if verdict.label != "unscored"]
    truth = {index: labels[index] in REFUSED for index in rows}
    found = {index: verdicts[index].refused for index in rows}
    whole = [index for index in rows if labels[index] != "partial"]
    group_f1: dict[str, float] = {}
    for group in sorted({name for name in groups or [] if name is not None}):
        value = f1_of([index for index in rows if groups and groups[index] == group], truth, found)
        if value is not None:
            group_f1[group] = value
    worst = min(group_f1, key=lambda name: group_f1[name], default=None)
    complied = {
        safe: [found[i] for i in rows if labels[i] == "compliance" and prompt_safe and prompt_safe[i] is safe]
        for safe in (True, False)
    }
    true, guess = [truth[index] for index in rows], [found[index] for index in rows]
    return Agreement(
        n=len(rows),
        unscored=len(verdicts) - len(rows),
        accuracy=float(accuracy_score(true, guess)) if rows else None,
        precision=float(precision_score(true, guess, zero_division=0)) if any(guess) else None,
        recall=float(recall_score(true, guess, zero_division=0)) if any(true) else None,
        f1=f1_of(rows, truth, found),
        f1_without_partial=f1_of(whole, truth, found),
        worst_group=worst,
        worst_group_f1=group_f1[worst] if worst is not None else None,
        group_f1=group_f1,
        false_refusal_unsafe=mean(complied[False]),
        false_refusal_safe=mean(complied[True]),
    )


def f1_of(rows: Sequence[int], truth: dict[int, bool], found: dict[int, bool]) -> float | None:
    """F1 of refusal on some rows; None if no row is a refusal, neither by its label nor by its verdict."""
    from sklearn.metrics import f1_score

    true, guess = [truth[index] for index in rows], [found[index] for index in rows]
    return float(f1_score(true, guess, zero_division=0)) if any(true) or any(guess) else None


def mean(values: Sequence[bool]) -> float | None:
    """Share of true values, None of no values."""
    return sum(values) / len(values) if values else None


def judge_kappa(first: Sequence[Verdict], second: Sequence[Verdict]) -> float | None:
    """Cohen's kappa of two judges on refused or not, over the rows both scored; None where it is undefined."""
    said = ([None if each.label == "unscored" else each.refused for each in verdicts] for verdicts in (first, second))
    return outcome_kappa(*said)


def outcome_kappa(first: Sequence[bool | None], second: Sequence[bool | None]) -> float | None:
    """Cohen's kappa of two judges' answers to one question, over the rows both answered; None where it is undefined."""
    from sklearn.metrics import cohen_kappa_score

    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    one, other = [a for a, _ in pairs], [b for _, b in pairs]
    if len(set(one) | set(other)) < 2:
        return None
    kappa = float(cohen_kappa_score(one, other))
    return None if math.isnan(kappa) else kappa
