"""Settings of the baseline stage: each method has its own."""

from typing import Annotated, Literal

from pydantic import Field, Tag

from neurontune_core.section import Section, by_method

DEFAULT_METHOD = "none"
METHOD_MEANING = (
    "`none`: NeuronTune itself; `system_prompt`: a self-reminder; `steering`: the refusal direction is added to the "
    "residual stream; `lora`: LoRA fine-tuning with as many parameters and steps as the factors (peft)."
)


class NoBaseline(Section):
    """No other method: the factors are learned."""

    method: Literal["none"] = Field(default="none", description=METHOD_MEANING)


class SystemPromptSettings(Section):
    """A self-reminder as system message."""

    method: Literal["system_prompt"] = Field(default="system_prompt", description=METHOD_MEANING)


class SteeringSettings(Section):
    """The refusal direction added to the residual stream, its layer and strength chosen on validation prompts."""

    method: Literal["steering"] = Field(default="steering", description=METHOD_MEANING)


class LoraSettings(Section):
    """LoRA fine-tuning on the data and with the budget of the scaling factors."""

    method: Literal["lora"] = Field(default="lora", description=METHOD_MEANING)
    lora_learning_rate: float = Field(default=5e-3, gt=0, description="First Adam step size of LoRA.")


METHODS: dict[str, type[Section]] = {
    "none": NoBaseline,
    "system_prompt": SystemPromptSettings,
    "steering": SteeringSettings,
    "lora": LoraSettings,
}
"""The settings of each method by its name."""

BaselineConfig = Annotated[
    Annotated[NoBaseline, Tag("none")]
    | Annotated[SystemPromptSettings, Tag("system_prompt")]
    | Annotated[SteeringSettings, Tag("steering")]
    | Annotated[LoraSettings, Tag("lora")],
    by_method(METHODS, DEFAULT_METHOD),
]
"""Another method in place of learned factors, to compare with on the same data and budget; a setting of another method
is an error."""
