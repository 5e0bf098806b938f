"""The key of a stage: everything its result depends on, and nothing else."""

import hashlib
from typing import Any

import pytest

from neurontune_core import artifacts
from neurontune_core.scaling.settings import MamlSettings

INGREDIENTS: dict[str, Any] = {
    "stage": "scaling", "stage_version": 1, "settings": {"steps": 40, "seed": 0}, "model": "weights:float32",
    "inputs": ["aa", "bb"],
}  # fmt: skip


def test_stage_key_is_a_digest_of_canonical_json() -> None:
    settings = '{"seed":0,"steps":40}'
    text = f'{{"inputs":["aa","bb"],"model":"weights:float32","settings":{settings},"stage":"scaling","version":1}}'
    assert artifacts.stage_key(**INGREDIENTS) == hashlib.sha256(text.encode()).hexdigest()[:32]


def test_stage_key_ignores_the_order_of_settings() -> None:
    reordered = INGREDIENTS | {"settings": {"seed": 0, "steps": 40}}
    assert artifacts.stage_key(**reordered) == artifacts.stage_key(**INGREDIENTS)


@pytest.mark.parametrize(
    "change",
    [
        {"stage": "selection"},
        {"stage_version": 2},
        {"settings": {"steps": 41, "seed": 0}},
        {"settings": {"steps": 40}},
        {"model": "weights:bfloat16"},
        {"inputs": ["aa"]},
        {"inputs": ["bb", "aa"]},
        {"inputs": ["aab", "b"]},
    ],
)
def test_stage_key_changes_with_each_ingredient(change: dict[str, Any]) -> None:
    assert artifacts.stage_key(**(INGREDIENTS | change)) != artifacts.stage_key(**INGREDIENTS)


def test_stage_key_of_a_section_is_that_of_its_resolved_fields() -> None:
    explicit = MamlSettings(steps=40, order="first")
    keys = {artifacts.stage_key("scaling", 1, settings, "", []) for settings in (MamlSettings(), explicit)}
    assert keys == {artifacts.stage_key("scaling", 1, explicit.model_dump(mode="json"), "", [])}
    assert artifacts.stage_key("scaling", 1, MamlSettings(steps=61), "", []) not in keys
