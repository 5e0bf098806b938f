"""Safety and utility losses of a batch, with logits only where a response token is predicted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from neurontune_core.model import head
from neurontune_core.model.batches import by_length, shared_length
from neurontune_core.model.likelihood import TokenSequence, response_hidden, shared_prefix
from neurontune_core.model.load import ChatModel
from neurontune_core.records import Role


@dataclass(frozen=True)
class Example:
    """A prompt of one role with its target response, as token ids.

    Attributes:
        id: the pair's id.
        role: safety for a harmful prompt, utility for a harmless one.
        sequence: prompt and response.
        wrapper: name of the attack around the query; "" for none.
        shared: number of leading tokens that all prompts under this attack have in common.
        reference: the sequence that the base model reads for the KL: the same response after the query without its
            attack; None if this is `sequence`.
    """

    id: str
    role: Role
    sequence: TokenSequence
    wrapper: str = ""
    shared: int = 0
    reference: TokenSequence | None = None


class HasSequence(Protocol):
    """A member of a batch, which is one row of it."""

    @property
    def sequence(self) -> TokenSequence:
        """Prompt and response."""

    @property
    def wrapper(self) -> str:
        """Name of the attack around the query."""


@dataclass(frozen=True)
class PositionWeights:
    """Weights of response positions: `early` for the first `positions`, 1 for the others."""

    positions: int = 0
    early: float = 1.0

    def at(self, places: Tensor) -> Tensor:
        """Return the weights of response positions `[token]`."""
        return torch.where(places < self.positions, self.early, 1.0)


@dataclass(frozen=True)
class JointLoss:
    """`sum_role weight L_role`, each L_role the mean of the role's examples.

    Attributes:
        base: the base model's states `[token, hidden]` of the harmless examples, by id.
        role_weights: the weight of each role's loss.
        positions: the weights of the response positions.
    """

    base: Mapping[str, Tensor]
    role_weights: Mapping[Role, float]
    positions: PositionWeights


def response_losses(
    chat: ChatModel, examples: Sequence[Example], base: Mapping[str, Tensor], weights: PositionWeights
) -> dict[Role, Tensor]:
    """Return the summed loss of each role over a batch, differentiable in the parameters that change the model.

    With position weights w_j and response tokens y_j, an example's loss is `sum_j w_j l_j / sum_j w_j`, where `l_j` is
    `-log p(y_j)` for the safety role (the refusal and its end-of-turn token) and `KL(p_base || p)` at position j for
    the utility role, in nats; p is the changed model.
    """
    sequences = [example.sequence for example in examples]
    hidden, tokens, places = response_hidden(chat, sequences, shared_prefix(chat, sequences))
    losses: dict[Role, Tensor] = {}
    lengths = [len(example.sequence.response) for example in examples]
    for example, states, targets, at in zip(
        examples, hidden.split(lengths), tokens.split(lengths), places.split(lengths), strict=True
    ):
        if example.role == "utility":
            each = kl_to_base(chat, states, base[example.id])
        else:
            each = -torch.log_softmax(head.logits(chat.model, states), dim=-1).gather(-1, targets[:, None])[:, 0]
        own = weights.at(at)
        loss = (own * each).sum() / own.sum()
        losses[example.role] = losses[example.role] + loss if example.role in losses else loss
    return losses


def kl_to_base(chat: ChatModel, states: Tensor, base: Tensor) -> Tensor:
    """Return `KL(p_base || p)` `[token]` in nats, from the final states `[token, hidden]` of both models."""
    changed = torch.log_softmax(head.logits(chat.model, states), dim=-1)
    with torch.no_grad():
        usual = torch.log_softmax(head.logits(chat.model, base), dim=-1)
    return (usual.exp() * (usual - changed)).sum(-1)


@torch.no_grad()
def base_states(chat: ChatModel, examples: Sequence[Example]) -> dict[str, Tensor]:
    """Return the unscaled model's final hidden states `[token, hidden]` that predict each example's response.

    The base model reads the example's `reference`. Hidden states are stored instead of logits because they are smaller
    and give the same logits.
    """
    states: dict[str, Tensor] = {}
    asked = [_asked(example) for example in examples]
    for group in micro_batches(asked, chat.batch_tokens):
        sequences = [example.sequence for example in group]
        hidden, _, _ = response_hidden(chat, sequences, shared_prefix(chat, sequences))
        parts = hidden.split([len(example.sequence.response) for example in group])
        states.update({example.id: part.clone() for example, part in zip(group, parts, strict=True)})
    return states


def _asked(example: Example) -> Example:
    if example.reference is None:
        return example
    return Example(example.id, example.role, example.reference)


Member = TypeVar("Member", bound=HasSequence)


def by_wrapper(members: Sequence[Member]) -> list[list[Member]]:
    """Group the members by attack, in the order of first occurrence."""
    wrappers: dict[str, list[Member]] = {}
    for member in members:
        wrappers.setdefault(member.wrapper, []).append(member)
    return list(wrappers.values())


def micro_batches(members: Sequence[Member], most_tokens: int) -> list[list[Member]]:
    """Divide members into batches of at most `most_tokens` tokens; a common prefix counts once.

    A batch has prompts of one attack, so that their common prefix runs once, and rows of similar length.
    """
    groups = []
    for mine in by_wrapper(members):
        shared = shared_length([member.sequence.prompt for member in mine])
        lengths = [len(member.sequence.tokens) - shared for member in mine]
        groups += [[mine[i] for i in group] for group in by_length(lengths, most_tokens, fullness=0.5)]
    return groups
