"""Finished pipeline runs as they lie on disk and in MLflow, made without running a pipeline."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from neurontune_core import artifacts, tables
from neurontune_core.baselines.storage import save_baseline
from neurontune_core.baselines.system_prompt import SystemPrompt
from neurontune_core.config import PipelineConfig
from neurontune_core.evaluation.judges import judge_by_name
from neurontune_core.evaluation.rates import headline_metrics, rate_table
from neurontune_core.evaluation.settings import EvaluationConfig
from neurontune_core.model import source
from neurontune_core.records import Artifact, NeuronId, NeuronSet, PromptPair, ScalingFactors
from tasks.recording.mlflow_entities import dataset_of
from tasks.recording.mlflow_store import client_of, open_experiment, tracking_uri
from tasks.recording.tracking import CONFIG_FILE, FLOW_TAG, PIPELINE

JUDGE = f"rules {judge_by_name('rules').version}"
DATA = [Artifact("shipped/harmful_queries.jsonl", "0" * 64, "", "0" * 64)]
INPUTS = {
    "scores": ("pairs",),
    "selection": ("scores",),
    "scaling": ("pairs", "selection"),
    "baseline": ("pairs", "selection"),
    "evaluation": ("pairs", "scaling", "baseline"),
}


def record_run(
    config: PipelineConfig,
    name: str,
    refused: tuple[str, ...] = ("h0",),
    evaluated: bool = True,
    judge: str = JUDGE,
    seed: str = "",
    own_refusals: int = 7,
    ranked: bool = True,
) -> str:
    """Record a run whose tuned model refuses the named prompts of `h0` to `h3` and `b0` to `b3`; return its id.

    If the settings name a baseline, the run fitted a system prompt.
    One that is not `ranked` is by an earlier version, whose selection did not rank its neurons.
    """
    uri, root = tracking_uri(config.runtime), config.runtime.root
    experiment = open_experiment(uri, config.runtime.experiment, root)
    client = client_of(uri)
    parent = client.create_run(experiment, run_name=name, tags={FLOW_TAG: PIPELINE}).info.run_id
    client.log_text(
        parent, json.dumps(config.model_dump(mode="json", exclude={"runtime": {"mlflow_uri"}})), CONFIG_FILE
    )
    made: dict[str, Artifact] = {}
    for stage, fill in _stages(config, name, refused, judge, seed, own_refusals, ranked).items():
        if stage == "evaluation" and not evaluated:
            continue
        inputs = [made[one] for one in INPUTS[stage] if one in made] if stage in INPUTS else DATA
        settings = getattr(config, stage).model_dump(mode="json") if hasattr(config, stage) else {}
        made[stage] = artifacts.write(root, stage, artifacts.text_digest(name + stage)[:32], fill, settings, inputs)
        tags = {"mlflow.parentRunId": parent, "step.name": stage, "step.outcome": "executed"}
        tags |= {"step.cache_key": made[stage].key, "step.artifact": made[stage].uri}
        step = client.create_run(experiment, run_name=stage, tags=tags).info.run_id
        client.log_inputs(step, datasets=[dataset_of(one, "input") for one in inputs])
        client.log_inputs(step, datasets=[dataset_of(made[stage], "output")])
        client.set_terminated(step, "FINISHED")
    client.set_terminated(parent, "FINISHED")
    return str(parent)


def factors(seed: int) -> ScalingFactors:
    """Factors of eight neurons of a two-layer model."""
    generator = np.random.default_rng(seed)
    ids = [NeuronId(int(place) // 48, int(place) % 48) for place in generator.choice(96, 8, replace=False)]
    return ScalingFactors(NeuronSet(tuple(ids[:4]), tuple(ids[4:])), generator.normal(1, 2, 8).astype(np.float32))


def completions(refused: tuple[str, ...], judge: str, name: str, seed: str) -> pd.DataFrame:
    """Return judged completions of both models to prompts that begin with `seed`; the base refuses nothing."""
    rows = []
    for model in ("base", "tuned"):
        for prompt in [f"{kind}{number}" for kind in "hb" for number in range(4)]:
            refuses = model == "tuned" and prompt in refused
            role = "safety" if prompt[0] == "h" else "utility"
            rows.append(
                {"prompt": f"{seed}prompt {prompt}", "benchmark": f"{role}_plain", "id": prompt, "query_id": prompt,
                 "role": role, "query_category": "c", "attack_category": "", "attack_name": "", "model": model,
                 "degenerate": "none",
                 "completion": "I'm sorry, but no." if refuses else f"Sure: {prompt} {model == 'tuned' and name}",
                 "verdict": "refusal" if refuses else "compliance", "score": np.nan, "explanation": "", "judge": judge,
                 "refused": refuses, "broken": False}
            )  # fmt: skip
    return pd.DataFrame(rows)


def ranking_of(neurons: NeuronSet) -> pd.DataFrame:
    """Return a ranking of selected neurons: those selected first are the strongest."""
    return pd.DataFrame(
        [
            {
                "role": role,
                "layer": neuron.layer,
                "index": neuron.index,
                "score": 1 / (place + 1),
                "low": 0.0,
                "high": 2.0,
            }
            for role in ("safety", "utility")
            for place, neuron in enumerate(getattr(neurons, role))
        ],
        columns=["role", "layer", "index", "score", "low", "high"],
    )


def plain_pairs(seed: str) -> list[PromptPair]:
    """Return the prompts `h0` to `h3` and `b0` to `b3` without an attack, the last of each kind of the test split."""
    return [
        PromptPair(
            id=f"{kind}{number}", role=role, query_id=f"{kind}{number}", query=f"{seed}prompt {kind}{number}",
            query_category="c", prompt=f"{seed}prompt {kind}{number}", response="x", attack_type="", attack_category="",
            attack_name="", selected=False, source="shipped", split="test" if number == 3 else "train",
        )
        for kind, role in (("h", "safety"), ("b", "utility"))
        for number in range(4)
    ]  # fmt: skip


def _stages(
    config: PipelineConfig,
    name: str,
    refused: tuple[str, ...],
    judge: str,
    seed: str,
    own_refusals: int,
    ranked: bool,
) -> dict[str, Any]:
    scaling = factors(len(name))
    judged = completions(refused, judge, name, seed)

    def pairs(folder: Any) -> Mapping[str, float]:
        tables.save_pairs(folder, plain_pairs(seed))
        tables.save_table(folder, "sources", pd.DataFrame({"dataset": ["shipped"]}))
        others = {"not_refused_plainly": 3, "refused_under_attack": 0, "broken_under_attack": 0}
        return {"pairs": 1, "own_refusals": own_refusals, **others, "safety_established": float(own_refusals >= 6)}

    def scores(folder: Any) -> Mapping[str, float]:
        tables.save_table(folder, "scores", pd.DataFrame({"score_sum": [1.0]}))
        return {"rows": 1}

    def selection(folder: Any) -> Mapping[str, float]:
        tables.save_neurons(folder, scaling.neurons)
        if ranked:
            tables.save_table(folder, "ranking", ranking_of(scaling.neurons))
        return {"overlap": 1.0}

    def learned(folder: Any) -> Mapping[str, float]:
        tables.save_scaling(folder, scaling, source.describe(config.model).identity)
        return {"loss_last": 1.0}

    def fitted(folder: Any) -> Mapping[str, float]:
        save_baseline(folder, SystemPrompt("Refuse."), source.describe(config.model).identity)
        return {"parameters": 0.0}

    def evaluation(folder: Any) -> Mapping[str, float]:
        tables.save_table(folder, "completions", judged)
        tables.save_table(folder, "rates", rate_table(judged))
        return headline_metrics(judged, EvaluationConfig(bootstrap_samples=100))

    change = {"scaling": learned} if config.baseline.method == "none" else {"baseline": fitted}
    return {"pairs": pairs, "scores": scores, "selection": selection, **change, "evaluation": evaluation}
