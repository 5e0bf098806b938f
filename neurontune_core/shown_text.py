"""Show foreign texts so that they cannot control a terminal or become markup of a page."""

import re
from collections.abc import Mapping, Sequence

# what Markdown, and the pages that show it, would take for more than text; ordinary text has none of it
_MARKUP = re.compile(
    r"""[\\`|*] | ~(?=~) | <(?=[A-Za-z/!?]) | &(?=\#?\w+;) | (?<=\])[(\[:] | (?<!\w)_ | _(?!\w)
    | :(?=//) | (?<=\bwww)\. | (?<=\w)@(?=\w) | ^[#>] | ^[+=-](?![\w.]) | (?<=^\d)[.)](?=\s)""",
    re.VERBOSE | re.IGNORECASE,
)


def printable(text: str, keep: str = "\n\t") -> str:
    """Return a text with what a terminal would obey, such as escape sequences, spelled out; `keep` is left."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in keep else ascii(sign)[1:-1] for sign in text)


def one_line(text: str) -> str:
    """Return a text in one line: control characters and ends of lines are written as escapes."""
    return printable(text, keep="")


def quoted(value: object, most: int = 160) -> str:
    """Return a value as Python writes it, a text between quotes, cut to `most` signs."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def group_in_words(name: str) -> str:
    """Return the name of a group of prompts in words: `benign_heldout_attack` is `harmless held-out attack`."""
    words = re.sub(r"\bheldout\b", "held-out", name.replace("_", " "))
    return re.sub(r"^benign\b", "harmless", words)


def markdown_text(text: str) -> str:
    """Return a text as one line of Markdown that shows it and is nothing else."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(printable(text).split()))


def markdown_code(text: str) -> str:
    """Return a text as a span of code in one line of Markdown."""
    line = " ".join(printable(text).split()).replace("|", "\\|")
    ticks = "`" * (1 + _longest_ticks(line))
    return f"{ticks} {line} {ticks}" if "`" in line or not line else f"{ticks}{line}{ticks}"


def markdown_block(text: str) -> str:
    """Return a text as a block of code in Markdown."""
    shown = printable(text)
    fence = "`" * max(3, 1 + _longest_ticks(shown))
    return f"{fence}\n{shown}\n{fence}"


def markdown_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return rows, at least one, as a Markdown table, for any texts in it."""
    header = "| " + " | ".join(map(markdown_text, rows[0])) + " |\n|" + "---|" * len(rows[0])
    return "\n".join([header, *("| " + " | ".join(map(markdown_text, row.values())) + " |" for row in rows)])


def _longest_ticks(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
