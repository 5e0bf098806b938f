"""A model's name, checked before anything is read."""

import os

from neurontune_core.config import absolute_path
from neurontune_core.errors import InputError
from neurontune_core.model.packaged import packaged
from neurontune_core.model.settings import ModelConfig


def check_name(config: ModelConfig) -> None:
    """Check that a path exists, or that a packaged model is installed; a hub id can be checked only by the hub.

    Raises:
        InputError: there is no such file or folder, or the packaged model is unknown or not installed.
    """
    scheme, _, rest = config.name.partition(":")
    path = absolute_path(config.name)
    if scheme == "packaged":
        packaged(rest)
    elif os.path.isabs(path) and not os.path.exists(path):
        raise InputError(
            f"model.name: {config.name!r} does not exist; give a folder, a GGUF file, a hub id or packaged:NAME"
        )
