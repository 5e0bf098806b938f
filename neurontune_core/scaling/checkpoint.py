"""The state of an unfinished scaling, as bytes: what a killed run goes on from."""

import json
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import torch
from safetensors.torch import load, save
from torch import Tensor

from neurontune_core.scaling.margins import Margins


class Checkpoint(Protocol):
    """Where the state of an unfinished stage is kept."""

    def load(self) -> bytes | None:
        """Return what was saved last, None if nothing was."""
        ...

    def save(self, content: bytes) -> None:
        """Replace what was saved, at once or not at all."""
        ...


@dataclass
class Progress:
    """Where learning stands: the factors `[neuron]`, what moves them, the best so far, and the curve.

    Adam keeps its moments in `optimiser`, Gauss-Newton what it has measured in `margins`. `rows` has a row an outer
    step; `best_score` is None until a validation; `stale` counts validations since the best; `balance` is the multiple
    of `utility_weight` that the best was solved with after the last step, if it was.
    """

    alpha: Tensor
    optimiser: torch.optim.Adam
    best_alpha: Tensor
    margins: Margins | None = None
    best_score: float | None = None
    best_step: int = 0
    stale: int = 0
    balance: float | None = None
    seconds: float = 0.0
    rows: list[dict[str, float]] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Outer steps taken."""
        return len(self.rows)


NUMBERS = ("best_score", "best_step", "stale", "seconds", "rows")
MARGINS = tuple(field.name for field in fields(Margins) if field.name != "examples")


def to_bytes(progress: Progress) -> bytes:
    """Return the state in the safetensors format; its numbers are JSON in a tensor of bytes."""
    numbers: dict[str, Any] = {name: getattr(progress, name) for name in NUMBERS}
    tensors = {"alpha": progress.alpha, "best_alpha": progress.best_alpha}
    tensors |= {f"adam.{name}": value for name, value in progress.optimiser.state[progress.alpha].items()}
    if progress.margins:
        tensors |= {f"margins.{name}": getattr(progress.margins, name) for name in MARGINS}
        numbers["examples"] = progress.margins.examples
    content = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    return save(content | {"numbers": torch.frombuffer(bytearray(json.dumps(numbers).encode()), dtype=torch.uint8)})


def restore(progress: Progress, content: bytes) -> None:
    """Set a newly started learning to the state that `to_bytes` wrote."""
    tensors = {name: value.to(progress.alpha.device) for name, value in load(content).items()}
    numbers = json.loads(bytes(tensors.pop("numbers").tolist()))
    for name in NUMBERS:
        setattr(progress, name, numbers[name])
    if "examples" in numbers:
        kept = {name: tensors[f"margins.{name}"] for name in MARGINS}
        progress.margins = Margins(**kept, examples=tuple(numbers["examples"]))
    progress.best_alpha = tensors["best_alpha"]
    with torch.no_grad():
        progress.alpha.copy_(tensors["alpha"])
    moments = {name.removeprefix("adam."): value for name, value in tensors.items() if name.startswith("adam.")}
    progress.optimiser.state[progress.alpha].update(moments)
