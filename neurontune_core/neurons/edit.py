"""Capture the neurons of a running model, pass them through functions, or set them to values; undone on exit."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from neurontune_core.errors import InputError
from neurontune_core.experts import Edit, Routing, edited_experts
from neurontune_core.model.devices import device_of
from neurontune_core.neurons.find import Bank, banks, decoder_layers, neuron_counts
from neurontune_core.records import NeuronSet


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
                # layers may be on several devices; the kept values are collected on the first one
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
    for bank, (indices, places) in by_bank(model, neurons).items():
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


class _Watch:
    """A hook on a decoder layer that stores the sequence length, for MLPs that flatten batch and position."""

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


def by_bank(model: nn.Module, neurons: NeuronSet) -> dict[Bank, tuple[list[int], list[int]]]:
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
