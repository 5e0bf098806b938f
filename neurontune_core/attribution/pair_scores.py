"""The scores of one pair, whatever method gave them."""

from dataclasses import dataclass

from torch import Tensor

from neurontune_core.attribution.wavefront import Wave
from neurontune_core.errors import NumericalError


@dataclass(frozen=True)
class PairScores:
    """Scores of one pair; all after `scale` is known of integrated gradients alone.

    Attributes:
        id: id of the pair.
        scores: score of every neuron of the attributed layers, layer after layer, float64 on the CPU `[neuron]`, in
            units of `exp(scale)`.
        scale: the logarithm the scores are relative to; 0 except for integrated gradients of the probability.
        waves: the waves it took.
        layers: the attributed layers.
        attributed: sum of the scores of each of them, float64 `[layer]`, in units of `exp(scale)`.
        difference: P(v_pq) - P(v_q) of each layer, or of log P, in the same units; None if not asked for. Computed in
            a wider number format than the scores: in float32 the two probabilities, each with an error of about 1e-5
            of its size, differ too little to be subtracted.
        refined: number of layers that were given more nodes.
    """

    id: str
    scores: Tensor
    scale: float = 0.0
    waves: tuple[Wave, ...] = ()
    layers: tuple[int, ...] = ()
    attributed: Tensor | None = None
    difference: Tensor | None = None
    refined: int = 0


def check_finite(pair: str, scores: Tensor) -> None:
    """Check the scores of the pair of this id.

    Raises:
        NumericalError: one of them is NaN or infinite; the message names the pair.
    """
    if not bool(scores.isfinite().all()):
        raise NumericalError(
            f"attribution: pair {pair} gave NaN or infinite scores; use model.dtype=float32 or bfloat16, "
            f"remove the pair, or check the model's weights if every pair does"
        )
