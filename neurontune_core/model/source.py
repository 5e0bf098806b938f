"""Where a model comes from: its identity and its shape, without loading a weight."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from neurontune_core import artifacts, neurons
from neurontune_core.address_space import check_address_space
from neurontune_core.config import absolute_path
from neurontune_core.errors import InputError
from neurontune_core.model import gguf, hub, tiny
from neurontune_core.model.checks.folder import check_model_folder, check_stored_format
from neurontune_core.model.checks.name import check_name
from neurontune_core.model.gguf_conversion import gguf_configuration
from neurontune_core.model.identity import folder_digest
from neurontune_core.model.packaged import packaged, packaged_header
from neurontune_core.model.quantised import rounding_in_words
from neurontune_core.model.settings import ModelConfig

CONVERSION, CONVERSION_VERSION = "model", 3
LARGEST_IN_FLOAT32 = 2_000_000_000
"""Most parameters of a model that attribution runs in float32 by default."""


class ModelReference(BaseModel):
    """A pinned model: its name, its identity, and the number of neurons of each layer.

    `name` is absolute if it is a path. `dequantised` names the quantised formats from which weights were dequantised
    (`Q4_K and Q6_K`, `MXFP4`), "" if there were none. `rounded` is what `rounding_in_words` returns, "" for a model
    that is not rounded. `experts_per_layer` is what `neurons.expert_counts` returns, () for a dense model.
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
    experts_per_layer: tuple[tuple[int, int], ...] = ()
    quantization: str = "none"
    rounded: str = ""
    evaluate_full: bool = False

    @property
    def evaluated(self) -> "ModelReference":
        """The model that is evaluated: this one, or the unrounded one."""
        return self.model_copy(update={"quantization": "none", "rounded": ""}) if self.evaluate_full else self

    @property
    def identity(self) -> str:
        """The text that stands for the model in stage keys: weights, number formats, system prompt, layers left out."""
        some = ":covered layers" if self.skip_uncovered_layers else ""
        bits = "" if self.quantization == "none" else f":{self.quantization}"
        return f"{self.weights}:{self.dtype}:{self.working_dtype}:{self.system_prompt or ''}{some}{bits}"

    @property
    def neuron_total(self) -> int:
        """Number of neurons in all layers."""
        return sum(self.neurons_per_layer)


def describe(config: ModelConfig) -> ModelReference:
    """Return the pinned reference of a model, read only from its files' digests and its configuration.

    Args:
        config: which model: a local folder, a GGUF file, a hub id, or a packaged model; a hub model is downloaded.

    Raises:
        InputError: the model does not exist, is not readable, has a layer without MLP neurons, or needs more address
            space than this process may have.
    """
    found = _find(config, whole=True)
    model = _without_weights(config, found.shape)
    check_address_space(sum(weight.numel() for weight in model.parameters()))
    shapes = neurons.expert_counts(model)
    dtype, working_dtype = _formats(config, model)
    return ModelReference(
        name=found.name,
        revision=found.revision,
        dtype=dtype,
        working_dtype=working_dtype,
        system_prompt=config.system_prompt,
        weights=found.digest(),
        neurons_per_layer=tuple(neurons.neuron_counts(model)),
        skip_uncovered_layers=config.skip_uncovered_layers,
        dequantised=found.dequantised,
        quantization=config.quantization,
        rounded="" if config.quantization == "none" else rounding_in_words(model, config.quantization),
        evaluate_full=config.evaluate_full,
        experts_per_layer=tuple(shapes) if any(count for count, _ in shapes) else (),
    )


def skeleton(config: ModelConfig) -> PreTrainedModel:
    """Return the model without weights (on torch's meta device), made from its configuration.

    Raises:
        InputError: the model does not exist, is not a causal language model, or its configuration is not readable.
    """
    return _without_weights(config, _find(config, whole=False).shape)


def unrounded_bytes(config: ModelConfig, working: bool) -> int:
    """Return the size that a model's weights have when loaded in its exact or working number format, unrounded.

    Raises:
        InputError: as `skeleton`.
    """
    model = skeleton(config)
    dtype: torch.dtype = getattr(torch, _formats(config, model)[working])
    return dtype.itemsize * sum(weight.numel() for weight in model.parameters())


def stored_bytes(config: ModelConfig, reference: ModelReference) -> int:
    """Return the size of a model's weights as an export stores them.

    Raises:
        InputError: as `skeleton`.
    """
    model = skeleton(config)
    stored = getattr(model.config, "dtype", None)
    size = stored.itemsize if isinstance(stored, torch.dtype) else 4
    return size * sum(weight.numel() for weight in model.parameters())


@dataclass(frozen=True)
class _Found:
    """The place of a model: its name, its configuration, and a function that computes its digest."""

    name: str
    shape: PretrainedConfig
    digest: Callable[[], str]
    revision: str | None = None
    dequantised: str = ""


def _find(config: ModelConfig, whole: bool) -> _Found:
    """Find a model by the form of its name; `whole` downloads a hub model's weights, and checks a folder's files."""
    check_name(config)
    scheme, _, rest = config.name.partition(":")
    name = absolute_path(config.name)
    if scheme == "packaged":
        header = packaged_header(rest)
        known = packaged(rest).sha256
        return _Found(config.name, gguf_configuration(header), lambda: known, dequantised=header.dequantised)
    if scheme == "random":
        return _Found(config.name, tiny.configuration(rest), lambda: f"random-{rest}-{tiny.VERSION}")
    if gguf.is_gguf(name):
        header = gguf.read_header(Path(name))
        return _Found(name, gguf_configuration(header), header.digest, dequantised=header.dequantised)
    if os.path.exists(name):
        folder, commit = Path(name), None
    else:
        commit = hub.commit_of(config)
        folder = hub.configuration_folder(name, commit)
        check_stored_format(folder, config)  # before the weights are downloaded
        folder = hub.snapshot(name, commit) if whole else folder
    if whole:
        check_model_folder(folder, config)
    shape = _read_configuration(str(folder), name)
    stored = check_stored_format(folder, config).upper()
    return _Found(name, shape, lambda: commit or folder_digest(folder), commit, stored)


def conversion_key(weights: str) -> str:
    """Return the key of a GGUF model's conversion, made from the digest of its file."""
    return artifacts.stage_key(CONVERSION, CONVERSION_VERSION, {}, weights, [])


def _without_weights(config: ModelConfig, shape: PretrainedConfig) -> PreTrainedModel:
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


def _formats(config: ModelConfig, model: PreTrainedModel) -> tuple[str, str]:
    """Return the exact number format of a model and its working one."""
    dtype = _exact_format(model) if config.dtype == "auto" else config.dtype
    return dtype, _native_format(dtype) if config.working_dtype == "auto" else config.working_dtype


def _exact_format(model: PreTrainedModel) -> str:
    """Return float32 for a model of up to two billion parameters, above that the half format it is stored in."""
    stored = str(model.config.dtype).removeprefix("torch.")
    large = sum(weight.numel() for weight in model.parameters()) > LARGEST_IN_FLOAT32
    return stored if large and stored in ("bfloat16", "float16") else "bfloat16" if large else "float32"


def _native_format(dtype: str) -> str:
    """Return bfloat16 if the accelerator or processor can multiply in it, else the weights' own format."""
    if dtype != "float32":
        return dtype
    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else dtype
    return "bfloat16" if torch.cpu.get_capabilities().get("avx512_bf16", False) else dtype


def _read_configuration(folder: str, name: str | None = None) -> PretrainedConfig:
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise InputError(f"model.name: {name or folder!r} has no readable config.json: {error}") from error
