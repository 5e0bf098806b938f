import pytest

from neurontune_core.evaluation.compared_answers import chrf, compare_answers, content_kept, distinct_share


def test_chrf_of_equal_and_of_unlike_texts() -> None:
    assert chrf("a cat sat", "a cat sat") == pytest.approx(1)
    assert chrf("aaaa", "bbbb") == 0
    # n = 1: P = 1, R = 1/2; n = 2: P = R = ... "ab" against "abab": P = 1/1, R = 1/3
    assert chrf("abab", "ab") == pytest.approx(5 * 1 * (1 / 2 + 1 / 3) / 2 / (4 * 1 + (1 / 2 + 1 / 3) / 2))


def test_content_words_kept() -> None:
    assert content_kept("Boil the water and add tea", "Add boiled tea") == pytest.approx(2 / 4)
    assert content_kept("the of", "anything") is None


def test_distinct_pairs() -> None:
    assert distinct_share(["a b a b"]) == pytest.approx(2 / 3)
    assert distinct_share(["word"]) is None


def test_what_is_left_of_answers() -> None:
    same = compare_answers(["Boil water first."], ["Boil water first."])
    assert (same["content_kept"], same["chrf"], same["longer"], same["words"]) == (1, pytest.approx(1), 1, 3)
    gone = compare_answers(["Boil water first."], [""])
    assert (gone["content_kept"], gone["longer"], gone["words"]) == (0, 0, 0)
    assert compare_answers([], []) == {}
