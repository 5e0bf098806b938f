"""A model run in a wider number format than its weights have."""

import copy

import pytest
import torch
from attribution_cases import DENSE, encoded_pairs, float64_throughout, relative_difference, tiny_chat
from attribution_reference import reference_scores

from neurontune_core.attribution import engine as engines
from neurontune_core.attribution import setup
from neurontune_core.attribution.precision import Widened
from neurontune_core.attribution.settings import AttributionConfig

CPU = torch.device("cpu")
IDS = torch.arange(40)[None] * 7 % 256


def doubled(chat):
    return copy.deepcopy(chat.model).double()


@pytest.mark.parametrize("family", DENSE)
@torch.no_grad()
def test_float32_weights_give_float64_logits(family):
    chat = tiny_chat(family, torch.float32)
    with float64_throughout():
        expected = doubled(chat)(input_ids=IDS).logits
    with Widened(torch.float32, CPU):
        found = chat.model(input_ids=IDS).logits
    assert found.dtype == torch.float64
    assert relative_difference(found, expected) < 1e-12
    assert {each.dtype for each in chat.model.parameters()} == {torch.float32}
    assert chat.model(input_ids=IDS).logits.dtype == torch.float32


@torch.no_grad()
def test_half_weights_give_float32_logits():
    chat = tiny_chat("llama", torch.bfloat16)
    with Widened(torch.bfloat16, CPU):
        found = chat.model(input_ids=IDS).logits
    expected = doubled(chat)(input_ids=IDS).logits
    assert found.dtype == torch.float32
    assert relative_difference(found.double(), expected) < 1e-5


@pytest.mark.parametrize("position", ["last", "response"])
def test_differences_of_a_float32_model_have_no_rounding_error_of_float32(position):
    chat, pair = tiny_chat("llama", torch.float32), encoded_pairs()[0]
    for parameter in chat.model.parameters():
        parameter.mul_(0.1 if parameter.dim() > 1 else 1.0)  # so that little changes along the paths
    engine = setup.build_engine(AttributionConfig(position=position), chat, 1024)
    (result,) = engines.attribute(engine, [pair], with_difference=True)
    with float64_throughout():
        _, expected = reference_scores(
            doubled(chat), pair.query, pair.prompt, pair.response, 1, position == "response", True
        )
    found = result.difference * torch.tensor(result.scale, dtype=torch.float64).exp()
    expected = torch.tensor(expected, dtype=torch.float64)
    assert expected.abs().min() < 0.02 * torch.tensor(result.scale, dtype=torch.float64).exp()
    # about forty roundings of float32, whose order is the processor's
    torch.testing.assert_close(found, expected, rtol=5e-6, atol=0)
