"""The error of settings that are refused."""

import pytest

from neurontune_core.config import load_config
from neurontune_core.errors import InputError


def error_of(*settings: str, preset: str = "smollm2") -> str:
    with pytest.raises(InputError) as caught:
        load_config(preset, settings)
    return str(caught.value)
