"""The engine against a loop of full forwards, for every family, position and objective."""

import pytest
import torch
from attribution_cases import (
    DENSE,
    EXPERTS,
    attribute,
    encoded_pairs,
    float64_throughout,
    relative_difference,
    tiny_chat,
)
from attribution_reference import reference_scores

SETTINGS = [
    {"position": position, "objective": objective}
    for position in ("last", "response")
    for objective in ("probability", "log_probability")
]


def expected_scores(chat, pair, settings):
    scores, _ = reference_scores(
        chat.model, pair.query, pair.prompt, pair.response, nodes=2,
        every_position=settings["position"] == "response", probability=settings["objective"] == "probability",
    )  # fmt: skip
    return torch.cat(scores)


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: "-".join(settings.values()))
@pytest.mark.parametrize("family", DENSE + EXPERTS)
def test_float64_agrees_with_the_reference_alone_and_in_a_batch(family, settings):
    with float64_throughout():
        chat, pairs = tiny_chat(family), encoded_pairs()
        together = attribute(chat, pairs, nodes=2, **settings)
        for pair, in_batch in zip(pairs, together, strict=True):
            expected = expected_scores(chat, pair, settings)
            (alone,) = attribute(chat, [pair], nodes=2, **settings)
            assert relative_difference(alone, expected) < 1e-9, pair.id
            assert relative_difference(in_batch, expected) < 1e-9, pair.id


@pytest.mark.parametrize("settings", SETTINGS[::3], ids=lambda settings: "-".join(settings.values()))
@pytest.mark.parametrize("family", DENSE + EXPERTS)
def test_float32_agrees_with_the_float64_reference(family, settings):
    chat, exact = tiny_chat(family, torch.float32), tiny_chat(family)
    exact.model.load_state_dict(chat.model.state_dict())
    pairs = encoded_pairs()
    for pair, found in zip(pairs, attribute(chat, pairs, nodes=2, **settings), strict=True):
        with float64_throughout():
            expected = expected_scores(exact, pair, settings)
        assert relative_difference(found, expected) < 1e-4, pair.id


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_half_formats_give_finite_scores_near_the_float32_ones(family, dtype):
    chat, exact = tiny_chat(family, dtype), tiny_chat(family, torch.float32)
    exact.model.load_state_dict(chat.model.state_dict())
    pair = encoded_pairs()[0]
    (found,), (expected,) = attribute(chat, [pair]), attribute(exact, [pair])
    assert relative_difference(found / found.norm(), expected / expected.norm()) < 0.2


def test_many_nodes_converge():
    with float64_throughout():
        chat, pair = tiny_chat("llama"), encoded_pairs()[0]
        (many,) = attribute(chat, [pair], nodes=48)
        errors = [relative_difference(attribute(chat, [pair], nodes=nodes)[0], many) for nodes in (2, 8, 24)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-4
