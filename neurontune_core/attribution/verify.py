"""Check, before anything is attributed, that the engine computes the same logits as the model itself."""

from inspect import signature

import torch
from transformers import PreTrainedModel

from neurontune_core.attribution.precision import at_least_float32
from neurontune_core.attribution.prefix import attending_to, capture_prefix
from neurontune_core.errors import InputError
from neurontune_core.model.devices import device_of
from neurontune_core.model.head import Head, keeps_state
from neurontune_core.transient import is_out_of_memory

TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.05}
"""Largest relative difference of the logits; transformers itself drops to float32 inside a float64 model."""


@torch.no_grad()
def check_attention(model: PreTrainedModel) -> None:
    """Check on a model without weights (on torch's meta device) that a shared prefix can be captured in all layers.

    If a model cannot be run without weights, the check uses only what its class declares about its attention. The
    model's number format is changed.

    Raises:
        InputError: a layer's attention does not go through transformers' interface, or cannot run on a shared prefix.
    """
    if "position_ids" not in signature(model.base_model.forward).parameters:
        raise _unsupported(model, "it takes no positions")
    model.to(torch.bfloat16)  # type: ignore[arg-type]  # the one format in which torch knows the shape of experts' outputs
    ids = torch.zeros(1, 5, dtype=torch.long, device="meta")
    try:
        capture_prefix(model, ids, torch.tensor([5], device="meta"))
    except RuntimeError as error:  # also NotImplementedError: an operation that torch cannot do without weights
        if not model._supports_attention_backend:
            raise _unsupported(model, "its layers do not call transformers' attention interface") from error
    except InputError:
        raise
    except Exception as error:
        raise _unsupported(model, f"{type(error).__name__}: {error}") from error
    if keeps_state(model):  # beside attention, in the same layers
        raise _unsupported(model, "its layers also keep a running state")


def _unsupported(model: PreTrainedModel, why: str) -> InputError:
    """Return the error for a model that does not run on a shared prefix."""
    return InputError(
        f"model: {type(model).__name__} cannot be run with a shared prefix ({why}), so its attention is not of a "
        f"supported kind; set attribution.method=gradient, or choose another decoder"
    )


@torch.no_grad()
def check_prefix_logits(model: PreTrainedModel, head: Head) -> None:
    """Compare logits after a shared prefix with the model's own on a short text.

    A difference shows attention with biases, positions or caches that the shared prefix does not support. Nothing is
    compared if the model's own logits are NaN or infinite.

    Raises:
        InputError: they differ, or the model cannot be run with a shared prefix.
    """
    length, split = 24, 17
    ids = torch.arange(2 * length, device=device_of(model)).view(2, length) * 7919 + 13
    ids %= min(head.weight.shape[0], 50_000)
    expected = model(input_ids=ids, use_cache=False).logits[:, split:].to(at_least_float32(model.dtype))
    places = torch.arange(split, length, device=ids.device).expand(2, -1)
    try:
        prefixes = capture_prefix(model, ids[:, :split], torch.tensor([split, split], device=ids.device))
        with attending_to(model, prefixes):
            hidden = model.base_model(input_ids=ids[:, split:], position_ids=places, use_cache=False).last_hidden_state
            hidden = hidden.to(ids.device)
    except InputError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise _unsupported(model, f"{type(error).__name__}: {error}") from error
    found = head.logits(hidden.flatten(0, 1)).view_as(expected)
    # NaN or infinite logits come from broken weights, and the first pair's scores will report them
    finite = expected.isfinite()
    found, expected = found[finite], expected[finite]
    difference = float((found - expected).norm() / expected.norm()) if len(expected) else 0.0
    if not difference < TOLERANCE.get(model.dtype, 0.1):
        raise InputError(
            f"model: {type(model).__name__} run with a shared prefix gives logits that differ by {difference:.1e} "
            f"from its own, so its attention, positions or head are not of a supported kind; set "
            f"attribution.method=gradient, or choose another decoder"
        )
