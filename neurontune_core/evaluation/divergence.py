"""KL divergence and perplexity ratio of the tuned to the base model, on the base model's own responses."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from neurontune_core.errors import NumericalError
from neurontune_core.interventions import Intervention
from neurontune_core.model import head
from neurontune_core.model.batches import by_length
from neurontune_core.model.likelihood import TokenSequence, response_hidden, shared_prefix
from neurontune_core.model.load import ChatModel
from neurontune_core.progress import Track, silent
from neurontune_core.records import Conversation

LARGEST_LOG_RATIO = 100.0


@dataclass(frozen=True)
class Divergence:
    """Mean KL(base || tuned) in nats a token, and the ratio of the tuned to the base model's perplexity."""

    kl: float
    perplexity_ratio: float


Responses = Sequence[tuple[str | Conversation, list[int]]]
"""Prompts with the base model's responses as token ids. A prompt is given as text, because the tuned model may have
another system prompt."""


@torch.inference_mode()
def base_states(chat: ChatModel, responses: Responses) -> list[Tensor]:
    """Return the base model's hidden states `[token, hidden]` that predict the tokens of each response."""
    sequences = _sequences(chat, responses)
    states = [torch.empty(0)] * len(sequences)
    for group in by_length([len(sequence.tokens) for sequence in sequences], chat.batch_tokens):
        batch = [sequences[i] for i in group]
        hidden, _, _ = response_hidden(chat, batch, shared_prefix(chat, batch))
        for i, mine in zip(group, hidden.split([len(sequence.response) for sequence in batch]), strict=True):
            states[i] = mine
    return states


@torch.inference_mode()
def response_divergence(
    chat: ChatModel,
    change: Intervention,
    responses: Responses,
    track: Track = silent,
    states: Sequence[Tensor] | None = None,
) -> Divergence | None:
    """Return the divergence of the tuned from the base model over the base's responses; None without a response.

    `KL = 1/T sum_t sum_v p_t(v) log(p_t(v) / q_t(v))` and `ratio = exp(1/T sum_t log(p_t(y_t) / q_t(y_t)))` over all T
    response tokens y, p the base and q the tuned model. `states` are those of `base_states`, which several changes can
    share; if they are not given, they are computed batch by batch, because those of many responses take much memory.

    Raises:
        NumericalError: the tuned model's logits are not finite.
    """
    if not responses:
        return None
    sequences = _sequences(chat, responses)
    with change.applied(chat) as changed:
        own = _sequences(changed, responses)
    kl, excess, count = 0.0, 0.0, 0
    longest = [max(len(a.tokens), len(b.tokens)) for a, b in zip(sequences, own, strict=True)]
    groups = by_length(longest, chat.batch_tokens)
    for group in track(groups, "comparing with the base model", len(groups)):
        batch, same = [sequences[i] for i in group], [own[i] for i in group]
        with change.applied(chat) as changed:
            tuned, tokens, _ = response_hidden(changed, same, shared_prefix(changed, same))
        if states is None:
            base, _, _ = response_hidden(chat, batch, shared_prefix(chat, batch))
        else:
            base = torch.cat([states[i] for i in group])
        for before, after, targets in zip(base.split(256), tuned.split(256), tokens.split(256), strict=True):
            p, q = (torch.log_softmax(head.logits(chat.model, hidden), dim=-1) for hidden in (before, after))
            kl += float((p.exp() * (p - q)).sum(-1).double().sum())
            excess += float(_chosen(p, targets).sum() - _chosen(q, targets).sum())
            count += len(targets)
    if not (math.isfinite(kl) and math.isfinite(excess)):
        raise NumericalError(
            f"evaluation: the divergence over {len(responses)} responses is not finite; check the factors (alpha)"
        )
    # limit the exponent: a broken tuned model would overflow `exp` and end the evaluation
    return Divergence(kl / count, math.exp(min(excess / count, LARGEST_LOG_RATIO)))


def _sequences(chat: ChatModel, responses: Sequence[tuple[str | Conversation, list[int]]]) -> list[TokenSequence]:
    return [TokenSequence(chat.prompt_tokens(prompt), list(response)) for prompt, response in responses]


def _chosen(log_probabilities: Tensor, targets: Tensor) -> Tensor:
    return log_probabilities.gather(-1, targets[:, None])[:, 0].double()
