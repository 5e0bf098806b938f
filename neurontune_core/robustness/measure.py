"""A model's answers under an attack, and whether each gave what was asked for."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import pandas as pd

from neurontune_core.evaluation.judges import Completion, Judge
from neurontune_core.interventions import Intervention
from neurontune_core.model.chat import RefusedByTemplate, encode_response
from neurontune_core.model.generate import decode, generate
from neurontune_core.model.load import ChatModel
from neurontune_core.model.positions import overflow
from neurontune_core.model.quantise import quantise, weights_kept
from neurontune_core.model.sampling import Sampler
from neurontune_core.progress import Track, silent
from neurontune_core.records import NeuronSet, PromptPair
from neurontune_core.robustness import attacks
from neurontune_core.robustness.settings import RobustnessConfig

COLUMNS = ("attack", "setting", "place", "sample", "id", "query_id", "label", "gave", "answer")


@dataclass(frozen=True)
class RobustnessStudy:
    """The attacked model, and the judge of its answers.

    Attributes:
        chat: the base model.
        change: the method's change of it; `attacks.UNCHANGED` for the base model itself.
        neurons: the neurons selected for tuning.
        prompts: plain harmful prompts.
        config: samples, shots, fractions, bits, tokens.
        judge: labels the answers.
    """

    chat: ChatModel
    change: Intervention
    neurons: NeuronSet
    prompts: Sequence[PromptPair]
    config: RobustnessConfig
    judge: Judge


def measure_attack(study: RobustnessStudy, attack: str, track: Track = silent) -> pd.DataFrame:
    """Return a row for every answer under an attack.

    Columns: attack, setting (in words), place (its number on an axis), sample (counted from 1), id and query_id of the
    prompt, label, gave (whether the answer gave what was asked for; missing if the judge does not say), answer. There
    is no row if the model's template does not allow the attack, or if no prompt fits the model's positions.
    """
    rows: list[tuple[object, ...]] = []
    try:
        for setting, place, answered in _settings(study, attack, track):
            rows += [(attack, setting, place, *row) for row in answered]
    except RefusedByTemplate:
        rows = []
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"gave": "boolean"})


def _settings(
    study: RobustnessStudy, attack: str, track: Track
) -> Iterator[tuple[str, float, list[tuple[object, ...]]]]:
    """Yield each setting of an attack in words and as a number, with the model's answers under it."""
    config, chat, change = study.config, study.chat, study.change
    if attack == attacks.QUANTISED:
        for bits in config.bits:
            with quantised_model(chat, change, bits) as changed:
                yield f"{bits} bits", bits, _answered(study, changed, study.prompts, track)
    elif attack == attacks.AVERAGED:
        for fraction in config.fractions:
            with change.weakened(1 - fraction).applied(chat) as changed:
                yield f"{fraction:.0%} of the way", fraction, _answered(study, changed, study.prompts, track)
    elif attack == attacks.SILENCED:
        unread = change.without_reading(study.neurons.safety)
        with attacks.silencing(study.neurons).applied(chat), unread.applied(chat) as changed:
            yield "", 0, _answered(study, changed, study.prompts, track)
    else:
        with change.applied(chat) as changed:
            yield from _asked(study, attack, changed, track)


def _asked(
    study: RobustnessStudy, attack: str, chat: ChatModel, track: Track
) -> Iterator[tuple[str, float, list[tuple[object, ...]]]]:
    """Yield the settings of an attack that needs no access to the weights."""
    answered = partial(_answered, study, chat, track=track)
    if attack == attacks.PREFILLED:
        for place, beginning in enumerate(attacks.BEGINNINGS, 1):
            yield f'"{beginning} ..."', place, answered(study.prompts, beginning=beginning)
    elif attack == attacks.SYSTEM:
        yield "", 0, answered([replace(pair, system=attacks.NO_REFUSING) for pair in study.prompts])
    elif attack == attacks.MANY_SHOT:
        for count in study.config.shots:
            yield f"{count} shots", count, answered(attacks.with_shots(study.prompts, count))
    elif attack == attacks.BEST_OF:
        yield "", 0, answered(study.prompts, samples=study.config.samples)
    else:
        yield "", 0, answered(study.prompts)


@contextmanager
def quantised_model(chat: ChatModel, change: Intervention, bits: int) -> Iterator[ChatModel]:
    """Yield the changed model with rounded weights: factors are folded in first, a LoRA's matrices are rounded too."""
    with weights_kept(chat.model), change.in_weights(chat) as changed:
        quantise(changed.model, bits)
        yield changed


def _answered(
    study: RobustnessStudy,
    chat: ChatModel,
    pairs: Sequence[PromptPair],
    track: Track,
    beginning: str = "",
    samples: int = 0,
) -> list[tuple[object, ...]]:
    """Return sample, id, query_id, label, gave and answer for answers that are made to begin with `beginning`.

    Decoding is greedy, or `samples` answers are drawn for each prompt. The judge reads only what the model writes: the
    given words would count as compliance even if a refusal follows them.
    """
    given = encode_response(chat.tokenizer, beginning, None) if beginning else []
    tokens = study.config.tokens
    encoded = [chat.prompt_tokens(pair.conversation) + given for pair in pairs]
    asked = [
        (sample, pair, prompt)
        for pair, prompt in zip(pairs, encoded, strict=True)
        if not overflow(chat, len(prompt), tokens)
        for sample in range(1, max(1, samples) + 1)
    ]
    prompts = [prompt for _, _, prompt in asked]
    names = [f"{study.config.seed}/{pair.id}/{sample}" for sample, pair, _ in asked]
    choose = Sampler(names) if samples else None
    found = decode(chat, generate(chat, prompts, tokens, track, choose=choose))
    batch = [
        Completion(str(i), pair.prompt, found[i], pair.query, pair.history) for i, (_, pair, _) in enumerate(asked)
    ]
    return [
        (sample, pair.id, pair.query_id, verdict.label, verdict.gave, f"{beginning}{text}")
        for (sample, pair, _), verdict, text in zip(asked, study.judge(batch), found, strict=True)
    ]
