"""The methods that `attribution.method` names, with one interface: they compute the scores of encoded pairs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from neurontune_core.attribution import setup
from neurontune_core.attribution.activation import activation_scores
from neurontune_core.attribution.completeness import WANTED_GAP
from neurontune_core.attribution.encode import EncodedPair, encode_pair
from neurontune_core.attribution.engine import attribute
from neurontune_core.attribution.gradient import gradient_scores
from neurontune_core.attribution.mask import mask_scores
from neurontune_core.attribution.pair_scores import PairScores
from neurontune_core.attribution.settings import AttributionConfig, first_layer
from neurontune_core.attribution.split import in_halves
from neurontune_core.model.batches import by_length, bytes_per_token, tokens_that_fit
from neurontune_core.model.load import ChatModel
from neurontune_core.neurons import neuron_counts
from neurontune_core.records import PromptPair

FULLNESS = 0.8
"""Least length of a batch's shortest text relative to its longest text; it limits the computation on padding."""


@dataclass(frozen=True)
class ReadyMethod:
    """A method made ready for a model.

    Attributes:
        layers: the attributed layers, ascending, and the number of neurons of each.
        batches: returns groups of places of pairs; the pairs of a group go through the model together.
        score: returns the scores of the pairs of one group; with True it also checks their completeness, if the method
            is integrated gradients.
        engine: the engine of integrated gradients; None for another method.
    """

    layers: dict[int, int]
    batches: Callable[[Sequence[EncodedPair]], list[list[int]]]
    score: Callable[[Sequence[EncodedPair], bool], list[PairScores]]
    engine: setup.Engine | None = None


def build_method(config: AttributionConfig, chat: ChatModel, memory_mib: int | None = None) -> ReadyMethod:
    """Make the configured method ready.

    Args:
        config: the method and its settings.
        chat: the model, its weights without gradients.
        memory_mib: activations kept at once, in MiB; if None, the device and the model determine it.

    Raises:
        InputError: there is no such `first_layer`, a layer has no MLP neurons, or the model is of a kind that
            integrated gradients do not support.
    """
    if config.method == "integrated_gradients":
        return _integral(setup.build_engine(config, chat, memory_mib))
    widths = neuron_counts(chat.model)
    layers = {layer: widths[layer] for layer in range(first_layer(config, len(widths)), len(widths))}
    scores = {"gradient": gradient_scores, "mask": mask_scores, "activation": activation_scores}[config.method]
    limit = tokens_that_fit(chat.model) if memory_mib is None else (memory_mib << 20) // bytes_per_token(chat.model)

    def batches(pairs: Sequence[EncodedPair]) -> list[list[int]]:
        return by_length([positions(config, pair) for pair in pairs], limit, FULLNESS)

    def score(pairs: Sequence[EncodedPair], checked: bool) -> list[PairScores]:
        return in_halves(lambda part: scores(chat, layers, part), pairs)

    return ReadyMethod(layers, batches, score)


def encode_pairs(pairs: Sequence[PromptPair], config: AttributionConfig, chat: ChatModel) -> list[EncodedPair]:
    """Return the token ids of pairs; those of the response only if the method reads it.

    Raises:
        InputError: a pair is empty, or too long for the model.
    """
    response_tokens = 0 if config.method == "activation" else config.response_tokens
    return [encode_pair(pair, chat, response_tokens) for pair in pairs]


def positions(config: AttributionConfig, pair: EncodedPair) -> int:
    """Return the number of positions of the text that a method other than integrated gradients reads for a pair."""
    return len(pair.query) if config.method == "activation" else len(pair.answered) + len(pair.response) - 1


def _integral(engine: setup.Engine) -> ReadyMethod:
    def batches(pairs: Sequence[EncodedPair]) -> list[list[int]]:
        return setup.batches(engine, pairs)

    def score(pairs: Sequence[EncodedPair], checked: bool) -> list[PairScores]:
        return attribute(engine, pairs, checked, WANTED_GAP)

    return ReadyMethod({layer: engine.widths[layer] for layer in engine.layers}, batches, score, engine)
