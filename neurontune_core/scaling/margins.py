"""What each example asks of alpha, as numbers with their slopes: the joint loss, example by example."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from neurontune_core.config import ScalingConfig
from neurontune_core.model import head
from neurontune_core.model.batches import common_length
from neurontune_core.model.chat import encode_response
from neurontune_core.model.likelihood import TokenSequence, response_hidden, shared_prefix
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import scaled
from neurontune_core.records import NeuronSet
from neurontune_core.scaling.gradient import explicit_attention
from neurontune_core.scaling.losses import Example, by_wrapper, micro_batches

STAY_EVERY = 15
"""One in so many harmless examples is also measured for how far its response moves from the base model's. That takes as
many tokens as several openings, since what its prompt begins with cannot be run for all at once."""
RISE, FALL, STAY = 1.0, -1.0, 0.0
RISE_OR_FALL = (RISE, FALL)
"""What a harmful prompt's margin is to do, and a harmless one's."""
SMALLEST_ODDS = -1e-4
"""A log-probability nearer to 0 has log-odds that float32 cannot hold."""

Kind = Callable[[Sequence[Example], Tensor, Tensor], Tensor]
"""Makes of examples, log-probabilities `[token, vocabulary]` at their responses and response tokens a margin each."""


@dataclass(frozen=True)
class Margins:
    """Margins of examples near where they were measured: `m(alpha) = offset + slope . (alpha - 1)`.

    `slope` is `[margin, neuron]`; `offset`, `aim`, `safety` and `first` are `[margin]`. A margin that is to rise costs
    `softplus(-m)`, one that is to fall `softplus(m)`, one that is to stay `m^2 / 2`, in nats. `safety` is 1 for a
    harmful prompt's margin, 0 for a harmless one's; `first` is 1 for one of a refusal's opening, 0 for an example's
    other margin; `examples` says whose it is.
    """

    slope: Tensor
    offset: Tensor
    aim: Tensor
    safety: Tensor
    first: Tensor
    examples: tuple[str, ...]

    @property
    def names(self) -> list[tuple[str, float]]:
        """Whose margin each is, and which of its two."""
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


def openings_of(chat: ChatModel, config: ScalingConfig) -> list[list[int]]:
    """Return how refusals begin, as token ids: of each as much as one run of the model on the longest shows.

    That is up to the first token by which it differs from the longest: "Sorry" and "I'm afraid" beside "I'm sorry".
    """
    openings = [encode_response(chat.tokenizer, text, None) for text in config.refusal_openings]
    longest = max(openings, key=len)
    return [tokens[: common_length(tokens, longest) + 1] for tokens in openings]


def stays_of(examples: Sequence[Example]) -> list[Example]:
    """Return the harmless examples of a query batch whose responses are compared with the base model's.

    One in `STAY_EVERY` of all, spread over those that have a response.
    """
    harmless = [example for example in examples if example.role == "utility"]
    answered = [example for example in harmless if example.sequence.response]
    wanted = min(len(answered), math.ceil(len(harmless) / STAY_EVERY))
    return [answered[place * len(answered) // wanted] for place in range(wanted)]


def measure(
    chat: ChatModel,
    neurons: NeuronSet,
    alpha: Tensor,
    at: Tensor,
    examples: Sequence[Example],
    base: Mapping[str, Tensor],
    batch_tokens: int,
    opening: int,
    openings: Sequence[list[int]],
    rest: bool = True,
) -> Margins:
    """Return the margins of query examples at `alpha`' (`at`), as functions of `alpha` (first order).

    - a harmful prompt has the lead of its refusal's opening, to rise: the least over the opening's tokens y_j of
      `log p(y_j) - max log p(other tokens)`, above 0 where greedy decoding refuses; its loss is the opening's negative
      log-likelihood with only the likeliest other token to choose from. And it has `o(P(rest | opening))`, to rise as
      well, the end-of-turn token included, with log-odds `o(P) = log P - log(1 - P)`: its loss is the rest's negative
      log-likelihood.
    - a harmless prompt has the greatest of the leads of `openings`, to fall: above 0 where greedy decoding begins with
      one of them. One in `STAY_EVERY` has another margin that is to stay at 0, over its whole response by the base:
      `sum_t s_t (log p_alpha(y_t) - log p_base(y_t))`, with a token y_t drawn from the base and a random sign s_t at
      every position t. The mean of half its square over tokens and signs is the response's KL to second order.

    A slope is the sum of what the factors do to the prompt's own words and to the words that all prompts of its wrapper
    begin with (a system message, an attack's). The latter are run once for margins of the same kind, and that part of
    the slope is the mean over the examples in the same wrapper: of openings over harmful and harmless ones together,
    because a mean over each role would tell the fit what it is to find out. The mean of the slopes is exact, and so is
    every value. Where a margin has random signs their mean would be nothing, so nothing is run once.

    Args:
        chat: the model.
        neurons: the selected neurons.
        alpha: factors `[neuron]` the inner steps started from.
        at: factors `[neuron]` after them, at which the model is run.
        examples: harmful and harmless examples; one harmful at least.
        base: the unscaled model's final hidden states for each of `stays_of(examples)`.
        batch_tokens: tokens a forward pass holds at most.
        opening: leading tokens of a harmful prompt's refusal by which it is told from other responses.
        openings: how refusals begin (`openings_of`).
        rest: measure the rests of refusals as well.
    """
    harmful = [example for example in examples if example.role == "safety"]
    longest = max(openings, key=len)

    def ask(example: Example) -> Example:
        response = example.sequence.response[:opening] if example.role == "safety" else longest
        return replace(example, sequence=TokenSequence(example.sequence.prompt, response))

    def run(kind: Kind, batch: Sequence[Example], shared: int) -> tuple[Tensor, Tensor]:
        return _measure(chat, neurons, at, batch, shared, batch_tokens, kind)

    def begun(given: Sequence[Example], log_probabilities: Tensor, tokens: Tensor) -> Tensor:
        return _lead(given, log_probabilities, openings)

    def gone_on(given: Sequence[Example], log_probabilities: Tensor, tokens: Tensor) -> Tensor:
        return _gone_on(given, log_probabilities, tokens, opening)

    def stay(given: Sequence[Example], log_probabilities: Tensor, tokens: Tensor) -> Tensor:
        return _moved(chat, given, log_probabilities, base)

    parts = [
        (batch, RISE_OR_FALL, 1.0, *run(begun, batch, batch[0].shared))
        for batch in by_wrapper(list(map(ask, examples)))
    ]
    if rest:
        parts += [(batch, RISE_OR_FALL, 0.0, *run(gone_on, batch, batch[0].shared)) for batch in by_wrapper(harmful)]
    if stays := stays_of(examples):
        parts.append((stays, (STAY, STAY), 0.0, *run(stay, stays, 0)))
    slope = torch.cat([slopes for *_, slopes, _ in parts])
    values = torch.cat([found for *_, found in parts])
    rows = [(example, aims, first) for batch, aims, first, _, _ in parts for example in batch]
    return Margins(
        slope,
        # alpha' moves with alpha one to one in first order, so a slope at alpha' is one in alpha
        values - slope @ (alpha.detach() - 1),
        aim=at.new_tensor([aims[example.role == "utility"] for example, aims, _ in rows]),
        safety=at.new_tensor([float(example.role == "safety") for example, _, _ in rows]),
        first=at.new_tensor([first for _, _, first in rows]),
        examples=tuple(example.id for example, _, _ in rows),
    )


def _measure(
    chat: ChatModel,
    neurons: NeuronSet,
    at: Tensor,
    batch: Sequence[Example],
    shared: int,
    batch_tokens: int,
    kind: Kind,
) -> tuple[Tensor, Tensor]:
    """Return slopes `[example, neuron]` and values `[example]`; the first `shared` tokens are the same in all."""
    order: list[str] = []
    slopes: list[Tensor] = []
    values: list[Tensor] = []
    through_shared = torch.zeros_like(at)
    # rows with factors of their own hold about twice the memory of rows that share them
    for group in micro_batches(batch, batch_tokens // 2):
        sequences = [example.sequence for example in group]
        common = at.detach().clone().requires_grad_()
        rows = at.detach().repeat(len(group), 1).requires_grad_()
        with explicit_attention(chat.model):
            with scaled(chat.model, neurons, common):
                prefix = shared_prefix(chat, sequences, shared)
            with scaled(chat.model, neurons, rows):
                hidden, tokens, _ = response_hidden(chat, sequences, prefix)
            found = kind(group, torch.log_softmax(head.logits(chat.model, hidden), dim=-1), tokens)
        own, of_shared = torch.autograd.grad(found.sum(), (rows, common), allow_unused=True)
        slopes.append(own)
        if of_shared is not None:
            through_shared += of_shared / len(batch)
        values.append(found.detach().to(at.dtype))
        order += [example.id for example in group]
    places = [order.index(example.id) for example in batch]
    return torch.cat(slopes)[places] + through_shared, torch.cat(values)[places]


def _lead(group: Sequence[Example], log_probabilities: Tensor, openings: Sequence[list[int]]) -> Tensor:
    """Return the lead `[example]` of a harmful prompt's response, or the greatest of the leads of the openings."""
    likeliest, candidates = log_probabilities.topk(2, dim=-1)
    found, at = [], 0
    for example in group:
        leads = []
        for opening in [example.sequence.response] if example.role == "safety" else openings:
            place = torch.arange(at, at + len(opening), device=likeliest.device)
            token = torch.tensor(opening, device=likeliest.device)
            other = torch.where(candidates[place, 0] == token, likeliest[place, 1], likeliest[place, 0])
            leads.append((log_probabilities[place, token] - other).min())
        found.append(torch.stack(leads).max())
        at += len(example.sequence.response)
    return torch.stack(found)


def _gone_on(group: Sequence[Example], log_probabilities: Tensor, tokens: Tensor, opening: int) -> Tensor:
    chosen = log_probabilities.gather(-1, tokens[:, None])[:, 0]
    return torch.stack([_log_odds(part[opening:].sum()) for part in chosen.split(_lengths(group))])


def _moved(chat: ChatModel, group: Sequence[Example], log_probabilities: Tensor, base: Mapping[str, Tensor]) -> Tensor:
    usual = torch.log_softmax(head.logits(chat.model, torch.cat([base[example.id] for example in group])), dim=-1)
    drawn, signs = [], []
    for example, own in zip(group, usual.split(_lengths(group)), strict=True):
        generator = torch.Generator().manual_seed(int.from_bytes(example.id.encode()[-7:], "big"))
        drawn.append(torch.multinomial(own.detach().exp().cpu(), 1, generator=generator).to(own.device))
        signs.append(torch.randint(0, 2, (len(own),), generator=generator).to(own) * 2 - 1)
    tokens = torch.cat(drawn)
    moved = (log_probabilities.gather(-1, tokens) - usual.gather(-1, tokens))[:, 0] * torch.cat(signs)
    return torch.stack([part.sum() for part in moved.split(_lengths(group))])


def _lengths(group: Sequence[Example]) -> list[int]:
    return [len(example.sequence.response) for example in group]


def _log_odds(log_probability: Tensor) -> Tensor:
    bounded = log_probability.clamp(max=SMALLEST_ODDS)
    return bounded - torch.log(-torch.expm1(bounded))
