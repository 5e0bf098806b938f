"""Batches of token sequences: grouped by length, padded, with a bound on the tokens a batch holds."""

from collections.abc import Sequence
from typing import Any

import psutil
import torch
from torch import Tensor
from transformers import PreTrainedModel

from neurontune_core.experts import active_experts, is_routed, outputs_and_width
from neurontune_core.model.devices import cuda_devices_of

SHARE_OF_MEMORY = 0.25
"""Share of the device's memory for a batch's activations; the remaining memory is for weights, caches and programs."""
MOST_TOKENS_ON_A_PROCESSOR = 3072
"""Larger batches do not make a CPU faster."""


def by_length(lengths: Sequence[int], most_tokens: int, fullness: float = 0.0) -> list[list[int]]:
    """Return groups of indices, longest first, so that rows times the longest row stays within `most_tokens`.

    No row of a group is shorter than `fullness` times its longest, which bounds the share of padding. A row longer
    than `most_tokens` gets a group of its own.
    """
    groups: list[list[int]] = []
    widest = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        fits = (len(groups[-1]) + 1) * widest <= most_tokens if groups else False
        if fits and lengths[index] >= fullness * widest:
            groups[-1].append(index)
        else:
            groups.append([index])
            widest = lengths[index]
    return groups


def by_beginning(prompts: Sequence[Sequence[int]], worth: int = 1) -> list[list[int]]:
    """Return groups of indices of prompts that begin with the same tokens (half or more); the last group has the rest.

    Example: prompts under one attack form a group, so the attack's first words run once. A beginning that all prompts
    share (a system message) does not count. A group that saves fewer than `worth` tokens joins the rest.
    """
    common = shared_length(prompts)
    order = sorted(range(len(prompts)), key=lambda i: (list(prompts[i]), i))
    groups: list[list[int]] = []
    saved: list[int] = []
    longest = 0
    for index in order:
        prompt = prompts[index][common:]
        # the texts are sorted, so the first and the last of a group have the shortest common beginning
        shared = common_length(prompts[groups[-1][0]][common:], prompt) if groups else 0
        if groups and 2 * shared >= max(longest, len(prompt)):
            groups[-1].append(index)
            longest = max(longest, len(prompt))
            saved[-1] = shared * (len(groups[-1]) - 1)
        else:
            groups.append([index])
            longest = len(prompt)
            saved.append(0)
    alike = [group for group, tokens in zip(groups, saved, strict=True) if tokens >= worth]
    rest = [index for group, tokens in zip(groups, saved, strict=True) if tokens < worth for index in group]
    return alike + ([rest] if rest else [])


def tokens_that_fit(model: PreTrainedModel) -> int:
    """Return the most tokens of a batch with gradients, from the model's shape and the device's memory.

    On a GPU this is the memory that is free once the model is loaded.
    """
    if cards := cuda_devices_of(model):
        memory, most = min(torch.cuda.mem_get_info(card)[0] for card in cards), 1 << 20
    else:
        memory, most = psutil.virtual_memory().total, MOST_TOKENS_ON_A_PROCESSOR
    return max(64, min(most, int(SHARE_OF_MEMORY * memory / bytes_per_token(model))))


def bytes_per_token(model: PreTrainedModel) -> int:
    """Return about how many bytes a token keeps for the backward pass.

    Each layer keeps `12 hidden + 4 neurons` numbers of 4 bytes, the output head three times the vocabulary. Of experts,
    `neurons` counts those that a token is routed to, and all neurons of one layer are added once.
    """
    shape = model.config.get_text_config()
    layers, hidden = int(shape.num_hidden_layers), int(shape.hidden_size)
    neurons = int(getattr(shape, "intermediate_size", None) or 4 * hidden)
    experts: list[Any] = [module for module in model.modules() if is_routed(module)]
    used = max((active_experts(module) * outputs_and_width(module)[1] for module in experts), default=0)
    looked_at = max((int(module.num_experts) * outputs_and_width(module)[1] for module in experts), default=0)
    return 4 * (layers * (12 * hidden + 4 * max(neurons, used)) + 3 * int(shape.vocab_size) + 2 * looked_at)


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the number of tokens in the common beginning of two texts."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def padded(
    sequences: Sequence[Sequence[int]], pad: int, device: torch.device, left: bool = False
) -> tuple[Tensor, Tensor]:
    """Return token ids and attention mask `[batch, position]` of sequences, padded on the right (or left)."""
    longest = max(len(sequence) for sequence in sequences)
    ids = torch.full((len(sequences), longest), pad, dtype=torch.long)
    mask = torch.zeros((len(sequences), longest), dtype=torch.long)
    for row, sequence in enumerate(sequences):
        place = slice(longest - len(sequence), longest) if left else slice(0, len(sequence))
        ids[row, place] = torch.tensor(sequence, dtype=torch.long)
        mask[row, place] = 1
    return ids.to(device), mask.to(device)


def shared_length(prompts: Sequence[Sequence[int]]) -> int:
    """Return the number of tokens in the common beginning of all prompts, without last tokens; 0 for one prompt."""
    if len(prompts) < 2:
        return 0
    # in dictionary order all texts lie between the first and the last, so they share what these two share
    return common_length(min(map(tuple, prompts))[:-1], max(map(tuple, prompts))[:-1])
