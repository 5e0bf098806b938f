"""Check the values of tokenizer_config.json; transformers ignores bad ones, or fails without naming them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from neurontune_core.errors import InputError
from neurontune_core.model.checks.files import is_number, read_object, read_text, shown

NAME = "tokenizer_config.json"
_TOKEN_FIELDS = ("eos_token", "bos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token")


def _is_token(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, dict) and isinstance(value.get("content"), str))


def _are_tokens(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_token, value))


def _are_added(value: Any) -> bool:
    return isinstance(value, dict) and all(
        number.isdecimal() and len(number) < 10 and isinstance(token, dict) and _is_token(token)
        for number, token in value.items()
    )


def _are_templates(value: Any) -> bool:
    keys = ("name", "template")
    named = isinstance(value, list) and all(isinstance(each, dict) for each in value)
    return not isinstance(value, list) or (
        named and value != [] and all(isinstance(each.get(key), str) for each in value for key in keys)
    )


_Rule = tuple[str, Callable[[Any], bool]]
_SIDE: _Rule = ("left or right", lambda value: value in ("left", "right"))
_FLAG: _Rule = ("true or false", lambda value: isinstance(value, bool))
_RULES: dict[str, _Rule] = {
    **dict.fromkeys(_TOKEN_FIELDS, ("a token as text or as an object with its content", _is_token)),
    **dict.fromkeys(("padding_side", "truncation_side"), _SIDE),
    **dict.fromkeys(
        (
            "clean_up_tokenization_spaces", "add_bos_token", "add_eos_token", "add_prefix_space",
            "split_special_tokens",
        ), _FLAG,
    ),
    "tokenizer_class": ("the name of a class", lambda value: isinstance(value, str)),
    "model_max_length": ("a number of tokens, 1 or more", lambda value: is_number(value) and value >= 1),
    "added_tokens_decoder": ("an object of ids and tokens with their content", _are_added),
    "additional_special_tokens": ("a list of tokens", _are_tokens),
    "model_input_names": ("a list of names", lambda value: _are_tokens(value) and "input_ids" in value),
    "chat_template": ("a text, or a list of objects with name and template", _are_templates),
}  # fmt: skip
"""What a value must be, in words and as a test; null counts as left out."""


def check_settings(folder: Path) -> None:
    """Check that every value of a folder's tokenizer_config.json has the right type.

    Raises:
        InputError: a value has another type.
    """
    settings = read_object(folder / NAME) if (folder / NAME).exists() else {}
    for field, (words, holds) in _RULES.items():
        value = settings.get(field)
        if value is not None and not holds(value):
            raise InputError(f"{NAME}: {field} is {shown(repr(value), 40)}; it must be {words}")


def check_end(folder: Path) -> None:
    """Check that the vocabulary has the token that ends a turn; transformers would add a missing one silently.

    Raises:
        InputError: it does not.
    """
    settings = read_object(folder / NAME) if (folder / NAME).exists() else {}
    end = settings.get("eos_token")
    text = end["content"] if isinstance(end, dict) else end
    vocabulary = folder / "tokenizer.json"
    if text and vocabulary.exists() and not _stands_in(text, vocabulary):
        raise InputError(
            f"{NAME}: eos_token is {shown(repr(text), 40)}, which {vocabulary.name} does not have; name the token that "
            f"ends a turn"
        )


def _stands_in(token: str, vocabulary: Path) -> bool:
    content = read_text(vocabulary)
    if any(json.dumps(token, ensure_ascii=ascii) in content for ascii in (True, False)):
        return True
    try:
        whole = json.loads(content)  # the token may be written with other escapes
    except (ValueError, RecursionError):
        return True  # loading shows the error
    return token in json.dumps(whole, ensure_ascii=False)
