"""General ability on 200 shipped four-option questions, scored by likelihood, of the base and the tuned model."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import resources

import numpy as np
import pandas as pd

from neurontune_core.artifacts import text_digest
from neurontune_core.evaluation.statistics import mcnemar_p, paired_difference, wilson
from neurontune_core.interventions import Intervention
from neurontune_core.model.chat import encode_response
from neurontune_core.model.likelihood import option_log_probabilities
from neurontune_core.model.load import ChatModel
from neurontune_core.progress import Track, silent

VERSION = 3
FILE = "ability.jsonl"


@dataclass(frozen=True)
class Question:
    """A question with four options, of which `options[answer]` is right."""

    id: str
    subject: str
    question: str
    options: tuple[str, ...]
    answer: int


def shipped_questions() -> list[Question]:
    """Return the questions that ship with the project and were written for it: ten subjects of twenty each."""
    rows = [json.loads(line) for line in _shipped_text().splitlines()]
    return [Question(**(row | {"options": tuple(row["options"])})) for row in rows]


def questions_digest() -> str:
    """Return the SHA-256 of the shipped questions."""
    return text_digest(_shipped_text())


def choices(chat: ChatModel, questions: Sequence[Question], track: Track = silent) -> list[int]:
    """Return the likeliest option of each question, `argmax_o log P(o | question) / letters(o)`.

    The question is put in the model's chat format; dividing by the letters keeps short options from winning.
    """
    prompts = [chat.prompt_tokens(each.question) for each in questions]
    options = [[encode_response(chat.tokenizer, option, None) for option in each.options] for each in questions]
    scores = option_log_probabilities(chat, prompts, options, track)
    return [
        int(np.argmax([score / len(option) for score, option in zip(some, each.options, strict=True)]))
        for some, each in zip(scores, questions, strict=True)
    ]


def base_choices(
    chat: ChatModel, track: Track = silent, questions: Sequence[Question] | None = None
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return the questions with the base model's choices, and its accuracy; all tuned models of it share them.

    The table has a row a question: the fields of `Question`, and `chosen`, an option counted from 0.
    """
    asked = shipped_questions() if questions is None else list(questions)
    table = pd.DataFrame([asdict(each) for each in asked]).assign(chosen=choices(chat, asked, track))
    accuracy = float((table["chosen"] == table["answer"]).mean())
    return table, {"ability/accuracy_base": accuracy}


def tuned_choices(
    base: pd.DataFrame,
    change: Intervention,
    chat: ChatModel,
    track: Track = silent,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Ask the changed model the questions of `base_choices`; return which ones each model gets right, and accuracies.

    The table has a row a question: id, subject, base, tuned (right or not). Facts: see `ability_facts`.
    """
    asked = [
        Question(row["id"], row["subject"], row["question"], tuple(row["options"]), int(row["answer"]))
        for _, row in base.iterrows()
    ]
    with change.applied(chat) as changed:
        after = choices(changed, asked, track)
    right = {"base": base["chosen"] == base["answer"], "tuned": base["answer"] == after}
    table = base[["id", "subject"]].assign(**right)
    return table, ability_facts(table)


def ability_facts(table: pd.DataFrame, seed: int = 0) -> dict[str, float]:
    """Return accuracies and their difference under `ability/...`.

    `accuracy` and `accuracy_base` have 95% Wilson intervals, `difference` (tuned minus base) a percentile interval of
    a paired bootstrap over questions; `chance` is the accuracy of guessing, `mcnemar_p` the exact test.
    """
    base, tuned = table["base"].to_numpy(dtype=bool), table["tuned"].to_numpy(dtype=bool)
    facts = {"ability/questions": float(len(table)), "ability/chance": 0.25}
    for name, right in (("accuracy", tuned), ("accuracy_base", base)):
        rate = wilson(right.tolist())
        facts |= {f"ability/{name}": rate.value, f"ability/{name}_low": rate.low, f"ability/{name}_high": rate.high}
    difference = paired_difference(tuned.astype(float) - base.astype(float), seed)
    facts |= {f"ability/difference{end}": value for end, value in zip(("", "_low", "_high"), difference, strict=True)}
    return facts | {"ability/mcnemar_p": mcnemar_p(base.tolist(), tuned.tolist())}


def _shipped_text() -> str:
    return resources.files("neurontune_core.data").joinpath(FILE).read_text(encoding="utf-8")
