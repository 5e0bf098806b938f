"""Imports without a search for garbage: what they made is not looked through later, and nothing else is kept."""

import gc
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from tasks.importing import without_collecting


@pytest.fixture(autouse=True)
def unfrozen() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()
    gc.enable()


def test_what_was_imported_is_not_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    with without_collecting():
        assert not gc.isenabled()
        monkeypatch.setitem(sys.modules, "a_new_module", ModuleType("a_new_module"))
    assert gc.isenabled() and gc.get_freeze_count() > 0


def test_garbage_is_not_kept_if_nothing_was_imported() -> None:
    with without_collecting():
        pass
    assert gc.isenabled() and gc.get_freeze_count() == 0


def test_an_inner_context_and_an_error_leave_the_outer_one_as_it_is() -> None:
    with without_collecting():
        with pytest.raises(ImportError), without_collecting():
            raise ImportError
        assert not gc.isenabled()
    assert gc.isenabled()
