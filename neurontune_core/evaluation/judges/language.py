"""Prepare text for the cue patterns: lower case, contractions written out ("can't" to "cannot"), sentences split."""

from __future__ import annotations

import re
import unicodedata

CONTRACTIONS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (r"\b(?:can't|cant|can not)\b", "cannot"),
        (r"\bwon't\b", "will not"),
        (r"n't\b", " not"),
        (r"\b(do|does|did|is|are|was|should|would|could)nt\b", r"\1 not"),
        (r"\bi'?m\b", "i am"),
        (r"'s not\b", " is not"),
        (r"'re\b", " are"),
        (r"'ve\b", " have"),
        (r"'ll\b", " will"),
        (r"'d\b", " would"),
        (r"\blet's\b(?! (?:me|him|her|it|them|us|you|people|someone)\b)", "let us"),
        (r"\b(it|that|there|what|here|who)'s\b", r"\1 is"),
    ]
]
SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=\S)|(?<=[\u3002\uff01\uff1f\u0964\u06d4\u061f])|\n+")

# Marks that writers often leave out, and letters that they exchange: Arabic vowels, hamza on alif, Persian letters, the
# nukta and the moon of Indic scripts, and the dot of a Turkish capital I in lower case.
FOLDED = str.maketrans(
    {
        **dict.fromkeys([*map(chr, range(0x064B, 0x0653)), "\u0670", "\u0640", "\u093c", "\u09bc", "\u0307"], None),
        **dict.fromkeys("\u0623\u0625\u0622\u0671", "\u0627"),
        **dict.fromkeys("\u0649\u064a", "\u06cc"),
        "\u0643": "\u06a9",
        "\u0647": "\u06c1",
        "\u0901": "\u0902",
    }
)


def fold(text: str) -> str:
    """Text in a language other than English, in lower case and without differences of spelling."""
    return fold_pattern(text.lower())


def fold_pattern(pattern: str) -> str:
    """A pattern over folded text."""
    return unicodedata.normalize("NFC", pattern).translate(FOLDED)


def expand(text: str) -> str:
    """Lower case, contractions written out."""
    text = text.lower()
    for pattern, replacement in CONTRACTIONS:
        text = pattern.sub(replacement, text)
    return text


def split_sentences(text: str) -> list[str]:
    """Sentences and lines that contain a letter or a digit."""
    return [part for part in SENTENCE_END.split(text) if part and any(map(str.isalnum, part))]


def any_of(*alternatives: str) -> re.Pattern[str]:
    """One pattern that matches where any alternative does."""
    return re.compile(fold_pattern("|".join(alternatives)))
