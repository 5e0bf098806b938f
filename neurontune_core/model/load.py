"""Load a model's weights and tokenizer."""

import resource
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import psutil
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from neurontune_core import artifacts, neurons
from neurontune_core.errors import ArtifactError, InputError
from neurontune_core.model import gguf, hub, tiny
from neurontune_core.model.batches import MOST_TOKENS_ON_A_PROCESSOR, tokens_that_fit
from neurontune_core.model.chat import encode_prompt, neutralised
from neurontune_core.model.checks.folder import check_model_folder
from neurontune_core.model.checks.loaded import check_loaded, check_logits
from neurontune_core.model.checks.template import PROMPT
from neurontune_core.model.dequantise import dequantise_folder
from neurontune_core.model.devices import Devices, check_memory, choose_devices
from neurontune_core.model.gguf_conversion import convert_to_folder
from neurontune_core.model.identity import folder_digest
from neurontune_core.model.packaged import joined_file
from neurontune_core.model.placement import place, straight_onto
from neurontune_core.model.positions import position_limit
from neurontune_core.model.quantised import check_library, quantise_layers, use_rounded
from neurontune_core.model.settings import ModelConfig
from neurontune_core.model.source import CONVERSION, ModelReference, conversion_key, describe
from neurontune_core.records import Conversation

WITHOUT_GRADIENTS = 16
"""Without gradients this many times as many tokens fit: only the cache and one layer's activations are kept."""
MOST_GENERATED_ON_A_PROCESSOR = 4 * MOST_TOKENS_ON_A_PROCESSOR
"""Larger batches do not make generation on a CPU faster."""


@dataclass(frozen=True)
class ChatModel:
    """A loaded model, frozen and in evaluation mode, with its tokenizer.

    `system_prompt` precedes every conversation that has no system message of its own, `reminder` precedes all. A batch
    with gradients has at most `batch_tokens` tokens, padding included, one that is generated `generation_tokens`.
    Temporary copies of the weights are kept under the artifact root `root`.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    device: torch.device
    system_prompt: str | None = None
    reminder: str = ""
    batch_tokens: int = MOST_TOKENS_ON_A_PROCESSOR
    root: str = "neurontune-artifacts"

    def prompt_tokens(self, prompt: str | Conversation) -> list[int]:
        """Return the token ids of a conversation up to the assistant's turn; a text is a conversation of one turn.

        Raises:
            RefusedByTemplate: the model's template takes no system message, or no earlier turns.
        """
        given = Conversation(prompt) if isinstance(prompt, str) else prompt
        return encode_prompt(self.tokenizer, given.prompt, self.system_message(given), given.history)

    def system_message(self, conversation: Conversation) -> str:
        """Return the system message of a conversation: its own, or the model's, below the reminder; "" if none."""
        own = neutralised(self.tokenizer, conversation.system) or self.system_prompt
        return "\n\n".join(part for part in (self.reminder, own) if part)

    @property
    def generation_tokens(self) -> int:
        """Most tokens of a batch that is generated, new tokens included."""
        fit = self.batch_tokens * WITHOUT_GRADIENTS
        return min(fit, MOST_GENERATED_ON_A_PROCESSOR) if self.device.type == "cpu" else fit

    @property
    def end_tokens(self) -> list[int]:
        """Token ids that end the assistant's turn; a response ends with the first of them.

        Raises:
            InputError: the model names no such token.
        """
        declared = getattr(self.model.generation_config, "eos_token_id", None)
        ids = declared if isinstance(declared, list) else [declared]
        own = self.tokenizer.eos_token_id
        tokens = list(dict.fromkeys(token for token in (own, *ids) if token is not None))
        if not tokens:
            raise InputError("model: neither tokenizer nor generation_config.json names an eos_token; add one")
        return tokens


def load_model(
    config: ModelConfig,
    device: str = "auto",
    root: str = "neurontune-artifacts",
    batch_tokens: int | None = None,
    max_memory: Mapping[str, float] | None = None,
) -> ChatModel:
    """Load the model of a configuration in its exact number format, without gradients of its weights.

    Args:
        config: which model; `ModelConfig(name=...)` takes a local folder, a GGUF file, a hub id, or a packaged model.
        device: `auto`, or the name of a torch device, or of several.
        root: folder or fsspec URL where the converted weights of a GGUF file, or of a quantised folder, are kept.
        batch_tokens: most tokens of a batch; by default as many as fit in the device's memory.
        max_memory: GiB of weights that each device may hold, if the model is spread over several.

    Raises:
        InputError: the model or the device does not exist, or the model has a layer without MLP neurons.
    """
    return load(describe(config), root, choose_devices(device), max_memory=max_memory, batch_tokens=batch_tokens)


def load(
    reference: ModelReference,
    root: str,
    device: torch.device | Devices,
    working: bool = False,
    max_memory: Mapping[str, float] | None = None,
    batch_tokens: int | None = None,
) -> ChatModel:
    """Load a model without gradients of its weights, in its exact or its working number format.

    A GGUF file, and quantised weights, are converted to ordinary safetensors once, and kept under `root`. Over several
    devices the layers are placed in order, and each weight is read directly onto its device; `max_memory` is the GiB of
    weights that each device may hold. A batch has at most `batch_tokens` tokens, or as many as fit in the device's
    memory.

    Raises:
        InputError: a weight is missing, left over, of another shape or not finite, the model gives other logits than
            when it was loaded before, torchao is needed and not installed, or `max_memory` does not fit the devices.
    """
    check_library(reference.quantization)
    dtype = getattr(torch, reference.working_dtype if working else reference.dtype)
    devices = (device,) if isinstance(device, torch.device) else device
    memory = dict(max_memory or {})
    check_memory(devices, memory)
    if len(devices) > 1 and not reference.name.startswith("random:"):
        folder = _folder(reference, root)
        straight = straight_onto(folder, devices, memory, dtype, reference.quantization)
        model, tokenizer = _read(folder, reference, dtype, **straight)
        model.requires_grad_(False)
        if reference.quantization != "none":
            use_rounded(model)
    else:
        model, tokenizer = load_files(reference, root, dtype)
        if reference.quantization != "none":
            quantise_layers(model, reference.quantization)
        model = place(model.requires_grad_(False), devices, memory)
    ids = encode_prompt(tokenizer, PROMPT)[: position_limit(model)]
    check_logits(model, ids, reference.name, (reference.identity, str(dtype), str(devices)))
    limit = batch_tokens or tokens_that_fit(model)
    return ChatModel(model, tokenizer, devices[0], reference.system_prompt, batch_tokens=limit, root=root)


@dataclass(frozen=True)
class Conversion:
    """What the conversion of a model into an ordinary folder took.

    Attributes:
        seconds: how long it took.
        stored_bytes: size of the folder.
        memory_bytes: the most memory that the process held meanwhile, less what it held before; if it had held more
            memory earlier, up to that much too high.
        temporary_bytes: size of the copies of its file that were on disk meanwhile.
    """

    seconds: float
    stored_bytes: int
    memory_bytes: int
    temporary_bytes: int


def conversion(reference: ModelReference, root: str) -> Conversion | None:
    """Return what the conversion of a model took, which is done now if it is not yet; None if it needs none."""
    if not _needs_conversion(reference):
        return None
    _folder(reference, root)
    manifest = artifacts.read_manifest(artifacts.at(root, CONVERSION, conversion_key(reference.weights)))
    stored = sum(int(file["bytes"]) for file in manifest["files"].values())
    facts = manifest["facts"]  # those of conversions by an earlier version are empty
    memory, temporary = int(facts.get("memory_bytes", stored)), int(facts.get("temporary_bytes", 0))
    return Conversion(float(manifest["seconds"]), stored, memory, temporary)


def load_files(
    reference: ModelReference, root: str, dtype: torch.dtype | Literal["auto"]
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load weights and tokenizer onto the processor; `auto` keeps the number format of the stored weights."""
    scheme, _, rest = reference.name.partition(":")
    if scheme == "random":
        random: Any = tiny.model(rest)
        return random if dtype == "auto" else random.to(dtype), tiny.tokenizer()
    return _read(_folder(reference, root), reference, dtype)


def _read(
    folder: Path, reference: ModelReference, dtype: torch.dtype | Literal["auto"], **straight: Any
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Read weights and tokenizer of a folder; `straight` is the result of `straight_onto`, for several devices."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    told = {"output_loading_info": True, "ignore_mismatched_sizes": True}
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, **told, **straight
    )
    model: PreTrainedModel = check_loaded(loaded, reference.name)
    if reference.skip_uncovered_layers:
        neurons.leave_out_uncovered(model)
    return model.eval(), tokenizer


def _folder(reference: ModelReference, root: str) -> Path:
    """Return the local folder with a model's safetensors: its own, the hub's copy, or a converted one.

    A GGUF file, and a folder of weights that have to be dequantised, are converted on first use.
    """
    if _is_file(reference):
        return _converted(reference, root, partial(_convert_file, reference))
    own = hub.snapshot(reference.name, reference.revision) if reference.revision else Path(reference.name)
    return _converted(reference, root, partial(_convert_folder, reference, own)) if reference.dequantised else own


def _is_file(reference: ModelReference) -> bool:
    """Tell whether a model is a GGUF file, of its own or out of Python packages."""
    return reference.name.startswith("packaged:") or gguf.is_gguf(reference.name)


def _needs_conversion(reference: ModelReference) -> bool:
    return _is_file(reference) or bool(reference.dequantised)


def _convert_file(reference: ModelReference, folder: Path) -> dict[str, int]:
    """Convert a GGUF model into a folder; return the bytes of copies on disk meanwhile."""
    _, packaged, name = reference.name.rpartition("packaged:")
    with joined_file(name, folder.parent) if packaged else nullcontext(Path(reference.name)) as file:
        header = gguf.read_header(file)
        _check_unchanged(header.digest(), reference)
        convert_to_folder(header, folder)
        copies = 2 if packaged else 1  # the joined file, and the one that transformers reads
        size = sum(each.stat().st_size for each in header.files)
        return {"temporary_bytes": copies * size}


def _convert_folder(reference: ModelReference, source: Path, folder: Path) -> dict[str, int]:
    """Convert a folder of quantised weights into an ordinary one; return as `_convert_file`, without copies."""
    _check_unchanged(reference.revision or folder_digest(source), reference)
    dequantise_folder(source, folder, reference.dequantised.lower())
    return {"temporary_bytes": 0}


def _check_unchanged(digest: str, reference: ModelReference) -> None:
    if digest != reference.weights:
        raise InputError(f"model.name: {reference.name} has changed since the run checked it; start the run again")


def _converted(reference: ModelReference, root: str, convert: Callable[[Path], dict[str, int]]) -> Path:
    """Return the folder of a model's ordinary safetensors copy, made on first use."""
    key = conversion_key(reference.weights)

    def fill(folder: Path) -> dict[str, Any]:
        before = psutil.Process().memory_info().rss
        sizes = convert(folder)
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        check_model_folder(folder, ModelConfig(name=reference.name, system_prompt=reference.system_prompt))
        return {**sizes, "memory_bytes": max(0, most - before)}

    settings = {"dequantised": reference.dequantised}
    there = artifacts.at(root, CONVERSION, key)
    try:  # not with `find`, which would hash the weights again
        return artifacts.open_folder(replace(there, digest=artifacts.read_manifest(there)["digest"]))
    except ArtifactError:
        return artifacts.open_folder(artifacts.write(root, CONVERSION, key, fill, settings))
