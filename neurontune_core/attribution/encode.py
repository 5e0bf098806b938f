"""Prompt pairs as token ids, and several pairs as one batch of tensors."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from neurontune_core.errors import InputError
from neurontune_core.model.chat import encode_response
from neurontune_core.model.load import ChatModel
from neurontune_core.model.positions import overflow
from neurontune_core.records import PromptPair, Role


@dataclass(frozen=True)
class EncodedPair:
    """Token ids of a pair: the plain query, the attacked prompt, and the response's leading tokens."""

    id: str
    query: tuple[int, ...]
    prompt: tuple[int, ...]
    response: tuple[int, ...]
    role: Role = "safety"

    @property
    def answered(self) -> tuple[int, ...]:
        """The prompt of the response: a safety pair's plain query, a utility pair's attacked prompt."""
        return self.query if self.role == "safety" else self.prompt


@dataclass(frozen=True)
class Batch:
    """Pairs that go through the model together; everything is padded on the right.

    The *row* of a pair consists of its last prompt token and all response tokens but the last, so that the row's
    position j predicts response token j. The model runs on the row for every point of every path. The prompt before the
    row is the *prefix*.

    Attributes:
        prefix: prefix ids `[pair, position]`; no positions if all prompts have one token.
        lengths: real prefix positions `[pair]`.
        row: row ids `[pair, position]`.
        targets: response ids `[pair, position]`.
        mask: which row positions are real `[pair, position]`.
        query: ids of the query's prompt and of all response tokens but the last `[pair, position]`.
        query_ends: place of the last prompt token in `query` `[pair]`.
    """

    prefix: Tensor
    lengths: Tensor
    row: Tensor
    targets: Tensor
    mask: Tensor
    query: Tensor
    query_ends: Tensor

    @property
    def positions(self) -> Tensor:
        """Places of the row's tokens in the whole text `[pair, position]`."""
        steps = torch.arange(self.row.shape[1], device=self.row.device)
        # padding has the place of the last real token, so that it never exceeds a learned position table
        return self.lengths[:, None] + torch.minimum(steps, self.mask.sum(1, keepdim=True) - 1)


def encode_pair(pair: PromptPair, chat: ChatModel, response_tokens: int) -> EncodedPair:
    """Return the token ids of a pair: prompts in the chat format, and its response (the own refusal if it has one).

    If `response_tokens` is 0, the response is not read and may be empty.

    Raises:
        InputError: a prompt or the response has no token, the text is longer than the model's positions, or it is so
            long that the model's rotary embeddings change with the length.
    """
    query, prompt = chat.prompt_tokens(pair.plain_conversation), chat.prompt_tokens(pair.conversation)
    response = encode_response(chat.tokenizer, pair.own_refusal or pair.response, None)[:response_tokens]
    for name, ids in (("query", query), ("prompt", prompt), ("response", response)):
        if not ids and (name != "response" or response_tokens):
            raise InputError(f"pair {pair.id}: its {name} has no token, so nothing can be attributed; remove the pair")
    # the model predicts the last response token, but never reads it
    read = max(0, len(response) - 1)
    length, most = max(len(query), len(prompt)) + read, constant_rotary_length(chat.model)
    if most is not None and length > most:
        raise InputError(
            f"pair {pair.id}: its text has {length} tokens, but the rotary embeddings of {type(chat.model).__name__} "
            f"change with the length above {most} tokens, so the two prompts cannot share a prefix; remove the pair"
        )
    if problem := overflow(chat, max(len(query), len(prompt)), read):
        raise InputError(f"pair {pair.id}: {problem}; remove the pair")
    return EncodedPair(pair.id, tuple(query), tuple(prompt), tuple(response), pair.role)


def constant_rotary_length(model: PreTrainedModel) -> int | None:
    """Return the greatest length of a text up to which rotary embeddings do not depend on it; None if they never do."""
    config = model.config.get_text_config()
    rules = getattr(config, "rope_parameters", None) or {}
    # one rule for all layers, or one for each kind of layer
    each = [rules] if "rope_type" in rules else [rule for rule in rules.values() if isinstance(rule, dict)]
    lengths = [
        rule.get("original_max_position_embeddings") or config.max_position_embeddings
        for rule in each
        if rule.get("rope_type") in ("dynamic", "longrope")
    ]
    return min(lengths, default=None)


def make_batch(pairs: Sequence[EncodedPair], device: torch.device) -> Batch:
    """Return pairs as one batch on a device."""
    rows = [(pair.prompt[-1], *pair.response[:-1]) for pair in pairs]
    return Batch(
        prefix=_padded([pair.prompt[:-1] for pair in pairs], device),
        lengths=torch.tensor([len(pair.prompt) - 1 for pair in pairs], device=device),
        row=_padded(rows, device),
        targets=_padded([pair.response for pair in pairs], device),
        mask=_padded([(1,) * len(row) for row in rows], device),
        query=_padded([(*pair.query, *pair.response[:-1]) for pair in pairs], device),
        query_ends=torch.tensor([len(pair.query) - 1 for pair in pairs], device=device),
    )


def _padded(sequences: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    length = max(len(sequence) for sequence in sequences)
    padded = [[*sequence, *[0] * (length - len(sequence))] for sequence in sequences]
    return torch.tensor(padded, dtype=torch.long, device=device).view(len(sequences), length)
