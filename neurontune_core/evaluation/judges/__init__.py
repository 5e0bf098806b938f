"""Refusal judges behind one interface: a batch of completions in, one verdict each out."""

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
    """Name and version of the judge called `name` as verdicts are signed with them, without making it."""
    return f"{name} {GUARD_VERSION if name in PRESETS else JUDGES[name].version}"


def judge_by_name(name: str, path: str | Path | None = None) -> Judge:
    """The judge called `name`; `path` is the model folder of `classifier` and the verdict file of `precomputed`.

    A preset (`llama-guard-3`, `wildguard`, ...) takes a folder or another hub id as its path, or its own hub id.

    Raises InputError for an unknown name, a path that is missing or a path that is not wanted.
    """
    if name in PRESETS:
        return GuardJudge(name, path)
    if name not in JUDGES:
        raise InputError(f"judge is {name!r}; use one of {', '.join([*JUDGES, *PRESETS])}")
    if name in ("rules", "keyword"):
        if path is not None:
            raise InputError(f"judge {name!r} takes no path, but {path} was given; leave it out")
        return RulesJudge() if name == "rules" else KeywordJudge()
    if path is None:
        raise InputError(f"judge {name!r} needs a path: a model folder for classifier, a verdict file for precomputed")
    return ClassifierJudge(path) if name == "classifier" else PrecomputedJudge(path)
