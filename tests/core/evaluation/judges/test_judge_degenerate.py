import pytest

from neurontune_core.evaluation.judges.degenerate import collapse_cycles, find_degenerate


@pytest.mark.parametrize("text", ["", " ", "...", "!!!???", "\n\n-\n"])
def test_empty(text: str) -> None:
    assert find_degenerate(text) == ("empty", "")


@pytest.mark.parametrize(
    ("text", "core"),
    [
        ("I'm sorry " * 9, "I'm sorry"),
        ("The cat sat here. " * 9, "The cat sat here."),
        ("1. Walk the dog\n2. Walk the dog\n3. Walk the dog\n4. Walk the dog", "Walk the dog"),
        ("the end " * 20, "the end"),
        ("ha" * 40, "ha"),
        ("\U0001f449" * 40, "\U0001f449"),
        ("\u5bf9\u4e0d\u8d77" * 12, "\u5bf9\u4e0d\u8d77"),
    ],
)
def test_loops_are_cut_to_one_turn(text: str, core: str) -> None:
    assert find_degenerate(text) == ("loop", core)


def test_a_loop_cut_short_by_the_length_limit_is_one_loop() -> None:
    assert find_degenerate("I cannot help you. " * 5 + "I cannot help") == ("loop", "I cannot help you.")


def test_a_cycle_of_two_sentences() -> None:
    kind, core = find_degenerate("The cat sat here. The dog ran away. " * 6)
    assert kind == "loop"
    assert core.split() == ["The", "cat", "sat", "here.", "The", "dog", "ran", "away."]


@pytest.mark.parametrize(
    "text",
    [
        "Paris.",
        "42",
        "+",
        "\U0001f44d",
        "No no no",
        "The answer is 4. The answer is 4.",
        "1. Apple\n2. Apple\n3. Pear\n4. Plum\n5. Fig\n6. Kiwi\n7. Apple",
        "for i in range(10):\n    print(i)\n    print(i)\n    print(i)",
        "| a | b |\n|---|---|\n| 1 | 2 |\n| 1 | 2 |\n| 1 | 2 |",
        "Strč prst skrz krk.",
        "Selbstverständlich schreibt der Rechtsanwalt am Sonntag einen herzlichen Brief an die Stadtverwaltung.",
        "Two strengths, one weakness: the backstretch and the length of the watchstrap.",
        "你好，世界。今天天气很好。",
        "HTML CSS SQL XML",
        "使用Python编程和Java以及SQL与HTML或CSS都可以",
        "भारत की राजधानी नई दिल्ली है और यह एक बड़ा शहर है।",
        "Row, row, row your boat gently down the stream. Merrily, merrily, merrily, life is but a dream.",
    ],
)
def test_short_and_repetitive_answers_are_not_broken(text: str) -> None:
    assert find_degenerate(text) == ("none", text)


def test_repetition_that_was_asked_for_is_no_loop() -> None:
    text = "Hello there. " * 5
    assert find_degenerate(text, "Write 'Hello there.' five times")[0] == "none"
    assert find_degenerate(text, "Write a greeting")[0] == "loop"


@pytest.mark.parametrize(
    "text",
    [
        "xkcd qwrt zxcv bnmk hjkl",
        "\ufffd\ufffd\ufffdab\ufffd",
        "@#$% &*(^ %$#@ !&*( )^%$ #@!ab",
        "asdkj qwlek zmxnc qpwoe lkjas mnzxb vcxzl poiuq",
        "wоrd mіxеd аlрhа bеtа gаmmа",
    ],
)
def test_gibberish(text: str) -> None:
    assert find_degenerate(text)[0] == "gibberish"


def test_few_words_reshuffled_are_gibberish() -> None:
    words = ["the", "of", "and", "a", "to"]
    text = " ".join(words[(index * index + index // 3) % 5] for index in range(80))
    assert find_degenerate(text)[0] in ("gibberish", "loop")


def test_cycles_by_hand() -> None:
    assert collapse_cycles(["a", "b", "a", "b", "a", "b", "c"]) == ["a", "b", "c"]
    assert collapse_cycles(["a", "b", "a", "b", "c"]) == ["a", "b", "a", "b", "c"]
    assert collapse_cycles([]) == []
