"""What can be done to a chat model so that it answers differently, and be undone: scaled neurons, or a baseline."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import modulated, replaced
from neurontune_core.records import NeuronSet, ScalingFactors


class Intervention(Protocol):
    """A reversible change of a chat model; `parameters` counts the numbers learned for it."""

    @property
    def parameters(self) -> int:
        """How many numbers were learned."""
        ...

    def applied(self, chat: ChatModel) -> AbstractContextManager[ChatModel]:
        """Lend the changed model; undone on exit, after an error too."""
        ...


@dataclass(frozen=True)
class Replaced:
    """Neurons set to values `[neuron]`, in the order of `neurons.all`, at every position."""

    neurons: NeuronSet
    values: Tensor

    @property
    def parameters(self) -> int:
        """How many numbers were learned: none."""
        return 0

    @contextmanager
    def applied(self, chat: ChatModel) -> Iterator[ChatModel]:
        """Lend the changed model; undone on exit, after an error too."""
        with replaced(chat.model, self.neurons, self.values):
            yield chat


@contextmanager
def applied(change: ScalingFactors | Intervention, chat: ChatModel) -> Iterator[ChatModel]:
    """Lend the model with its neurons scaled, or changed by a baseline; undone on exit, after an error too.

    Raises:
        InputError: the model has no such neuron or layer.
    """
    if isinstance(change, ScalingFactors):
        with modulated(chat.model, change):
            yield chat
    else:
        with change.applied(chat) as changed:
            yield changed
