"""An outer step of margin_fit: measure new prompts at the present factors, then solve for new factors."""

from collections.abc import Callable

import torch

from neurontune_core.errors import NumericalError
from neurontune_core.scaling.bounds import role_bounds
from neurontune_core.scaling.episodes import EpisodeSampler
from neurontune_core.scaling.examples import encode_examples
from neurontune_core.scaling.margin_fit.margins import Margins, join
from neurontune_core.scaling.margin_fit.measure import measure_margins, openings_of, parts_of
from neurontune_core.scaling.margin_fit.solve import solve
from neurontune_core.scaling.problem import Problem
from neurontune_core.scaling.settings import MarginFitSettings
from neurontune_core.scaling.state import State


class MarginFit:
    """Fits the factors to the margins of all prompts measured so far.

    A step draws prompts of one attack category, measures their margins at the present factors, part by part, and then
    solves for the factors that minimise the loss of all margins measured in this run. A run that was killed within a
    step resumes with the parts not yet measured.
    """

    def __init__(self, problem: Problem, settings: MarginFitSettings):
        self._problem, self._settings = problem, settings
        sampler = EpisodeSampler(problem.pairs, settings)
        episodes = [episode for _ in range(settings.steps) for episode in sampler.draw()]
        used = {pair.id: pair for episode in episodes for pair in episode.query}
        examples = {
            e.id: e for e in encode_examples(problem.chat, [used[i] for i in sorted(used)], settings.response_tokens)
        }
        every = settings.finished_every
        self._parts = [
            parts_of(
                [examples[pair.id] for pair in episode.query],
                settings.kept_share,
                finished=bool(every) and step % every == 0,
            )
            for step, episode in enumerate(episodes)
        ]
        kept = [part for parts in self._parts for part in parts if part.kind == "keep"]
        self._base = problem.base(example for part in kept for example in part.examples)
        self._refusals = openings_of(problem.chat, problem.openings, settings.opening_tokens)
        self._bounds = role_bounds(problem.neurons, settings)

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return len(self._parts)

    def start(self) -> State:
        """Return factors of 1: the base model."""
        alpha = torch.ones(len(self._problem.neurons.all), device=self._problem.chat.device)
        return State(alpha, alpha.clone())

    def step(self, state: State, save: Callable[[], None]) -> dict[str, float]:
        """Measure a step's prompts, solve for new factors, and return the losses of the new prompts before the solve.

        Raises:
            NumericalError: a margin is not finite.
        """
        parts = self._parts[state.steps]
        for part in parts[_measured(state) :]:
            found = measure_margins(self._problem, state.alpha, part, self._base, self._refusals)
            if not bool(torch.isfinite(found.slope).all() and torch.isfinite(found.offset).all()):
                raise NumericalError(
                    f"scaling: a margin at step {state.steps} is not finite; lower scaling.prior_width "
                    f"({self._settings.prior_width}) or raise scaling.damping ({self._settings.damping})"
                )
            _keep(state, "new", join([*_kept(state, "new"), found]))
            state.notes["parts"] = _measured(state) + 1
            save()
        (new,) = _kept(state, "new")
        row = self._row(state, new)
        row["tokens"] = float(sum(len(e.sequence.tokens) for part in parts for e in part.examples))
        _keep(state, "all", join([*_kept(state, "all"), new]))
        _drop(state, "new")
        (every,) = _kept(state, "all")
        state.alpha = solve(every, state.alpha, self._bounds, self._settings)
        state.notes["parts"] = 0
        return row

    def _row(self, state: State, new: Margins) -> dict[str, float]:
        place = state.alpha.detach().clone().requires_grad_()
        with torch.enable_grad():
            each = new.losses(place)
            refuse, answer = (each[new.of(kind)].mean() for kind in ("refuse", "answer"))
            loss = refuse + self._settings.utility_weight * answer
            (gradient,) = torch.autograd.grad(loss, place)
        return {
            "loss": float(loss.detach()),
            "safety_loss": float(refuse.detach()),
            "utility_loss": float(answer.detach()),
            "gradient_norm": float(gradient.norm()),
        }


def _measured(state: State) -> int:
    """Return how many parts of the present step have been measured."""
    return int(state.notes.get("parts", 0))


def _kept(state: State, name: str) -> list[Margins]:
    """Return the margins that the state holds under a name; an empty list if there are none."""
    if f"{name}.slope" not in state.tensors:
        return []
    slope, offset, kind = (state.tensors[f"{name}.{field}"] for field in ("slope", "offset", "kind"))
    return [Margins(slope, offset, kind, tuple(state.notes[name]))]


def _keep(state: State, name: str, margins: Margins) -> None:
    state.tensors |= {f"{name}.{field}": getattr(margins, field) for field in ("slope", "offset", "kind")}
    state.notes[name] = list(margins.examples)


def _drop(state: State, name: str) -> None:
    for field in ("slope", "offset", "kind"):
        del state.tensors[f"{name}.{field}"]
    del state.notes[name]
