"""Refusal judges with one interface: a judge takes a batch of completions and returns a verdict on each."""

from __future__ import annotations

from pathlib import Path

from neurontune_core.errors import InputError

from .classifier import ClassifierJudge
from .guard import VERSION as GUARD_VERSION
from .guard import GuardJudge
from .keyword import KeywordJudge
from .precomputed import PrecomputedJudge
from .presets import PRESETS
from .rules import RulesJudge
from .verdict import Completion, Judge, Verdict

__all__ = ["JUDGES", "Completion", "Judge", "Verdict", "judge_by_name", "judge_title"]

JUDGES: dict[str, type[RulesJudge | KeywordJudge | ClassifierJudge | PrecomputedJudge]] = {
    "rules": RulesJudge,
    "keyword": KeywordJudge,
    "classifier": ClassifierJudge,
    "precomputed": PrecomputedJudge,
}


def judge_title(name: str) -> str:
    """Name and version of a judge, as verdicts record them (`rules 5`); the judge is not created for it."""
    return f"{name} {GUARD_VERSION if name in PRESETS else JUDGES[name].version}"


def judge_by_name(name: str, path: str | Path | None = None, device: str = "auto") -> Judge:
    """Return the judge of a name.

    Args:
        name: `rules`, `keyword`, `classifier`, `precomputed`, or a preset (`llama-guard-3`, `wildguard`, ...).
        path: the model folder of `classifier`, the verdict file of `precomputed`, the folder or hub id of a preset (by
            default the preset's own id).
        device: where a judge's model runs, as in `runtime.device`; the first of several.

    Raises:
        InputError: an unknown name or device, a missing path, or a path for a judge that takes none.
    """
    if name in PRESETS:
        return GuardJudge(name, path, _first(device))
    if name not in JUDGES:
        raise InputError(f"judge: unknown name {name!r}; choose among {', '.join([*JUDGES, *PRESETS])}")
    if name in ("rules", "keyword"):
        if path is not None:
            raise InputError(f"judge {name!r} takes no path, but {path} was given; leave it out")
        return RulesJudge() if name == "rules" else KeywordJudge()
    if path is None:
        raise InputError(f"judge {name!r} needs a path: a model folder for classifier, a verdict file for precomputed")
    return ClassifierJudge(path, _first(device)) if name == "classifier" else PrecomputedJudge(path)


def _first(device: str) -> str:
    # imported here: the other judges must not wait for torch
    from neurontune_core.model.devices import choose_devices

    return str(choose_devices(device)[0])
