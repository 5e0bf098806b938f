"""A limit of address space that is too low is told before anything is computed."""

import resource

import pytest

from neurontune_core import address_space
from neurontune_core.errors import InputError


def test_a_limit_that_leaves_too_little_is_named_with_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address_space, "LIMIT", 8 << 30)
    address_space.check_address_space(1 << 28)
    with pytest.raises(InputError, match=r"\(ulimit -v\) is 8388608 KiB, .* at least 8388616 KiB; .*unlimited"):
        address_space.check_address_space((1 << 28) + 1024)


def test_no_limit_is_never_too_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address_space, "LIMIT", resource.RLIM_INFINITY)
    address_space.check_address_space(10**15)
