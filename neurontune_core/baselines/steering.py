"""Activation steering: the refusal direction is added to the residual stream of one layer, at every position."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurontune_core.interventions import Intervention
from neurontune_core.model.batches import by_length, padded
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import decoder_layers
from neurontune_core.records import Conversation


@dataclass(frozen=True)
class Steering(Intervention):
    """`h <- h + direction` after decoder layer `layer`; the direction `[hidden]` carries its strength.

    With a `reading` `[hidden]`, `h <- h + (reading . h) direction`: the distance depends on the state h.
    """

    layer: int
    direction: NDArray[np.float32]
    reading: NDArray[np.float32] | None = None

    @property
    def parameters(self) -> int:
        """Number of channels of the residual stream; twice this number with a `reading`."""
        return len(self.direction) * (1 if self.reading is None else 2)

    @contextmanager
    def applied(self, chat: ChatModel) -> Iterator[ChatModel]:
        """Yield the steered model; undone on exit, also after an error."""
        direction = torch.from_numpy(self.direction).to(chat.device)
        reading = None if self.reading is None else torch.from_numpy(self.reading).to(chat.device)

        def steer(module: nn.Module, inputs: Any, output: Any) -> Any:
            hidden = output[0] if isinstance(output, tuple) else output
            along = direction.to(hidden.device)
            move = along if reading is None else (hidden.float() @ reading.to(hidden.device))[..., None] * along
            steered = (hidden + move).to(hidden.dtype)
            return (steered, *output[1:]) if isinstance(output, tuple) else steered

        handle = decoder_layers(chat.model)[self.layer].register_forward_hook(steer)
        try:
            yield chat
        finally:
            handle.remove()

    def weakened(self, share: float) -> Self:
        """Return the steering with `share * direction`."""
        return replace(self, direction=(share * self.direction).astype(np.float32))


@torch.inference_mode()
def refusal_directions(
    chat: ChatModel, harmful: Sequence[str | Conversation], harmless: Sequence[str | Conversation]
) -> NDArray[np.float32]:
    """Return the difference of means of the residual stream, harmful minus harmless prompts, `[layer, hidden]`.

    The residual stream is read after every decoder layer at the last prompt position (Arditi et al. 2024, https://arxiv.org/abs/2406.11717).
    """
    means = [_mean_states(chat, prompts) for prompts in (harmful, harmless)]
    return (means[0] - means[1]).float().cpu().numpy()


def _mean_states(chat: ChatModel, prompts: Sequence[str | Conversation]) -> Tensor:
    layers = decoder_layers(chat.model)
    total = torch.zeros(len(layers), chat.model.config.get_text_config().hidden_size, dtype=torch.float64)

    def add(layer: int, states: Tensor, mask: Tensor) -> None:
        total[layer] += states[:, -1].double().sum(0).cpu()

    visit_states(chat, [chat.prompt_tokens(prompt) for prompt in prompts], add)
    return total / len(prompts)


@torch.inference_mode()
def visit_states(
    chat: ChatModel,
    texts: Sequence[list[int]],
    visit: Callable[[int, Tensor, Tensor], None],
) -> None:
    """Show the residual stream `[batch, position, hidden]` after every layer, with the mask `[batch, position]`.

    Texts are padded on the left, so that every text ends at the last position.
    """
    for group in by_length([len(tokens) for tokens in texts], chat.batch_tokens):
        ids, mask = padded([texts[i] for i in group], chat.end_tokens[0], chat.device, left=True)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        handles = [
            layer.register_forward_hook(_show(visit, number, mask))
            for number, layer in enumerate(decoder_layers(chat.model))
        ]
        try:
            chat.model.base_model(input_ids=ids, attention_mask=mask, position_ids=positions)
        finally:
            for handle in handles:
                handle.remove()


def _show(visit: Callable[[int, Tensor, Tensor], None], layer: int, mask: Tensor) -> Any:
    def show(module: nn.Module, inputs: Any, output: Any) -> None:
        visit(layer, (output[0] if isinstance(output, tuple) else output).to(mask.device), mask)

    return show
