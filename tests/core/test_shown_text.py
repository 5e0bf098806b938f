"""Texts of others that would steer a terminal or become markup."""

import pytest
from markdown_it import MarkdownIt

from neurontune_core.shown_text import markdown_block, markdown_code, markdown_text, printable

HOSTILE = [
    "\x1b]0;title\x07", "\x1b[2J\x1b[31m", "\x9b31m", "a\rb", "a\x08b", "\u202egnp.exe", "\u2066x\u2069", "\udc80",
    "\x00",
]  # fmt: skip
MARKUP = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</td></tr></table>", "[a](javascript:alert(1))",
    "![a](http://evil.example/x.png)", "[a]: http://evil.example", "[a][b]", "`code`", "```\nfence", "**bold**", "_it_",
    "a | b", "\\| b", "# title", "> quote", "- list", "1. list", "~~gone~~", "&lt;b&gt;", "&#60;b>", "http://evil.example",
    "<http://evil.example>", "www.evil.example", "me@evil.example", "<!-- hidden -->", "<?php ?>", "a\n\n# title",
    "---", "===", "___", "***", "-", "+", "+ a", "<a\nhref='x'>", "\\", "\\`", "*", "_", 
    "a_b_c", "x * y", "1 < 2 && 3 > 2", "10.5", "",
    "rate [0.1, 0.2]", "p < 0.001", "naïve 漢字 \U0001f600",
]  # fmt: skip
READ = MarkdownIt("gfm-like", {"html": True, "linkify": False})


def as_shown(inline: list) -> str:  # type: ignore[type-arg]
    assert {part.type for part in inline} <= {"text", "text_special"}, inline
    return "".join(part.content for part in inline)


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_steers_the_terminal(text: str) -> None:
    for shown in (printable(text), printable(f"good\n{text}"), markdown_text(text), markdown_code(text)):
        assert all(sign.isprintable() or sign == "\n" for sign in shown)
        shown.encode()
    assert printable("naïve 漢字 \U0001f600\n\tok") == "naïve 漢字 \U0001f600\n\tok"


@pytest.mark.parametrize("text", [*MARKUP, *HOSTILE])
def test_markdown_shows_the_text_and_is_nothing_else(text: str) -> None:
    expected = " ".join(printable(text).split())
    tokens = READ.parse(markdown_text(text))
    if expected:
        assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
        assert as_shown(tokens[1].children) == expected
    table = READ.parse(f"| a | b |\n|---|---|\n| {markdown_text(text)} | end |")
    cells = [token for token in table if token.type == "inline"]
    assert [as_shown(cell.children) for cell in cells] == ["a", "b", expected, "end"]


@pytest.mark.parametrize("text", [text for text in [*MARKUP, *HOSTILE] if "|" not in text and text.strip()])
def test_code_stays_in_its_span_and_its_block(text: str) -> None:
    (paragraph,) = [token for token in READ.parse(f"at {markdown_code(text)}.") if token.type == "inline"]
    before, code, after = paragraph.children
    assert (before.content, code.type, after.content) == ("at ", "code_inline", ".")
    assert code.content == " ".join(printable(text).split())
    (block,) = READ.parse(f"{markdown_block(text)}\n")
    assert (block.type, block.content.rstrip("\n")) == ("fence", printable(text).rstrip("\n"))


@pytest.mark.parametrize(
    "text", ["8% [1, 13]", "+0.05 [-0.01, +0.11]", "-0.2", "p <= 0.05", "a_b", "90.0% [84, 94]", "n = 5"]
)
def test_ordinary_text_is_left_as_it_is(text: str) -> None:
    assert markdown_text(text) == text
