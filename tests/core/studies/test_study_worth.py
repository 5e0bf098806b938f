"""What selection is worth: variants by their settings, the table by hand, and verdicts that can be told apart."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_study_drawings import check_legible

from neurontune_core.config import PipelineConfig, load_config
from neurontune_core.errors import InputError
from neurontune_core.evaluation.statistics import su_f1
from neurontune_core.studies import page, plots, results, worth
from neurontune_core.studies.catalogue import STUDIES
from neurontune_core.studies.choice import choose, lowered
from neurontune_core.studies.results import Measured
from neurontune_core.studies.worth import Arm, arms_of, references, verdict_text, worth_table

QUERIES = 20
"""Of each role."""


def measured(right: Sequence[int], parameters: int = 100) -> Measured:
    """The tuned model is right on these queries, of each role; the base model on query 0 alone."""
    rows: list[dict[str, Any]] = []
    for role in ("safety", "utility"):
        for number in range(QUERIES):
            for model, known in (("base", [0]), ("tuned", right)):
                refused = (number in known) == (role == "safety")
                rows.append(
                    {"benchmark": role, "id": f"{number}", "query_id": f"{role}{number}", "role": role}
                    | {"prompt": f"{role} {number}", "model": model, "completion": "", "judge": "", "broken": False}
                    | {"verdict": "refusal" if refused else "compliance", "refused": refused}
                )  # fmt: skip
    return Measured(pd.DataFrame(rows), {}, parameters, 1.0)


def configs(*changes: str) -> dict[str, PipelineConfig]:
    return {text: load_config("tiny", text.split()) for text in changes}


def test_the_shipped_study_has_four_numbers_five_sets_three_seeds_and_all_neurons() -> None:
    arms = arms_of(
        {name: load_config("tiny", list(changes)) for name, changes in STUDIES["selection-worth"].variants.items()}
    )
    counts = pd.DataFrame(arms.values()).value_counts(["kind", "neurons"]).to_dict()
    numbers = ("50 + 50", "150 + 150", "500 + 500", "2000 + 2000")
    assert counts == (
        {("attributed", number): 3 for number in numbers}
        | {("random", number): 15 for number in numbers}
        | {("all", ""): 3}
    )
    assert {arm.seed for arm in arms.values()} == {0, 1, 2} and len(set(arms.values())) == len(arms) == 75
    found = references(arms)
    assert found["random 4, 500 + 500, seed 2"] == "attributed, 500 + 500, seed 2"
    assert set(found) == {name for name, arm in arms.items() if arm.kind == "random"}


def test_a_part_of_the_study_is_chosen_by_whole_words() -> None:
    names = list(choose("selection-worth", None, only=["50 + 50"]).variants)
    assert len(names) == 18 and all(", 50 + 50," in name for name in names)
    assert len(choose("selection-worth", None, only=["seed 0"]).variants) == 25
    assert len(choose("selection-worth", None, only=["seed 0", "seed 1"]).variants) == 50
    with pytest.raises(InputError, match=r"only: no variant of study 'selection-worth' has 'seed 7' in its name"):
        choose("selection-worth", None, only=["seed 0", "seed 7"])


def test_a_small_model_has_lower_numbers() -> None:
    small = lowered(STUDIES["selection-worth"], 60).variants
    assert len(small) == 39 and "random 2, 60 + 60, seed 1" in small and "attributed, 50 + 50, seed 0" in small
    assert small["attributed, 60 + 60, seed 2"] == (
        "selection.safety_neurons=60", "selection.utility_neurons=60", "scaling.seed=2",
    )  # fmt: skip
    assert set(lowered(STUDIES["neuron-count"], 7).variants) == {"7 + 7"}
    for name, study in STUDIES.items():
        assert lowered(study, 8000) == study, name


def test_nothing_to_compare_is_an_error() -> None:
    random = "selection.method=matched_random"
    arms = arms_of(configs("scaling.seed=1", f"{random} scaling.seed=1", "baseline.method=system_prompt"))
    assert arms == {
        "scaling.seed=1": Arm("attributed", "8 + 8", 0, 1),
        f"{random} scaling.seed=1": Arm("random", "8 + 8", 0, 1),
    }
    for lonely in (("scaling.seed=1",), ("scaling.seed=1", random), ("scaling.seed=1", f"{random} scaling.seed=2")):
        with pytest.raises(InputError, match="no number of neurons has variants of both with the same"):
            arms_of(configs(*lonely))


def arms(sets: int, seeds: int) -> dict[str, Arm]:
    made = {f"a{seed}": Arm("attributed", "n", 0, seed) for seed in range(seeds)}
    return made | {f"r{draw}{seed}": Arm("random", "n", draw, seed) for draw in range(sets) for seed in range(seeds)}


def test_the_table_by_hand() -> None:
    """Right on so many of 20 queries of each role, SU-F1 is that share; means over seeds and sets."""
    right = {"a0": 16, "a1": 14, "r00": 8, "r01": 10, "r10": 4, "r11": 4}
    found = {name: measured(range(count)) for name, count in right.items()} | {"all": measured(range(18), 10_000)}
    kinds = arms(2, 2) | {"all": Arm("all", "", 0, 0)}
    (row,) = worth_table(found, kinds).to_dict("records")
    assert (row["neurons"], row["sets"], row["seeds"], row["beaten"]) == (100, 2, 2, 2)
    assert [row[f"attributed{end}"] for end in ("", "_low", "_high")] == pytest.approx([0.75, 0.7, 0.8])
    assert [row[f"random{end}"] for end in ("", "_low", "_high")] == pytest.approx([0.325, 0.2, 0.45])
    assert [row["base"], row["all"], row["difference"]] == pytest.approx([su_f1(0.05, 0.05), 0.9, 0.425])
    assert 0 < row["low"] < 0.425 < row["high"] and row["better"] == "attributed" and row["p"] < 0.01


def test_the_interval_is_the_paired_one_of_queries_if_there_is_one_set_and_seed() -> None:
    """The same as of the comparison of two runs, within the error of resampling."""
    one, other = measured(range(14)), measured(range(4, 13))
    (row,) = worth_table({"a0": one, "r00": other}, arms(1, 1), samples=20_000).to_dict("records")
    table = results.comparison_table({"r00": with_facts(other), "a0": with_facts(one)}, {"a0": "r00"}).set_index(
        "variant"
    )
    assert row["difference"] == pytest.approx(table.loc["a0", "difference"])
    assert row["low"] == pytest.approx(table.loc["a0", "difference_low"], abs=0.03)
    assert row["high"] == pytest.approx(table.loc["a0", "difference_high"], abs=0.03)


def with_facts(one: Measured) -> Measured:
    names = [f"eval/{name}{model}" for name in ("su_f1", "su_f1_low", "su_f1_high", "safety", "utility", "broken")
             for model in ("", "_base")]  # fmt: skip
    ends = {f"eval/su_f1_base{end}": 0.0 for end in ("_low", "_high")}
    return Measured(one.completions, dict.fromkeys(names, 0.0) | ends, one.parameters, one.seconds)


def test_verdicts() -> None:
    better, same, worse = range(16), range(10), range(3)
    for own, others, verdict, beaten in (
        (better, worse, "attributed", 3), (same, same, "not shown", 0), (worse, better, "random", 0),
    ):  # fmt: skip
        found = {name: measured(own if arm.kind == "attributed" else others) for name, arm in arms(3, 2).items()}
        (row,) = worth_table(found, arms(3, 2)).to_dict("records")
        assert (row["better"], row["beaten"]) == (verdict, beaten)
    assert row["difference"] == pytest.approx(-0.65) and row["p"] < 0.01


def test_sets_that_differ_widen_the_interval() -> None:
    """Five sets of which one is much better than the attributed neurons: what another set would do is not known."""
    own = {"a0": measured(range(12))}
    alike = {f"r{draw}0": measured(range(9)) for draw in range(5)}
    apart = {f"r{draw}0": measured(range(20 if draw == 0 else 6)) for draw in range(5)}
    tables = [worth_table(own | sets, arms(5, 1)).iloc[0] for sets in (alike, apart)]
    assert tables[0]["high"] - tables[0]["low"] < tables[1]["high"] - tables[1]["low"]
    assert tables[1]["better"] == "not shown" and tables[1]["beaten"] == 4


def test_only_prompts_that_every_judge_read_and_seeds_of_every_set_count() -> None:
    unread = measured(range(10))
    lost = unread.completions["id"].isin(["18", "19"]) & (unread.completions["model"] == "tuned")
    unread.completions.loc[lost, "verdict"] = "unscored"
    found = {"a0": measured(range(20)), "a1": measured([0]), "r00": unread, "r01": measured([0]), "r10": measured([0])}
    some = {name: arm for name, arm in arms(2, 2).items() if name != "r11"}
    (row,) = worth_table(found, some).to_dict("records")
    assert row["seeds"] == 1 and row["attributed"] == 1.0
    assert row["random_high"] == pytest.approx(10 / 18) and row["random_low"] == pytest.approx(1 / 18)


def table_of(numbers: Sequence[int]) -> pd.DataFrame:
    rows = []
    for place, number in enumerate(numbers):
        own = 16 if place % 2 else 9
        found = {
            name: measured(range(own if arm.kind == "attributed" else 8), number) for name, arm in arms(5, 3).items()
        }
        reached = {"all": measured(range(19))} if place else {}
        rows.append(worth_table(found | reached, arms(5, 3) | {"all": Arm("all", "", 0, 0)}, samples=200))
    return pd.concat(rows, ignore_index=True)


def test_the_page_begins_with_the_verdict() -> None:
    table = table_of([100, 300, 1000, 4000])
    study = STUDIES["selection-worth"]
    assert verdict_text(table).startswith(
        "**Verdict: with 300, 4,000 neurons attributed neurons are better; "
        "with 100, 1,000 neurons no difference is shown.**"
    )
    body = page.comparison_body(table, study, "worth.svg")
    assert body.startswith("**Verdict") and "| 4,000 | 0.800 (0.80 to 0.80) | 0.400 (0.40 to 0.40) | 0.950 |" in body
    assert "| 5 of 5 | 3 | attributed |" in body and body.endswith("](worth.svg)")


@pytest.mark.parametrize("numbers", [[100], [100, 300, 1000, 4000], [48], list(range(100, 1700, 100))])
def test_the_drawing_is_legible(numbers: list[int]) -> None:
    table = table_of(numbers)
    check_legible(plots.figure_of(table, "worth", STUDIES["selection-worth"].title))
    assert np.isfinite(table["attributed"]).all()
    assert len(worth.worth_rows(table)) == len(numbers)
