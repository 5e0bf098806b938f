"""The speed of one device on a model of the shape of Llama-3.1-8B with random weights: one call, one table.

    python benchmarks/gpu_attribution.py [--device cuda] [--tiny] [--json FILE]

Attribution in seconds a pair and as a share of the peak of a measured matrix product, at 75 and 650 tokens; scaling in
examples a second; generation in tokens a second, beside transformers' `generate` and vLLM, if it is installed. `--tiny`
takes a two-layer model, to try the script on a processor: its numbers say nothing of a large model.
"""

import argparse
import json
import platform
from functools import partial
from pathlib import Path

import torch
from attribution import LLAMA_8B
from generation_rivals import own_rate, transformers_rate, vllm_rate
from transformers import AutoModelForCausalLM, LlamaConfig

from neurontune_core.attribution import engine as engines
from neurontune_core.attribution import setup
from neurontune_core.attribution.encode import EncodedPair
from neurontune_core.attribution.flops import pair_flops, sizes_of
from neurontune_core.attribution.settings import AttributionConfig
from neurontune_core.costs.speed import measure_speed
from neurontune_core.model import tiny
from neurontune_core.model.batches import tokens_that_fit
from neurontune_core.model.devices import choose_devices, devices_in_words
from neurontune_core.model.likelihood import TokenSequence
from neurontune_core.model.load import ChatModel
from neurontune_core.model.throughput import matmul_peak, timed
from neurontune_core.neurons import neuron_counts
from neurontune_core.records import NeuronId, NeuronSet

PROMPT_TOKENS = (75, 650)
RESPONSE, ROWS, REPEATS = 20, 32, 3
NEW_TOKENS = 64


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    parser.add_argument("--tiny", action="store_true", help="a two-layer model, to try the script")
    parser.add_argument("--json", metavar="FILE", help="also write the rows here")
    arguments = parser.parse_args()
    device = choose_devices(arguments.device)[0]
    chat = model_of(device, arguments.tiny)
    rows = [*attribution_rows(chat), *training_rows(chat), *generation_rows(chat)]
    machine = f"{devices_in_words((device,))}, {platform.machine()}, torch {torch.__version__}"
    print(f"{machine}; {sum(weight.numel() for weight in chat.model.parameters()) / 1e9:.2f} billion parameters")
    for name, value, unit in rows:
        print(f"{name:<36} {value:10.4g} {unit}")
    if arguments.json:
        report = {"machine": machine, "rows": [dict(zip(("name", "value", "unit"), row, strict=True)) for row in rows]}
        Path(arguments.json).write_text(json.dumps(report, indent=1), encoding="utf-8")


def model_of(device: torch.device, small: bool) -> ChatModel:
    """Return the random model, made on the device itself."""
    shape = tiny.configuration("llama") if small else LlamaConfig(**LLAMA_8B)
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(shape, dtype=dtype)
    model = model.eval().requires_grad_(False)
    return ChatModel(model, tiny.tokenizer(), device, batch_tokens=tokens_that_fit(model))


def attribution_rows(chat: ChatModel) -> list[tuple[str, float, str]]:
    """Return seconds a pair and the share of peak, at both lengths, of as many pairs as a batch holds."""
    engine = setup.build_engine(AttributionConfig(), chat)
    sizes, peak = (
        sizes_of(chat.model),
        matmul_peak(chat.device, chat.model.dtype, 256 if chat.device.type == "cpu" else 8192),
    )
    rows = []
    for length in PROMPT_TOKENS:
        pairs = [
            EncodedPair(str(i), _tokens(15, i), _tokens(length, i + 1), _tokens(RESPONSE, i + 2)) for i in range(8)
        ]
        batch = [pairs[place] for place in setup.batches(engine, pairs)[0]]
        engines.attribute(engine, batch)
        run = partial(engines.attribute, engine, batch)
        results, seconds = min((timed(run, chat.device) for _ in range(REPEATS)), key=lambda each: each[1])
        work = sum(pair_flops(sizes, pair, result.waves, False) for pair, result in zip(batch, results, strict=True))
        rows.append((f"attribution, {length} tokens", seconds / len(batch), "seconds a pair"))
        rows.append((f"attribution, {length} tokens", work / seconds / peak, "of peak"))
    return rows


def training_rows(chat: ChatModel) -> list[tuple[str, float, str]]:
    """Return examples of scaling a second, and tokens of a step of generation a second in a batch and alone."""
    widths = neuron_counts(chat.model)
    chosen = [NeuronId(layer, place) for layer in range(len(widths) // 2, len(widths)) for place in range(0, 48, 3)]
    neurons = NeuronSet(tuple(chosen[::2]), tuple(chosen[1::2]))
    prompts = [list(_tokens(PROMPT_TOKENS[0], place)) for place in range(ROWS)]
    trained = [TokenSequence(prompt, prompt[:5]) for prompt in prompts]
    speed = measure_speed(chat, neurons, prompts, trained)
    return [
        ("scaling", 1 / (speed.gradient * len(trained[0].tokens)), "examples a second"),
        (f"a step of generation, {ROWS} rows", ROWS / (speed.step + ROWS * speed.row), "tokens a second"),
        ("a step of generation, one row", 1 / (speed.step + speed.row), "tokens a second"),
    ]


def generation_rows(chat: ChatModel) -> list[tuple[str, float, str]]:
    """Return the tokens a second of whole answers, by this project and by other engines on the same prompts."""
    prompts = [list(_tokens(PROMPT_TOKENS[0] - place, place)) for place in range(ROWS)]
    rates = {
        "this project": own_rate(chat, prompts, NEW_TOKENS),
        "transformers": transformers_rate(chat, prompts, NEW_TOKENS),
        "vLLM": vllm_rate(chat, prompts, NEW_TOKENS),
    }
    return [
        (f"{ROWS} answers, {engine}", rate, "tokens a second") for engine, rate in rates.items() if rate is not None
    ]


def _tokens(count: int, seed: int) -> tuple[int, ...]:
    return tuple(torch.randint(0, 250, (count,), generator=torch.Generator().manual_seed(seed)).tolist())


if __name__ == "__main__":
    main()
