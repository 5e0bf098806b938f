"""Settings of a robustness study."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from neurontune_core.section import Section, as_list


class RobustnessConfig(Section):
    """A robustness study: the success of attacks that use knowledge of the model."""

    prompts: int = Field(default=100, ge=1, description="Most plain harmful prompts of each benchmark.")
    tokens: int = Field(default=64, ge=1, description="Most tokens of an answer.")
    samples: int = Field(
        default=25,
        ge=1,
        le=25,
        description="Number of answers drawn at temperature 1 for each prompt: the N of best of N.",
    )
    shots: Annotated[tuple[Annotated[int, Field(ge=1, le=256)], ...], BeforeValidator(as_list)] = Field(
        default=(4, 16), description="Many-shot: numbers of answered harmless questions before the prompt."
    )
    fractions: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], BeforeValidator(as_list)] = Field(
        default=(0.25, 0.5, 0.75, 1),
        description="Shares by which the learned change is moved back towards the base model; 1 is the base model.",
    )
    bits: Annotated[tuple[Annotated[int, Field(ge=2, le=8)], ...], BeforeValidator(as_list)] = Field(
        default=(8, 4), description="Numbers of bits to which the weights are rounded."
    )
    seed: int = Field(default=0, ge=0, description="Seed of prompt samples and of sampled answers.")
