"""The dial: one factor for each set of neurons, chosen on a grid without training."""

from collections.abc import Callable

import torch

from neurontune_core.scaling.problem import Problem
from neurontune_core.scaling.settings import DialSettings
from neurontune_core.scaling.state import State


class Dial:
    """One factor for all safety neurons and one for all utility neurons; each step tries one pair of factors.

    Use it with the neurons that carry refusal and those that work against it
    (`selection.utility_set = "opposes_refusal"`): the first are amplified and the second damped, and validation chooses
    both factors.
    """

    def __init__(self, problem: Problem, settings: DialSettings):
        self._problem = problem
        self._grid = [(safety, other) for safety in settings.safety_factors for other in settings.utility_factors]

    @property
    def steps(self) -> int:
        """The number of pairs of factors."""
        return len(self._grid)

    def start(self) -> State:
        """Return factors of 1: the base model."""
        alpha = torch.ones(len(self._problem.neurons.all), device=self._problem.chat.device)
        return State(alpha, alpha.clone())

    def step(self, state: State, save: Callable[[], None]) -> dict[str, float]:
        """Set the factors to the next pair of the grid, and return it."""
        safety, other = self._grid[state.steps]
        count = len(self._problem.neurons.safety)
        state.alpha = torch.cat(
            [torch.full_like(state.alpha[:count], safety), torch.full_like(state.alpha[count:], other)]
        )
        return {"safety_factor": safety, "utility_factor": other}
