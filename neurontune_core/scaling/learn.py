"""Learn one scaling factor a neuron by model-agnostic meta-learning (algorithm 1 of the paper)."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from neurontune_core.config import ScalingConfig
from neurontune_core.model.load import ChatModel
from neurontune_core.model.throughput import Work, counted, matmul_peak
from neurontune_core.neurons import scaled
from neurontune_core.progress import Track, silent
from neurontune_core.records import NeuronSet, PromptPair, ScalingFactors
from neurontune_core.scaling.checkpoint import Checkpoint, Progress, restore, to_bytes
from neurontune_core.scaling.episodes import Episode, EpisodeSampler, answered, batches_of, encode_episodes
from neurontune_core.scaling.gauss_newton import solve
from neurontune_core.scaling.losses import Example, base_states
from neurontune_core.scaling.margins import stays_of
from neurontune_core.scaling.outer import bounded, outer_step
from neurontune_core.scaling.own_refusals import own_openings
from neurontune_core.scaling.validation import RefusalJudge, Score, validate, validation_prompts

VERSION = 10
ADAM_BETAS = (0.9, 0.99)
"""The second moment forgets within the some dozens of steps a run has; at the usual 0.999 it never settles."""
CURVE = ["step", "loss", "safety_loss", "utility_loss", "gradient_norm", "alpha_mean_shift"]
COUNTED_STEP = 0
"""The step whose operations are counted: counting slows a step down, and this one measures all kinds of margins. A run
that goes on from a checkpoint must not count another, which then would round otherwise than in one go."""
VALIDATION = ["validation_safety", "validation_utility", "validation_su_f1"]
"""Columns of the curve, the latter filled at validations only and absent where there are none."""

Report = Callable[[int, Mapping[str, float]], object]
"""Told of every step's losses as it ends, so that curves can be watched."""


@dataclass(frozen=True)
class LearnedScaling:
    """The learned factors, the training curve (one row an outer step), and facts."""

    scaling: ScalingFactors
    curve: pd.DataFrame
    facts: dict[str, float]


def learn_scaling(
    pairs: Sequence[PromptPair],
    neurons: NeuronSet,
    config: ScalingConfig,
    chat: ChatModel,
    batch_tokens: int,
    track: Track = silent,
    refuses: RefusalJudge | None = None,
    report: Report | None = None,
    checkpoint: Checkpoint | None = None,
) -> LearnedScaling:
    """Learn alpha on the training split, and keep the factors that score best on the validation split.

    Algorithm 1 of the paper (arXiv 2508.09473), with attack categories as tasks.

    Inner loop, an episode: `alpha' = alpha - eta_inner grad(L_safety + lambda L_utility)(alpha; support)`. Outer loop:
    Adam on `alpha` with the gradient of `L_safety + lambda L_utility` at `alpha'` on query batches, averaged over the
    step's episodes: at `alpha'` itself (first order), or through the inner step (second order); or Gauss-Newton steps
    on the same losses, in first order, which at last also try other balances of the two losses on validation prompts.

    Args:
        pairs: all pairs; the training split is learned from, the validation split chooses, the test split is not used.
        neurons: the selected neurons.
        config: steps, step sizes, losses, validation.
        chat: the model.
        batch_tokens: tokens a forward pass holds at most.
        track: progress of the outer steps.
        refuses: judge of refusals for validation; without one the last factors are kept.
        report: told of each step's row of the curve.
        checkpoint: where the state is saved at every validation, and read from to go on where a killed run was.

    Returns:
        `scaling`, alpha `[neuron]` without unit (1 leaves a neuron as it is); `curve`, a row an outer step, losses in
        nats a token; `facts`, the first and last losses and what validation chose.

    Raises:
        InputError: a split lacks a role or attacks.
        NumericalError: a loss or gradient is not finite; the message names the step.
    """
    if config.outer_optimiser == "gauss_newton" and not config.refusal_openings:
        openings = own_openings(chat, pairs, refuses, batch_tokens)
        config = config.model_copy(update={"refusal_openings": openings})
    train = [pair for pair in pairs if pair.split == "train"]
    if config.outer_optimiser == "adam":
        train = answered(train)  # its query losses are of responses
    sampler = EpisodeSampler(train, config, config.seed)
    episodes = [sampler.draw() for _ in range(config.steps)]
    chosen = validation_prompts(pairs, config) if refuses and config.validate_every else []
    progress = _start(neurons, config, chat)
    if checkpoint and (saved := checkpoint.load()):
        restore(progress, saved)
    started = time.perf_counter() - progress.seconds
    examples = encode_episodes(chat, [episode for step in episodes for episode in step], config)
    # all of them first, in one order: a run that goes on from a checkpoint gets the same numbers as one in one go
    base = base_states(chat, _compared(episodes, examples, config), batch_tokens)
    left, work = range(progress.steps, config.steps), Work()
    for step in track(left, "learning alpha", len(left)):
        if config.patience and progress.stale >= config.patience:
            break
        batches = [batches_of(episode, examples) for episode in episodes[step]]
        with counted(work) if step == COUNTED_STEP else nullcontext():
            row = outer_step(progress, batches, base, neurons, config, chat, batch_tokens)
        progress.rows.append(row)
        if refuses and chosen and (progress.steps % config.validate_every == 0 or progress.steps == config.steps):
            with scaled(chat.model, neurons, progress.alpha):
                score = validate(chat, chosen, refuses, config, batch_tokens)
            row |= _compare(progress, score)
            progress.seconds = time.perf_counter() - started
            if checkpoint:
                checkpoint.save(to_bytes(progress))
        if report:
            report(step, row)
    if refuses and chosen and progress.margins:
        _balance(progress, neurons, config, chat, batch_tokens, chosen, refuses)
    alpha = progress.best_alpha if progress.best_score is not None else progress.alpha
    tokens = sum(_tokens(*batches_of(e, examples), config) for step in episodes[: progress.steps] for e in step)
    return LearnedScaling(
        ScalingFactors(neurons, alpha.detach().cpu().numpy().astype(np.float32)),
        pd.DataFrame(progress.rows, columns=CURVE + (VALIDATION if chosen else [])),
        _facts(progress, tokens, time.perf_counter() - started) | _shares(work, chat),
    )


def _compared(
    episodes: Sequence[Sequence[Episode]], examples: Mapping[str, Example], config: ScalingConfig
) -> list[Example]:
    """Return the harmless examples whose loss compares with the base model."""
    parts = []
    for drawn in episodes:
        for episode in drawn:
            support, query = batches_of(episode, examples)
            parts += support + (query if config.outer_optimiser == "adam" else stays_of(query))
    used = {example.id for example in parts if example.role == "utility"}
    return [example for name, example in examples.items() if name in used]


def _balance(
    progress: Progress,
    neurons: NeuronSet,
    config: ScalingConfig,
    chat: ChatModel,
    batch_tokens: int,
    prompts: Sequence[PromptPair],
    refuses: RefusalJudge,
) -> None:
    """Solve for other balances of safety and utility on what was measured, and keep what validates best."""
    assert progress.margins is not None
    last = progress.alpha.detach().clone()
    for factor in config.balances:
        weighted = config.model_copy(update={"utility_weight": factor * config.utility_weight})
        with torch.no_grad():
            progress.alpha.copy_(bounded(solve(progress.margins, last, weighted), config))
        with scaled(chat.model, neurons, progress.alpha):
            score = validate(chat, prompts, refuses, config, batch_tokens)
        _compare(progress, score)
        if progress.stale == 0:
            progress.balance = factor


def _start(neurons: NeuronSet, config: ScalingConfig, chat: ChatModel) -> Progress:
    starts = [config.safety_start] * len(neurons.safety) + [config.utility_start] * len(neurons.utility)
    alpha = torch.tensor(starts, device=chat.device, dtype=torch.float32, requires_grad=True)
    optimiser = torch.optim.Adam([alpha], betas=ADAM_BETAS, eps=config.adam_epsilon)
    return Progress(alpha, optimiser, alpha.detach().clone())


def _tokens(support: Sequence[Example], query: Sequence[Example], config: ScalingConfig) -> int:
    first, second = (sum(len(example.sequence.tokens) for example in part) for part in (support, query))
    return first * config.inner_steps + second


def _compare(progress: Progress, score: Score) -> dict[str, float]:
    """Keep the factors if they score best so far, and return the score as columns of the curve."""
    if progress.best_score is None or score.su_f1 > progress.best_score:
        progress.best_score, progress.best_step, progress.stale = score.su_f1, progress.steps, 0
        progress.best_alpha = progress.alpha.detach().clone()
    else:
        progress.stale += 1
    return dict(zip(VALIDATION, (score.safety, score.utility, score.su_f1), strict=True))


def _shares(work: Work, chat: ChatModel) -> dict[str, float]:
    """Return the operations a second of the counted step, and their share of what the device can do."""
    if not work.seconds:
        return {}
    peak = matmul_peak(chat.device, chat.model.dtype)
    return {"gflops_per_second": work.flops / work.seconds / 1e9, "share_of_peak": work.share_of(peak)}


def _facts(progress: Progress, tokens: int, seconds: float) -> dict[str, float]:
    facts = {"steps": float(progress.steps), "tokens": float(tokens), "tokens_per_second": tokens / max(seconds, 1e-9)}
    if progress.rows:
        facts |= {"loss_first": progress.rows[0]["loss"], "loss_last": progress.rows[-1]["loss"]}
    if progress.best_score is not None:
        facts |= {"best_step": float(progress.best_step), "validation_su_f1": progress.best_score}
    if progress.balance is not None:
        facts["balance"] = progress.balance
    return facts
