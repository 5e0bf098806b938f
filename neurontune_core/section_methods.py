"""The sections whose settings depend on their method, and what becomes of settings when the method changes."""

from collections.abc import Mapping
from typing import Any

from neurontune_core.baselines import settings as baselines
from neurontune_core.scaling import settings as scaling
from neurontune_core.section import Section

METHODS: dict[str, Mapping[str, type[Section]]] = {"scaling": scaling.METHODS, "baseline": baselines.METHODS}
"""By section, the settings of each method."""
DEFAULTS = {"scaling": scaling.DEFAULT_METHOD, "baseline": baselines.DEFAULT_METHOD}
"""By section, the method of settings that name none."""


def without_foreign(section: str, settings: dict[str, Any], method: Any) -> dict[str, Any]:
    """Return a section's settings without those that only other methods have: what is left when the method changes."""
    known = METHODS[section].get(method) if isinstance(method, str) else None
    return settings if known is None else {name: settings[name] for name in settings if name in known.model_fields}
