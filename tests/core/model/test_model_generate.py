"""Batched generation gives, row by row, what transformers' own greedy generation gives."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from neurontune_core.model import generate as room
from neurontune_core.model import tiny
from neurontune_core.model.generate import decode, generate, generation_batches
from neurontune_core.model.load import ChatModel

LENGTHS = (3, 30, 17, 1, 25, 40, 8, 9)  # some beyond the 16 tokens of the sliding windows
PROMPTS = [[random.Random(length).randrange(256) for _ in range(length)] for length in LENGTHS]
MANY_ENDS = [256, *range(0, 256, 8)]  # a random model reaches one of these early
NEW = 16


def by_transformers(chat: ChatModel, prompt: Sequence[int], new: int = NEW) -> list[int]:
    """The greedy continuation of one prompt alone, without its end token."""
    model: Any = chat.model
    ids: list[int] = model.generate(
        torch.tensor([list(prompt)]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        do_sample=False,
        max_new_tokens=new,
        eos_token_id=chat.end_tokens,
        pad_token_id=256,
    )[0, len(prompt) :].tolist()
    return ids[:-1] if ids[-1] in chat.end_tokens else ids


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_every_row_equals_transformers_greedy(tiny_chat: Callable[..., ChatModel], family: str) -> None:
    chat = tiny_chat(family, ends=[])
    expected = [by_transformers(chat, prompt) for prompt in PROMPTS]
    assert generate(chat, PROMPTS, NEW) == expected
    # now some of these tokens end a turn, so that rows of different lengths leave the batch at different steps
    chat = tiny_chat(family, ends=[expected[1][0], expected[4][4], expected[6][8]])
    ending = [by_transformers(chat, prompt) for prompt in PROMPTS]
    assert generate(chat, PROMPTS, NEW) == ending
    assert ending[1] == [] and len(ending[4]) <= 4 and ending != expected


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_prompts_that_begin_alike_equal_transformers_greedy_too(
    tiny_chat: Callable[..., ChatModel], family: str
) -> None:
    chat = tiny_chat(family, ends=MANY_ENDS)
    alike = [[*PROMPTS[5], *prompt] for prompt in PROMPTS]
    assert generate(chat, alike, NEW) == [by_transformers(chat, prompt) for prompt in alike]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch_tokens", [1, 15, 30, 100])
def test_the_bound_on_a_batch_changes_nothing(
    tiny_chat: Callable[..., ChatModel], dtype: torch.dtype, batch_tokens: int
) -> None:
    chat = tiny_chat(dtype=dtype, ends=MANY_ENDS)
    assert generate(replace(chat, batch_tokens=batch_tokens), PROMPTS, NEW) == [
        by_transformers(chat, prompt) for prompt in PROMPTS
    ]


def test_batches_stay_within_the_bound(tiny_chat: Callable[..., ChatModel], monkeypatch: pytest.MonkeyPatch) -> None:
    chat = tiny_chat()
    shapes: list[tuple[int, int]] = []
    forward = chat.model.base_model.forward

    def watched(*args: Any, **settings: Any) -> Any:
        shapes.append(tuple(settings["attention_mask"].shape))
        return forward(*args, **settings)

    monkeypatch.setattr(chat.model.base_model, "forward", watched)
    small = replace(chat, batch_tokens=7)
    generate(small, PROMPTS, NEW)
    assert max(rows * width for rows, width in shapes) <= small.generation_tokens
    assert max(rows for rows, _ in shapes) < len(PROMPTS)


def test_rows_that_have_ended_leave_the_batch(
    tiny_chat: Callable[..., ChatModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = tiny_chat(ends=MANY_ENDS)
    rows: list[int] = []
    forward = chat.model.base_model.forward

    def watched(*args: Any, **settings: Any) -> Any:
        rows.append(len(settings["input_ids"]))
        return forward(*args, **settings)

    monkeypatch.setattr(chat.model.base_model, "forward", watched)
    completions = generate(chat, PROMPTS, NEW)
    assert rows == [sum(len(row) >= step for row in completions) for step in range(len(rows))]


def test_the_end_token_is_not_returned_and_every_end_counts(tiny_chat: Callable[..., ChatModel]) -> None:
    free = generate(tiny_chat(ends=[]), PROMPTS, NEW)
    stop = free[1][4]
    ended = generate(tiny_chat(ends=[263, stop]), PROMPTS, NEW)
    assert stop in free[1] and ended[1] == free[1][: free[1].index(stop)]
    assert all(stop not in row and row == free[i][: len(row)] for i, row in enumerate(ended))


def test_no_prompts_and_no_tokens(tiny_chat: Callable[..., ChatModel]) -> None:
    assert generate(tiny_chat(), [], NEW) == []
    assert generate(tiny_chat(), PROMPTS[:2], 0) == [[], []]


def test_progress_is_told_batch_by_batch(tiny_chat: Callable[..., ChatModel]) -> None:
    told: list[tuple[str, int]] = []

    def track(items: Iterable[Any], description: str, total: int) -> Iterator[Any]:
        for item in items:
            told.append((description, total))
            yield item

    generate(replace(tiny_chat(), batch_tokens=1), PROMPTS, 14, track=track)
    assert told == [("generating", len(PROMPTS))] * len(PROMPTS)


def test_batches_whose_continuations_are_known_are_not_run(
    tiny_chat: Callable[..., ChatModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    chat, run = replace(tiny_chat(ends=MANY_ENDS), batch_tokens=6), list[Sequence[int]]()
    batches = generation_batches(PROMPTS, NEW, chat.generation_tokens)
    whole: dict[int, list[int]] = {}
    expected = generate(chat, PROMPTS, NEW, known=whole)
    assert [whole[index] for index in range(len(PROMPTS))] == expected == generate(chat, PROMPTS, NEW)
    assert len(batches) > 3
    once = room._generate_batch
    monkeypatch.setattr(room, "_generate_batch", lambda *given: run.append(given[4]) or once(*given))
    known = {index: whole[index] for batch in batches[:2] for index in batch}
    assert generate(chat, PROMPTS, NEW, known=known) == expected
    assert run == batches[2:] and known == whole


def test_decoding_leaves_special_tokens_out(tiny_chat: Callable[..., ChatModel]) -> None:
    chat = tiny_chat()
    text = "Grüße, 日本"
    ids = chat.tokenizer(text)["input_ids"]
    assert decode(chat, [[*ids, 256], [258, *ids], []]) == [text, text, ""]
