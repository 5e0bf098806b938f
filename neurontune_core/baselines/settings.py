"""Settings of the baseline stage: each method has its own."""

from typing import Annotated, Literal

from pydantic import Field

from neurontune_core.section import ByMethod, Section, methods_of

DEFAULT_METHOD = "none"
METHOD_MEANING = (
    "`none`: NeuronTune itself; `system_prompt`: a self-reminder; `steering`: the refusal direction is added to the "
    "residual stream; `alphasteer`: the same, but not to harmless states; `lora`: LoRA fine-tuning with as many "
    "parameters and steps as the factors; `ia3`: a factor for every MLP neuron; `dpo`: LoRA learned from "
    "preferences (the last three need peft)."
)
RATE_MEANING = "First Adam step size; a search tries a tenth to ten times this size."


class NoBaseline(Section):
    """No other method: the factors are learned."""

    method: Literal["none"] = Field(default="none", description=METHOD_MEANING)


class SystemPromptSettings(Section):
    """A self-reminder as system message."""

    method: Literal["system_prompt"] = Field(default="system_prompt", description=METHOD_MEANING)


class SearchedSettings(Section):
    """A method whose step size, or whose layer and strength, can be searched."""

    trials: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="Number of step sizes (for steering: of layers and strengths) that Optuna tries on validation "
        "data. 0: the configured step size is used, and steering tries a fixed grid.",
    )


class SteeringSettings(SearchedSettings):
    """The refusal direction added to the residual stream, its layer and strength chosen on validation prompts."""

    method: Literal["steering"] = Field(default="steering", description=METHOD_MEANING)


class AlphaSteerSettings(SearchedSettings):
    """The refusal direction, added only to harmful states: a null space keeps harmless states nearly unchanged."""

    method: Literal["alphasteer"] = Field(default="alphasteer", description=METHOD_MEANING)


class LoraSettings(SearchedSettings):
    """LoRA fine-tuning on the data and with the budget of the scaling factors."""

    method: Literal["lora"] = Field(default="lora", description=METHOD_MEANING)
    learning_rate: float = Field(default=5e-3, gt=0, description=RATE_MEANING)


class Ia3Settings(SearchedSettings):
    """(IA)3: a factor for every MLP neuron, learned by Adam."""

    method: Literal["ia3"] = Field(default="ia3", description=METHOD_MEANING)
    learning_rate: float = Field(default=2e-2, gt=0, description=RATE_MEANING)


class DpoSettings(SearchedSettings):
    """LoRA by direct preference optimisation: refusals preferred to answers, or answers to refusals."""

    method: Literal["dpo"] = Field(default="dpo", description=METHOD_MEANING)
    learning_rate: float = Field(default=2e-3, gt=0, description=RATE_MEANING)


AdapterSettings = LoraSettings | Ia3Settings | DpoSettings
"""Methods that peft trains."""

AnyBaseline = NoBaseline | SystemPromptSettings | SteeringSettings | AlphaSteerSettings | AdapterSettings
METHODS = methods_of(AnyBaseline)
"""The settings of each method by its name."""

BaselineConfig = Annotated[AnyBaseline, ByMethod(METHODS, DEFAULT_METHOD)]
"""Another method in place of learned factors, to compare with on the same data and budget; a setting of another method
is an error."""
