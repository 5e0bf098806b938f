"""What each example asks of alpha, as numbers with their slopes: the joint loss, example by example."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from neurontune_core.model import head
from neurontune_core.model.likelihood import TokenSequence, response_hidden, shared_prefix
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import scaled
from neurontune_core.records import NeuronSet
from neurontune_core.scaling.gradient import explicit_attention
from neurontune_core.scaling.losses import Example, micro_batches

OPENING = 3
"""Tokens by which a refusal is told from another response."""
RISE, FALL, STAY = 1.0, -1.0, 0.0
SMALLEST_ODDS = -1e-4
"""A log-probability nearer to 0 has log-odds that float32 cannot hold."""


@dataclass(frozen=True)
class Margins:
    """Margins of examples near where they were measured: `m(alpha) = offset + slope . (alpha - 1)`.

    `slope` is `[margin, neuron]`; `offset`, `aim`, `safety` and `first` are `[margin]`. A margin that is to rise costs
    `softplus(-m)`, one that is to fall `softplus(m)`, one that is to stay `m^2 / 2`, in nats. `safety` is 1 for a
    harmful prompt's margin, 0 for a harmless one's; `first` is 1 for one of the refusal's opening, 0 for an example's
    second margin; `examples` says whose it is.
    """

    slope: Tensor
    offset: Tensor
    aim: Tensor
    safety: Tensor
    first: Tensor
    examples: tuple[str, ...]

    @property
    def names(self) -> list[tuple[str, float]]:
        """Whose margin each is, and which of the two."""
        return list(zip(self.examples, self.first.tolist(), strict=True))

    def values(self, alpha: Tensor) -> Tensor:
        """Return `m(alpha)` `[margin]`."""
        return self.offset + self.slope @ (alpha - 1)

    def losses(self, alpha: Tensor) -> Tensor:
        """Return each margin's loss `[margin]` in nats."""
        values = self.values(alpha)
        return torch.where(self.aim == STAY, values**2 / 2, torch.nn.functional.softplus(-self.aim * values))


def join(older: Margins, newer: Margins) -> Margins:
    """Return both together; a margin measured anew replaces its older measurement."""
    again = set(newer.names)
    kept = [place for place, name in enumerate(older.names) if name not in again]
    tensors = {
        field.name: torch.cat([getattr(older, field.name)[kept], getattr(newer, field.name)])
        for field in fields(Margins)
        if field.name != "examples"
    }
    return Margins(**tensors, examples=tuple(older.examples[place] for place in kept) + newer.examples)


def measure(
    chat: ChatModel,
    neurons: NeuronSet,
    alpha: Tensor,
    at: Tensor,
    examples: Sequence[Example],
    base: Mapping[str, Tensor],
    batch_tokens: int,
    both: bool = True,
) -> Margins:
    """Return the margins of query examples at `alpha`' (`at`), as functions of `alpha` (first order).

    With log-odds `o(P) = log P - log(1 - P)`, a harmful prompt has two margins that are to rise: `o(P(opening))` of
    its refusal, and `o(P(rest | opening))`, the end-of-turn token included; their losses sum to the refusal's negative
    log-likelihood. A harmless prompt has one that is to fall, `o(P(opening))` of a refusal of the same batch: its loss
    is the KL from the base of refusing or not; and one that is to stay at 0, `log p_alpha(t) - log p_base(t)` at the
    first response position for a token t drawn from the base: half its square is that position's KL to second order.

    A slope is the sum of what the factors do to the prompt's own words and to the words that all prompts of its wrapper
    begin with (a system message, an attack's). The latter are run once, and that part of the slope is the mean over the
    examples in the same wrapper: of the opening's margin over harmful and harmless ones together, because a mean over
    each role would tell the fit what it is to find out. The mean of the slopes is exact, and so is every value.

    Args:
        chat: the model.
        neurons: the selected neurons.
        alpha: factors `[neuron]` the inner steps started from.
        at: factors `[neuron]` after them, at which the model is run.
        examples: harmful and harmless examples; one harmful at least.
        base: the unscaled model's final hidden states for each harmless example.
        batch_tokens: tokens a forward pass holds at most.
        both: measure both margins of every example; else the first, of the opening, which costs half as much.
    """
    refusals = [example.sequence.response for example in examples if example.role == "safety"]
    asked = [
        example
        if example.role == "safety" and both
        else _opening_alone(
            example, example.sequence.response if example.role == "safety" else refusals[number % len(refusals)]
        )
        for number, example in enumerate(examples)
    ]
    batches: dict[str, list[Example]] = {}
    for example in asked:
        batches.setdefault(example.wrapper, []).append(example)
    parts = [_measure(chat, neurons, at, batch, base, batch_tokens, both) for batch in batches.values()]
    slope, values, safety = (torch.cat([part[i] for part in parts], dim=1) for i in range(3))
    harmless = (FALL, STAY) if both else (FALL,)
    aims = torch.stack(
        [torch.where(row == 1, RISE, aim).to(at.dtype) for row, aim in zip(safety, harmless, strict=True)]
    )
    first = torch.stack([torch.full_like(row, float(number == 0)) for number, row in enumerate(safety)])
    names = tuple(example.id for batch in batches.values() for example in batch)
    flat = slope.flatten(0, 1)
    # alpha' moves with alpha one to one in first order, so a slope at alpha' is one in alpha
    offset = values.flatten() - flat @ (alpha.detach() - 1)
    return Margins(flat, offset, aims.flatten(), safety.flatten(), first.flatten(), names * len(harmless))


def _opening_alone(example: Example, refusal: list[int]) -> Example:
    return replace(example, sequence=TokenSequence(example.sequence.prompt, refusal[:OPENING]))


def _measure(
    chat: ChatModel,
    neurons: NeuronSet,
    at: Tensor,
    batch: Sequence[Example],
    base: Mapping[str, Tensor],
    batch_tokens: int,
    both: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return slopes `[margin, example, neuron]`, values and role `[margin, example]`.

    An example has two margins if both are wanted, else one.
    All examples are of one wrapper.
    """
    order: list[Example] = []
    slopes: list[Tensor] = []
    values: list[Tensor] = []
    safety = _are_safety(batch)
    # an opening is the same to both roles, what follows it is not: margin, role, neuron
    through_shared = at.new_zeros(2 if both else 1, 2, len(at))
    counts = at.new_tensor([[len(batch)] * 2, [int((~safety).sum()), int(safety.sum())]]).clamp(min=1)
    # rows with factors of their own hold about twice the memory of rows that share them
    for group in micro_batches(batch, batch_tokens // 2):
        sequences = [example.sequence for example in group]
        common = at.detach().clone().requires_grad_()
        rows = at.detach().repeat(len(group), 1).requires_grad_()
        with explicit_attention(chat.model):
            with scaled(chat.model, neurons, common):
                prefix = shared_prefix(chat, sequences, group[0].shared)
            with scaled(chat.model, neurons, rows):
                hidden, tokens, _ = response_hidden(chat, sequences, prefix)
            found = _margins(chat, group, hidden, tokens, base, both)
        mine = _are_safety(group)
        parts = [(0, slice(2), found[0])]
        parts += [
            (1, slice(role, role + 1), found[1][mine == role]) for role in (0, 1) if both and bool((mine == role).any())
        ]
        own = rows.new_zeros(len(found), *rows.shape)
        for number, roles, margins in parts:
            of_rows, of_shared = torch.autograd.grad(
                margins.sum(), (rows, common), retain_graph=margins is not parts[-1][-1], allow_unused=True
            )
            own[number] += of_rows
            if of_shared is not None:
                through_shared[number, roles] += of_shared
        slopes.append(own)
        values.append(torch.stack(found).detach().to(at.dtype))
        order += group
    names = [example.id for example in order]
    places = [names.index(example.id) for example in batch]
    through_shared /= counts[: len(through_shared), :, None]
    slope = torch.cat(slopes, dim=1)[:, places] + through_shared[:, safety.long()]
    value = torch.cat(values, dim=1)[:, places]
    return slope, value, safety.to(value).expand_as(value)


def _are_safety(examples: Sequence[Example]) -> Tensor:
    return torch.tensor([example.role == "safety" for example in examples])


def _margins(
    chat: ChatModel,
    examples: Sequence[Example],
    hidden: Tensor,
    tokens: Tensor,
    base: Mapping[str, Tensor],
    both: bool,
) -> list[Tensor]:
    log_probabilities = torch.log_softmax(head.logits(chat.model, hidden), dim=-1)
    chosen = log_probabilities.gather(-1, tokens[:, None])[:, 0]
    first, second, start = [], [], 0
    for example in examples:
        mine = slice(start, start + len(example.sequence.response))
        first.append(_log_odds(chosen[mine][:OPENING].sum()))
        start = mine.stop
        if not both:
            continue
        if example.role == "safety":
            second.append(_log_odds(chosen[mine][OPENING:].sum()))
        else:
            usual = torch.log_softmax(head.logits(chat.model, base[example.id][0]), dim=-1)
            token = torch.multinomial(usual.exp().cpu(), 1, generator=_generator(example.id)).item()
            second.append(log_probabilities[mine.start, int(token)] - usual[int(token)])
    return [torch.stack(first), torch.stack(second)] if both else [torch.stack(first)]


def _log_odds(log_probability: Tensor) -> Tensor:
    bounded = log_probability.clamp(max=SMALLEST_ODDS)
    return bounded - torch.log(-torch.expm1(bounded))


def _generator(name: str) -> torch.Generator:
    return torch.Generator().manual_seed(int.from_bytes(name.encode()[-7:], "big"))
