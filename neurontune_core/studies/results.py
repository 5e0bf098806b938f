"""From the runs of a study to the table it reports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from neurontune_core.comparison.behaviour import compare_behaviour
from neurontune_core.data.categories import ATTACK_TYPES
from neurontune_core.evaluation.rates import served
from neurontune_core.evaluation.statistics import su_f1, wilson
from neurontune_core.records import NeuronSet, Role
from neurontune_core.studies.catalogue import CORPUS

PLAIN = "plain"
GROUPS = {
    "harmful plain": "harmful_plain",
    "harmful attacked": "harmful_attacked",
    "harmful held-out": "harmful_heldout_attack",
    "ordinary": "benign_ordinary",
    "borderline": "benign_borderline",
    "benign attacked": "benign_attacked",
    "benign held-out": "benign_heldout_attack",
}
"""Columns with refusal rates, and the benchmark each is of."""


@dataclass(frozen=True)
class Measured:
    """One variant of a study: the completions of its evaluation, its facts, and what it cost to learn.

    `facts` are those of the evaluation; `parameters` counts the numbers learned, `seconds` what learning them took.
    """

    completions: pd.DataFrame
    facts: Mapping[str, float]
    parameters: int
    seconds: float


def comparison_table(measured: Mapping[str, Measured], references: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Return a row a variant, below the base model's: SU-F1 with its interval, rates, and the paired difference.

    `references` names the variant that a variant is compared with; without it, all are compared with the first one.

    Columns: variant; su_f1, low, high (95%, bootstrap over queries); difference, difference_low, difference_high
    (paired; NaN for the base model and variants that are not compared); safety; utility; broken; kl (nats a token);
    refusal rates of `GROUPS`; parameters; seconds; n.
    """
    names = list(measured)
    if references is None:
        references = dict.fromkeys(names[1:], names[0])
    rows = [_row("base model", measured[names[0]], "_base") | {"parameters": 0, "seconds": 0.0, "kl": 0.0}]
    for name in names:
        one = measured[name]
        row = _row(name, one, "") | {"parameters": one.parameters, "seconds": one.seconds}
        if name in references:
            metrics = compare_behaviour(measured[references[name]].completions, one.completions).metrics
            found = metrics[metrics["metric"] == "su_f1"]
            if len(found):
                row |= {f"difference{end}": float(found[column].iloc[0]) for end, column in _ENDS.items()}
        rows.append(row)
    return pd.DataFrame(rows)


def pareto_front(safety: Sequence[float], utility: Sequence[float]) -> NDArray[np.bool_]:
    """Return which points no other is at least as good as in both and better in one, `[point]`."""
    points = np.stack([np.asarray(safety, dtype=float), np.asarray(utility, dtype=float)], axis=1)
    as_good = (points[:, None] >= points[None]).all(-1)
    better = (points[:, None] > points[None]).any(-1)
    dominated: NDArray[np.bool_] = np.any(as_good & better, axis=0)
    return np.logical_not(dominated)


def spread(table: pd.DataFrame) -> pd.DataFrame:
    """Return mean and standard deviation over the variants (the base model left out) of every number, two rows."""
    numbers = table[table["variant"] != "base model"].select_dtypes("number")
    rows = pd.DataFrame([numbers.mean(), numbers.std(ddof=1)])
    return rows.assign(variant=["mean", "standard deviation"])[["variant", *numbers.columns]]


def attack_type_table(measured: Mapping[str, Measured]) -> pd.DataFrame:
    """Return refusals by the type of attack around the test prompt: a row a variant, type and role.

    Columns: variant, tested on, role, n, rate, low, high (95% Wilson), su_f1 (over both roles of that type).
    """

    def of(row: pd.Series) -> str:
        category = str(row["attack_category"])
        return ATTACK_TYPES.get(category, category or PLAIN).replace("_", " ")

    return _matrix(measured, lambda table: table.apply(of, axis=1))


def dataset_table(measured: Mapping[str, Measured]) -> pd.DataFrame:
    """Return refusals by benchmark, both roles of the corpus together; columns as of `attack_type_table`."""
    names = dict.fromkeys(GROUPS.values(), "own test split") | dict.fromkeys(CORPUS, "shipped corpus")
    return _matrix(measured, lambda table: table["benchmark"].map(lambda name: names.get(name, str(name))))


def layer_table(selected: Mapping[str, tuple[NeuronSet, Sequence[int]]]) -> pd.DataFrame:
    """Return how many neurons of each role every layer holds: a row a variant and layer.

    Columns: variant, layer, neurons (of the layer in all), safety, utility.
    """
    rows: list[dict[str, Any]] = []
    for name, (neurons, widths) in selected.items():
        counts = {
            role: np.bincount([neuron.layer for neuron in chosen], minlength=len(widths))
            for role, chosen in (("safety", neurons.safety), ("utility", neurons.utility))
        }
        rows += [
            {"variant": name, "layer": layer, "neurons": width, "safety": int(counts["safety"][layer])}
            | {"utility": int(counts["utility"][layer])}
            for layer, width in enumerate(widths)
        ]
    return pd.DataFrame(rows)


def causal_tables(tables: Mapping[str, pd.DataFrame], seconds: Mapping[str, float]) -> pd.DataFrame:
    """Return the causal tables of several variants below one another; `seconds` is what the scores of each took."""
    return pd.concat(
        [table.assign(variant=name, seconds=seconds[name]) for name, table in tables.items()], ignore_index=True
    )


def attack_table(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the attack success of several variants below the base model's, which they share, in column `variant`."""
    parts = [table[table["model"] == "tuned"].assign(variant=name) for name, table in tables.items()]
    first = next(iter(tables.values()))
    base = first[first["model"] == "base"].assign(variant="base model")
    return pd.concat([base, *parts], ignore_index=True).drop(columns="model")


_ENDS = {"": "difference", "_low": "low", "_high": "high"}


def _row(name: str, one: Measured, suffix: str) -> dict[str, Any]:
    facts, model = one.facts, "base" if suffix else "tuned"
    row: dict[str, Any] = {"variant": name}
    row |= {end: facts[f"eval/su_f1{suffix}{key}"] for end, key in (("su_f1", ""), ("low", "_low"), ("high", "_high"))}
    row |= {"difference": np.nan, "difference_low": np.nan, "difference_high": np.nan}
    row |= {name: facts[f"eval/{name}{suffix}"] for name in ("safety", "utility", "broken")}
    row["kl"] = facts.get("eval/kl_to_base", np.nan)
    row |= {column: facts.get(f"refusal_rate{suffix}/{benchmark}", np.nan) for column, benchmark in GROUPS.items()}
    return row | {"n": int((one.completions["model"] == model).sum())}


def _matrix(measured: Mapping[str, Measured], column: Any) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    roles: tuple[Role, ...] = ("safety", "utility")
    for name, one in measured.items():
        tuned = one.completions[(one.completions["model"] == "tuned") & (one.completions["verdict"] != "unscored")]
        tuned = tuned.assign(tested=column(tuned))
        for tested, part in tuned.groupby("tested", sort=False):
            by_role = {role: part[part["role"] == role] for role in roles if (part["role"] == role).any()}
            score = np.nan
            if len(by_role) == len(roles):
                score = su_f1(float(by_role["safety"]["refused"].mean()), float(served(by_role["utility"]).mean()))
            for role, own in by_role.items():
                rate = wilson(own["refused"].tolist())
                rows.append(
                    {"variant": name, "tested on": tested, "role": role, "n": rate.n, "rate": rate.value}
                    | {"low": rate.low, "high": rate.high, "su_f1": score}
                )
    return pd.DataFrame(rows)
