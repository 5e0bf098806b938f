"""Reversible changes of a chat model's answers: scaled neurons, replaced activations, or a baseline."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol, Self

from torch import Tensor

from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import replaced
from neurontune_core.records import NeuronId, NeuronSet


class Intervention(Protocol):
    """A reversible change of a chat model: `ScalingFactors`, or a subclass, which inherits the defaults below."""

    @property
    def parameters(self) -> int:
        """The number of learned numbers."""
        ...

    def applied(self, chat: ChatModel) -> AbstractContextManager[ChatModel]:
        """Yield the changed model; undone on exit, also after an error.

        Raises:
            InputError: the model has no such neuron or layer, or its template takes no system message.
        """
        ...

    def in_weights(self, chat: ChatModel) -> AbstractContextManager[ChatModel]:
        """Yield the changed model, with the change folded into its weights if that is possible.

        The caller restores the weights, as with `quantise.weights_kept`.
        """
        return self.applied(chat)

    def weakened(self, share: float) -> Self:
        """Return the change with only this share of the learned values; itself if nothing was learned.

        This equals an average of the weights: `share` of the tuned ones and `1 - share` of the base model's.
        """
        return self

    def without_reading(self, neurons: Sequence[NeuronId]) -> Self:
        """Return the change without its inputs from these neurons; itself if it reads no single neurons."""
        return self


@dataclass(frozen=True)
class Replaced(Intervention):
    """Neurons set to values `[neuron]`, in the order of `neurons.all`, at every position."""

    neurons: NeuronSet
    values: Tensor

    @property
    def parameters(self) -> int:
        """The number of learned numbers: none."""
        return 0

    @contextmanager
    def applied(self, chat: ChatModel) -> Iterator[ChatModel]:
        """Yield the changed model; undone on exit, also after an error."""
        with replaced(chat.model, self.neurons, self.values):
            yield chat
