"""Answers generated greedily by vLLM on the folded model, with the same prompt tokens and end-of-turn tokens."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from neurontune_core import artifacts
from neurontune_core.config import PipelineConfig
from neurontune_core.errors import InputError
from neurontune_core.interventions import Intervention
from neurontune_core.model.devices import choose_devices
from neurontune_core.model.load import ChatModel
from neurontune_core.model.source import unrounded_bytes
from neurontune_core.neurons import output_weights

SHARE_OF_FREE = 0.9
"""Share of a GPU's free memory that vLLM may use; the evaluated model stays loaded."""


def check_engine(config: PipelineConfig, working: bool = True) -> None:
    """Check that vLLM can generate the answers, if the configuration uses it.

    Args:
        config: the configuration.
        working: whether the evaluated model is loaded in its working number format.

    Raises:
        InputError: it is not installed, the evaluated change cannot be folded into weights, the device is not the
            one that vLLM uses, or its memory cannot hold the evaluated model and vLLM's copy.
    """
    if config.evaluation.engine != "vllm":
        return
    if find_spec("vllm") is None:
        raise InputError(
            "evaluation.engine: 'vllm' is not installed; pip install 'neurontune[vllm]', or set it to transformers"
        )
    if config.baseline.method != "none":
        raise InputError(
            f"evaluation.engine: 'vllm' needs factors, which can be folded into the weights, and baseline.method is "
            f"{config.baseline.method!r}; set it to transformers"
        )
    first, *others = choose_devices(config.runtime.device)
    if config.runtime.device == "auto":  # a model that fits on the first GPU is on it alone
        others = [device for device in others if device.type == "cuda"]
    if others or first.index:
        raise InputError(
            f"evaluation.engine: 'vllm' uses only the first GPU, and runtime.device is "
            f"{config.runtime.device!r}; set it to cuda, and choose the GPU by CUDA_VISIBLE_DEVICES"
        )
    if config.model.evaluated.quantization != "none":
        raise InputError(
            f"evaluation.engine: 'vllm' needs unrounded weights, and model.quantization is "
            f"{config.model.quantization!r}; set model.evaluate_full=true"
        )
    if first.type == "cuda":
        _check_room(config, first, working)


def _check_room(config: PipelineConfig, card: torch.device, working: bool) -> None:
    """Check that a GPU has memory for the evaluated model as a whole, and for vLLM's copy of it."""
    size, most = unrounded_bytes(config.model.evaluated, working), config.runtime.max_memory.get("cuda:0")
    if most is not None and size > most * 2**30:
        raise InputError(
            f"evaluation.engine: 'vllm' needs the whole evaluated model on the GPU, {size / 2**30:.3g} GiB, and "
            f"runtime.max_memory allows {most:.3g} GiB; raise it, or set evaluation.engine=transformers"
        )
    free = torch.cuda.mem_get_info(card)[0] + torch.cuda.memory_reserved(card)  # a model loaded here is given back
    if 2 * size > SHARE_OF_FREE * free:
        raise InputError(
            f"evaluation.engine: 'vllm' needs the evaluated model and a copy of it on the GPU, 2 x "
            f"{size / 2**30:.3g} GiB, and of its memory {SHARE_OF_FREE * free / 2**30:.3g} GiB can be used; set it "
            f"to transformers"
        )


def generate(
    chat: ChatModel,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    change: Intervention | None = None,
) -> list[list[int]]:
    """Return the continuation of every prompt as token ids, without the end-of-turn token that closed it.

    Args:
        chat: the base model, from which a folder is written for vLLM, for as long as it generates.
        prompts: token ids of each prompt.
        max_new_tokens: most tokens of a continuation.
        change: the factors to fold into that folder's weights (`check_engine` refuses baselines).

    Raises:
        InputError: weights are offloaded, so that factors cannot be folded into them.
    """
    from vllm import LLM, SamplingParams

    ends = chat.end_tokens
    greedy = SamplingParams(temperature=0.0, max_tokens=max_new_tokens, stop_token_ids=ends, detokenize=False)
    with artifacts.temporary_folder(chat.root, "vllm") as folder, _folded(chat, change):
        _write(chat, folder)
        dtype = str(chat.model.dtype).removeprefix("torch.")
        # by default there must be room for one answer as long as all positions of the model
        settings: dict[str, Any] = {"max_model_len": max(map(len, prompts), default=0) + max_new_tokens}
        if chat.device.type == "cuda":
            settings["gpu_memory_utilization"] = _share_of_card(chat.device)
        # greedy answers do not use the folder's sampling settings
        settings |= {"skip_tokenizer_init": True, "generation_config": "vllm"}
        engine = LLM(model=str(folder), dtype=dtype, seed=0, **settings)
        asked = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        written = [list(each.outputs[0].token_ids) for each in engine.generate(asked, greedy, use_tqdm=False)]
        del engine
    gc.collect()
    torch.cuda.empty_cache()
    return [ids[:-1] if ids and ids[-1] in ends else ids for ids in written]


@contextmanager
def _folded(chat: ChatModel, change: Intervention | None) -> Iterator[None]:
    """Inside this context the factors are in the weights; the weights are restored exactly, also after an error."""
    if change is None:
        yield
        return
    weights = output_weights(chat.model)
    kept = {bank: weight.detach().clone() for bank, weight in weights.items()}
    try:
        with change.in_weights(chat):
            yield
    finally:
        with torch.no_grad():
            for bank, weight in weights.items():
                weight.copy_(kept[bank])


def _write(chat: ChatModel, folder: Path) -> None:
    own, chat.model.generation_config = chat.model.generation_config, GenerationConfig()
    try:  # transformers refuses to save some generation settings of the base model
        chat.model.save_pretrained(folder)
    finally:
        chat.model.generation_config = own
    chat.tokenizer.save_pretrained(folder)


def _share_of_card(device: torch.device) -> float:
    torch.cuda.empty_cache()  # what torch keeps for later batches does not count as free
    free, total = torch.cuda.mem_get_info(device)
    return SHARE_OF_FREE * free / total
