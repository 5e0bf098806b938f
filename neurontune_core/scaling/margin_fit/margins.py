"""Margins: how far the model is from the desired response to a prompt, as a linear function of the factors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

Kind = Literal["refuse", "finish", "answer", "keep"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Kinds of margins, by the desired response.

- `refuse`: the response to a harmful prompt begins with a refusal.
- `finish`: a refusal that has begun goes on to its end.
- `answer`: the response to a harmless prompt does not begin with a refusal.
- `keep`: the response to a harmless prompt has the same probability as under the base model.
"""
AIMS = {"refuse": 1.0, "finish": 1.0, "answer": -1.0, "keep": 0.0}
"""By kind, the sign the margin should have: positive, negative, or zero."""


@dataclass(frozen=True)
class Margins:
    """Margins of examples near the factors at which they were measured: `m(alpha) = offset + slope . (alpha - 1)`.

    The loss of a margin, in nats, is `softplus(-m)` where it should be positive, `softplus(m)` where it should be
    negative, and `m^2 / 2` where it should be zero.

    Attributes:
        slope: derivative of every margin in every factor `[margin, neuron]`.
        offset: the margins at factors of 1, by the linear model `[margin]`.
        kind: the index in `KINDS` of every margin `[margin]`.
        examples: the id of every margin's example.
    """

    slope: Tensor
    offset: Tensor
    kind: Tensor
    examples: tuple[str, ...]

    @property
    def names(self) -> list[tuple[str, int]]:
        """The example id and the kind of every margin; together they identify it."""
        return list(zip(self.examples, self.kind.tolist(), strict=True))

    def of(self, kind: Kind) -> Tensor:
        """Return which margins are of a kind, `[margin]`."""
        return self.kind == KINDS.index(kind)

    def values(self, alpha: Tensor) -> Tensor:
        """Return `m(alpha)` `[margin]`."""
        return self.offset + self.slope @ (alpha - 1)

    def losses(self, alpha: Tensor) -> Tensor:
        """Return each margin's loss `[margin]` in nats."""
        values = self.values(alpha)
        aim = values.new_tensor([AIMS[kind] for kind in KINDS])[self.kind]
        return torch.where(aim == 0, values**2 / 2, torch.nn.functional.softplus(-aim * values))


def join(parts: Sequence[Margins]) -> Margins:
    """Concatenate margins; a later measurement of the same margin replaces an earlier one.

    Example: joining `[a, b]` with a newer `[b, c]` gives `[a, b, c]` with the newer b.
    """
    last = {name: (part, row) for part, margins in enumerate(parts) for row, name in enumerate(margins.names)}
    rows = [[row for row, name in enumerate(m.names) if last[name] == (part, row)] for part, m in enumerate(parts)]
    chosen = list(zip(parts, rows, strict=True))
    return Margins(
        torch.cat([margins.slope[kept] for margins, kept in chosen]),
        torch.cat([margins.offset[kept] for margins, kept in chosen]),
        torch.cat([margins.kind[kept] for margins, kept in chosen]),
        tuple(margins.examples[row] for margins, kept in chosen for row in kept),
    )
