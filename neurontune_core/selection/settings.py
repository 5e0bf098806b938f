"""Settings of the selection stage."""

from typing import Literal

from pydantic import Field

from neurontune_core.section import CountOrFraction, Section


class SelectionConfig(Section):
    """Settings of how many neurons are tuned, and which."""

    safety_neurons: CountOrFraction = Field(
        default=0.03, ge=0, description="Safety neurons: a count, or a fraction of all neurons if below 1."
    )
    utility_neurons: CountOrFraction = Field(
        default=0.03, ge=0, description="Utility neurons: a count, or a fraction of all neurons if below 1."
    )
    safety_set: Literal["carries_refusal", "opposes_refusal"] = Field(
        default="carries_refusal",
        description="Which neurons are the safety set: those that carry the refusal of the plain query (the most "
        "negative scores of equation 4 over safety pairs), or those that work against refusal (the most "
        "positive).",
    )
    utility_set: Literal["carries_answers", "opposes_answers", "opposes_refusal"] = Field(
        default="carries_answers",
        description="Which neurons are the utility set: those that carry the answer to the harmless attacked prompt "
        "(the most positive scores of equation 4 over utility pairs), or those that work against it; or those that "
        "work against the refusal of safety pairs.",
    )
    statistic: Literal["mean", "t", "difference", "effect_size"] = Field(
        default="mean",
        description="Statistic of a neuron's scores over the pairs, by which neurons are ranked: `mean`; `t`, the "
        "mean divided by its standard error; `difference` of the means of both roles; `effect_size`, that "
        "difference divided by the standard deviation.",
    )
    overlap: Literal["drop", "safety_first", "stronger"] = Field(
        default="stronger",
        description="Role of a neuron that is among the first of both roles: none (`drop`), safety (`safety_first`), "
        "or the role in which its score is stronger (`stronger`).",
    )
    method: Literal["score", "random", "matched_random", "shuffled", "layers"] = Field(
        default="score",
        description="How neurons are chosen: by attribution `score`; or, as a control, `random` neurons; "
        "`matched_random` neurons, as many in every layer as the scores choose; by scores `shuffled` "
        "within each layer; or all neurons of the best `layers`.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of the random and the shuffled controls.")
    knockout_prompts: int = Field(
        default=32,
        ge=0,
        description="Number of plain harmful validation prompts on which silencing the safety set is compared with "
        "silencing matched random neurons (as many in every layer). 0: no such check.",
    )
