"""Compute logits from the last hidden state, only at the positions where they are needed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel, cache_utils
from transformers.cache_utils import LinearAttentionCacheLayerMixin

from neurontune_core.errors import InputError
from neurontune_core.model.devices import device_of, weight_of
from neurontune_core.neurons import decoder_layers


@dataclass(frozen=True)
class Head:
    """The map from the last hidden state `[..., channel]` to logits `[..., token]`: `cap(scale * (h W^T + b))`."""

    weight: Tensor
    bias: Tensor | None
    scale: float
    softcap: float | None

    @staticmethod
    def of(model: PreTrainedModel) -> "Head":
        """Return the head of a model, read from its output embeddings and configuration.

        Raises:
            InputError: the model has no output embeddings.
        """
        module = model.get_output_embeddings()
        if module is None:
            raise InputError(f"model: {type(model).__name__} has no output embeddings; choose a causal language model")
        config = model.config.get_text_config()
        scale = float(getattr(config, "logit_scale", None) or 1.0)
        scale /= float(getattr(config, "logits_scaling", None) or 1.0)
        weight = weight_of(module)
        bias = None if getattr(module, "bias", None) is None else weight_of(module, "bias")
        return Head(weight, bias, scale, getattr(config, "final_logit_softcapping", None))

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the model's own logits, float32 or wider, on the device of the hidden state."""
        logits = torch.nn.functional.linear(hidden.to(self.weight.device), self.weight, self.bias)
        logits = logits.to(hidden.device, torch.promote_types(logits.dtype, torch.float32))
        if self.scale != 1.0:
            logits = logits * self.scale
        return logits if self.softcap is None else torch.tanh(logits / self.softcap) * self.softcap


def hidden_states(model: PreTrainedModel, ids: Tensor, mask: Tensor, prefix: DynamicCache | None = None) -> Tensor:
    """Return the final, normalised hidden states `[batch, position, hidden]` of right-padded token ids.

    With the keys and values of a `prefix`, which every row continues, `mask` covers the prefix as well.
    """
    output = model.base_model(input_ids=ids, attention_mask=mask, past_key_values=prefix, use_cache=prefix is not None)
    hidden: Tensor = output.last_hidden_state
    return hidden.to(ids.device)


def keeps_state(model: PreTrainedModel) -> bool:
    """Tell whether some layers keep a running state instead of keys and values: Mamba, linear attention, convolutions.

    Padding before a prompt would change the state, and a prefix that was run once cannot be continued by many tokens.
    """
    return any(
        isinstance(layer, LinearAttentionCacheLayerMixin) or type(layer).__module__ != cache_utils.__name__
        for layer in DynamicCache(config=model.config).layers
    )


def encode_prefix(model: PreTrainedModel, tokens: Sequence[int], rows: int) -> DynamicCache:
    """Return the keys and values of tokens that `rows` sequences begin with, computed once, differentiable."""
    cache = DynamicCache(config=model.config)
    model.base_model(
        input_ids=torch.tensor([list(tokens)], device=device_of(model)), past_key_values=cache, use_cache=True
    )
    # all kinds of layers know this operation, those with linear attention or Mamba no other
    cache.reorder_cache(torch.zeros(rows, dtype=torch.long))  # type: ignore[arg-type]
    return cache


def logits(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """Return the model's own logits `[..., vocabulary]`, float32 or wider, of final hidden states `[..., hidden]`."""
    return Head.of(model).logits(hidden)


@torch.inference_mode()
def final_norm(model: PreTrainedModel) -> Callable[[Tensor], Tensor]:
    """Return the module between the last decoder layer and the head; the identity if there is none.

    It is found by its output, not by its name: the first module outside the layers whose output is the final hidden
    state.
    """
    given: list[tuple[nn.Module, Tensor]] = []

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            given.append((module, output))

    inside = set(decoder_layers(model).modules())
    outside = [module for module in model.get_decoder().modules() if module not in inside]
    handles = [module.register_forward_hook(note) for module in outside]
    try:
        ids = torch.arange(4, device=device_of(model))[None]
        final = hidden_states(model, ids, torch.ones_like(ids))
    finally:
        for handle in handles:
            handle.remove()
    return next((module for module, output in given if torch.equal(output, final)), nn.Identity())
