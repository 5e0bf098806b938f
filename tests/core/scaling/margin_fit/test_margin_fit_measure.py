"""Margins and their slopes against a plain loop in float64, one sequence at a time."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor

from neurontune_core.model import tiny
from neurontune_core.model.likelihood import TokenSequence
from neurontune_core.model.load import ChatModel
from neurontune_core.records import NeuronSet, PromptPair
from neurontune_core.scaling.examples import encode_examples
from neurontune_core.scaling.losses import Example
from neurontune_core.scaling.margin_fit.margins import KINDS, Kind, Margins, join
from neurontune_core.scaling.margin_fit.measure import Refusals, measure_margins, openings_of, parts_of
from neurontune_core.scaling.problem import Problem

OPENING = 3
OPENINGS = [[5, 9, 4], [5, 9, 7], [6]]
"""Ways to begin a refusal, as token ids: the first two differ in their last token, the third is one token."""


@pytest.fixture
def chat() -> ChatModel:
    """GPT-2: in float64 from end to end, where Llama's norms always go through float32."""
    return ChatModel(tiny.model("gpt2").double().requires_grad_(False), tiny.tokenizer(), torch.device("cpu"))


@pytest.fixture
def examples(chat: ChatModel, corpus: list[PromptPair]) -> list[Example]:
    made = encode_examples(chat, corpus[::2], 99)
    assert any(example.shared for example in made)
    return made


def measured(
    problem: Problem, alpha: Tensor, examples: list[Example], kept_share: float = 0.1, finished: bool = True
) -> Margins:
    """All margins of the examples, as a step of learning measures them."""
    parts = parts_of(examples, kept_share, finished)
    base = problem.base(e for part in parts if part.kind == "keep" for e in part.examples)
    refusals = Refusals(OPENINGS, OPENING)
    return join([measure_margins(problem, alpha, part, base, refusals) for part in parts])


def row_of(margins: Margins, example: Example, kind: Kind) -> int:
    return margins.names.index((example.id, KINDS.index(kind)))


def log_probabilities(chat: ChatModel, neurons: NeuronSet, alpha: Tensor, tokens: list[int], shared: int = 0) -> Tensor:
    """Log-probabilities `[position, token]` after each of `tokens`; no slope through the first `shared`."""

    def scale(layer: int, values: Tensor) -> Tensor:
        factors = torch.ones(values.shape[1:], dtype=values.dtype)
        for neuron, factor in zip(neurons.all, alpha, strict=True):
            if neuron.layer == layer:
                own = torch.arange(len(factors)) >= shared
                column = torch.where(own, factor, factor.detach())
                factors = torch.cat([factors[:, : neuron.index], column[:, None], factors[:, neuron.index + 1 :]], -1)
        return values * factors

    blocks = chat.model.transformer.h
    hooks = [
        block.mlp.c_proj.register_forward_pre_hook(lambda _, given, layer=layer: (scale(layer, given[0]),))
        for layer, block in enumerate(blocks)
    ]
    found = chat.model(input_ids=torch.tensor([tokens])).logits[0].log_softmax(-1)
    for hook in hooks:
        hook.remove()
    return found


def log_probability(
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, prompt: list[int], response: list[int], shared: int = 0
) -> Tensor:
    """The log-probability of a response after a prompt."""
    logits = log_probabilities(chat, neurons, alpha, prompt + response, shared)
    return torch.stack([logits[len(prompt) - 1 + j, token] for j, token in enumerate(response)]).sum()


def odds(value: Tensor) -> Tensor:
    return value - torch.log1p(-value.exp())


def rest_odds(
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, prompt: list[int], response: list[int], shared: int = 0
) -> Tensor:
    """Log-odds of what follows a response's opening."""
    started = prompt + response[:OPENING]
    return odds(log_probability(chat, neurons, alpha, started, response[OPENING:], shared))


def lead(
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, prompt: list[int], opening: list[int], shared: int = 0
) -> Tensor:
    """The least lead of an opening's tokens over the likeliest other token in their places."""
    found = log_probabilities(chat, neurons, alpha, prompt + opening, shared)[len(prompt) - 1 :]
    leads = []
    for place, token in enumerate(opening):
        others = [value for other, value in enumerate(found[place]) if other != token]
        leads.append(found[place, token] - torch.stack(others).max())
    return torch.stack(leads).min()


def refusing(chat: ChatModel, neurons: NeuronSet, alpha: Tensor, example: Example, shared: int = 0) -> Tensor:
    """The lead of a harmful prompt's refusal, or the greatest lead of the ways to begin one."""
    prompt, response = example.sequence.prompt, example.sequence.response
    openings = [response[:OPENING]] if example.role == "safety" else OPENINGS
    return torch.stack([lead(chat, neurons, alpha, prompt, opening, shared) for opening in openings]).max()


def test_harmful_margins_are_the_lead_of_refusing_and_the_log_odds_of_the_rest(
    problem: Problem, alpha: Tensor, examples: list[Example]
) -> None:
    chat, neurons = problem.chat, problem.neurons
    found = measured(problem, alpha, examples)
    losses, harmful = found.losses(alpha), [example for example in examples if example.role == "safety"]
    assert len(harmful) >= 3
    for example in harmful:
        prompt, response = example.sequence.prompt, example.sequence.response
        opening = refusing(chat, neurons, alpha, example)
        rest = rest_odds(chat, neurons, alpha, prompt, response)
        place, second = row_of(found, example, "refuse"), row_of(found, example, "finish")
        for row, margin in ((place, opening), (second, rest)):
            assert float(found.values(alpha)[row]) == pytest.approx(float(margin), rel=1e-5)
        follows = log_probability(chat, neurons, alpha, prompt + response[:OPENING], response[OPENING:])
        assert float(losses[place]) == pytest.approx(float(torch.log1p((-opening).exp())), rel=1e-5)
        assert float(losses[second]) == pytest.approx(-float(follows), rel=1e-5)


def test_harmless_margins_are_of_beginning_to_refuse(problem: Problem, alpha: Tensor, examples: list[Example]) -> None:
    found = measured(problem, alpha, examples)
    harmless = [e for e in examples if e.role == "utility"]
    assert found.of("answer").sum() == len(harmless) >= 3
    for example in harmless:
        refusal = refusing(problem.chat, problem.neurons, alpha, example).detach()
        place = row_of(found, example, "answer")
        assert float(found.values(alpha)[place]) == pytest.approx(float(refusal), rel=1e-5)
        falling = torch.nn.functional.softplus(refusal)
        assert float(found.losses(alpha)[place]) == pytest.approx(float(falling), rel=1e-4)


def moved_by_loop(problem: Problem, alpha: Tensor, example: Example) -> Tensor:
    """Sum over positions of `s_t (log p_alpha(y_t) - log p_base(y_t))`, y_t and s_t drawn by the example's name.

    The base model reads the plain query, the changed one the prompt as it is; both go on with the same response.
    """
    chat, neurons, ones = problem.chat, problem.neurons, torch.ones(len(alpha))
    generator = torch.Generator().manual_seed(int.from_bytes(example.id.encode()[-7:], "big"))
    prompt, response = example.sequence.prompt, example.sequence.response
    plain = example.reference.prompt if example.reference else prompt
    usual = [log_probabilities(chat, neurons, ones, plain + response[:t])[-1].detach() for t in range(len(response))]
    drawn = torch.multinomial(torch.stack(usual).exp(), 1, generator=generator)[:, 0].tolist()
    signs = (torch.randint(0, 2, (len(response),), generator=generator) * 2 - 1).tolist()
    return torch.stack(
        [
            sign * (log_probability(chat, neurons, alpha, prompt + response[:t], [y]) - usual[t][y])
            for t, (y, sign) in enumerate(zip(drawn, signs, strict=True))
        ]
    ).sum()


def test_kept_responses_are_compared_with_the_base_model_on_the_plain_prompt(
    problem: Problem, alpha: Tensor, examples: list[Example]
) -> None:
    found = measured(problem, alpha, examples, kept_share=1.0)
    ones = torch.ones_like(alpha)
    at_one = measured(problem, ones, examples, kept_share=1.0)
    kept = [example for example in examples if example.role == "utility"]
    assert found.of("keep").sum() == len(kept) and {bool(example.reference) for example in kept} == {True, False}
    for example in kept:
        place = row_of(found, example, "keep")
        moved = found.values(alpha)[place]
        assert float(found.losses(alpha)[place]) == pytest.approx(float(moved**2 / 2), rel=1e-4)
        at = alpha.clone().requires_grad_()
        expected = moved_by_loop(problem, at, example)
        (slope,) = torch.autograd.grad(expected, at)
        assert float(moved) == pytest.approx(float(expected.detach()), rel=1e-5)
        torch.testing.assert_close(found.slope[place].double(), slope, rtol=1e-4, atol=1e-6)
        start = float(at_one.values(ones)[row_of(at_one, example, "keep")])
        assert start == pytest.approx(float(moved_by_loop(problem, ones, example)), rel=1e-5, abs=1e-9)
        assert (abs(start) > 1e-3) == bool(example.reference), "a wrapper alone moves the model from its plain answer"


def test_responses_compared_are_spread_over_those_there_are(examples: list[Example]) -> None:
    one = replace(next(example for example in examples if example.role == "utility"), wrapper="same")
    silent = replace(one, sequence=TokenSequence(one.sequence.prompt, []))

    def kept(examples: list[Example], share: float) -> list[str]:
        parts = parts_of(examples, share, finished=False)
        return [example.id for part in parts if part.kind == "keep" for example in part.examples]

    many = [replace(one if number % 2 else silent, id=str(number)) for number in range(40)]
    assert kept(many, 0.1) == ["1", "11", "21", "31"]
    assert kept(many, 1.0) == [str(number) for number in range(40) if number % 2]
    assert kept(many, 0.01) == ["1"] and kept(many, 0.0) == []
    assert kept([many[0]], 0.1) == [] == kept([e for e in examples if e.role == "safety"], 0.1)


def test_parts_have_one_wrapper_each_and_what_is_measured_of_them(examples: list[Example]) -> None:
    for finished in (True, False):
        parts = parts_of(examples, 0.5, finished)
        assert all(len({example.wrapper for example in part.examples}) == 1 for part in parts)
        openings = [e for part in parts if part.kind is None for e in part.examples]
        assert sorted(e.id for e in openings) == sorted(e.id for e in examples)
        ends = [e.id for part in parts if part.kind == "finish" for e in part.examples]
        assert sorted(ends) == sorted(e.id for e in examples if e.role == "safety" and finished)


def test_half_the_square_of_what_moves_is_the_kl_on_average() -> None:
    """Over tokens and signs, to second order: here exactly, for a distribution that moves very little."""
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(3, 5, generator=generator, dtype=torch.float64).log_softmax(-1)
    tuned = (base + 0.01 * torch.randn(3, 5, generator=generator, dtype=torch.float64)).log_softmax(-1)
    kl = float((base.exp() * (base - tuned)).sum())
    mean = 0.0
    for tokens in product(range(5), repeat=3):
        for signs in product((-1, 1), repeat=3):
            weight = float(torch.stack([base[t, y] for t, y in enumerate(tokens)]).sum().exp()) / 8
            moved = sum(
                sign * float(tuned[t, y] - base[t, y]) for t, (y, sign) in enumerate(zip(tokens, signs, strict=True))
            )
            mean += weight * moved**2 / 2
    assert mean == pytest.approx(kl, rel=0.02)


def test_slopes_are_exact_for_own_words_and_in_the_mean_for_shared_ones(
    problem: Problem, alpha: Tensor, corpus: list[PromptPair]
) -> None:
    """The mean is over both roles: a role's own would tell the fit which role an example has."""
    examples = encode_examples(problem.chat, corpus, 99)
    found = measured(problem, alpha, examples)
    wrappers: dict[str, list[Example]] = {}
    for example in examples:
        wrappers.setdefault(example.wrapper, []).append(example)
    assert any(len({e.role for e in group}) == 2 and group[0].shared for group in wrappers.values())
    for group in wrappers.values():
        own, full = slopes_of(
            group, alpha, lambda e, at, shared: refusing(problem.chat, problem.neurons, at, e, shared)
        )
        rows = [row_of(found, e, "refuse" if e.role == "safety" else "answer") for e in group]
        slopes = found.slope[rows].double()
        torch.testing.assert_close(slopes, own + (full - own).mean(0), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(slopes.mean(0), full.mean(0), rtol=1e-4, atol=1e-6)


def test_which_opening_leads_depends_on_the_prompt(problem: Problem, alpha: Tensor, examples: list[Example]) -> None:
    """Otherwise the greatest of the leads would not be tried here."""
    chat, neurons = problem.chat, problem.neurons
    leading = {
        int(torch.stack([lead(chat, neurons, alpha, e.sequence.prompt, opening) for opening in OPENINGS]).argmax())
        for e in examples
        if e.role == "utility"
    }
    assert len(leading) > 1


def test_openings_are_told_by_what_one_run_on_the_longest_shows(chat: ChatModel) -> None:
    found = openings_of(chat, ("I cannot", "I can't", "Sorry", "I can"), 5)
    # the tiny tokenizer has a token a letter
    assert [chat.tokenizer.decode(tokens) for tokens in found.openings] == ["I cannot", "I can'", "S", "I can"]
    assert chat.tokenizer.decode(found.longest) == "I cannot" and found.tokens == 5


def test_slopes_of_what_follows_the_opening(problem: Problem, alpha: Tensor, corpus: list[PromptPair]) -> None:
    examples = encode_examples(problem.chat, corpus, 99)
    found = measured(problem, alpha, examples)
    wrappers: dict[str, list[Example]] = {}
    for example in examples:
        if example.role == "safety":
            wrappers.setdefault(example.wrapper, []).append(example)
    for group in wrappers.values():

        def rest(example: Example, at: Tensor, shared: int) -> Tensor:
            prompt, response = example.sequence.prompt, example.sequence.response
            return rest_odds(problem.chat, problem.neurons, at, prompt, response, shared)

        own, full = slopes_of(group, alpha, rest)
        rows = [row_of(found, example, "finish") for example in group]
        torch.testing.assert_close(found.slope[rows].double(), own + (full - own).mean(0), rtol=1e-4, atol=1e-6)


def slopes_of(
    group: list[Example], alpha: Tensor, margin_of: Callable[[Example, Tensor, int], Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the slopes `[example, neuron]` of margins through the examples' own words, and through all words."""
    found = []
    for shared in (group[0].shared, 0):
        at = alpha.clone().requires_grad_()
        margins = [margin_of(example, at, shared) for example in group]
        found.append(torch.stack([torch.autograd.grad(margin, at, retain_graph=True)[0] for margin in margins]))
    own, full = found
    return own, full


@pytest.mark.parametrize("batch_tokens", [1, 100])
def test_the_size_of_the_parts_changes_nothing(
    problem: Problem, alpha: Tensor, examples: list[Example], batch_tokens: int
) -> None:
    whole = measured(problem, alpha, examples, kept_share=1.0)
    parts = measured(
        replace(problem, chat=replace(problem.chat, batch_tokens=batch_tokens)), alpha, examples, kept_share=1.0
    )
    torch.testing.assert_close(parts.slope, whole.slope, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(parts.offset, whole.offset, rtol=1e-5, atol=1e-5)
    assert parts.names == whole.names


def test_without_rests_the_other_margins_are_the_same(problem: Problem, alpha: Tensor, examples: list[Example]) -> None:
    whole, without = (measured(problem, alpha, examples, finished=finished) for finished in (True, False))
    left = ~whole.of("finish")
    assert without.names == [name for name, stays in zip(whole.names, left.tolist(), strict=True) if stays]
    for field in ("slope", "offset", "kind"):
        torch.testing.assert_close(getattr(without, field), getattr(whole, field)[left])
