"""Check a model folder before the model is loaded."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers.utils import logging

from neurontune_core.errors import InputError
from neurontune_core.model.checks.config import build_skeleton, check_config, check_layers, check_method, check_run
from neurontune_core.model.checks.files import shown
from neurontune_core.model.checks.generation import end_tokens
from neurontune_core.model.checks.template import check_template
from neurontune_core.model.checks.tokenizer import check_ids, load_tokenizer
from neurontune_core.model.checks.weights import check_files, check_no_adapter, check_weights, read_headers
from neurontune_core.model.positions import position_limit
from neurontune_core.model.settings import ModelConfig


def check_model_folder(folder: Path, config: ModelConfig) -> None:
    """Check that a model can be loaded and attributed, by its small files and the headers of its weight files.

    Args:
        folder: where its files are: a local folder, or a snapshot in the hub's cache.
        config: what the model is called, and its system prompt.

    Raises:
        InputError: a file is missing, damaged or unusable; the message names the file,
            the field and its value, and the remedy.
    """
    with _named(config), _silent():
        _check(folder, config.system_prompt)


def check_stored_format(folder: Path, config: ModelConfig) -> str:
    """Return the format from which the weights of a model are dequantised, by its config.json alone; "" for none.

    Raises:
        InputError: they are stored in a quantised format that cannot be dequantised.
    """
    with _named(config):
        return check_method(folder)


@contextmanager
def _named(config: ModelConfig) -> Iterator[None]:
    """Put the model's name before the message of an error."""
    try:
        yield
    except InputError as error:
        if str(error).startswith("model.system_prompt:"):
            raise
        raise InputError(f"model.name: {shown(repr(config.name), 120)}: {error}") from error


def _check(folder: Path, system: str | None) -> None:
    if not folder.is_dir():
        raise InputError("is a file, not a model folder; give the folder that contains it")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise InputError("the folder cannot be read; allow your user to read it")
    if not any(folder.iterdir()):
        raise InputError("the folder is empty; save the model there with save_pretrained first")
    check_no_adapter(folder)
    if not (folder / "config.json").exists() and any(folder.glob("*.safetensors")):
        raise InputError("has no readable config.json; download or save the model again")
    stored = check_method(folder)
    files = check_files(folder)
    shape = check_config(folder)
    headers = read_headers(files, stored)
    check_layers(shape, len(headers))
    skeleton = build_skeleton(shape)
    check_weights(folder, files, headers, skeleton, stored)
    check_run(skeleton)
    embedding: Any = skeleton.get_input_embeddings()
    rows = int(embedding.weight.shape[0])
    ends = end_tokens(folder, shape, rows)
    tokenizer, vocabulary = load_tokenizer(folder)
    check_template(tokenizer, system)
    check_ids(tokenizer, vocabulary, rows, ends, position_limit(skeleton))


@contextmanager
def _silent() -> Iterator[None]:
    """Suppress transformers' own messages on the same errors, and its progress bars."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
