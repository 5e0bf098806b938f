"""The sections whose settings depend on their method, and what becomes of settings when the method changes."""

from collections.abc import Mapping
from typing import Any

from neurontune_core.baselines import settings as baselines
from neurontune_core.evaluation import settings as evaluation
from neurontune_core.scaling import settings as scaling
from neurontune_core.section import Section

METHODS: dict[str, Mapping[str, type[Section]]] = {
    "scaling": scaling.METHODS,
    "baseline": baselines.METHODS,
    "evaluation.judge": evaluation.JUDGES,
}
"""By section, the settings of each method."""
DEFAULTS = {
    "scaling": scaling.DEFAULT_METHOD,
    "baseline": baselines.DEFAULT_METHOD,
    "evaluation.judge": evaluation.DEFAULT_JUDGE,
}
"""By section, the method of settings that name none."""


def without_foreign(section: str, settings: dict[str, Any], method: Any) -> dict[str, Any]:
    """Return a section's settings without those that only other methods have: what is left when the method changes."""
    known = METHODS[section].get(method) if isinstance(method, str) else None
    return settings if known is None else {name: settings[name] for name in settings if name in known.model_fields}


def section_at(tree: Any, section: str) -> Any:
    """Return what a tree of tables has at a section such as `evaluation.judge`; None if there is nothing."""
    for name in section.split("."):
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def with_section(tree: dict[str, Any], section: str, settings: Any) -> dict[str, Any]:
    """Return a tree of tables with other settings at a section that it has."""
    name, _, rest = section.partition(".")
    return tree | {name: with_section(tree[name], rest, settings) if rest else settings}


def with_tables(tree: dict[str, Any]) -> dict[str, Any]:
    """Return a tree in which a judge that is given by its name alone is a table: `judge = "keyword"`."""
    for section in METHODS:
        given = section_at(tree, section)
        if "." in section and isinstance(given, str):
            tree = with_section(tree, section, {"method": given})
    return tree
