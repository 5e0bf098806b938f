"""The base and the tuned model in one batch of two rows: one forward pass gives the next token of both."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from transformers import DynamicCache

from neurontune_core import neurons
from neurontune_core.model import head
from neurontune_core.model.batches import padded
from neurontune_core.model.load import ChatModel
from neurontune_core.records import ScalingFactors

Answers = tuple[str, str]
"""The answers of the base and the tuned model so far."""


def stream(
    chat: ChatModel,
    scaling: ScalingFactors,
    strength: float,
    prompts: tuple[Sequence[int], Sequence[int]],
    max_new_tokens: int,
) -> Iterator[Answers]:
    """Yield both models' greedy answers, longer by a token each time, until both have ended.

    Args:
        chat: the base model.
        scaling: the factors; the tuned model's are `1 + strength (alpha - 1)`.
        strength: 0 for the base model, 1 for the tuned one.
        prompts: token ids of what the base and of what the tuned model is given.
        max_new_tokens: longest answer, in tokens.
    """
    ends = set(chat.end_tokens)
    said: tuple[list[int], list[int]] = ([], [])
    going = [True, True]
    cache = DynamicCache(config=chat.model.config)
    # padded on the left, so that both answers start in the same column
    ids, mask = padded(prompts, chat.end_tokens[0], chat.device, left=True)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    edits = _edits(chat, scaling, strength)
    for _ in range(max_new_tokens):
        # hooks exist only during a forward pass: the caller may stop after any word, or use the model in between
        with torch.inference_mode(), neurons.edited(chat.model, edits):
            output = chat.model.base_model(
                input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
            )
            chosen = head.logits(chat.model, output.last_hidden_state[:, -1].contiguous()).argmax(-1).to(chat.device)
        for row, token in enumerate(chosen.tolist()):
            going[row] = going[row] and token not in ends
            if going[row]:
                said[row].append(token)
        if not any(going):
            break
        ids = chosen[:, None]
        mask = torch.cat([mask, mask.new_ones(2, 1)], dim=-1)
        positions = positions[:, -1:] + 1
        yield _text(chat, said[0]), _text(chat, said[1])
    yield _text(chat, said[0]), _text(chat, said[1])


def _edits(chat: ChatModel, scaling: ScalingFactors, strength: float) -> dict[int, Callable[[Tensor], Tensor]]:
    """Return what scales the second row of each layer's activations `[2, position, neuron]`."""
    factors = {
        layer: torch.ones(2, 1, width, device=chat.device)
        for layer, width in enumerate(neurons.neuron_counts(chat.model))
        if width
    }
    for neuron, alpha in zip(scaling.neurons.all, scaling.alpha.tolist(), strict=True):
        factors[neuron.layer][1, 0, neuron.index] = 1 + strength * (alpha - 1)
    # in the wider of the two formats: bfloat16 knows no factor between 1 and 1.008
    return {
        layer: lambda values, factor=factor: (values * factor.to(values.device)).to(values.dtype)  # type: ignore[misc]
        for layer, factor in factors.items()
    }


def _text(chat: ChatModel, tokens: Sequence[int]) -> str:
    return str(chat.tokenizer.decode(list(tokens), skip_special_tokens=True))
