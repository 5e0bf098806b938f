"""NeuronTune as a library: attribution, selection, scaling and modulation of MLP neurons (arXiv 2508.09473).

The names below are what a notebook needs; each is imported when it is first used, so that importing the package is
quick and torch is loaded only by what needs it.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurontune_core.attribution.shard import attribute_shard, choose_pairs
    from neurontune_core.config import PipelineConfig, load_config
    from neurontune_core.evaluation.answers import base_answers, tuned_answers
    from neurontune_core.evaluation.answers_judged import evaluate_answers
    from neurontune_core.evaluation.compared_answers import compare_answers
    from neurontune_core.evaluation.evaluate import evaluate
    from neurontune_core.evaluation.judges import judge_by_name
    from neurontune_core.evaluation.refusals import labels
    from neurontune_core.evaluation.statistics import wilson
    from neurontune_core.export.alpha import load_alpha, write_alpha
    from neurontune_core.export.folder import write_folder
    from neurontune_core.model.generate import respond
    from neurontune_core.model.load import ChatModel, load_model
    from neurontune_core.model.settings import ModelConfig
    from neurontune_core.model.source import describe
    from neurontune_core.neurons import fold, modulated, neuron_counts, scaled
    from neurontune_core.pairs.build import build_pairs
    from neurontune_core.records import NeuronId, NeuronSet, PromptPair, ScalingFactors
    from neurontune_core.scaling.learn import learn_scaling
    from neurontune_core.scaling.problem import Problem
    from neurontune_core.scores.merge import merge_tables
    from neurontune_core.selection.select import select_neurons

# transformers imports torchao if it is installed, and torchao warns of kernels that nothing here needs
for _logger in ("torchao", "torch.utils._pytree"):
    logging.getLogger(_logger).setLevel(logging.ERROR)

_ROOM = {
    "ChatModel": "model.load",
    "ModelConfig": "model.settings",
    "NeuronId": "records",
    "NeuronSet": "records",
    "PipelineConfig": "config",
    "PromptPair": "records",
    "ScalingFactors": "records",
    "attribute_shard": "attribution.shard",
    "base_answers": "evaluation.answers",
    "build_pairs": "pairs.build",
    "choose_pairs": "attribution.shard",
    "compare_answers": "evaluation.compared_answers",
    "describe": "model.source",
    "evaluate": "evaluation.evaluate",
    "evaluate_answers": "evaluation.answers_judged",
    "fold": "neurons",
    "judge_by_name": "evaluation.judges",
    "learn_scaling": "scaling.learn",
    "Problem": "scaling.problem",
    "load_alpha": "export.alpha",
    "load_config": "config",
    "load_model": "model.load",
    "merge_tables": "scores.merge",
    "modulated": "neurons",
    "neuron_counts": "neurons",
    "labels": "evaluation.refusals",
    "respond": "model.generate",
    "scaled": "neurons",
    "select_neurons": "selection.select",
    "tuned_answers": "evaluation.answers",
    "wilson": "evaluation.statistics",
    "write_alpha": "export.alpha",
    "write_folder": "export.folder",
}

__all__ = [
    "ChatModel",
    "ModelConfig",
    "NeuronId",
    "NeuronSet",
    "PipelineConfig",
    "Problem",
    "PromptPair",
    "ScalingFactors",
    "attribute_shard",
    "base_answers",
    "build_pairs",
    "choose_pairs",
    "compare_answers",
    "describe",
    "evaluate",
    "evaluate_answers",
    "fold",
    "judge_by_name",
    "labels",
    "learn_scaling",
    "load_alpha",
    "load_config",
    "load_model",
    "merge_tables",
    "modulated",
    "neuron_counts",
    "respond",
    "scaled",
    "select_neurons",
    "tuned_answers",
    "wilson",
    "write_alpha",
    "write_folder",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOM[name]}"), name)


def __dir__() -> list[str]:
    return __all__
