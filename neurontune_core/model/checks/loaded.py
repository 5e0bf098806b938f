"""Check a loaded model: all weights found, none left over, all finite, and the same logits on every load."""

import re
from typing import Any

import torch
from transformers import PreTrainedModel

from neurontune_core.errors import InputError
from neurontune_core.model.checks.files import shown
from neurontune_core.model.devices import device_of, weight_of

_HARMLESS = re.compile(
    r".*(rotary_emb\.(inv|cos|sin)\w*|rope\.freqs|\.(masked_bias|position_ids)|\.attn\.bias)|mtp\..*"
)
"""Weights that may be left over: constants that older versions saved, heads that predict further tokens."""

_TOLERANCE = 0.05
"""Most difference between the logits of two loads, as a share of the largest: threads add in any order."""
_first_logits: dict[tuple[str, ...], torch.Tensor] = {}
"""The logits of each model when this process first loaded it."""


def check_loaded(loaded: tuple[PreTrainedModel, dict[str, Any]], name: str) -> PreTrainedModel:
    """Return a loaded model after checking that it is complete.

    Args:
        loaded: what `from_pretrained(..., output_loading_info=True)` gave: the model, and what became of each weight.
        name: what the model is called.

    Raises:
        InputError: a weight was missing, left over, of another shape, or holds NaN or infinity.
    """
    model, info = loaded
    check_fit(info, f"model.name: {shown(repr(name), 120)}")
    if problem := not_finite(model):
        raise InputError(
            f"model.name: {shown(repr(name), 120)}: {problem}; download or save the model again, or set model.dtype to "
            f"float32 if the numbers are too large for its format"
        )
    return model


def check_logits(model: PreTrainedModel, ids: list[int], name: str, load: tuple[str, ...]) -> None:
    """Check that a model's logits after a prompt are finite, not all equal, and the same on every load.

    Args:
        model: the model.
        ids: token ids of the prompt.
        name: what the model is called.
        load: identifies the model, its number format and its device.

    Raises:
        InputError: one of these does not hold.
    """
    where = f"model.name: {shown(repr(name), 120)}"
    tokens = torch.tensor([ids], device=device_of(model))
    with torch.inference_mode():
        first, again = (model(input_ids=tokens).logits[0, -1].float().cpu() for _ in range(2))
    if not torch.isfinite(first).all():
        raise InputError(
            f"{where}: gives logits that are not finite after a plain prompt; download or save the model again, or set "
            f"model.dtype to float32 if the numbers are too large for its format"
        )
    if first.max() == first.min():
        raise InputError(
            f"{where}: gives every next token the same probability, like a model without weights; download it again"
        )
    for other, when in ((again, "every time"), (_first_logits.setdefault(load, first), "every time it is loaded")):
        apart = float((first - other).abs().max())
        if apart > _TOLERANCE * max(1e-6, float(other.abs().max())):
            raise InputError(
                f"{where}: gives different logits {when} (by {apart:.3g}), so it is not deterministic, or its files "
                f"have changed meanwhile; download or save the model again, and start the run again"
            )


def check_fit(info: dict[str, Any], place: str) -> None:
    """Check that the weights fit the model, by transformers' report on loading them.

    Raises:
        InputError: a weight was missing, left over or of another shape; the message names the first ones.
    """
    if missing := sorted(info["missing_keys"]):
        raise InputError(f"{place}: lacks {_named(missing)}, which the model needs; download or save the model again")
    if mismatched := sorted(info["mismatched_keys"]):
        weight, stored, wanted = mismatched[0]
        raise InputError(
            f"{place}: {shown(weight, 100)!r} has the shape {list(stored)}, but config.json asks for {list(wanted)} "
            f"({len(mismatched)} such weights); use the files of one model"
        )
    if left := sorted(key for key in info["unexpected_keys"] if not _HARMLESS.fullmatch(key)):
        raise InputError(
            f"{place}: holds {_named(left)}, which the model of config.json does not have; use the files of one model"
        )


def not_finite(model: PreTrainedModel) -> str:
    """Return which weight of a model has NaN or infinity; "" if none has."""
    for name, weight in [*model.named_parameters(), *model.named_buffers()]:
        if not weight.is_floating_point() or weight.numel() == 0:
            continue
        module, _, own = name.rpartition(".")
        # minimum and maximum are NaN if any number is; unlike `isfinite` of all numbers, they take no memory
        ends = torch.stack(torch.aminmax(weight_of(model.get_submodule(module), own).detach()))
        if torch.isnan(ends).any():
            return f"{shown(name, 100)!r} holds NaN"
        # attention masks that older models keep as constants are infinite on purpose
        if torch.isinf(ends).any() and isinstance(weight, torch.nn.Parameter):
            return f"{shown(name, 100)!r} holds infinity in {str(weight.dtype).removeprefix('torch.')}"
    return ""


def _named(weights: list[str]) -> str:
    some = ", ".join(repr(shown(weight, 80)) for weight in weights[:2])
    return some if len(weights) <= 2 else f"{some} and {len(weights) - 2} more weights"
