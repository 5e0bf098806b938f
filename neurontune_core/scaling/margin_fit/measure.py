"""Measure margins: run the model on examples, and differentiate each example's margin in every factor."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

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
"""Log-probabilities are clamped to this value: nearer to 0, `1 - P` is rounded away in float32."""

Reading = Callable[[Sequence[Example], Tensor, Tensor], Tensor]
"""Computes margins `[example]` from examples, log-probabilities `[token, vocabulary]` and response tokens `[token]`."""


@dataclass(frozen=True)
class Refusals:
    """How refusals begin.

    Attributes:
        openings: the tokens of each way to begin a refusal.
        tokens: how many leading tokens of a trained refusal the margin `refuse` reads.
    """

    openings: Sequence[list[int]]
    tokens: int

    @property
    def longest(self) -> list[int]:
        """The longest way to begin a refusal."""
        return max(self.openings, key=len)


@dataclass(frozen=True)
class Part:
    """Examples under one attack that are measured together.

    Without a `kind` the openings are measured: `refuse` for harmful prompts, `answer` for harmless ones.
    """

    examples: list[Example]
    kind: Kind | None = None


def openings_of(chat: ChatModel, texts: Sequence[str], tokens: int) -> Refusals:
    """Return the openings of refusals, each cut after its first token that differs from the longest opening.

    One forward pass on the longest opening gives the probabilities of all these tokens. Example: next to "I'm
    sorry, but I can't", "I'm afraid I can't" is cut to "I'm afraid", and "Sorry" stays "Sorry".
    """
    openings = [encode_response(chat.tokenizer, text, None) for text in texts]
    longest = max(openings, key=len)
    return Refusals([own[: common_length(own, longest) + 1] for own in openings], tokens)


def parts_of(examples: Sequence[Example], kept_share: float, finished: bool) -> list[Part]:
    """Divide the measurements of a step into parts, each with examples under one attack.

    The openings of all examples are measured. With `finished`, the rest of each refusal is measured too (`finish`). The
    KL (`keep`) is measured on the share `kept_share` of the harmless examples, evenly spread over those that have a
    response.
    """
    parts = [Part(group) for group in by_wrapper(examples)]
    if finished:
        parts += [Part(group, "finish") for group in by_wrapper([e for e in examples if e.role == "safety"])]
    harmless = [example for example in examples if example.role == "utility"]
    answered = [example for example in harmless if example.sequence.response]
    wanted = min(len(answered), math.ceil(len(harmless) * kept_share))
    kept = [answered[place * len(answered) // wanted] for place in range(wanted)]
    return parts + [Part(group, "keep") for group in by_wrapper(kept)]


def measure_margins(
    problem: Problem, alpha: Tensor, part: Part, base: Mapping[str, Tensor], refusals: Refusals
) -> Margins:
    """Return the margins of a part's examples at `alpha`, linear in the factors.

    The lead of an opening is the minimum over its tokens y_j of `log p(y_j) - max log p(other tokens)`. If it is
    positive, greedy decoding writes the opening.

    - `refuse` (harmful prompts): the lead of the refusal's opening.
    - `answer` (harmless prompts): the largest lead of all ways to begin a refusal.
    - `finish` (harmful prompts): the log-odds `log P - log(1 - P)` of the rest of the refusal after its opening, with
      the end-of-turn token. Its loss is the negative log-likelihood of the rest.
    - `keep` (harmless prompts): `sum_t s_t (log p_alpha(y_t) - log p_base(y_t))` over the response, with a token y_t
      drawn from the base model and a random sign s_t at every position t. The expectation of half its square is the
      response's KL to second order. The base model reads the query without its attack.

    All prompts under an attack begin with the same tokens (a system message, the attack's first words). These tokens
    run through the model once, and their contribution to the slope is averaged over the examples under the attack. The
    average is over harmful and harmless examples together: an average for each role would leak the label into the
    slopes. Values and the mean of the slopes are exact. `keep` shares no tokens, because with random signs the
    contributions would average to zero.

    Args:
        problem: the model and the selected neurons.
        alpha: factors `[neuron]` at which the model is run.
        part: the examples, all under one attack.
        base: the base model's final hidden states of every example of kind `keep`.
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
    """Return slopes `[example, neuron]` and values `[example]`; all examples begin with the same `shared` tokens."""
    chat, neurons = problem.chat, problem.neurons
    order: list[str] = []
    slopes: list[Tensor] = []
    values: list[Tensor] = []
    through_shared = torch.zeros_like(alpha)
    # a batch with separate factors for each row takes about twice the memory
    for group in micro_batches(batch, problem.chat.batch_tokens // 2):
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
    """Return the lead `[example]` of the refusal (harmful prompts) or the greatest lead of all openings (harmless).

    All tokens are read at once, because the backward pass of each reading fills a gradient `[token, vocabulary]`.
    """
    begun = [[each.sequence.response] if each.role == "safety" else openings for each in group]
    starts = [0, *accumulate(_lengths(group))]
    read = [
        (start + place, token)
        for start, ways in zip(starts[:-1], begun, strict=True)
        for opening in ways
        for place, token in enumerate(opening)
    ]
    places, tokens = torch.tensor(read, device=log_probabilities.device).unbind(1)
    likeliest, candidates = (each[places] for each in log_probabilities.topk(2, dim=-1))
    other = torch.where(candidates[:, 0] == tokens, likeliest[:, 1], likeliest[:, 0])
    leads = (log_probabilities[places, tokens] - other).split([len(opening) for ways in begun for opening in ways])
    least = torch.stack([lead.min() for lead in leads])
    return torch.stack([own.max() for own in least.split([len(ways) for ways in begun])])


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
