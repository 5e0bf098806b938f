"""Measure: run the model on examples, and return each example's margin with its slope in every factor."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from neurontune_core.model import head
from neurontune_core.model.batches import common_length
from neurontune_core.model.chat import encode_response
from neurontune_core.model.likelihood import TokenSequence, response_hidden, shared_prefix
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import scaled
from neurontune_core.scaling.gradient import explicit_attention
from neurontune_core.scaling.losses import Example, by_wrapper, micro_batches
from neurontune_core.scaling.margin_fit.margins import KINDS, Kind, Margins
from neurontune_core.scaling.problem import Problem

SMALLEST_ODDS = -1e-4
"""A log-probability nearer to 0 has log-odds that float32 cannot hold."""

Reading = Callable[[Sequence[Example], Tensor, Tensor], Tensor]
"""Makes of examples, log-probabilities `[token, vocabulary]` at their responses and response tokens a margin each."""


@dataclass(frozen=True)
class Refusals:
    """How refusals begin, as token ids, and by how many tokens a trained refusal is told from other responses."""

    openings: Sequence[list[int]]
    tokens: int

    @property
    def longest(self) -> list[int]:
        """The longest way to begin a refusal."""
        return max(self.openings, key=len)


@dataclass(frozen=True)
class Part:
    """Examples in one wrapper that are measured together: for openings (`refuse` and `answer`), or for one kind."""

    examples: list[Example]
    kind: Kind | None = None


def openings_of(chat: ChatModel, texts: Sequence[str], tokens: int) -> Refusals:
    """Return how refusals begin: of each text as much as one run of the model on the longest shows.

    That is up to the first token by which it differs from the longest. Example: of "I'm sorry", "I'm afraid" and
    "Sorry", these are "I'm sorry", "I'm afraid" and "Sorry", because the second differs at its last token and the third
    at its first.
    """
    openings = [encode_response(chat.tokenizer, text, None) for text in texts]
    longest = max(openings, key=len)
    return Refusals([own[: common_length(own, longest) + 1] for own in openings], tokens)


def parts_of(examples: Sequence[Example], kept_share: float, finished: bool) -> list[Part]:
    """Return what is measured of a step's examples, in parts.

    All openings; where `finished`, how refusals go on; and of `kept_share` of the harmless examples, spread over those
    that have a response, how far that moves.
    """
    parts = [Part(group) for group in by_wrapper(examples)]
    if finished:
        parts += [Part(group, "finish") for group in by_wrapper([e for e in examples if e.role == "safety"])]
    harmless = [example for example in examples if example.role == "utility"]
    answered = [example for example in harmless if example.sequence.response]
    wanted = min(len(answered), math.ceil(len(harmless) * kept_share))
    kept = [answered[place * len(answered) // wanted] for place in range(wanted)]
    return parts + [Part(group, "keep") for group in by_wrapper(kept)]


def measure(problem: Problem, alpha: Tensor, part: Part, base: Mapping[str, Tensor], refusals: Refusals) -> Margins:
    """Return the margins of a part's examples at `alpha`, linear in the factors.

    - `refuse`, of a harmful prompt: the lead of its refusal's opening, the least over the opening's tokens y_j of
      `log p(y_j) - max log p(other tokens)`. Above 0, greedy decoding refuses. Its loss is the opening's negative
      log-likelihood with only the likeliest other token to choose from.
    - `answer`, of a harmless prompt: the greatest lead of all ways to begin a refusal.
    - `finish`, of a harmful prompt: `o(P(rest of the refusal | opening))`, the end-of-turn token included, with
      log-odds `o(P) = log P - log(1 - P)`. Its loss is the rest's negative log-likelihood.
    - `keep`, of a harmless prompt: `sum_t s_t (log p_alpha(y_t) - log p_base(y_t))` over its response, with a token y_t
      drawn from the base model and a random sign s_t at every position t. The mean of half its square over tokens and
      signs is the response's KL to second order. The base model reads the query without its attack.

    A slope is the sum of what the factors do to the prompt's own words and to the words that all prompts of its wrapper
    begin with (a system message, an attack's). The latter are run once, and that part of the slope is the mean over the
    examples in the wrapper, harmful and harmless together: a mean over each role would tell the fit what it is to find
    out. The mean of the slopes is exact, and so is every value. Of `keep` nothing is shared: with random signs the mean
    would be nothing.

    Args:
        problem: the model and the selected neurons.
        alpha: factors `[neuron]` at which the model is run.
        part: the examples, all in one wrapper.
        base: the base model's states for every example of kind `keep`.
        refusals: how refusals begin.
    """
    chat, examples = problem.chat, part.examples

    def begun(given: Sequence[Example], log_probabilities: Tensor, tokens: Tensor) -> Tensor:
        return _lead(given, log_probabilities, refusals.openings)

    def gone_on(given: Sequence[Example], log_probabilities: Tensor, tokens: Tensor) -> Tensor:
        return _gone_on(given, log_probabilities, tokens, refusals.tokens)

    def moved(given: Sequence[Example], log_probabilities: Tensor, tokens: Tensor) -> Tensor:
        return _moved(chat, given, log_probabilities, base)

    shared = examples[0].shared
    if part.kind == "keep":
        slope, values = _measure(problem, alpha, examples, 0, moved)
    elif part.kind == "finish":
        slope, values = _measure(problem, alpha, examples, shared, gone_on)
    else:
        slope, values = _measure(problem, alpha, [_opening(each, refusals) for each in examples], shared, begun)
    kinds = [part.kind or ("refuse" if example.role == "safety" else "answer") for example in examples]
    return Margins(
        slope,
        values - slope @ (alpha - 1),
        torch.tensor([KINDS.index(kind) for kind in kinds], device=alpha.device),
        tuple(example.id for example in examples),
    )


def _opening(example: Example, refusals: Refusals) -> Example:
    response = example.sequence.response[: refusals.tokens] if example.role == "safety" else refusals.longest
    return replace(example, sequence=TokenSequence(example.sequence.prompt, response))


def _measure(
    problem: Problem, alpha: Tensor, batch: Sequence[Example], shared: int, reading: Reading
) -> tuple[Tensor, Tensor]:
    """Return slopes `[example, neuron]` and values `[example]`; the first `shared` tokens are the same in all."""
    chat, neurons = problem.chat, problem.neurons
    order: list[str] = []
    slopes: list[Tensor] = []
    values: list[Tensor] = []
    through_shared = torch.zeros_like(alpha)
    # rows with factors of their own hold about twice the memory of rows that share them
    for group in micro_batches(batch, problem.batch_tokens // 2):
        sequences = [example.sequence for example in group]
        common = alpha.detach().clone().requires_grad_()
        rows = alpha.detach().repeat(len(group), 1).requires_grad_()
        with explicit_attention(chat.model):
            with scaled(chat.model, neurons, common):
                prefix = shared_prefix(chat, sequences, shared)
            with scaled(chat.model, neurons, rows):
                hidden, tokens, _ = response_hidden(chat, sequences, prefix)
            found = reading(group, torch.log_softmax(head.logits(chat.model, hidden), dim=-1), tokens)
        own, of_shared = torch.autograd.grad(found.sum(), (rows, common), allow_unused=True)
        slopes.append(own)
        if of_shared is not None:
            through_shared += of_shared / len(batch)
        values.append(found.detach().to(alpha.dtype))
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
