"""The scores of one pair, computed by any method."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from neurontune_core.attribution.encode import EncodedPair
from neurontune_core.attribution.wavefront import Wave
from neurontune_core.errors import NumericalError


@dataclass(frozen=True)
class PairScores:
    """Scores of one pair; only integrated gradients fill the attributes after `scale`.

    Attributes:
        id: id of the pair.
        scores: score of every neuron of the attributed layers, layer after layer, float64 on the CPU `[neuron]`, in
            units of `exp(scale)`.
        scale: the scores are in units of `exp(scale)`; 0 except for integrated gradients of the probability.
        waves: the waves that were run.
        layers: the attributed layers.
        attributed: sum of the scores of each layer, float64 `[layer]`, in units of `exp(scale)`.
        difference: P(v_pq) - P(v_q) of each layer (or the same of log P), in the same units; None if not requested. It
            is computed in a wider number format than the scores, because in float32 each probability has a relative
            error of about 1e-5, which may exceed the difference.
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
    """Check that the scores of the pair with this id are finite.

    Raises:
        NumericalError: one of them is NaN or infinite; the message names the pair.
    """
    if not bool(scores.isfinite().all()):
        raise NumericalError(
            f"attribution: pair {pair} gave NaN or infinite scores; use model.dtype=float32 or bfloat16, "
            f"remove the pair, or check the model's weights if every pair does"
        )


def checked_scores(pairs: Sequence[EncodedPair], scores: Tensor) -> list[PairScores]:
    """Return the scores `[pair, neuron]` of a batch as one `PairScores` for each pair.

    Raises:
        NumericalError: a score is NaN or infinite; the message names the pair.
    """
    for pair, mine in zip(pairs, scores, strict=True):
        check_finite(pair.id, mine)
    return [PairScores(pair.id, mine) for pair, mine in zip(pairs, scores, strict=True)]
