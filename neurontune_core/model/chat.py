"""How a prompt is written for a chat model, and how a response is tokenised."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerBase

from neurontune_core.errors import InputError
from neurontune_core.records import Message

PLAIN_TEMPLATE = "User: {prompt}\nAssistant:"
"""Prompt format for a base model without a chat template; earlier turns precede it in the same format.

A system message comes first, followed by an empty line.
"""

ThinkingMode = Literal["none", "off", "closed", "stripped"]

_CONTROL = re.compile(r"<\|.*\|>|<｜.*｜>|</?(?:think|thinking|tool_call|tool_response)>|\[/?(?:INST|THINK)\]")
"""Added tokens that steer a conversation although some tokenizers do not mark them as special."""

_OPEN_THOUGHT = "<think>"
_THOUGHT = re.compile(r"^\s*(?:<think>)?.*?(?:</think>|\Z)\s*", re.DOTALL)


class RefusedByTemplate(InputError):
    """The chat template does not accept a conversation; the error has the field, the reason and the remedy."""

    def __init__(self, field: str, reason: str, remedy: str):
        super().__init__(field, reason, remedy)
        self.reason = reason

    def __str__(self) -> str:
        return "{}: {}; {}".format(*self.args)


def encode_prompt(
    tokenizer: PreTrainedTokenizerBase, prompt: str, system: str | None = None, history: Sequence[Message] = ()
) -> list[int]:
    """Return the token ids of a conversation up to where the assistant starts to speak.

    The model's own template is used, with thinking off where it has such a mode; a tokenizer without a template gets
    `PLAIN_TEMPLATE`. A beginning-of-sequence token stands at most once, and control tokens spelled out in the prompt
    or in earlier turns stay plain text (`neutralised`).

    Raises:
        RefusedByTemplate: the template takes no system message, or no earlier turns.
    """
    # a template has written its special tokens itself; adding them again would double the beginning of the sequence
    plain = tokenizer.chat_template is None
    ids = list(tokenizer(prompt_text(tokenizer, prompt, system, history), add_special_tokens=plain)["input_ids"])
    # some tokenizers close every text with an end token, after which a model would have nothing to say
    return ids[:-1] if plain and ids[-1:] == [tokenizer.eos_token_id] else ids


def prompt_text(
    tokenizer: PreTrainedTokenizerBase, prompt: str, system: str | None = None, history: Sequence[Message] = ()
) -> str:
    """Return the conversation of `encode_prompt` as text, special tokens spelled out.

    Raises:
        RefusedByTemplate: the template takes no system message, or no earlier turns.
    """
    content = neutralised(tokenizer, prompt)
    earlier = [Message(message.role, neutralised(tokenizer, message.content)) for message in history]
    if tokenizer.chat_template is None:
        before = [f"{message.role.capitalize()}: {message.content}\n" for message in earlier]
        text = "".join(before) + PLAIN_TEMPLATE.format(prompt=content)
        return f"{system}\n\n{text}" if system else text
    text = _rendered(tokenizer, content, system, thinking=False, history=earlier)
    # a template that always opens a thought gets an empty one, so that the response starts at once
    return f"{text.rstrip()}\n\n</think>\n\n" if text.rstrip().endswith(_OPEN_THOUGHT) else text


def encode_response(tokenizer: PreTrainedTokenizerBase, response: str, end_token: int | None) -> list[int]:
    """Return the token ids of a response, tokenised alone, closed with the end-of-turn token if one is given.

    Alone, never as one text with the prompt: a model generates after the prompt's own tokens, so a token that merges
    the end of the prompt with the start of the response is one it could not have produced (`boundary_holds`).
    """
    ids = list(tokenizer(neutralised(tokenizer, response), add_special_tokens=False)["input_ids"])
    return ids if end_token is None else [*ids, end_token]


def boundary_holds(
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    response: str,
    system: str | None = None,
    history: Sequence[Message] = (),
) -> bool:
    """Return whether prompt and response tokenised as one text give the same tokens as tokenised one after the other.

    If they do not, a tool that tokenises whole conversations sees other tokens than this project.
    """
    text = prompt_text(tokenizer, prompt, system, history) + neutralised(tokenizer, response)
    together = list(tokenizer(text, add_special_tokens=tokenizer.chat_template is None)["input_ids"])
    apart = encode_prompt(tokenizer, prompt, system, history) + encode_response(tokenizer, response, None)
    # tokenizers that close every text with an end token would do so between the two parts as well
    return together == apart or together[: len(apart)] == apart


def neutralised(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """Return the text with every control token in it broken by a blank (`<|im_end|>` becomes `< |im_end|>`).

    A query therefore cannot end its own turn or begin another one. Text without such a token is returned unchanged.
    """
    for token in _control_tokens(tokenizer):
        while token in text:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text


def thinking_mode(tokenizer: PreTrainedTokenizerBase) -> ThinkingMode:
    """Return how a model is prevented from writing its reasoning before it responds.

    `none`: its template has no thoughts. `off`: by a switch of the template. `closed`: the template opens a thought,
    which is closed at once. `stripped`: the template has no switch, so thoughts are cut from the generated text.
    """
    template = str(tokenizer.chat_template or "")
    if tokenizer.chat_template is None:
        return "none"
    unthinking = _rendered(tokenizer, "?", None, thinking=False)
    if unthinking.rstrip().endswith(_OPEN_THOUGHT):
        return "closed"
    if unthinking != _rendered(tokenizer, "?", None, thinking=True):
        return "off"
    return "stripped" if _OPEN_THOUGHT in template or _OPEN_THOUGHT in tokenizer.get_vocab() else "none"


def without_thought(text: str) -> str:
    """Return a generated text without the thought it starts with, `<think>...</think>`, which may be all of it."""
    thinks = "</think>" in text or text.lstrip().startswith(_OPEN_THOUGHT)
    return _THOUGHT.sub("", text, count=1) if thinks else text


def _rendered(
    tokenizer: PreTrainedTokenizerBase,
    content: str,
    system: str | None,
    thinking: bool,
    history: Sequence[Message] = (),
) -> str:
    messages = [{"role": "system", "content": system}] if system else []
    messages += [{"role": message.role, "content": message.content} for message in history]
    messages.append({"role": "user", "content": content})
    settings: dict[str, Any] = {"tokenize": False, "add_generation_prompt": True, "enable_thinking": thinking}
    try:
        text = str(tokenizer.apply_chat_template(messages, **settings))
    except TemplateError as error:
        if history:
            # raises the error of the system message if that is the cause
            _rendered(tokenizer, content, system, thinking)
            raise _refused("user", str(error)) from error
        if not system:
            raise
        raise _refused("system", str(error)) from error
    # some templates silently drop messages they do not support; an assistant's thoughts may be dropped
    for message in messages[:-1]:
        if message["role"] != "assistant" and message["content"].strip() not in text:
            raise _refused(message["role"], "it ignores it")
    return text


def _refused(role: str, why: str) -> RefusedByTemplate:
    if role == "system":
        reason = f"the chat template of this model takes no system message ({why})"
        return RefusedByTemplate("model.system_prompt", reason, "leave it out")
    reason = f"the chat template of this model takes no earlier turns ({why})"
    return RefusedByTemplate("conversation", reason, "give only one message")


def _control_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    return _listed(tuple((token.content, token.special) for token in tokenizer.added_tokens_decoder.values()))


@lru_cache(maxsize=16)
def _listed(added: tuple[tuple[str, bool], ...]) -> tuple[str, ...]:
    """Pick the control tokens of a tokenizer, longest first; a single character cannot be broken apart."""
    chosen = {text.strip() for text, special in added if special or _CONTROL.fullmatch(text.strip())}
    return tuple(sorted((text for text in chosen if len(text) > 1), key=lambda text: (-len(text), text)))
