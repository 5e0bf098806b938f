"""A model's name, checked before anything is read."""

import os
import shlex

from neurontune_core.config import absolute_path
from neurontune_core.errors import InputError
from neurontune_core.model.packaged import packaged
from neurontune_core.model.settings import ModelConfig
from neurontune_core.preset_files import preset_names


def check_name(config: ModelConfig) -> None:
    """Check that a path exists, or that a packaged model is installed; a hub id can be checked only by the hub.

    Raises:
        InputError: there is no such file or folder, the packaged model is unknown or not installed, or the name is that
            of a preset or a change of a setting.
    """
    scheme, _, rest = config.name.partition(":")
    path = absolute_path(config.name)
    if scheme == "packaged":
        packaged(rest)
    elif os.path.isabs(path) and not os.path.exists(path):
        raise InputError(
            f"model.name: {config.name!r} does not exist; give a folder, a GGUF file, a hub id or packaged:NAME"
        )
    elif os.path.exists(path):
        return
    elif config.name in preset_names():
        raise InputError(f"model.name: {config.name!r} is a preset, not a model; write --preset {config.name}")
    elif "=" in config.name:  # no hub id has one
        raise InputError(
            f"model.name: {config.name!r} is a change of a setting, not a model; write --set {shlex.quote(config.name)}"
        )
