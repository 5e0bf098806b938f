"""What generated a run's answers, from its settings as values or as MLflow's texts."""

from typing import Any

import pytest

from neurontune_core.config import load_config
from neurontune_core.evaluation.answered_by import answered_by, mark
from neurontune_core.run_name import leaves


@pytest.mark.parametrize(
    ("settings", "way"),
    [
        ([], "transformers"),
        (["evaluation.engine=vllm"], "vLLM"),
        (["model.quantization=int8"], "transformers, int8"),
        (["model.quantization=int4", "model.evaluate_full=true"], "transformers"),
        (["model.quantization=int4", "model.evaluate_full=true", "evaluation.engine=vllm"], "vLLM"),
    ],
)
def test_engine_and_rounding_of_a_configuration(settings: list[str], way: str) -> None:
    assert answered_by(dict(leaves(load_config("tiny", settings)))) == way


@pytest.mark.parametrize(
    ("parameters", "way"),
    [
        ({}, "transformers"),
        ({"evaluation.engine": "vllm"}, "vLLM"),
        ({"model.quantization": "int4", "model.evaluate_full": "false"}, "transformers, int4"),
        ({"model.quantization": "int4", "model.evaluate_full": "true"}, "transformers"),
    ],
)
def test_parameters_of_mlflow_are_texts_and_some_are_not_there(parameters: dict[str, Any], way: str) -> None:
    assert answered_by(parameters) == way


def test_only_the_unusual_is_marked() -> None:
    assert [mark(way) for way in (None, "transformers", "vLLM")] == ["", "", " (vLLM)"]
