"""From the answers of a causal study to its table: rates with intervals, and paired tests against random sets."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from neurontune_core.causal.cells import (
    BASE,
    EMPTY,
    MEAN,
    OPPOSING,
    PATCH,
    RANDOM,
    SAFETY,
    SELECTED_SAFETY,
    SELECTED_UTILITY,
    UTILITY,
    ZERO,
)
from neurontune_core.causal.measure import plain_group
from neurontune_core.evaluation.benchmarks import GROUPS
from neurontune_core.evaluation.statistics import mcnemar_p, wilson
from neurontune_core.records import refuses

KEYS = ["neurons", "matched", "share", "intervention"]
ORDER = {
    "intervention": [BASE, ZERO, MEAN],
    "group": list(GROUPS),
    "neurons": [BASE, EMPTY, SAFETY, OPPOSING, UTILITY, SELECTED_SAFETY, SELECTED_UTILITY],
}


def causal_table(answers: pd.DataFrame) -> pd.DataFrame:
    """Return a row for every set, size, intervention and group of prompts.

    Columns: neurons, matched, share, count, intervention, group; n; base, refused, low, high (shares that are refused
    without and with the change, 95% Wilson; of harmful prompts those refused in full); broken; kl (nats a token);
    base_p (exact McNemar against no change); random, random_low, random_high (mean, least and greatest share of the
    random sets matched to this one) and random_p (the largest p of McNemar tests against each of them), NaN where
    there are none; restored, restored_low, restored_high, restored_n: of the prompts whose plain query the model
    refuses and whose attack it gives in to, the share refused when patched.
    """
    answers = answers.assign(refused=list(map(refuses, answers["label"], answers["role"])))
    base = answers[answers["intervention"] == BASE].set_index(["group", "id"])["refused"]
    changed = answers[answers["intervention"] != BASE]
    outcomes = {key: part.set_index("id")["refused"] for key, part in changed.groupby([*KEYS, "group"], sort=False)}
    rows = [_row(part, base, _draws(outcomes, key)) for key, part in changed.groupby([*KEYS, "group"], sort=False)]
    return pd.DataFrame([*_base_rows(answers), *rows]).sort_values(
        ["intervention", "group", "neurons", "share"], key=_order, kind="stable", ignore_index=True
    )


def _order(column: pd.Series) -> pd.Series:
    """Return sorting keys: interventions and sets in their usual order, unknown ones last."""
    known = ORDER.get(str(column.name), [])
    return column.map({value: place for place, value in enumerate([*known, *sorted(set(column) - set(known))])})


def causal_facts(table: pd.DataFrame, answers: pd.DataFrame) -> dict[str, float]:
    """Return the headline: base rates, silencing and patching of the safety set at every size, and random sets.

    `empty_set_changes` counts answers that changed although no neuron was changed; above 0 the hooks are at fault.
    """
    rows: list[dict[str, Any]] = table.to_dict("records")  # type: ignore[assignment]  # columns have names
    facts = {f"refused/{row['group']}": float(row["refused"]) for row in rows if row["intervention"] == BASE}
    for row in rows:
        if row["neurons"] != SAFETY:
            continue
        if row["intervention"] == ZERO and row["group"] == "harmful_plain":
            facts[f"silenced/{row['share']:g}"] = float(row["refused"])
            if not np.isnan(row["random"]):
                facts[f"silenced_random/{row['share']:g}"] = float(row["random"])
        if row["intervention"] == PATCH and not np.isnan(row["restored"]):
            facts[f"restored/{row['group']}/{row['share']:g}"] = float(row["restored"])
    empty = answers[answers["neurons"] == EMPTY]
    unchanged = answers[answers["intervention"] == BASE].set_index(["group", "id"])["answer"]
    same = [answer == unchanged[(group, name)] for group, name, answer in empty[["group", "id", "answer"]].to_numpy()]
    return facts | {"empty_set_changes": float(len(same) - sum(same)), "answers": float(len(answers))}


def _base_rows(answers: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for group, part in answers[answers["intervention"] == BASE].groupby("group", sort=False):
        yield _described(part, group) | _rates(part) | {"base": float(part["refused"].mean())}


def _row(part: pd.DataFrame, base: pd.Series, draws: list[pd.Series]) -> dict[str, Any]:
    group = str(part["group"].iloc[0])
    own = part.set_index("id")["refused"]
    before = base[group].reindex(own.index).astype(bool)
    row = _described(part, group) | _rates(part)
    row |= {"base": float(before.mean()), "base_p": mcnemar_p(before.tolist(), own.tolist())}
    if draws:
        shares = [float(each.mean()) for each in draws]
        tests = [mcnemar_p(each.reindex(own.index).tolist(), own.tolist()) for each in draws]
        row |= {"random": float(np.mean(shares)), "random_low": min(shares), "random_high": max(shares)}
        row |= {"random_p": max(tests)}
    if part["intervention"].iloc[0] == PATCH and plain_group(group) in base.index.get_level_values("group"):
        plain = base[plain_group(group)].reindex(own.index).astype(bool)
        taken = own[plain & ~before]
        if len(taken):
            rate = wilson(taken.tolist())
            row |= {"restored": rate.value, "restored_low": rate.low, "restored_high": rate.high, "restored_n": rate.n}
    return row


def _described(part: pd.DataFrame, group: object) -> dict[str, Any]:
    first = part.iloc[0]
    nothing = dict.fromkeys(
        ("base_p", "random", "random_low", "random_high", "random_p", "restored", "restored_low", "restored_high"),
        np.nan,
    )
    return (
        {name: first[name] for name in ("neurons", "matched", "share", "count", "intervention")}
        | {"group": group, "kl": float(first["kl"]), "restored_n": 0}
        | nothing
    )


def _rates(part: pd.DataFrame) -> dict[str, Any]:
    rate = wilson(part["refused"].tolist())
    broken = float((part["label"] == "broken").mean())
    return {"n": rate.n, "refused": rate.value, "low": rate.low, "high": rate.high, "broken": broken}


def _draws(outcomes: dict[tuple[object, ...], pd.Series], key: tuple[object, ...]) -> list[pd.Series]:
    """Return the outcomes of the random sets that are matched to the set of `key`, under the same intervention."""
    neurons, _, share, intervention, group = key
    return [
        outcome
        for other, outcome in outcomes.items()
        if str(other[0]).startswith(RANDOM) and other[1:] == (neurons, share, intervention, group)
    ]
