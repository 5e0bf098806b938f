"""Recognise broken answers: empty, looping, gibberish."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from itertools import pairwise

from .verdict import Degenerate

LOOP_SHARE = 0.5  # an answer is a loop if at least this share of its words is repetition
MIN_REPEATS = 3
MAX_PERIOD = 60  # words; a short completion has no room for three repetitions of a longer cycle
MIN_LOOPED_WORDS = 4
MAX_WORDS = 2000

WORD = re.compile(r"\w+(?:['-]\w+)*|[^\w\s]")
UNSPACED_LOOP = re.compile(r"([^\W_]\S{0,11}?|[\u2190-\u2bff\U0001f000-\U0001faff]\ufe0f?)\1{7,}")
TABLE_RULE = re.compile(r"[|+=_:-]")
LIST_MARK = re.compile(r"^[ \t]*(?:\d{1,3}[.):]|[-*\u2022+])[ \t]+", re.M)
UNIT = re.compile(r"[^\n.!?\u3002\uff01\uff1f]+[.!?\u3002\uff01\uff1f]*")
ASKS_REPETITION = re.compile(
    r"\b(?:repeat|say|write|print|type|output)\b[^\n]{0,120}\b(?:\d+|two|three|four|five|six|seven|eight|nine|ten|"
    r"twenty|fifty|hundred|many|several|multiple) times\b|\bover and over\b",
    re.I,
)
VOWELS = re.compile(r"[aeiouy\u00e0-\u00ff\u0100-\u024f]", re.I)
# Consonant groups that stand for one sound ("sch"), and pairs of letters in no word of thirteen European languages.
DIGRAPH = re.compile(r"sch|tch|[cpstg]h|ck|ng|[scrd]z|st")
UNPRONOUNCEABLE = re.compile(
    r"[bcdfghjklmnpqrstvwxz]{4}|q[a-hj-tv-z]|[bfghjpstvwx]q|[bfghjqvw]x|[stz]x|xd|x[jr]|v[qw]|[jp]q"
)
LATIN_WORD = re.compile(r"[A-Za-z\u00c0-\u024f]+")
# Greek or Cyrillic letters inside Latin words. Chinese and Japanese letters are left out: next to Latin words they
# are normal, without a space.
MIXED_WORD = re.compile(r"[A-Za-z](?=[\u0370-\u052f])|[\u0370-\u052f](?=[A-Za-z])")


def find_degenerate(text: str, prompt: str = "") -> tuple[Degenerate, str]:
    """The kind of breakdown of a normalised answer, and the answer with every loop cut to one repetition."""
    if not any(unicodedata.category(character)[0] in "LNS" for character in text):
        return "empty", ""
    unspaced = UNSPACED_LOOP.sub(r"\1", text)
    core, share = collapse_loops(unspaced)
    share = max(share, 1 - len(unspaced) / len(text))
    if share >= LOOP_SHARE and not ASKS_REPETITION.search(prompt):
        return "loop", core
    return ("gibberish", text) if is_gibberish(text) else ("none", text)


def collapse_loops(text: str) -> tuple[str, float]:
    """Return the text with repeated passages kept once, and the share of words that were repetition."""
    kept_text, lines_removed = drop_repeated_units(LIST_MARK.sub("", text))
    words = WORD.findall(kept_text)[:MAX_WORDS]
    kept = collapse_cycles(words)
    removed = len(words) - len(kept)
    total = len(words) + lines_removed
    if removed + lines_removed < MIN_LOOPED_WORDS:
        return text, 0.0
    core = " ".join(kept) if removed else kept_text
    return re.sub(r" (?=[.,!?;:])", "", core).strip(), (removed + lines_removed) / total


def drop_repeated_units(text: str) -> tuple[str, int]:
    """Keep only the first of sentences or lines that occur three times or more; return also the words dropped."""
    units = UNIT.findall(text)
    keys = [" ".join(WORD.findall(unit.lower())).rstrip(" .!?") for unit in units]
    counts = Counter(keys)
    if not units or counts.most_common(1)[0][1] < MIN_REPEATS:
        return text, 0
    seen: set[str] = set()
    kept: list[str] = []
    dropped = 0
    for unit, key in zip(units, keys, strict=True):
        words = key.count(" ") + 1 if key else 0
        # Units of one or two words repeat in tables and poems too; `collapse_cycles` finds cycles of them.
        if counts[key] >= MIN_REPEATS and key in seen and words > 2:
            dropped += words
            continue
        # The length limit often cuts the last repetition of a loop short.
        looped = [other for other in seen if counts[other] >= MIN_REPEATS]
        if unit is units[-1] and words > 2 and any(other.startswith(key) for other in looped):
            dropped += words
            continue
        seen.add(key)
        kept.append(unit)
    return "\n".join(unit.strip() for unit in kept), dropped


def collapse_cycles(words: list[str]) -> list[str]:
    """Replace each run `u u u ...` of three or more repetitions of up to 60 words `u` by one `u`."""
    lowered = [word.lower() for word in words]
    pairs = Counter(pairwise(lowered))
    if not pairs or pairs.most_common(1)[0][1] < MIN_REPEATS - 1:
        return words
    kept: list[str] = []
    start = 0
    while start < len(words):
        end, period = longest_cycle(lowered, start)
        kept.extend(words[start : start + period])
        start = end
    return kept


def longest_cycle(words: list[str], start: int) -> tuple[int, int]:
    """End and period of the cycle of words that begins at `start`; (start + 1, 1) if no cycle begins there."""
    if not words[start][0].isalnum():
        return start + 1, 1
    for period in range(1, min(MAX_PERIOD, (len(words) - start) // MIN_REPEATS) + 1):
        if words[start] != words[start + period] or words[start] != words[start + 2 * period]:
            continue
        end = start + period
        while end < len(words) and words[end] == words[end - period]:
            end += 1
        if end - start >= MIN_REPEATS * period:
            return end, period
    return start + 1, 1


def is_gibberish(text: str) -> bool:
    """Whether a text is mostly symbols, words without vowels or of mixed alphabets, or repeats very few words."""
    visible = [character for character in TABLE_RULE.sub("", text) if not character.isspace()]
    if text.count("\ufffd") * 10 > len(visible):
        return True
    letters = sum(character.isalnum() for character in visible)
    if "```" not in text and len(visible) >= 20 and letters < 0.4 * len(visible):
        return True
    words = LATIN_WORD.findall(text)
    long_words = [word for word in words if len(word) >= 4 and not word.isupper()]
    unreadable = sum(1 for word in long_words if len(word) > 30 or not VOWELS.search(word))
    if len(long_words) >= 3 and unreadable >= 0.5 * len(long_words):
        return True
    mashed = sum(1 for word in long_words if UNPRONOUNCEABLE.search(DIGRAPH.sub("t", word.lower())))
    if len(long_words) >= 6 and mashed + unreadable >= 0.4 * len(long_words):
        return True
    if len(words) >= 5 and len(MIXED_WORD.findall(text)) >= 0.3 * len(words):
        return True
    lowered = [word.lower() for word in words]
    return len(lowered) >= 40 and len(set(lowered)) < 0.18 * len(lowered)
