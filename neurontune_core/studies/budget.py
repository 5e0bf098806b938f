"""The text of a study of baselines about their common budget and each method's search, in Markdown."""

import math
from collections.abc import Mapping

import pandas as pd

from neurontune_core.baselines.fit import STRENGTH_RANGE
from neurontune_core.config import PipelineConfig
from neurontune_core.scaling.settings import TrainingSettings
from neurontune_core.search import SCORE, SPAN
from neurontune_core.shown_text import markdown_table


def section(
    config: PipelineConfig, searches: Mapping[str, pd.DataFrame], preferred: Mapping[str, Mapping[str, float]]
) -> str:
    """Return the budget and the search of every method, with a row for each trial.

    Args:
        config: the settings that all variants share.
        searches: by variant, a row for each trial: `trial`, the tried settings, `validation_score`.
        preferred: for each variant that learns from preferences (DPO), the facts of its fit.
    """
    parts = ["## Budget and search", _budget(config), *(_left_out(name, facts) for name, facts in preferred.items())]
    if searches:
        first, last = (f"{bound:g}" for bound in STRENGTH_RANGE)
        parts += [
            f"The methods of the next table were tuned by Optuna: the step size, from a {SPAN:g}th of the "
            f"configured one to {SPAN:g} times as much; or the layer and the strength of steering, {first} to "
            f"{last} times the difference of means. The first trial uses the configured values, each trial learns from "
            "the same prompts, and the best score on the validation prompts is kept. Seconds include the search.",
            markdown_table([_summary(name, trials) for name, trials in searches.items()]),
            "### All trials",
            markdown_table([row for name, trials in searches.items() for row in _trials(name, trials)]),
        ]
    return "\n\n".join(parts)


def _budget(config: PipelineConfig) -> str:
    scaling = config.scaling
    texts = []
    if isinstance(scaling, TrainingSettings):
        each = scaling.harmful_batch + scaling.harmless_batch
        texts.append(
            f"Every method that learns draws the same number of training prompts: {scaling.steps} steps of "
            f"{scaling.harmful_batch} harmful and {scaling.harmless_batch} harmless ones, {scaling.steps * each:,} "
            f"draws at most, with the same seed. Steering reads each of these prompts once. A method whose validation "
            f"score does not improve for a while stops earlier."
        )
    return " ".join(
        [
            *texts,
            f"At most {scaling.validation_prompts} validation prompts of each role choose what is kept. No method sees "
            "a test prompt.",
            "NeuronTune and its variants run with the settings of the preset and without a search; earlier tuning of "
            "the preset is not counted. Finding its neurons reads up to "
            f"{config.attribution.pairs_per_role:,} more pairs of each role of the training split.",
            "A system prompt learns nothing, and the dial tries a grid of factors on the validation prompts.",
        ]
    )


def _left_out(name: str, facts: Mapping[str, float]) -> str:
    needs = f"{name} needs a chosen and a rejected answer to each prompt."
    harmful, harmless = facts["harmful_left_out"], facts["harmless_left_out"]
    return (
        f"{needs} It leaves out {harmful + harmless:,.0f} of its {facts['examples']:,.0f} training prompts: "
        f"{harmful:,.0f} harmful (the model refuses them by itself, or says nothing) and {harmless:,.0f} harmless "
        "(the base model has no answer)."
    )


def _summary(name: str, trials: pd.DataFrame) -> dict[str, str]:
    best = trials.iloc[int(trials[SCORE].to_numpy().argmax())]
    return {
        "method": name,
        "trials": str(len(trials)),
        "chosen": _shown(best),
        "validation score": f"{best[SCORE]:.3f}",
        "of the first trial": f"{trials[SCORE].iloc[0]:.3f}",
    }


def _trials(name: str, trials: pd.DataFrame) -> list[dict[str, str]]:
    return [
        {"method": name, "trial": f"{row['trial']:.0f}", "tried": _shown(row), "validation score": f"{row[SCORE]:.3f}"}
        for _, row in trials.iterrows()
    ]


def _shown(row: pd.Series) -> str:
    settings = {str(name).replace("_", " "): value for name, value in row.items() if name not in ("trial", SCORE)}
    return ", ".join(f"{name} {value:.3g}" for name, value in settings.items() if not math.isnan(value))
