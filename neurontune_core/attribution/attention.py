"""Attention of many short rows to one shared prefix: softmax over [prefix ; own row] without copying the prefix.

Score matrices are never kept. The backward pass recomputes them from the saved log-sum-exp, as FlashAttention does
(https://arxiv.org/abs/2205.14135). Both passes process the rows in chunks that fit into a processor's cache.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neurontune_core.attribution.precision import at_least_float32

CHUNK_BYTES = {"cpu": 1 << 22, "cuda": 1 << 28}
"""Most bytes of one chunk of prefix scores; on a CPU it should stay in the cache."""


@dataclass(frozen=True)
class Prefix:
    """Keys and values of the shared prefix in one layer, `[pair, kv_head, position, channel]`.

    `lengths` `[pair]` is the number of real positions of each pair; the positions after them are padding.
    """

    keys: Tensor
    values: Tensor
    lengths: Tensor


@dataclass(frozen=True)
class Rule:
    """The rule for attention scores: scale, soft cap (`cap * tanh(score / cap)`), and sliding window in positions.

    `sinks` `[head]` are scores of an additional position: the softmax gives it probability, but its value is zero.
    """

    scaling: float
    softcap: float | None = None
    window: int | None = None
    sinks: Tensor | None = None


def attend(query: Tensor, key: Tensor, value: Tensor, prefix: Prefix | None, rule: Rule) -> Tensor:
    """Return causal attention `[row, position, head, channel]` of rows that follow a shared prefix.

    Row `r * pairs + n` continues the prefix of pair `n`; its position `i` sees the prefix and its own positions `<= i`.

    Args:
        query: `[row, head, position, channel]`.
        key: `[row, kv_head, position, channel]`; head `h` uses key head `h // (heads / kv_heads)`.
        value: has the shape of `key`, except that the number of channels may differ.
        prefix: shared keys and values, which get no gradient; None if there is no prefix.
        rule: scale, soft cap, window.
    """
    output: Tensor = _Attend.apply(query, key, value, prefix, rule)
    return output.transpose(1, 2)


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, prefix: Prefix | None, rule: Rule) -> Tensor:
        shape = _Shape.of(query, key, prefix)
        rows, heads, positions, _ = query.shape
        # in the layout that the model reads next, so that its reshape to [row, position, head * channel] copies nothing
        output = query.new_empty(rows, positions, heads, value.shape[3]).transpose(1, 2)
        normaliser = torch.empty(query.shape[:3], dtype=at_least_float32(query.dtype), device=query.device)
        for part in shape.chunks(query.device.type):
            own, shared, _ = _probabilities(query, key, prefix, rule, shape, part, None)
            highest = own.amax(-1, keepdim=True)
            sinks = None
            if rule.sinks is not None:
                sinks = shape.split(rule.sinks.view(1, -1, 1, 1).expand(rows, heads, positions, 1), part)
                highest = torch.maximum(highest, sinks)
            if shared is not None:
                highest = torch.maximum(highest, shared.amax(-1, keepdim=True).view_as(highest))
                shared.sub_(highest.view(*shared.shape[:2], 1)).exp_()
            own.sub_(highest).exp_()
            total = own.sum(-1, keepdim=True)
            result = torch.bmm(own, shape.split(value, part))
            if sinks is not None:
                total += sinks.sub(highest).exp_()
            if shared is not None and prefix is not None:
                total += shared.sum(-1, keepdim=True).view_as(total)
                result += torch.bmm(shared, _flat(prefix.values)).view_as(result)
            shape.put(output, part, result.div_(total))
            shape.put(normaliser.unsqueeze(-1), part, total.log_().add_(highest))
        ctx.save_for_backward(query, key, value, output, normaliser)
        ctx.prefix, ctx.rule = prefix, rule
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, output, normaliser = ctx.saved_tensors
        prefix, rule, gradient = ctx.prefix, ctx.rule, gradients[0]
        shape = _Shape.of(query, key, prefix)
        query_gradient, key_gradient, value_gradient = (torch.empty_like(each) for each in (query, key, value))
        for part in shape.chunks(query.device.type):
            above = shape.split(gradient, part)
            mean = (above * shape.split(output, part)).sum(-1, keepdim=True)
            level = shape.split(normaliser.unsqueeze(-1), part)
            own, shared, slopes = _probabilities(query, key, prefix, rule, shape, part, level)
            shape.put(value_gradient, part, torch.bmm(own.transpose(1, 2), above))
            change = torch.bmm(above, shape.split(value, part).transpose(1, 2)).sub_(mean).mul_(own)
            if slopes is not None:
                change.mul_(slopes[0])
            shape.put(
                key_gradient, part, torch.bmm(change.transpose(1, 2), shape.split(query, part)).mul_(rule.scaling)
            )
            result = torch.bmm(change, shape.split(key, part))
            if shared is not None and prefix is not None:
                folded = above.view(shared.shape[0], shared.shape[1], -1)
                change = torch.bmm(folded, _flat(prefix.values).transpose(1, 2))
                change.sub_(mean.view(*shared.shape[:2], 1)).mul_(shared)
                if slopes is not None and slopes[1] is not None:
                    change.mul_(slopes[1])
                result += torch.bmm(change, _flat(prefix.keys)).view_as(result)
            shape.put(query_gradient, part, result.mul_(rule.scaling))
        return query_gradient, key_gradient, value_gradient, None, None


@dataclass(frozen=True)
class _Shape:
    """Sizes of one call, and the folding of rows: `[row, head, i, c]` <-> `[pair * kv_head * repeat, group * i, c]`."""

    repeats: int
    pairs: int
    kv_heads: int
    groups: int
    positions: int
    prefix: int

    @staticmethod
    def of(query: Tensor, key: Tensor, prefix: Prefix | None) -> "_Shape":
        pairs = prefix.keys.shape[0] if prefix is not None else 1
        rows, heads, positions, _ = query.shape
        length = prefix.keys.shape[2] if prefix is not None else 0
        return _Shape(rows // pairs, pairs, key.shape[1], heads // key.shape[1], positions, length)

    def chunks(self, device: str) -> list[slice]:
        each = self.pairs * self.kv_heads * self.groups * self.positions * (self.prefix + self.positions) * 4
        size = max(1, CHUNK_BYTES.get(device, CHUNK_BYTES["cuda"]) // each)
        return [slice(start, min(start + size, self.repeats)) for start in range(0, self.repeats, size)]

    def _unfolded(self, tensor: Tensor, rows: slice) -> Tensor:
        groups = tensor.shape[1] // self.kv_heads
        whole = tensor.view(self.repeats, self.pairs, self.kv_heads, groups, *tensor.shape[2:])
        return whole[rows].permute(1, 2, 0, 3, 4, 5)

    def split(self, tensor: Tensor, rows: slice) -> Tensor:
        part = self._unfolded(tensor, rows)
        folded = part.reshape(part.shape[0] * part.shape[1] * part.shape[2], -1, part.shape[-1])
        return folded.to(at_least_float32(tensor.dtype))

    def put(self, tensor: Tensor, rows: slice, values: Tensor) -> None:
        part = self._unfolded(tensor, rows)
        part.copy_(values.view(part.shape))


def _probabilities(
    query: Tensor, key: Tensor, prefix: Prefix | None, rule: Rule, shape: _Shape, rows: slice, level: Tensor | None
) -> tuple[Tensor, Tensor | None, tuple[Tensor, Tensor | None] | None]:
    """Return scores of own positions and of the prefix, or probabilities if the log-sum-exp `level` is given.

    The third value has the slopes of the soft cap, which only the backward pass needs.
    """
    scaled = shape.split(query, rows).mul(rule.scaling)
    own = torch.bmm(scaled, shape.split(key, rows).transpose(1, 2))
    shared = None
    if prefix is not None:
        folded = scaled.view(shape.pairs * shape.kv_heads, -1, scaled.shape[2])
        shared = torch.bmm(folded, _flat(prefix.keys).transpose(1, 2))
    slopes = None
    if rule.softcap is not None:
        own_slope = _cap(own, rule.softcap, level is not None)
        shared_slope = None if shared is None else _cap(shared, rule.softcap, level is not None)
        slopes = None if own_slope is None else (own_slope, shared_slope)
    steps = torch.arange(shape.positions, device=query.device)
    ahead = steps[None, :] > steps[:, None]
    if rule.window is not None:
        ahead |= steps[None, :] <= steps[:, None] - rule.window
    own.masked_fill_(ahead.repeat(shape.groups, 1), -torch.inf)
    if shared is not None and prefix is not None:
        _hide(shared, prefix, rule, shape, steps)
    if level is not None:
        own.sub_(level).exp_()
        if shared is not None:
            shared.sub_(level.view(*shared.shape[:2], 1)).exp_()
    return own, shared, slopes


def _cap(scores: Tensor, cap: float, with_slope: bool) -> Tensor | None:
    scores.div_(cap).tanh_()
    slope = 1 - scores.square() if with_slope else None
    scores.mul_(cap)
    return slope


def _hide(shared: Tensor, prefix: Prefix, rule: Rule, shape: _Shape, steps: Tensor) -> None:
    """Mask prefix positions that are padding or have left the sliding window."""
    if rule.window is None and shape.pairs == 1:
        return
    places = torch.arange(shape.prefix, device=shared.device)
    hidden = places >= prefix.lengths[:, None, None]
    if rule.window is not None:
        hidden = hidden | (places <= prefix.lengths[:, None, None] + steps[:, None] - rule.window)
    scores = shared.view(shape.pairs, shape.kv_heads, -1, shape.positions, shape.prefix)
    scores.masked_fill_(hidden[:, None, None], -torch.inf)


def _flat(tensor: Tensor) -> Tensor:
    return tensor.flatten(0, 1).to(at_least_float32(tensor.dtype))
