"""Log-probability of given responses."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache

from neurontune_core.model import head
from neurontune_core.model.batches import by_beginning, by_length, padded, shared_length
from neurontune_core.model.generate import PASS_TOKENS
from neurontune_core.model.load import ChatModel
from neurontune_core.progress import Track, silent


@dataclass(frozen=True)
class TokenSequence:
    """A prompt and the response that follows it, as token ids."""

    prompt: list[int]
    response: list[int]

    @property
    def tokens(self) -> list[int]:
        """All tokens, in order."""
        return self.prompt + self.response


@dataclass(frozen=True)
class SharedPrefix:
    """What a batch of prompts begins with: its length in tokens, and its keys and values, one row a prompt."""

    length: int
    cache: DynamicCache | None


def shared_prefix(chat: ChatModel, sequences: Sequence[TokenSequence], length: int | None = None) -> SharedPrefix:
    """Run once what all prompts of a batch begin with, or its first `length` tokens: a system message, an attack."""
    if length is None:
        length = shared_length([sequence.prompt for sequence in sequences])
    cache = head.encode_prefix(chat.model, sequences[0].prompt[:length], len(sequences)) if length else None
    return SharedPrefix(length, cache)


def response_hidden(
    chat: ChatModel, sequences: Sequence[TokenSequence], prefix: SharedPrefix
) -> tuple[Tensor, Tensor, Tensor]:
    """Continue the shared prefix by every sequence, in one batch, and return what predicts the responses.

    Returns:
        Hidden states `[token, hidden]` at the positions that predict response tokens, all rows one after another;
        the response tokens `[token]`; and each token's place in its response `[token]`.
    """
    shared = prefix.length
    ids, mask = padded([sequence.tokens[shared:] for sequence in sequences], chat.end_tokens[0], chat.device)
    mask = torch.cat([mask.new_ones(len(sequences), shared), mask], dim=-1)
    hidden = head.hidden_states(chat.model, ids, mask, prefix.cache)
    rows = [row for row, s in enumerate(sequences) for _ in s.response]
    positions = [len(s.prompt) - 1 - shared + j for s in sequences for j in range(len(s.response))]
    tokens = torch.tensor([token for s in sequences for token in s.response], device=chat.device)
    places = torch.tensor([j for s in sequences for j in range(len(s.response))], device=chat.device)
    return hidden[rows, positions], tokens, places


def token_log_probabilities(chat: ChatModel, sequences: Sequence[TokenSequence]) -> list[Tensor]:
    """Return `log p(y_j)` `[token]` in nats of each sequence's response tokens, differentiable."""
    hidden, tokens, _ = response_hidden(chat, sequences, shared_prefix(chat, sequences))
    each = torch.log_softmax(head.logits(chat.model, hidden), dim=-1).gather(-1, tokens[:, None])[:, 0]
    return list(each.split([len(sequence.response) for sequence in sequences]))


@torch.inference_mode()
def response_log_probabilities(
    chat: ChatModel, sequences: Sequence[TokenSequence], track: Track = silent
) -> list[float]:
    """Return `log P(response | prompt)` in nats of each sequence, summed over its response tokens."""
    # prompts in one attack come together, whose words are then run once, in a pass of their own before the others'
    groups = [
        [alike[place] for place in group]
        for alike in by_beginning([sequence.prompt for sequence in sequences], 2 * PASS_TOKENS)
        for group in by_length([len(sequences[i].tokens) for i in alike], chat.batch_tokens)
    ]
    totals = [0.0] * len(sequences)
    for group in track(groups, "scoring responses", len(groups)):
        for i, part in zip(group, token_log_probabilities(chat, [sequences[i] for i in group]), strict=True):
            totals[i] = float(part.double().sum())
    return totals
