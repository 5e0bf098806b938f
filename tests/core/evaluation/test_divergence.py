import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from neurontune_core import neurons
from neurontune_core.errors import NumericalError
from neurontune_core.evaluation.divergence import response_divergence
from neurontune_core.model.load import ChatModel
from neurontune_core.records import ScalingFactors

RESPONSES = [("A to D", [70, 71, 72]), ("P", [82]), ("Z, [ and \\", [93, 94, 95, 96, 97])]


def test_divergence_is_the_plain_loop_in_float64(chat: ChatModel, scaling: ScalingFactors) -> None:
    found = response_divergence(replace(chat, batch_tokens=60), scaling, RESPONSES)
    base = copy.deepcopy(chat.model).double()
    tuned = copy.deepcopy(base)
    neurons.fold(tuned, scaling)
    kl, ratio, count = 0.0, 0.0, 0
    for prompt, response in RESPONSES:
        tokens = chat.prompt_tokens(prompt)
        ids = torch.tensor([tokens + response])
        with torch.no_grad():
            p, q = (model(ids).logits[0].softmax(-1) for model in (base, tuned))
        for place, token in enumerate(response):
            row = len(tokens) - 1 + place
            kl += sum(float(a * math.log(a / b)) for a, b in zip(p[row], q[row], strict=True))
            ratio += math.log(p[row, token] / q[row, token])
            count += 1
    assert found is not None
    assert found.kl == pytest.approx(kl / count, rel=1e-4)
    assert found.kl > 0.1, "the factors must matter, or the test shows nothing"
    assert found.perplexity_ratio == pytest.approx(math.exp(ratio / count), rel=1e-4)


def test_a_model_does_not_diverge_from_itself(chat: ChatModel, scaling: ScalingFactors) -> None:
    ones = ScalingFactors(scaling.neurons, np.ones_like(scaling.alpha))
    found = response_divergence(chat, ones, RESPONSES)
    assert found is not None
    assert (found.kl, found.perplexity_ratio) == (0.0, 1.0)


def test_nothing_to_compare(chat: ChatModel, scaling: ScalingFactors) -> None:
    assert response_divergence(chat, scaling, []) is None


def test_factors_that_are_no_numbers_are_an_error(chat: ChatModel, scaling: ScalingFactors) -> None:
    broken = ScalingFactors(scaling.neurons, np.full_like(scaling.alpha, np.nan))
    with pytest.raises(NumericalError, match="not finite"):
        response_divergence(chat, broken, RESPONSES)
