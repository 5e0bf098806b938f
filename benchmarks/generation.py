"""Generation side by side: this project's, and `model.generate` in file order at batch 16, both greedy.

    python benchmarks/generation.py [--prompts N] [--tokens N] [--threads N] [--root FOLDER] [--json FILE]

The prompts are shipped queries, plain and wrapped in attacks by turns, so that their lengths are mixed as in an
evaluation. Processor seconds are given beside wall-clock ones: on a shared machine they are the steadier of the two.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from neurontune_core.config import RuntimeConfig
from neurontune_core.data import corpus
from neurontune_core.model.batches import padded
from neurontune_core.model.generate import generate
from neurontune_core.model.load import ChatModel, load
from neurontune_core.model.settings import ModelConfig
from neurontune_core.model.source import describe

BATCH = 16
WIDTH = 24

Ids = list[list[int]]


@dataclass
class Row:
    """One line of the result."""

    engine: str
    number_format: str
    tokens: int
    wall_seconds: float
    processor_seconds: float
    tokens_per_second: float
    times_plain: float
    same_completions: str


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    reference = describe(ModelConfig())
    exact = load(reference, arguments.root, torch.device("cpu"))
    prompts = [exact.prompt_tokens(text) for text in _texts(arguments.prompts)]
    lengths = sorted(map(len, prompts))
    print(f"{len(prompts)} prompts of {lengths[0]} to {lengths[-1]} tokens, median {lengths[len(lengths) // 2]}")
    print(f"at most {arguments.tokens} new tokens, {arguments.threads} threads, {platform.processor() or 'cpu'}\n")

    def ours(chat: ChatModel) -> Ids:
        return generate(chat, prompts, arguments.tokens)

    rows: list[Row] = []
    plain = _measure(
        "model.generate, batch 16", exact, lambda chat: _plain(chat, prompts, arguments.tokens), rows, None
    )
    _measure("this project", exact, ours, rows, plain)
    if reference.working_dtype != reference.dtype:
        _measure("this project", load(reference, arguments.root, torch.device("cpu"), working=True), ours, rows, plain)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps([asdict(row) for row in rows], indent=1))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=48)
    parser.add_argument("--tokens", type=int, default=64, help="longest completion")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--root", default=RuntimeConfig().root, help="artifact root of the converted model")
    parser.add_argument("--json", metavar="FILE", help="also write the rows here")
    return parser.parse_args()


def _texts(count: int) -> list[str]:
    queries = [query for both in zip(corpus.harmful_queries(), corpus.benign_queries(), strict=False) for query in both]
    attacks = corpus.attacks()
    step = max(1, len(queries) // count) | 1  # odd, so that both roles are met
    chosen = queries[::step][:count]
    return [
        query.text if number % 3 == 0 else attacks[(number * 7) % len(attacks)].wrap(query.text)
        for number, query in enumerate(chosen)
    ]


def _plain(chat: ChatModel, prompts: Sequence[Sequence[int]], tokens: int) -> Ids:
    """What one writes first: left-padded batches of 16 in file order, each run until its last row has ended."""
    completions: Ids = []
    for start in range(0, len(prompts), BATCH):
        ids, mask = padded(prompts[start : start + BATCH], chat.end_tokens[0], chat.device, left=True)
        made = chat.model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=tokens,
            do_sample=False,
            eos_token_id=chat.end_tokens,
            pad_token_id=chat.end_tokens[0],
        )
        for row in made[:, ids.shape[1] :].tolist():
            ends = [place for place, token in enumerate(row) if token in chat.end_tokens]
            completions.append(row[: ends[0]] if ends else row)
    return completions


def _measure(engine: str, chat: ChatModel, run: Callable[[ChatModel], Ids], rows: list[Row], plain: Ids | None) -> Ids:
    sum(float(parameter.float().sum()) for parameter in chat.model.parameters())  # read the mapped weights in
    wall, processor = time.perf_counter(), time.process_time()
    completions = run(chat)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    tokens = sum(map(len, completions))
    rate = tokens / wall
    same = sum(a == b for a, b in zip(completions, plain or completions, strict=True))
    row = Row(
        engine=engine,
        number_format=str(chat.model.dtype).removeprefix("torch."),
        tokens=tokens,
        wall_seconds=round(wall, 2),
        processor_seconds=round(processor, 2),
        tokens_per_second=round(rate, 1),
        times_plain=round(rate / rows[0].tokens_per_second, 2) if rows else 1.0,
        same_completions=f"{same}/{len(completions)}",
    )
    if not rows:
        print("  ".join(f"{name:>{WIDTH}}" for name in asdict(row)))
    print("  ".join(f"{value:>{WIDTH}}" for value in asdict(row).values()), flush=True)
    rows.append(row)
    return completions


if __name__ == "__main__":
    main()
