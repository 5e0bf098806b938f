"""Where the neurons are: the only place that finds, captures, replaces or scales them.

A neuron is one input channel of an MLP's down projection: `act(gate(x)) * up(x)` in a gated MLP, `act(up(x))` in a
plain one. Down projections are found by structure, not by model name: within a decoder layer and outside its
attention, the one linear map that ends in the residual stream.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from neurontune_core.errors import InputError
from neurontune_core.records import NeuronSet, ScalingFactors


@dataclass(frozen=True)
class LayerCoverage:
    """What was found in one decoder layer: the down projection's path, layout and width, or why there is none."""

    layer: int
    path: str
    layout: str
    neurons: int
    problem: str


def decoder_layers(model: nn.Module) -> nn.ModuleList:
    """Return the list of decoder layers of the model, of its language part if it sees or hears as well.

    Raises:
        InputError: no list of `num_hidden_layers` layers is found.
    """
    return model.get_submodule(layers_path(model))  # type: ignore[return-value]


def layers_path(model: nn.Module) -> str:
    """Return where in the model its list of decoder layers is, as `model.layers`.

    Raises:
        InputError: no list of `num_hidden_layers` layers is found.
    """
    count = model.config.get_text_config().num_hidden_layers  # type: ignore[union-attr, operator]
    language = set(model.get_decoder().modules())  # type: ignore[operator]
    for path, module in model.named_modules():
        found = module in language and isinstance(module, nn.ModuleList) and len(module) == count
        if found and any(map(_has_attention, module)):
            return path
    raise InputError(f"model: {type(model).__name__} has no list of {count} decoder layers; it is not a decoder")


def coverage(model: nn.Module) -> list[LayerCoverage]:
    """Return, layer by layer, the down projection found or the reason why none was."""
    return [_cover(model, index, layer) for index, layer in enumerate(decoder_layers(model))]


def leave_out_uncovered(model: nn.Module) -> None:
    """Have layers without a single down projection left out of `model` from now on, instead of refused."""
    model.leaves_out_uncovered = True  # type: ignore[assignment]


def down_projections(model: nn.Module) -> dict[int, nn.Module]:
    """Return the down projection of every decoder layer, or of every covered one after `leave_out_uncovered`.

    Raises:
        InputError: a layer has no single down projection; the message names every such layer and the reason.
    """
    rows = coverage(model)
    covered = [row for row in rows if not row.problem]
    problems = [f"layer {row.layer}: {row.problem}" for row in rows if row.problem]
    if problems and not (covered and getattr(model, "leaves_out_uncovered", False)):
        raise InputError(
            f"model: no MLP neurons found in {len(problems)} of {len(rows)} layers of {type(model).__name__} "
            f"({'; '.join(problems[:4])}); run `neurontune coverage` to see every layer; choose a dense decoder, "
            f"or set model.skip_uncovered_layers=true if some layers are covered"
        )
    layers = decoder_layers(model)
    return {row.layer: layers[row.layer].get_submodule(row.path) for row in covered}


def neuron_counts(model: nn.Module) -> list[int]:
    """Return the number of neurons of every layer, `[layer]`; 0 in a layer that has none that can be scaled.

    Args:
        model: a decoder of transformers.
    """
    modules = down_projections(model)
    return [_width(modules[layer]) if layer in modules else 0 for layer in range(len(decoder_layers(model)))]


@contextmanager
def captured(model: nn.Module, keep: Callable[[Tensor], Tensor] = lambda values: values) -> Iterator[dict[int, Tensor]]:
    """Collect neuron activations `[batch, position, neuron]` of every layer, detached, reduced by `keep`."""
    store: dict[int, Tensor] = {}

    def hook_for(layer: int) -> Callable[[Tensor], Tensor]:
        def observe(values: Tensor) -> Tensor:
            store[layer] = keep(values.detach())
            return values

        return observe

    with edited(model, {layer: hook_for(layer) for layer in down_projections(model)}):
        yield store


@contextmanager
def edited(model: nn.Module, edits: dict[int, Callable[[Tensor], Tensor]]) -> Iterator[None]:
    """Pass the activations `[batch, position, neuron]` of the given layers through functions; undone on exit."""
    modules, layers = down_projections(model), decoder_layers(model)
    with ExitStack() as stack:
        for layer, edit in edits.items():
            watch, hook = _edit_hooks(edit)
            stack.callback(layers[layer].register_forward_pre_hook(watch, with_kwargs=True).remove)
            stack.callback(modules[layer].register_forward_pre_hook(hook).remove)
        yield


@contextmanager
def scaled(model: nn.Module, neurons: NeuronSet, alpha: Tensor) -> Iterator[None]:
    """Multiply every selected neuron's activation by its factor: `a_j <- alpha_j a_j` (section 3.4 of the paper).

    Args:
        model: the model to modulate.
        neurons: the selected neurons; `alpha` is in the order of `neurons.all`.
        alpha: factors `[neuron]`, or `[row, neuron]` for a batch whose rows have their own; gradients flow into it.

    Raises:
        InputError: the model has no such neuron.
    """
    widths = neuron_counts(model)
    edits: dict[int, Callable[[Tensor], Tensor]] = {}
    for layer, (indices, places) in _by_layer(neurons, widths).items():
        index = torch.tensor(indices, device=alpha.device)
        factors = alpha[..., torch.tensor(places, device=alpha.device)]
        edits[layer] = lambda values, factors=factors, index=index: _Scale.apply(values, factors, index)  # type: ignore[misc]
    with edited(model, edits):
        yield


@contextmanager
def replaced(model: nn.Module, neurons: NeuronSet, values: Tensor, last_position: bool = False) -> Iterator[None]:
    """Set every selected neuron's activation to a value: `a_j <- values_j`.

    Args:
        model: the model to change.
        neurons: the selected neurons; `values` is in the order of `neurons.all`.
        values: activations `[neuron]`, or `[row, neuron]` for a batch whose rows have their own.
        last_position: at the last position of what goes through the model alone, not at all of them.

    Raises:
        InputError: the model has no such neuron.
    """
    edits: dict[int, Callable[[Tensor], Tensor]] = {}
    for layer, (indices, places) in _by_layer(neurons, neuron_counts(model)).items():
        index = torch.tensor(indices, device=values.device)
        mine = values[..., torch.tensor(places, device=values.device)]
        edits[layer] = partial(_replace, index=index, values=mine, last_position=last_position)
    with edited(model, edits):
        yield


def _replace(activations: Tensor, index: Tensor, values: Tensor, last_position: bool) -> Tensor:
    """Return activations `[batch, position, neuron]` with those of `index` set to `[selected]`, `[batch, selected]`."""
    kept, changed = activations.split([activations.shape[1] - 1, 1], 1) if last_position else (None, activations)
    wanted = (values if values.dim() == 1 else values[:, None]).to(changed.dtype)
    changed = changed.index_copy(-1, index, wanted.expand(*changed.shape[:-1], len(index)))
    return changed if kept is None else torch.cat([kept, changed], dim=1)


class _Scale(torch.autograd.Function):
    """`a_j <- a_j + (alpha_j - 1) a_j` for the selected neurons: bfloat16 has 0.003, though no 1.003.

    So nothing is multiplied in a wider format, and only selected neurons' activations are summed for the gradient.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, factors: Tensor, index: Tensor) -> Tensor:
        """Scale values `[batch, position, neuron]` by factors `[selected]` or `[batch, selected]`."""
        ctx.save_for_backward(values, factors, index)
        return _scaled_by(values, factors, index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Return the gradients of values and factors, themselves differentiable."""
        values, factors, index = ctx.saved_tensors
        of_values = _scaled_by(gradient, factors, index) if ctx.needs_input_grad[0] else None
        of_factors = None
        if ctx.needs_input_grad[1]:
            each = gradient.index_select(-1, index).to(factors.dtype) * values.index_select(-1, index)
            of_factors = each.sum(1 if factors.dim() == 2 else (0, 1))
        return of_values, of_factors, None


def _scaled_by(values: Tensor, factors: Tensor, index: Tensor) -> Tensor:
    precise = factors.to(torch.promote_types(factors.dtype, values.dtype))
    shifts = values.new_zeros(*factors.shape[:-1], values.shape[-1])
    shifts = shifts.index_copy(-1, index, (precise - 1).to(values.dtype))
    return torch.addcmul(values, values, shifts if factors.dim() == 1 else shifts[:, None])


@contextmanager
def modulated(model: nn.Module, scaling: ScalingFactors, strength: float = 1.0) -> Iterator[None]:
    """Scale selected neurons by `1 + strength (alpha - 1)` while inside; undone on exit, after an error too.

    Args:
        model: the base model.
        scaling: the factors.
        strength: without unit: 0 is the base model, 1 the tuned one.

    Raises:
        InputError: the model has no such neuron.
    """
    alpha = torch.from_numpy(scaling.alpha).to(next(model.parameters()).device)
    with scaled(model, scaling.neurons, 1 + strength * (alpha - 1)):
        yield


def fold(model: nn.Module, scaling: ScalingFactors) -> None:
    """Multiply the selected columns of the down projections by their factors, in place: the deployed form.

    Scaling neuron j by alpha_j equals scaling column j of the down projection, so the folded model needs no hook.

    Args:
        model: the base model, changed in place.
        scaling: the factors.

    Raises:
        InputError: the model has no such neuron.
    """
    modules = down_projections(model)
    with torch.no_grad():
        for layer, (indices, places) in _by_layer(scaling.neurons, neuron_counts(model)).items():
            weight = modules[layer].weight
            assert isinstance(weight, Tensor)
            factors = torch.from_numpy(scaling.alpha[places]).to(weight.device, torch.float32)
            if isinstance(modules[layer], Conv1D):
                weight[indices, :] = (weight[indices, :].float() * factors[:, None]).to(weight.dtype)
            else:
                weight[:, indices] = (weight[:, indices].float() * factors).to(weight.dtype)


def _edit_hooks(edit: Callable[[Tensor], Tensor]) -> tuple[Callable[..., None], Callable[..., Tensor]]:
    """Return a hook for the decoder layer and one for its down projection, which applies the edit."""
    positions = 0

    def watch(module: nn.Module, inputs: tuple[Any, ...], settings: dict[str, Any]) -> None:
        nonlocal positions
        positions = (settings["hidden_states"] if "hidden_states" in settings else inputs[0]).shape[1]

    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        values = inputs[0]
        if values.dim() == 3:
            return edit(values)
        # some decoders (OPT) join batch and position before their MLP
        return edit(values.view(-1, positions, values.shape[-1])).flatten(0, 1)

    return watch, hook


def _by_layer(neurons: NeuronSet, widths: Sequence[int]) -> dict[int, tuple[list[int], list[int]]]:
    """Group neurons by layer: their indices, and their places in `neurons.all`."""
    groups: dict[int, tuple[list[int], list[int]]] = {}
    for place, neuron in enumerate(neurons.all):
        if not (0 <= neuron.layer < len(widths) and 0 <= neuron.index < widths[neuron.layer]):
            raise InputError(
                f"neurons: the model has no neuron {neuron.index} in layer {neuron.layer}; use the model they were "
                f"selected on"
            )
        indices, places = groups.setdefault(neuron.layer, ([], []))
        indices.append(neuron.index)
        places.append(place)
    return groups


def _cover(model: nn.Module, index: int, layer: nn.Module) -> LayerCoverage:
    hidden = model.config.get_text_config().hidden_size  # type: ignore[union-attr, operator]
    expert_paths = [path for path, module in layer.named_modules() if _is_expert_bank(module)]
    if expert_paths:
        problem = f"mixture of experts at {expert_paths[0]!r}, which is not supported"
        return LayerCoverage(index, expert_paths[0], "experts", 0, problem)
    found = [
        (path, module)
        for path, module in layer.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and _outputs(module) == hidden and "att" not in path.lower()
    ]
    if not found:
        problem = f"no linear map to the residual stream (width {hidden}) outside attention"
        return LayerCoverage(index, "", "", 0, problem)
    if len(found) > 1 and (named := [item for item in found if _width(item[1]) != hidden]):
        found = named  # an up projection as wide as the residual stream: the down projection has the other input
    if len(found) > 1:
        return LayerCoverage(index, "", "", 0, f"several candidates: {', '.join(path for path, _ in found)}")
    path, module = found[0]
    return LayerCoverage(index, path, type(module).__name__, _width(module), "")


def _has_attention(layer: nn.Module) -> bool:
    return any("att" in name.lower() for name, _ in layer.named_children())


def _is_expert_bank(module: nn.Module) -> bool:
    parameters: Sequence[Tensor] = list(module.parameters(recurse=False))
    stacked = any(parameter.dim() == 3 for parameter in parameters) and not isinstance(module, nn.Conv1d)
    return stacked or (
        isinstance(module, nn.ModuleList) and len(module) > 1 and all(any(True for _ in m.parameters()) for m in module)
    )


def _outputs(module: nn.Module) -> int:
    return module.weight.shape[1 if isinstance(module, Conv1D) else 0]  # type: ignore[index, return-value]


def _width(module: nn.Module) -> int:
    return module.weight.shape[0 if isinstance(module, Conv1D) else 1]  # type: ignore[index, return-value]
