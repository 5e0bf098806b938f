"""Attack success as a text table: a row for each attack and setting, a column for each method."""

from collections.abc import Hashable, Mapping

import pandas as pd

from neurontune_core.robustness.attacks import ATTACKS, BEST_OF, MEANING

SHOWN_COUNTS = (1, 2, 4, 8, 16, 25)
"""Values of N for which best-of-N is shown, besides the largest N; the stored table has every N."""


def attack_rows(table: pd.DataFrame) -> list[dict[str, str]]:
    """Return attack success rates with their 95% intervals; empty if an attack does not apply to a method.

    A cell also counts the answers without a verdict, if there are any.
    """
    rows = []
    for attack in ATTACKS:
        part = table[table["attack"] == attack]
        if attack == BEST_OF:
            part = part[part["place"].isin(SHOWN_COUNTS) | (part["place"] == part["place"].max())]
        for setting, own in part.groupby("setting", sort=False):
            row = {"attack": f"{attack}: {MEANING[attack]}", "setting": str(setting)}
            found = {each["variant"]: each for each in own.to_dict("records")}
            row |= {variant: _rate(found[variant]) if variant in found else "" for variant in table["variant"].unique()}
            rows.append(row | {"n": f"{own['n'].max()}"})
    return rows


def _rate(row: Mapping[Hashable, float]) -> str:
    if not row["n"]:
        return "unscored"
    shown = f"{row['asr']:.0%} [{100 * row['low']:.0f}, {100 * row['high']:.0f}]"
    return f"{shown}, {row['unscored']:.0f} unscored" if row["unscored"] else shown
