"""Margins: what each prompt asks of the factors, as a number that is linear in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

Kind = Literal["refuse", "finish", "answer", "keep"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""A harmful prompt's response begins with a refusal; its refusal goes on to its end; a harmless prompt's response does
not begin with one; and that response stays what it is."""
AIMS = {"refuse": 1.0, "finish": 1.0, "answer": -1.0, "keep": 0.0}
"""A margin is to rise, to fall, or to stay at 0."""


@dataclass(frozen=True)
class Margins:
    """Margins of examples near the factors they were measured at: `m(alpha) = offset + slope . (alpha - 1)`.

    `slope` is `[margin, neuron]`; `offset` and `kind`, a place in `KINDS`, are `[margin]`. In nats, a margin that is to
    rise costs `softplus(-m)`, one that is to fall `softplus(m)`, one that is to stay `m^2 / 2`. `examples` says whose
    margin it is.
    """

    slope: Tensor
    offset: Tensor
    kind: Tensor
    examples: tuple[str, ...]

    @property
    def names(self) -> list[tuple[str, int]]:
        """Whose margin each is, and of which kind."""
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
    """Return margins together; one measured anew replaces its older measurement.

    Example: joining `[a, b]` with a newer `[b, c]` gives `[a, b, c]`, b as measured the second time.
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
