"""Requests that a server of this machine refuses, whoever it is that serves."""

import asyncio
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from flows.services.guard import OwnPagesOnly
from flows.services.login import FILE, make_login, read_login

HOST, HERE = "127.0.0.1:4200", "http://127.0.0.1:4200"


def status(kind: str = "http", path: str = "/api/flow_runs/", method: str = "POST", **headers: str) -> int:
    """Send a request through the guard; return the status, 200 where the application was reached."""
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "reached"})

    async def send(message: Any) -> None:
        sent.append(message)

    listed = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": kind, "path": path, "method": method, "headers": listed}
    asyncio.run(OwnPagesOnly(app, closed=["upload"])(scope, None, send))
    return {"reached": 200, "websocket.close": 403, "http.response.start": 403}[sent[0]["type"]]


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("host", [HOST, "localhost:4200", "LOCALHOST:4200", "[::1]:4200", "127.0.0.1"])
def test_programs_of_this_machine_are_answered(kind: str, host: str) -> None:
    assert status(kind, host=host) == 200


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "evil.example:4200", "127.0.0.1.evil.example", "localhost.evil.example:4200", "10.0.0.1:4200",
     "evil@127.0.0.1:4200", "127.0.0.1:4200@evil", "127.0.0.1:4200 ", "localhost:4200:1", "0.0.0.0:4200", "127.1:4200"],
)  # fmt: skip
def test_another_host_is_refused(kind: str, host: str) -> None:
    assert status(kind, host=host) == 403


def test_a_request_without_host_or_with_two_is_refused() -> None:
    assert status() == 403
    assert status(host=HOST, Host="evil.example") == 403


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (HERE, 200),
        ("http://localhost:4200", 200),
        ("http://evil.example", 403),
        ("https://evil.example:4200", 403),
        ("null", 403),
        ("", 403),
        ("http://127.0.0.1", 403),
        ("http://127.0.0.1:8000", 403),
        ("http://localhost:42000", 403),
        ("http://127.0.0.1:4200.evil.example", 403),
        ("http://127.0.0.1:4200@evil.example", 403),
        ("file://", 403),
    ],
)
def test_only_own_pages_are_answered(kind: str, origin: str, expected: int) -> None:
    assert status(kind, host=HOST, origin=origin) == expected


def test_another_page_may_link_here_and_no_more() -> None:
    link = {"host": HOST, "sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert status(method="GET", **link) == 200
    assert status(method="POST", **link) == 403
    assert status(method="GET", **link | {"sec_fetch_mode": "no-cors"}) == 403
    assert status(method="GET", **link | {"sec_fetch_mode": "no-cors", "sec_fetch_site": "same-site"}) == 403
    assert status(method="GET", **link | {"sec_fetch_mode": "no-cors", "sec_fetch_site": "same-origin"}) == 200


@pytest.mark.parametrize("path", ["/gradio_api/upload", "/gradio_api/upload/", "//gradio_api//upload", "/upload"])
def test_closed_paths_are_refused(path: str) -> None:
    assert status(path=path, host=HOST) == 403
    assert status(path="/gradio_api/uploads", host=HOST) == 200


def test_the_login_is_for_its_owner_alone_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_SERVER_API_AUTH_STRING", raising=False)
    before = os.umask(0)
    try:
        login = make_login(tmp_path / "home")
    finally:
        os.umask(before)
    file = tmp_path / "home" / FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(login.removeprefix("neurontune:")) >= 32
    assert make_login(tmp_path / "home") == read_login(tmp_path / "home") == login
    assert list((tmp_path / "home").iterdir()) == [file]


def test_a_login_others_could_read_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_SERVER_API_AUTH_STRING", raising=False)
    assert read_login(tmp_path) == ""
    for content, mode in (("a:b", 0o644), ("", 0o600), ("a:b", 0o640)):
        (tmp_path / FILE).write_text(content)
        (tmp_path / FILE).chmod(mode)
        login = make_login(tmp_path)
        assert login not in ("", "a:b") and read_login(tmp_path) == login
        assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_a_login_of_ones_own_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "ada:secret")
    assert make_login(tmp_path) == read_login(tmp_path) == "ada:secret"
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize("host", [HOST, "localhost:4200"])
def test_a_page_is_kept_from_reaching_other_servers(host: str) -> None:
    """Whatever a library or an answer asks for: the browser itself refuses it."""
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]})

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "path": "/", "method": "GET", "headers": [(b"host", host.encode())]}
    asyncio.run(OwnPagesOnly(app)(scope, None, send))
    headers = dict(sent[0]["headers"])
    allowed = {each.partition(" ")[0]: each for each in headers[b"content-security-policy"].decode().split("; ")}
    assert headers[b"x"] == b"y" and "'self'" in allowed["default-src"] and "//" not in allowed["default-src"]
    servers = {word for word in allowed["connect-src"].split() if "//" in word}
    assert servers == {f"{scheme}://{name}:4200" for scheme in ("http", "ws") for name in ("127.0.0.1", "localhost")}
