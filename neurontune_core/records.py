"""Frozen types that several folders use."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from neurontune_core.model.load import ChatModel

Role = Literal["safety", "utility"]
ROLES: tuple[Role, Role] = ("safety", "utility")
Split = Literal["train", "validation", "test"]
LabelJudge = Callable[[Sequence[str], Sequence[str]], Sequence[str]]
"""Labels answers `refusal`, `partial`, `compliance` or `broken`, from prompts and answers."""
REFUSED = ("refusal", "partial")
"""Labels of answers that refuse, in full or in part."""


def refuses(label: str, role: Role) -> bool:
    """Return whether an answer refuses its prompt; a harmful prompt is refused only in full.

    A partial refusal of a harmful prompt goes on to help, so neurons that turn refusals into it carry refusal.
    """
    return label == "refusal" if role == "safety" else label in REFUSED


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Literal["user", "assistant"]
    content: str


@dataclass(frozen=True)
class Conversation:
    """The input that a model answers: the earlier turns, and the user's present message.

    `history` starts with a user's message, ends with an assistant's, and alternates. `system` is the conversation's own
    system message; if it is "", the model's configured system message is used, if there is one.
    """

    prompt: str
    history: tuple[Message, ...] = ()
    system: str = ""

    @property
    def text(self) -> str:
        """The messages of user and assistant, a turn a line; conversations with the same text count as equal."""
        return "\n".join([*(message.content for message in self.history), self.prompt])


@dataclass(frozen=True)
class PromptPair:
    """One prompt of the corpus, with its query and the desired response.

    Without an attack (`attack_name == ""`) the prompt is the query itself; with one it is the query wrapped by
    the attack, and attribution integrates from `query` to `prompt` (section 3.1 of the paper,
    https://arxiv.org/abs/2508.09473). `selected` marks an attack that is among the strongest of its type. `history` and
    `system` are those of a `Conversation`, the same for query and prompt: an attack wraps only the last message.
    `own_refusal` is the model's own response to the plain query, if the model refuses the query and complies under the
    attack; else it is "". Attribution uses it instead of `response`; scaling always trains `response`. `row` is the
    query's row in `source`, counted from 1; 0 if unknown.
    """

    id: str
    role: Role
    query_id: str
    query: str
    query_category: str
    prompt: str
    response: str
    attack_type: str
    attack_category: str
    attack_name: str
    selected: bool
    source: str
    split: Split
    history: tuple[Message, ...] = ()
    system: str = ""
    own_refusal: str = ""
    row: int = 0

    @property
    def conversation(self) -> Conversation:
        """The prompt with the messages before it."""
        return Conversation(self.prompt, self.history, self.system)

    @property
    def plain_conversation(self) -> Conversation:
        """The query, without an attack, with the messages before it."""
        return Conversation(self.query, self.history, self.system)


class NeuronId(NamedTuple):
    """A neuron: input channel `index` of the down projection of decoder layer `layer`."""

    layer: int
    index: int  # type: ignore[assignment]  # a field, not the method that tuples have


def neurons_at(places: NDArray[np.int64], neurons_per_layer: Sequence[int]) -> tuple[NeuronId, ...]:
    """Return the neurons at these places, if all neurons are ordered by layer and index."""
    ends = np.cumsum(neurons_per_layer)
    layers = np.searchsorted(ends, places, side="right")
    starts = ends[layers] - np.asarray(neurons_per_layer)[layers]
    return tuple(
        NeuronId(int(layer), int(place - start)) for layer, place, start in zip(layers, places, starts, strict=True)
    )


def places_of(neurons: Sequence[NeuronId], neurons_per_layer: Sequence[int]) -> NDArray[np.int64]:
    """Return the places of neurons in the order of layer and index: the inverse of `neurons_at`."""
    starts = np.cumsum([0, *neurons_per_layer])
    return np.array([starts[neuron.layer] + neuron.index for neuron in neurons], dtype=np.int64)


@dataclass(frozen=True)
class NeuronSet:
    """Safety and utility neurons, disjoint by construction.

    Raises:
        ValueError: a neuron is in both sets, or twice in one.
    """

    safety: tuple[NeuronId, ...]
    utility: tuple[NeuronId, ...]

    def __post_init__(self) -> None:
        if len(set(self.all)) != len(self.all):
            raise ValueError("NeuronSet: a neuron is listed twice; the safety and utility sets must be disjoint")

    @property
    def all(self) -> tuple[NeuronId, ...]:
        """Safety neurons, then utility neurons: the order of `ScalingFactors.alpha`."""
        return self.safety + self.utility


@dataclass(frozen=True)
class ScalingFactors:
    """One factor `alpha[j]` for neuron `neurons.all[j]`, float32 `[neuron]`: an `interventions.Intervention`.

    The code that changes a model needs torch and is imported in the methods, so factors can be read without torch.
    """

    neurons: NeuronSet
    alpha: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.alpha.shape != (len(self.neurons.all),):
            raise ValueError(
                f"ScalingFactors: alpha has shape {self.alpha.shape}, but there are {len(self.neurons.all)} neurons"
            )

    @property
    def parameters(self) -> int:
        """The number of learned numbers: one factor for each neuron."""
        return len(self.alpha)

    @contextmanager
    def applied(self, chat: "ChatModel") -> Iterator["ChatModel"]:
        """Yield the model with its neurons scaled; undone on exit, also after an error.

        Raises:
            InputError: the model has no such neuron.
        """
        from neurontune_core.neurons import modulated

        with modulated(chat.model, self):
            yield chat

    @contextmanager
    def in_weights(self, chat: "ChatModel") -> Iterator["ChatModel"]:
        """Yield the model with the factors folded into its weights; the caller restores the weights.

        Raises:
            InputError: the model has no such neuron.
        """
        from neurontune_core.neurons import fold

        fold(chat.model, self)
        yield chat

    def weakened(self, share: float) -> Self:
        """Return the factors `1 + share (alpha - 1)`."""
        return replace(self, alpha=(1 + share * (self.alpha - 1)).astype(np.float32))

    def without_reading(self, neurons: Sequence[NeuronId]) -> Self:
        """Return the factors themselves: a neuron that is set to 0 stays 0 under every factor."""
        return self


@dataclass(frozen=True)
class Artifact:
    """The result of a stage; tasks pass nothing else to each other.

    `uri` is the folder `<root>/<stage>/<key>`; `digest` is the SHA-256 over its files' names and contents.
    """

    stage: str
    key: str
    uri: str
    digest: str

    def to_dict(self) -> dict[str, Any]:
        """Return an artifact as JSON-serialisable data, without the path of the root, which can be moved."""
        return {"stage": self.stage, "key": self.key, "digest": self.digest}
