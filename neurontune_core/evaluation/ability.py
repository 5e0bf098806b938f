"""General ability on 200 shipped four-option questions, scored by likelihood, of the base and the tuned model."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
import pandas as pd

from neurontune_core.evaluation.statistics import mcnemar_p, wilson
from neurontune_core.interventions import Intervention, applied
from neurontune_core.model.chat import encode_response
from neurontune_core.model.likelihood import TokenSequence, response_log_probabilities
from neurontune_core.model.load import ChatModel
from neurontune_core.progress import Track, silent
from neurontune_core.records import ScalingFactors

VERSION = 1
FILE = "ability.jsonl"
SAMPLES = 2000


@dataclass(frozen=True)
class Question:
    """A question with four options, of which `options[answer]` is right."""

    id: str
    subject: str
    question: str
    options: tuple[str, ...]
    answer: int


def shipped_questions() -> list[Question]:
    """Return the questions that ship with the project: ten subjects of twenty each, of its own writing."""
    text = resources.files("neurontune_core.data").joinpath(FILE).read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    return [Question(**(row | {"options": tuple(row["options"])})) for row in rows]


def choices(chat: ChatModel, questions: Sequence[Question], batch_tokens: int, track: Track = silent) -> list[int]:
    """Return which option the model finds likeliest as an answer, `argmax_o log P(o | question) / letters(o)`.

    The question is put in the model's chat format; dividing by the letters keeps short options from winning.
    """
    sequences = [
        TokenSequence(chat.prompt_tokens(each.question), encode_response(chat.tokenizer, option, None))
        for each in questions
        for option in each.options
    ]
    scores = response_log_probabilities(chat, sequences, batch_tokens, track)
    found, start = [], 0
    for each in questions:
        part = scores[start : start + len(each.options)]
        found.append(int(np.argmax([score / len(option) for score, option in zip(part, each.options, strict=True)])))
        start += len(each.options)
    return found


def measure_ability(
    chat: ChatModel,
    change: ScalingFactors | Intervention,
    batch_tokens: int,
    track: Track = silent,
    questions: Sequence[Question] | None = None,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return which questions both models answer rightly, and their accuracies with intervals.

    The table has a row a question: id, subject, base, tuned (right or not). Facts: see `ability_facts`.
    """
    asked = shipped_questions() if questions is None else list(questions)
    before = choices(chat, asked, batch_tokens, track)
    with applied(change, chat) as changed:
        after = choices(changed, asked, batch_tokens, track)
    table = pd.DataFrame(
        {
            "id": [each.id for each in asked],
            "subject": [each.subject for each in asked],
            "base": [found == each.answer for found, each in zip(before, asked, strict=True)],
            "tuned": [found == each.answer for found, each in zip(after, asked, strict=True)],
        }
    )
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
    moved = tuned.astype(float) - base.astype(float)
    drawn = np.random.default_rng(seed).integers(len(moved), size=(SAMPLES, len(moved)))
    low, high = np.percentile(moved[drawn].mean(axis=1), [2.5, 97.5])
    difference = {"": float(moved.mean()), "_low": float(low), "_high": float(high)}
    facts |= {f"ability/difference{end}": value for end, value in difference.items()}
    return facts | {"ability/mcnemar_p": mcnemar_p(base.tolist(), tuned.tolist())}
