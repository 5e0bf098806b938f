"""Log-probability of given responses."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache

from neurontune_core.model import head
from neurontune_core.model.batches import by_beginning, by_length, padded, shared_length
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
    """Run once what all prompts of a batch begin with, or its first `length` tokens: a system message, an attack.

    Nothing is shared in a model that cannot continue a prefix by many tokens.
    """
    if head.keeps_state(chat.model):
        return SharedPrefix(0, None)
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
    # prompts in one attack come together, whose words are then run once
    groups = [
        [alike[place] for place in group]
        for alike in by_beginning([sequence.prompt for sequence in sequences])
        for group in by_length([len(sequences[i].tokens) for i in alike], chat.batch_tokens)
    ]
    totals = [0.0] * len(sequences)
    for group in track(groups, "scoring responses", len(groups)):
        for i, part in zip(group, token_log_probabilities(chat, [sequences[i] for i in group]), strict=True):
            totals[i] = float(part.double().sum())
    return totals


@torch.inference_mode()
def option_log_probabilities(
    chat: ChatModel, prompts: Sequence[list[int]], options: Sequence[Sequence[list[int]]], track: Track = silent
) -> list[list[float]]:
    """Return `log P(option | prompt)` in nats of each prompt's options, which have one token or more, summed over them.

    A prompt is run once for all its options. A batch has prompts of one length, because no padding may stand between
    a prompt and its options.
    """
    rows = max((len(some) for some in options), default=1)
    groups = by_length([len(prompt) for prompt in prompts], chat.batch_tokens // rows, fullness=1.0)
    found: list[list[float]] = [[] for _ in prompts]
    for group in track(groups, "scoring options", len(groups)):
        scores = iter(_scores_of_options(chat, [prompts[i] for i in group], [options[i] for i in group]))
        for i in group:
            found[i] = [next(scores) for _ in options[i]]
    return found


def _scores_of_options(
    chat: ChatModel, prompts: Sequence[list[int]], options: Sequence[Sequence[list[int]]]
) -> list[float]:
    """Return the log-probabilities of the options of prompts of one length, one prompt's after another's."""
    if head.keeps_state(chat.model):
        answered = [TokenSequence(prompt, each) for prompt, some in zip(prompts, options, strict=True) for each in some]
        return response_log_probabilities(chat, answered)
    prefix = shared_prefix(chat, [TokenSequence(prompt, []) for prompt in prompts])
    cache = prefix.cache or DynamicCache(config=chat.model.config)
    ids = torch.tensor([prompt[prefix.length :] for prompt in prompts], device=chat.device)
    mask = ids.new_ones(len(prompts), len(prompts[0]))
    owner = torch.tensor([row for row, some in enumerate(options) for _ in some])
    last = head.hidden_states(chat.model, ids, mask, cache)[owner, -1:]
    cache.reorder_cache(owner)  # type: ignore[arg-type]
    flat = [option for some in options for option in some]
    tokens, there = padded(flat, chat.end_tokens[0], chat.device)
    # an option's first token is predicted by the prompt, every other token by the one before it
    ids, mask = tokens[:, :-1], torch.cat([mask[owner], there[:, :-1]], dim=-1)
    hidden = torch.cat([last, head.hidden_states(chat.model, ids, mask, cache)], dim=1) if ids.shape[1] else last
    logits = head.logits(chat.model, hidden[there.bool()])
    each = torch.log_softmax(logits, dim=-1).gather(-1, tokens[there.bool()][:, None])[:, 0]
    return [float(part.double().sum()) for part in each.split([len(option) for option in flat])]
