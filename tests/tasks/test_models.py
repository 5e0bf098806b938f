import threading
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from neurontune_core.config import RuntimeConfig
from neurontune_core.model.settings import ModelConfig
from tasks import models


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace loading by a fake; the list returned collects the names of what was loaded."""
    names: list[str] = []

    def load(reference: Any, root: str, device: Any, working: bool, memory: Any, batch_tokens: int | None) -> Any:
        names.append(reference.name)
        return SimpleNamespace()

    monkeypatch.setattr(models, "load", load)
    models._loaded.clear()
    yield names  # type: ignore[misc]
    models._loaded.clear()


CPU = RuntimeConfig.model_validate({"device": "cpu"})


def reference(family: str = "llama") -> Any:
    return models.describe(ModelConfig.model_validate({"name": f"random:{family}"}))


def test_model_is_loaded_once_and_one_is_kept(loads: list[str]) -> None:
    for family in ("llama", "llama", "gpt2", "llama"):
        with models.loaded(reference(family), CPU, working=False):
            assert len(models._loaded) == 1
    assert loads == ["random:llama", "random:gpt2", "random:llama"]


def test_other_settings_of_memory_place_the_model_anew(loads: list[str]) -> None:
    for memory in ({}, {"cuda:0": 2.0}, {"cuda:0": 2.0}, {"cuda:0": 1.0}):
        with models.loaded(reference(), CPU.model_copy(update={"max_memory": memory}), working=False):
            pass
    assert len(loads) == 3


def test_second_stage_waits_for_the_first(loads: list[str]) -> None:
    order: list[str] = []

    def second() -> None:
        with models.loaded(reference(), CPU, working=False):
            order.append("second")

    with models.loaded(reference(), CPU, working=False):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(timeout=0.2)
        assert thread.is_alive()
        order.append("first")
    thread.join(timeout=5)
    assert order == ["first", "second"]


def test_out_of_memory_lets_the_model_go(loads: list[str]) -> None:
    for error in (torch.OutOfMemoryError("full"), RuntimeError("MPS backend out of memory")):
        with pytest.raises(type(error)), models.loaded(reference(), CPU, working=False):
            raise error
        assert not models._loaded
    with pytest.raises(ValueError, match="other"), models.loaded(reference(), CPU, working=False):
        raise ValueError("other")
    assert len(models._loaded) == 1


@pytest.mark.parametrize(("device", "limit", "held"), [("cuda", None, "gpu"), ("cpu", None, None), ("cpu", "a", "a")])
def test_which_concurrency_limit_is_held(
    monkeypatch: pytest.MonkeyPatch, device: str, limit: str | None, held: str | None
) -> None:
    names: list[str | None] = [None]
    monkeypatch.setattr(models, "concurrency", lambda name, **_: names.append(name))
    models._turn(torch.device(device), limit)
    assert names[-1] == held


@pytest.mark.usefixtures("prefect_server")
def test_slot_is_held_while_the_model_is_in_use(loads: list[str]) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

    runtime = RuntimeConfig.model_validate({"device": "cpu", "concurrency_limit": "card"})
    with get_client(sync_client=True) as client:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name="card", limit=1))

        def slots() -> int:
            return int(client.read_global_concurrency_limit_by_name("card").active_slots)

        with models.loaded(reference(), runtime, working=False):
            assert slots() == 1
        assert slots() == 0
        with pytest.raises(ValueError, match="broken"), models.loaded(reference(), runtime, working=False):
            raise ValueError("broken")
        assert slots() == 0
