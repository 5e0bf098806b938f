"""Settings of the selection stage."""

from typing import Literal

from pydantic import Field

from neurontune_core.section import Section


class SelectionConfig(Section):
    """Settings of how many neurons are tuned, and which."""

    safety_neurons: int | float = Field(
        default=0.03, ge=0, description="Safety neurons: a count, or a fraction of all neurons if below 1."
    )
    utility_neurons: int | float = Field(
        default=0.03, ge=0, description="Utility neurons: a count, or a fraction of all neurons if below 1."
    )
    safety_set: Literal["carries_refusal", "opposes_refusal"] = Field(
        default="carries_refusal",
        description="Which neurons are the safety set: those that carry the refusal of the plain query (the most "
        "negative scores of equation 4 over safety pairs), or those that work against it (the most positive).",
    )
    utility_set: Literal["carries_answers", "opposes_answers", "opposes_refusal"] = Field(
        default="carries_answers",
        description="Which neurons are the utility set: those that carry the answer to the harmless attacked prompt "
        "(the most positive scores of equation 4 over utility pairs), or those that work against it; or those that "
        "work against the refusal of safety pairs.",
    )
    statistic: Literal["mean", "t", "difference", "effect_size"] = Field(
        default="mean",
        description="Statistic of a neuron's scores over the pairs: `mean`; `t`, the mean in standard errors; "
        "`difference` of the means of both roles; `effect_size`, that difference in standard deviations.",
    )
    overlap: Literal["drop", "safety_first", "stronger"] = Field(
        default="stronger", description="Role of a neuron that ranks high in both roles."
    )
    method: Literal["score", "random", "matched_random", "shuffled", "layers"] = Field(
        default="score",
        description="Rank by attribution `score`, or a control: `random` neurons; `matched_random`, as many random "
        "neurons of every layer as the scores choose; scores `shuffled` within each layer; all of the best `layers`.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of the random and the shuffled controls.")
    knockout_prompts: int = Field(
        default=32,
        ge=0,
        description="Harmful validation prompts on which silencing the safety set is compared with silencing random "
        "neurons, the same number in every layer. 0: no such check.",
    )
