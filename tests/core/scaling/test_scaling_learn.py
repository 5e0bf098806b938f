"""The loop of all methods: it lowers losses, validates and chooses, repeats itself, and leaves the model as it was."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from neurontune_core.errors import InputError, NumericalError
from neurontune_core.model import tiny
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import scaled
from neurontune_core.records import NeuronId, NeuronSet, PromptPair
from neurontune_core.scaling import learn as room
from neurontune_core.scaling.examples import encode_examples
from neurontune_core.scaling.learn import LearnedScaling, learn_scaling
from neurontune_core.scaling.losses import PositionWeights, response_losses
from neurontune_core.scaling.margin_fit.measure import measure_margins, openings_of, parts_of
from neurontune_core.scaling.problem import Problem, training_pairs
from neurontune_core.scaling.validation import Score, validated_steps

Settings = Callable[..., Any]
EVERY = NeuronSet(
    tuple(NeuronId(layer, index) for layer in range(2) for index in range(0, 24)),
    tuple(NeuronId(layer, index) for layer in range(2) for index in range(24, 48)),
)
METHODS = pytest.mark.parametrize("method", ["maml", "margin_fit", "dial"])


@pytest.fixture
def single() -> ChatModel:
    """The model in the format it is trained in."""
    return ChatModel(tiny.model("llama").requires_grad_(False), tiny.tokenizer(), torch.device("cpu"))


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Settings:
    """Return a maker of small settings of a method by its name; the dial has as many pairs as others have steps."""

    def make(method: str, steps: int = 2, **changes: Any) -> Any:
        maker = request.getfixturevalue(method)
        if method == "dial":
            return maker(safety_factors=tuple(1 + number / 2 for number in range(steps)), utility_factors=(1.0,))
        return maker(steps=steps, **({"tasks_per_step": 1} if method == "maml" else {}), **changes)

    return make


def labels(prompts: Sequence[str], responses: Sequence[str]) -> list[str]:
    return ["refusal" if len(prompt) % 3 == 0 else "compliance" for prompt in prompts]


def hooks(chat: ChatModel) -> int:
    return sum(len(module._forward_pre_hooks) + len(module._forward_hooks) for module in chat.model.modules())


@pytest.mark.parametrize("order", ["first", "second"])
def test_meta_learning_lowers_the_joint_loss(
    single: ChatModel, corpus: list[PromptPair], maml: Settings, order: str
) -> None:
    config = maml(
        steps=12, order=order, safety_start=1.0, utility_start=1.0, inner_learning_rate=0.01, outer_learning_rate=0.1
    )
    learned = learn_scaling(Problem(single, EVERY, corpus), config)
    examples = encode_examples(single, corpus, 99)
    base = Problem(single, EVERY, corpus).base(examples)
    found = []
    for alpha in (torch.ones(96), torch.from_numpy(learned.scaling.alpha)):
        with scaled(single.model, EVERY, alpha), torch.no_grad():
            losses = response_losses(single, examples, base, PositionWeights(2, 5.0))
        found.append(float(losses["safety"] + 0.6 * losses["utility"]))
    assert found[1] < 0.9 * found[0]
    assert learned.curve["loss"].iloc[-4:].mean() < learned.curve["loss"].iloc[:4].mean()


def test_fitting_margins_lowers_the_safety_loss(
    single: ChatModel, corpus: list[PromptPair], margin_fit: Settings
) -> None:
    # the least of several leads is another token's from step to step in a random model
    config = margin_fit(steps=8, utility_weight=0.0, response_weight=0.1, prior_width=1.0, opening_tokens=1)
    learned = learn_scaling(Problem(single, EVERY, corpus), config)
    problem = Problem(single, EVERY, corpus)
    refusals = openings_of(single, config.refusal_openings, 1)
    parts = parts_of([e for e in encode_examples(single, corpus, 99) if e.role == "safety"], 0.0, finished=False)
    before, after = (
        float(torch.cat([measure_margins(problem, at, part, {}, refusals).losses(at) for part in parts]).mean())
        for at in (torch.ones(96), torch.from_numpy(learned.scaling.alpha))
    )
    assert after < 0.9 * before


def test_without_steps_the_factors_are_where_they_start(
    single: ChatModel, corpus: list[PromptPair], neurons: NeuronSet, maml: Settings, margin_fit: Settings
) -> None:
    for config, expected in (
        (maml(steps=0, safety_start=1.25, utility_start=0.75, validations=3), [1.25] * 3 + [0.75] * 3),
        (margin_fit(steps=0), [1.0] * 6),
    ):
        learned = learn_scaling(Problem(single, neurons, corpus, labels), config)
        assert learned.scaling.alpha.tolist() == expected
        assert learned.scaling.alpha.dtype == np.float32 and learned.scaling.neurons == neurons
        assert len(learned.curve) == 0 and learned.facts["steps"] == 0


@METHODS
def test_the_same_seed_learns_the_same(
    single: ChatModel, validated: list[PromptPair], neurons: NeuronSet, make: Settings, method: str
) -> None:
    one, other = (
        learn_scaling(Problem(single, neurons, validated, labels), make(method, validations=1)) for _ in range(2)
    )
    assert np.array_equal(one.scaling.alpha, other.scaling.alpha) and one.curve.equals(other.curve)
    if method != "dial":
        third = learn_scaling(Problem(single, neurons, validated), make(method, seed=1))
        assert not np.array_equal(one.scaling.alpha, third.scaling.alpha)


@pytest.mark.parametrize("method", ["maml", "margin_fit"])
def test_only_the_training_split_is_used(
    single: ChatModel, corpus: list[PromptPair], neurons: NeuronSet, make: Settings, method: str
) -> None:
    others = [replace(pair, id=f"x{pair.id}", response="Never", split="test") for pair in corpus]
    alone = learn_scaling(Problem(single, neurons, corpus), make(method))
    mixed = learn_scaling(Problem(single, neurons, [*others, *corpus]), make(method))
    assert np.array_equal(alone.scaling.alpha, mixed.scaling.alpha)
    with pytest.raises(InputError, match="the training split needs"):
        learn_scaling(Problem(single, neurons, others), make(method))


@METHODS
def test_the_curve_has_a_row_a_step_and_progress_is_told(
    single: ChatModel, corpus: list[PromptPair], neurons: NeuronSet, make: Settings, method: str
) -> None:
    told: list[tuple[Any, str, int]] = []
    reported: list[tuple[int, dict[str, float]]] = []

    def track(items: Iterable[Any], description: str, total: int) -> Iterator[Any]:
        for item in items:
            told.append((item, description, total))
            yield item

    learned = learn_scaling(
        Problem(single, neurons, corpus),
        make(method, 3),
        track,
        report=lambda step, row: reported.append((step, dict(row))),
    )
    assert learned.curve["step"].tolist() == [0, 1, 2]
    assert told == [(step, "learning alpha", 3) for step in range(3)]
    assert [step for step, _ in reported] == [0, 1, 2]
    assert [row for _, row in reported] == learned.curve.to_dict("records")
    assert np.isfinite(learned.curve.to_numpy()).all()
    shift = float(np.abs(learned.scaling.alpha - 1).mean())
    assert learned.curve["alpha_mean_shift"].iloc[-1] == pytest.approx(shift, rel=1e-5)
    if method != "dial":
        assert (learned.facts["loss_first"], learned.facts["loss_last"]) == tuple(learned.curve["loss"].iloc[[0, 2]])
        assert learned.facts["tokens"] == learned.curve["tokens"].sum() > 0
        assert learned.facts["gflops_per_second"] > 0


@METHODS
def test_the_model_is_left_as_it_was(
    single: ChatModel, validated: list[PromptPair], neurons: NeuronSet, make: Settings, method: str
) -> None:
    weights = {name: value.clone() for name, value in single.model.state_dict().items()}
    attention = single.model.config._attn_implementation
    learn_scaling(Problem(single, neurons, validated, labels), make(method, validations=1))
    assert hooks(single) == 0 and single.model.config._attn_implementation == attention
    assert all(torch.equal(value, weights[name]) for name, value in single.model.state_dict().items())
    assert all(parameter.grad is None for parameter in single.model.parameters())


@pytest.mark.parametrize("method", ["maml", "margin_fit"])
def test_what_is_not_finite_names_the_step(
    single: ChatModel, corpus: list[PromptPair], neurons: NeuronSet, make: Settings, method: str
) -> None:
    def track(items: Iterable[Any], description: str, total: int) -> Iterator[Any]:
        for step in items:
            if step == 1:
                single.model.get_output_embeddings().weight.fill_(float("nan"))
            yield step

    with pytest.raises(NumericalError, match=r"step 1 is not finite; lower scaling\."):
        learn_scaling(Problem(single, neurons, corpus), make(method, 3), track)
    assert hooks(single) == 0


@pytest.mark.parametrize("method", ["maml", "margin_fit"])
def test_hooks_are_removed_after_an_error_in_the_middle(
    single: ChatModel, corpus: list[PromptPair], neurons: NeuronSet, make: Settings, method: str
) -> None:
    calls, attention = 0, single.model.config._attn_implementation

    def fail(module: Any, inputs: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 12:
            raise RuntimeError("out of memory")

    handle = single.model.get_submodule("model.layers.1.mlp").register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        learn_scaling(Problem(single, neurons, corpus), make(method))
    handle.remove()
    assert hooks(single) == 0 and single.model.config._attn_implementation == attention


@pytest.mark.parametrize(
    ("steps", "validations", "expected"),
    [
        (24, 6, {4, 8, 12, 16, 20, 24}),
        (10, 4, {3, 5, 8, 10}),
        (7, 1, {7}),
        (3, 6, {1, 2, 3}),
        (5, 0, set()),
        (0, 6, set()),
    ],
)
def test_validations_are_evenly_spread_and_the_last_step_is_among_them(
    maml: Settings, steps: int, validations: int, expected: set[int]
) -> None:
    assert validated_steps(steps, maml(steps=steps, validations=validations)) == expected


def test_every_pair_of_the_dial_is_validated(dial: Settings) -> None:
    assert validated_steps(5, dial()) == {1, 2, 3, 4, 5}


def scored(monkeypatch: pytest.MonkeyPatch, values: Sequence[float]) -> tuple[list[Tensor], list[list[str]]]:
    """Let validations find these scores, one a call; return the factors and the queries asked at each."""
    left, seen, asked = iter(values), [], []
    factors = room.scaled

    def noted(model: Any, neurons: NeuronSet, alpha: Tensor) -> Any:
        seen.append(alpha.clone())
        return factors(model, neurons, alpha)

    def score(chat: ChatModel, prompts: Any, *_: Any) -> Score:
        asked.append(sorted({pair.query_id for pair in prompts.prompts}))
        value = next(left)
        return Score(value, value, 0, 1, 1, 0)

    monkeypatch.setattr(room, "scaled", noted)
    monkeypatch.setattr(room, "validate", score)
    return seen, asked


@pytest.mark.parametrize("method", ["maml", "margin_fit"])
def test_the_best_factors_are_kept(
    single: ChatModel, validated: list[PromptPair], neurons: NeuronSet, make: Settings, method: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Of steps 2, 4 and 5 the second is best; what is reported is of other queries, at those factors."""
    config = make(method, 5, validations=3)
    seen, asked = scored(monkeypatch, [0.5, 0.75, 0.25, 0.6])
    learned = learn_scaling(Problem(single, neurons, validated, labels), config)
    found = learned.curve.dropna()
    assert found["step"].tolist() == [1, 3, 4]
    assert found["validation_score"].tolist() == pytest.approx([0.5, 0.75, 0.25])
    assert (learned.facts["best_step"], learned.facts["best_score"]) == (4, pytest.approx(0.75))
    assert learned.facts["validation_score"] == learned.facts["validation_safety"] == pytest.approx(0.6)
    assert np.array_equal(learned.scaling.alpha, seen[1].numpy()) and torch.equal(seen[3], seen[1])
    assert len({tuple(factors.tolist()) for factors in seen[:3]}) == 3
    assert asked[0] == asked[1] == asked[2] and not set(asked[3]) & set(asked[0])


def test_a_validation_that_is_not_finite_names_the_step(
    single: ChatModel, validated: list[PromptPair], neurons: NeuronSet, make: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise its score, which no later one exceeds, would make broken factors the result."""
    monkeypatch.setattr(room, "validate", lambda *_: Score(0.5, 0.5, 0, 1, 1, math.nan))
    with pytest.raises(NumericalError, match="after step 2 the changed model's probabilities are not finite"):
        learn_scaling(Problem(single, neurons, validated, labels), make("maml", 4, validations=2))


def test_patience_ends_a_run_that_gets_no_better(
    single: ChatModel, validated: list[PromptPair], neurons: NeuronSet, make: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As good is no better; patience 0 takes all steps."""

    def learn(patience: int, values: Sequence[float]) -> LearnedScaling:
        with monkeypatch.context() as patch:
            scored(patch, [*values, 0.5])
            config = make("maml", 5, validations=5, patience=patience)
            return learn_scaling(Problem(single, neurons, validated, labels), config)

    learned = learn(2, [0.6, 0.6, 0.5])
    assert (learned.facts["steps"], learned.facts["best_step"], len(learned.curve)) == (3, 1, 3)
    learned = learn(2, [0.6, 0.5, 0.7, 0.6, 0.8])
    assert (learned.facts["steps"], learned.facts["best_step"]) == (5, 5)
    learned = learn(0, [0.6, 0.5, 0.4, 0.3, 0.2])
    assert (learned.facts["steps"], learned.facts["best_step"]) == (5, 1)


def test_without_a_judge_or_validations_the_last_factors_are_kept(
    single: ChatModel, corpus: list[PromptPair], neurons: NeuronSet, make: Settings
) -> None:
    """And no validation split is needed."""
    with_validations, without = (
        learn_scaling(Problem(single, neurons, corpus), make("maml", validations=validations)) for validations in (2, 0)
    )
    judged = learn_scaling(Problem(single, neurons, corpus, lambda *_: ["compliance"] * 4), make("maml"))
    for learned in (without, judged):
        assert np.array_equal(with_validations.scaling.alpha, learned.scaling.alpha)
        assert with_validations.curve.equals(learned.curve)
        assert not {"best_step", "validation_score"} & set(learned.facts)


@pytest.mark.parametrize(("refusal", "expected"), [("own", "Not me."), ("given", "I can't.")])
def test_harmful_prompts_are_answered_as_the_setting_says(
    single: ChatModel, corpus: list[PromptPair], neurons: NeuronSet, make: Settings, refusal: str, expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    pairs = [replace(pair, own_refusal="Not me. Ever.") if pair.role == "safety" else pair for pair in corpus]
    told: list[str] = []

    def noted(pairs: Any, given: str, judge: Any) -> list[PromptPair]:
        found = training_pairs(pairs, given, judge)
        told.extend({pair.response.rstrip("!") for pair in found if pair.role == "safety"})
        return found

    monkeypatch.setattr(room, "training_pairs", noted)
    learn_scaling(Problem(single, neurons, pairs), make("maml", 0, refusal=refusal))
    assert told == [expected]
