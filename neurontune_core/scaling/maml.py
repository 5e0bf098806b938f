"""Model-agnostic meta-learning of the factors: algorithm 1 of the paper (arXiv 2508.09473)."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from neurontune_core.errors import NumericalError
from neurontune_core.neurons import scaled
from neurontune_core.records import Role
from neurontune_core.scaling.bounds import bounded
from neurontune_core.scaling.episodes import EpisodeSampler, answered
from neurontune_core.scaling.examples import encode_examples
from neurontune_core.scaling.gradient import Sums, gradients
from neurontune_core.scaling.losses import Example, JointLoss, PositionWeights
from neurontune_core.scaling.problem import Problem
from neurontune_core.scaling.settings import MamlSettings
from neurontune_core.scaling.state import State

ADAM_BETAS = (0.9, 0.99)
"""A run has a few dozen steps. With the usual 0.999 the second moment would still be dominated by its start."""

TASKS, QUERY = "tasks", "query"
"""Names of the sums in the state: over the finished tasks of a step, and over the parts of a task's query batch."""

Batch = Sequence[Example]


class Maml:
    """The loop with inner and outer steps; a task is an attack category.

    The inner loop updates safety factors by the safety loss and utility factors by the utility loss, `inner_steps`
    times on the support batch of a task:
    `alpha_s' = alpha_s - eta grad_s L_safety(alpha)`, `alpha_u' = alpha_u - eta grad_u L_utility(alpha)`.
    The outer loop updates alpha by Adam with the gradient of `L_safety + lambda L_utility` at alpha', on a query batch
    with other attacks of the category. The gradient is taken in alpha' (first order), or in alpha through the inner
    steps (second order).
    """

    def __init__(self, problem: Problem, settings: MamlSettings):
        self._problem, self._settings = problem, settings
        sampler = EpisodeSampler(answered(problem.pairs), settings, settings.support_batch, settings.tasks_per_step)
        self._episodes = [sampler.draw() for _ in range(settings.steps)]
        used = {pair.id: pair for step in self._episodes for e in step for pair in e.support + e.query}
        examples = encode_examples(problem.chat, [used[name] for name in sorted(used)], settings.response_tokens)
        self._examples = {example.id: example for example in examples}
        self._base = problem.base(examples)

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return len(self._episodes)

    def start(self) -> State:
        """Return the first factors: safety factors above 1, utility factors below."""
        neurons, settings = self._problem.neurons, self._settings
        starts = [settings.safety_start] * len(neurons.safety) + [settings.utility_start] * len(neurons.utility)
        alpha = bounded(torch.tensor(starts, device=self._problem.chat.device), neurons, settings)
        return State(alpha, alpha.clone())

    def step(self, state: State, save: Callable[[], None]) -> dict[str, float]:
        """Take an outer step, and return its losses and the gradient's norm.

        Raises:
            NumericalError: the gradient is not finite.
        """
        gradient, losses, tokens = self._sum_over_tasks(state, save)
        if not bool(torch.isfinite(gradient).all()):
            raise NumericalError(
                f"scaling: the gradient at step {state.steps} is not finite; lower scaling.outer_learning_rate "
                f"({self._settings.outer_learning_rate}) or scaling.inner_learning_rate "
                f"({self._settings.inner_learning_rate})"
            )
        self._move(state, gradient)
        return {
            "loss": losses["safety"] + self._settings.utility_weight * losses["utility"],
            "safety_loss": losses["safety"],
            "utility_loss": losses["utility"],
            "gradient_norm": float(gradient.norm()),
            "tokens": float(tokens),
        }

    def _sum_over_tasks(self, state: State, save: Callable[[], None]) -> tuple[Tensor, dict[Role, float], int]:
        """Return the mean gradient and losses over the tasks of a step, and the tokens read.

        The state keeps the sums over the tasks and over the parts of a query batch. A killed run resumes with them, and
        repeats only the inner loop of the task at which it was killed.
        """
        tasks = [
            ([self._examples[pair.id] for pair in episode.support], [self._examples[pair.id] for pair in episode.query])
            for episode in self._episodes[state.steps]
        ]

        def keep(sums: Sums) -> None:
            _keep(state, QUERY, sums)
            save()

        total = _kept(state, TASKS) or Sums([torch.zeros_like(state.alpha)], {"safety": 0.0, "utility": 0.0})
        for support, query in tasks[total.parts :]:
            found, values = episode_gradient(
                self._problem, state.alpha, support, query, self._base, self._settings, _kept(state, QUERY), keep
            )
            losses = {role: total.losses[role] + value / len(tasks) for role, value in values.items()}
            total = Sums([total.gradients[0] + found / len(tasks)], total.losses | losses, total.parts + 1)
            _keep(state, TASKS, total)
            _drop(state, QUERY)
            save()
        tokens = sum(_tokens(support) * self._settings.inner_steps + _tokens(query) for support, query in tasks)
        return total.gradients[0], total.losses, tokens

    def _move(self, state: State, gradient: Tensor) -> None:
        """Take a step of Adam, and drop the sums of which the gradient was made."""
        _drop(state, TASKS)
        place = state.alpha.clone().requires_grad_()
        rate = step_size(self._settings.outer_learning_rate, state.steps, self.steps)
        optimiser = torch.optim.Adam([place], lr=rate, betas=ADAM_BETAS)
        if state.tensors:
            optimiser.state[place] = dict(state.tensors)
        place.grad = gradient
        optimiser.step()
        state.tensors = dict(optimiser.state[place])
        state.alpha = bounded(place.detach(), self._problem.neurons, self._settings)


def _keep(state: State, name: str, sums: Sums) -> None:
    """Put sums into the state under a name."""
    state.tensors[name] = sums.gradients[0]
    state.notes[name] = {"losses": sums.losses, "parts": sums.parts}


def _kept(state: State, name: str) -> Sums | None:
    """Return the sums that the state has under a name, if any."""
    return Sums([state.tensors[name]], **state.notes[name]) if name in state.notes else None


def _drop(state: State, name: str) -> None:
    del state.tensors[name], state.notes[name]


def step_size(first: float, step: int, steps: int) -> float:
    """Return the step size at a step counted from 0: it falls from `first` to 0 on a cosine."""
    return first * (1 + math.cos(math.pi * step / steps)) / 2


def episode_gradient(
    problem: Problem,
    alpha: Tensor,
    support: Batch,
    query: Batch,
    base: Mapping[str, Tensor],
    settings: MamlSettings,
    done: Sums | None = None,
    keep: Callable[[Sums], object] = lambda sums: None,
) -> tuple[Tensor, dict[Role, float]]:
    """Return an episode's meta-gradient `[neuron]` and its query losses in nats.

    `grad L(alpha'; query)`, with `L = L_safety + lambda L_utility`, taken in alpha' (first order) or in alpha through
    the inner steps (second order). `done` and `keep` are those of `gradients`, for the query batch.
    """
    second = settings.order == "second"
    start = alpha.detach().requires_grad_()
    adapted = adapt(problem, start, support, base, settings)
    if not second:
        adapted = adapted.detach().requires_grad_()
    weights: dict[Role, float] = {"safety": 1.0, "utility": settings.utility_weight}
    gradient, losses = joint_gradient(problem, adapted, query, base, weights, settings, done=done, keep=keep)
    if second:
        # chain rule through the inner steps: d L(alpha') / d alpha = (d alpha' / d alpha)^T dL / d alpha'
        (gradient,) = torch.autograd.grad(adapted, start, grad_outputs=gradient)
    return gradient.detach(), losses


def adapt(
    problem: Problem, alpha: Tensor, support: Batch, base: Mapping[str, Tensor], settings: MamlSettings
) -> Tensor:
    """Return alpha' `[neuron]` after the inner steps on support batches; in second order it depends on alpha.

    Safety factors move along the gradient of the safety loss alone, utility factors along that of the utility loss.
    """
    second = settings.order == "second"
    safety = torch.arange(len(alpha), device=alpha.device) < len(problem.neurons.safety)
    own: dict[Role, Tensor] = {"safety": safety, "utility": ~safety}
    place = alpha
    for _ in range(settings.inner_steps):
        move = torch.zeros_like(place)
        for role, mask in own.items():
            batch = [example for example in support if example.role == role]
            found, _ = joint_gradient(problem, place, batch, base, {role: 1.0}, settings, create_graph=second)
            move = move + torch.where(mask, found, 0.0)
        place = place - settings.inner_learning_rate * move
        if not second:
            place = place.detach().requires_grad_()
    return place


def joint_gradient(
    problem: Problem,
    alpha: Tensor,
    examples: Batch,
    base: Mapping[str, Tensor],
    role_weights: Mapping[Role, float],
    settings: MamlSettings,
    create_graph: bool = False,
    done: Sums | None = None,
    keep: Callable[[Sums], object] = lambda sums: None,
) -> tuple[Tensor, dict[Role, float]]:
    """Return the gradient `[neuron]` of the weighted losses in alpha, and both losses in nats."""

    def change() -> AbstractContextManager[None]:
        return scaled(problem.chat.model, problem.neurons, alpha)

    positions = PositionWeights(settings.early_positions, settings.early_weight)
    loss = JointLoss(base, role_weights, positions)
    (gradient,), means = gradients(problem.chat, change, [alpha], examples, loss, create_graph, done, keep)
    return gradient, means


def _tokens(batch: Batch) -> int:
    return sum(len(example.sequence.tokens) for example in batch)
