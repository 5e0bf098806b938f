"""What excites a neuron: its activations at the last position of many prompts."""

import random
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurontune_core.expert_address import SHARED, expert_of
from neurontune_core.model.batches import by_length, padded, shared_length
from neurontune_core.model.head import encode_prefix, hidden_states, keeps_state
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import captured, expert_counts
from neurontune_core.progress import Track, silent
from neurontune_core.records import Conversation, NeuronId, PromptPair

MOST_PROMPTS = 200
SEED = 0


def plain_prompts(pairs: Sequence[PromptPair], most: int = MOST_PROMPTS) -> list[PromptPair]:
    """Return at most `most` prompts of each role without an attack, of the splits but test, drawn by a fixed seed."""
    generator = random.Random(SEED)
    drawn: list[PromptPair] = []
    for role in ("safety", "utility"):
        mine = [pair for pair in pairs if pair.role == role and not pair.attack_name and pair.split != "test"]
        plain = list({pair.conversation: pair for pair in mine}.values())
        drawn += generator.sample(plain, min(most, len(plain)))
    return drawn


def last_activations(
    chat: ChatModel,
    prompts: Sequence[Conversation],
    neurons: Sequence[NeuronId],
    track: Track = silent,
) -> NDArray[np.float32]:
    """Return the neurons' activations at the last position of every prompt, `[prompt, neuron]`; as `last_states`."""
    return last_states(chat, prompts, neurons, track)[0]


@torch.inference_mode()
def last_states(
    chat: ChatModel,
    prompts: Sequence[Conversation],
    neurons: Sequence[NeuronId],
    track: Track = silent,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return activations at the last position of every prompt, and whether it is sent to the neuron's expert.

    Both `[prompt, neuron]`. In a dense layer and in a shared expert every position is.

    Args:
        chat: the model.
        prompts: conversations, each up to where the assistant speaks.
        neurons: of which neurons.
        track: reports the progress of the batches.
    """
    encoded = [chat.prompt_tokens(prompt) for prompt in prompts]
    shared = 0 if keeps_state(chat.model) else shared_length(encoded)  # a system message, run once a batch
    activations = np.zeros((len(prompts), len(neurons)), dtype=np.float32)
    routed = np.ones(activations.shape, dtype=np.bool_)
    parts = _experts(chat, neurons)
    groups = by_length([len(tokens) - shared for tokens in encoded], chat.batch_tokens)
    for group in track(groups, "prompts", len(groups)):
        # padded on the right: no token before the last one of a prompt is a stranger
        ids, mask = padded([encoded[i][shared:] for i in group], chat.end_tokens[0], chat.device)
        prefix = encode_prefix(chat.model, encoded[0][:shared], len(group)) if shared else None
        ends = torch.tensor([len(encoded[i]) - shared - 1 for i in group], device=chat.device)
        with captured(chat.model, _at(ends)) as values:
            hidden_states(chat.model, ids, torch.cat([mask.new_ones(len(group), shared), mask], dim=-1), prefix)
        mine = torch.stack([values[neuron.layer][:, neuron.index] for neuron in neurons], dim=-1)
        activations[group] = mine.float().cpu().numpy()
        for place, part in parts.items():  # an expert that is not asked has no activations at all
            routed[group, place] = values[neurons[place].layer][:, part].any(-1).cpu().numpy()
    return activations, routed


def _experts(chat: ChatModel, neurons: Sequence[NeuronId]) -> dict[int, slice]:
    """Return, by their places, the neurons that are in routed experts: all neurons of the expert."""
    shapes, parts = expert_counts(chat.model), {}
    for place, neuron in enumerate(neurons):
        expert, index = expert_of(neuron, shapes)
        if expert not in ("", SHARED):
            start = neuron.index - index
            parts[place] = slice(start, start + shapes[neuron.layer][1])
    return parts


def _at(positions: Tensor) -> Callable[[Tensor], Tensor]:
    """Return what reduces activations `[row, position, neuron]` to `[row, neuron]` at a position a row."""
    rows = torch.arange(len(positions), device=positions.device)
    return lambda values: values.to(rows.device)[rows, positions]
