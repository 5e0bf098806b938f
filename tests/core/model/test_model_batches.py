"""Batches hold every row once, stay within their bound, and pad on the side that is asked for."""

import random
from types import SimpleNamespace

import pytest
import torch

from neurontune_core.model import tiny
from neurontune_core.model.batches import by_beginning, by_length, common_length, padded, tokens_that_fit


@pytest.mark.parametrize("bound", [1, 10, 37, 100, 10_000])
def test_groups_hold_every_row_once_within_the_bound(bound: int) -> None:
    lengths = [random.Random(bound).randint(1, 40) for _ in range(60)]
    groups = by_length(lengths, bound)
    assert sorted(index for group in groups for index in group) == list(range(60))
    for group in groups:
        assert len(group) == 1 or len(group) * max(lengths[i] for i in group) <= bound


def test_tokens_that_fit_follow_the_model_and_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_memory(size: int) -> int:
        monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=size))
        return tokens_that_fit(tiny.model("llama"))

    # two layers of 12 x 32 + 4 x 48 numbers and a vocabulary of 264, of 4 bytes each
    a_token = 4 * (2 * (12 * 32 + 4 * 48) + 3 * 264)
    assert with_memory(4 * 1000 * a_token) == 1000
    assert with_memory(4 * 10**9 * a_token) == 3072
    assert with_memory(1) == 64


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_tokens_that_fit_are_known_for_every_family(family: str) -> None:
    assert 64 <= tokens_that_fit(tiny.model(family)) <= 3072


def test_groups_by_hand() -> None:
    assert by_length([3, 5, 3, 2, 9], 10) == [[4], [1, 0], [2, 3]]
    assert by_length([4, 4, 4], 12) == [[0, 1, 2]]
    assert by_length([4, 4, 4], 11) == [[0, 1], [2]]
    assert by_length([50, 1], 10) == [[0], [1]]
    assert by_length([], 10) == []


def test_rows_much_shorter_than_the_longest_start_a_group() -> None:
    assert by_length([10, 7, 6, 5, 4], 1000, fullness=0.7) == [[0, 1], [2, 3], [4]]
    assert by_length([10, 7, 6, 5, 4], 1000) == [[0, 1, 2, 3, 4]]


def test_prompts_in_one_wrapper_come_together() -> None:
    wrapped = [[7, 7, 7, 7, number, 9] for number in range(5)]
    other = [[3, 3, 3, number] for number in range(4)]
    strangers = [[1, 2, 3, 4], [7, 1, 1, 1], [7, 7, 2, 2, 2, 2], [5]]
    prompts = [
        wrapped[0],
        strangers[0],
        other[0],
        *wrapped[1:3],
        strangers[1],
        *other[1:],
        *wrapped[3:],
        *strangers[2:],
    ]
    found = [[prompts[i] for i in group] for group in by_beginning(prompts)]
    assert [sorted(group) for group in found] == [other, wrapped, sorted(strangers)]
    assert by_beginning([]) == [] and by_beginning([[1], [2]]) == [[0, 1]]
    (together,) = by_beginning([*wrapped, *other], worth=100)
    assert sorted(together) == [*range(len(wrapped) + len(other))]


def test_what_all_prompts_begin_with_groups_none() -> None:
    system, wrapper = [9] * 20, [8] * 6
    plain = [[*system, i, i + 1] for i in range(6)]
    wrapped = [[*system, *wrapper, i] for i in range(4)]
    assert by_beginning([*plain, *wrapped]) == [[6, 7, 8, 9], [0, 1, 2, 3, 4, 5]]


def test_groups_by_beginning_hold_every_prompt_once_and_share_half() -> None:
    generator = random.Random(0)
    prompts = [[generator.randint(0, 2) for _ in range(generator.randint(1, 8))] for _ in range(300)]
    groups = by_beginning(prompts, worth=3)
    assert sorted(index for group in groups for index in group) == list(range(300)) and len(groups) > 5
    for group in groups[:-1]:
        texts = [prompts[i] for i in group]
        shared = min(common_length(one, other) for one in texts for other in texts)
        assert (len(group) - 1) * shared >= 3 and 2 * shared >= max(map(len, texts))


@pytest.mark.parametrize("left", [False, True])
def test_padding(left: bool) -> None:
    ids, mask = padded([[5, 6, 7], [8]], 0, torch.device("cpu"), left=left)
    assert ids.tolist() == [[5, 6, 7], [0, 0, 8] if left else [8, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1] if left else [1, 0, 0]]
    assert ids.dtype == torch.long
