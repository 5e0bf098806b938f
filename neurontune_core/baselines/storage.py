"""The files of a baseline: tensors as safetensors, everything else in one JSON file."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from neurontune_core import tables
from neurontune_core.baselines.adapters import Adapter
from neurontune_core.baselines.ia3 import Ia3
from neurontune_core.baselines.lora import Lora
from neurontune_core.baselines.steering import Steering
from neurontune_core.baselines.system_prompt import SystemPrompt
from neurontune_core.interventions import Intervention

ADAPTERS: dict[str, type[Adapter]] = {"lora": Lora, "ia3": Ia3}
FACTS, TENSORS = "baseline.json", "baseline.safetensors"


def save_baseline(folder: Path, change: Intervention, model: str) -> None:
    """Write a baseline's change of the model with this identity."""
    content: dict[str, Any]
    if isinstance(change, SystemPrompt):
        content = {"method": "system_prompt", "text": change.text}
    elif isinstance(change, Steering):
        content = {"method": "steering", "layer": change.layer}
        read = {} if change.reading is None else {"reading": torch.from_numpy(change.reading)}
        save_file({"direction": torch.from_numpy(change.direction)} | read, folder / TENSORS)
    else:
        assert isinstance(change, Adapter)
        (method,) = (name for name, kind in ADAPTERS.items() if isinstance(change, kind))
        content = {"method": method, "targets": list(change.targets)}
        save_file(dict(change.weights), folder / TENSORS)
    (folder / FACTS).write_text(json.dumps(content | {"model": model}, indent=1), encoding="utf-8")


def changed_model(folder: Path) -> str:
    """Return the identity of the model to which factors or a baseline belong."""
    if not (folder / FACTS).exists():
        return tables.scaling_model(folder)
    return str(json.loads((folder / FACTS).read_text(encoding="utf-8"))["model"])


def load_change(folder: Path) -> Intervention:
    """Read factors, or a baseline's change of the model."""
    if not (folder / FACTS).exists():
        return tables.load_scaling(folder)
    content = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    if content["method"] == "system_prompt":
        return SystemPrompt(content["text"])
    tensors = load_file(folder / TENSORS)
    if content["method"] == "steering":
        direction, reading = (tensors[name].numpy() if name in tensors else None for name in ("direction", "reading"))
        assert direction is not None
        return Steering(content["layer"], direction, reading)
    return ADAPTERS[content["method"]](tuple(content["targets"]), tensors)
