"""Settings of the attribution stage."""

from typing import Literal

from pydantic import Field

from neurontune_core.errors import InputError
from neurontune_core.section import Section

AttributionMethod = Literal["integrated_gradients", "gradient", "activation"]
"""How contribution scores are made."""


class AttributionConfig(Section):
    """Contribution scores by integrated gradients (equation 4) or another method."""

    method: AttributionMethod = Field(
        default="integrated_gradients",
        description="What a neuron's score is: `integrated_gradients` from the plain query to the attacked prompt "
        "(equation 4); `gradient` of log P(response) in a factor on the neuron, at 1; `activation`, its own at the "
        "last position of the plain query.",
    )
    pairs_per_role: int = Field(default=24, ge=2, description="Attacked prompts attributed for each of the two roles.")
    first_layer: int | float = Field(
        default=0,
        ge=0,
        description="Layers below this one are left alone: not attributed, none of their neurons selected. A layer, or "
        "a fraction of all layers if below 1. Lower layers take longer to attribute than upper ones.",
    )
    shards: int = Field(default=2, ge=1, le=10_000, description="Independent parts the pairs are divided into.")
    nodes: int = Field(
        default=4,
        ge=1,
        le=64,
        description="Integrated gradients: nodes of the path integral (Legendre-Gauss-Radau: its end, which costs "
        "nothing, is one of them); layers whose path bends get more, except in half formats.",
    )
    position: Literal["last", "response"] = Field(
        default="last",
        description="Integrated gradients: integrate over the last prompt position, or over all positions that predict "
        "the response.",
    )
    objective: Literal["probability", "log_probability"] = Field(
        default="probability", description="Integrated gradients: quantity whose change is attributed."
    )
    normalise: bool = Field(
        default=True, description="Scale each pair's scores to unit L2 norm before they are summed."
    )
    response_tokens: int = Field(
        default=12,
        ge=1,
        description="Leading response tokens whose probability is attributed; `activation` reads none.",
    )


def first_layer(config: AttributionConfig, layers: int) -> int:
    """Return the first layer to attribute: a layer as it is, a fraction below 1 of all `layers` rounded down.

    Raises:
        InputError: it is neither, or the model has no such layer.
    """
    value = config.first_layer
    if not (float(value).is_integer() or 0 < value < 1):
        raise InputError(f"attribution.first_layer: {value} is neither a layer nor a fraction below 1")
    first = int(value * layers) if 0 < value < 1 else int(value)
    if first >= layers:
        raise InputError(
            f"attribution.first_layer: {value}, but the model has {layers} layers; choose at most {layers - 1}"
        )
    return first
