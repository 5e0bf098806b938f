"""Compare answers of the tuned and the base model: length, diversity, and how much of the base answer is kept."""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from neurontune_core.errors import InputError
from neurontune_core.evaluation.given_lists import texts
from neurontune_core.evaluation.statistics import wilson

ORDER = 6
BETA = 2
WORD = re.compile(r"\w+")
FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        "the and for are was were been being this that these those with from you your they them their there here have "
        "has had not but can could will would should may might must shall its his her him she who whom which what when "
        "where why how all any each some such than then too very just also into onto over under about after before "
        "because while during between through again only own same more most other our out off and",
    )
)


def content_words(text: str) -> set[str]:
    """Return the lower-case words of three letters or more, without English function words."""
    return {word for word in WORD.findall(text.lower()) if len(word) > 2 and word not in FUNCTION_WORDS}


def content_kept(base: str, tuned: str) -> float | None:
    """Share of the base answer's content words that the tuned answer has too; None if the base answer has none."""
    words = content_words(base)
    return len(words & content_words(tuned)) / len(words) if words else None


def chrf(reference: str, candidate: str) -> float:
    """Character n-gram F-score, `chrF = 5 P R / (4 P + R)`, P and R means over n = 1 to 6, without spaces, in [0, 1].

    Source: Popovic 2015, https://aclanthology.org/W15-3049. An n for which a text is too short is left out.
    """
    one, other = "".join(reference.split()), "".join(candidate.split())
    precision, recall = [], []
    for size in range(1, ORDER + 1):
        wanted, given = _grams(one, size), _grams(other, size)
        if wanted and given:
            common = (wanted & given).total()
            precision.append(common / given.total())
            recall.append(common / wanted.total())
    if not precision:
        return float(one == other)
    p, r = sum(precision) / len(precision), sum(recall) / len(recall)
    return (1 + BETA**2) * p * r / (BETA**2 * p + r) if p + r else 0.0


def distinct_share(texts: Sequence[str]) -> float | None:
    """Distinct-2: distinct word pairs divided by all word pairs of an answer, mean over answers; None without pairs."""
    shares = []
    for text in texts:
        words = text.lower().split()
        pairs = list(itertools.pairwise(words))
        if pairs:
            shares.append(len(set(pairs)) / len(pairs))
    return sum(shares) / len(shares) if shares else None


def mean_words(texts: Sequence[str]) -> float:
    """Return the mean number of words of the texts, at least one."""
    return _mean([len(text.split()) for text in texts])


def compare_answers(base: Iterable[str | None], tuned: Iterable[str | None]) -> dict[str, float]:
    """Return how the tuned model's answers to harmless prompts compare with the base's; empty without answers.

    `words`, `distinct` (and the same with `_base`): length in words and diversity. `content_kept` and `chrf`: means
    over the prompts of `content_kept` and `chrf`. `longer`: share of prompts whose tuned answer has at least as many
    content words as the base answer, with a Wilson interval (`longer_low`, `longer_high`).

    Args:
        base: the base model's answers.
        tuned: the tuned model's answers to the same prompts. Prompts for which one of both is missing (None or NaN)
            do not count.

    Raises:
        InputError: lists of different length, or an answer that is no text.
    """
    before, after = texts("base", base, missing=True), texts("tuned", tuned, missing=True)
    if len(before) != len(after):
        raise InputError(f"tuned: {len(after)} answers for {len(before)} of the base model; give one for each prompt")
    pairs = [(one, other) for one, other in zip(before, after, strict=True) if one is not None and other is not None]
    if not pairs:
        return {}
    before, after = [one for one, _ in pairs], [other for _, other in pairs]
    facts = {"words": mean_words(after), "words_base": mean_words(before)}
    for name, answers in (("distinct", after), ("distinct_base", before)):
        if (share := distinct_share(answers)) is not None:
            facts[name] = share
    kept = [share for one, other in pairs if (share := content_kept(one, other)) is not None]
    if kept:
        facts["content_kept"] = _mean(kept)
        facts["chrf"] = _mean([chrf(one, other) for one, other in pairs])
    rate = wilson([len(content_words(other)) >= len(content_words(one)) for one, other in pairs])
    return facts | {"longer": rate.value, "longer_low": rate.low, "longer_high": rate.high}


def _grams(text: str, size: int) -> Counter[str]:
    return Counter(text[start : start + size] for start in range(len(text) - size + 1))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
