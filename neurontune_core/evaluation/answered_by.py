"""What generated the answers of a run: runs whose answers came from different engines or weights differ by that too."""

from collections.abc import Mapping
from typing import Any

USUAL = "transformers"


def answered_by(settings: Mapping[str, Any]) -> str:
    """Return the engine that generated a run's answers, and the bits of its weights if they were rounded.

    Examples are `transformers`, `vLLM`, and `transformers, int8`.

    Args:
        settings: the run's settings by `section.field`, as values or as text; those of an earlier version may lack
            some.
    """
    engine = "vLLM" if settings.get("evaluation.engine") == "vllm" else USUAL
    bits = settings.get("model.quantization", "none")
    unrounded = bits == "none" or str(settings.get("model.evaluate_full")).lower() == "true"
    return engine if unrounded else f"{engine}, {bits}"


def mark(way: str | None) -> str:
    """Return ` (vLLM)` and the like, to follow a run's name or score; "" for the usual way and without answers."""
    return "" if way in (None, USUAL) else f" ({way})"
