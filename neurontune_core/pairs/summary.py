"""A summary of built pairs for people and for machines."""

import math
import textwrap
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import zip_longest
from typing import Any

import pandas as pd

from neurontune_core.pairs.own_refusals import counts_of, own_refusals_statement
from neurontune_core.pairs.ranking import explain_ranking
from neurontune_core.records import PromptPair, Split
from neurontune_core.shown_text import printable

EXAMPLES = 3
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
_WIDTH = 100
RANKED = 5
"""Attacks of each type that are shown besides the chosen ones; a table of all would have hundreds of lines."""
NARROWEST = 6
"""Characters of a column that is not made narrower."""
_COUNTS: dict[str, Callable[[PromptPair], str]] = {
    "split": lambda pair: pair.split,
    "role": lambda pair: "harmful" if pair.role == "safety" else "harmless",
    "source": lambda pair: pair.source,
    "query_category": lambda pair: pair.query_category,
    "attack_type": lambda pair: pair.attack_type or "plain",
    "attack_category": lambda pair: pair.attack_category or "plain",
}


def summarise_pairs(
    pairs: Sequence[PromptPair],
    ranking: pd.DataFrame,
    rejected: pd.DataFrame,
    sources: pd.DataFrame,
    facts: Mapping[str, float],
) -> dict[str, Any]:
    """Return a summary of built pairs that JSON can hold.

    Keys: `pairs` and `queries` (how many), `counts` (of pairs, per split, role, source, unsafety category or topic,
    attack type and attack category, each divided by split), `ranking` (one object an attack, with interval bounds,
    null where one query gives none), `choice` (one line), `own_refusals` (counts of the safety pairs that can be
    attributed, and by reason of those that cannot), `attributed` (one line on them, "" where no judge was asked),
    `examples` (three rows of each kind), `sources` and `rejected` (rows not used).
    """
    return {
        "pairs": len(pairs),
        "queries": len({pair.query_id for pair in pairs}),
        "counts": {name: _by_split(pairs, value) for name, value in _COUNTS.items()},
        "ranking": _records(ranking),
        "choice": explain_ranking(ranking),
        "own_refusals": counts_of(facts),
        "attributed": own_refusals_statement(facts),
        "examples": {kind: [asdict(pair) for pair in members[:EXAMPLES]] for kind, members in _kinds(pairs).items()},
        "sources": _records(sources),
        "rejected": _records(rejected),
    }


def format_summary(summary: Mapping[str, Any], width: int = 120) -> str:
    """Return the text of a summary made by `summarise_pairs`, with tables of at most `width` columns."""
    parts = [f"{summary['pairs']} pairs of {summary['queries']} queries"]
    splits = {split: counts[split] for split, counts in summary["counts"]["split"].items()}
    parts.append("split: " + ", ".join(f"{splits[name]} {name}" for name in SPLITS if name in splits))
    for name, rows in summary["counts"].items():
        if name == "split":
            continue
        parts.append(_table([{name.replace("_", " "): value, **counts} for value, counts in rows.items()], width))
    parts.append("Sources\n" + _table([_source_row(row) for row in summary["sources"]], width))
    parts.append(_understood(summary["sources"]))
    parts.append(_rejected_text(summary["rejected"]))
    parts.append(_ranking_text(summary["ranking"], width))
    parts.append(summary["choice"])
    parts.append(_own_refusals_text(summary["attributed"], summary["own_refusals"]))
    for kind, rows in summary["examples"].items():
        parts.append("\n".join([f"Examples: {kind}", *(line for row in rows for line in _example(row))]))
    return printable("\n\n".join(part for part in parts if part))


def _example(row: Mapping[str, Any]) -> list[str]:
    """Return an example as lines; the messages before its prompt are one line, cut like the other lines."""
    before = [f"system: {row['system']}"] if row["system"] else []
    turns = " | ".join(f"{message['role']}: {message['content']}" for message in row["history"])
    before += [f"{len(row['history'])} turns before: {turns}"] if turns else []
    said = [*before, row["prompt"], f"-> {row['response']}"]
    return [f"  {row['id']} ({row['split']})", *(f"    {_short(text)}" for text in said)]


def _by_split(pairs: Sequence[PromptPair], value: Callable[[PromptPair], str]) -> dict[str, dict[str, int]]:
    counts = Counter((value(pair), pair.split) for pair in pairs)
    return {name: {split: counts[name, split] for split in SPLITS} for name in sorted({name for name, _ in counts})}


def _kinds(pairs: Sequence[PromptPair]) -> dict[str, list[PromptPair]]:
    """Return pairs by kind: role, and plain, attacked or held-out attack; categories alternate."""
    met = {pair.attack_category for pair in pairs if pair.split != "test"}
    kinds: dict[str, dict[str, list[PromptPair]]] = {}
    for pair in pairs:
        role = "harmful" if pair.role == "safety" else "harmless"
        unseen = pair.attack_category not in met
        kind = f"{role}, {'plain' if not pair.attack_name else 'held-out attack' if unseen else 'attacked'}"
        kinds.setdefault(kind, {}).setdefault(pair.query_category, []).append(pair)
    return {kind: [members[0] for members in kinds[kind].values()] for kind in sorted(kinds)}


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as plain values; NaN, which JSON does not know, becomes None."""
    return [
        {str(name): None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
        for row in table.astype(object).to_dict("records")
    ]


def _ranking_text(rows: Sequence[Mapping[str, Any]], width: int) -> str:
    """Return the strongest attacks of each type, and the chosen ones, as a table with a heading."""
    shown = [row for row in rows if row["selected"] or row["rank"] <= RANKED]
    title = "Ranking of the attacks: how many nats each lowers log P(refusal), with 95% intervals (* chosen)"
    if any(row["low"] is None for row in shown):
        title += "; one query gives no interval"
    more = f"\n\n{len(rows) - len(shown)} weaker attacks are in ranking.parquet." if len(shown) < len(rows) else ""
    return f"{title}\n\n{_table([_ranking_row(row) for row in shown], width)}{more}"


def _ranking_row(row: Mapping[str, Any]) -> dict[str, str]:
    bounds = "" if row["low"] is None else f"[{row['low']:.2f}, {row['high']:.2f}]"
    return {
        "type": row["attack_type"],
        "rank": str(row["rank"]),
        "attack": row["attack_name"] + (" *" if row["selected"] else ""),
        "category": row["attack_category"],
        "drop": f"{row['drop']:.2f}",
        "interval": bounds,
    }


def _source_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("columns", "notes")}


def _understood(sources: Sequence[Mapping[str, Any]]) -> str:
    """Return one line for each source on the recognised columns, if there was a choice."""
    lines = []
    for row in sources:
        if said := "; ".join(filter(None, (row.get("columns"), row.get("notes")))):
            lines.append(f"  {row['name']} ({row['role']}): {printable(said, '')}")
    return "\n".join(["Columns", *lines]) if lines else ""


def _rejected_text(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "Every row was used."
    lines = [f"  {row['source']} row {row['row']}: {_short(row['reason'])}" for row in rows[:10]]
    more = [f"  ... and {len(rows) - 10} more, in rejected.parquet"] if len(rows) > 10 else []
    return "\n".join([f"{len(rows)} rows were not used, or not fully", *lines, *more])


def _own_refusals_text(attributed: str, counts: Mapping[str, int]) -> str:
    others = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in counts.items() if name != "own_refusals")
    return f"{attributed}\nThe others: {others}." if attributed else ""


def _table(rows: Sequence[Mapping[str, Any]], width: int) -> str:
    """Return rows as a table; texts are wrapped, the widest column first, until the table fits the width."""
    names = list(rows[0])
    cells = [names, *([printable(str(row[name]), "") for name in names] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(names))]
    right = [all(isinstance(row[name], int) for row in rows) for name in names]
    while sum(widths) + 2 * (len(widths) - 1) > width and max(widths) > NARROWEST:
        widths[widths.index(max(widths))] -= 1
    lines = []
    for row in cells:
        parts = [textwrap.wrap(cell, w) for cell, w in zip(row, widths, strict=True)]
        for line in zip_longest(*parts, fillvalue=""):
            shown = (part.rjust(w) if r else part.ljust(w) for part, w, r in zip(line, widths, right, strict=True))
            lines.append("  ".join(shown).rstrip())
    return "\n".join(lines)


def _short(text: str) -> str:
    line = printable(" ".join(text.split()), "")
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 3]}..."
