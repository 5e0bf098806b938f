"""Check a tokenizer: its files exist and are readable, and the embedding has a row for each of its ids."""

import re
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from neurontune_core.errors import InputError
from neurontune_core.model.chat import encode_prompt
from neurontune_core.model.checks.files import check_readable, read_object, read_text, reason, shown
from neurontune_core.model.checks.template import PROMPT
from neurontune_core.model.checks.tokenizer_settings import check_end, check_settings

_VOCABULARIES = (
    "tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model",
    "tekken.json", "tokenizer.model.v3", "*.tiktoken", "spm.model", "source.spm",
)  # fmt: skip
_OBJECTS = ("special_tokens_map.json", "added_tokens.json")
_TEXTS = ("*.jinja", "additional_chat_templates/*.jinja", "merges.txt", "vocab.txt")
_OTHER_SENSES = re.compile(r"image|audio|video|vision|soft_token", re.IGNORECASE)


def load_tokenizer(folder: Path) -> tuple[PreTrainedTokenizerBase, str]:
    """Return the tokenizer of a model folder, and the name of the file its vocabulary is in.

    Raises:
        InputError: it has no files, one is not readable, or it needs code of its own.
    """
    vocabularies = [file for pattern in _VOCABULARIES for file in sorted(folder.glob(pattern))]
    if not vocabularies:
        raise InputError(
            "tokenizer.json: is missing, and there is no other vocabulary; save the tokenizer in this folder too"
        )
    for name in _OBJECTS:
        if (folder / name).exists():
            read_object(folder / name)
    for file in (file for pattern in _TEXTS for file in sorted(folder.glob(pattern))):
        read_text(file)
    for file in vocabularies:
        check_readable(file)
    check_settings(folder)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # the libraries raise errors of many kinds
        if "trust_remote_code" in str(error) or "custom code" in str(error):
            raise InputError(
                "tokenizer_config.json: the tokenizer needs code of its own (auto_map), which is never run; choose a "
                "model whose tokenizer transformers has"
            ) from error
        for file in (file for file in vocabularies if file.suffix == ".json"):
            read_object(file)  # gives a better reason for a file that is cut off
        raise InputError(
            f"{vocabularies[0].name}: the tokenizer cannot be read ({reason(error)}); download or save it again"
        ) from error
    check_end(folder)
    if getattr(getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None), "dropout", None):
        raise InputError(
            f"{vocabularies[0].name}: has a dropout, so the same text gets other tokens each time; set dropout to null"
        )
    return tokenizer, vocabularies[0].name


def check_ids(
    tokenizer: PreTrainedTokenizerBase, file: str, rows: int, ends: list[int], positions: int | None = None
) -> None:
    """Check that a tokenizer encodes text, and that the embedding has a row for each id.

    Tokens of images and sound are not checked: they never occur in text, and the text-only models of some families
    (Gemma 3) have no row for them.

    Args:
        tokenizer: the tokenizer; its chat template has been checked.
        file: the name of the file its vocabulary is in.
        rows: rows of the model's embedding.
        ends: token ids that end a turn according to the model.
        positions: how many positions the model has, None if it has no limit.

    Raises:
        InputError: an id has no row, no token ends a turn, decoding does not give the encoded text, or a short prompt
            is too long.
    """
    added = tokenizer.added_tokens_decoder
    unused = {number for number, token in added.items() if token.special and _OTHER_SENSES.search(token.content)}
    named = set(_special_ids(tokenizer))
    above = {name: number for name, number in tokenizer.get_vocab().items() if number >= rows}
    if above and not unused - named >= set(above.values()):
        name, number = max(above.items(), key=lambda item: item[1])
        raise InputError(
            f"{file}: {shown(repr(name), 60)} has the id {number}, but the model's embedding has {rows} rows "
            f"({len(above)} ids too many); use the tokenizer of this model"
        )
    if tokenizer.eos_token_id is None and not ends:
        raise InputError(
            "tokenizer_config.json: has no eos_token, and neither have generation_config.json and config.json; add "
            "the token that ends a turn"
        )
    try:
        words = tokenizer(PROMPT, add_special_tokens=False)["input_ids"]
        prompt = encode_prompt(tokenizer, PROMPT)
        said = str(tokenizer.decode(words))
    except Exception as error:  # settings of a wrong type fail when they are first used, with errors of many kinds
        raise InputError(
            f"tokenizer_config.json: the tokenizer fails on a plain text ({reason(error)}); save it again"
        ) from error
    if set(words) <= named:
        raise InputError(f"{file}: has no token for the words of {PROMPT!r}; save the tokenizer again")
    if " ".join(said.split()).casefold() != PROMPT.casefold():
        raise InputError(
            f"{file}: encodes and decodes {PROMPT!r} to {shown(repr(said), 60)}; its vocabulary and decoder do not fit "
            f"together: save the tokenizer again"
        )
    if len(prompt) >= tokenizer.model_max_length:
        raise InputError(
            f"tokenizer_config.json: model_max_length is {tokenizer.model_max_length}, but a prompt of six words takes "
            f"{len(prompt)}; correct it"
        )
    if positions is not None and len(prompt) >= positions:
        raise InputError(
            f"config.json: the model has {positions} positions, but a prompt of six words takes {len(prompt)}; correct "
            f"max_position_embeddings, or choose a model with more"
        )
    if (highest := max(prompt, default=-1)) >= rows:
        raise InputError(
            f"{file}: gives the id {highest}, but the model's embedding has {rows} rows; use the tokenizer of "
            f"this model"
        )


def _special_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    try:
        ids: list[int | None] = [
            tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id,
        ]  # fmt: skip
    except Exception as error:  # a special token that is not a token gives errors of many kinds
        raise InputError(
            f"tokenizer_config.json: a special token is not in the vocabulary ({reason(error)}); correct it"
        ) from error
    return [number for number in ids if number is not None]
