"""Check generation_config.json: which tokens end a turn, and settings transformers reads with the weights."""

from pathlib import Path
from typing import Any

from transformers import GenerationConfig, PretrainedConfig

from neurontune_core.errors import InputError
from neurontune_core.model.checks.files import is_number, read_object, reason, shown

_NAME = "generation_config.json"
_TOKENS = ("eos_token_id", "bos_token_id", "pad_token_id")
_COUNTS = ("max_length", "max_new_tokens", "num_beams", "num_return_sequences")
_RANGES = {
    "temperature": (0.0, 1e6),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "typical_p": (0.0, 1.0),
    "top_k": (-1, 1e9),
    "repetition_penalty": (1e-6, 1e6),
    "length_penalty": (-1e6, 1e6),
}


def end_tokens(folder: Path, config: PretrainedConfig, rows: int) -> list[int]:
    """Return the token ids that end a turn by generation_config.json, or by config.json where that is not there.

    Args:
        folder: the model folder.
        config: what its config.json says.
        rows: rows of the embedding; ids must be below.

    Raises:
        InputError: generation_config.json is not readable, or a value is none that generation can use.
    """
    if not (folder / _NAME).exists():
        value = getattr(config.get_text_config(), "eos_token_id", None)
        return _ids("config.json", "eos_token_id", value, rows)
    raw = read_object(folder / _NAME)
    for field in _TOKENS:
        # a padding or starting token that the model has no row for is never fed to it here
        _ids(_NAME, field, raw.get(field), rows if field == "eos_token_id" else None)
    for field in _COUNTS:
        value = raw.get(field)
        if value is not None and not (isinstance(value, int) and not isinstance(value, bool) and value > 0):
            raise InputError(f"{_NAME}: {field} is {shown(repr(value), 40)}; it must be a whole number above 0")
    for field, (low, high) in _RANGES.items():
        value = raw.get(field)
        if value is not None and not (is_number(value) and low <= value <= high):
            raise InputError(
                f"{_NAME}: {field} is {shown(repr(value), 40)}; it must be a number from {low:g} to {high:g}"
            )
    try:
        GenerationConfig.from_pretrained(folder)
    except Exception as error:  # of whatever kind: transformers has many for a value that it does not like
        raise InputError(f"{_NAME}: {reason(error)}; correct it, or delete the file") from error
    return _ids(_NAME, "eos_token_id", raw.get("eos_token_id"), rows)


def _ids(file: str, field: str, value: Any, rows: int | None) -> list[int]:
    ids = value if isinstance(value, list) else [] if value is None else [value]
    for token in ids:
        if not isinstance(token, int) or isinstance(token, bool) or (rows is not None and not 0 <= token < rows):
            allowed = "a whole number" if rows is None else f"a token id from 0 to {rows - 1}"
            raise InputError(f"{file}: {field} is {shown(repr(value), 40)}; it must be {allowed} or a list of such")
    return ids
