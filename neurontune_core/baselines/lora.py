"""LoRA fine-tuning by peft, with as many parameters and steps as the scaling factors have."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from neurontune_core.errors import InputError
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import coverage, down_projections, layers_path
from neurontune_core.progress import Track, silent
from neurontune_core.records import LabelJudge, PromptPair, Role
from neurontune_core.scaling.episodes import EpisodeSampler, answered
from neurontune_core.scaling.examples import encode
from neurontune_core.scaling.gradient import gradients
from neurontune_core.scaling.losses import JointLoss, PositionWeights, base_states
from neurontune_core.scaling.maml import step_size
from neurontune_core.scaling.problem import training_pairs
from neurontune_core.scaling.settings import TrainingSettings
from neurontune_core.scaling.validation import draw_prompts, validate, with_base_answers

RANK = 1
POSITIONS = PositionWeights(3, 8.0)
"""Refusing is decided in the first tokens, which therefore weigh more."""


@dataclass(frozen=True)
class Lora:
    """Low-rank matrices, `W <- W + B A` on the down projections of some layers; peft names the `weights`."""

    targets: tuple[str, ...]
    weights: Mapping[str, Tensor]

    @property
    def parameters(self) -> int:
        """Entries of all matrices."""
        return sum(weight.numel() for weight in self.weights.values())

    @contextmanager
    def applied(self, chat: ChatModel) -> Iterator[ChatModel]:
        """Lend the adapted model; undone on exit, after an error too."""
        from peft import set_peft_model_state_dict

        with adapted(chat, self.targets) as adapter:
            set_peft_model_state_dict(adapter, dict(self.weights))
            yield chat


@contextmanager
def adapted(chat: ChatModel, targets: Sequence[str]) -> Iterator[Any]:
    """Put a new adapter into the model, in place, and lend it; taken out on exit, after an error too.

    Raises:
        InputError: peft is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise InputError("baseline.method: lora needs peft; pip install 'neurontune[studies]'") from error
    # experts have no down projection that peft could adapt, which is told here
    transposed = any(isinstance(module, Conv1D) for module in down_projections(chat.model).values())
    config = LoraConfig(r=RANK, lora_alpha=RANK, target_modules=list(targets), fan_in_fan_out=transposed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        adapter = get_peft_model(chat.model, config)
    try:
        yield adapter
    finally:
        adapter.unload()


def targets_for(chat: ChatModel, parameters: int) -> tuple[str, ...]:
    """Return the paths of as many down projections, evenly spread, as have about so many parameters at rank 1."""
    rows = [row for row in coverage(chat.model) if not row.problem]
    hidden = chat.model.config.get_text_config().hidden_size
    each = RANK * (rows[0].neurons + hidden)
    count = min(max(1, round(parameters / each)), len(rows))
    chosen = [rows[math.floor((i + 0.5) * len(rows) / count)] for i in range(count)]
    return tuple(f"{layers_path(chat.model)}.{row.layer}.{row.path}" for row in chosen)


def learn_lora(
    pairs: Sequence[PromptPair],
    parameters: int,
    budget: TrainingSettings,
    learning_rate: float,
    chat: ChatModel,
    batch_tokens: int,
    labels: LabelJudge,
    track: Track = silent,
) -> tuple[Lora, dict[str, float]]:
    """Fine-tune about so many parameters by Adam on the batches and steps of the scaling factors.

    The step size falls to 0 on a cosine; the matrices that score best on the validation split are kept.

    Raises:
        InputError: peft is not installed, or a split lacks a role or attacks.
    """
    sampler = EpisodeSampler(answered(training_pairs(pairs, "", labels)), budget)
    steps = [[pair for episode in sampler.draw() for pair in episode.query] for _ in range(budget.steps)]
    used = {pair.id: pair for step in steps for pair in step}
    examples = {e.id: e for e in encode(chat, [used[name] for name in sorted(used)], budget.response_tokens)}
    base = base_states(chat, [e for e in examples.values() if e.role == "utility"], batch_tokens)
    chosen, _ = draw_prompts(pairs, budget)
    choosing = with_base_answers(chat, chosen, labels, budget, batch_tokens)
    every = max(1, -(-budget.steps // max(1, budget.validations)))
    weights: dict[Role, float] = {"safety": 1.0, "utility": budget.utility_weight}
    loss = JointLoss(base, weights, POSITIONS)
    targets = targets_for(chat, parameters)
    best: tuple[float, Lora] | None = None
    facts = {"steps": float(budget.steps)}
    with adapted(chat, targets) as adapter:
        trained = [weight for weight in adapter.parameters() if weight.requires_grad]
        optimiser = torch.optim.Adam(trained, lr=learning_rate)
        for number, step in enumerate(track(steps, "learning LoRA", len(steps)), 1):
            batch = [examples[pair.id] for pair in step]
            found, losses = gradients(chat, nullcontext, trained, batch, loss, batch_tokens)
            for group in optimiser.param_groups:
                group["lr"] = step_size(learning_rate, number - 1, len(steps))
            for weight, gradient in zip(trained, found, strict=True):
                weight.grad = gradient
            optimiser.step()
            facts["loss_last"] = losses["safety"] + budget.utility_weight * losses["utility"]
            if number % every == 0 or number == len(steps):
                score = validate(chat, choosing, labels, budget, batch_tokens)
                if best is None or score.value > best[0]:
                    best = (score.value, _taken(adapter, targets))
                    facts |= {"best_step": float(number)} | score.columns
        return best[1] if best else _taken(adapter, targets), facts


def _taken(adapter: Any, targets: Sequence[str]) -> Lora:
    from peft import get_peft_model_state_dict

    state = get_peft_model_state_dict(adapter)
    return Lora(tuple(targets), {name: value.detach().float().cpu().clone() for name, value in state.items()})
