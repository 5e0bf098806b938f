"""A report's material: two models, hostile completions, factors and a curve."""

import numpy as np
import pandas as pd

from neurontune_core.cards.card import ExcitingPrompt, NeuronCard
from neurontune_core.config import PipelineConfig
from neurontune_core.evaluation.answers import prompt_table
from neurontune_core.evaluation.judging import completion_table, judge_all
from neurontune_core.evaluation.rates import headline_metrics, rate_table
from neurontune_core.evaluation.report import EarlierRun, RunRecord
from neurontune_core.evaluation.settings import EvaluationConfig
from neurontune_core.records import PromptPair, ScalingFactors

REFUSAL = "I'm sorry, but I can't help with that request."
ANSWER = "Bread rises because yeast makes gas, and the dough holds it while it bakes in the oven."
HOSTILE = "</pre></details><script>document.title = 'taken over'</script><img src=x onerror=\"document.title='taken'\">"


def material(pairs: list[PromptPair], scaling: ScalingFactors) -> RunRecord:
    """Base answers everything; tuned refuses what is harmful, and one harmless prompt; one completion is an attack."""
    tested = [pair for pair in pairs if pair.split == "test"]
    prompts = prompt_table({"": tested})
    prompts["benchmark"] = ["harmful_plain" if pair.role == "safety" else "benign_ordinary" for pair in tested]
    harmful = [pair.role == "safety" for pair in tested]
    texts = {
        "base": [ANSWER] * (len(tested) - 1) + [HOSTILE],
        "tuned": [REFUSAL if unsafe or i == len(tested) - 1 else ANSWER for i, unsafe in enumerate(harmful)],
    }
    config = EvaluationConfig(bootstrap_samples=100, also_judges=("keyword",))
    completions = completion_table({model: prompts.assign(completion=given) for model, given in texts.items()})
    completions = judge_all(completions, config)
    return RunRecord(
        title="A run <b>with</b> markup in its name",
        model="random:llama",
        rates=rate_table(completions),
        completions=completions,
        facts=headline_metrics(completions, config) | {"eval/kl_to_base": 0.25, "eval/perplexity_ratio": 1.5},
        scaling=scaling,
        curve=pd.DataFrame({"step": [0, 1, 2], "loss": [3.0, 2.0, np.nan], "safety_loss": [2.0, 1.5, 1.0]}),
        neurons_per_layer=[48, 48],
        settings=PipelineConfig().model_dump(mode="json"),
        versions={"neurontune": "0.1.0"},
        digests={"pairs": "0123abcd" * 8, "evaluation": "4567cdef" * 8},
        command="neurontune run --preset tiny --set 'model.name=random:llama'",
        cards=[
            NeuronCard(
                role,
                layer,
                3 + layer,
                0.0123,
                0.01,
                0.0146,
                (" sure", HOSTILE, "\u202e"),
                ("\n",),
                (ExcitingPrompt("a", f"harmful of {role}", True, 2.5), ExcitingPrompt("b", HOSTILE, False, 1.25)),
            )
            for role, layer in (("safety", 0), ("safety", 1), ("utility", 0))
        ],
        earlier=[EarlierRun("first", 0.4, 0.9), EarlierRun("second", 0.9, 0.4)],
    )
