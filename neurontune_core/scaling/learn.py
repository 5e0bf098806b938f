"""Learn one scaling factor for each selected neuron: the loop that all methods share."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pandas as pd

from neurontune_core.errors import NumericalError
from neurontune_core.model.load import ChatModel
from neurontune_core.model.throughput import MeasuredWork, counted, matmul_peak
from neurontune_core.neurons import scaled
from neurontune_core.progress import Track, silent
from neurontune_core.records import PromptPair, ScalingFactors
from neurontune_core.scaling.dial import Dial
from neurontune_core.scaling.maml import Maml
from neurontune_core.scaling.margin_fit.fit import MarginFit
from neurontune_core.scaling.own_refusals import commonest_refusal, own_openings
from neurontune_core.scaling.problem import Problem, training_pairs
from neurontune_core.scaling.settings import DialSettings, MamlSettings, MarginFitSettings, ScalingConfig
from neurontune_core.scaling.state import SECONDS_BEFORE_VALIDATION, Checkpoint, Saving, State, from_bytes
from neurontune_core.scaling.validation import (
    Score,
    ValidationPrompts,
    draw_prompts,
    validate,
    validated_steps,
    with_base_answers,
)

VERSION = 13
COUNTED_STEP = 0
"""The step whose floating-point operations are counted. Counting slows a step down, so only one is counted; the first
one measures every kind of margin. A run that resumes from a checkpoint counts none: counting changes the rounding, and
the result would differ from that of an uninterrupted run."""

Report = Callable[[int, Mapping[str, float]], object]
"""Called after every step with its number and its losses, so that curves can be watched."""


class ScalingMethod(Protocol):
    """A method that finds factors in steps."""

    @property
    def steps(self) -> int:
        """Number of steps."""
        ...

    def start(self) -> State:
        """Return the state before the first step."""
        ...

    def step(self, state: State, save: Callable[[], None]) -> dict[str, float]:
        """Take the next step, change the state in place, and return the step's row of the curve.

        `save` is called between pieces of work.
        """
        ...


@dataclass(frozen=True)
class LearnedScaling:
    """The chosen factors, the curve (one row an outer step), and facts."""

    scaling: ScalingFactors
    curve: pd.DataFrame
    facts: dict[str, float]


def learn_scaling(
    problem: Problem,
    settings: ScalingConfig,
    track: Track = silent,
    report: Report | None = None,
    checkpoint: Checkpoint | None = None,
) -> LearnedScaling:
    """Learn alpha on the training split by the method that the settings name, and keep the factors with the best score.

    Half of the validation prompts choose the factors, the other half measure the chosen ones (`draw_prompts`).

    Args:
        problem: the model, the neurons and all pairs; factors are learned on the training split and chosen on the
            validation split, and the test split is not used.
        settings: the settings of the method.
        track: reports the progress of the steps.
        report: called with each step's row of the curve.
        checkpoint: stores the state from time to time; a killed run resumes from it.

    Returns:
        `scaling`, alpha `[neuron]` without unit (1 leaves a neuron as it is); `curve`, a row an outer step, losses in
        nats; `facts`, the first and last losses, the chosen step, and its score on the other half.

    Raises:
        InputError: a split lacks a role or attacks.
        NumericalError: a loss or gradient is not finite; the message names the step.
    """
    method = _method(_training(problem, settings), settings)
    saved = checkpoint.load() if checkpoint else None
    state = from_bytes(saved, problem.chat.device) if saved else method.start()
    validation = _validation(problem, settings, method.steps)
    save, work = Saving(state, checkpoint), MeasuredWork()
    started = time.perf_counter() - state.seconds
    if validation and validation.add_score(state, save) and report:
        report(state.steps - 1, state.rows[-1])
    left = range(state.steps, method.steps)
    for step in track(left, "learning alpha", len(left)):
        if _is_stale(state, settings):
            break
        with counted(work) if step == COUNTED_STEP else nullcontext():
            row = {"step": float(step)} | method.step(state, save)
        row["alpha_mean_shift"] = float((state.alpha - 1).abs().mean())
        state.rows.append(row)
        if validation:
            validation.add_score(state, save)
        save()
        if report:
            report(step, row)
    seconds = time.perf_counter() - started
    if state.best_score is not None:
        state.alpha = state.best_alpha.clone()
    facts = _facts(state, seconds) | _shares(work, problem.chat)
    if validation:
        facts |= validation.reported_score(state, save)
    alpha = state.alpha.detach().cpu().numpy().astype(np.float32)
    return LearnedScaling(ScalingFactors(problem.neurons, alpha), pd.DataFrame(state.rows), facts)


@dataclass(frozen=True)
class _Validation:
    """The steps after which factors are validated, the prompts that choose among them, and those that measure them."""

    problem: Problem
    settings: ScalingConfig
    due: set[int]
    choosing: ValidationPrompts
    reported: Sequence[PromptPair]

    def add_score(self, state: State, save: Saving) -> bool:
        """Validate the last step if that is due; a run that was killed during a validation does it when it resumes."""
        if state.steps not in self.due or "validation_score" in state.rows[-1]:
            return False
        save(after=SECONDS_BEFORE_VALIDATION)
        state.rows[-1] |= _compare(state, _score(self.problem, self.choosing, state, self.settings, save))
        return True

    def reported_score(self, state: State, save: Saving) -> dict[str, float]:
        """Return the score of the present factors on the prompts that did not choose them."""
        prompts = _with_base_answers(self.problem, self.reported, self.settings)
        return _score(self.problem, prompts, state, self.settings, save).columns


def _validation(problem: Problem, settings: ScalingConfig, steps: int) -> _Validation | None:
    """Return the validation of a method with so many steps; None without a judge or a step to validate."""
    due = validated_steps(steps, settings) if problem.labels else set()
    if not due:
        return None
    chosen, reported = draw_prompts(problem.pairs, settings)
    return _Validation(problem, settings, due, _with_base_answers(problem, chosen, settings), reported)


def _training(problem: Problem, settings: ScalingConfig) -> Problem:
    """Return the problem with only the training pairs, with the responses that are trained."""
    refusal = commonest_refusal(problem.pairs) if settings.refusal == "own" else ""
    train = training_pairs(problem.pairs, refusal, problem.labels)
    openings: tuple[str, ...] = ()
    if isinstance(settings, MarginFitSettings):
        trained = [pair.response for pair in train if pair.role == "safety"]
        openings = settings.refusal_openings or own_openings(problem.chat, problem.pairs, trained, problem.labels)
    return replace(problem, pairs=train, openings=openings)


def _method(problem: Problem, settings: ScalingConfig) -> ScalingMethod:
    if isinstance(settings, MamlSettings):
        return Maml(problem, settings)
    if isinstance(settings, DialSettings):
        return Dial(problem, settings)
    return MarginFit(problem, settings)


def _is_stale(state: State, settings: ScalingConfig) -> bool:
    patience = 0 if isinstance(settings, DialSettings) else settings.patience
    return bool(patience) and state.stale >= patience


def _with_base_answers(problem: Problem, prompts: Sequence[PromptPair], settings: ScalingConfig) -> ValidationPrompts:
    assert problem.labels is not None
    return with_base_answers(problem.chat, prompts, problem.labels, settings)


def _score(problem: Problem, prompts: ValidationPrompts, state: State, settings: ScalingConfig, save: Saving) -> Score:
    """Return the score of the present factors; the state keeps the answers of an unfinished validation."""
    assert problem.labels is not None
    with scaled(problem.chat.model, problem.neurons, state.alpha):
        score = validate(problem.chat, prompts, problem.labels, settings, save.between, state.answers)
    state.answers = {}
    return score


def _compare(state: State, score: Score) -> dict[str, float]:
    """Keep the factors if they score best so far, and return the score as columns of the curve.

    Raises:
        NumericalError: the KL is not finite.
    """
    if not math.isfinite(score.kl):
        raise NumericalError(
            f"scaling: after step {state.steps} the changed model's probabilities are not finite; load it with "
            f"model.dtype=bfloat16 or float32, or lower the step size"
        )
    if state.best_score is None or score.value > state.best_score:
        state.best_score, state.best_step, state.stale = score.value, state.steps, 0
        state.best_alpha = state.alpha.clone()
    else:
        state.stale += 1
    return score.columns


def _shares(work: MeasuredWork, chat: ChatModel) -> dict[str, float]:
    """Return the operations a second of the counted step, and their share of the device's measured speed."""
    if not work.flops:
        return {}
    peak = matmul_peak(chat.device, chat.model.dtype)
    return {"gflops_per_second": work.flops / work.seconds / 1e9, "share_of_peak": work.share_of(peak)}


def _facts(state: State, seconds: float) -> dict[str, float]:
    tokens = sum(row.get("tokens", 0.0) for row in state.rows)
    facts = {"steps": float(state.steps), "tokens": tokens, "tokens_per_second": tokens / max(seconds, 1e-9)}
    if state.rows and "loss" in state.rows[0]:
        facts |= {"loss_first": state.rows[0]["loss"], "loss_last": state.rows[-1]["loss"]}
    if state.best_score is not None:
        facts |= {"best_step": float(state.best_step), "best_score": state.best_score}
    return facts
