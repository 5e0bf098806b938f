"""The keys of the parts of the causal and the robustness study, whose answers vLLM never writes."""

from neurontune_core.config import load_config
from neurontune_core.model.source import ModelReference
from neurontune_core.records import Artifact
from tasks import causal, robustness

MADE = Artifact("pairs", "key", "uri", "digest")
MODEL = ModelReference(
    name="m", revision=None, dtype="float32", working_dtype="float32", system_prompt=None, weights="w",
    neurons_per_layer=(8,),
)  # fmt: skip


def keys(*settings: str) -> tuple[str, str]:
    config = load_config("tiny", settings)
    evaluation, method = config.evaluation, config.attribution.method
    study = causal.CausalInputs(config.causal, config.selection, evaluation, method, MADE, MADE, MADE, (), MODEL)
    attacked = robustness.RobustnessInputs(config.robustness, evaluation, MADE, MADE, (), MODEL)
    return causal.part_key(study, 0), robustness.part_key(attacked, 0, None)


def test_the_engine_of_the_evaluation_makes_no_part_anew() -> None:
    assert keys("evaluation.engine=vllm") == keys()
    causal_key, robustness_key = keys("evaluation.benchmarks=advbench")
    assert causal_key != keys()[0] and robustness_key != keys()[1]


def test_another_judge_makes_the_parts_of_the_causal_study_anew() -> None:
    assert keys("causal.judge=keyword")[0] != keys()[0]
    assert keys("causal.judge=keyword")[1] == keys()[1]
