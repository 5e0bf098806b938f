"""Requests to this machine's own servers where a proxy is set."""

import os
import urllib.request

import httpx
import pytest
import requests

from flows.services.environment import PROXIES, reach_loopback_directly
from neurontune_core.errors import InputError


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (*PROXIES, "NO_PROXY"):
        for spelled in (name, name.lower()):
            monkeypatch.setenv(spelled, "")  # so that what is set below is taken back
            monkeypatch.delenv(spelled)
    return monkeypatch


@pytest.mark.parametrize("proxy", [*PROXIES, "http_proxy", "all_proxy"])
@pytest.mark.parametrize("known", ["", "NO_PROXY", "no_proxy"])
def test_loopback_is_reached_without_it(no_proxies: pytest.MonkeyPatch, proxy: str, known: str) -> None:
    no_proxies.setenv(proxy, "http://127.0.0.1:9")
    if known:
        no_proxies.setenv(known, "intern.example, .local")
    reach_loopback_directly()
    for host in ("127.0.0.1", "localhost", "[::1]"):
        address = f"http://{host}:4200/api"
        with httpx.Client() as client:
            assert type(client._transport_for_url(httpx.URL(address))._pool).__name__ == "ConnectionPool"
        assert not requests.utils.get_environ_proxies(address)
        assert urllib.request.proxy_bypass(host.strip("[]"))
    assert requests.utils.get_environ_proxies("https://other.example") or proxy.lower() == "http_proxy"
    if known:
        assert os.environ["no_proxy"].startswith("intern.example,.local,")


def test_without_a_proxy_and_where_none_is_used_nothing_is_changed(no_proxies: pytest.MonkeyPatch) -> None:
    reach_loopback_directly()
    assert "NO_PROXY" not in os.environ
    no_proxies.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    no_proxies.setenv("NO_PROXY", "*")
    reach_loopback_directly()
    assert os.environ["NO_PROXY"] == "*" and "no_proxy" not in os.environ


@pytest.mark.parametrize("value", ["ftp://proxy.example", "http://a:b:c"])
def test_a_proxy_that_cannot_be_used_is_told(no_proxies: pytest.MonkeyPatch, value: str) -> None:
    no_proxies.setenv("ALL_PROXY", value)
    with pytest.raises(InputError, match=r"^ALL_PROXY: .*; give the address of an HTTP proxy, or unset it$"):
        reach_loopback_directly()
