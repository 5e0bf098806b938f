"""Tokens a second of other engines on the same model and prompts: transformers' `generate`, and vLLM if installed."""

import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import torch

from neurontune_core.model.batches import padded
from neurontune_core.model.generate import generate
from neurontune_core.model.load import ChatModel
from neurontune_core.model.throughput import timed

SHARE_OF_FREE = 0.8

Prompts = Sequence[Sequence[int]]


def own_rate(chat: ChatModel, prompts: Prompts, tokens: int) -> float:
    """Return the tokens a second of this project's generation; no answer ends early."""
    going_on = next(token for token in range(len(chat.end_tokens) + 1) if token not in chat.end_tokens)

    def run() -> None:
        generate(chat, prompts, tokens, choose=lambda logits, _: torch.full_like(logits.argmax(-1), going_on))

    return _rate(chat, prompts, tokens, run)


def transformers_rate(chat: ChatModel, prompts: Prompts, tokens: int) -> float:
    """Return the tokens a second of `generate` of transformers, with all prompts in one batch; no answer ends early."""
    ids, mask = padded(prompts, chat.end_tokens[0], chat.device, left=True)
    settings = {"do_sample": False, "min_new_tokens": tokens, "max_new_tokens": tokens}

    def run() -> None:
        chat.model.generate(input_ids=ids, attention_mask=mask, pad_token_id=chat.end_tokens[0], **settings)

    return _rate(chat, prompts, tokens, run)


def vllm_rate(chat: ChatModel, prompts: Prompts, tokens: int) -> float | None:
    """Return the tokens a second of vLLM on random weights of the same shape, None if it is not installed.

    It is started beside the loaded model, with most of the memory that is free; its start is not counted.
    """
    if find_spec("vllm") is None:
        return None
    from vllm import LLM, SamplingParams

    settings = {"max_model_len": max(map(len, prompts)) + tokens, "skip_tokenizer_init": True}
    if chat.device.type == "cuda":
        torch.cuda.empty_cache()
        free, total = torch.cuda.mem_get_info(chat.device)
        settings["gpu_memory_utilization"] = SHARE_OF_FREE * free / total
    with tempfile.TemporaryDirectory() as folder:
        chat.model.config.save_pretrained(folder)
        dtype = str(chat.model.dtype).removeprefix("torch.")
        engine = LLM(model=folder, dtype=dtype, load_format="dummy", **settings)
        greedy = SamplingParams(temperature=0.0, max_tokens=tokens, ignore_eos=True, detokenize=False)
        asked = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        return _rate(chat, prompts, tokens, lambda: engine.generate(asked, greedy, use_tqdm=False))


def _rate(chat: ChatModel, prompts: Prompts, tokens: int, run: Callable[[], object]) -> float:
    """Return new tokens a second, the pass over the prompts included; the second of two runs is timed."""
    run()
    return len(prompts) * tokens / timed(run, chat.device)[1]
