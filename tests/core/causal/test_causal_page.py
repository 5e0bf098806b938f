"""The page of a causal study."""

import pandas as pd

from neurontune_core.causal.page import kl_rows

NAN = float("nan")


def test_the_kl_has_a_row_for_each_intervention_and_set_and_a_column_for_each_size() -> None:
    columns = ["group", "intervention", "neurons", "share", "kl", "broken"]
    rows = [
        ("benign_ordinary", "no change", "no change", 0.0, 0.0, 0.0),
        ("benign_ordinary", "zero", "safety", 0.001, 0.0406, 0.0),
        ("benign_ordinary", "zero", "safety", 0.01, 1.3447, 0.15),
        ("benign_ordinary", "zero", "selected safety", 0.0, 0.237, 0.0),
        ("benign_ordinary", "x 2", "opposing", 0.01, 0.0993, 0.0),
        ("benign_borderline", "zero", "safety", 0.001, NAN, 0.5),
        ("harmful_attacked", "patch", "safety", 0.001, NAN, 0.0),
    ]
    assert kl_rows(pd.DataFrame(rows, columns=columns)) == [
        {
            "intervention": "Silenced: activations set to 0",
            "neurons": "carry refusal",
            "0.10%": "0.041",
            "1.00%": "1.345 (15% broken)",
        },
        {
            "intervention": "Amplified: activations times 2",
            "neurons": "work against refusal",
            "0.10%": "",
            "1.00%": "0.099",
        },
    ]


def test_a_study_without_ordinary_prompts_has_no_kl() -> None:
    assert kl_rows(pd.DataFrame([], columns=["group", "intervention", "neurons", "share", "kl", "broken"])) == []
