from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from neurontune_core.evaluation.ability import (
    Question,
    ability_facts,
    base_choices,
    choices,
    shipped_questions,
    tuned_choices,
)
from neurontune_core.model.chat import encode_response
from neurontune_core.model.load import ChatModel
from neurontune_core.records import ScalingFactors
from neurontune_core.tables import load_table, save_table


def test_the_shipped_questions_are_two_hundred_over_ten_subjects() -> None:
    questions = shipped_questions()
    assert len(questions) >= 200 and len({each.subject for each in questions}) == 10
    assert len({each.question for each in questions}) == len({each.id for each in questions}) == len(questions)
    assert all(len(set(each.options)) == 4 and 0 <= each.answer < 4 for each in questions)
    places = np.bincount([each.answer for each in questions], minlength=4)
    assert places.min() >= 0.2 * len(questions), "the place of the right option must tell nothing"


def test_the_choice_is_the_likeliest_option_a_letter(chat: ChatModel) -> None:
    question = Question("a", "s", "Which?", ("a stone", "ice", "the sea", "fire"), 1)
    prompt = chat.prompt_tokens("Which?")
    scores = []
    for option in question.options:
        ids = encode_response(chat.tokenizer, option, None)
        with torch.no_grad():
            logits = chat.model(torch.tensor([prompt + ids])).logits[0].log_softmax(-1)
        total = sum(float(logits[len(prompt) - 1 + place, token]) for place, token in enumerate(ids))
        scores.append(total / len(option))
    assert choices(chat, [question]) == [int(np.argmax(scores))]


def test_both_models_are_asked_and_the_base_is_left_as_it_was(
    chat: ChatModel, scaling: ScalingFactors, tmp_path: Path
) -> None:
    questions = shipped_questions()[:6]
    before, known = base_choices(chat, questions=questions)
    save_table(tmp_path, "questions", before)
    table, facts = tuned_choices(load_table(tmp_path, "questions"), scaling, chat)
    assert table["base"].tolist() == [
        found == each.answer for found, each in zip(choices(chat, questions), questions, strict=True)
    ]
    with scaling.applied(chat):
        after = choices(chat, questions)
    assert table["tuned"].tolist() == [found == each.answer for found, each in zip(after, questions, strict=True)]
    assert known["ability/accuracy_base"] == facts["ability/accuracy_base"]
    assert facts["ability/questions"] == 6
    assert facts["ability/difference"] == pytest.approx(facts["ability/accuracy"] - facts["ability/accuracy_base"])


def test_the_interval_of_the_difference_is_paired() -> None:
    same = pd.DataFrame({"base": [True, False] * 20, "tuned": [True, False] * 20})
    facts = ability_facts(same)
    assert (facts["ability/difference_low"], facts["ability/difference_high"]) == (0, 0)
    lost = pd.DataFrame({"base": [True] * 40, "tuned": [True] * 20 + [False] * 20})
    facts = ability_facts(lost)
    assert facts["ability/difference"] == -0.5 and facts["ability/difference_high"] < -0.3
    assert facts["ability/mcnemar_p"] < 0.001
