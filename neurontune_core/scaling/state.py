"""The state of learning, and its serialisation, from which a killed run resumes."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from safetensors.torch import load, save
from torch import Tensor

from neurontune_core.progress import Item

SAVE_SECONDS = 30.0
"""Time between two saves, so that a killed run loses at most a minute of work."""
SECONDS_BEFORE_VALIDATION = 5.0
"""Before a validation, whose batches may take half a minute each, what is older than this is saved."""
NUMBERS = ("best_score", "best_step", "stale", "seconds", "rows", "notes", "answers")


class Checkpoint(Protocol):
    """Stores the state of an unfinished stage."""

    def load(self) -> bytes | None:
        """Return the last saved state, or None."""
        ...

    def save(self, content: bytes) -> None:
        """Replace the saved state atomically."""
        ...


@dataclass
class State:
    """The state of learning after an outer step.

    Attributes:
        alpha: the factors `[neuron]`.
        best_alpha: the factors with the best validation score so far.
        tensors, notes: what the method needs to resume, such as Adam's moments or measured margins; `notes` is JSON.
        best_score: the best validation score; None before the first validation.
        best_step: the number of steps after which it was reached.
        stale: number of validations since the one with the best score.
        seconds: time spent so far.
        rows: the curve, a row an outer step.
        answers: of an unfinished validation, the answers so far as tokens, by the index of the prompt.
    """

    alpha: Tensor
    best_alpha: Tensor
    tensors: dict[str, Tensor] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    best_score: float | None = None
    best_step: int = 0
    stale: int = 0
    seconds: float = 0.0
    rows: list[dict[str, float]] = field(default_factory=list)
    answers: dict[int, list[int]] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Outer steps taken."""
        return len(self.rows)


def to_bytes(state: State) -> bytes:
    """Return the state in the safetensors format; its numbers are JSON in a tensor of bytes."""
    numbers = json.dumps({name: getattr(state, name) for name in NUMBERS}).encode()
    tensors = {"alpha": state.alpha, "best_alpha": state.best_alpha}
    tensors |= {f"method.{name}": value for name, value in state.tensors.items()}
    content = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    return save(content | {"numbers": torch.frombuffer(bytearray(numbers), dtype=torch.uint8)})


def from_bytes(content: bytes, device: torch.device) -> State:
    """Return the state that `to_bytes` wrote."""
    tensors = {name: value.to(device) for name, value in load(content).items()}
    numbers = json.loads(bytes(tensors.pop("numbers").tolist()))
    # in JSON all keys are text
    numbers["answers"] = {int(place): answer for place, answer in numbers.get("answers", {}).items()}
    alpha, best = tensors.pop("alpha"), tensors.pop("best_alpha")
    return State(alpha, best, {name.removeprefix("method."): value for name, value in tensors.items()}, **numbers)


class Saving:
    """Saves a state at most every `SAVE_SECONDS`, whenever it is called between two pieces of work."""

    def __init__(self, state: State, checkpoint: Checkpoint | None, clock: Callable[[], float] = time.monotonic):
        self._state, self._checkpoint, self._clock = state, checkpoint, clock
        self._saved = clock()

    def __call__(self, after: float | None = None) -> None:
        """Save the state if so many seconds have passed since it was saved last, by default `SAVE_SECONDS`."""
        now = self._clock()
        if self._checkpoint and now - self._saved >= (SAVE_SECONDS if after is None else after):
            self._state.seconds += now - self._saved
            self._checkpoint.save(to_bytes(self._state))
            self._saved = now

    def between(self, items: Iterable[Item], description: str, total: int) -> Iterator[Item]:
        """Yield the items, and save after each; a `Track`."""
        for item in items:
            yield item
            self()
