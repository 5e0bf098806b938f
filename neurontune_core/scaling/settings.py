"""Settings of the scaling stage: the fields that all methods share, and those of each method."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from neurontune_core.section import ByMethod, Section, as_list, methods_of

DEFAULT_METHOD = "margin_fit"
METHOD_MEANING = "Method that finds the factors (docs/scaling.md). Each method has its own settings."


class ChoosingSettings(Section):
    """Settings that all methods share: how factors are chosen and measured on validation prompts."""

    refusal: Literal["own", "given"] = Field(
        default="own",
        description="Response to harmful prompts in training: `own` is the model's own most frequent refusal, if it "
        "has one; `given` is the refusal of pairs.refusals.",
    )
    validation_prompts: int = Field(
        default=48,
        ge=4,
        description="Most validation prompts of each role by which the factors are chosen; half of them are attacked. "
        "As many other validation prompts measure the chosen factors.",
    )
    validation_tokens: int = Field(default=64, ge=1, description="Most tokens of the answers judged in validation.")
    seed: int = Field(default=0, ge=0, description="Seed of batches and validation prompts.")


class TrainingSettings(ChoosingSettings):
    """Settings that all methods share that learn from batches."""

    steps: int = Field(default=40, ge=0, description="Number of outer steps.")
    harmful_batch: int = Field(default=40, ge=1, description="Number of harmful prompts in an outer step.")
    harmless_batch: int = Field(default=40, ge=1, description="Number of harmless prompts in an outer step.")
    attacked_share: float = Field(
        default=0.7, ge=0, le=1, description="Share of each batch's prompts that are attacked."
    )
    query_attacks: int = Field(
        default=5,
        ge=1,
        description="Number of attacks in the batch of an outer step; all are of one category, which is the step's "
        "task.",
    )
    utility_weight: float = Field(
        default=1.0, ge=0, description="Weight of the utility loss in the joint loss (lambda)."
    )
    response_tokens: int = Field(
        default=32, ge=1, description="Number of leading tokens of a harmless response that the utility loss reads."
    )
    sign: Literal["free", "by_role", "against_role"] = Field(
        default="free",
        description="Whether factors respect the neuron's role: `by_role` keeps safety factors at least 1 and utility "
        "factors at most 1; `against_role` keeps safety factors at most 1 and utility factors at least 1, for sets "
        "that work against refusal or answers; `free` sets no bounds.",
    )
    validations: int = Field(
        default=6,
        ge=0,
        description="Number of validations of a run, evenly spread over its steps; the factors with the best score "
        "are kept. 0: no validation; the last factors are kept.",
    )
    patience: int = Field(
        default=3, ge=0, description="Stop after this many validations without a better score; 0: take all steps."
    )


class MamlSettings(TrainingSettings):
    """Model-agnostic meta-learning, algorithm 1 of the paper (arXiv 2508.09473)."""

    method: Literal["maml"] = Field(default="maml", description=METHOD_MEANING)
    tasks_per_step: int = Field(
        default=1, ge=1, description="Number of attack categories (tasks) drawn in each outer step."
    )
    support_batch: int = Field(
        default=4, ge=2, description="Number of prompts of each role in a support batch (inner loop)."
    )
    inner_steps: int = Field(default=2, ge=0, description="Number of gradient steps of the inner loop.")
    inner_learning_rate: float = Field(default=0.05, gt=0, description="Step size of the inner loop.")
    outer_learning_rate: float = Field(
        default=0.1, gt=0, description="First Adam step size of the outer loop; it falls to 0 on a cosine."
    )
    order: Literal["first", "second"] = Field(
        default="first", description="First-order or full second-order meta-gradient."
    )
    early_positions: int = Field(
        default=3, ge=0, description="Number of leading response positions that have a greater weight in the losses."
    )
    early_weight: float = Field(default=8.0, ge=1, description="Weight of leading positions, relative to later ones.")
    safety_start: float = Field(default=1.1, gt=0, description="First value of the factors of safety neurons.")
    utility_start: float = Field(default=0.9, gt=0, description="First value of the factors of utility neurons.")


class MarginFitSettings(TrainingSettings):
    """Factors that fit the margins of all prompts measured so far, linear in the factors (docs/scaling.md)."""

    method: Literal["margin_fit"] = Field(default="margin_fit", description=METHOD_MEANING)
    opening_tokens: int = Field(
        default=5, ge=1, description="Number of leading tokens of a refusal that the margin of a harmful prompt reads."
    )
    refusal_openings: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(as_list)] = Field(
        default=(),
        description="Openings of refusals; responses to harmless prompts are trained not to begin with them. If the "
        "list is empty, the openings of the model's own refusals of validation prompts are used.",
    )
    response_weight: float = Field(
        default=0.3,
        ge=0,
        description="Weight of the KL of harmless responses, relative to that of refusing harmful prompts. A smaller "
        "weight separates more prompts and moves answers further from the base model's.",
    )
    kept_share: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Share of a step's harmless prompts whose KL from the base model is measured. One measurement "
        "of the KL costs several times as many tokens as one of an opening.",
    )
    finished_every: int = Field(
        default=9,
        ge=0,
        description="Refusals are measured to their end, not only in their opening, once in this many steps. 0: never.",
    )
    prior_width: float = Field(
        default=4.0, gt=0, description="Standard deviation of the Gaussian prior of a factor around 1."
    )
    damping: float = Field(
        default=8.0,
        ge=0,
        description="Penalty on the distance from the factors at which the model was measured last, in units of the "
        "prior's penalty.",
    )
    joint_share: float = Field(
        default=0.75,
        ge=0,
        le=1,
        description="Share of the KL penalty that uses the measured responses, for all neurons jointly; the remaining "
        "share is a separate penalty for each neuron.",
    )
    iterations: int = Field(default=30, ge=1, description="Most iterations of L-BFGS-B in each solve.")


class DialSettings(ChoosingSettings):
    """Two factors without training: one for the neurons that carry refusal, one for those that work against it."""

    method: Literal["dial"] = Field(default="dial", description=METHOD_MEANING)
    safety_factors: Annotated[tuple[Annotated[float, Field(ge=0)], ...], BeforeValidator(as_list)] = Field(
        default=(1.0, 1.25, 1.5, 2.0), min_length=1, description="Factors tried for the safety neurons."
    )
    utility_factors: Annotated[tuple[Annotated[float, Field(ge=0)], ...], BeforeValidator(as_list)] = Field(
        default=(1.0, 0.75, 0.5, 0.0),
        min_length=1,
        description="Factors tried for the utility neurons, with each of safety_factors.",
    )


AnyScaling = MamlSettings | MarginFitSettings | DialSettings
METHODS = methods_of(AnyScaling)
"""The settings of each method by its name."""

ScalingConfig = Annotated[AnyScaling, ByMethod(METHODS, DEFAULT_METHOD)]
"""Settings of one method; a setting of another method is an error."""
