"""What the check of the input has prepared is used again when the pairs are built."""

import json
from pathlib import Path

import pytest
from short_models import short_chat

from neurontune_core.pairs import build, load
from neurontune_core.pairs.prepare import prepare
from neurontune_core.pairs.settings import PairsConfig


@pytest.mark.parametrize("long_rows", [0, 1])
def test_nothing_is_read_again_and_the_pairs_are_the_same(
    long_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["lock", "safe", "door", "gate", "code", "card", "wire", "mail", "bike", "till", "coin", "ring"]
    files = {"advbench": ("prompt", "Rob"), "alpaca": ("instruction", "See")}
    for name, (column, verb) in files.items():
        texts = [*(f"{verb} a {word}" for word in words), *["xylophone " * 200] * long_rows]
        rows = [{column: text, "input": "", "output": ""} for text in texts]
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    settings = {
        "harmful": ["advbench"],
        "benign": ["alpaca"],
        "sources": {name: {"path": str(tmp_path / f"{name}.json")} for name in files},
        "ranking_queries": 1,
        "selected_queries": 4,
        "response_tokens": 2,
    }
    config, chat = PairsConfig.model_validate(settings), short_chat("llama", 1024)
    fresh = build.build_pairs(config, chat)
    checked = prepare(config)
    monkeypatch.setattr(load, "read_data", lambda *_: pytest.fail("read again"))
    if not long_rows:
        monkeypatch.setattr(build, "prepare", lambda *_: pytest.fail("prepared again"))
    built = build.build_pairs(config, chat, prepared=checked)
    assert built.pairs == fresh.pairs and built.rejected.equals(fresh.rejected)
    assert len(built.rejected) == 2 * long_rows
