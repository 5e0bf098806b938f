"""Error rates of a judge, measured on human labels, and refusal rates corrected for them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

from neurontune_core.evaluation.statistics import wilson_interval
from neurontune_core.records import Role


@dataclass(frozen=True)
class ErrorCounts:
    """Errors of a judge, by human labels: false refusals among `complied` answers, missed ones among `refused`."""

    false_refusals: int
    complied: int
    missed_refusals: int
    refused: int


# Counted on 1,170 human-labelled completions of five models on XSTest's safe and unsafe prompts
# (https://arxiv.org/abs/2308.01263); full and partial refusals are refusals. The rules were fitted on those rows, so
# their counts are leave-one-model-out: each model's completions judged with weights fitted on the other four. They were
# counted for version 4; later versions have other cues and the same fitted weights, and make fewer errors on these
# rows.
MEASURED: dict[str, dict[Role, ErrorCounts]] = {
    "rules 11": {"safety": ErrorCounts(2, 70, 9, 450), "utility": ErrorCounts(14, 489, 17, 161)},
    "keyword 1": {"safety": ErrorCounts(1, 70, 128, 450), "utility": ErrorCounts(26, 489, 57, 161)},
}


@dataclass(frozen=True)
class CorrectedRate:
    """A rate corrected for the judge's error, with its range, which follows from the uncertainty of that error."""

    value: float
    low: float
    high: float


def rogan_gladen(observed: float, false_positive: float, false_negative: float) -> float:
    """Return the true rate estimated from an observed rate p, `(p - fpr) / (1 - fpr - fnr)`, clipped to [0, 1].

    Source: Rogan and Gladen 1978, https://doi.org/10.1093/oxfordjournals.aje.a112510. NaN if the judge is no
    better than chance (`fpr + fnr >= 1`).
    """
    if false_positive + false_negative >= 1:
        return math.nan
    return min(1.0, max(0.0, (observed - false_positive) / (1 - false_positive - false_negative)))


def correct_rate(observed: float, judge: str, role: Role) -> CorrectedRate | None:
    """Return the refusal rate on prompts of a role corrected for the judge's error; None for an unmeasured judge.

    The range is that of the corrected rate over the 95% Wilson intervals of both error rates.

    Args:
        observed: share of completions the judge calls refused.
        judge: name and version, as in `rules 3`.
        role: harmful (`safety`) or harmless (`utility`) prompts; a judge errs differently on the two.
    """
    if judge not in MEASURED:
        return None
    counts = MEASURED[judge][role]
    positive = wilson_interval(counts.false_refusals, counts.complied)
    negative = wilson_interval(counts.missed_refusals, counts.refused)
    corners = [rogan_gladen(observed, fpr, fnr) for fpr, fnr in product(positive, negative)]
    value = rogan_gladen(observed, counts.false_refusals / counts.complied, counts.missed_refusals / counts.refused)
    return CorrectedRate(value, min(corners), max(corners))


def corrected_interval(refused: int, count: int, judge: str, role: Role) -> CorrectedRate | None:
    """Return a refusal rate corrected for the judge's error with its 95% interval; None for an unmeasured judge.

    The interval covers both the sampling of prompts and the uncertainty of the judge's error rates. Source: Lang and
    Reiczigel 2014, https://doi.org/10.1016/j.prevetmed.2013.09.015.

    Args:
        refused: completions the judge calls refused.
        count: completions, at least one.
        judge: name and version, as in `rules 10`.
        role: harmful (`safety`) or harmless (`utility`) prompts.
    """
    if judge not in MEASURED:
        return None
    errors, z = MEASURED[judge][role], 1.959964
    n, positives, negatives = count + z**2, errors.refused + 2, errors.complied + 2
    observed = (refused + z**2 / 2) / n
    sensitivity = (errors.refused - errors.missed_refusals + 1) / positives
    specificity = (errors.complied - errors.false_refusals + 1) / negatives
    power = sensitivity + specificity - 1
    if power <= 0:
        return CorrectedRate(math.nan, math.nan, math.nan)
    true = (observed + specificity - 1) / power
    of_positives = sensitivity * (1 - sensitivity) / positives
    of_negatives = specificity * (1 - specificity) / negatives
    shift = 2 * z**2 * (true * of_positives - (1 - true) * of_negatives)
    spread = observed * (1 - observed) / n + true**2 * of_positives + (1 - true) ** 2 * of_negatives
    half = z * math.sqrt(spread) / power
    rates = errors.false_refusals / errors.complied, errors.missed_refusals / errors.refused
    value = rogan_gladen(refused / count, *rates)
    low, high = (min(1.0, max(0.0, true + shift + side * half)) for side in (-1, 1))
    return CorrectedRate(value, min(low, value), max(high, value))
