"""Diversity of text: the n-gram entropy of completions cut to the same length."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

WORDS = 32
"""Leading words of a completion that are used. Entropy grows with length, so all completions are cut to this."""


def n_gram_entropy(words: Sequence[str]) -> float:
    """Return the mean of the weighted 2- and 3-gram entropies in bits, `1/2 sum_n w_n H_n`, `w_2 = 2/3, w_3 = 4/3`.

    `H_n = -sum_g f(g) log2 f(g)` over the relative frequencies of the n-grams. Source: the generation entropy of
    Meng et al. 2022 (https://arxiv.org/abs/2202.05262, section 3.4). Low values mean repetition.

    Raises:
        ValueError: fewer than three words.
    """
    if len(words) < 3:
        raise ValueError(f"n-gram entropy needs at least 3 words, got {len(words)}")
    return (2 / 3 * _entropy(words, 2) + 4 / 3 * _entropy(words, 3)) / 2


def fluency(completion: str) -> float | None:
    """Return the n-gram entropy of the first `WORDS` words (punctuation apart), None if there are fewer."""
    words = re.findall(r"\w+|[^\w\s]", completion)[:WORDS]
    return n_gram_entropy(words) if len(words) == WORDS else None


def _entropy(words: Sequence[str], size: int) -> float:
    grams = Counter(tuple(words[i : i + size]) for i in range(len(words) - size + 1))
    counts = np.array(list(grams.values()), dtype=np.float64)
    shares = counts / counts.sum()
    return float(-(shares * np.log2(shares)).sum())
