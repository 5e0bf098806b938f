"""No layer of a wave copies numbers from a Python list to the device: on a GPU that waits for all layers before it."""

from typing import Any

import pytest
import torch
from attribution_cases import encoded_pairs, tiny_chat
from torch.overrides import TorchFunctionMode

from neurontune_core.attribution import setup
from neurontune_core.attribution.encode import make_batch
from neurontune_core.attribution.paths import run_waves
from neurontune_core.attribution.settings import AttributionConfig
from neurontune_core.attribution.split import cut
from neurontune_core.attribution.wavefront import make_context


class Copies(TorchFunctionMode):
    """Counts tensors made of lists, and lists that are indices."""

    made = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        indexed = func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__)
        self.made += func is torch.tensor or (indexed and isinstance(args[1], list))
        return func(*args, **(kwargs or {}))


def copies(layers: int, position: str) -> int:
    engine = setup.build_engine(AttributionConfig(nodes=3, position=position), tiny_chat("llama", layers=layers), 1024)
    context = make_context(engine.model, make_batch(encoded_pairs()[:2], engine.device), engine.every_position)
    (wave,) = cut(engine.layers, layers, engine.points, 10**9)
    with Copies() as counted:
        run_waves(engine, context, [wave], engine.points, engine.weights)
    return counted.made


@pytest.mark.parametrize("position", ["last", "response"])
def test_more_layers_need_no_more_copies(position: str) -> None:
    assert copies(4, position) == copies(2, position) > 0
