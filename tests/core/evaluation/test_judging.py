import json
from pathlib import Path

import pandas as pd
import pytest

from neurontune_core.errors import InputError
from neurontune_core.evaluation.answers import prompt_table
from neurontune_core.evaluation.judges import judge_by_name
from neurontune_core.evaluation.judging import agreement, completion_table, judge_all, judge_digests, rejudge
from neurontune_core.evaluation.settings import EvaluationConfig, PrecomputedSettings
from neurontune_core.records import PromptPair

REFUSAL, ANSWER = "I cannot help with that request.", "Sure: it is a kind of bread."
# a refusal that has none of the keywords
OTHER_REFUSAL = "That is not something I will assist with, because it would hurt people."


@pytest.fixture
def completions(pairs: list[PromptPair]) -> pd.DataFrame:
    prompts = prompt_table({"plain": pairs[:3]})
    texts = {"base": [ANSWER, ANSWER, REFUSAL], "tuned": [REFUSAL, "", OTHER_REFUSAL]}
    return completion_table({model: prompts.assign(tokens=0, completion=given) for model, given in texts.items()})


def test_completions_are_one_row_a_model_and_prompt(completions: pd.DataFrame, pairs: list[PromptPair]) -> None:
    assert completions["model"].tolist() == ["base"] * 3 + ["tuned"] * 3
    assert completions["id"].tolist() == [pair.id for pair in pairs[:3]] * 2
    assert completions["prompt"].tolist() == [pair.prompt for pair in pairs[:3]] * 2


def test_verdicts_are_written_beside_the_completions(completions: pd.DataFrame) -> None:
    judged = rejudge(completions, judge_by_name("rules"))
    assert judged["verdict"].tolist() == ["compliance", "compliance", "refusal", "refusal", "broken", "refusal"]
    assert judged["refused"].tolist() == [False, False, True, True, False, True]
    assert judged["broken"].tolist() == [False] * 4 + [True, False]
    assert judged["degenerate"].tolist() == ["none"] * 4 + ["empty", "none"]
    assert set(judged["judge"]) == {"rules 11"}
    assert judged["score"].between(0, 1).all()


def test_judging_again_replaces_the_verdicts_and_nothing_else(completions: pd.DataFrame) -> None:
    first = rejudge(completions, judge_by_name("keyword"))
    again = rejudge(first, judge_by_name("rules"))
    pd.testing.assert_frame_equal(again, rejudge(completions, judge_by_name("rules")))
    pd.testing.assert_frame_equal(again[completions.columns], completions)
    assert first["refused"].tolist() != again["refused"].tolist()


def test_stored_verdicts_are_looked_up_by_model_and_id(
    completions: pd.DataFrame, pairs: list[PromptPair], tmp_path: Path
) -> None:
    file = tmp_path / "verdicts.jsonl"
    rows = [{"id": f"base/{pairs[0].id}", "label": "refusal"}, {"id": f"tuned/{pairs[0].id}", "label": "compliance"}]
    file.write_text("\n".join(json.dumps(row) for row in rows))
    judged = rejudge(completions, judge_by_name("precomputed", file))
    assert judged["verdict"].tolist() == ["refusal", "unscored", "unscored", "compliance", "unscored", "unscored"]
    assert judged["score"].isna().all()


def test_a_table_of_something_else_is_refused(completions: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="no column model, completion"):
        rejudge(completions.drop(columns=["model", "completion"]), judge_by_name("rules"))


def test_agreement_of_two_judges(completions: pd.DataFrame) -> None:
    judged = judge_all(completions, EvaluationConfig(also_judges=("keyword", "rules")))
    assert (
        judged["verdict/keyword 1"].tolist() == ["compliance", "compliance", "refusal", "refusal"] + ["compliance"] * 2
    )
    # rules: 3 of 6 refused, keyword: 2 of 6, five the same: kappa = (5/6 - 1/2) / (1 - 1/2)
    assert agreement(judged) == {"judge_kappa/keyword 1": pytest.approx(2 / 3)}
    assert agreement(judge_all(completions, EvaluationConfig())) == {}


def test_agreement_on_harm_of_each_two_judges() -> None:
    labels = ["compliance"] * 4 + ["refusal"]
    said = {"": [True, True, False, False, True], "/a 1": [True, True, False, False, None],
            "/b 1": [True, False, True, False, False]}  # fmt: skip
    table = pd.DataFrame({"role": ["safety"] * 4 + ["utility"]})
    for end, gave in said.items():
        table = table.assign(**{f"verdict{end}": labels, f"gave{end}": pd.Series(gave, dtype=object)})
    found = agreement(table)
    assert {name: value for name, value in found.items() if name.startswith("harm_kappa")} == {
        "harm_kappa/a 1": 1.0, "harm_kappa/b 1": 0.0, "harm_kappa/a 1 and b 1": 0.0,
    }  # fmt: skip
    assert found["judge_kappa/a 1 and b 1"] == 1.0


def test_the_files_of_a_judge_are_part_of_the_key(tmp_path: Path) -> None:
    file = tmp_path / "verdicts.jsonl"
    config = EvaluationConfig(judge=PrecomputedSettings(path=str(file)))
    with pytest.raises(InputError, match=r"evaluation\.judge\.path.*does not exist"):
        judge_digests(config)
    file.write_text('{"id": "base/h0", "label": "refusal"}')
    first = judge_digests(config)
    file.write_text('{"id": "base/h0", "label": "compliance"}')
    assert judge_digests(config) != first
    assert judge_digests(EvaluationConfig()) == []
