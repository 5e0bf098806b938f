"""The page of a causal study: one sentence for each claim, and one table for each intervention."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from neurontune_core.causal.cells import BASE, EMPTY, MEAN, OPPOSING, ORDINARY, PATCH, RANDOM, SAFETY, UTILITY, ZERO
from neurontune_core.shown_text import group_in_words, markdown_table

SETS = {
    SAFETY: "carry refusal",
    OPPOSING: "work against refusal",
    UTILITY: "utility",
    RANDOM: "random, matched by layer",
}
LEGEND = (
    "A rate has its 95% Wilson interval. A row of random sets has their mean rate and, in brackets, their lowest and "
    "highest rate; over all prompts of a group, also the largest p of the exact McNemar tests of the row above against "
    "each random set."
)
KL_LEGEND = (
    "KL from the model without a change on its own answers to ordinary harmless prompts, in nats a token. In brackets: "
    "the share of broken answers, if there are any."
)
Rows = list[dict[str, str]]


def title_of(intervention: str) -> str:
    """Return an intervention in words."""
    titles = {
        ZERO: "Silenced: activations set to 0",
        MEAN: "Silenced: activations set to their mean on harmless prompts",
    }
    titles[PATCH] = "Patched: activations of the plain query put into the attacked prompt's last position"
    return titles.get(intervention, f"Amplified: activations times {intervention.removeprefix('x ')}")


def causal_body(table: pd.DataFrame, plot: str) -> str:
    """Return the page's body in Markdown: the base rates, and a table of refusal rates an intervention.

    Args:
        table: `summary.causal_table`.
        plot: the file of the drawing.
    """
    base = table[table["intervention"] == BASE]
    rates = [
        {"prompts": group_in_words(str(row["group"])), "refused": rate(row), "broken": f"{row['broken']:.0%}"}
        | {"n": str(row["n"])}
        for row in base.to_dict("records")
    ]
    parts = ["The model without a change:", markdown_table(rates), LEGEND, f"![Dose and response]({plot})"]
    for intervention in dict.fromkeys(table["intervention"]):
        if intervention != BASE:
            rows = rate_rows(table[table["intervention"] == intervention])
            parts += [f"## {title_of(str(intervention))}", markdown_table(rows)] if rows else []
    changed = kl_rows(table)
    if changed:
        parts += ["## How far answers to ordinary prompts move", KL_LEGEND, markdown_table(changed)]
    return "\n\n".join(parts)


def rate_rows(table: pd.DataFrame) -> Rows:
    """Return refusal rates under one intervention: a row a group and set, a column a size of the set.

    The rates of the sets have their 95% intervals; random sets show their mean rate and its range (`random_rate`).
    """
    sized = table[(table["share"] > 0) & ~table["neurons"].str.startswith(RANDOM) & (table["neurons"] != EMPTY)]
    shares = sorted(sized["share"].unique())
    rows: Rows = []
    for (group, neurons), part in sized.groupby(["group", "neurons"], sort=False):
        by_share = {row["share"]: row for row in part.to_dict("records")}
        first = {"prompts": group_in_words(str(group)), "neurons": SETS[str(neurons)]}
        rows.append(first | _columns(shares, by_share, rate))
        if any(not math.isnan(row["random"]) for row in by_share.values()):
            first = {"prompts": first["prompts"], "neurons": SETS[RANDOM]}
            rows.append(first | _columns(shares, by_share, random_rate))
        if any(row["restored_n"] for row in by_share.values()):
            first = {"prompts": f"of these, refused plain and not attacked (n = {part['restored_n'].max()})"}
            rows.append(first | {"neurons": SETS[str(neurons)]} | _columns(shares, by_share, _restored))
            drawn = table[(table["matched"] == neurons) & (table["group"] == group) & table["restored"].notna()]
            if len(drawn):
                by_draw = {share: each["restored"] for share, each in drawn.groupby("share")}
                rows.append(first | {"neurons": SETS[RANDOM]} | _columns(shares, by_draw, _restored_by_random))
    return rows


def kl_rows(table: pd.DataFrame) -> Rows:
    """Return the KL on ordinary prompts: a row an intervention and set, a column a size of the set."""
    asked = table[(table["group"] == ORDINARY) & (table["share"] > 0) & table["kl"].notna()]
    shares = sorted(asked["share"].unique())
    return [
        {"intervention": title_of(str(intervention)), "neurons": SETS[str(neurons)]}
        | _columns(shares, {row["share"]: row for row in part.to_dict("records")}, _kl)
        for (intervention, neurons), part in asked.groupby(["intervention", "neurons"], sort=False)
    ]


def _columns(shares: Sequence[float], by_share: dict[Any, Any], show: Any) -> dict[str, str]:
    return {f"{share:.2%}": show(by_share[share]) if share in by_share else "" for share in shares}


def rate(row: dict[Any, Any]) -> str:
    """Return the share refused with its 95% interval, as text."""
    return f"{row['refused']:.0%} [{100 * row['low']:.0f}, {100 * row['high']:.0f}]"


def random_rate(row: dict[Any, Any]) -> str:
    """Return the mean share of the random sets, their range, and the largest p of the paired tests, as text."""
    if math.isnan(row["random"]):
        return ""
    p = f"p <= {row['random_p']:.2g}" if row["random_p"] >= 0.001 else "p < 0.001"
    return f"{row['random']:.0%} ({100 * row['random_low']:.0f} to {100 * row['random_high']:.0f}; {p})"


def _kl(row: dict[Any, Any]) -> str:
    broken = f" ({row['broken']:.0%} broken)" if row["broken"] else ""
    return f"{row['kl']:.3f}{broken}"


def _restored(row: dict[Any, Any]) -> str:
    if not row["restored_n"]:
        return ""
    return f"{row['restored']:.0%} [{100 * row['restored_low']:.0f}, {100 * row['restored_high']:.0f}]"


def _restored_by_random(shares: pd.Series) -> str:
    return f"{shares.mean():.0%} ({100 * shares.min():.0f} to {100 * shares.max():.0f})"
