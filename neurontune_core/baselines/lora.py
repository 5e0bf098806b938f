"""LoRA fine-tuning by peft, with as many parameters and steps as the scaling factors have."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from neurontune_core.config import ScalingConfig
from neurontune_core.errors import InputError
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import coverage, down_projections, layers_path
from neurontune_core.progress import Track, silent
from neurontune_core.records import PromptPair
from neurontune_core.scaling.episodes import EpisodeSampler, answered, batches_of, encode_episodes
from neurontune_core.scaling.gradient import gradients
from neurontune_core.scaling.losses import base_states
from neurontune_core.scaling.outer import step_size
from neurontune_core.scaling.validation import RefusalJudge, validate, validation_prompts

RANK = 1


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
    config: ScalingConfig,
    learning_rate: float,
    chat: ChatModel,
    batch_tokens: int,
    track: Track = silent,
    refuses: RefusalJudge | None = None,
) -> tuple[Lora, dict[str, float]]:
    """Fine-tune about so many parameters by Adam on the losses, batches and steps of the scaling factors.

    Support and query batches are one batch here: there is no inner loop. The step size falls to 0 on a cosine; with a
    judge, the matrices that score best on the validation split are kept.

    Raises:
        InputError: peft is not installed, or a split lacks a role or attacks.
    """
    sampler = EpisodeSampler(answered([pair for pair in pairs if pair.split == "train"]), config, config.seed)
    steps = [sampler.draw() for _ in range(config.steps)]
    examples = encode_episodes(chat, [episode for step in steps for episode in step], config)
    base = base_states(chat, [e for e in examples.values() if e.role == "utility"], batch_tokens)
    prompts = validation_prompts(pairs, config) if refuses and config.validate_every else []
    targets = targets_for(chat, parameters)
    best: tuple[float, Lora] | None = None
    facts = {"steps": float(config.steps)}
    with adapted(chat, targets) as adapter:
        trained = [weight for weight in adapter.parameters() if weight.requires_grad]
        optimiser = torch.optim.Adam(trained, lr=learning_rate)
        for number, step in enumerate(track(steps, "learning LoRA", len(steps)), 1):
            batch = [example for episode in step for part in batches_of(episode, examples) for example in part]
            found, losses = gradients(chat, nullcontext, trained, batch, base, config, batch_tokens)
            for group in optimiser.param_groups:
                group["lr"] = step_size(learning_rate, number - 1, len(steps))
            for weight, gradient in zip(trained, found, strict=True):
                weight.grad = gradient
            optimiser.step()
            facts["loss_last"] = losses["safety"] + config.utility_weight * losses["utility"]
            if refuses and prompts and (number % config.validate_every == 0 or number == len(steps)):
                score = validate(chat, prompts, refuses, config, batch_tokens).su_f1
                if best is None or score > best[0]:
                    best = (score, _taken(adapter, targets))
                    facts |= {"best_step": float(number), "validation_su_f1": score}
        return best[1] if best else _taken(adapter, targets), facts


def _taken(adapter: Any, targets: Sequence[str]) -> Lora:
    from peft import get_peft_model_state_dict

    state = get_peft_model_state_dict(adapter)
    return Lora(tuple(targets), {name: value.detach().float().cpu().clone() for name, value in state.items()})
