"""Check a chat template: it compiles, ends, contains the prompt, and does nothing unsafe."""

import logging
import mmap
import re
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from pathlib import Path
from threading import Lock
from types import FrameType
from typing import Any

import jinja2
from transformers import PreTrainedTokenizerBase

from neurontune_core.errors import InputError
from neurontune_core.model.chat import PLAIN_TEMPLATE, prompt_text
from neurontune_core.model.checks.files import reason, shown

PROMPT = "How are candles made at home"
STEPS = 1_000_000
"""Most lines of Python for rendering one short prompt; usual templates take some hundreds."""
LENGTH = 200_000
"""Most characters around one short prompt."""
LARGEST_NUMBER = 1_000_000
"""A template with a larger number could fill all memory with one repeated string."""
MEMORY = 2**29
"""Most bytes of memory for rendering one short prompt; usual templates take some thousands."""
_RANDOM = ("random", "lipsum")
_OF_THE_DAY = re.compile(r"strftime_now\(\s*['\"][^'\"]*%[-#]?[HIMSfcXsrRTpz]")
_memory_limit = Lock()

logger = logging.getLogger("neurontune")


class _EndlessError(Exception):
    """The template has taken more steps than any prompt needs."""


def check_template(tokenizer: PreTrainedTokenizerBase, system: str | None = None) -> None:
    """Check that the chat template of a tokenizer, if it has one, renders a plain prompt.

    Raises:
        InputError: it does not compile, fails, leaves the prompt or the system prompt out, uses unsafe attributes,
            does not end, or there are several and none is called default.
    """
    templates: Any = tokenizer.chat_template
    if templates is None:
        _warn_of_plain_form(str(tokenizer.name_or_path))
        return
    if isinstance(templates, dict):
        if "default" not in templates:
            names = shown(", ".join(map(str, templates)), 80)
            raise InputError(
                f"chat_template: there are several ({names}), and none is called default; name one of them default"
            )
        templates = templates["default"]
    if not isinstance(templates, str):
        raise InputError(f"chat_template: is {shown(repr(templates), 40)}, not text; correct tokenizer_config.json")
    _check_words(templates)
    text = _rendered(tokenizer, None)
    _check_rendering(text, PROMPT, "chat_template: its text does not contain the prompt; correct it")
    if _OF_THE_DAY.search(templates) or _rendered(tokenizer, None) != text:
        raise InputError(
            "chat_template: writes the same prompt differently each time; remove what changes, such as a date"
        )
    if system:
        left_out = "model.system_prompt: the chat template of this model ignores it; leave the setting out"
        _check_rendering(_rendered(tokenizer, system), system.strip(), left_out)


@cache
def _warn_of_plain_form(model: str) -> None:
    """Say once for each model how prompts are written, because most models without a template are not chat models."""
    form = PLAIN_TEMPLATE.format(prompt="...").replace("\n", " / ")
    logger.warning(
        "%s has no chat template, so prompts are written as %r; if it is a chat model, put its own template "
        "(chat_template.jinja) into its folder",
        shown(model, 120),
        form,
    )


def _check_words(template: str) -> None:
    """Check the words of a template before it is compiled, because compiling computes its constants."""
    try:
        words = [word for word in jinja2.Environment().lex(template) if word[1] != "whitespace"]
    except jinja2.TemplateSyntaxError as error:
        raise InputError(f"chat_template: line {error.lineno}: {reason(error)}; correct it") from error
    for (_, _, before), (line, kind, word) in pairwise(words):
        attribute = (before == "." and kind == "name") or (before in ("(", "[", ",") and kind == "string")
        name = word.strip("'\"")
        if attribute and name.startswith("_" if before == "." else "__"):
            raise InputError(
                f"chat_template: line {line}: uses the unsafe attribute {shown(name, 40)!r}; "
                f"do not use this model, or correct it"
            )
        if before == "|" and kind == "name" and word in _RANDOM:
            raise InputError(f"chat_template: line {line}: draws at random ({word}); remove this")
        number = kind == "integer" and int(word.replace("_", ""), 0) > LARGEST_NUMBER
        if number or (kind == "operator" and word == "**"):
            raise InputError(
                f"chat_template: line {line}: computes with a very large number or a power, which no prompt needs; "
                f"correct it"
            )


def _rendered(tokenizer: PreTrainedTokenizerBase, system: str | None) -> str:
    try:
        with _little_memory(), _limited():
            return prompt_text(tokenizer, PROMPT, system)
    except InputError:
        raise
    except jinja2.TemplateSyntaxError as error:
        raise InputError(f"chat_template: line {error.lineno}: {reason(error)}; correct it") from error
    except jinja2.sandbox.SecurityError as error:
        raise InputError(
            f"chat_template: tries something unsafe ({reason(error)}); do not use this model, or correct it"
        ) from error
    except MemoryError as error:
        raise InputError("chat_template: uses all memory on a short prompt; correct it") from error
    except _EndlessError as error:
        raise InputError("chat_template: does not end on a short prompt; correct it") from error
    except Exception as error:  # a template can fail with errors of any kind
        raise InputError(f"chat_template: fails on a plain user message ({reason(error)}); correct it") from error


def _check_rendering(text: str, needed: str, left_out: str) -> None:
    if len(text) > LENGTH:
        raise InputError(f"chat_template: writes {len(text)} characters around a short prompt; correct it")
    if needed not in text:
        raise InputError(left_out)


@contextmanager
def _little_memory() -> Iterator[None]:
    """Let the process take no more than `MEMORY` further bytes inside, where the system says how many it has."""
    pages = Path("/proc/self/statm")
    if not pages.exists():
        yield
        return
    with _memory_limit:
        before = resource.getrlimit(resource.RLIMIT_AS)
        limits = [limit for limit in before if limit != resource.RLIM_INFINITY]
        now = int(pages.read_text().split()[0]) * mmap.PAGESIZE
        resource.setrlimit(resource.RLIMIT_AS, (min(now + MEMORY, *limits, sys.maxsize), before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)


@contextmanager
def _limited() -> Iterator[None]:
    """Raise `_EndlessError` inside after `STEPS` lines of Python, which compiled templates are."""
    left = STEPS
    before: Callable[..., Any] | None = sys.gettrace()

    def count(frame: FrameType, event: str, argument: Any) -> Callable[..., Any]:
        nonlocal left
        left -= 1
        if left < 0:
            raise _EndlessError
        return count

    sys.settrace(count)
    try:
        yield
    finally:
        sys.settrace(before)
