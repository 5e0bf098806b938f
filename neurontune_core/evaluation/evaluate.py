"""Evaluate a tuned model against its base: judge the answers of both, and compute rates."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from neurontune_core.evaluation import benchmarks
from neurontune_core.evaluation.judges import judge_title
from neurontune_core.evaluation.judging import completion_table, judge_all
from neurontune_core.evaluation.public_sets import Library, set_digests
from neurontune_core.evaluation.rates import headline_metrics, rate_table
from neurontune_core.evaluation.settings import EvaluationConfig

VERSION = 8
FIELDS = ("also_judges", "bootstrap_samples", "seed")


@dataclass(frozen=True)
class Evaluation:
    """Judged completions (one row a prompt and model), rates with intervals, and headline facts."""

    completions: pd.DataFrame
    rates: pd.DataFrame
    facts: dict[str, float]


def judging_settings(config: EvaluationConfig) -> dict[str, Any]:
    """Return what an evaluation depends on besides the answers: the judges, their versions, the bootstrap."""
    judges = [judge_title(name.partition("=")[0]) for name in (config.judge.method, *config.also_judges)]
    own = config.model_dump(mode="json", include=set(FIELDS))
    return own | {"judge": config.judge.method, "judges": judges}


def evaluate(
    base: pd.DataFrame,
    tuned: pd.DataFrame,
    config: EvaluationConfig,
    moved: Mapping[str, float] | None = None,
    device: str = "auto",
) -> Evaluation:
    """Judge every stored completion of both models and compute rates; no model generates text.

    Args:
        base: the result of `answers.base_answers`.
        tuned: the result of `answers.tuned_answers` for the same prompts.
        config: judges and bootstrap.
        moved: facts about how far the tuned model is from the base; they are returned among `facts`.
        device: where the judges' models run, as in `runtime.device`; the first of several.

    Returns:
        `completions`, a row a prompt and model, with its verdict; `rates`, a row a benchmark and model (`rate_table`);
        `facts`, the headline numbers: rates from 0 to 1, Safety-Utility F1 `2SU / (S + U)`, with 95% intervals.

    Raises:
        InputError: a judge cannot be loaded, or it gives no verdict on any harmful or on any harmless prompt.
        ValueError: the two models were given different prompts.
    """
    completions = judge_all(completion_table({"base": base, "tuned": tuned}), config, device)
    return Evaluation(completions, rate_table(completions), headline_metrics(completions, config) | dict(moved or {}))


def base_digests(config: EvaluationConfig, library: Library | None = None) -> list[str]:
    """Return the digests of the public sets that the base model's answers depend on; none by default.

    Raises:
        InputError: unknown benchmark, a public set without a library, or a file that does not exist.
    """
    benchmarks.check_benchmarks(config)
    return set_digests(config, library)
