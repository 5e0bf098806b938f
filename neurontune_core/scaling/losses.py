"""Safety and utility losses of a batch, with logits only where a response token is predicted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from neurontune_core.config import ScalingConfig
from neurontune_core.model import head
from neurontune_core.model.batches import by_length, shared_length
from neurontune_core.model.likelihood import TokenSequence, response_hidden, shared_prefix
from neurontune_core.model.load import ChatModel
from neurontune_core.records import Role


@dataclass(frozen=True)
class Example:
    """A prompt of one role with its target response, as token ids.

    `wrapper` names the attack around the query, and `shared` counts the tokens that all prompts in it begin with.
    """

    id: str
    role: Role
    sequence: TokenSequence
    wrapper: str = ""
    shared: int = 0


class HasSequence(Protocol):
    """Anything that is run through the model as one row of a batch."""

    @property
    def sequence(self) -> TokenSequence:
        """Prompt and response."""

    @property
    def wrapper(self) -> str:
        """Name of the attack around the query."""


def position_weights(places: Tensor, config: ScalingConfig) -> Tensor:
    """Return the weight of response positions `[token]`: `early_weight` for the first `early_positions`, 1 after."""
    return torch.where(places < config.early_positions, config.early_weight, 1.0)


def response_losses(
    chat: ChatModel, examples: Sequence[Example], base_hidden: Mapping[str, Tensor], config: ScalingConfig
) -> dict[Role, Tensor]:
    """Return the summed loss of each role over a batch, differentiable in whatever changes the model.

    With position weights w_j and response tokens y_j, an example's loss is `sum_j w_j l_j / sum_j w_j`, where `l_j` is
    `-log p(y_j)` for the safety role (the refusal and its end-of-turn token), and for the utility role either that or
    `KL(p_base || p)` at position j, in nats, p being the changed model.
    """
    sequences = [example.sequence for example in examples]
    hidden, tokens, places = response_hidden(chat, sequences, shared_prefix(chat, sequences))
    losses: dict[Role, Tensor] = {}
    lengths = [len(example.sequence.response) for example in examples]
    for example, states, targets, at in zip(
        examples, hidden.split(lengths), tokens.split(lengths), places.split(lengths), strict=True
    ):
        log_probabilities = torch.log_softmax(head.logits(chat.model, states), dim=-1)
        if example.role == "utility" and config.utility_loss == "kl":
            with torch.no_grad():
                base = torch.log_softmax(head.logits(chat.model, base_hidden[example.id]), dim=-1)
            each = (base.exp() * (base - log_probabilities)).sum(-1)
        else:
            each = -log_probabilities.gather(-1, targets[:, None])[:, 0]
        weights = position_weights(at, config)
        loss = (weights * each).sum() / weights.sum()
        losses[example.role] = losses[example.role] + loss if example.role in losses else loss
    return losses


@torch.no_grad()
def base_states(chat: ChatModel, examples: Sequence[Example], batch_tokens: int) -> dict[str, Tensor]:
    """Return the unscaled model's final hidden states `[token, hidden]` that predict each example's response.

    The states, not the logits, are kept: they are smaller by vocabulary over hidden size and give the same logits.
    """
    states: dict[str, Tensor] = {}
    for group in micro_batches(examples, batch_tokens):
        sequences = [example.sequence for example in group]
        hidden, _, _ = response_hidden(chat, sequences, shared_prefix(chat, sequences))
        parts = hidden.split([len(example.sequence.response) for example in group])
        states.update({example.id: part.clone() for example, part in zip(group, parts, strict=True)})
    return states


Member = TypeVar("Member", bound=HasSequence)


def by_wrapper(members: Sequence[Member]) -> list[list[Member]]:
    """Return the members in groups of one wrapper each, wrappers in the order they are met."""
    wrappers: dict[str, list[Member]] = {}
    for member in members:
        wrappers.setdefault(member.wrapper, []).append(member)
    return list(wrappers.values())


def micro_batches(members: Sequence[Member], batch_tokens: int) -> list[list[Member]]:
    """Return the members in groups that hold at most `batch_tokens` tokens, the words they share counted once.

    A group has one wrapper, whose words are then run once, and rows of similar length.
    """
    groups = []
    for mine in by_wrapper(members):
        shared = shared_length([member.sequence.prompt for member in mine])
        lengths = [len(member.sequence.tokens) - shared for member in mine]
        groups += [[mine[i] for i in group] for group in by_length(lengths, batch_tokens, fullness=0.5)]
    return groups
