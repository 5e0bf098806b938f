"""One forward and one backward pass that give the gradients of every layer at every point of its path.

Before decoder layer l, S copies of the clean row join the batch; at layer l's down projection their activations are
replaced by the S points `v_q + t_s (v_pq - v_q)`, which are leaves of the autograd graph. Rows do not influence one
another, so one backward pass of the summed log-probabilities gives every row its own gradient. At the path's end,
t = 1, the row equals the clean row, so this point needs no copy in any layer. The model runs its own forward code under
hooks, and no tensor is edited in place.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from neurontune_core.attribution.attention import Prefix
from neurontune_core.attribution.encode import Batch
from neurontune_core.attribution.precision import at_least_float32, widest
from neurontune_core.attribution.prefix import attending_to, capture_prefix
from neurontune_core.attribution.response_head import response_log_probability
from neurontune_core.experts import Routing
from neurontune_core.model.head import Head
from neurontune_core.neurons import Bank, banks, captured, decoder_layers, edited_banks


@dataclass(frozen=True)
class Context:
    """The data that all waves of a batch share, computed once.

    `query_values[l]` `[pair, position, neuron]` are the activations v_q, at one position (the last of the prompt) or at
    all positions that predict the response.
    """

    batch: Batch
    prefixes: list[Prefix] | None
    query_values: dict[int, Tensor]

    @property
    def path_positions(self) -> int:
        """Number of positions that move along the path."""
        return next(iter(self.query_values.values())).shape[1]

    def covered(self, layers: Sequence[int]) -> list[int]:
        """Return which of the layers have neurons."""
        return [layer for layer in layers if layer in self.query_values]


@dataclass(frozen=True)
class Wave:
    """The layers and the points of the path, in [0, 1], that run together; both ascending."""

    layers: Sequence[int]
    points: tuple[float, ...]

    @property
    def moving(self) -> tuple[float, ...]:
        """The points that need their own rows: all but the path's end."""
        return tuple(point for point in self.points if point < 1.0)


@dataclass(frozen=True)
class WaveResult:
    """The result of a wave.

    Attributes:
        layers: the layers of the wave that have neurons.
        clean: log-probability of the response after the attacked prompt, float64 `[pair]`.
        log_probability: the same at every point of these layers' paths, float64 `[layer, point, pair]`.
        contribution: `(v_pq - v_q)_i * d log P / d v_i` summed over positions, `[point, pair, neuron]` for each of
            `layers`; empty if no gradient was requested.
    """

    layers: list[int]
    clean: Tensor
    log_probability: Tensor
    contribution: list[Tensor]


def make_context(model: PreTrainedModel, batch: Batch, every_position: bool) -> Context:
    """Encode the prefixes of a batch and capture the activations v_q of its plain queries."""
    steps = batch.row.shape[1] if every_position else 1
    # indices of padding must stay in range; the values read there are masked out later
    places = (batch.query_ends[:, None] + torch.arange(steps, device=batch.row.device)).clamp_max(
        batch.query.shape[1] - 1
    )

    def keep(values: Tensor) -> Tensor:
        return values.gather(1, places[:, :, None].expand(-1, -1, values.shape[2]).to(values.device))

    query = batch.query[:, : int(places.max()) + 1]
    with torch.no_grad(), captured(model, keep) as values:
        model.base_model(input_ids=query, position_ids=_numbered(query), use_cache=False)
    prefixes = capture_prefix(model, batch.prefix, batch.lengths) if batch.prefix.shape[1] else None
    return Context(batch, prefixes, values)


def run_wave(
    model: PreTrainedModel, head: Head, context: Context, wave: Wave, with_gradient: bool = True
) -> WaveResult:
    """Run one wave.

    Args:
        model: the model, its weights without gradients.
        head: the model's map to logits.
        context: the result of `make_context`.
        wave: layers and points.
        with_gradient: if False, only the forward pass is run, and there are no contributions.
    """
    batch, pairs = context.batch, context.batch.row.shape[0]
    chosen = context.covered(wave.layers)
    paths = _Paths(context, wave, with_gradient)
    found = banks(model)
    edits = {bank: partial(paths.replace, bank) for layer in chosen for bank in found[layer]}
    with ExitStack() as stack:
        stack.enter_context(torch.set_grad_enabled(with_gradient))
        stack.enter_context(attending_to(model, context.prefixes))
        for index, layer in enumerate(decoder_layers(model)):
            hook = _joining(pairs, len(wave.moving) if index in chosen else 0)
            stack.callback(layer.register_forward_pre_hook(hook, with_kwargs=True).remove)
        stack.enter_context(edited_banks(model, edits))
        output = model.base_model(input_ids=batch.row, position_ids=batch.positions, use_cache=False)
        hidden = output.last_hidden_state.to(batch.row.device)
    copies = hidden.shape[0] // pairs
    values, gradient = response_log_probability(
        head, hidden.detach(), batch.targets.repeat(copies, 1), batch.mask.repeat(copies, 1), with_gradient
    )
    clean = values[:pairs]
    logs = values[pairs:].view(len(chosen), len(wave.moving), pairs)
    if len(wave.moving) < len(wave.points):
        logs = torch.cat([logs, clean.expand(len(chosen), 1, pairs)], 1)
    each = {} if gradient is None else paths.contributions(hidden, gradient, values.dtype)
    contribution = [torch.cat([each[bank] for bank in found[layer]], -1) for layer in chosen] if each else []
    return WaveResult(chosen, clean, logs, contribution)


class _Paths:
    """Computes the points of a wave's paths, layer by layer, as soon as the clean activations are known."""

    def __init__(self, context: Context, wave: Wave, with_gradient: bool) -> None:
        self.context, self.wave, self.with_gradient = context, wave, with_gradient
        self.places: dict[Bank, list[tuple[Tensor, Callable[[Tensor], Tensor]]]] = {}
        self.changes: dict[Bank, Tensor] = {}
        device = context.batch.row.device
        # made before the wave, because a copy from a list to a GPU waits for the layers before it
        self.times = torch.tensor(wave.moving, dtype=widest(device), device=device)[:, None, None, None]

    def replace(self, bank: Bank, values: Tensor, routing: Routing) -> Tensor:
        """Return a bank's activations `[row, position, channel]` with its layer's newly joined rows on the path.

        In a mixture of experts, a token moves along the path only in the neurons of experts to which it is routed.
        """
        pairs, steps = self.context.batch.row.shape[0], self.context.path_positions
        moving, ends = self.wave.moving, len(self.wave.moving) < len(self.wave.points)
        precise = at_least_float32(values.dtype)
        start = self.context.query_values[bank.layer][..., bank.places].to(values.device, precise)
        clean, clean_routing = values[:pairs, :steps], routing.part(slice(pairs), slice(steps))
        change = clean_routing.spread(clean.detach().to(precise)) - start
        if steps > 1:
            change = change * self.context.batch.mask[:, :, None].to(change.device)
        times = self.times.to(values.device, precise)
        leaf = (start + times * change).flatten(0, 1).to(values.dtype).requires_grad_(self.with_gradient)
        self.changes[bank] = change
        self.places[bank] = [(leaf, _unchanged)] if moving else []
        kept = values.shape[0] - leaf.shape[0]
        placed = routing.part(slice(kept, None), slice(steps)).take(leaf)
        parts = [values[:kept], torch.cat([placed, values[kept:, steps:].detach()], 1)]
        if ends and self.with_gradient:
            # the first layer's clean activations are a leaf, and later ones depend on them, so both have gradients
            clean = clean if clean.requires_grad else clean.detach().requires_grad_(True)
            self.places[bank].append((clean, clean_routing.spread))
            parts = [torch.cat([clean, values[:pairs, steps:]], 1), values[pairs:kept], parts[1]]
        return torch.cat(parts)

    def contributions(self, hidden: Tensor, gradient: Tensor, dtype: torch.dtype) -> dict[Bank, Tensor]:
        """Return `(v_pq - v_q)_i * d log P / d v_i` summed over positions, `[point, pair, neuron]` for each bank."""
        wanted = [place for places in self.places.values() for place, _ in places]
        gradients = iter(torch.autograd.grad(hidden, wanted, gradient) if wanted else ())
        result = {}
        for bank, change in self.changes.items():
            slopes = torch.cat([spread(next(gradients)) for _, spread in self.places[bank]])
            # the change is the same at every point of a path: [pair, position, neuron], against [point * pair, ...]
            each = slopes.view(len(self.wave.points), *change.shape).to(change.dtype) * change
            result[bank] = each.sum(2, dtype=dtype).to(hidden.device)
        return result


def _unchanged(values: Tensor) -> Tensor:
    return values


def _joining(pairs: int, copies: int) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], Any]:
    """Return a hook that adds `copies` copies of the clean rows to a decoder layer's input, the batch's first rows.

    Arguments that were made for the clean rows (position embeddings, ids) are repeated if they do not broadcast.
    """

    def join(module: nn.Module, inputs: tuple[Any, ...], settings: dict[str, Any]) -> Any:
        named = "hidden_states" in settings
        hidden: Tensor = settings["hidden_states"] if named else inputs[0]
        if copies:
            hidden = torch.cat([hidden, hidden[:pairs].detach().repeat(copies, 1, 1)])
        repeats = hidden.shape[0] // pairs
        rest = tuple(_repeated(each, pairs, repeats) for each in inputs[1:])
        settings = {name: _repeated(each, pairs, repeats) for name, each in settings.items()}
        if named:
            return inputs, settings | {"hidden_states": hidden}
        return (hidden, *rest), settings

    return join


def _repeated(argument: Any, pairs: int, repeats: int) -> Any:
    if isinstance(argument, tuple):
        return tuple(_repeated(each, pairs, repeats) for each in argument)
    if not isinstance(argument, Tensor) or pairs == 1 or argument.dim() < 2 or argument.shape[0] != pairs:
        return argument  # the arguments of a single pair broadcast over its rows
    return argument.repeat(repeats, *[1] * (argument.dim() - 1))


def _numbered(ids: Tensor) -> Tensor:
    return torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
