"""Activation steering: the refusal direction is added to the residual stream of one layer, at every position."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurontune_core.model.batches import by_length, padded
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import decoder_layers
from neurontune_core.records import Conversation


@dataclass(frozen=True)
class Steering:
    """`h <- h + direction` after decoder layer `layer`; the direction `[hidden]` carries its strength."""

    layer: int
    direction: NDArray[np.float32]

    @property
    def parameters(self) -> int:
        """Channels of the residual stream."""
        return len(self.direction)

    @contextmanager
    def applied(self, chat: ChatModel) -> Iterator[ChatModel]:
        """Lend the steered model; undone on exit, after an error too."""
        direction = torch.from_numpy(self.direction).to(chat.device)

        def steer(module: nn.Module, inputs: Any, output: Any) -> Any:
            hidden = output[0] if isinstance(output, tuple) else output
            steered = (hidden + direction).to(hidden.dtype)
            return (steered, *output[1:]) if isinstance(output, tuple) else steered

        handle = decoder_layers(chat.model)[self.layer].register_forward_hook(steer)
        try:
            yield chat
        finally:
            handle.remove()


@torch.inference_mode()
def refusal_directions(
    chat: ChatModel, harmful: Sequence[str | Conversation], harmless: Sequence[str | Conversation], batch_tokens: int
) -> NDArray[np.float32]:
    """Return the difference of means of the residual stream, harmful minus harmless prompts, `[layer, hidden]`.

    Taken after every decoder layer at the last prompt position (Arditi et al. 2024, https://arxiv.org/abs/2406.11717).
    """
    means = [_mean_states(chat, prompts, batch_tokens) for prompts in (harmful, harmless)]
    return (means[0] - means[1]).float().cpu().numpy()


def _mean_states(chat: ChatModel, prompts: Sequence[str | Conversation], batch_tokens: int) -> Tensor:
    encoded = [chat.prompt_tokens(prompt) for prompt in prompts]
    layers = decoder_layers(chat.model)
    total = torch.zeros(len(layers), chat.model.config.get_text_config().hidden_size, dtype=torch.float64)
    for group in by_length([len(tokens) for tokens in encoded], batch_tokens):
        # padded on the left, so that every prompt ends in the last column
        ids, mask = padded([encoded[i] for i in group], chat.end_tokens[0], chat.device, left=True)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        states: list[Tensor] = []
        handles = [layer.register_forward_hook(_keep_last(states)) for layer in layers]
        try:
            chat.model.base_model(input_ids=ids, attention_mask=mask, position_ids=positions)
        finally:
            for handle in handles:
                handle.remove()
        total += torch.stack([state.double().sum(0).cpu() for state in states])
    return total / len(prompts)


def _keep_last(states: list[Tensor]) -> Any:
    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        states.append((output[0] if isinstance(output, tuple) else output)[:, -1])

    return keep
