"""Which variants of a study are run: its own or others, all or a part, with as many neurons as the model has."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from neurontune_core.errors import InputError, nearest_first
from neurontune_core.shown_text import quoted
from neurontune_core.studies.catalogue import STUDIES, Study

OTHER_ROWS = ("base model", "mean", "standard deviation")
"""Rows of a study's table that are no variants."""


def choose(
    study: str,
    variants: Mapping[str, tuple[str, ...]] | None,
    trials: int | None = None,
    only: Sequence[str] = (),
) -> Study:
    """Return a named study, with the given variants and number of trials, if any, instead of its own.

    `only` keeps the variants whose name contains one of these texts as whole words: `50 + 50` is not in `150 + 150`.

    Raises:
        InputError: unknown study, `own` without variants, a variant's name that a table could not show or that has
            another meaning there, trials for a study that searches nothing, or a text of `only` that is in no variant's
            name.
    """
    for name in variants or ():
        _check_name(name)
    if study == "own" and not variants:
        raise InputError(f"--variant: the study 'own' has none; give one or more, or choose {', '.join(STUDIES)}")
    if study not in (*STUDIES, "own"):
        raise InputError(f"study: unknown name {study!r}; choose among {nearest_first(study, [*STUDIES, 'own'])}")
    chosen = STUDIES.get(study, Study("Own variants", "How do these settings compare?", variants or {}))
    if trials and not chosen.searched:
        searching = ", ".join(name for name, each in STUDIES.items() if each.searched)
        raise InputError(f"trials: {trials}, but study {study!r} searches nothing; leave it out, or use {searching}")
    if trials is not None:
        chosen = replace(chosen, trials=trials)
    if variants:
        chosen = replace(chosen, variants=variants)
    for text in only:
        if not any(_contains(name, text) for name in chosen.variants):
            names = nearest_first(text, chosen.variants)
            raise InputError(f"only: no variant of study {study!r} has {text!r} in its name; they are: {names}")
    if only:
        kept = [name for name in chosen.variants if any(_contains(name, text) for text in only)]
        chosen = replace(chosen, variants={name: chosen.variants[name] for name in kept})
    # without the variant that trials would change, there is nothing to search
    return replace(chosen, searched="", tried="") if chosen.tried not in ("", *chosen.variants) else chosen


def _check_name(name: str) -> None:
    if name in OTHER_ROWS:
        raise InputError(f"variant: {name!r} is the name of a row that every study has; choose another name")
    if not name.isprintable() or not name.strip():
        raise InputError(f"variant: {quoted(name)} cannot be shown in a table; choose a name in one plain line")


def _contains(name: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(text)}(?!\w)", name) is not None


def lowered(study: Study, most: int) -> Study:
    """Return a study in which no variant has more than `most` neurons of a role; variants that become equal are one.

    A small model has fewer neurons than the numbers that some studies compare. Only whole numbers are lowered.
    """

    def lower(text: str, number: str) -> str:
        return re.sub(number, lambda found: str(min(int(found[0]), most)), text)

    return replace(
        study,
        variants={
            lower(name, r"\b\d+(?= \+ \d)|(?<=\d \+ )\d+\b"): tuple(
                lower(change, r"(?<=_neurons=)\d+$") for change in changes
            )
            for name, changes in study.variants.items()
        },
    )
