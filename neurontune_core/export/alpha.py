"""Only the factors, as a small file that applies to the base model they were learned on."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from neurontune_core import artifacts, tables
from neurontune_core.errors import InputError
from neurontune_core.export.target import new_folder
from neurontune_core.model.source import ModelReference
from neurontune_core.records import ScalingFactors

FORMAT = 1
DESCRIPTION = "alpha.json"
NEURON = (
    "input channel `index` of the down projection of decoder layer `layer`, both counted from 0; of a mixture of "
    "experts `index` is expert * neurons of an expert + channel, the shared expert's channels last"
)


def write_alpha(target: Path, scaling: ScalingFactors, base: ModelReference, origin: dict[str, Any]) -> None:
    """Write `alpha.safetensors` (alpha, layer, index) and `alpha.json`, which says what it belongs to, to a new folder.

    Args:
        target: the folder to make.
        scaling: the factors.
        base: the model they were learned on.
        origin: where the factors come from; kept as it is.

    Raises:
        InputError: there is something at `target`.
    """
    with new_folder(target) as folder:
        tables.save_scaling(folder, scaling, base.identity)
        description = {
            "format": FORMAT,
            "base_model": base.name,
            "base_revision": base.revision,
            "base_weights": base.weights,
            "system_prompt": base.system_prompt,
            "neurons_per_layer": list(base.neurons_per_layer),
            "safety_neurons": len(scaling.neurons.safety),
            "utility_neurons": len(scaling.neurons.utility),
            "neuron": NEURON,
            **(
                {"experts_per_layer": [list(shape) for shape in base.experts_per_layer]}
                if base.experts_per_layer
                else {}
            ),
            "alpha_sha256": artifacts.file_digest(folder / tables.ALPHA),
            "origin": origin,
        }
        (folder / DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


def load_alpha(folder: Path, base: ModelReference) -> ScalingFactors:
    """Read factors that `write_alpha` has written, for this very base model.

    Args:
        folder: what `write_alpha` or `neurontune export --format alpha` made.
        base: the model they are to be applied to, as of `describe`.

    Raises:
        InputError: the files are missing or damaged, or belong to another base model, revision or shape; the message
            gives every reason.
    """
    description = read_description(folder)
    pairs = (
        ("revision", description["base_revision"], base.revision),
        ("weights", description["base_weights"], base.weights),
        ("neurons per layer", _shape(description["neurons_per_layer"]), _shape(base.neurons_per_layer)),
    )
    if reasons := [f"{what} {theirs} there, {ours} here" for what, theirs, ours in pairs if theirs != ours]:
        raise InputError(
            f"alpha: {folder} was learned on {description['base_model']!r} and does not fit {base.name!r}: "
            f"{'; '.join(reasons)}; use the model on which it was learned"
        )
    if artifacts.file_digest(folder / tables.ALPHA) != description["alpha_sha256"]:
        raise InputError(f"alpha: {folder / tables.ALPHA} has changed since it was exported; export it again")
    try:
        scaling = tables.load_scaling(folder)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"alpha: {folder / tables.ALPHA} is not readable ({error}); export it again") from error
    for layer, index in scaling.neurons.all:
        if not (0 <= layer < len(base.neurons_per_layer) and 0 <= index < base.neurons_per_layer[layer]):
            raise InputError(f"alpha: {base.name!r} has no neuron {index} in layer {layer}; export the factors again")
    return scaling


def read_description(folder: Path) -> dict[str, Any]:
    """Return `alpha.json`.

    Raises:
        InputError: it or the factors do not exist, it is not readable, or of a newer format.
    """
    for name in (DESCRIPTION, tables.ALPHA):
        if not (folder / name).is_file():
            raise InputError(f"alpha: no {name} in {folder}; give a folder made by `neurontune export --format alpha`")
    try:
        description: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if description["format"] != FORMAT:
            raise InputError(
                f"alpha: {folder} has format {description['format']}, but this version reads {FORMAT}; export it again"
            )
        for name in ("base_model", "base_revision", "base_weights", "neurons_per_layer", "alpha_sha256"):
            description[name]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"alpha: {folder / DESCRIPTION} is not readable ({error!r}); export it again") from error
    return description


def _shape(neurons: Any) -> str:
    counts = list(neurons)
    same = len(set(counts)) == 1
    return f"{len(counts)} x {counts[0]}" if same else str(counts)
