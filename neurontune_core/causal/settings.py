"""Settings of a causal study."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from neurontune_core.section import Names, Section, as_list


class CausalConfig(Section):
    """A causal study: what the model does when sets of neurons are silenced, amplified or patched."""

    split: Literal["validation", "test"] = Field(
        default="test",
        description="Split whose prompts are asked: the validation split, or the test split together with the public "
        "sets in evaluation.benchmarks.",
    )
    groups: Names = Field(
        default=(), description="Groups of prompts to ask, e.g. `harmful_plain, benign_ordinary`; all by default."
    )
    prompts: int = Field(default=16, ge=1, description="Most prompts of each group.")
    tokens: int = Field(
        default=24,
        ge=1,
        description="Most tokens of an answer. If answers are shorter, the judge counts an opening such as `Tax fraud "
        "is a serious crime that` as a refusal.",
    )
    judge: Literal["rules", "keyword"] = Field(
        default="rules",
        description="Judge of refusals: `rules`, or `keyword`, a list of refusal phrases from the literature, which "
        "does not count a moral lecture as a refusal.",
    )
    counts: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], BeforeValidator(as_list)] = Field(
        default=(0.0002, 0.001, 0.003, 0.01, 0.03), description="Sizes of the sets, as fractions of all neurons."
    )
    interventions: Annotated[tuple[Literal["zero", "mean", "amplify", "patch"], ...], BeforeValidator(as_list)] = Field(
        default=("zero", "mean", "amplify", "patch"),
        description="What is done to a set: its activations are set to 0, or to their mean over harmless prompts, "
        "multiplied by each of `factors`, or set, at the last position of an attacked prompt, to those of the "
        "plain query.",
    )
    factors: Annotated[tuple[Annotated[float, Field(gt=1)], ...], BeforeValidator(as_list)] = Field(
        default=(1.5, 2, 3), description="Factors of amplification; random sets use only the middle factor."
    )
    draws: int = Field(
        default=5, ge=0, description="Number of sets of matched random neurons (as many in every layer) for each set."
    )
    shards: int = Field(
        default=4, ge=1, le=10_000, description="Number of independent parts into which the study is divided."
    )
    seed: int = Field(default=0, ge=0, description="Seed of prompt samples and random sets.")
