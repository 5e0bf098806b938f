"""Settings of the attribution stage."""

from typing import Literal

from pydantic import Field

from neurontune_core.errors import InputError
from neurontune_core.section import CountOrFraction, Section

AttributionMethod = Literal["integrated_gradients", "gradient", "mask", "activation"]
"""The methods that compute contribution scores."""


class AttributionConfig(Section):
    """Contribution scores by integrated gradients (equation 4) or another method."""

    method: AttributionMethod = Field(
        default="integrated_gradients",
        description="Method that computes a neuron's score. `integrated_gradients`: equation 4, from the plain query "
        "to the attacked prompt; `gradient`: derivative of log P(response) with respect to a factor on "
        "the neuron, at factor 1; `mask`: sparse masks learned by gradient descent, one to take the response "
        "away and one to keep it; `activation`: the neuron's activation at the last position of the plain "
        "query.",
    )
    pairs_per_role: int = Field(
        default=24, ge=2, description="Most pairs attributed for each of the two roles, safety and utility."
    )
    first_layer: CountOrFraction = Field(
        default=0,
        ge=0,
        description="First attributed layer; no neurons of lower layers are selected. A number below 1 is a fraction "
        "of all layers. Lower layers take longer to attribute than upper ones.",
    )
    shards: int = Field(
        default=2, ge=1, le=10_000, description="Number of independent parts into which the pairs are divided."
    )
    nodes: int = Field(
        default=4,
        ge=1,
        le=64,
        description="Integrated gradients: number of nodes of the path integral (Legendre-Gauss-Radau). One node is "
        "the end of the path, the attacked prompt, and costs nothing extra. Layers in which four nodes "
        "are inaccurate get more, except in half formats.",
    )
    position: Literal["last", "response"] = Field(
        default="last",
        description="Integrated gradients: integrate over the last prompt position, or over all positions that predict "
        "the response.",
    )
    objective: Literal["probability", "log_probability"] = Field(
        default="probability",
        description="Integrated gradients: quantity whose change is attributed, the response's probability or its "
        "logarithm.",
    )
    normalise: bool = Field(
        default=True, description="Scale each pair's scores to unit L2 norm before they are summed."
    )
    response_tokens: int = Field(
        default=12,
        ge=1,
        description="Number of leading tokens of the response whose probability is attributed; `activation` does not "
        "read the response.",
    )


def first_layer(config: AttributionConfig, layers: int) -> int:
    """Return the first layer to attribute: a layer as it is, a fraction below 1 of all `layers` rounded down.

    Raises:
        InputError: it is neither, or the model has no such layer.
    """
    value = config.first_layer
    if not (float(value).is_integer() or 0 < value < 1):
        raise InputError(
            f"attribution.first_layer: {value} is neither a layer nor a fraction below 1; give 8 or 0.4, for example"
        )
    first = int(value * layers) if 0 < value < 1 else int(value)
    if first >= layers:
        raise InputError(
            f"attribution.first_layer: {value}, but the model has {layers} layers; choose at most {layers - 1}"
        )
    return first
