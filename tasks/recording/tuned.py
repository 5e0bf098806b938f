"""A recorded run as a tuned model: its base, its factors, its evaluation, and its card."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from neurontune_core import artifacts, tables
from neurontune_core.config import RuntimeConfig
from neurontune_core.errors import InputError
from neurontune_core.export.card import CardFacts, render_card
from neurontune_core.model.source import ModelReference
from neurontune_core.pairs import own_refusals
from neurontune_core.records import ScalingFactors
from tasks.models import describe
from tasks.recording import reproduce
from tasks.recording.runs import RecordedRun, find_run


@dataclass(frozen=True)
class TunedModel:
    """The factors of a finished scaling stage, with their base model."""

    run: RecordedRun
    base: ModelReference
    scaling: ScalingFactors

    @property
    def origin(self) -> dict[str, Any]:
        """The origin of the factors, which an export contains."""
        scaling = self.run.artifact("scaling")
        versions = artifacts.read_manifest(scaling)["versions"]
        return {
            "run_id": self.run.run_id,
            "run_name": self.run.name,
            "scaling_key": scaling.key,
            "scaling_digest": scaling.digest,
            "versions": versions,
        }


def find_tuned(run: str, runtime: RuntimeConfig) -> TunedModel:
    """Return the tuned model of a run: an id, a name, or `latest` for the newest that ended well.

    Raises:
        InputError: there is no such run, it learned no factors, or its base model is no longer the same.
        ArtifactError: the factors are gone or damaged.
    """
    return tuned_of(find_run(run, runtime, finished=True))


def tuned_of(run: RecordedRun) -> TunedModel:
    """Return the tuned model of a run that has been found.

    Raises:
        InputError: the run learned no factors, or its base model is no longer the same.
        ArtifactError: the factors are gone or damaged.
    """
    folder = artifacts.open_folder(run.artifact("scaling"))
    return TunedModel(run, base_of(run, tables.scaling_model(folder)), tables.load_scaling(folder))


def base_of(run: RecordedRun, identity: str) -> ModelReference:
    """Return the base model of a run that was made with a model of this identity.

    Raises:
        InputError: the model does not exist, or has changed.
    """
    base = describe(run.config.model)
    if (weights := identity.split(":")[0]) != base.weights:
        raise InputError(
            f"model.name: {base.name!r} is no longer the model run {run.name} was made with: its weights had the "
            f"digest {weights} and now have {base.weights}; restore that model, or run the pipeline again"
        )
    return base


def completions_of(run: RecordedRun) -> pd.DataFrame:
    """Return the judged completions of a run's evaluation.

    Raises:
        InputError: the run was not evaluated.
    """
    return tables.load_table(artifacts.open_folder(run.artifact("evaluation")), "completions")


def facts_of_run(run: RecordedRun) -> dict[str, float]:
    """Return the facts of all stages of a run, named as in MLflow."""
    from tasks.recording.mlflow_entities import facts_of, metrics_of

    return {
        metric.key: metric.value for stage in run.stages for metric in metrics_of(stage, facts_of(run.artifact(stage)))
    }


def card_of(tuned: TunedModel) -> str:
    """Return the model card of a run's tuned model; one without an evaluation says so."""
    run = tuned.run
    rates, facts, judge = None, {}, ""
    if "evaluation" in run.stages:
        evaluation = run.artifact("evaluation")
        rates = tables.load_table(artifacts.open_folder(evaluation), "rates")
        facts = artifacts.read_manifest(evaluation)["facts"]
        for stage in ("ability", "harness"):
            facts |= artifacts.read_manifest(run.artifact(stage))["facts"] if stage in run.stages else {}
        judge = ", ".join(sorted(set(completions_of(run)["judge"])))
    pairs = artifacts.read_manifest(run.artifact("pairs"))["facts"] if "pairs" in run.stages else {}
    return render_card(
        CardFacts(
            title=run.name,
            base=tuned.base,
            config=run.config,
            scaling=tuned.scaling,
            rates=rates,
            facts=facts,
            judge=judge,
            digests={stage: run.artifact(stage).digest for stage in run.stages},
            versions=tuned.origin["versions"],
            command=reproduce.command(run.config),
            own_refusals=own_refusals.attributed(pairs, run.config.attribution.pairs_per_role),
            warning=own_refusals.warning(pairs),
        )
    )
