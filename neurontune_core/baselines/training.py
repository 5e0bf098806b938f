"""The training data of adapters and the loop that learns them: Adam on the batches and steps of the factors."""

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from neurontune_core.baselines.adapters import Adapter
from neurontune_core.errors import InputError, NumericalError
from neurontune_core.model.load import ChatModel
from neurontune_core.progress import Track, silent
from neurontune_core.records import LabelJudge, PromptPair, Role
from neurontune_core.scaling.episodes import EpisodeSampler, answered
from neurontune_core.scaling.examples import encode_examples
from neurontune_core.scaling.gradient import gradients
from neurontune_core.scaling.losses import Example, JointLoss, PositionWeights, base_states
from neurontune_core.scaling.maml import step_size
from neurontune_core.scaling.own_refusals import commonest_refusal
from neurontune_core.scaling.problem import training_pairs
from neurontune_core.scaling.settings import MamlSettings, ScalingConfig, TrainingSettings
from neurontune_core.scaling.validation import Score, validated_steps

POSITIONS = PositionWeights(3, 8.0)
"""The first tokens decide whether an answer refuses, so they have a greater weight."""

FEW_PROMPTS = 128

Batches = list[list[PromptPair]]
Kind = TypeVar("Kind", bound=Adapter)


def draw_batches(pairs: Sequence[PromptPair], budget: ScalingConfig, labels: LabelJudge) -> Batches:
    """Return the training pairs of every step, with the trained responses, drawn as for the scaling factors.

    If the settings have no steps (a dial), there is one batch with at most `FEW_PROMPTS` prompts of each role.

    Raises:
        InputError: the training split lacks a role, or attacks.
    """
    refusal = commonest_refusal(pairs) if budget.refusal == "own" else ""
    known = answered(training_pairs(pairs, refusal, labels))
    if not isinstance(budget, TrainingSettings):
        return [_few(known, "safety", budget.seed) + _few(known, "utility", budget.seed)]
    support, tasks = (budget.support_batch, budget.tasks_per_step) if isinstance(budget, MamlSettings) else (0, 1)
    sampler = EpisodeSampler(known, budget, support, tasks)
    return [[pair for e in sampler.draw() for pair in e.support + e.query] for _ in range(budget.steps)]


def _few(pairs: Sequence[PromptPair], role: Role, seed: int) -> list[PromptPair]:
    own = [pair for pair in pairs if pair.role == role]
    if not own:
        raise InputError(
            f"baseline.method: the training split has no {role} prompt with a response; check pairs.harmful and "
            "pairs.benign"
        )
    return random.Random(f"{seed}/steering/{role}").sample(own, min(FEW_PROMPTS, len(own)))


def different_pairs(batches: Batches) -> list[PromptPair]:
    """Return the different pairs of all batches, by id."""
    used = {pair.id: pair for batch in batches for pair in batch}
    return [used[name] for name in sorted(used)]


class Objective(Protocol):
    """A loss of training pairs under a model, differentiable in an adapter's weights."""

    @property
    def chat(self) -> ChatModel:
        """The model with the adapter."""
        ...

    def gradients(self, trained: Sequence[Tensor], batch: Sequence[PromptPair]) -> tuple[list[Tensor], float]:
        """Return the loss's gradients in the trained weights, and the loss."""
        ...


@dataclass(frozen=True)
class Imitation:
    """The loss of the scaling factors: `L_safety + lambda L_utility` (`scaling.losses`)."""

    chat: ChatModel
    examples: Mapping[str, Example]
    base: Mapping[str, Tensor]
    utility_weight: float

    def gradients(self, trained: Sequence[Tensor], batch: Sequence[PromptPair]) -> tuple[list[Tensor], float]:
        """Return the loss's gradients in the trained weights, and the loss in nats."""
        weights: dict[Role, float] = {"safety": 1.0, "utility": self.utility_weight}
        mine = [self.examples[pair.id] for pair in batch]
        loss = JointLoss(self.base, weights, POSITIONS)
        found, losses = gradients(self.chat, nullcontext, trained, mine, loss)
        return found, sum(weights[role] * loss for role, loss in losses.items())


def imitation(chat: ChatModel, batches: Batches, budget: TrainingSettings) -> Imitation:
    """Return the imitation loss for the pairs of all batches."""
    examples = {e.id: e for e in encode_examples(chat, different_pairs(batches), budget.response_tokens)}
    base = base_states(chat, [e for e in examples.values() if e.role == "utility"])
    return Imitation(chat, examples, base, budget.utility_weight)


def learn(
    new: Kind,
    objective: Objective,
    batches: Batches,
    learning_rate: float,
    budget: TrainingSettings,
    score: Callable[[ChatModel], Score],
    track: Track = silent,
) -> tuple[Kind, dict[str, float]]:
    """Train an adapter by Adam, a step a batch, and keep the weights that score best on the validation split.

    The step size falls from `learning_rate` to 0 on a cosine. Validations and patience are those of the factors.

    Returns:
        The adapter with weights, and facts: `loss_last`, `steps` taken, `best_step` and the validation's columns.

    Raises:
        NumericalError: a gradient is not finite.
    """
    due = validated_steps(len(batches), budget)
    best, best_value, stale = new, float("-inf"), 0
    facts: dict[str, float] = {"steps": float(len(batches))}
    with new.put_in(objective.chat) as adapter:
        trained = [weight for weight in adapter.parameters() if weight.requires_grad]
        optimiser = torch.optim.Adam(trained, lr=learning_rate)
        for number, batch in enumerate(track(batches, f"learning {type(new).__name__}", len(batches)), 1):
            found, loss = objective.gradients(trained, batch)
            if not all(bool(torch.isfinite(gradient).all()) for gradient in found):
                raise NumericalError(
                    f"baseline: the gradient at step {number} is not finite with a step size of {learning_rate:g}; "
                    "lower baseline.learning_rate"
                )
            for group in optimiser.param_groups:
                group["lr"] = step_size(learning_rate, number - 1, len(batches))
            for weight, gradient in zip(trained, found, strict=True):
                weight.grad = gradient
            optimiser.step()
            facts["loss_last"] = loss
            if number in due:
                now = score(objective.chat)
                stale += 1
                if now.value > best_value:
                    best, best_value, stale = new.taken(adapter), now.value, 0
                    facts |= {"best_step": float(number)} | now.columns
                if budget.patience and stale >= budget.patience:
                    facts["steps"] = float(number)
                    break
        return (best if best.weights else new.taken(adapter)), facts
