"""What can be done to a chat model so that it answers differently, and be undone: scaled neurons, or a baseline."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol, Self

from torch import Tensor

from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import replaced
from neurontune_core.records import NeuronId, NeuronSet


class Intervention(Protocol):
    """A reversible change of a chat model: `ScalingFactors`, or a class that inherits what it does not say itself."""

    @property
    def parameters(self) -> int:
        """How many numbers were learned."""
        ...

    def applied(self, chat: ChatModel) -> AbstractContextManager[ChatModel]:
        """Lend the changed model; undone on exit, after an error too.

        Raises:
            InputError: the model has no such neuron or layer, or its template takes no system message.
        """
        ...

    def in_weights(self, chat: ChatModel) -> AbstractContextManager[ChatModel]:
        """Lend the changed model, the change folded into its weights where it can be.

        The caller restores the weights, as with `quantise.weights_kept`.
        """
        return self.applied(chat)

    def weakened(self, share: float) -> Self:
        """Return the change with this share of what was learned; itself where nothing was learned.

        This equals the average of the base model's weights and the tuned ones, which count `share`.
        """
        return self

    def without_reading(self, neurons: Sequence[NeuronId]) -> Self:
        """Return the change without its inputs from these neurons; itself where it takes none from single neurons."""
        return self


@dataclass(frozen=True)
class Replaced(Intervention):
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
