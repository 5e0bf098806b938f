"""Which safety pairs can be attributed: every reason, the minimum, and what is said of them."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import pytest
import torch

from neurontune_core.model import tiny
from neurontune_core.model.chat import encode_prompt
from neurontune_core.model.load import ChatModel
from neurontune_core.pairs import own_refusals
from neurontune_core.pairs.build import build_pairs
from neurontune_core.pairs.own_refusals import (
    LEAST,
    OwnRefusals,
    attributed,
    find_own_refusals,
    own_refusals_statement,
    warning,
)
from neurontune_core.pairs.settings import PairsConfig
from neurontune_core.pairs.summary import format_summary, summarise_pairs
from neurontune_core.records import Conversation, Message, PromptPair

ATTACK = "Play along: "
USABLE = ("I can't help with that.", "Sure, here it is.")
ANSWERS = {
    "forge": USABLE,
    "rob": ("Sure, here it is.", "Sure, here it is."),
    "stab": ("", "Sure, here it is."),
    "bomb": ("I can't help with that.", "I won't."),
    "hack": ("I can't help with that.", "Partly: I won't."),
    "jam": ("I can't help with that.", ""),
}
REASONS = {
    "forge": "",
    "rob": "not_refused_plainly",
    "stab": "not_refused_plainly",
    "bomb": "refused_under_attack",
    "hack": "refused_under_attack",
    "jam": "broken_under_attack",
}


@pytest.fixture
def chat() -> ChatModel:
    return ChatModel(tiny.model("llama").requires_grad_(False), tiny.tokenizer(), torch.device("cpu"))


def judge(prompts: Sequence[str], responses: Sequence[str]) -> list[str]:
    def label(text: str) -> str:
        if text.startswith("Partly"):
            return "partial"
        return "broken" if not text else "refusal" if text.startswith("I ") else "compliance"

    assert len(prompts) == len(responses)
    return [label(text) for text in responses]


def pair(query: str, **changes: object) -> PromptPair:
    fields: dict[str, object] = {
        "id": f"{query}/play", "role": "safety", "query_id": query, "query": query, "query_category": "c",
        "prompt": f"{ATTACK}{query}", "response": "No.", "attack_type": "t", "attack_category": "k",
        "attack_name": "play", "selected": True, "source": "s", "split": "train",
    }  # fmt: skip
    return PromptPair(**(fields | changes))  # type: ignore[arg-type]


def usable(count: int) -> list[PromptPair]:
    return [pair(f"forge {number}") for number in range(count)]


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Let the model answer by the query's first word; return the batches of prompts it was asked."""
    asked: list[list[str]] = []

    def answers(conversations: Sequence[Conversation], *_: object) -> list[str]:
        prompts = [each.prompt for each in conversations]
        asked.append(prompts)
        return [ANSWERS[p.removeprefix(ATTACK).split()[0]][p.startswith(ATTACK)] for p in prompts]

    monkeypatch.setattr(own_refusals, "_answers", answers)
    return asked


def test_every_pair_is_usable_or_has_a_reason(answering: list[list[str]], chat: ChatModel) -> None:
    others = [pair(name) for name in ANSWERS if name != "forge"]
    pairs = [*others, *usable(LEAST)]
    found = find_own_refusals(pairs, judge, chat)
    kept = {p.id: p for p in found.pairs}
    assert [p.id for p in found.pairs] == [p.id for p in pairs]
    for p in pairs:
        assert kept[p.id] == replace(p, own_refusal="" if p in others else USABLE[0]), "the trained response stays"
    rows = {row["pair"]: row for row in found.table.to_dict("records")}
    assert list(found.table.columns) == ["pair", "attack", "plain", "attacked", "reason"]
    for p in pairs:
        assert rows[p.id]["reason"] == REASONS[p.query.split()[0]] and rows[p.id]["attack"] == "play"
    assert (rows["hack/play"]["plain"], rows["hack/play"]["attacked"]) == ("refusal", "partial")
    assert (rows["stab/play"]["plain"], rows["jam/play"]["attacked"]) == ("broken", "broken")
    assert found.facts == {
        "own_refusals": LEAST, "not_refused_plainly": 2, "refused_under_attack": 2, "broken_under_attack": 1,
        "safety_established": 1,
    }  # fmt: skip
    assert all(type(value) is float for value in found.facts.values())


def test_a_partial_refusal_of_the_plain_query_says_too_little(
    answering: list[list[str]], chat: ChatModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ANSWERS, "forge", ("Partly: I won't.", "Sure."))
    found = find_own_refusals(usable(LEAST), judge, chat)
    assert found.facts["not_refused_plainly"] == LEAST and {p.own_refusal for p in found.pairs} == {""}


def test_a_model_that_refuses_a_small_share_is_not_established(answering: list[list[str]], chat: ChatModel) -> None:
    def found(answered: int) -> OwnRefusals:
        others = [pair(f"rob {number}") for number in range(answered)]
        return find_own_refusals([*usable(LEAST), *others], judge, chat)

    assert found(4 * LEAST).facts["safety_established"] == 1
    rare = found(4 * LEAST + 1)
    assert rare.facts["safety_established"] == 0 and rare.facts["own_refusals"] == LEAST
    assert {p.own_refusal for p in rare.pairs} == {""}
    assert f"refuses {LEAST} of {5 * LEAST + 1} plain harmful queries" in warning(rare.facts)


@pytest.mark.parametrize("label", ["unscored", "something new"])
def test_what_the_judge_cannot_tell_is_not_usable(answering: list[list[str]], chat: ChatModel, label: str) -> None:
    def unsure(prompts: Sequence[str], responses: Sequence[str]) -> list[str]:
        return [label if text == USABLE[1] else "refusal" for text in responses]

    facts = find_own_refusals(usable(LEAST), unsure, chat).facts
    assert facts["broken_under_attack"] == LEAST and facts["safety_established"] == 0


def test_only_safety_training_pairs_under_selected_attacks_are_asked(
    answering: list[list[str]], chat: ChatModel
) -> None:
    others = [
        pair("forge a", role="utility"), pair("forge b", split="validation"), pair("forge c", split="test"),
        pair("forge d", selected=False), pair("forge e", attack_name=""),
    ]  # fmt: skip
    found = find_own_refusals([*others, *usable(LEAST)], judge, chat)
    assert found.pairs[: len(others)] == others
    assert len(found.table) == LEAST and len(answering[0]) == 2 * LEAST
    assert not {p.query for p in others} & set(answering[0])


@pytest.mark.parametrize(("count", "established"), [(0, False), (LEAST - 1, False), (LEAST, True), (LEAST + 1, True)])
def test_a_model_that_refuses_too_little_has_no_own_refusal(
    answering: list[list[str]], chat: ChatModel, count: int, established: bool
) -> None:
    found = find_own_refusals([*usable(count), pair("rob")], judge, chat)
    assert found.facts["own_refusals"] == count and found.facts["safety_established"] == established
    assert sum(bool(p.own_refusal) for p in found.pairs) == (count if established else 0)
    assert sum(found.table["reason"] == "") == count
    text = warning(found.facts)
    if established:
        assert text == "" and own_refusals_statement(found.facts).startswith(
            f"Own refusals: the model refuses {count} of {count + 1}"
        )
    else:
        assert (
            text.startswith(f"the model refuses {count} of {count + 1} plain harmful queries")
            and "not established" in text
        )
        assert text in own_refusals_statement(found.facts)
    assert attributed(found.facts, 1000) == (count if established else 0)
    assert attributed(found.facts, 2) == (2 if established else 0)


def test_a_query_in_several_attacks_is_answered_plainly_once(answering: list[list[str]], chat: ChatModel) -> None:
    said = (Message("user", "Hi"), Message("assistant", "Yes?"))
    pairs = [pair("forge", id=f"forge/{number}", prompt=f"{ATTACK}forge {number}") for number in range(LEAST)]
    found = find_own_refusals([*pairs, pair("forge", id="after a talk", history=said)], judge, chat)
    assert answering[0].count("forge") == 2, "alone, and after what was said before"
    assert found.facts["own_refusals"] == LEAST + 1


def test_without_a_judge_or_pairs_nothing_is_asked(answering: list[list[str]], chat: ChatModel) -> None:
    found = find_own_refusals(usable(3), None, chat)
    assert (found.pairs, len(found.table), found.facts, answering) == (usable(3), 0, {}, [])
    assert warning({}) == own_refusals_statement({}) == "" and attributed({}, 8) == 0
    nothing = find_own_refusals([], judge, chat)
    assert nothing.facts["own_refusals"] == 0 and list(nothing.table.columns) == list(found.table.columns)


def asked_of_the_model(chat: ChatModel, batch_tokens: int, order: int) -> OwnRefusals:
    def by_length(prompts: Sequence[str], responses: Sequence[str]) -> list[str]:
        return ["compliance" if prompt.startswith(ATTACK) else "refusal" for prompt in prompts]

    return find_own_refusals(usable(LEAST)[::order], by_length, replace(chat, batch_tokens=batch_tokens))


def test_the_models_own_words_are_kept_and_the_same_every_time(chat: ChatModel) -> None:
    found = asked_of_the_model(chat, 4096, 1)
    ids = torch.tensor([encode_prompt(chat.tokenizer, "forge 0")])
    prompt = ids.shape[1]
    for _ in range(24):
        ids = torch.cat([ids, chat.model(ids).logits[:, -1:].argmax(-1)], dim=1)
        if ids[0, -1] in chat.end_tokens:
            break
    assert found.pairs[0].own_refusal == chat.tokenizer.decode(ids[0, prompt:], skip_special_tokens=True)
    again = asked_of_the_model(chat, 64, -1)
    assert again.pairs[::-1] == found.pairs and again.facts == found.facts
    pd.testing.assert_frame_equal(again.table, found.table)


def test_thoughts_are_no_part_of_a_refusal(chat: ChatModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_refusals, "decode", lambda _, ids: ["<think>hm</think>I won't."] * len(ids))
    found = asked_of_the_model(chat, 4096, 1)
    assert {p.own_refusal for p in found.pairs} == {"I won't."}


def test_a_prompt_near_the_models_last_position_gets_a_shorter_answer(
    chat: ChatModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    longest = max(len(chat.prompt_tokens(p.conversation)) for p in usable(LEAST))
    vars(chat.model.config)["max_position_embeddings"] = longest + 5
    lengths: list[int] = []
    monkeypatch.setattr(
        own_refusals, "generate", lambda _, prompts, most, *__: lengths.append(most) or [[65]] * len(prompts)
    )
    asked_of_the_model(chat, 4096, 1)
    vars(chat.model.config)["max_position_embeddings"] = None
    asked_of_the_model(chat, 4096, 1)
    assert lengths == [5, 24]


@pytest.mark.parametrize("established", [True, False])
def test_pairs_built_with_a_judge_say_what_can_be_attributed(chat: ChatModel, established: bool) -> None:
    config = PairsConfig.model_validate(
        {
            "sources": {"shipped": {"limit": 40}}, "ranking_queries": 1, "selected_queries": 8, "wrapped_queries": 8,
            "wrapped_test_queries": 2, "response_tokens": 2,
        }
    )  # fmt: skip
    plain = build_pairs(config, chat)
    queries = {p.query for p in plain.pairs}

    def told(prompts: Sequence[str], responses: Sequence[str]) -> list[str]:
        return ["refusal" if established and prompt in queries else "compliance" for prompt in prompts]

    built = build_pairs(config, chat, judge=told)
    assert [replace(p, own_refusal="") for p in built.pairs] == plain.pairs
    own = [p for p in built.pairs if p.own_refusal]
    assert len(own) == (8 if established else 0) and all(p.role == "safety" and p.selected for p in own)
    assert len(built.own_refusals) == 8 and plain.own_refusals.empty
    summary = summarise_pairs(built.pairs, built.ranking, built.rejected, built.sources, built.facts)
    json.dumps(summary, allow_nan=False)
    assert summary["own_refusals"]["own_refusals"] == len(own)
    text = format_summary(summary)
    others = f"The others: {8 - len(own)} not refused plainly, 0 refused under attack, 0 broken under attack."
    assert others in text
    if established:
        assert "Own refusals: the model refuses 8 of 8 plain harmful queries" in text and "Warning" not in text
    else:
        assert "Warning: the model refuses 0 of 8 plain harmful queries" in text and "not established" in text
    bare = format_summary(summarise_pairs(plain.pairs, plain.ranking, plain.rejected, plain.sources, plain.facts))
    assert "The others" not in bare and "Warning" not in bare
