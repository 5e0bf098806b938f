"""A base model in a folder, as a user has one, and factors for it."""

import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neurontune_core.model import source, tiny
from neurontune_core.model.settings import ModelConfig
from neurontune_core.model.source import ModelReference
from neurontune_core.records import NeuronId, NeuronSet, ScalingFactors

LLAMA_CPP_PYTHON = "0.3.36"


@pytest.fixture
def convert_to_gguf(tmp_path: Path) -> Callable[..., None]:
    """Return llama.cpp's converter: of the folder LLAMA_CPP, else of the source archive on PyPI, as the README says."""
    folder, packages = Path(os.environ.get("LLAMA_CPP", tmp_path / "llama.cpp")), tmp_path / "packages"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    fetch = [[*pip, "install", "--no-deps", "--target", str(packages), "sentencepiece"]]
    archive = tmp_path / f"llama_cpp_python-{LLAMA_CPP_PYTHON}.tar.gz"
    if "LLAMA_CPP" not in os.environ:
        source = ["--no-deps", "--no-binary", "llama-cpp-python", f"llama-cpp-python=={LLAMA_CPP_PYTHON}"]
        fetch.append([*pip, "download", "--dest", str(tmp_path), *source])
    for command in fetch:
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        if done.returncode:
            pytest.skip(f"llama.cpp's converter cannot be had from the registry: {done.stderr[-300:]}")
    if archive.exists():
        with tarfile.open(archive) as files:
            files.extractall(tmp_path, filter="data")
        (tmp_path / archive.name.removesuffix(".tar.gz") / "vendor" / "llama.cpp").rename(folder)

    def convert(*arguments: str) -> None:
        command = [sys.executable, str(folder / "convert_hf_to_gguf.py"), *arguments]
        subprocess.run(command, env=os.environ | {"PYTHONPATH": str(packages)}, timeout=900, check=True)

    return convert


@pytest.fixture
def base_folder(tmp_path: Path) -> Callable[..., ModelReference]:
    """Return a maker of base models on disk: family, number format, tied weights, generation settings."""

    def make(family: str = "llama", dtype: torch.dtype = torch.float32, tied: bool = False, **settings: Any) -> Any:
        folder = tmp_path / f"base-{family}"
        model: Any = tiny.model(family)
        if tied:
            model.config.tie_word_embeddings = True
            model.tie_weights()
        model.to(dtype).save_pretrained(folder)
        for name, value in settings.items():
            setattr(model.generation_config, name, value)
        model.generation_config.to_json_file(folder / "generation_config.json")
        tiny.tokenizer().save_pretrained(folder)
        return source.describe(ModelConfig(name=str(folder)))

    return make


@pytest.fixture
def factors() -> ScalingFactors:
    """Factors of five neurons in two layers."""
    chosen = NeuronSet((NeuronId(0, 3), NeuronId(1, 47), NeuronId(0, 20)), (NeuronId(1, 0), NeuronId(0, 4)))
    return ScalingFactors(chosen, np.array([2.0, 0.25, -1.0, 3.0, 1.4], dtype=np.float32))
