"""The shell command that makes a run again, whoever started it and however."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from neurontune_core.config import METHOD, PipelineConfig, load_config, set_value
from neurontune_core.preset_files import preset_names
from neurontune_core.run_name import leaves

DEFAULT = "smollm2"


def command(config: PipelineConfig) -> str:
    """Return `neurontune run` with the shipped preset that is nearest, and `--set` for every setting that differs.

    The section `runtime`, which changes no result, is left out.
    """
    wanted = dict(leaves(config))
    method = f"{METHOD}={wanted[METHOD]}"
    found: list[tuple[int, bool, str, dict[str, Any]]] = []
    for name in preset_names():
        own = load_config(name)
        # another method has other settings
        same = own.scaling.method == wanted[METHOD]
        preset = dict(leaves(own if same else load_config(name, [method])))
        changes = {} if same else {METHOD: wanted[METHOD]}
        changes |= {field: value for field, value in wanted.items() if preset.get(field) != value}
        # a setting can be changed, but neither taken away nor set to nothing
        if preset.keys() <= wanted.keys() and None not in changes.values():
            found.append((len(changes), name != DEFAULT, name, changes))
    _, _, name, changes = min(found, key=lambda each: each[:3])
    words = ["neurontune", "run", *([] if name == DEFAULT else ["--preset", name])]
    for field, value in changes.items():
        words += ["--set", f"{field}={_written(value)}"]
    return shlex.join(words)


def study_command(
    study: str, preset: str, settings: Sequence[str], variants: Mapping[str, Sequence[str]], trials: int | None
) -> str:
    """Return the command that makes a study again; `trials` is None where the study has none."""
    words = ["neurontune", "study", study, *([] if preset == DEFAULT else ["--preset", preset])]
    for setting in settings:
        words += ["--set", setting]
    for name, changes in variants.items():
        words += ["--variant", f"{name}: {' '.join(changes)}"]
    return shlex.join(words + ([] if trials is None else ["--trials", str(trials)]))


def _written(value: Any) -> str:
    """Return a value as `--set` reads it: text without quotes where that is read as the same text."""
    if isinstance(value, str) and set_value(value) == value:
        return value
    return json.dumps(value)
