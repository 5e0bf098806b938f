import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from library_sample import FakeLibrary

from neurontune_core import tables
from neurontune_core.data.settings import SourceConfig
from neurontune_core.errors import InputError
from neurontune_core.evaluation import answers
from neurontune_core.evaluation.evaluate import Evaluation, base_digests, evaluate
from neurontune_core.evaluation.evaluate import judging_settings as evaluation_settings
from neurontune_core.evaluation.judges import RulesJudge
from neurontune_core.evaluation.judging import judge_digests
from neurontune_core.evaluation.settings import EvaluationConfig, KeywordSettings, PrecomputedSettings
from neurontune_core.model.load import ChatModel
from neurontune_core.records import PromptPair, ScalingFactors


def both(
    pairs: list[PromptPair], scaling: ScalingFactors, settings: EvaluationConfig, chat: ChatModel
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, float]]:
    base, _ = answers.base_answers(pairs, settings, chat, library=FakeLibrary())
    return base, *answers.tuned_answers(base, scaling, settings, chat)


def whole(pairs: list[PromptPair], scaling: ScalingFactors, settings: EvaluationConfig, chat: ChatModel) -> Evaluation:
    base, tuned, moved = both(pairs, scaling, settings, chat)
    return evaluate(base, tuned, settings, moved)


@pytest.fixture(scope="module")
def done() -> dict[str, tuple[pd.DataFrame, pd.DataFrame, dict[str, float]]]:
    return {}


@pytest.fixture
def answers_of_both(
    done: dict[str, tuple[pd.DataFrame, pd.DataFrame, dict[str, float]]],
    pairs: list[PromptPair],
    scaling: ScalingFactors,
    settings: EvaluationConfig,
    chat: ChatModel,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    if not done:
        done["once"] = both(pairs, scaling, settings, chat)
    return done["once"][:2]


@pytest.fixture
def result(
    answers_of_both: tuple[pd.DataFrame, pd.DataFrame],
    done: dict[str, tuple[pd.DataFrame, pd.DataFrame, dict[str, float]]],
    settings: EvaluationConfig,
) -> Evaluation:
    return evaluate(*answers_of_both, settings, done["once"][2])


def test_every_test_prompt_is_answered_by_both_models(result: Evaluation, pairs: list[PromptPair]) -> None:
    completions = result.completions
    asked = {pair.id for pair in pairs if pair.split == "test"}
    assert set(completions["id"]) <= asked
    counts = completions.groupby(["benchmark", "model"]).size()
    assert counts.max() == 2 and len(counts) == 14
    assert not completions.duplicated(["id", "benchmark", "model"]).any()


def test_completions_are_the_models_greedy_answers(
    result: Evaluation, scaling: ScalingFactors, settings: EvaluationConfig, chat: ChatModel
) -> None:
    """The oracle is the plain loop without cache or batch, and factors folded into the weights instead of hooked."""
    import copy

    from neurontune_core import neurons

    folded = copy.deepcopy(chat.model)
    neurons.fold(folded, scaling)
    for name, model in (("base", chat.model), ("tuned", folded)):
        rows = result.completions[result.completions["model"] == name]
        for prompt, completion in zip(rows["prompt"][:4], rows["completion"][:4], strict=True):
            ids = chat.prompt_tokens(prompt)
            made: list[int] = []
            while len(made) < settings.max_new_tokens:
                with torch.no_grad():
                    token = int(model(torch.tensor([ids + made])).logits[0, -1].argmax())
                if token in chat.end_tokens:
                    break
                made.append(token)
            assert completion == chat.tokenizer.decode(made, skip_special_tokens=True)
    by_model = {name: part["completion"].tolist() for name, part in result.completions.groupby("model")}
    assert by_model["base"] != by_model["tuned"], "the factors must matter, or the test shows nothing"


def test_facts_can_be_stored_and_logged(result: Evaluation) -> None:
    expected = {"eval/su_f1", "eval/su_f1_low", "eval/su_f1_base", "eval/su_f1_difference", "eval/kl_to_base"}
    expected |= {"eval/perplexity_ratio", "refusal_rate/harmful_plain", "refusal_rate_base/benign"}
    assert expected <= set(result.facts)
    for name, value in result.facts.items():
        assert re.fullmatch(r"[\w./\- ]+", name), name
        assert isinstance(value, float) and np.isfinite(value), name


def test_base_answers_serve_every_tuning_and_only_the_tuned_model_generates_again(
    answers_of_both: tuple[pd.DataFrame, pd.DataFrame],
    scaling: ScalingFactors,
    settings: EvaluationConfig,
    chat: ChatModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base, tuned = answers_of_both
    tables.save_table(tmp_path, "answers", base)
    stored = tables.load_table(tmp_path, "answers")
    calls = []
    generate = answers.generate
    monkeypatch.setattr(answers, "generate", lambda *args: calls.append(1) or generate(*args))
    again, moved = answers.tuned_answers(stored, scaling, settings, chat)
    assert len(calls) == 1
    pd.testing.assert_frame_equal(again, tuned)
    assert set(moved) == {"eval/kl_to_base", "eval/perplexity_ratio"}


def test_a_run_is_judged_again_without_a_model(
    result: Evaluation, answers_of_both: tuple[pd.DataFrame, pd.DataFrame], settings: EvaluationConfig
) -> None:
    other = settings.model_copy(update={"judge": KeywordSettings(), "also_judges": ("rules",)})
    again = evaluate(*answers_of_both, other)
    assert set(again.completions["judge"]) == {"keyword 1"} and "verdict/rules 11" in again.completions
    pd.testing.assert_series_equal(again.completions["completion"], result.completions["completion"])


def test_answers_to_different_prompts_are_no_evaluation(
    answers_of_both: tuple[pd.DataFrame, pd.DataFrame], settings: EvaluationConfig
) -> None:
    base, tuned = answers_of_both
    with pytest.raises(ValueError, match="different prompts"):
        evaluate(base.iloc[::-1], tuned, settings)


def test_keys_hold_what_a_result_depends_on_and_no_path(tmp_path: Path) -> None:
    first = EvaluationConfig()
    rejudged = EvaluationConfig(judge=KeywordSettings(), bootstrap_samples=500, also_judges=("rules",))
    assert answers.answer_settings(rejudged) == answers.answer_settings(first)
    assert evaluation_settings(rejudged) != evaluation_settings(first)
    for other in ({"max_new_tokens": 5}, {"seed": 1}, {"benchmarks": ("alpaca",)}, {"prompts_per_benchmark": 3}):
        assert answers.answer_settings(EvaluationConfig.model_validate(other)) != answers.answer_settings(first)
    here, there = ({"alpaca": SourceConfig(path=str(tmp_path / name), limit=3)} for name in ("here", "there"))
    assert answers.answer_settings(EvaluationConfig(sources=here)) == answers.answer_settings(
        EvaluationConfig(sources=there)
    )
    one, other = (EvaluationConfig(judge=PrecomputedSettings(path=path)) for path in ("here", "there"))
    assert evaluation_settings(one) == evaluation_settings(other) != evaluation_settings(first)


def test_a_newer_judge_judges_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first, other = EvaluationConfig(), EvaluationConfig(judge=KeywordSettings())
    before = [evaluation_settings(config) for config in (first, other)]
    monkeypatch.setattr(RulesJudge, "version", "newer")
    after = [evaluation_settings(config) for config in (first, other)]
    assert after[0] != before[0] and after[1] == before[1]


def test_inputs_beyond_the_settings_are_digested(tmp_path: Path) -> None:
    verdicts = tmp_path / "verdicts.jsonl"
    verdicts.write_text('{"id": "base/h0", "label": "refusal"}')
    config = EvaluationConfig(benchmarks=("advbench/all",), judge=PrecomputedSettings(path=str(verdicts)))
    assert base_digests(config, FakeLibrary()) == ["advbench 1 advbench/safety/None"]
    assert [len(digest) for digest in judge_digests(config)] == [64]
    assert base_digests(EvaluationConfig()) == []
    for wrong in ({"benchmarks": ("nothing",)}, {"sources": {"nothing": {}}}):
        with pytest.raises(InputError, match=r"evaluation\..*unknown.*advbench"):
            base_digests(EvaluationConfig.model_validate(wrong))


def test_factors_of_one_change_nothing(
    pairs: list[PromptPair], scaling: ScalingFactors, settings: EvaluationConfig, chat: ChatModel
) -> None:
    same = whole(pairs, ScalingFactors(scaling.neurons, np.ones_like(scaling.alpha)), settings, chat)
    parts = [part["completion"].tolist() for _, part in same.completions.groupby("model")]
    assert parts[0] == parts[1]
    assert same.facts["eval/su_f1_difference"] == 0
    assert same.facts["eval/kl_to_base"] == 0
    assert (same.rates["mcnemar_p"] == 1).all()


def test_public_sets_are_evaluated_like_the_shipped_one(
    pairs: list[PromptPair], scaling: ScalingFactors, settings: EvaluationConfig, chat: ChatModel
) -> None:
    config = settings.model_copy(update={"benchmarks": ("advbench/heldout", "alpaca", "shipped")})
    done = whole(pairs, scaling, config, chat)
    names = list(dict.fromkeys(done.rates["benchmark"]))
    assert names[:3] == ["advbench/heldout", "alpaca", "harmful_plain"] and names[-2:] == ["harmful", "benign"]
    assert 0 <= done.facts["refusal_rate/advbench/heldout"] <= 1
    wrapped = done.completions[done.completions["benchmark"] == "advbench/heldout"]
    assert set(wrapped["attack_category"]) == {"translation"}
