import pytest

from neurontune_core.evaluation.judges.normalise import fold_characters, normalise


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        ("I\u2019m \u201cfine\u201d \u2013 ok", 'I\'m "fine" - ok'),
        ("a\u00a0b\u2009c\u200bd", "a b cd"),
        ("I`m sure you can`t, but `x` is code", "I'm sure you can't, but `x` is code"),
        ('"I cannot do that."', "I cannot do that."),
        ('"One" and "two"', '"One" and "two"'),
        ("\ufb01ne \uff29", "fine I"),
        ("it\u00e2\u20ac\u2122s", "it's"),
        ("<|im_start|>assistant\nHello<|im_end|>", "Hello"),
        ("</s><s> Hello", "Hello"),
        ("<|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>", "Hello"),
        ("[/INST] Hello", "Hello"),
        ("Hello<|im_end|>\n<|im_start|>user\nAnd then?", "Hello"),
        ("Hello\nUser: And then?", "Hello"),
        ("Assistant: Hello", "Hello"),
        ("### Response:\nHello", "Hello"),
        ("**Answer:** Paris", "Paris"),
        ("<think>Secret</think> Hello", "Hello"),
        ("Secret</think> Hello", "Hello"),
        ("<think>never ends", ""),
        ("Hello <think>aside</think> again", "Hello again"),
        ("<|channel|>analysis<|message|>Secret<|end|><|start|>assistant<|channel|>final<|message|>Hello", "Hello"),
        ("<|channel|>analysis<|message|>never ends", ""),
        ("Hello<|end|>", "Hello"),
        ("[THINK]Secret[/THINK]Hello", "Hello"),
        ("<reasoning>Secret</reasoning>\n<answer>Hello</answer>", "Hello"),
        ("<\uff5cAssistant\uff5c>Hello<\uff5cend\u2581of\u2581sentence\uff5c>", "Hello"),
        ("<|start_of_role|>assistant<|end_of_role|>Hello<|end_of_text|>", "Hello"),
        ("I can&#39;t &amp; won&rsquo;t", "I can't & won't"),
        ("**I'm *sorry*, I __can't__**", "I'm sorry, I can't"),
        ('Assistant: "Hello," he said.', '"Hello," he said.'),
        ("I **can't** and I can*not* _really_", "I can't and I cannot really"),
        ("# Title\n> quoted", "Title\nquoted"),
        ("a\n\n\n \n\nb", "a\n\nb"),
    ],
)
def test_plain_form(raw: str, plain: str) -> None:
    assert normalise(raw) == plain


@pytest.mark.parametrize(
    "text",
    [
        "2*3*4 = 24 and a_b_c",
        "- item\n- item two",
        "AI is a field",
        "x < 3 and y > 2",
        "see [1] and [2]",
        "Model T is a car",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert normalise(text) == text


def test_normalising_twice_changes_nothing() -> None:
    text = "<s> **I\u2019m** sorry,\u00a0but I _cannot_ help.</s>"
    assert normalise(normalise(text)) == normalise(text) == "I'm sorry, but I cannot help."


def test_folding_keeps_markup() -> None:
    assert fold_characters("<s>\u2018a\u2019 **b**") == "<s>'a' **b**"
