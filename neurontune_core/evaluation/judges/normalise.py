"""Normalise a completion, so that its typography does not change the verdict."""

from __future__ import annotations

import html
import re
import unicodedata

from .deliberation import strip_deliberation

CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc\u00b4\uff07", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb\u300c\u300d\uff02", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f", None),
    }
)
# UTF-8 punctuation that another program decoded as Windows-1252 or Mac Roman.
MOJIBAKE = {
    "\u00e2\u20ac\u2122": "'",
    "\u00e2\u20ac\u02dc": "'",
    "\u00e2\u20ac\u0153": '"',
    "\u00e2\u20ac\u009d": '"',
    "\u201a\u00c4\u00f4": "'",
    "\u201a\u00c4\u00fa": '"',
    "\u201a\u00c4\u00f9": '"',
    "\u00c2\u00a0": " ",
}
THOUGHT = r"think(?:ing)?|thought|reasoning|reflection|scratchpad"
THOUGHT_MARK = re.compile(
    rf"(?P<opens><(?:{THOUGHT})>|\[THINK\]|<\|begin_of_thought\|>|<\|channel\|>(?:analysis|commentary)\b)"
    rf"|(?P<closes></(?:{THOUGHT})>|\[/THINK\]|<\|end_of_thought\|>)"
    # these marks end other sections as well
    r"|<\|end\|>|(?=<\|channel\|>final)",
    re.I,
)

ROLE = r"(?:assistant|model|user|system|human)\b"
TURN_HEADER = (
    rf"(?:(?:<\|im_start\|>|<\|start_header_id\|>|<start_of_turn>|<\|start_of_role\|>|<\|start\|>)\s*{ROLE}\s*"
    rf"(?:<\|end_header_id\|>|<\|end_of_role\|>)?|<\|{ROLE}\|>)"
)
CHAT_TOKEN_PATTERN = (
    r"(?:<\|channel\|>final|<\|[\w.\u2581-]{1,40}\|>|</?s>|<(?:bos|eos|pad|unk|end_of_turn|start_of_turn)>"
    r"|</?(?:answer|response|output|assistant)>"
    r"|\[/?INST\]|<</?SYS>>|\[(?:CLS|SEP|PAD)\])"
)
CHAT_TOKEN = re.compile(CHAT_TOKEN_PATTERN, re.I)
TURN_MARK = re.compile(rf"{TURN_HEADER}|{CHAT_TOKEN_PATTERN}", re.I)
LEADING_TOKENS = re.compile(rf"\A(?:\s|{TURN_HEADER}|{CHAT_TOKEN_PATTERN})+", re.I)
LEADING_ROLE = re.compile(
    r"\A\W{0,6}(?:(?:assistant|chatbot|ai(?: assistant)?|bot|model|chatgpt|gpt-?4?)\b\W{0,3}[:\n]"
    r"|(?:response|answer|output|reply)\W{0,3}:)[^\w\"'`]{0,3}(?=[\w\"'`])",
    re.I,
)
# A model that does not stop at its end of turn writes the next turns itself: they are not part of its answer.
NEXT_TURN = re.compile(
    rf"{TURN_HEADER}.*\Z|\[INST\].*\Z|\n[ \t]*(?:(?:user|human)\s?:|#{{1,3}} ?(?:user|human|instruction)\b).*\Z",
    re.S | re.I,
)
# A grave accent between two letters is an apostrophe; around a word it marks code.
GRAVE_APOSTROPHE = re.compile(r"(?<=[^\W\d_])`(?=[^\W\d_])")
ENCLOSING_QUOTES = re.compile(r'\A\s*"([^"]*)"\s*\Z')
EMPHASIS = re.compile(r"(?<!\w)(\*{1,3}|_{1,3}|~~)(?=\S)([^\n]{1,400}?)(?<=\S)\1(?!\w)")
INNER_EMPHASIS = re.compile(r"(?<=[^\W\d_])\*{1,3}([^\W\d_]+)\*{1,3}|\*{2,3}(?=\S)|(?<=\S)\*{2,3}")
HEADING = re.compile(r"^[ \t]*#{1,6}[ \t]+", re.M)
QUOTE_MARK = re.compile(r"^[ \t]*>[ \t]?", re.M)
SPACES = re.compile(r"[^\S\n]+")
LINE_END = re.compile("\r\n?|\u2028|\u2029")
BLANK_LINES = re.compile(r"\n(?:[ \t]*\n)+")


def fold_characters(text: str) -> str:
    """NFKC, straight quotes and dashes, ordinary spaces, no zero-width characters, no HTML entities."""
    if "&" in text:
        text = html.unescape(text)
    for broken, mended in MOJIBAKE.items():
        if broken in text:
            text = text.replace(broken, mended)
    # Quotes first: NFKC takes the acute accent apart into a space and a combining mark.
    text = unicodedata.normalize("NFKC", text.translate(CHARACTERS))
    text = GRAVE_APOSTROPHE.sub("'", LINE_END.sub("\n", text))
    return BLANK_LINES.sub("\n\n", text)


def strip_thoughts(text: str) -> str:
    """Remove thoughts, also a thought without opening mark, and one that the length limit cut off."""
    kept, start, inside = "", 0, False
    for mark in THOUGHT_MARK.finditer(text):
        if mark["opens"]:
            kept, inside = kept if inside else f"{kept} {text[start : mark.start()]}", True
        elif inside or mark["closes"]:
            kept, start, inside = kept if inside else "", mark.end(), False
    return kept if inside else f"{kept} {text[start:]}"


def strip_markup(text: str) -> str:
    """Remove thought sections, chat tokens and role markers, and cut the text before the next turn."""
    if "<" in text or "[" in text:
        text = LEADING_TOKENS.sub("", strip_thoughts(text))
    text = NEXT_TURN.sub("", text)
    return LEADING_ROLE.sub("", CHAT_TOKEN.sub(" ", text))


def strip_emphasis(text: str) -> str:
    """Remove Markdown emphasis, headings and block-quote marks."""
    if "*" in text or "_" in text or "~" in text:
        # twice, as one kind of emphasis may stand inside another
        text = INNER_EMPHASIS.sub(r"\1", EMPHASIS.sub(r"\2", EMPHASIS.sub(r"\2", text)))
    return QUOTE_MARK.sub("", HEADING.sub("", text))


def normalise(text: str) -> str:
    """The normalised completion that the rules judge reads."""
    text = strip_deliberation(strip_emphasis(strip_markup(fold_characters(text))).lstrip())
    return ENCLOSING_QUOTES.sub(r"\1", SPACES.sub(" ", text)).strip()


def plain_prompt(text: str) -> str:
    """The normalised prompt: chat tokens and turn headers are removed, turns that an attack contains are kept."""
    text = fold_characters(text)
    return TURN_MARK.sub(" ", text).strip() if "<" in text or "[" in text else text.strip()
