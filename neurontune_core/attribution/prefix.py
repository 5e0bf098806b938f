"""Make the model's attention layers use `attention.attend`: prompts are encoded once and shared by many rows.

This module registers its own attention function with transformers' attention interface, and switches it on inside a
context. The model's attention mask is not used, because rows have no padding on the left and their positions are known.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from neurontune_core.attribution.attention import Prefix, Rule, attend
from neurontune_core.errors import InputError
from neurontune_core.neurons import decoder_layers

IMPLEMENTATION = "neurontune_shared_prefix"


@dataclass
class _Session:
    """The data that the attention function uses while a model runs."""

    prefixes: Sequence[Prefix] | None
    lengths: Tensor | None
    layer: int = -1
    recorded: dict[int, Prefix] = field(default_factory=dict)
    called: set[int] = field(default_factory=set)


_session: ContextVar[_Session | None] = ContextVar("neurontune_attention_session", default=None)


@torch.no_grad()
def capture_prefix(model: PreTrainedModel, ids: Tensor, lengths: Tensor) -> list[Prefix]:
    """Run the model on prompts `[pair, position]`, padded on the right, and return every layer's keys and values.

    Raises:
        InputError: a layer does not use the attention interface.
    """
    session = _Session(None, lengths)
    positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    with _attached(model, session):
        model.base_model(input_ids=ids, position_ids=positions, use_cache=False)
    return [session.recorded[layer] for layer in sorted(session.recorded)]


@contextmanager
def attending_to(model: PreTrainedModel, prefixes: Sequence[Prefix] | None) -> Iterator[None]:
    """Let every row of a batch continue the given prefixes (one a layer), or start without a prefix; undone on exit.

    Raises:
        InputError: a layer did not use the attention interface.
    """
    with _attached(model, _Session(prefixes, None)):
        yield


@contextmanager
def _attached(model: PreTrainedModel, session: _Session) -> Iterator[None]:
    layers = decoder_layers(model)
    previous = model.config._attn_implementation
    with ExitStack() as stack:
        for index, layer in enumerate(layers):

            def enter(module: nn.Module, inputs: tuple[Any, ...], index: int = index) -> None:
                if inputs and inputs[0].dim() != 3:
                    raise _different(index, f"reads hidden states of {inputs[0].dim()} dimensions")
                session.layer = index

            stack.callback(layer.register_forward_pre_hook(enter).remove)
        stack.callback(model.set_attn_implementation, previous)
        model.set_attn_implementation(IMPLEMENTATION)
        stack.callback(_session.reset, _session.set(session))
        yield
    if missing := sorted(set(range(len(layers))) - session.called):
        raise InputError(
            f"model: layers {missing[:8]} of {type(model).__name__} did not call transformers' attention interface, "
            f"so their attention cannot be followed; set attribution.method=gradient, or choose another decoder"
        )


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **settings: Any
) -> tuple[Tensor, None]:
    """Attention as transformers calls it: tensors `[batch, head, position, channel]`, output with positions first."""
    session = _session.get()
    if session is None:
        raise RuntimeError(f"{IMPLEMENTATION} was called outside its context")
    layer = session.layer
    if attention_mask is not None:  # none was given, so this layer has computed one
        raise _different(layer, "hides some positions by a mask of its own")
    if layer in session.called:
        raise _different(layer, "is computed several times in one pass")
    _refuse_unknown(layer, module, settings)
    scaling = settings.get("scaling")
    rule = Rule(
        query.shape[-1] ** -0.5 if scaling is None else float(scaling),
        settings.get("softcap"),
        settings["sliding_window"] if "sliding_window" in settings else _window_of_mask(module, layer),
        settings.get("s_aux"),
    )
    session.called.add(layer)
    if session.lengths is not None:
        # contiguous: a view would keep the queries of a fused projection in memory too
        session.recorded[layer] = Prefix(key.contiguous(), value.contiguous(), session.lengths.to(key.device))
        return _whole_prompt(query, key, value, rule), None
    return attend(query, key, value, session.prefixes[layer] if session.prefixes else None, rule), None


def _window_of_mask(module: nn.Module, layer: int) -> int | None:
    """Return the sliding window of a layer whose code gives it to the mask alone (PhiMoE, Qwen2-MoE); None if none."""
    if not hasattr(sys.modules[type(module).__module__], "create_sliding_window_causal_mask"):
        return None
    config: Any = module.config
    kinds = getattr(config, "layer_types", None)
    slides = kinds is None or kinds[layer] == "sliding_attention"
    return getattr(config, "sliding_window", None) if slides else None


def _refuse_unknown(layer: int, module: nn.Module, settings: dict[str, Any]) -> None:
    if settings.get("position_bias") is not None:
        raise _different(layer, "uses position_bias")
    causal = settings.get("is_causal")
    if (getattr(module, "is_causal", True) if causal is None else causal) is False:
        raise _different(layer, "is not causal")


def _different(layer: int, what: str) -> InputError:
    return InputError(
        f"model: attention of layer {layer} {what}, which integrated gradients do not support; set "
        f"attribution.method=gradient, or choose another decoder"
    )


def _whole_prompt(query: Tensor, key: Tensor, value: Tensor, rule: Rule) -> Tensor:
    if rule.softcap is not None or rule.sinks is not None or (rule.window is not None and rule.window < query.shape[2]):
        return attend(query, key, value, None, rule)
    grouped = query.shape[1] != key.shape[1]
    output = nn.functional.scaled_dot_product_attention(
        query, key, value, is_causal=True, scale=rule.scaling, enable_gqa=grouped
    )
    return output.transpose(1, 2)


AttentionInterface.register(IMPLEMENTATION, _attention)
