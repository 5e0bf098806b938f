"""The prompts of a causal study: which groups there are, how many of each, and of what kind."""

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest

from neurontune_core.causal.prompts import grouped_prompts, kind_of, prompts_with_room
from neurontune_core.causal.settings import CausalConfig
from neurontune_core.errors import InputError
from neurontune_core.evaluation.settings import EvaluationConfig
from neurontune_core.model.load import ChatModel
from neurontune_core.records import PromptPair
from tests.core.causal.test_causal_measure import pair


def corpus() -> list[PromptPair]:
    """Prompts of both roles, plain and in a trained and a held-out attack, in every split."""
    made = []
    for split in ("train", "validation", "test"):
        for role in ("safety", "utility"):
            for number in range(6):
                plain = replace(pair(f"{split} {role} {number}", role, split=split), query_category="c")
                attacked = replace(pair(plain.query, role, attacked=True, split=split), query_category="c")
                made += [plain, attacked]
                if split == "test":
                    made.append(replace(attacked, id=f"{attacked.id}/held", attack_category="sudo_mode"))
    return made


def test_the_test_split_has_plain_attacked_held_out_and_harmless_groups() -> None:
    found = grouped_prompts(corpus(), CausalConfig(prompts=4), EvaluationConfig())
    kinds = {name: kind_of(own) for name, own in found.items()}
    assert kinds == {
        "harmful_plain": "plain", "harmful_attacked": "attacked", "harmful_heldout_attack": "attacked",
        "benign_ordinary": "harmless",
    }  # fmt: skip
    assert {len(own) for own in found.values()} == {4}
    assert {each.split for own in found.values() for each in own} == {"test"}
    assert found == grouped_prompts(corpus(), CausalConfig(prompts=4), EvaluationConfig(seed=7)), "the study has a seed"
    assert found != grouped_prompts(corpus(), CausalConfig(prompts=4, seed=1), EvaluationConfig())


def test_the_validation_split_is_asked_alone() -> None:
    found = grouped_prompts(corpus(), CausalConfig(split="validation"), EvaluationConfig())
    assert set(found) == {"harmful_plain", "harmful_attacked", "benign_ordinary"}
    assert {each.split for own in found.values() for each in own} == {"validation"}


def test_groups_can_be_chosen_and_wrong_ones_are_named() -> None:
    config = CausalConfig(groups=("benign_attacked", "harmful_plain"))
    found = grouped_prompts(corpus(), config, EvaluationConfig())
    assert set(found) == set(config.groups) and kind_of(found["benign_attacked"]) == "harmless"
    with pytest.raises(InputError, match=r"causal\.groups: there is no group 'plain'; choose among harmful_plain, "):
        grouped_prompts(corpus(), CausalConfig(groups=("plain",)), EvaluationConfig())


def test_prompts_that_leave_no_room_are_left_out(
    tiny_chat: Callable[..., ChatModel], caplog: pytest.LogCaptureFixture
) -> None:
    chat = tiny_chat("gpt2")
    chat.model.config.max_position_embeddings = 256
    short, long = pair("short"), replace(pair("long " * 60), row=7)
    with caplog.at_level(logging.WARNING, "neurontune"):
        kept, left_out = prompts_with_room({"a": [short, long]}, chat, 16)
    assert kept == {"a": [short]} and left_out["row"].tolist() == [7]
    assert f"causal: 1 prompts are left out, the first is row 7 of {long.source}, " in caplog.text
    assert "16 response tokens exceed the model's 256 positions" in caplog.text
    with pytest.raises(InputError, match=r"causal\.groups: no prompt of b fits the model's positions: .* row 7 of "):
        prompts_with_room({"a": [short], "b": [long]}, chat, 16)
