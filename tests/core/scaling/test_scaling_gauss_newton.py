"""Gauss-Newton: margins and slopes against a plain loop, the solution against scipy's."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.optimize import minimize
from torch import Tensor

from neurontune_core.config import ScalingConfig
from neurontune_core.model import tiny
from neurontune_core.model.likelihood import TokenSequence
from neurontune_core.model.load import ChatModel
from neurontune_core.records import NeuronSet, PromptPair
from neurontune_core.scaling.episodes import encode
from neurontune_core.scaling.gauss_newton import solve, stiffness, weights_of
from neurontune_core.scaling.learn import learn_scaling
from neurontune_core.scaling.losses import Example, base_states
from neurontune_core.scaling.margins import STAY_EVERY, Margins, join, measure, openings_of, stays_of

Settings = Callable[..., ScalingConfig]
OPENING = 3
OPENINGS = [[5, 9, 4], [5, 9, 7], [6]]
"""Ways to begin a refusal, as token ids: the first two differ in their last token, the third is one token."""


@pytest.fixture
def chat() -> ChatModel:
    """GPT-2: in float64 from end to end, where Llama's norms always go through float32."""
    return ChatModel(tiny.model("gpt2").double().requires_grad_(False), tiny.tokenizer(), torch.device("cpu"))


@pytest.fixture
def examples(chat: ChatModel, corpus: list[PromptPair]) -> list[Example]:
    made = encode(chat, corpus[::2], 99)
    assert any(example.shared for example in made)
    return made


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
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, examples: list[Example]
) -> None:
    base = base_states(chat, [e for e in examples if e.role == "utility"], 10_000)
    found = measure(chat, neurons, alpha, alpha, examples, base, 10_000, OPENING, OPENINGS)
    checked = 0
    for example in examples:
        if example.role != "safety":
            continue
        prompt, response = example.sequence.prompt, example.sequence.response
        opening = refusing(chat, neurons, alpha, example)
        rest = rest_odds(chat, neurons, alpha, prompt, response)
        place, second = row_of(found, example, 1), row_of(found, example, 0)
        for row, margin in ((place, opening), (second, rest)):
            assert float(found.values(alpha)[row]) == pytest.approx(float(margin), rel=1e-5)
            assert (found.aim[row], found.safety[row], found.examples[row]) == (1, 1, example.id)
        losses = found.losses(alpha)
        follows = log_probability(chat, neurons, alpha, prompt + response[:OPENING], response[OPENING:])
        assert float(losses[place]) == pytest.approx(float(torch.log1p((-opening).exp())), rel=1e-5)
        assert float(losses[second]) == pytest.approx(-float(follows), rel=1e-5)
        checked += 1
    assert checked >= 3


def test_responses_compared_are_spread_over_those_there_are(examples: list[Example]) -> None:
    one = next(example for example in examples if example.role == "utility")
    silent = replace(one, sequence=TokenSequence(one.sequence.prompt, []))
    many = [replace(one if number % 2 else silent, id=str(number)) for number in range(4 * STAY_EVERY)]
    assert [example.id for example in stays_of(many)] == ["1", "15", "31", "45"]
    assert [example.id for example in stays_of([many[0], many[1], many[2]])] == ["1"]
    assert stays_of([many[0]]) == [] == stays_of([example for example in examples if example.role == "safety"])


def test_harmless_margins_are_of_refusing_and_of_moving_from_the_base(
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, examples: list[Example]
) -> None:
    stays = stays_of(examples)
    base = base_states(chat, stays, 10_000)
    found = measure(chat, neurons, alpha, alpha, examples, base, 10_000, OPENING, OPENINGS)
    refusals = [e for e in examples if e.role == "safety"]
    ones = torch.ones_like(alpha)
    at_one = measure(chat, neurons, ones, ones, examples, base, 10_000, OPENING, OPENINGS)
    assert len(found.examples) == len(examples) + len(refusals) + len(stays) and stays
    harmless = [e for e in examples if e.role == "utility"]
    for example in harmless:
        refusal = refusing(chat, neurons, alpha, example).detach()
        place = row_of(found, example, 1)
        assert float(found.values(alpha)[place]) == pytest.approx(float(refusal), rel=1e-5)
        assert (found.aim[place], found.safety[place]) == (-1, 0)
        falling = torch.nn.functional.softplus(refusal)
        assert float(found.losses(alpha)[place]) == pytest.approx(float(falling), rel=1e-4)
    for example in stays:
        place = row_of(found, example, 0)
        assert (found.aim[place], found.safety[place]) == (0, 0)
        assert float(at_one.values(ones)[row_of(at_one, example, 0)]) == pytest.approx(0, abs=1e-6)
        moved = found.values(alpha)[place]
        assert float(found.losses(alpha)[place]) == pytest.approx(float(moved**2 / 2), rel=1e-4)
        at = alpha.clone().requires_grad_()
        expected = moved_by_loop(chat, neurons, at, example)
        (slope,) = torch.autograd.grad(expected, at)
        assert float(moved) == pytest.approx(float(expected.detach()), rel=1e-5)
        torch.testing.assert_close(found.slope[place].double(), slope, rtol=1e-4, atol=1e-6)


def row_of(margins: Margins, example: Example, first: int) -> int:
    return margins.names.index((example.id, float(first)))


def moved_by_loop(chat: ChatModel, neurons: NeuronSet, alpha: Tensor, example: Example) -> Tensor:
    """Sum over positions of `s_t (log p_alpha(y_t) - log p_base(y_t))`, y_t and s_t drawn by the example's name."""
    generator = torch.Generator().manual_seed(int.from_bytes(example.id.encode()[-7:], "big"))
    ones, (prompt, response) = torch.ones(len(alpha)), (example.sequence.prompt, example.sequence.response)
    usual = [log_probabilities(chat, neurons, ones, prompt + response[:t])[-1].detach() for t in range(len(response))]
    drawn = torch.multinomial(torch.stack(usual).exp(), 1, generator=generator)[:, 0].tolist()
    signs = (torch.randint(0, 2, (len(response),), generator=generator) * 2 - 1).tolist()
    return torch.stack(
        [
            sign * (log_probability(chat, neurons, alpha, prompt + response[:t], [y]) - usual[t][y])
            for t, (y, sign) in enumerate(zip(drawn, signs, strict=True))
        ]
    ).sum()


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
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, corpus: list[PromptPair]
) -> None:
    """The mean is over both roles: a role's own would tell the fit which role an example has."""
    examples = encode(chat, corpus, 99)
    base = base_states(chat, [e for e in examples if e.role == "utility"], 10_000)
    found = measure(chat, neurons, alpha, alpha, examples, base, 10_000, OPENING, OPENINGS)
    wrappers: dict[str, list[Example]] = {}
    for example in examples:
        wrappers.setdefault(example.wrapper, []).append(example)
    assert any(len({e.role for e in group}) == 2 and group[0].shared for group in wrappers.values())
    for group in wrappers.values():
        own, full = slopes_of(group, alpha, lambda e, at, shared: refusing(chat, neurons, at, e, shared))
        slopes = found.slope[[row_of(found, example, 1) for example in group]].double()
        torch.testing.assert_close(slopes, own + (full - own).mean(0), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(slopes.mean(0), full.mean(0), rtol=1e-4, atol=1e-6)


def test_which_opening_leads_depends_on_the_prompt(
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, examples: list[Example]
) -> None:
    """Otherwise the greatest of the leads would not be tried here."""
    leading = {
        int(torch.stack([lead(chat, neurons, alpha, e.sequence.prompt, opening) for opening in OPENINGS]).argmax())
        for e in examples
        if e.role == "utility"
    }
    assert len(leading) > 1


def test_openings_are_told_by_what_one_run_on_the_longest_shows(settings: Settings) -> None:
    chat = ChatModel(tiny.model("llama"), tiny.tokenizer(), torch.device("cpu"))
    found = openings_of(chat, settings(refusal_openings=("I cannot", "I can't", "Sorry", "I can")))
    # the tiny tokenizer has a token a letter
    assert [chat.tokenizer.decode(tokens) for tokens in found] == ["I cannot", "I can'", "S", "I can"]


def test_slopes_of_what_follows_the_opening(
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, corpus: list[PromptPair]
) -> None:
    examples = encode(chat, corpus, 99)
    base = base_states(chat, [e for e in examples if e.role == "utility"], 10_000)
    found = measure(chat, neurons, alpha, alpha, examples, base, 10_000, OPENING, OPENINGS)
    wrappers: dict[str, list[Example]] = {}
    for example in examples:
        if example.role == "safety":
            wrappers.setdefault(example.wrapper, []).append(example)
    for group in wrappers.values():

        def rest(example: Example, at: Tensor, shared: int) -> Tensor:
            return rest_odds(chat, neurons, at, example.sequence.prompt, example.sequence.response, shared)

        own, full = slopes_of(group, alpha, rest)
        rows = [row_of(found, example, 0) for example in group]
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
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, examples: list[Example], batch_tokens: int
) -> None:
    base = base_states(chat, [e for e in examples if e.role == "utility"], 10_000)
    whole = measure(chat, neurons, alpha, alpha, examples, base, 10_000, OPENING, OPENINGS)
    parts = measure(chat, neurons, alpha, alpha, examples, base, batch_tokens, OPENING, OPENINGS)
    torch.testing.assert_close(parts.slope, whole.slope, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(parts.offset, whole.offset, rtol=1e-5, atol=1e-5)


def test_after_inner_steps_the_margin_is_measured_there_and_moves_with_alpha(
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, examples: list[Example]
) -> None:
    base = base_states(chat, [e for e in examples if e.role == "utility"], 10_000)
    adapted = alpha + 0.1
    there = measure(chat, neurons, adapted, adapted, examples, base, 10_000, OPENING, OPENINGS)
    found = measure(chat, neurons, alpha, adapted, examples, base, 10_000, OPENING, OPENINGS)
    torch.testing.assert_close(found.values(alpha), there.values(adapted), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.slope, there.slope)


def made_up(count: int = 30, neurons: int = 5) -> Margins:
    generator = torch.Generator().manual_seed(0)
    return Margins(
        torch.randn(count, neurons, generator=generator, dtype=torch.float64),
        torch.randn(count, generator=generator, dtype=torch.float64),
        torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64).repeat(count // 3),
        torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64).repeat(count // 3),
        torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64).repeat(count // 3),
        tuple(f"e{i}" for i in range(count)),
    )


@pytest.mark.parametrize("damping", [0.0, 2.0])
def test_solution_equals_scipys(settings: Settings, damping: float) -> None:
    changes = {
        "outer_optimiser": "gauss_newton",
        "utility_weight": 0.5,
        "prior_width": 0.7,
        "damping": damping,
        "response_weight": 0.1,
    }
    margins, config = made_up(), settings(**changes)
    slope, offset = margins.slope.numpy(), margins.offset.numpy()
    aim = margins.aim.numpy()
    weights = np.where(margins.safety.numpy() == 1, 1.0, np.where(aim == 0, 0.075, 0.5))
    # ten openings rise; what is to stay weighs a tenth, a quarter of which is left to the neurons one by one
    stiff = 0.1 * 0.25 * 10 * (slope[2::3] ** 2).mean(0)

    def objective(alpha: np.ndarray, start: float) -> float:
        values = offset + slope @ (alpha - 1)
        losses = np.where(aim == 0, values**2 / 2, np.logaddexp(0, -aim * values))
        moved = damping * (((alpha - start) / 0.7) ** 2).sum() / 2
        held = ((0.7**-2 + stiff) * (alpha - 1) ** 2).sum() / 2
        return float((weights * losses).sum() + held + moved)

    np.testing.assert_allclose(weights_of(margins, config).numpy(), weights, rtol=1e-6)
    np.testing.assert_allclose(stiffness(margins, config).numpy(), stiff, rtol=1e-12)
    for start in (1.0, 3.0):
        expected = minimize(objective, np.ones(5), start, method="BFGS", options={"gtol": 1e-8}).x
        found = solve(margins, torch.full((5,), start).double(), config)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)
        assert np.abs(expected - 1).max() > 0.1


def test_an_example_measured_anew_replaces_its_older_measurement() -> None:
    older = made_up(6)
    # e1 and e4 as before, e5 with its other margin
    first, names = torch.tensor([1.0, 1.0, 0.0, 1.0]).double(), ("e4", "e1", "e7", "e5")
    newer = Margins(older.slope[:4] + 1, older.offset[:4] + 1, older.aim[:4], older.safety[:4], first, names)
    joined = join(older, newer)
    assert joined.examples == ("e0", "e2", "e3", "e5", "e4", "e1", "e7", "e5")
    torch.testing.assert_close(joined.offset, torch.cat([older.offset[[0, 2, 3, 5]], newer.offset]))
    torch.testing.assert_close(joined.slope, torch.cat([older.slope[[0, 2, 3, 5]], newer.slope]))


def test_kinds_of_margins_weigh_as_if_there_were_as_many_of_each(settings: Settings) -> None:
    margins = replace(
        made_up(9),
        safety=torch.tensor([1, 1, 1, 1, 1, 0, 0, 0, 0]).double(),
        first=torch.tensor([1, 1, 1, 1, 0, 1, 1, 0, 1]).double(),
    )
    found = weights_of(margins, settings(utility_weight=0.3, response_weight=0.1))
    # four openings to rise; one second margin of a harmful prompt; three openings to fall; one that is to stay
    torch.testing.assert_close(found, torch.tensor([1, 1, 1, 1, 4, 0.4, 0.4, 0.3, 0.4]).double())


def test_without_rests_the_other_margins_are_the_same(
    chat: ChatModel, neurons: NeuronSet, alpha: Tensor, examples: list[Example]
) -> None:
    base = base_states(chat, stays_of(examples), 10_000)
    whole = measure(chat, neurons, alpha, alpha, examples, base, 10_000, OPENING, OPENINGS)
    without = measure(chat, neurons, alpha, alpha, examples, base, 10_000, OPENING, OPENINGS, rest=False)
    left = (whole.first == 1) | (whole.safety == 0)
    assert without.names == [name for name, stays in zip(whole.names, left.tolist(), strict=True) if stays]
    for field in ("slope", "offset", "aim", "safety"):
        torch.testing.assert_close(getattr(without, field), getattr(whole, field)[left])


def test_learning_lowers_the_safety_loss_and_repeats_itself(corpus: list[PromptPair], settings: Settings) -> None:
    chat = ChatModel(tiny.model("llama").requires_grad_(False), tiny.tokenizer(), torch.device("cpu"))
    neurons = NeuronSet(*(tuple(made) for made in _halves()))
    config = settings(
        steps=10,
        outer_optimiser="gauss_newton",
        utility_weight=0.0,
        response_weight=0.1,
        inner_learning_rate=0.01,
        prior_width=1.0,
        opening_tokens=1,  # the least of several leads is another token's from step to step in a random model
    )
    learned = learn_scaling(corpus, neurons, config, chat, 4096)
    alpha, harmful = (
        torch.from_numpy(learned.scaling.alpha),
        [e for e in encode(chat, corpus, 99) if e.role == "safety"],
    )
    before, after = (
        measure(chat, neurons, at, at, harmful, {}, 4096, config.opening_tokens, OPENINGS, rest=False).losses(at).mean()
        for at in (torch.ones_like(alpha), alpha)
    )
    assert float(after) < 0.9 * float(before)
    again = learn_scaling(corpus, neurons, config, chat, 4096)
    assert np.array_equal(learned.scaling.alpha, again.scaling.alpha)


def _halves() -> list[list[object]]:
    from neurontune_core.records import NeuronId

    return [[NeuronId(layer, i) for layer in range(2) for i in part] for part in (range(24), range(24, 48))]


def test_second_order_is_refused() -> None:
    with pytest.raises(ValidationError, match="outer_optimiser 'gauss_newton' has not"):
        ScalingConfig(outer_optimiser="gauss_newton", order="second")
