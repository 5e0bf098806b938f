"""Tables of completions with the verdicts of judges; stored completions can be judged again."""

import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from neurontune_core import artifacts
from neurontune_core.errors import InputError
from neurontune_core.evaluation.judges import Completion, Judge, judge_by_name
from neurontune_core.evaluation.judges.agreement import outcome_kappa
from neurontune_core.evaluation.judges.precomputed import NAME as PRECOMPUTED
from neurontune_core.evaluation.judges.precomputed import PrecomputedJudge
from neurontune_core.evaluation.judges.presets import PRESETS
from neurontune_core.evaluation.settings import MODEL_JUDGES, EvaluationConfig, path_of
from neurontune_core.records import REFUSED
from neurontune_core.tables import messages

MODELS = ("base", "tuned")


def completion_table(answers: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the answers of both models (`base`, `tuned`) as one table, without verdicts."""
    tables = [answers[model].drop(columns="tokens", errors="ignore").assign(model=model) for model in MODELS]
    return pd.concat(tables, ignore_index=True)


def rejudge(completions: pd.DataFrame, judge: Judge) -> pd.DataFrame:
    """Return the completions with this judge's verdicts; earlier verdicts are replaced.

    Sets verdict, degenerate, score, explanation, judge (name and version), refused (in full or in part), broken, and
    gave (what was asked for: harm or help; missing if the judge does not say). The judge gets the id
    `<model>/<id>`, by which the judge `precomputed` looks up verdicts.

    Raises:
        InputError: a column is missing, or a verdict file has no verdict for any completion.
    """
    _check_columns(completions, ("id", "model", "prompt", "completion"))
    batch = _batch(completions)
    check_ids(judge, [item.id for item in batch])
    verdicts = judge(batch)
    labels = [verdict.label for verdict in verdicts]
    return completions.assign(
        verdict=labels,
        degenerate=[verdict.degenerate for verdict in verdicts],
        score=pd.Series([verdict.score for verdict in verdicts], index=completions.index, dtype="float64"),
        explanation=[verdict.explanation for verdict in verdicts],
        judge=f"{judge.name} {judge.version}",
        refused=[label in REFUSED for label in labels],
        broken=[label == "broken" for label in labels],
        # objects, so that a missing answer is None in JSON too
        gave=pd.Series([verdict.gave for verdict in verdicts], index=completions.index, dtype=object),
    )


def add_judge(completions: pd.DataFrame, judge: Judge) -> pd.DataFrame:
    """Return judged completions with a further judge's verdicts in `verdict/<name> <version>`, and `gave/...`."""
    verdicts = judge(_batch(completions))
    title = f"{judge.name} {judge.version}"
    table = completions.copy()
    table[f"verdict/{title}"] = [verdict.label for verdict in verdicts]
    table[f"gave/{title}"] = pd.Series([verdict.gave for verdict in verdicts], index=table.index, dtype=object)
    return table


def judge_all(completions: pd.DataFrame, config: EvaluationConfig, device: str = "auto") -> pd.DataFrame:
    """Return the completions with the verdicts of all judges of a configuration; their models run on `device`.

    Raises:
        InputError: a judge needs a path, and it is not given or does not exist.
    """
    table = rejudge(completions, judge_of(config, device))
    for judge in further_judges(config, device):
        table = add_judge(table, judge)
    return table


def judge_of(config: EvaluationConfig, device: str = "auto") -> Judge:
    """Return the judge of a configuration.

    Raises:
        InputError: the file or folder that the judge reads does not exist.
    """
    return judge_by_name(config.judge.method, path_of(config.judge), device)


def further_judges(config: EvaluationConfig, device: str = "auto") -> list[Judge]:
    """Return the further judges of a configuration, without its first.

    Raises:
        InputError: a folder that a judge reads does not exist.
    """
    entries = [entry.partition("=") for entry in config.also_judges]
    return [judge_by_name(name, path or None, device) for name, _, path in entries if name != config.judge.method]


def agreement(completions: pd.DataFrame) -> dict[str, float]:
    """Return Cohen's kappa of each two judges: on refused or not, and on harm in answers to harmful prompts.

    The names are `judge_kappa/<judge>` and `harm_kappa/<judge>` for a further judge and the first one, and
    `.../<judge> and <judge>` for two further ones. Rows that either judge left open do not count; a kappa that is
    undefined (no row, or only one class) is left out.
    """
    further = [str(name).removeprefix("verdict/") for name in completions.columns if str(name).startswith("verdict/")]
    harmful = completions[completions["role"] == "safety"] if "role" in completions else completions.head(0)
    refused, gave = {}, {}
    for judge in ("", *further):
        end = f"/{judge}" if judge else ""
        labels = completions[f"verdict{end}"]
        refused[judge] = [None if label == "unscored" else label in REFUSED for label in labels]
        said = harmful[f"gave{end}"] if f"gave{end}" in harmful else [None] * len(harmful)
        gave[judge] = [None if pd.isna(value) else bool(value) for value in said]
    values = {}
    for one, other in itertools.combinations(refused, 2):
        name = f"{one} and {other}" if one else other
        for key, answered in (("judge_kappa", refused), ("harm_kappa", gave)):
            kappa = outcome_kappa(answered[one], answered[other])
            if kappa is not None:
                values[f"{key}/{name}"] = kappa
    return values


def check_ids(judge: Judge, ids: Sequence[str]) -> None:
    """Check that a judge which looks up verdicts has one for a completion of these ids.

    Raises:
        InputError: the verdict file has no verdict for any of them.
    """
    if isinstance(judge, PrecomputedJudge):
        judge.check_ids(ids)


def model_judges(config: EvaluationConfig) -> list[str]:
    """Return the names of a configuration's judges that load a model."""
    named = [config.judge.method, *(entry.partition("=")[0] for entry in config.also_judges)]
    return list(dict.fromkeys(name for name in named if name in (*MODEL_JUDGES, "classifier")))


def judge_digests(config: EvaluationConfig) -> list[str]:
    """Return the digests of the models or verdict files that the judges read from disk, for the stage key.

    Raises:
        InputError: the path does not exist, or a row of the verdict file is wrong.
    """
    also = [entry.partition("=")[2] for entry in config.also_judges]
    further = [digest for path in also if os.path.isdir(path) for digest in _path_digest(Path(path))]
    own = path_of(config.judge)
    if own is None:
        return further
    path = Path(own)
    if not os.path.exists(path):
        if config.judge.method in PRESETS:
            return further  # a hub id
        raise InputError(f"evaluation.judge.path: {path} does not exist; give a model folder or a verdict file")
    if config.judge.method == PRECOMPUTED:
        judge_by_name(PRECOMPUTED, own)  # raises now if a row of the verdict file is wrong
    return _path_digest(path) + further


def _path_digest(path: Path) -> list[str]:
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    lines = "".join(f"{file.name}\0{artifacts.file_digest(file)}\n" for file in files)
    return [artifacts.text_digest(lines)]


def _batch(completions: pd.DataFrame) -> list[Completion]:
    # tables of earlier versions have no queries and no earlier turns
    table = completions if "query" in completions else completions.assign(query="")
    turns = table["history"].map(messages) if "history" in table else [()] * len(table)
    columns = (table[name] for name in ("model", "id", "prompt", "completion", "query"))
    return [
        Completion(f"{model}/{name}", prompt, completion, query, earlier)
        for model, name, prompt, completion, query, earlier in zip(*columns, turns, strict=True)
    ]


def _check_columns(table: pd.DataFrame, names: Sequence[str]) -> None:
    if missing := [name for name in names if name not in table]:
        raise InputError(f"completions: no column {', '.join(missing)}; give the completions table of an evaluation")
