"""Attribution the slow and obvious way: a full forward for every layer and every step, nothing shared or cached."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from neurontune_core.neurons import bank_module, banks, decoder_layers


def reference_scores(
    model: PreTrainedModel,
    query: Sequence[int],
    prompt: Sequence[int],
    response: Sequence[int],
    nodes: int,
    every_position: bool,
    probability: bool,
) -> tuple[list[Tensor], list[float]]:
    """Return per layer: scores `[neuron]`, and P(v_pq) - P(v_q), which they add up to with enough nodes."""
    points, weights = radau(nodes)
    scores, differences = [], []
    for layer in banks(model):
        start = activations(model, layer, query, response, every_position)
        end = activations(model, layer, prompt, response, every_position)
        change, total = end - start, torch.zeros_like(end)
        for point, weight in zip(points, weights, strict=True):
            place = (start + point * change).requires_grad_(True)
            value = objective(model, layer, prompt, response, place, probability)
            (gradient,) = torch.autograd.grad(value, place)
            total += weight * gradient.detach()
        scores.append((change * total).sum(0))
        ends = [objective(model, layer, prompt, response, place, probability).item() for place in (end, start)]
        differences.append(ends[0] - ends[1])
    return scores, differences


def radau(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Radau points and weights on [0, 1] that hold 1: roots of P_(n-1) - P_n, weights from the moments."""
    polynomial = np.zeros(nodes + 1)
    polynomial[-2:] = 1, -1
    points = (np.sort(np.polynomial.legendre.legroots(polynomial).real) + 1) / 2
    points[-1] = 1.0
    moments = 1 / np.arange(1, nodes + 1)
    return points, np.linalg.solve(np.vander(points, nodes, increasing=True).T, moments)


def activations(
    model: PreTrainedModel, layer: int, prompt: Sequence[int], response: Sequence[int], every_position: bool
) -> Tensor:
    """Return the activations of one layer `[position, neuron]` at the positions of the path."""
    seen: list[Tensor] = []

    def keep(values: Tensor) -> Tensor:
        seen.append(values.detach().clone())
        return values

    _run(model, layer, [*prompt, *response[:-1]], keep)
    last = len(prompt) - 1
    return seen[0][last : last + len(response) if every_position else last + 1]


def objective(
    model: PreTrainedModel, layer: int, prompt: Sequence[int], response: Sequence[int], place: Tensor, probability: bool
) -> Tensor:
    """Return P(response | prompt), or its logarithm, with the layer's activations replaced by `place`."""
    last = len(prompt) - 1

    def replace(values: Tensor) -> Tensor:
        return torch.cat([values[:last], place, values[last + len(place) :]])

    logits = _run(model, layer, [*prompt, *response[:-1]], replace)[last:]
    chosen = logits.log_softmax(-1).gather(-1, torch.tensor(response)[:, None])
    return chosen.sum().exp() if probability else chosen.sum()


def _run(model: PreTrainedModel, layer: int, ids: Sequence[int], edit: Callable[[Tensor], Tensor]) -> Tensor:
    block = getattr(decoder_layers(model)[layer], "mlp", None)
    if hasattr(block, "experts"):
        with mock.patch.object(block, "forward", partial(_plain_experts, block, edit)):
            return model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0]

    def hook(module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        return edit(inputs[0].flatten(0, -2)).view(inputs[0].shape)

    (bank,) = banks(model)[layer]
    handle = bank_module(model, bank).register_forward_pre_hook(hook)
    try:
        return model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0]
    finally:
        handle.remove()


def _plain_experts(block: Any, edit: Callable[[Tensor], Tensor], hidden: Tensor) -> Any:
    """A mixture of experts, token by token: activations `[position, neuron]`, 0 where a token is not routed."""
    tokens = hidden[0]
    router = block.gate if hasattr(block, "gate") else block.router
    _, weights, chosen = router(tokens)
    experts = block.experts
    transposed, count = experts.is_transposed, experts.num_experts
    width = experts.down_proj.shape[1 if transposed else 2]
    rows = []
    for token, mine in zip(tokens, chosen.tolist(), strict=True):
        parts = [tokens.new_zeros(width) for _ in range(count)]
        for expert in mine:
            up = experts.gate_up_proj[expert]
            bias = experts.gate_up_proj_bias[expert] if experts.has_bias else 0
            parts[expert] = experts._apply_gate(token @ (up if transposed else up.T) + bias)
        rows.append(torch.cat(parts))
    activations = torch.stack(rows)
    shared = getattr(block, "shared_expert", None) or getattr(block, "shared_experts", None)
    if shared is not None:
        own = shared.act_fn(shared.gate_proj(tokens)) * shared.up_proj(tokens)
        activations = torch.cat([activations, own], -1)
    activations = edit(activations)
    result = []
    for place, mine in enumerate(chosen.tolist()):
        total = torch.zeros_like(tokens[0])
        for slot, expert in enumerate(mine):
            down = experts.down_proj[expert]
            own = activations[place, expert * width : (expert + 1) * width] @ (down if transposed else down.T)
            total = total + weights[place, slot] * (own + (experts.down_proj_bias[expert] if experts.has_bias else 0))
        result.append(total)
    output = torch.stack(result)
    if shared is not None:
        own = shared.down_proj(activations[:, count * width :])
        gate = getattr(block, "shared_expert_gate", None)
        output = output + (own if gate is None else torch.sigmoid(gate(tokens)) * own)
    output = output[None]
    return (output, weights) if hasattr(block, "router") else output
