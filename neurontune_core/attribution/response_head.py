"""Log-probabilities of response tokens and their gradients; never are all logits in memory."""

import torch
from torch import Tensor

from neurontune_core.attribution.precision import at_least_float32, widest
from neurontune_core.model.head import Head

CHUNK_BYTES = {"cpu": 1 << 25, "cuda": 1 << 30}
"""Most bytes of the logits of one chunk of positions."""


@torch.no_grad()
def response_log_probability(
    head: Head, hidden: Tensor, targets: Tensor, mask: Tensor, with_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """Return `sum_j log p(y_j)` of every row, summed in float64 `[row]`, and its gradient with respect to `hidden`.

    Args:
        head: the map to logits.
        hidden: last hidden states `[row, position, channel]`.
        targets: the tokens to predict `[row, position]`.
        mask: the positions that count `[row, position]`.
        with_gradient: whether to compute the gradient; if False, None is returned in its place.
    """
    flat = hidden.reshape(-1, hidden.shape[-1])
    wanted = targets.reshape(-1, 1)
    gradient = torch.empty_like(flat) if with_gradient else None
    values = torch.empty(flat.shape[0], dtype=widest(hidden.device), device=hidden.device)
    width = at_least_float32(hidden.dtype).itemsize
    size = max(1, CHUNK_BYTES.get(hidden.device.type, CHUNK_BYTES["cuda"]) // (head.weight.shape[0] * width))
    for start in range(0, flat.shape[0], size):
        part = slice(start, start + size)
        logits = head.logits(flat[part])
        highest = logits.amax(-1, keepdim=True)
        chosen = logits.gather(-1, wanted[part])
        slope = None if head.softcap is None or not with_gradient else 1 - (logits / head.softcap).square()
        total = logits.sub_(highest).exp_().sum(-1, keepdim=True)
        values[part] = (chosen - highest - total.log()).squeeze(-1).to(values.dtype)
        if gradient is not None:
            # d log p(y) / d logit = [token = y] - p(token)
            logits.div_(-total).scatter_add_(-1, wanted[part], torch.ones_like(total))
            if slope is not None:
                logits.mul_(slope)
            if head.scale != 1.0:
                logits.mul_(head.scale)
            gradient[part] = logits.to(head.weight.device, flat.dtype) @ head.weight
        del logits, slope  # frees this chunk before the next one is allocated
    if gradient is not None:
        gradient = gradient.view_as(hidden) * mask.unsqueeze(-1)
    return (values.view(mask.shape) * mask).sum(-1), gradient
