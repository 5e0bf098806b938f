"""A short calibration: seconds for a token that is read, a token that is differentiated, and a step of generation."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from neurontune_core.costs.work import Work, generating
from neurontune_core.model import head
from neurontune_core.model.generate import generate, generation_batches
from neurontune_core.model.likelihood import SharedPrefix, TokenSequence, response_hidden
from neurontune_core.model.load import ChatModel
from neurontune_core.model.throughput import timed
from neurontune_core.neurons import scaled
from neurontune_core.records import NeuronSet
from neurontune_core.scaling.gradient import explicit_attention

STEPS = 8
"""Steps of generation that are timed."""
GROUP_TOKENS = 1536
"""Most tokens of a calibration batch on a processor, where a full batch would take long."""
SOLVED = (512, 4096)
"""Margins and neurons of the product that is timed for a solve."""


@dataclass(frozen=True)
class Speed:
    """Seconds for a token that is read, for one that is differentiated, for a step of generation and for a row in it.

    `bytes_per_second` is the speed at which a matrix-vector product reads the matrix.
    """

    forward: float
    gradient: float = 0.0
    step: float = 0.0
    row: float = 0.0
    bytes_per_second: float = 1.0

    def seconds(self, work: Work) -> float:
        """Return the seconds that some work takes."""
        own = self.forward * work.forward + self.gradient * work.gradient
        return own + self.step * work.steps + self.row * work.rows


def reading_speed(chat: ChatModel, prompts: Sequence[Sequence[int]]) -> Speed:
    """Return the seconds for a token that is read without gradients, from reading a batch of the prompts."""
    group = _middle(chat, prompts, 1)
    _time(chat, group[:1], 1)
    return Speed(forward=_time(chat, group, 1) / generating(group, 1, chat.generation_tokens).forward)


def measure_speed(
    chat: ChatModel,
    neurons: NeuronSet,
    prompts: Sequence[Sequence[int]],
    trained: Sequence[TokenSequence],
) -> Speed:
    """Return the speed of a model, from reading, generating and differentiating one batch each once or twice.

    Args:
        chat: the model.
        neurons: as many neurons as will be scaled.
        prompts: prompts that the model answers.
        trained: examples on which the model is differentiated.
    """
    group = _middle(chat, prompts, STEPS + 1)
    read = reading_speed(chat, prompts).forward
    alone, alone_read = (_time(chat, group[:1], count) for count in (STEPS + 1, 1))
    together, together_read = (_time(chat, group, count) for count in (STEPS + 1, 1))
    one, all_of_them = max(alone - alone_read, 1e-9) / STEPS, max(together - together_read, 1e-9) / STEPS
    row = max(0.0, all_of_them - one) / max(1, len(group) - 1)
    return Speed(read, _gradient(chat, neurons, trained), max(0.0, one - row), row, _bandwidth(chat))


def _middle(chat: ChatModel, prompts: Sequence[Sequence[int]], new_tokens: int) -> list[Sequence[int]]:
    """Return rows of the batch of middling size that the prompts are answered in."""
    batches = generation_batches(prompts, new_tokens, chat.generation_tokens)
    groups = sorted(([prompts[i] for i in batch] for batch in batches), key=lambda each: sum(map(len, each)))
    group = groups[len(groups) // 2]
    if chat.device.type != "cpu":
        return group
    return group[: max(2, GROUP_TOKENS // max(map(len, group)))]


def _time(chat: ChatModel, group: Sequence[Sequence[int]], new_tokens: int) -> float:
    """Return the seconds for a batch of answers, none of which ends early."""
    going_on = next(token for token in range(len(chat.end_tokens) + 1) if token not in chat.end_tokens)

    def choose(logits: Tensor, places: Sequence[int]) -> Tensor:
        return torch.full_like(logits.argmax(-1), going_on)

    whole = replace(chat, batch_tokens=1 << 40)
    return timed(lambda: generate(whole, group, new_tokens, choose=choose), chat.device)[1]


def _gradient(chat: ChatModel, neurons: NeuronSet, trained: Sequence[TokenSequence]) -> float:
    """Return the seconds for a differentiated token, each row with its own factors; 0 without examples."""
    if not trained:
        return 0.0
    wanted = min(chat.batch_tokens // 2, GROUP_TOKENS // 2) if chat.device.type == "cpu" else chat.batch_tokens // 2
    middle = sorted(trained, key=lambda each: len(each.tokens))[len(trained) // 4 :]
    count = max(1, min(len(middle), wanted // len(middle[-1].tokens)))
    batch = middle[len(middle) // 3 :][:count] or middle[:count]
    tokens = len(batch) * max(len(each.tokens) for each in batch)

    def run() -> Tensor:
        factors = torch.ones(len(batch), len(neurons.all), device=chat.device, requires_grad=True)
        with torch.enable_grad(), explicit_attention(chat.model):
            with scaled(chat.model, neurons, factors) if neurons.all else nullcontext():
                hidden, targets, _ = response_hidden(chat, batch, SharedPrefix(0, None))
            logs = torch.log_softmax(head.logits(chat.model, hidden), dim=-1).gather(-1, targets[:, None])
            return torch.autograd.grad(logs.sum(), factors)[0] if neurons.all else logs.detach()

    return min(timed(run, chat.device)[1] for _ in range(2)) / tokens


def _bandwidth(chat: ChatModel) -> float:
    margins, neurons = SOLVED
    slopes, factors = torch.ones(margins, neurons, device=chat.device), torch.ones(neurons, device=chat.device)
    seconds = min(timed(lambda: slopes @ factors, chat.device)[1] for _ in range(3))
    return float(slopes.nbytes / max(seconds, 1e-9))
