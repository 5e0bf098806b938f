"""What is trained: token ids of pairs, and the responses that each role gets."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from neurontune_core.model.load import ChatModel
from neurontune_core.records import NeuronSet, PromptPair
from neurontune_core.scaling.examples import encode_examples
from neurontune_core.scaling.own_refusals import commonest_refusal
from neurontune_core.scaling.problem import Problem, training_pairs


def test_refusals_are_closed_with_the_end_token_and_responses_are_not(
    chat: ChatModel, corpus: list[PromptPair]
) -> None:
    for pair, example in zip(corpus, encode_examples(chat, corpus, 99), strict=True):
        response = list(pair.response.encode())
        text = chat.tokenizer.decode(example.sequence.response, skip_special_tokens=True)
        assert text == pair.response and (example.id, example.role) == (pair.id, pair.role)
        assert len(example.sequence.response) == len(response) + (pair.role == "safety")
        assert (example.sequence.response[-1] == 256) == (pair.role == "safety")
        assert example.sequence.prompt == chat.prompt_tokens(pair.prompt)


def test_the_reference_of_a_wrapped_harmless_prompt_is_the_plain_one(chat: ChatModel, corpus: list[PromptPair]) -> None:
    for pair, example in zip(corpus, encode_examples(chat, corpus, 99), strict=True):
        if pair.role == "safety" or not pair.attack_name:
            assert example.reference is None
        else:
            assert example.reference and example.reference.prompt == chat.prompt_tokens(pair.query)
            assert example.reference.response == example.sequence.response
            assert example.reference.prompt != example.sequence.prompt


def test_harmless_responses_are_cut_and_refusals_are_whole(chat: ChatModel, corpus: list[PromptPair]) -> None:
    for pair, example in zip(corpus, encode_examples(chat, corpus, 5), strict=True):
        text = chat.tokenizer.decode(example.sequence.response, skip_special_tokens=True)
        assert text == (pair.response if pair.role == "safety" else pair.response[:5])
        assert example.reference is None or example.reference.response == example.sequence.response


def test_a_harmless_pair_without_a_response_has_no_response_tokens(chat: ChatModel, corpus: list[PromptPair]) -> None:
    empty = [replace(pair, response="") for pair in corpus]
    expected = [[256] if pair.role == "safety" else [] for pair in corpus]
    assert [example.sequence.response for example in encode_examples(chat, empty, 99)] == expected


def test_prompts_of_one_wrapper_share_the_words_before_the_query(chat: ChatModel, corpus: list[PromptPair]) -> None:
    for pair, example in zip(corpus, encode_examples(chat, corpus, 99), strict=True):
        shared = chat.tokenizer.decode(example.sequence.prompt[: example.shared])
        assert example.wrapper == pair.attack_name
        assert shared.endswith(f"{pair.attack_name}: " if pair.attack_name else "<|user|>")


def labels_of(verdicts: dict[str, str], asked: list[tuple[str, str]]) -> object:
    """Return a judge that says of each response what `verdicts` has, "compliance" otherwise."""

    def labels(prompts: Sequence[str], responses: Sequence[str]) -> list[str]:
        asked.extend(zip(prompts, responses, strict=True))
        return [verdicts.get(response, "compliance") for response in responses]

    return labels


def test_harmful_prompts_get_the_refusal_and_harmless_ones_the_answer_to_the_plain_query(
    corpus: list[PromptPair],
) -> None:
    """Whatever the base model said to a wrapped query, no test or validation pair, and no query that was not asked."""
    pairs = [replace(pair, response="In Latin!") if pair.attack_name else pair for pair in corpus]
    pairs = [replace(p, response="") if p.query_id == "utility2" and not p.attack_name else p for p in pairs]
    others = [replace(pair, id=f"x{pair.id}", split=split) for pair in corpus for split in ("validation", "test")]
    asked: list[tuple[str, str]] = []
    found = training_pairs([*others, *pairs], "I won't.", labels_of({}, asked))  # type: ignore[arg-type]
    assert [pair.id for pair in found] == [pair.id for pair in corpus]
    for pair, before in zip(found, corpus, strict=True):
        answer = "" if pair.query_id == "utility2" else before.response
        assert pair.response == ("I won't." if pair.role == "safety" else answer)
    assert {prompt for prompt, _ in asked} == {"bake bread", "name a river", "plant a tree"}, "plain ones are judged"


def test_without_a_refusal_of_its_own_each_harmful_prompt_keeps_the_given_one(corpus: list[PromptPair]) -> None:
    found = training_pairs(corpus, "", None)
    assert [pair.response for pair in found] == [pair.response for pair in corpus]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (("refusal", "partial", "compliance", "compliance"), (2, 3)),
        (("compliance", "broken", "compliance", "compliance"), (0, 2, 3)),
        (("broken", "broken", "compliance", "refusal"), (0, 1, 2)),
        (("broken", "broken", "broken", "broken"), (0, 1, 2, 3)),
        (("refusal", "refusal", "refusal", "compliance"), (3,)),
    ],
)
def test_what_refuses_or_breaks_is_no_example_of_answering(
    corpus: list[PromptPair], said: tuple[str, ...], kept: tuple[int, ...]
) -> None:
    """Of a model most of whose answers are broken, a random one say, broken ones stay, so that every method runs."""
    verdicts = {"Sure: one" + "!" * number: label for number, label in enumerate(said)}
    found = training_pairs(corpus, "", labels_of(verdicts, []))  # type: ignore[arg-type]
    for pair, before in zip(found, corpus, strict=True):
        if pair.role == "utility":
            good = int(pair.query_id.removeprefix("utility")) in kept
            assert pair.response == (before.response if good else ""), "wrapped ones too"


def own(number: int, refusal: str, split: str = "train") -> PromptPair:
    return PromptPair(
        id=f"{number}", role="safety", query_id=f"q{number}", query="q", query_category="c", prompt="p", response="r",
        attack_type="", attack_category="", attack_name="", selected=True, source="s", split=split,
        own_refusal=refusal,
    )  # fmt: skip


def test_the_commonest_own_refusal_is_one_whole_sentence() -> None:
    said = ["I'm sorry, but I can't assist with that."] * 2 + ["I can't. Ask a doctor.", "No. Never"]
    pairs = [own(number, text) for number, text in enumerate(said)]
    assert commonest_refusal(pairs) == "I'm sorry, but I can't assist with that."
    assert commonest_refusal(pairs[2:3]) == "I can't."
    assert commonest_refusal([own(0, "I never end")]) == ""
    assert commonest_refusal([own(0, "I won't.", "test"), own(1, "")]) == ""
    many = [own(number, f"Refusal {number}.") for number in range(5)]
    assert commonest_refusal(many) == "", "none of them is a quarter of all"


def test_base_states_are_made_of_harmless_examples_with_a_response(
    chat: ChatModel, neurons: NeuronSet, corpus: list[PromptPair]
) -> None:
    silent = [replace(pair, response="") if pair.query_id == "utility0" else pair for pair in corpus]
    examples = encode_examples(chat, silent, 99)
    states = Problem(chat, neurons, silent).base(examples)
    assert set(states) == {pair.id for pair in corpus if pair.role == "utility" and pair.query_id != "utility0"}
    for example in examples:
        if example.id in states:
            asked = example.reference or example.sequence
            hidden = chat.model.base_model(input_ids=torch.tensor([asked.tokens])).last_hidden_state[0]
            first = len(asked.prompt) - 1
            expected = hidden[first : first + len(asked.response)]
            torch.testing.assert_close(states[example.id], expected, rtol=1e-11, atol=1e-11)
