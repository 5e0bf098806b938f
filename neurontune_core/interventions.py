"""What can be done to a chat model so that it answers differently, and be undone: scaled neurons, or a baseline."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import modulated
from neurontune_core.records import ScalingFactors


class Intervention(Protocol):
    """A reversible change of a chat model, with so many numbers that were learned for it."""

    @property
    def parameters(self) -> int:
        """How many numbers were learned."""
        ...

    def applied(self, chat: ChatModel) -> AbstractContextManager[ChatModel]:
        """Lend the changed model; undone on exit, after an error too."""
        ...


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
