"""Studies: tables by hand, the Pareto front, drawings that repeat themselves, and pages."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from neurontune_core.causal.summary import causal_table
from neurontune_core.config import load_config
from neurontune_core.data.categories import ATTACK_TYPES
from neurontune_core.evaluation.rates import headline_metrics
from neurontune_core.pairs.prepare import prepare
from neurontune_core.records import NeuronId, NeuronSet
from neurontune_core.studies import budget, overlap, page, plots, results
from neurontune_core.studies.catalogue import STUDIES, Study
from neurontune_core.studies.results import Measured

PROMPTS = [
    ("harmful_plain", "safety", ""),
    ("harmful_attacked", "safety", "sudo_mode"),
    ("harmful_heldout_attack", "safety", "translation"),
    ("benign_ordinary", "utility", ""),
    ("benign_borderline", "utility", ""),
    ("benign_attacked", "utility", "sudo_mode"),
    ("benign_heldout_attack", "utility", "translation"),
]


def measured(refused: Mapping[str, int], parameters: int = 8) -> Measured:
    """Four prompts a group, of which the tuned model refuses the first so many."""
    rows: list[dict[str, Any]] = []
    for benchmark, role, category in PROMPTS:
        for number in range(4):
            for model in ("base", "tuned"):
                says_no = model == "tuned" and number < refused.get(benchmark, 0)
                rows.append(
                    {
                        "benchmark": benchmark, "id": f"{benchmark}{number}", "query_id": f"{role}{number}",
                        "role": role, "prompt": f"{benchmark} {number}", "attack_category": category, "model": model,
                        "completion": "no" if says_no else "yes", "verdict": "refusal" if says_no else "compliance",
                        "refused": says_no, "broken": False, "judge": "rules 1",
                    }
                )  # fmt: skip
    table = pd.DataFrame(rows)
    settings = load_config("tiny").evaluation
    return Measured(table, headline_metrics(table, settings) | {"eval/kl_to_base": 0.05}, parameters, 2.5)


GOOD = measured({"harmful_plain": 4, "harmful_attacked": 4, "harmful_heldout_attack": 2, "benign_borderline": 1})
SHY = measured(dict.fromkeys([name for name, *_ in PROMPTS], 4))


def test_comparison_by_hand() -> None:
    table = results.comparison_table({"good": GOOD, "shy": SHY}).set_index("variant")
    assert list(table.index) == ["base model", "good", "shy"]
    safety, utility = 10 / 12, 15 / 16
    assert table.loc["good", "su_f1"] == pytest.approx(2 * safety * utility / (safety + utility))
    assert table.loc["good", ["safety", "utility"]].tolist() == pytest.approx([safety, utility])
    assert table.loc["good", ["harmful held-out", "borderline", "ordinary"]].tolist() == [0.5, 0.25, 0.0]
    assert table.loc["base model", ["su_f1", "safety", "kl", "parameters"]].tolist() == [0, 0, 0, 0]
    assert np.isnan(table.loc["good", "difference"]) and np.isnan(table.loc["base model", "difference"])
    assert table.loc["shy", "difference"] == pytest.approx(-table.loc["good", "su_f1"])
    assert table.loc["shy", "difference_high"] < 0
    assert table.loc["good", ["parameters", "seconds", "kl", "n"]].tolist() == [8, 2.5, 0.05, 28]


def test_pareto_front_by_hand() -> None:
    safety, utility = [0.1, 0.9, 0.5, 0.5, 0.9, 0.4], [0.9, 0.1, 0.5, 0.5, 0.05, 0.4]
    assert results.pareto_front(safety, utility).tolist() == [True, True, True, True, False, False]


def test_mean_and_spread_leave_the_base_model_out() -> None:
    table = results.comparison_table({"good": GOOD, "shy": SHY})
    mean, deviation = results.spread(table).to_dict("records")
    assert mean["variant"] == "mean" and deviation["variant"] == "standard deviation"
    assert mean["borderline"] == pytest.approx((0.25 + 1) / 2)
    assert deviation["borderline"] == pytest.approx(np.std([0.25, 1], ddof=1))


def test_matrix_over_attack_types_by_hand() -> None:
    table = results.attack_type_table({"good": GOOD}).set_index(["tested on", "role"])
    assert set(table.index.get_level_values(0)) == {"plain", "privilege escalation", "attention shifting"}
    assert table.loc[("privilege escalation", "safety"), ["rate", "n"]].tolist() == [1.0, 4]
    assert table.loc[("attention shifting", "safety"), "rate"] == 0.5
    assert table.loc[("plain", "utility"), ["rate", "n"]].tolist() == [1 / 8, 8]
    assert table.loc[("attention shifting", "safety"), "su_f1"] == pytest.approx(2 * 0.5 / 1.5)
    low, high = table.loc[("attention shifting", "safety"), ["low", "high"]]
    assert low < 0.5 < high


def test_matrix_over_datasets_puts_the_groups_of_one_source_together() -> None:
    completions = GOOD.completions.copy()
    completions.loc[completions["benchmark"] == "harmful_attacked", "benchmark"] = "advbench"
    completions.loc[completions["benchmark"] == "harmful_plain", "benchmark"] = "corpus_harmful"
    completions.loc[completions["benchmark"] == "benign_ordinary", "benchmark"] = "corpus_benign"
    table = results.dataset_table({"good": Measured(completions, {}, 1, 1.0)}).set_index(["tested on", "role"])
    assert table.loc[("shipped corpus", "safety"), ["rate", "n"]].tolist() == [1.0, 4]
    assert table.loc[("shipped corpus", "utility"), ["rate", "n", "su_f1"]].tolist() == [0.0, 4, 1.0]
    assert table.loc[("own test split", "safety"), ["rate", "n"]].tolist() == [0.5, 4]
    assert table.loc[("own test split", "utility"), ["rate", "n"]].tolist() == [1 / 12, 12]
    assert ("advbench", "utility") not in table.index and np.isnan(table.loc[("advbench", "safety"), "su_f1"])


def test_layers_by_hand() -> None:
    neurons = NeuronSet((NeuronId(0, 1), NeuronId(2, 0), NeuronId(2, 1)), (NeuronId(2, 5),))
    table = results.layer_table({"model": (neurons, (4, 0, 6))})
    assert table[["layer", "neurons", "safety", "utility"]].to_numpy().tolist() == [
        [0, 4, 1, 0],
        [1, 0, 0, 0],
        [2, 6, 2, 1],
    ]


def test_overlap_by_hand() -> None:
    safety, utility = np.arange(1000.0), np.arange(1000.0)
    utility[[999, 998]] = -1.0  # the two first neurons of safety are the last of utility
    table = overlap.overlap_table(
        {"same": {"safety": safety, "utility": safety}, "moved": {"safety": safety, "utility": utility}}
    )
    found = table.set_index(["variant", "share"])
    assert found.loc[("same", 0.01), ["neurons", "both", "by_chance", "correlation"]].tolist() == [10, 10, 0.1, 1.0]
    assert found.loc[("moved", 0.003), ["neurons", "both"]].tolist() == [3, 1]
    assert found.loc[("moved", 0.01), "both"] == 8 and found.loc[("moved", 0.01), "correlation"] < 1
    assert overlap.overlap_rows(table)[0]["in both"] == "1 (100%)"


@pytest.mark.parametrize("name", STUDIES)
def test_variants_of_shipped_studies_are_valid_settings(name: str) -> None:
    """With the default preset, from which each variant is another."""
    study = STUDIES[name]
    variants = {load_config("smollm2", settings).model_dump_json() for settings in study.variants.values()}
    assert len(variants) == len(study.variants)
    for settings in study.variants.values():
        load_config("tiny", settings)


def test_each_type_is_trained_on_alone_and_tested_on_the_others() -> None:
    for name, settings in STUDIES["cross-attack"].variants.items():
        prepared = prepare(load_config("smollm2-quick", settings).pairs)
        assert {attack.type.replace("_", " ") for attack in prepared.seen} == {name}
        assert {attack.type for attack in prepared.unseen} == set(ATTACK_TYPES.values()) - {prepared.seen[0].type}


def shown(study: Study) -> pd.DataFrame:
    both = {"good": GOOD, "shy": SHY}
    if study.layout == "layers":
        return results.layer_table({"model": (NeuronSet((NeuronId(0, 1),), (NeuronId(1, 5),)), (4, 6))})
    if study.layout == "attack_types":
        return results.attack_type_table(both)
    if study.layout == "datasets":
        return results.dataset_table(both)
    table = results.comparison_table(both)
    return pd.concat([table, results.spread(table)], ignore_index=True) if study.layout == "seeds" else table


@pytest.mark.parametrize("name", ["baselines", "neuron-count", "cross-attack", "cross-task", "layers", "seeds"])
def test_page_and_drawing_show_every_row(name: str) -> None:
    study = STUDIES[name]
    table = shown(study)
    drawing = plots.draw(table, study.layout, study.title)
    assert drawing == plots.draw(table, study.layout, study.title) and drawing.lstrip().startswith("<?xml")
    assert study.title in drawing
    body = page.comparison_body(table, study, f"{name}.svg")
    text = page.render_page(study, body, f"neurontune study {name}", {"good": "neurontune run"})
    assert text.count("\n| ") == len(table) + 1
    for part in (
        study.title,
        study.question,
        f"]({name}.svg)",
        f"neurontune study {name}\n",
        "# good\nneurontune run\n",
    ):
        assert part in text


def test_intervals_stand_beside_their_numbers() -> None:
    rows = page.study_rows(shown(STUDIES["baselines"]), STUDIES["baselines"])
    assert rows[1]["SU-F1"].startswith("0.882 [") and rows[1]["difference"] == ""
    assert rows[2]["difference"].startswith("-0.882 [-")
    assert rows[1]["refused: borderline"] == "25.0%" and rows[1]["KL to base"] == "0.050"
    matrix = page.study_rows(shown(STUDIES["cross-attack"]), STUDIES["cross-attack"])
    assert {"trained on": "good", "tested on": "attention shifting", "prompts": "harmful"}.items() <= next(
        row for row in matrix if row["tested on"] == "attention shifting"
    ).items()


def test_a_note_tells_what_generated_the_answers_unless_it_is_the_usual() -> None:
    assert page.answer_note({"a": "transformers", "b": "transformers"}) == ""
    assert page.answer_note({"a": "vLLM", "b": "vLLM"}) == "All answers were generated by vLLM."
    told = page.answer_note({"a|1": "transformers", "b": "vLLM"})
    assert told.startswith("The answers were generated differently") and "by transformers; b by vLLM." in told


def test_trials_are_listed() -> None:
    text = page.trial_rows([{"trial": 0, "safety_neurons": 13180, "validation_score": 0.81234}])
    assert text.splitlines()[0] == "| trial | safety neurons | validation score |"
    assert text.splitlines()[2] == "| 0 | 13,180 | 0.812 |"


def answers() -> pd.DataFrame:
    """Answers of a causal study: the safety set silences refusals as it grows, random ones do not."""

    def cell(neurons: str, share: float, refused: int, matched: str = "", intervention: str = "zero") -> pd.DataFrame:
        return pd.DataFrame(
            {
                "neurons": neurons, "share": share, "intervention": intervention, "matched": matched,
                "count": round(1000 * share), "group": "harmful_plain", "id": [str(n) for n in range(10)],
                "query_id": "q", "role": "safety", "label": ["refusal"] * refused + ["compliance"] * (10 - refused),
                "answer": "a", "kl": np.nan,
            }
        )  # fmt: skip

    cells = [cell("no change", 0.0, 8, intervention="no change")]
    for share, refused in ((0.001, 4), (0.01, 0)):
        cells += [cell("safety", share, refused), cell("opposing", share, 10)]
        cells += [cell(f"random {draw}", share, 7 + draw, "safety") for draw in (1, 2)]
    return pd.concat(cells, ignore_index=True)


def test_rankings_are_shown_a_row_each_beside_random_sets() -> None:
    table = results.causal_tables({"equation 4": causal_table(answers())}, {"equation 4": 12.3})
    carry, oppose, drawn = page.study_rows(table, STUDIES["rankings"])
    assert (carry["ranking"], carry["silenced"], carry["none"]) == ("equation 4", "carry refusal", "80%")
    assert carry["0.10%"].startswith("40% [") and carry["1.00%"].startswith("0% [")
    assert oppose["1.00%"].startswith("100% [") and carry["seconds to rank"] == "12" and carry["n"] == "10"
    assert drawn["silenced"] == "random, matched by layer" and drawn["1.00%"].startswith("85% (80 to 90; p <= 0.0")
    study = STUDIES["rankings"]
    drawing = plots.draw(table, study.layout, study.title)
    assert drawing == plots.draw(table, study.layout, study.title) and "equation 4" in drawing


def test_the_causal_page_has_a_table_an_intervention() -> None:
    study, table = STUDIES["causal"], results.causal_tables({"model": causal_table(answers())}, {"model": 1.0})
    body = page.comparison_body(table, study, "causal.svg")
    assert "The model without a change" in body and "## Silenced: activations set to 0" in body
    assert "| harmful plain | carry refusal | 40% [" in body and "](causal.svg)" in body
    text = page.render_page(study, body, "neurontune study causal", {})
    assert "neurontune study causal\n" in text and "A row alone" not in text
    drawing = plots.draw(table, study.layout, study.title)
    assert drawing == plots.draw(table, study.layout, study.title) and "harmful plain: zero" in drawing


def test_the_budget_tells_how_many_prompts_a_fit_by_preferences_left_out() -> None:
    counted = {"examples": 1200.0, "harmful_left_out": 37.0, "harmless_left_out": 0.0}
    text = budget.section(load_config("tiny"), {}, {"by preferences": counted})
    assert "by preferences needs a chosen and a rejected answer to each prompt. It leaves out 37 of its 1,200" in text
    assert "37 harmful (the model refuses them by itself, or says nothing) and 0 harmless" in text
    assert "rejected answer" not in budget.section(load_config("tiny"), {}, {})
