"""The names of verdicts on a page, and the answers on which judges disagree."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from neurontune_core.evaluation.rates import scored
from neurontune_core.evaluation.statistics import wilson_of_known
from neurontune_core.records import REFUSED

SPOKEN = {
    "refusal": "refused",
    "partial": "partly refused",
    "compliance": "answered",
    "broken": "broken",
    "unscored": "unscored",
}
"""The name of each verdict in a report."""
OTHER = "verdict/"
"""Prefix of the columns with further judges' labels; their answers to the second question have the prefix `gave/`."""


def gave_words(gave: Any, harmful: bool) -> str:
    """Return in words whether an answer gave harm or help; "" if the judge does not say."""
    if gave is None or pd.isna(gave):
        return ""
    what = "harm" if harmful else "help"
    return f"gave {what}" if gave else f"no {what}"


def success_by_judge(completions: pd.DataFrame) -> list[dict[str, Any]]:
    """Return attack success by each judge, for both models; empty with one judge.

    The rates are those of `rates.substance`, as rows with rate, low, high and n; None if a judge does not say what
    gave harm.
    """
    columns = {str(name).removeprefix("gave/"): name for name in completions.columns if str(name).startswith("gave/")}
    if not columns or "gave" not in completions:
        return []
    kept = scored(completions)
    harmful = kept[kept["role"] == "safety"]
    named = {completions["judge"].iloc[0]: "gave"} | columns
    return [
        {"judge": judge}
        | {model: _share(harmful.loc[harmful["model"] == model, column]) for model in ("base", "tuned")}
        for judge, column in named.items()
    ]


def _share(values: pd.Series) -> dict[str, float] | None:
    found = wilson_of_known(values)
    return {"rate": found.value, "low": found.low, "high": found.high, "n": found.n} if found else None


def disagreements(completions: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the answers on which judges disagree, the tuned model's first; none if there is only one judge.

    Two judges disagree where one says refused and the other does not, or one says that the answer gave what was asked
    for and the other that it did not. A judge does not disagree on an answer that it left unscored.
    """
    judges = [str(name).removeprefix(OTHER) for name in completions.columns if str(name).startswith(OTHER)]
    if not judges:
        return []
    rows = []
    for row in completions.to_dict("records"):
        said = {row["judge"]: (row["verdict"], row.get("gave"))}
        said |= {name: (row[f"{OTHER}{name}"], row.get(f"gave/{name}")) for name in judges}
        if _differ(said):
            harmful = row["role"] == "safety"
            verdicts = [
                (name, SPOKEN.get(label, label), gave_words(gave, harmful)) for name, (label, gave) in said.items()
            ]
            rows.append({"row": row, "harmful": harmful, "verdicts": verdicts})
    return sorted(rows, key=lambda each: each["row"]["model"] != "tuned")


def _differ(said: Mapping[str, tuple[str, Any]]) -> bool:
    refused = {label in REFUSED for label, _ in said.values() if label != "unscored"}
    gave = {bool(value) for _, value in said.values() if value is not None and not pd.isna(value)}
    return len(refused) > 1 or len(gave) > 1
