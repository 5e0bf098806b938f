"""Rounding of weights: against a plain loop over channels, and put back afterwards."""

from collections.abc import Callable

import pytest
import torch

from neurontune_core.model.load import ChatModel
from neurontune_core.model.quantise import quantise, round_to_nearest, weights_kept
from neurontune_core.model.sampling import Sampler


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("channel", [0, 1])
def test_each_channel_is_rounded_by_its_own_step(bits: int, channel: int) -> None:
    weight = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    weight[2] *= 100
    weight[:, 3] = 0
    weight[3] = 0
    found = round_to_nearest(weight, bits, channel)
    for index in range(weight.shape[channel]):
        own, rounded = weight.select(channel, index), found.select(channel, index)
        step = float(own.abs().max()) / (2 ** (bits - 1) - 1)
        expected = [round(float(value) / step) * step if step else 0.0 for value in own]
        assert rounded.tolist() == pytest.approx(expected, rel=1e-5, abs=1e-7)
        assert len(rounded.unique()) <= 2**bits - 1
    assert torch.allclose(round_to_nearest(found, bits, channel), found), "what is rounded stays"


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_linear_maps_are_rounded_and_put_back(tiny_chat: Callable[..., ChatModel], family: str) -> None:
    chat = tiny_chat(family)
    before = {name: value.clone() for name, value in chat.model.state_dict().items()}
    with pytest.raises(ValueError, match="on purpose"), weights_kept(chat.model):
        quantise(chat.model, 4)
        changed = {name for name, value in chat.model.state_dict().items() if not torch.equal(value, before[name])}
        raise ValueError("on purpose")
    assert changed and not any("embed" in name or "norm" in name or "ln_" in name or "wte" in name for name in changed)
    assert "lm_head.weight" not in changed
    assert all(torch.equal(value, before[name]) for name, value in chat.model.state_dict().items())


def test_tokens_are_drawn_by_their_probability_and_by_name() -> None:
    logits = torch.tensor([[0.0, 1.0, -1.0, float("-inf")]]).repeat(4000, 1)
    names = [f"row {number}" for number in range(4000)]
    drawn = Sampler(names)(logits, range(4000))
    shares = torch.bincount(drawn, minlength=4) / 4000
    assert torch.allclose(shares, logits[0].softmax(-1), atol=0.03) and shares[3] == 0
    half = Sampler(names)(logits[:2000], range(2000, 4000))
    assert torch.equal(half, drawn[2000:]), "a row's draw does not hang on the others"
