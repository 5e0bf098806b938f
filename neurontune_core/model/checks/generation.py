"""Check generation_config.json: which tokens end a turn, and settings transformers reads with the weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import GenerationConfig, PretrainedConfig

from neurontune_core.errors import InputError
from neurontune_core.model.checks.files import is_number, read_object, reason, shown

_NAME = "generation_config.json"
_TOKENS = ("eos_token_id", "bos_token_id", "pad_token_id")
_COUNTS = dict.fromkeys(
    (
        "max_length", "max_new_tokens", "num_beams", "num_beam_groups", "num_return_sequences",
        "max_matching_ngram_size", "prompt_lookup_num_tokens", "num_assistant_tokens", "assistant_early_exit",
    ), 1,
) | dict.fromkeys(
    ("min_length", "min_new_tokens", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size"), 0,
)  # fmt: skip
"""Whole numbers, and the smallest that each may be."""
_LARGEST = 2**40
_MULTIPLY = ("num_beams", "num_beam_groups", "num_return_sequences")
_MOST_BEAMS = 10_000
"""The most beams or sequences for a prompt; each takes a row of the batch."""
_FLAGS = (
    "do_sample", "use_cache", "output_attentions", "output_hidden_states", "output_scores", "output_logits",
    "return_dict_in_generate", "remove_invalid_values", "renormalize_logits", "token_healing",
)  # fmt: skip
_Rule = tuple[str, Callable[[Any], bool]]
_RULES: dict[str, _Rule] = {
    "stop_strings": ("a text or a list of texts", lambda value: isinstance(value, str) or _are(str, value)),
    "bad_words_ids": ("a list of lists of token ids", lambda value: _are(list, value) and all(map(_are_ids, value))),
    "sequence_bias": ("an object or a list", lambda value: isinstance(value, dict | list)),
    "dola_layers": ("low, high or a list of layers", lambda value: value in ("low", "high") or _are_ids(value)),
    "exponential_decay_length_penalty": (
        "a list of two numbers", lambda value: _are(int | float, value) and len(value) == 2,
    ),
    "constraints": ("left out", lambda value: value == []),
}  # fmt: skip
"""What the value of a field must be, in words and as a test; null counts as left out."""
_LISTS = ("suppress_tokens", "begin_suppress_tokens", "forced_bos_token_id", "forced_eos_token_id")
_RANGES = {
    "temperature": (0.0, 1e6),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "typical_p": (0.0, 1.0),
    "top_k": (-1, 1e9),
    "repetition_penalty": (1e-6, 1e6),
    "length_penalty": (-1e6, 1e6),
    "encoder_repetition_penalty": (1e-6, 1e6),
    "diversity_penalty": (0.0, 1e6),
    "penalty_alpha": (0.0, 1.0),
    "epsilon_cutoff": (0.0, 1.0),
    "eta_cutoff": (0.0, 1.0),
    "guidance_scale": (0.0, 1e6),
    "max_time": (0.0, 1e9),
}


def end_tokens(folder: Path, config: PretrainedConfig, rows: int) -> list[int]:
    """Return the token ids that end a turn, by generation_config.json or, if it does not exist, by config.json.

    Args:
        folder: the model folder.
        config: what its config.json says.
        rows: rows of the embedding; ids must be below.

    Raises:
        InputError: generation_config.json is not readable, or generation cannot use one of its values.
    """
    # the value in config.json itself: the default of the class may not be in this vocabulary
    _ids("config.json", "eos_token_id", read_object(folder / "config.json").get("eos_token_id"), rows)
    if not (folder / _NAME).exists():
        value = getattr(config.get_text_config(), "eos_token_id", None)
        return _ids("config.json", "eos_token_id", value, rows)
    raw = read_object(folder / _NAME)
    for field in _TOKENS:
        # padding and starting tokens may have no row, because they are never given to the model here
        _ids(_NAME, field, raw.get(field), rows if field == "eos_token_id" else None)
    for field in _LISTS:
        _ids(_NAME, field, raw.get(field), rows)
    for field, least in _COUNTS.items():
        value = raw.get(field)
        largest, power = (_MOST_BEAMS, str(_MOST_BEAMS)) if field in _MULTIPLY else (_LARGEST, "2^40")
        if value is not None and not (type(value) is int and least <= value <= largest):
            allowed = f"a whole number from {least} to {power}"
            raise InputError(f"{_NAME}: {field} is {shown(repr(value), 40)}; it must be {allowed}")
    for field in _FLAGS:
        if not isinstance(raw.get(field), bool | None):
            raise InputError(f"{_NAME}: {field} is {shown(repr(raw[field]), 40)}; it must be true or false")
    for field, (low, high) in _RANGES.items():
        value = raw.get(field)
        if value is not None and not (is_number(value) and low <= value <= high):
            raise InputError(
                f"{_NAME}: {field} is {shown(repr(value), 40)}; it must be a number from {low:g} to {high:g}"
            )
    for field, (words, holds) in _RULES.items():
        if (value := raw.get(field)) is not None and not holds(value):
            raise InputError(f"{_NAME}: {field} is {shown(repr(value), 40)}; it must be {words}")
    try:
        GenerationConfig.from_pretrained(folder)
    except Exception as error:  # transformers raises errors of many kinds for a bad value
        raise InputError(f"{_NAME}: {reason(error)}; correct it, or delete the file") from error
    return _ids(_NAME, "eos_token_id", raw.get("eos_token_id"), rows)


def _ids(file: str, field: str, value: Any, rows: int | None) -> list[int]:
    if value == [] and field == "eos_token_id":
        raise InputError(f"{file}: {field} is an empty list; name the tokens that end a turn, or leave it out")
    ids = value if isinstance(value, list) else [] if value is None else [value]
    for token in ids:
        if not isinstance(token, int) or isinstance(token, bool) or (rows is not None and not 0 <= token < rows):
            allowed = "a whole number" if rows is None else f"a token id from 0 to {rows - 1}"
            raise InputError(f"{file}: {field} is {shown(repr(value), 40)}; it must be {allowed}, or a list of these")
    return ids


def _are(kind: Any, value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, kind) and not isinstance(each, bool) for each in value)


def _are_ids(value: Any) -> bool:
    return _are(int, value) and all(0 <= each < 2**31 for each in value)
