"""The shipped studies: which settings each compares, and how its result is laid out."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Literal

from neurontune_core.data.categories import ATTACK_TYPES

Layout = Literal[
    "methods",
    "plane",
    "attack_types",
    "datasets",
    "layers",
    "seeds",
    "causal",
    "rankings",
    "robustness",
    "worth",
]
"""What the result shows: methods side by side; the safety-utility plane with its Pareto front; a matrix over the attack
types or over the datasets of the tests; neurons by layer; methods with mean and spread; dose-response curves; the
effect of silencing the first neurons of each ranking; attack success by attack; attributed neurons against random ones,
with a verdict for each number of neurons."""
Searched = Literal["", "counts", "maml", "baselines"]
SEARCHED: Mapping[Searched, str] = {
    "counts": "numbers of neurons",
    "maml": "settings of MAML",
    "baselines": "step sizes or strengths for each other method",
}
"""What the trials of a study search."""

COUNTS = (1000, 4000, 8000)
CORPUS = ("corpus_harmful", "corpus_benign")
"""The shipped corpus as public sets, of both roles."""
PUBLIC = (*CORPUS, "advbench", "alpaca", "truthfulqa")
TYPES = tuple(dict.fromkeys(ATTACK_TYPES.values()))
TRIALS = 8
"""Trials of a study that asks what trials choose, or that compares methods which need tuning."""


@dataclass(frozen=True)
class Study:
    """A question, and the settings whose runs answer it; the other variants are compared with the first.

    `through` is the last stage that is run. `searched` says what trials on validation data search (`SEARCHED`), and
    `trials` is their number. Trials of counts or of MAML change the variant `tried`, and the best of them becomes an
    additional variant; the best of MAML is also run in second order, if a variant is. With 0 trials, a study searches
    only if `--trials` asks for it. Without a search a study runs only its variants.
    """

    title: str
    question: str
    variants: Mapping[str, tuple[str, ...]]
    layout: Layout = "methods"
    through: Literal["selection", "causal", "robustness", "evaluation"] = "evaluation"
    searched: Searched = ""
    tried: str = ""
    trials: int = 0


def _random(seeds: int) -> dict[str, tuple[str, ...]]:
    return {
        f"random neurons, seed {seed}": ("selection.method=random", f"selection.seed={seed}") for seed in range(seeds)
    }


def _only(attack_type: str) -> tuple[str, ...]:
    others = [category for category, kind in ATTACK_TYPES.items() if kind != attack_type]
    return (f"pairs.holdout_attack_categories={_listed(others)}",)


def _listed(names: list[str] | tuple[str, ...]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


_ASKED = (
    "causal.split=validation",
    "causal.interventions=[zero]",
    "causal.groups=[harmful_plain]",
    "causal.prompts=64",
    "causal.counts=[0.0002, 0.0005, 0.001, 0.0025]",
    "selection.knockout_prompts=0",
    "attribution.pairs_per_role=8",
)
"""Of every ranking: do plain harmful prompts of the validation split, which attribution never saw, stay refused?"""
_GRADIENT = ("attribution.method=gradient",)
_EQUATION_4 = ("attribution.method=integrated_gradients", "attribution.objective=probability")
_LOG_PROBABILITY = (
    "attribution.method=integrated_gradients",
    "attribution.objective=log_probability",
    "selection.statistic=mean",
)
_ACTIVATION = ("attribution.method=activation", "attribution.normalise=false")


def _ranked(*changes: str, draws: int = 0) -> tuple[str, ...]:
    return (*_ASKED, f"causal.draws={draws}", *changes)


def _worth(seed: int) -> dict[str, tuple[str, ...]]:
    """Return attributed and five random sets of four sizes, and (IA)3 as upper bound, all scaled with one seed."""
    sets = {"attributed": ()} | {
        f"random {draw}": ("selection.method=matched_random", f"selection.seed={draw}") for draw in range(5)
    }
    found = {
        f"{kind}, {count} + {count}, seed {seed}": (
            f"selection.safety_neurons={count}",
            f"selection.utility_neurons={count}",
            f"scaling.seed={seed}",
            *changes,
        )
        for count in (50, 150, 500, 2000)
        for kind, changes in sets.items()
    }
    return found | {f"(IA)3, all neurons, seed {seed}": ("baseline.method=ia3", f"scaling.seed={seed}")}


_MARGIN_FIT = ("scaling.method=margin_fit",)
"""The default; a preset may have another method, without the settings that these variants change."""
_LEARNED = {
    "as set": _MARGIN_FIT,
    **{f"lambda {weight:g}": (*_MARGIN_FIT, f"scaling.utility_weight={weight:g}") for weight in (0.25, 1.0)},
    **{f"KL weight {weight:g}": (*_MARGIN_FIT, f"scaling.response_weight={weight:g}") for weight in (0.03, 0.3, 1.0)},
}
"""Points of the frontier of learned factors."""
_TESTED = (f"evaluation.benchmarks={_listed(PUBLIC)}",)

STUDIES: dict[str, Study] = {
    "baselines": Study(
        "NeuronTune against other methods",
        "How well does each method do with the same data, the same prompts and the same budget?",
        {
            "NeuronTune": (),
            "safety system prompt": ("baseline.method=system_prompt",),
            "dial": ("scaling.method=dial", "selection.utility_set=opposes_refusal"),
            "whole layers": ("selection.method=layers",),
            "steering": ("baseline.method=steering",),
            "steering, harmless states kept": ("baseline.method=alphasteer",),
            "LoRA": ("baseline.method=lora",),
            "LoRA by preferences (DPO)": ("baseline.method=dpo",),
            "(IA)3, all neurons": ("baseline.method=ia3",),
            **_random(5),
        },
        searched="baselines",
        trials=TRIALS,
    ),
    "attribution-validity": Study(
        "Does attribution find the right neurons?",
        "Do attributed neurons do better than as many random ones, or than those of shuffled scores?",
        {
            "attributed": (),
            **{
                f"shuffled within layers, seed {seed}": ("selection.method=shuffled", f"selection.seed={seed}")
                for seed in range(3)
            },
            **_random(3),
        },
    ),
    "neuron-count": Study(
        "How many safety and utility neurons",
        "How do safety and utility depend on the two numbers of neurons, and which are on the Pareto front?",
        {
            f"{safety} + {utility}": (f"selection.safety_neurons={safety}", f"selection.utility_neurons={utility}")
            for safety, utility in product(COUNTS, COUNTS)
        },
        "plane",
    ),
    "frontier": Study(
        "The frontier of safety and utility",
        "How do safety, utility and the answers depend on the weights of utility (lambda) and of the KL?",
        _LEARNED,
        "plane",
    ),
    "cross-attack": Study(
        "Transfer between types of attack",
        "If only attacks of one type are trained on, what does the model refuse under the other types?",
        {attack_type.replace("_", " "): _only(attack_type) for attack_type in TYPES},
        "attack_types",
    ),
    "cross-task": Study(
        "Transfer between datasets",
        "If the model is tuned on one source of queries, what does it refuse of another?",
        {
            "shipped corpus": _TESTED,
            "AdvBench and Alpaca": (*_TESTED, 'pairs.harmful=["advbench"]', 'pairs.benign=["alpaca"]'),
        },
        "datasets",
    ),
    "overlap": Study(
        "Neurons that rank high for both safety and utility",
        "Should they go to the role with the stronger score, to the safety set, or to neither?",
        {
            "split: to the stronger role": ("selection.overlap=stronger",),
            "kept, safety first": ("selection.overlap=safety_first",),
            "dropped": ("selection.overlap=drop",),
        },
    ),
    "layers": Study(
        "Where the neurons sit",
        "How are safety and utility neurons spread over the layers?",
        {"the preset's model": ("attribution.first_layer=0",)},
        "layers",
        through="selection",
    ),
    "causal": Study(
        "Cause and effect",
        "What does the model refuse when the neurons that carry refusal are silenced, amplified or patched, and when "
        "random ones are?",
        {"the preset's neurons": ()},
        "causal",
        through="causal",
    ),
    "robustness": Study(
        "Attacks with knowledge of the model",
        "How often do attacks get what they ask for, with and without access to the weights?",
        {
            "NeuronTune": (),
            "LoRA": ("baseline.method=lora",),
            "safety system prompt": ("baseline.method=system_prompt",),
        },
        "robustness",
        through="robustness",
        searched="baselines",
    ),
    "rankings": Study(
        "Which ranking finds the neurons that carry refusal",
        "How many plain harmful prompts does the model still refuse when the first neurons of each ranking are silent?",
        {
            "gradient at 1": _ranked(*_GRADIENT, "selection.statistic=mean", draws=5),
            "gradient at 1, safety minus utility pairs": _ranked(*_GRADIENT, "selection.statistic=difference"),
            "gradient at 1, t over pairs": _ranked(*_GRADIENT, "selection.statistic=t"),
            "learned mask": _ranked("attribution.method=mask", "selection.statistic=mean"),
            "activation, harmful minus harmless": _ranked(*_ACTIVATION, "selection.statistic=difference"),
            "activation, effect size": _ranked(*_ACTIVATION, "selection.statistic=effect_size"),
            "equation 4": _ranked(*_EQUATION_4, "selection.statistic=mean"),
            "equation 4, safety minus utility pairs": _ranked(*_EQUATION_4, "selection.statistic=difference"),
            "equation 4, response positions": _ranked(
                *_EQUATION_4, "selection.statistic=mean", "attribution.position=response"
            ),
            "equation 4, t over pairs": _ranked(*_EQUATION_4, "selection.statistic=t"),
            "equation 4, log-probability": _ranked(*_LOG_PROBABILITY),
            "equation 4, log-probability, response positions": _ranked(
                *_LOG_PROBABILITY, "attribution.position=response"
            ),
        },
        "rankings",
        through="causal",
    ),
    "automatic-count": Study(
        "Numbers of neurons chosen on validation data",
        "Does Optuna, maximising the score on the validation split, beat the fixed default on the test split?",
        {"fixed default": ()},
        searched="counts",
        tried="fixed default",
        trials=TRIALS,
    ),
    "seeds": Study(
        "Spread over seeds",
        "How much do the results depend on the seed of batches and samples?",
        {f"seed {seed}": (f"scaling.seed={seed}",) for seed in range(5)},
        "seeds",
    ),
    "scaling-methods": Study(
        "How the factors are found",
        "How well does each method of scaling do with the same neurons?",
        {
            "margin_fit": _MARGIN_FIT,
            "maml, first order": ("scaling.method=maml",),
            "maml, second order": ("scaling.method=maml", "scaling.order=second"),
            "dial": ("scaling.method=dial", "selection.utility_set=opposes_refusal"),
        },
        searched="maml",
        tried="maml, first order",
        trials=TRIALS,
    ),
    "dial": Study(
        "Two factors without training",
        "How do safety and utility depend on two factors, one for the neurons that carry refusal and one for those "
        "that work against it, and is that frontier below the one of as many factors that are learned?",
        {
            f"{carrying:g} and {opposing:g}": (
                "scaling.method=dial",
                "selection.utility_set=opposes_refusal",
                f"scaling.safety_factors=[{carrying}]",
                f"scaling.utility_factors=[{opposing}]",
            )
            for carrying, opposing in ((1.0, 1.0), (1.25, 0.75), (1.5, 0.5), (1.0, 0.0), (2.0, 1.0), (2.0, 0.0))
        }
        | {f"learned, {name}": changes for name, changes in _LEARNED.items()},
        "plane",
    ),
    "margin-fit": Study(
        "What each part of the margin fit is worth",
        "What changes when one part is left out?",
        {
            "as set": _MARGIN_FIT,
            "roles respected": (*_MARGIN_FIT, "scaling.sign=by_role"),
            "without finish": (*_MARGIN_FIT, "scaling.finished_every=0"),
            "without keep": (*_MARGIN_FIT, "scaling.kept_share=0", "scaling.response_weight=0"),
            "without answer": (*_MARGIN_FIT, "scaling.utility_weight=0"),
            "KL neuron by neuron alone": (*_MARGIN_FIT, "scaling.joint_share=0"),
            "KL as measured alone": (*_MARGIN_FIT, "scaling.joint_share=1"),
            "without damping": (*_MARGIN_FIT, "scaling.damping=0"),
            "given refusal": (*_MARGIN_FIT, "scaling.refusal=given"),
        },
    ),
    "selection-worth": Study(
        "What selection is worth after scaling",
        "Do attributed neurons do better than matched random neurons, once both are scaled?",
        {name: changes for seed in range(3) for name, changes in _worth(seed).items()},
        "worth",
    ),
}
"""Named studies."""
