"""The evaluation: both models answer the same prompts, and judges label the answers.

It has three cached tasks. So all tuned models share the base model's answers, and another judge can label stored
answers without a model.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from neurontune_core import artifacts, tables
from neurontune_core.baselines.storage import load_change
from neurontune_core.data.library import PublicLibrary
from neurontune_core.evaluation import answers, evaluate
from neurontune_core.evaluation.settings import EvaluationConfig
from neurontune_core.model.source import ModelReference
from neurontune_core.records import Artifact
from tasks.models import loaded
from tasks.progress import tracker
from tasks.recording.data_files import data_file
from tasks.recording.mlflow_entities import facts_of
from tasks.stage import StageRun, carry_out, stage_task

BASE, TUNED, STAGE = "base", "tuned", "evaluation"
MOVED = ("eval/kl_to_base", "eval/perplexity_ratio")


def base_key(config: EvaluationConfig, pairs: Artifact, sets: Sequence[str], model: ModelReference) -> str:
    """Return the content key of the base model's answers; `sets` are the digests of the public sets asked for."""
    inputs = [pairs.digest, *sets]
    return artifacts.stage_key(BASE, answers.VERSION, answers.answer_settings(config), model.identity, inputs)


def tuned_key(config: EvaluationConfig, base: Artifact, change: Artifact, model: ModelReference) -> str:
    """Return the content key of the changed model's answers to the same prompts."""
    inputs = [base.digest, change.digest]
    return artifacts.stage_key(TUNED, answers.VERSION, answers.answer_settings(config), model.identity, inputs)


def evaluation_key(config: EvaluationConfig, base: Artifact, tuned: Artifact, judges: Sequence[str]) -> str:
    """Return the content key of the verdicts and rates; `judges` are the digests of files a judge reads."""
    inputs = [base.digest, tuned.digest, *judges]
    return artifacts.stage_key(STAGE, evaluate.VERSION, evaluate.judging_settings(config), "", inputs)


@stage_task(BASE, base_key)
def answer_base(
    config: EvaluationConfig,
    pairs: Artifact,
    sets: Sequence[str],
    model: ModelReference,
    run: StageRun,
) -> Artifact:
    """Let the base model answer the test prompts."""

    def fill(folder: Path) -> Mapping[str, float]:
        prompts = tables.load_pairs(artifacts.open_folder(pairs))
        with loaded(model, run.runtime, working=True) as chat:
            given, left_out = answers.base_answers(prompts, config, chat, tracker(BASE), library=PublicLibrary(config))
        tables.save_table(folder, "answers", given)
        tables.save_table(folder, "left_out", left_out)
        return answers.answer_facts(given) | {"left_out": float(len(left_out))} | answers.engine_fact(config)

    inputs = [pairs, *map(data_file, sets)]
    return carry_out(BASE, run, fill, config, inputs)


@stage_task(TUNED, tuned_key)
def answer_tuned(
    config: EvaluationConfig,
    base: Artifact,
    change: Artifact,
    model: ModelReference,
    run: StageRun,
) -> Artifact:
    """Let the tuned model answer the same prompts."""

    def fill(folder: Path) -> Mapping[str, float]:
        before = tables.load_table(artifacts.open_folder(base), "answers")
        changing = load_change(artifacts.open_folder(change))
        with loaded(model, run.runtime, working=True) as chat:
            given, moved = answers.tuned_answers(before, changing, config, chat, tracker(TUNED))
        tables.save_table(folder, "answers", given)
        return answers.answer_facts(given) | moved | answers.engine_fact(config)

    return carry_out(TUNED, run, fill, config, [base, change])


@stage_task(STAGE, evaluation_key)
def evaluate_model(
    config: EvaluationConfig,
    base: Artifact,
    tuned: Artifact,
    judges: Sequence[str],
    run: StageRun,
) -> Artifact:
    """Judge the answers of both models, and compute rates."""

    def fill(folder: Path) -> Mapping[str, float]:
        before, after = (tables.load_table(artifacts.open_folder(each), "answers") for each in (base, tuned))
        moved = {name: value for name, value in facts_of(tuned).items() if name in MOVED}
        result = evaluate.evaluate(before, after, config, moved, run.runtime.device)
        tables.save_table(folder, "completions", result.completions)
        tables.save_table(folder, "rates", result.rates)
        return result.facts

    inputs = [base, tuned, *(Artifact(f"judge/{config.judge.method}", digest, "", digest) for digest in judges)]
    return carry_out(STAGE, run, fill, config, inputs)
