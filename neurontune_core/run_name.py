"""The name of a run: its model, its preset, and the settings that differ from the preset."""

import json
import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from neurontune_core.artifacts import text_digest
from neurontune_core.config import PipelineConfig, load_config
from neurontune_core.data_names import own_data
from neurontune_core.preset_files import preset_names

SEPARATOR = " · "
SHOWN_CHANGES = 6
LONGEST_VALUE = 40
COUNTS = ("selection.safety_neurons", "selection.utility_neurons")


def run_name(config: PipelineConfig) -> str:
    """Return the name given to a run, or one made from its settings: `smollm2-135m-instruct · smollm2 · steps=20`."""
    return config.runtime.name or SEPARATOR.join(
        filter(None, [model_name(config.model.name), config.runtime.preset, changes_in_words(changes(config))])
    )


def model_name(name: str) -> str:
    """Return the last part of a model's name, path or address."""
    return name.rstrip("/").replace(":", "/").split("/")[-1]


def changes(config: PipelineConfig) -> dict[str, str]:
    """Return the settings, by `section.field`, that differ from those of the run's preset, as text.

    Without a preset, the settings are compared with the fields' defaults. If the preset is a user's file,
    `runtime.changed` has the differences. If the run has another method than its preset, that method's defaults are
    no changes. The model is left out, because the name has it anyway, and `runtime` is left out, because it changes no
    result.
    """
    preset = config.runtime.preset
    if not preset or preset in preset_names():
        usual, own = dict(leaves(load_config(preset) if preset else PipelineConfig())), dict(leaves(config))
        given = {name for name, _ in leaves(config, with_defaults=False)}
        # a field that only one of the two has belongs to another method or to another source of data
        both = own.keys() & usual.keys()
        changed = {
            name: own.get(name)
            for name in {**own, **usual}
            if own.get(name) != usual.get(name) and (name in both or name in given or ".sources." in name)
        }
    else:
        changed = {name: value for name, _, value in (each.partition("=") for each in config.runtime.changed)}
    return {name: _text(value) for name, value in changed.items() if name != "model.name"}


def changes_in_words(changed: dict[str, str]) -> str:
    """Return changes in one line, with the shortest names that are unambiguous; a long list ends with its digest."""
    changed = dict(changed)
    counts = [changed.get(name) for name in COUNTS]
    if counts[0] is not None and counts[0] == counts[1]:
        changed = {"k": str(counts[0])} | {name: value for name, value in changed.items() if name not in COUNTS}
    names = {*ALL_FIELDS, *changed}
    words = [f"{_shortest(name, names)}={_cut(value)}" for name, value in changed.items()]
    if len(words) > SHOWN_CHANGES:
        rest = text_digest(json.dumps(list(changed.items())))[:4]
        words = [*words[: SHOWN_CHANGES - 1], f"{len(words) - SHOWN_CHANGES + 1} more ({rest})"]
    return SEPARATOR.join(words)


def leaves(config: PipelineConfig, with_defaults: bool = True) -> Iterator[tuple[str, Any]]:
    """Yield every setting as `section.field` and value; of the sources only the fields that are set."""

    def walk(branch: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for name, value in branch.items():
            if isinstance(value, dict):
                yield from walk(value, f"{prefix}{name}.")
            elif value is not None or ".sources." not in prefix:
                yield f"{prefix}{name}", value

    return walk(config.model_dump(mode="json", exclude={"runtime"}, exclude_defaults=not with_defaults), "")


def _shortest(name: str, names: Collection[str]) -> str:
    """Return the last parts of a setting's name, as few as tell it from the others: `steps`, or `advbench.path`."""
    parts = name.split(".")
    endings = (".".join(parts[-count:]) for count in range(2 if ".sources." in name else 1, len(parts)))
    return next((one for one in endings if sum(f".{other}".endswith(f".{one}") for other in names) == 1), name)


def _text(value: Any) -> str:
    """Return a value as a person writes it; of a path only the last part."""
    if isinstance(value, list | tuple):
        return ",".join(map(_text, value)) or "none"
    if isinstance(value, str) and (own := own_data(value)) and os.path.isabs(own.place):
        role, attacks = (f"{own.role}:" if own.role else ""), (f"/{own.attacks}" if own.attacks else "")
        return f"{role}{os.path.basename(own.place)}{attacks}"
    if isinstance(value, str) and os.path.isabs((parts := value.partition("="))[2]):  # a judge with its folder
        return f"{parts[0]}={os.path.basename(parts[2].rstrip('/'))}"
    if isinstance(value, str):
        return os.path.basename(value.rstrip("/")) if os.path.isabs(value) else " ".join(value.split())
    return "none" if value is None else json.dumps(value)


def _cut(value: str) -> str:
    return value if len(value) <= LONGEST_VALUE else f"{value[: LONGEST_VALUE - 5]}…{text_digest(value)[:4]}"


ALL_FIELDS = [name for name, _ in leaves(PipelineConfig())]
