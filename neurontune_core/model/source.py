"""Where a model comes from: its identity and its shape, without loading a weight."""

import os
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from neurontune_core import neurons
from neurontune_core.config import ModelConfig
from neurontune_core.errors import InputError
from neurontune_core.model import gguf_conversion, hub, packaged, tiny
from neurontune_core.model.gguf import Header, read_header
from neurontune_core.model.identity import folder_digest


class ModelReference(BaseModel):
    """A model, pinned: what it is called, what it is, and how many neurons each layer has.

    `name` is absolute where it is a path. `dequantised` names the formats that the weights were worked out from
    (`Q4_K, Q6_K and F32`), "" where they are stored as they are used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    revision: str | None
    dtype: str
    working_dtype: str
    system_prompt: str | None
    weights: str
    neurons_per_layer: tuple[int, ...]
    skip_uncovered_layers: bool = False
    dequantised: str = ""

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
        config: which model: a local folder, a GGUF file, a hub id, or a packaged model.

    Raises:
        InputError: the model is not there, not readable, or has a layer without MLP neurons.
    """
    name, (scheme, _, rest) = located(config.name), config.name.partition(":")
    header = gguf_header(name)
    revision = None
    if scheme == "random":
        weights = f"random-{rest}-{tiny.VERSION}"
    elif scheme == "packaged":
        weights = packaged.packaged_model(rest).sha256
    elif header is not None:
        weights = header.digest()
    elif Path(name).is_dir():
        weights = folder_digest(Path(name))
    else:
        weights = revision = hub.find_commit(name, config.revision)
    return ModelReference(
        name=name,
        revision=revision,
        dtype=config.dtype,
        working_dtype=_native_format(config.dtype) if config.working_dtype == "auto" else config.working_dtype,
        system_prompt=config.system_prompt,
        weights=weights,
        neurons_per_layer=tuple(neurons.neuron_counts(skeleton(config, revision))),
        skip_uncovered_layers=config.skip_uncovered_layers,
        dequantised=header.dequantised if header else "",
    )


def skeleton(config: ModelConfig, revision: str | None = None) -> PreTrainedModel:
    """Return the model without weights (on torch's meta device), made from its configuration.

    Raises:
        InputError: the model is not there, is no causal language model, or its configuration is not readable.
    """
    shape = _configuration(config, revision)
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


def located(name: str) -> str:
    """Return a model's name, where it is a path as an absolute one: `~` and relative paths mean a place.

    Raises:
        InputError: it can only be a path, and nothing is there.
    """
    if name.partition(":")[0] in ("packaged", "random"):
        return name
    path = os.path.abspath(os.path.expanduser(name))
    if os.path.exists(path):
        return path
    if name.startswith(("/", "~", ".")) or name.lower().endswith(".gguf") or os.path.isabs(name):
        raise InputError(f"model.name: there is no {path}; give a folder or GGUF file that exists, or a hub id")
    return name


def gguf_header(name: str) -> Header | None:
    """Return the GGUF header of a packaged model or of a file, None for any other model.

    Raises:
        InputError: it cannot be read.
    """
    scheme, _, rest = name.partition(":")
    if scheme == "packaged":
        return packaged.packaged_header(rest)
    return read_header(Path(name)) if scheme != "random" and Path(name).is_file() else None


def _configuration(config: ModelConfig, revision: str | None) -> PretrainedConfig:
    name, (scheme, _, rest) = located(config.name), config.name.partition(":")
    if scheme == "random":
        return tiny.configuration(rest)
    if (header := gguf_header(name)) is not None:
        return gguf_conversion.configuration(header)
    if Path(name).is_dir():
        return _read_configuration(Path(name), config.name)
    commit = revision or hub.find_commit(name, config.revision)
    return _read_configuration(hub.configuration_folder(name, commit), config.name)


def _native_format(dtype: str) -> str:
    """Return bfloat16 where the accelerator or processor multiplies in it, else the weights' own format."""
    if dtype != "float32":
        return dtype
    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else dtype
    return "bfloat16" if torch.cpu.get_capabilities().get("avx512_bf16", False) else dtype


def _read_configuration(folder: Path, name: str) -> PretrainedConfig:
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise InputError(f"model.name: {name!r} has no readable config.json: {error}") from error
