"""Generation, greedy by default, in batches grouped by length; rows that have ended leave the batch."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from transformers import DynamicCache

from neurontune_core.errors import InputError
from neurontune_core.model import head
from neurontune_core.model.batches import by_beginning, by_length, padded, shared_length
from neurontune_core.model.load import ChatModel
from neurontune_core.model.positions import overflow
from neurontune_core.progress import Track, silent
from neurontune_core.records import Conversation

PASS_TOKENS = 50
"""Fixed cost of a forward pass (reading all weights), as the number of tokens that take as long to compute."""


WhileReading = Callable[[Sequence[int]], AbstractContextManager[None]]
"""Changes the model during the forward pass over the prompts at these indices, which are the rows of the batch."""

Choose = Callable[[Tensor, Sequence[int]], Tensor]
"""Returns the next tokens `[row]` from logits `[row, vocabulary]` and the index of each row's prompt."""


@torch.inference_mode()
def generate(
    chat: ChatModel,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    track: Track = silent,
    while_reading: WhileReading = lambda places: nullcontext(),
    choose: Choose | None = None,
    known: dict[int, list[int]] | None = None,
) -> list[list[int]]:
    """Return the continuation of every prompt as token ids, without the end-of-turn token that closed it.

    Args:
        chat: the model.
        prompts: token ids of each prompt.
        max_new_tokens: most tokens of a continuation.
        track: reports the progress of the batches.
        while_reading: a change of the model during the pass over the prompts; it is undone before the second new token.
        choose: chooses the next tokens; by default the likeliest ones.
        known: continuations by the index of the prompt; those of each batch are added, and a batch whose continuations
            are known is not run.

    Raises:
        InputError: prompt and continuation are longer than the model's positions.
    """
    if problem := overflow(chat, max(map(len, prompts), default=0), max_new_tokens):
        raise InputError(f"generate: {problem}; shorten the prompt, or ask for fewer tokens")
    equal = head.keeps_state(chat.model)
    groups = generation_batches(prompts, max_new_tokens, chat.generation_tokens, equal)
    completions: dict[int, list[int]] = {} if known is None else known
    for group in track(groups, "generating", len(groups)):
        if group[0] in completions:
            continue
        batch = [prompts[i] for i in group]
        found = _generate_batch(chat, batch, max_new_tokens, while_reading(group), group, choose)
        completions.update(zip(group, found, strict=True))
    return [completions[index] for index in range(len(prompts))]


def generation_batches(
    prompts: Sequence[Sequence[int]], max_new_tokens: int, most_tokens: int, equal: bool = False
) -> list[list[int]]:
    """Return the batches of `generate` as indices of prompts; those of a batch have similar beginnings and lengths.

    With `equal` they have the same length, for models that padding would change.
    """
    if equal:
        return by_length([len(prompt) + max_new_tokens for prompt in prompts], most_tokens, fullness=1.0)
    groups = []
    # a separate group costs one more pass for each new token, and saves the prompts' common beginning
    for alike in by_beginning(prompts, PASS_TOKENS * max_new_tokens):
        lengths = [len(prompts[i]) + max_new_tokens for i in alike]
        groups += [[alike[i] for i in group] for group in by_length(lengths, most_tokens)]
    return groups


def _generate_batch(
    chat: ChatModel,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    while_reading: AbstractContextManager[None],
    places: Sequence[int],
    choose: Choose | None,
) -> list[list[int]]:
    cache = DynamicCache(config=chat.model.config)
    # the common beginning of all prompts is run once; not with sliding attention, where padding after the beginning
    # would count as distance
    shared = 0 if any(cache.is_sliding) or head.keeps_state(chat.model) else shared_length(prompts)
    if shared:
        cache = head.encode_prefix(chat.model, prompts[0][:shared], len(prompts))
    ids, mask = padded([prompt[shared:] for prompt in prompts], chat.end_tokens[0], chat.device, left=True)
    ends = torch.tensor(chat.end_tokens, device=chat.device)
    mask = torch.cat([mask.new_ones(len(prompts), shared), mask], dim=-1)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, shared:]
    completions: list[list[int]] = [[] for _ in prompts]
    rows = list(range(len(prompts)))
    for step in range(max_new_tokens):
        with nullcontext() if step else while_reading:
            output = chat.model.base_model(
                input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
            )
        # a copy of the last position: on a strided view torch would copy the head's weights for every row
        logits = head.logits(chat.model, output.last_hidden_state[:, -1].contiguous()).to(chat.device)
        chosen = choose(logits, [places[row] for row in rows]) if choose else logits.argmax(-1)
        going = ~torch.isin(chosen, ends)
        for row, token, goes in zip(rows, chosen.tolist(), going.tolist(), strict=True):
            if goes:
                completions[row].append(token)
        rows = [row for row, goes in zip(rows, going.tolist(), strict=True) if goes]
        if not rows:
            break
        if len(rows) < len(going):
            kept = going.nonzero()[:, 0]
            cache.reorder_cache(kept)  # type: ignore[arg-type]
            chosen, mask, positions = chosen[kept], mask[kept], positions[kept]
        ids = chosen[:, None]
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=-1)
        positions = positions[:, -1:] + 1
    return completions


def respond(chat: ChatModel, prompts: Sequence[str | Conversation], max_new_tokens: int = 128) -> list[str]:
    """Return the model's greedy response to every prompt.

    Args:
        chat: the model.
        prompts: the user's messages, alone or with the turns before them.
        max_new_tokens: most tokens of a response.

    Returns:
        The responses in the order of `prompts`, without the token that ends the turn.

    Raises:
        InputError: prompt and response are longer than the model's positions.
    """
    encoded = [chat.prompt_tokens(prompt) for prompt in prompts]
    return decode(chat, generate(chat, encoded, max_new_tokens))


def decode(chat: ChatModel, completions: Sequence[Sequence[int]]) -> list[str]:
    """Return completions as text, special tokens left out."""
    return [str(chat.tokenizer.decode(list(ids), skip_special_tokens=True)) for ids in completions]
