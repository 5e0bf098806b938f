"""Where the neurons are: the only place that finds, captures, replaces or scales them.

A neuron is one input channel of an MLP's down projection: `act(gate(x)) * up(x)` in a gated MLP, `act(up(x))` in a
plain one. Down projections are found by structure, not by model name: within a decoder layer and outside its
attention, the one linear map that ends in the residual stream. In a mixture of experts these are the down projections
of all experts, and of the shared expert if there is one. Its neurons are numbered expert by expert, those of the shared
expert last; a neuron of an expert that a token is not routed to is 0 there.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from neurontune_core.errors import InputError
from neurontune_core.experts import Edit, Routing, edited_experts, is_routed, outputs_and_width
from neurontune_core.model.devices import device_of, is_quantised, weight_of
from neurontune_core.records import NeuronSet, ScalingFactors


@dataclass(frozen=True)
class LayerCoverage:
    """What was found in one decoder layer: the down projection's path, layout and width, or why there is none.

    `experts` is the number of routed experts and `expert_neurons` how many neurons each has; 0 in a dense layer.
    """

    layer: int
    path: str
    layout: str
    neurons: int
    problem: str
    experts: int = 0
    expert_neurons: int = 0


@dataclass(frozen=True)
class Bank:
    """A module that reads neurons of a layer: a down projection, or all routed experts of the layer.

    Attributes:
        layer: the decoder layer.
        path: of the module, within the layer.
        start: which neuron of the layer is its first.
        count: number of experts; 1 for a single down projection.
        width: neurons of each.
        routed: whether each token is sent to some of the experts.
    """

    layer: int
    path: str
    start: int
    count: int
    width: int
    routed: bool

    @property
    def places(self) -> slice:
        """Which neurons of the layer it has."""
        return slice(self.start, self.start + self.count * self.width)


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
    """Return, layer by layer, the down projection or the experts found, or the reason why none was."""
    return [_row(index, layer, *_cover(model, index, layer)) for index, layer in enumerate(decoder_layers(model))]


def leave_out_uncovered(model: nn.Module) -> None:
    """Make `banks` skip layers of `model` without a down projection, instead of raising an error."""
    model.leaves_out_uncovered = True  # type: ignore[assignment]


def banks(model: nn.Module) -> dict[int, list[Bank]]:
    """Return the banks of every decoder layer, or of every covered one after `leave_out_uncovered`.

    Raises:
        InputError: a layer has no MLP neurons; the message names every such layer and the reason.
    """
    found = {index: _cover(model, index, layer) for index, layer in enumerate(decoder_layers(model))}
    covered = {layer: mine for layer, (mine, problem) in found.items() if not problem}
    problems = [f"layer {layer}: {problem}" for layer, (_, problem) in found.items() if problem]
    if problems and not (covered and getattr(model, "leaves_out_uncovered", False)):
        raise InputError(
            f"model: no MLP neurons found in {len(problems)} of {len(found)} layers of {type(model).__name__} "
            f"({'; '.join(problems[:4])}); run `neurontune coverage` to see every layer; choose another decoder, "
            f"or set model.skip_uncovered_layers=true if some layers are covered"
        )
    return covered


def down_projections(model: nn.Module) -> dict[int, nn.Module]:
    """Return the down projection of every layer of a dense model, as `banks` chooses the layers.

    Raises:
        InputError: a layer has no MLP neurons, or several experts.
    """
    found = banks(model)
    for layer, mine in found.items():
        if len(mine) > 1 or mine[0].routed:
            raise InputError(
                f"model: layer {layer} of {type(model).__name__} has no single down projection, but experts"
            )
    return {layer: bank_module(model, mine[0]) for layer, mine in found.items()}


def bank_module(model: nn.Module, bank: Bank) -> nn.Module:
    """Return the module of a bank."""
    return decoder_layers(model)[bank.layer].get_submodule(bank.path)


def output_weights(model: nn.Module) -> dict[Bank, Tensor]:
    """Return the output weights of each bank, which map neurons to the residual stream; all experts in one tensor."""
    modules = {bank: bank_module(model, bank) for mine in banks(model).values() for bank in mine}
    return {bank: weight_of(module, "down_proj" if bank.routed else "weight") for bank, module in modules.items()}


def output_column(module: nn.Module, bank: Bank, index: int) -> Tensor:
    """Return a view of a neuron's output weights `[hidden]`; `index` counts within the bank."""
    if bank.routed:
        expert, place = divmod(index, bank.width)
        weight = weight_of(module, "down_proj")[expert]
        return weight[place] if module.is_transposed else weight[:, place]
    weight = weight_of(module)
    return weight[index] if isinstance(module, Conv1D) else weight[:, index]


def neuron_counts(model: nn.Module) -> list[int]:
    """Return the number of neurons of every layer, `[layer]`; 0 in a layer that has none that can be scaled.

    Args:
        model: a decoder of transformers.
    """
    found = banks(model)
    return [found[layer][-1].places.stop if layer in found else 0 for layer in range(len(decoder_layers(model)))]


def expert_counts(model: nn.Module) -> list[tuple[int, int]]:
    """Return the routed experts of every layer and the neurons of each, `(0, 0)` in a layer without experts."""
    rows = coverage(model)
    return [(0, 0) if row.problem else (row.experts, row.expert_neurons) for row in rows]


@contextmanager
def captured(model: nn.Module, keep: Callable[[Tensor], Tensor] = lambda values: values) -> Iterator[dict[int, Tensor]]:
    """Collect neuron activations `[batch, position, neuron]` of every layer, detached, reduced by `keep`."""
    store: dict[int, Tensor] = {}
    found, home = banks(model), device_of(model)

    def observer(bank: Bank) -> Edit:
        waiting: dict[int, Tensor] = seen[bank.layer]

        def observe(values: Tensor, routing: Routing) -> Tensor:
            waiting[bank.start] = routing.spread(values.detach())
            if len(waiting) == len(found[bank.layer]):
                parts = [waiting[start] for start in sorted(waiting)]
                waiting.clear()
                # layers may be on several devices: what is kept comes together on the first one
                store[bank.layer] = keep(parts[0] if len(parts) == 1 else torch.cat(parts, -1)).to(home)
            return values

        return observe

    seen: dict[int, dict[int, Tensor]] = {layer: {} for layer in found}
    with edited_banks(model, {bank: observer(bank) for mine in found.values() for bank in mine}):
        yield store


@contextmanager
def edited(model: nn.Module, edits: dict[int, Callable[[Tensor], Tensor]]) -> Iterator[None]:
    """Pass the activations `[batch, position, neuron]` of the given layers through functions; undone on exit.

    In a layer with a shared expert the function is called twice, for the routed and for the shared neurons; the other
    part is 0 in each call.
    """
    widths = neuron_counts(model)
    changes = {
        bank: partial(_edit_whole, edits[layer], bank, widths[layer])
        for layer, mine in banks(model).items()
        for bank in mine
        if layer in edits
    }
    with edited_banks(model, changes):
        yield


def _edit_whole(edit: Callable[[Tensor], Tensor], bank: Bank, neurons: int, values: Tensor, routing: Routing) -> Tensor:
    if not bank.routed and bank.width == neurons:
        return edit(values)
    places = bank.places
    whole = nn.functional.pad(routing.spread(values), (places.start, neurons - places.stop))
    return routing.take(edit(whole)[..., places])


@contextmanager
def edited_banks(model: nn.Module, edits: Mapping[Bank, Edit]) -> Iterator[None]:
    """Pass the activations of banks through functions `(activations, routing)`; undone on exit."""
    layers = decoder_layers(model)
    with ExitStack() as stack:
        for bank, edit in edits.items():
            module, watch = layers[bank.layer].get_submodule(bank.path), _Watch()
            stack.callback(layers[bank.layer].register_forward_pre_hook(watch, with_kwargs=True).remove)
            if bank.routed:
                stack.enter_context(edited_experts(module, edit, lambda watch=watch: watch.positions))  # type: ignore[misc]
            else:
                stack.callback(module.register_forward_pre_hook(_edit_hook(edit, bank, watch)).remove)
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
    edits: dict[Bank, Edit] = {}
    for bank, (indices, places) in _by_bank(model, neurons).items():
        index = torch.tensor(indices, device=alpha.device)
        factors = alpha[..., torch.tensor(places, device=alpha.device)]
        edits[bank] = partial(_scale, factors=factors, index=index)
    with edited_banks(model, edits):
        yield


def _scale(values: Tensor, routing: Routing, factors: Tensor, index: Tensor) -> Tensor:
    return _Scale.apply(values, factors.to(values.device), index.to(values.device), routing)


@contextmanager
def replaced(model: nn.Module, neurons: NeuronSet, values: Tensor, last_position: bool = False) -> Iterator[None]:
    """Set every selected neuron's activation to a value: `a_j <- values_j`.

    Args:
        model: the model to change.
        neurons: the selected neurons; `values` is in the order of `neurons.all`.
        values: activations `[neuron]`, or `[row, neuron]` for a batch whose rows have their own.
        last_position: replace only at the last position of the input; by default at every position.

    Raises:
        InputError: the model has no such neuron.
    """
    edits: dict[Bank, Edit] = {}
    for bank, (indices, places) in _by_bank(model, neurons).items():
        index = torch.tensor(indices, device=values.device)
        mine = values[..., torch.tensor(places, device=values.device)]
        edits[bank] = partial(_replace, index=index, values=mine, last_position=last_position)
    with edited_banks(model, edits):
        yield


def _replace(activations: Tensor, routing: Routing, index: Tensor, values: Tensor, last_position: bool) -> Tensor:
    """Return activations with the neurons of `index` set to `[selected]` or `[batch, selected]`."""
    index, values = index.to(activations.device), values.to(activations.device)
    before = activations.shape[1] - 1 if last_position else 0
    kept, changed = activations[:, :before], activations[:, before:]
    routing = routing.part(slice(None), slice(before, None))
    neurons = routing.count * routing.width
    wanted = changed.new_zeros(*values.shape[:-1], neurons).index_copy(-1, index, values.to(changed.dtype))
    chosen = torch.zeros(neurons, dtype=torch.bool, device=changed.device).index_fill(0, index, True)
    changed = torch.where(routing.take(chosen), routing.take(wanted), changed)
    return torch.cat([kept, changed], dim=1) if before else changed


class _Scale(torch.autograd.Function):
    """`a_j <- a_j + (alpha_j - 1) a_j` for the selected neurons.

    bfloat16 can represent alpha - 1 = 0.003 but not alpha = 1.003, so this form is exact enough without a wider format.
    Only the selected neurons' activations are summed for the gradient.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, factors: Tensor, index: Tensor, routing: Routing) -> Tensor:
        """Scale activations `[batch, position, channel]` by factors `[selected]` or `[batch, selected]`."""
        ctx.save_for_backward(values, factors, index)
        ctx.routing = routing
        return _scaled_by(values, factors, index, routing)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Return the gradients of values and factors, themselves differentiable."""
        values, factors, index = ctx.saved_tensors
        routing: Routing = ctx.routing
        of_values = _scaled_by(gradient, factors, index, routing) if ctx.needs_input_grad[0] else None
        of_factors = None
        if ctx.needs_input_grad[1]:
            by_row = factors.dim() == 2
            if routing.experts is None:
                each = gradient.index_select(-1, index).to(factors.dtype) * values.index_select(-1, index)
                of_factors = routing.total(each, by_row)
            else:
                of_factors = routing.total(gradient.to(factors.dtype) * values, by_row).index_select(-1, index)
        return of_values, of_factors, None, None


def _scaled_by(values: Tensor, factors: Tensor, index: Tensor, routing: Routing) -> Tensor:
    precise = factors.to(torch.promote_types(factors.dtype, values.dtype))
    shifts = values.new_zeros(*factors.shape[:-1], routing.count * routing.width)
    shifts = shifts.index_copy(-1, index, (precise - 1).to(values.dtype))
    return torch.addcmul(values, values, routing.take(shifts))


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
    alpha = torch.from_numpy(scaling.alpha)
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
    with torch.no_grad():
        for bank, (indices, places) in _by_bank(model, scaling.neurons).items():
            module = bank_module(model, bank)
            if any(weight.is_meta or is_quantised(weight) for weight in module.parameters()):
                raise InputError(
                    "model: its weights are offloaded or quantised, so factors cannot be folded in; load it whole"
                )
            for index, factor in zip(indices, scaling.alpha[places].tolist(), strict=True):
                column = output_column(module, bank, index)
                column.copy_(column.float() * factor)


class _Watch:
    """A hook on a decoder layer that notes the sequence length, for MLPs that flatten batch and position."""

    positions = 0

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], settings: dict[str, Any]) -> None:
        self.positions = (settings["hidden_states"] if "hidden_states" in settings else inputs[0]).shape[1]


def _edit_hook(edit: Edit, bank: Bank, watch: _Watch) -> Callable[..., Tensor]:
    """Return a hook for a down projection, which applies the edit."""
    routing = Routing(bank.width)

    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        values = inputs[0]
        if values.dim() == 3:
            return edit(values, routing)
        # some decoders (OPT) join batch and position before their MLP
        return edit(values.view(-1, watch.positions, values.shape[-1]), routing).flatten(0, 1)

    return hook


def _by_bank(model: nn.Module, neurons: NeuronSet) -> dict[Bank, tuple[list[int], list[int]]]:
    """Group neurons by bank: their indices within it, and their places in `neurons.all`."""
    found = banks(model)
    groups: dict[Bank, tuple[list[int], list[int]]] = {}
    for place, neuron in enumerate(neurons.all):
        mine = [bank for bank in found.get(neuron.layer, []) if bank.places.start <= neuron.index < bank.places.stop]
        if not mine:
            raise InputError(
                f"neurons: the model has no neuron {neuron.index} in layer {neuron.layer}; use the model they were "
                f"selected on"
            )
        indices, places = groups.setdefault(mine[0], ([], []))
        indices.append(neuron.index - mine[0].start)
        places.append(place)
    return groups


def _row(index: int, layer: nn.Module, found: list[Bank], problem: str) -> LayerCoverage:
    if problem or not found:
        return LayerCoverage(index, "", "", 0, problem)
    total, path = found[-1].places.stop, ", ".join(bank.path for bank in found)
    if not found[0].routed:
        return LayerCoverage(index, path, type(layer.get_submodule(path)).__name__, total, "")
    experts = found[0]
    shared = "".join(f", a shared one of {bank.width}" for bank in found[1:])
    layout = f"{experts.count} experts of {experts.width}{shared}"
    return LayerCoverage(index, path, layout, total, "", experts.count, experts.width)


def _cover(model: nn.Module, index: int, layer: nn.Module) -> tuple[list[Bank], str]:
    """Return the banks of a layer, or the reason why none was found."""
    hidden = model.config.get_text_config().hidden_size  # type: ignore[union-attr, operator]
    stacks = [(path, module) for path, module in layer.named_modules() if _is_expert_bank(module)]
    if stacks and (problem := _problem_of_experts(stacks, hidden)):
        return [], problem
    found = [
        (path, module)
        for path, module in layer.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and _outputs(module) == hidden and "att" not in path.lower()
    ]
    if not found and not stacks:
        return [], f"no linear map to the residual stream (width {hidden}) outside attention"
    if len(found) > 1 and (named := [item for item in found if _width(item[1]) != hidden]):
        found = named  # an up projection as wide as the residual stream: the down projection has the other input
    if len(found) > 1:
        beside = f" beside the experts at {stacks[0][0]!r}" if stacks else ""
        return [], f"several candidates{beside}: {', '.join(path for path, _ in found)}"
    result = []
    for path, module in stacks:
        width = outputs_and_width(module)[1]
        result.append(Bank(index, path, 0, module.down_proj.shape[0], width, True))
    for path, module in found:
        result.append(Bank(index, path, result[-1].places.stop if result else 0, 1, _width(module), False))
    return result, ""


def _problem_of_experts(stacks: Sequence[tuple[str, nn.Module]], hidden: int) -> str:
    """Return why the neurons of a layer's experts cannot be changed, "" if they can."""
    path, module = stacks[0]
    if len(stacks) > 1:
        return f"several mixtures of experts: {', '.join(path for path, _ in stacks)}"
    if not is_routed(module):
        return (
            f"mixture of experts at {path!r} ({type(module).__name__}), whose code does not go through transformers' "
            f"interface for experts"
        )
    if outputs_and_width(module)[0] != hidden:
        return (
            f"mixture of experts at {path!r}, which writes to {outputs_and_width(module)[0]} channels and not to the "
            f"residual stream (width {hidden})"
        )
    return ""


def _has_attention(layer: nn.Module) -> bool:
    return any("att" in name.lower() for name, _ in layer.named_children())


def _is_expert_bank(module: nn.Module) -> bool:
    parameters: Sequence[Tensor] = list(module.parameters(recurse=False))
    stacked = any(parameter.dim() == 3 for parameter in parameters) and not isinstance(module, nn.Conv1d)
    return stacked or (
        isinstance(module, nn.ModuleList) and len(module) > 1 and all(any(True for _ in m.parameters()) for m in module)
    )


def _outputs(module: nn.Module) -> int:
    return int(module.weight.shape[1 if isinstance(module, Conv1D) else 0])  # type: ignore[index]


def _width(module: nn.Module) -> int:
    return int(module.weight.shape[0 if isinstance(module, Conv1D) else 1])  # type: ignore[index]
