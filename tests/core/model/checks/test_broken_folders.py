"""Every kind of broken model folder is told in one line, with its file, before anything is computed."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from broken_folders import CONFIG, HEAD, NORM, SHARDED, TOKENIZER, WEIGHTS, WHOLE, Damage, fields, good, weights
from transformers import AutoModelForCausalLM, BartConfig, BartForCausalLM

from neurontune_core.config import ModelConfig
from neurontune_core.errors import InputError
from neurontune_core.model import source, tiny
from neurontune_core.model.checks import template
from neurontune_core.model.checks.folder import check_folder
from neurontune_core.model.load import load

CPU = torch.device("cpu")
IDS = torch.tensor([[72, 101, 108, 108, 111]])


def told(folder: Path, **settings: Any) -> str:
    """Return what is told of a folder; it must be one line that names the model."""
    with pytest.raises(InputError) as error:
        source.describe(ModelConfig(name=str(folder), **settings))
    text = str(error.value)
    assert "\n" not in text and len(text) < 400 and text.isprintable() and text.startswith("model.")
    return text


@pytest.mark.parametrize(("damage", "message"), WHOLE.values(), ids=WHOLE)
def test_a_broken_folder_is_told(tmp_path: Path, damage: Damage, message: str) -> None:
    damage(good(tmp_path / "m"))
    with pytest.raises(InputError, match=f"^model.name: '.*/m': .*({message})"):
        raise InputError(told(tmp_path / "m"))


@pytest.mark.parametrize(("damage", "message"), SHARDED.values(), ids=SHARDED)
def test_broken_shards_are_told(tmp_path: Path, damage: Damage, message: str) -> None:
    damage(good(tmp_path / "m", shards=True))
    with pytest.raises(InputError, match=message):
        raise InputError(told(tmp_path / "m"))
