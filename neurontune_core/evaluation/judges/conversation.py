"""The conversation that a model judge reads: earlier turns, prompt and answer, in the judge's chat format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .verdict import Completion


def rendered(tokenizer: Any, item: Completion, writes: bool = True) -> str:
    """Return the conversation in the chat format of a judge that writes its verdict (`writes`) or classifies."""
    turns = [(turn.role, turn.content) for turn in item.history]
    turns += [("user", item.prompt), ("assistant", item.response or "")]
    plain = [{"role": role, "content": content} for role, content in turns]
    text: str = tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=writes)
    if (item.prompt or item.response or "").strip() in text:
        return text
    # some templates (that of Llama Guard 3 1B) leave out a message that is no list of parts
    parts = [{"role": role, "content": [{"type": "text", "text": content}]} for role, content in turns]
    listed: str = tokenizer.apply_chat_template(parts, tokenize=False, add_generation_prompt=writes)
    return listed


def fitting(item: Completion, length: Callable[[Completion], int], most: int) -> Completion:
    """Return the completion without its earliest turns, as many as make `length` exceed `most` tokens.

    The judge cuts a longer text off, and with it its instructions or the answer.
    """
    while item.history and length(item) > most:
        item = replace(item, history=item.history[2:])
    return item
