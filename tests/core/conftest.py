"""Where the small files in the formats of the public datasets are, and a tiny chat model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from neurontune_core.config import load_config
from neurontune_core.model import tiny
from neurontune_core.model.load import ChatModel
from neurontune_core.pairs.settings import PairsConfig


@pytest.fixture
def data() -> Path:
    """The folder of the fixture files."""
    return Path(__file__).parents[1] / "data" / "datasets"


@pytest.fixture
def public(data: Path) -> PairsConfig:
    """A configuration that reads all nine public datasets from the fixture files."""
    files = {
        "advbench": "advbench_harmful_behaviors.csv",
        "alpaca": "alpaca_data.json",
        "truthfulqa": "TruthfulQA.csv",
        "xstest": "xstest_prompts.csv",
        "jailbreakbench": "jailbreakbench",
        "harmbench": "harmbench_behaviors_text_all.csv",
        "strongreject": "strongreject_dataset.csv",
        "or_bench": "or_bench",
        "safeedit": "safeedit.json",
    }
    harmful = ["advbench", "xstest", "jailbreakbench", "harmbench", "strongreject", "or_bench", "safeedit"]
    benign = ["alpaca", "truthfulqa", "xstest", "jailbreakbench", "or_bench"]
    settings = [f"pairs.sources.{name}.path={data / file}" for name, file in files.items()]
    return load_config("tiny", [*settings, f"pairs.harmful={harmful}", f"pairs.benign={benign}"]).pairs


@pytest.fixture
def tiny_chat() -> Callable[..., ChatModel]:
    """Return a maker of random chat models."""

    def make(family: str = "llama", dtype: torch.dtype = torch.float32, ends: list[int] | None = None) -> ChatModel:
        model: Any = tiny.model(family)
        model.to(dtype).requires_grad_(False)
        if ends is not None:
            model.generation_config.eos_token_id = ends
        return ChatModel(model, tiny.tokenizer(), torch.device("cpu"))

    return make
