"""General ability by lm-evaluation-harness: published tasks, or the user's tasks from a folder of YAML files."""

import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
import transformers
from tqdm import tqdm

from neurontune_core.artifacts import file_digest, text_digest
from neurontune_core.errors import InputError, nearest_first
from neurontune_core.evaluation.statistics import paired_difference
from neurontune_core.model.load import ChatModel
from neurontune_core.progress import Track, silent
from neurontune_core.records import Conversation

VERSION = 1
INSTALL = "pip install 'neurontune[harness]'"
TOKENS_OF_A_ROW = 512
"""Assumed tokens of a row of a task, for the batch size."""
SEED = 1234
"""Seed of the examples in prompts, and of tasks that sample their answers; the harness's own default."""
MOST_PARTS = 100
"""Most parts in which the requests of one kind are answered; progress is told after each."""
ENDS = ("", "_base", "_difference", "_difference_low", "_difference_high", "_n")
"""Suffixes of a metric's facts: tuned, base, difference with its interval, number of rows."""


@dataclass(frozen=True)
class HarnessTasks:
    """Names of tasks, groups or tags; a folder with the user's tasks; and the most rows of each task."""

    tasks: tuple[str, ...]
    folder: str | None = None
    limit: int | None = None


def check_tasks(asked: HarnessTasks) -> None:
    """Check the tasks, before a model is loaded.

    Raises:
        InputError: the harness is not installed, no task is named, one is unknown, or its data file is missing.
    """
    if asked.limit is not None and asked.limit < 1:
        raise InputError(f"--limit: {asked.limit} rows are too few; give 1 or more")
    manager = _manager(asked.folder)
    if not asked.tasks:
        raise InputError("--tasks: no task is named; give one or more, e.g. mmlu,gsm8k,hellaswag")
    for name in asked.tasks:
        if name not in manager.task_index:
            near = nearest_first(name, manager.all_tasks)
            raise InputError(f"--tasks: unknown task {name!r}; the nearest are {near}")
    if len(set(asked.tasks)) < len(asked.tasks):
        raise InputError(f"--tasks: one is named twice in {', '.join(asked.tasks)}; name it once")
    for name, file in _data_files(manager, asked.folder):
        if not os.path.isfile(file):
            raise InputError(
                f"--task-folder: {file} of task {name} does not exist; give its absolute path in data_files"
            )


def task_digests(asked: HarnessTasks) -> list[str]:
    """Return the harness's version and the digests of the user's task files, for the content key of a stage.

    Data from the hub are not in the key, because the harness pins no revision of them.
    """
    found = [f"lm_eval {metadata.version('lm_eval')}"]
    if asked.folder is None:
        return found
    folder = Path(asked.folder)
    files = [(str(file.relative_to(folder)), file) for file in sorted(folder.rglob("*")) if file.is_file()]
    files += [(name, Path(file)) for name, file in _data_files(_manager(asked.folder), asked.folder)]
    lines = "".join(f"{name}\0{file_digest(file)}\n" for name, file in files if "__pycache__" not in name)
    return [*found, text_digest(lines)]


def model_scores(chat: ChatModel, asked: HarnessTasks, track: Track = silent) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a model's scores: `result_table` (a row a task and metric) and `row_table` (one for each row of a task).

    Prompts are written in the model's chat format, with its system message. Tasks without a number of examples in the
    prompt get none.

    Raises:
        InputError: the data of a task cannot be loaded.
    """
    import datasets
    from lm_eval import evaluate

    datasets.disable_progress_bars()
    transformers.set_seed(SEED)
    try:
        loaded = _manager(asked.folder).load(list(asked.tasks))
    except FileNotFoundError as error:
        raise InputError(
            f"--tasks: the data of {', '.join(asked.tasks)} cannot be loaded ({error}); check the task's files and the "
            f"network"
        ) from error
    for task in loaded["tasks"].values():
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=SEED)
    # `simple_evaluate` would do the same, and ask git and the machine for facts that nothing here shows
    results = evaluate(
        _tracked_model(chat, track),
        loaded,
        limit=asked.limit,
        bootstrap_iters=0,  # intervals are those of the paired difference, over rows
        system_instruction=chat.system_message(Conversation("")) or None,
        apply_chat_template=chat.tokenizer.chat_template is not None,
    )
    assert results is not None
    return result_table(results), row_table(results)


def result_table(results: Mapping[str, Any]) -> pd.DataFrame:
    """Return the scores in the harness's results: a row a task (or group) and metric.

    Columns: task, metric (with its filter where it has one, `exact_match.strict-match`), value, n (rows asked).
    """
    sizes = {name: int(count["effective"]) for name, count in results.get("n-samples", {}).items()}
    members = results.get("group_subtasks", {})

    def size(name: str) -> int:
        return sizes[name] if name in sizes else sum(size(each) for each in members.get(name, ()))

    rows = [
        (task, _metric(name), float(value), size(task))
        for task, scores in results["results"].items()
        for name, value in scores.items()
        if "," in name and "_stderr," not in name and isinstance(value, int | float)
    ]
    return pd.DataFrame(rows, columns=["task", "metric", "value", "n"])


def row_table(results: Mapping[str, Any]) -> pd.DataFrame:
    """Return the score of each row of each task, if it is a number. Columns: task, metric, row, value."""
    rows = [
        (task, _metric(f"{name},{each.get('filter', 'none')}"), int(each["doc_id"]), float(each[name]))
        for task, samples in results.get("samples", {}).items()
        for each in samples
        for name in each.get("metrics", ())
        if isinstance(each.get(name), int | float)
    ]
    return pd.DataFrame(rows, columns=["task", "metric", "row", "value"])


def compare_scores(
    asked: Sequence[str], base: tuple[pd.DataFrame, pd.DataFrame], tuned: tuple[pd.DataFrame, pd.DataFrame]
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return a table with the scores of both models side by side, and the scores of the requested tasks as facts.

    Columns: task, metric, base, tuned, difference (tuned minus base), low, high (95% of a paired bootstrap over the
    task's rows; NaN for a group, and for a metric that is not a mean over rows), n. Facts: `harness/<task>/<metric>`
    and the same with each of `ENDS`.
    """
    scores = base[0].merge(tuned[0].drop(columns="n"), on=["task", "metric"], suffixes=("_base", ""))
    rows = base[1].merge(tuned[1], on=["task", "metric", "row"], suffixes=("_base", ""))
    moved = {key: part["value"] - part["value_base"] for key, part in rows.groupby(["task", "metric"])}
    table = []
    for row in scores.to_dict("records"):
        found = moved.get((row["task"], row["metric"]))
        _, low, high = (float("nan"),) * 3 if found is None else paired_difference(found.to_numpy())
        difference = row["value"] - row["value_base"]
        table.append((row["task"], row["metric"], row["value_base"], row["value"], difference, low, high, row["n"]))
    columns = ["task", "metric", "base", "tuned", "difference", "low", "high", "n"]
    result = pd.DataFrame(table, columns=columns)
    facts = {
        f"harness/{row['task']}/{row['metric']}{end}": float(row[column])
        for row in result[result["task"].isin(asked)].to_dict("records")
        for end, column in zip(ENDS, ("tuned", "base", "difference", "low", "high", "n"), strict=True)
        if not pd.isna(row[column])
    }
    return result, facts


def compared(facts: Mapping[str, float]) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield each task and metric among the facts, with its values by suffix (`ENDS`)."""
    for name in facts:
        whole = name.removesuffix("_base")
        if name.startswith("harness/") and name != whole and whole in facts:
            yield (
                whole.removeprefix("harness/"),
                {end: facts[f"{whole}{end}"] for end in ENDS if f"{whole}{end}" in facts},
            )


def spoken_difference(values: Mapping[str, float]) -> str:
    """Return the difference of both models' scores in words, with its interval if there is one."""
    interval = ""
    if "_difference_low" in values:
        interval = f" ({values['_difference_low']:+.1%} to {values['_difference_high']:+.1%})"
    return f"difference {values['_difference']:+.1%}{interval}, n = {values['_n']:.0f}"


def _tracked_model(chat: ChatModel, track: Track) -> Any:
    """Return the model as the harness asks it; `track` shows its progress in place of the harness's own bars."""
    from lm_eval.api import model, task
    from lm_eval.models import huggingface

    for module in (model, task, huggingface):
        vars(module)["tqdm"] = _no_bar
    logging.getLogger("lm_eval.models.huggingface").setLevel(logging.ERROR)  # it warns of every model that is loaded

    class TrackedModel(huggingface.HFLM):
        def loglikelihood(self, requests: list[Any], disable_tqdm: bool = True) -> list[Any]:
            return self._in_parts(super().loglikelihood, requests, "scoring options")

        def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = True) -> list[Any]:
            return self._in_parts(super().loglikelihood_rolling, requests, "scoring texts")

        def generate_until(self, requests: list[Any], disable_tqdm: bool = True) -> list[Any]:
            return self._in_parts(super().generate_until, requests, "generating")

        def _in_parts(self, answer: Callable[[list[Any]], list[Any]], requests: list[Any], doing: str) -> list[Any]:
            size = max(8 * int(self.batch_size), math.ceil(len(requests) / MOST_PARTS))
            parts = [requests[start : start + size] for start in range(0, len(requests), size)]
            return [each for part in track(parts, doing, len(parts)) for each in answer(part)]

    return TrackedModel(
        pretrained=chat.model,
        tokenizer=deepcopy(chat.tokenizer),  # the harness changes the padding of its tokenizer
        batch_size=max(1, chat.batch_tokens // TOKENS_OF_A_ROW),
        enable_thinking=False,
    )


def _no_bar(*arguments: Any, **settings: Any) -> Any:
    return tqdm(*arguments, **{**settings, "disable": True})


def _metric(name: str) -> str:
    """Return the harness's `metric,filter` as a name that MLflow allows."""
    metric, _, chosen = name.partition(",")
    return metric if chosen in ("", "none") else f"{metric}.{chosen}"


def _manager(folder: str | None) -> Any:
    """Return the harness's list of tasks, including those of the user's folder.

    Raises:
        InputError: the harness is not installed, or the folder does not exist.
    """
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise InputError(f"--tasks: lm-evaluation-harness is not installed; {INSTALL}") from error
    if folder is not None and not os.path.isdir(folder):
        raise InputError(f"--task-folder: {folder!r} is not a folder; give one with the YAML files of tasks")
    return TaskManager(include_path=folder)


def _data_files(manager: Any, folder: str | None) -> list[tuple[str, str]]:
    """Return the local files that the user's tasks read, each with the name of its task."""
    if folder is None:
        return []
    found = []
    for name, entry in sorted(manager.task_index.items()):
        if entry.yaml_path is None or not Path(entry.yaml_path).resolve().is_relative_to(Path(folder).resolve()):
            continue
        files = ((entry.cfg or {}).get("dataset_kwargs") or {}).get("data_files", ())
        found += [(name, file) for file in _flat(files) if "://" not in file and "*" not in file]
    return found


def _flat(files: Any) -> list[str]:
    """Return the file names in a value of `data_files`: a name, a list of names, or a dict of either by split."""
    if isinstance(files, str):
        return [files]
    return [name for each in (files.values() if isinstance(files, Mapping) else files) for name in _flat(each)]
