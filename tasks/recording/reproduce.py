"""The shell command that repeats a run, however the run was started."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from neurontune_core.config import PipelineConfig, load_config
from neurontune_core.preset_files import preset_names
from neurontune_core.run_name import leaves
from neurontune_core.setting_changes import set_value

DEFAULT = "smollm2"
METHOD = "scaling.method"


def command(config: PipelineConfig) -> str:
    """Return `neurontune run` with the preset that needs the fewest changes, and `--set` for each differing setting.

    The section `runtime` is left out, because it changes no result.
    """
    wanted = dict(leaves(config))
    method = f"{METHOD}={wanted[METHOD]}"
    found: list[tuple[int, bool, str, dict[str, Any]]] = []
    for name in preset_names():
        own = load_config(name)
        # the settings of another method are different ones
        same = own.scaling.method == wanted[METHOD]
        preset = dict(leaves(own if same else load_config(name, [method])))
        changes = {} if same else {METHOD: wanted[METHOD]}
        changes |= {field: value for field, value in wanted.items() if preset.get(field) != value}
        # `--set` can change a setting, but cannot remove it or set it to None
        if preset.keys() <= wanted.keys() and None not in changes.values():
            found.append((len(changes), name != DEFAULT, name, changes))
    _, _, name, changes = min(found, key=lambda each: each[:3])
    words = ["neurontune", "run", *([] if name == DEFAULT else ["--preset", name])]
    for field, value in changes.items():
        words += ["--set", f"{field}={_written(value)}"]
    return shlex.join(words)


def study_command(
    study: str,
    preset: str,
    settings: Sequence[str],
    variants: Mapping[str, Sequence[str]],
    trials: int | None,
    only: Sequence[str] = (),
) -> str:
    """Return the command that repeats a study; `trials` is None for a study without trials."""
    words = ["neurontune", "study", study, *([] if preset == DEFAULT else ["--preset", preset])]
    for setting in settings:
        words += ["--set", setting]
    for name, changes in variants.items():
        words += ["--variant", f"{name}: {' '.join(changes)}"]
    for text in only:
        words += ["--only", text]
    return shlex.join(words + ([] if trials is None else ["--trials", str(trials)]))


def _written(value: Any) -> str:
    """Return a value in the syntax of `--set`; text has no quotes if it is read as the same text without them."""
    if isinstance(value, str) and set_value(value) == value:
        return value
    return json.dumps(value)
