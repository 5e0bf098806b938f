"""Access to a server on this machine: requests need its password and must not come from another site's page."""

import base64
import binascii
import re
import secrets
from collections.abc import Collection, Iterable
from typing import Any

_HOST = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\])(?::(\d+))?", re.IGNORECASE)

_POLICY = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'self'; object-src 'none'"
)


class OwnPagesOnly:
    """ASGI middleware that answers 403 to requests for another host, from another site's page, or to a closed path.

    The browser names another site's page in the header Origin, and a domain that was redirected to this machine (DNS
    rebinding) in Host. A policy stops the server's own pages from reaching other servers: Prefect's send usage data.
    """

    def __init__(self, app: Any, closed: Collection[str] = ()) -> None:
        """Guard an application; `closed` are the path segments that nobody may ask for."""
        self.app = app
        self.closed = frozenset(closed)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, or refuse it."""
        reason = self._refusal(scope) if scope["type"] in ("http", "websocket") else ""
        if not reason:
            await self.app(scope, receive, _with_policy(scope, send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": reason})
        else:
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": f"{reason}\n".encode()})

    def _refusal(self, scope: Any) -> str:
        given: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            given.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        hosts, origins = given.get("host", []), given.get("origin", [])
        host = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if host is None:
            return "this server answers to 127.0.0.1 and localhost alone"
        if origins:
            named = [re.fullmatch(r"https?://(.*)", origin) for origin in origins]
            pages = [_HOST.fullmatch(match[1]) if match else None for match in named]
            if any(page is None or page[1] != host[1] for page in pages):
                return "this server answers to its own pages alone"
        elif given.get("sec-fetch-site", ["none"])[0] in ("cross-site", "same-site") and (
            # from another site's page only a followed link is allowed
            given.get("sec-fetch-mode") != ["navigate"] or scope.get("method") != "GET"
        ):
            return "this server answers to its own pages alone"
        return "there is nothing here" if self.closed.intersection(scope["path"].split("/")) else ""


def _with_policy(scope: Any, send: Any) -> Any:
    """Return a `send` that adds a Content-Security-Policy: pages may reach only this server, by both of its names."""
    if scope["type"] != "http":
        return send
    named = next(value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"host")
    host = _HOST.fullmatch(named)
    port = f":{host[1]}" if host and host[1] else ""
    here = " ".join(f"{scheme}://{name}{port}" for scheme in ("http", "ws") for name in ("127.0.0.1", "localhost"))
    header = (b"content-security-policy", f"{_POLICY}; connect-src 'self' data: blob: {here}".encode())

    async def with_policy(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = message | {"headers": [*message["headers"], header]}
        await send(message)

    return with_policy


class PasswordAsked:
    """ASGI middleware that answers 401 to requests without the login, given as HTTP's basic authentication."""

    def __init__(self, app: Any, login: str, open_paths: Collection[str] = ()) -> None:
        """Guard an application by a login, `user:password`; `open_paths` are answered without it."""
        self.app = app
        self.login = login.encode()
        self.open_paths = frozenset(open_paths)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, or ask for the login."""
        if scope["type"] == "lifespan" or scope["path"] in self.open_paths or self._is_let_in(scope["headers"]):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "this server asks for a password"})
        else:
            headers = [(b"content-type", b"text/plain"), (b"www-authenticate", b'Basic realm="NeuronTune"')]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": b"this server asks for a password\n"})

    def _is_let_in(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        given = [value for name, value in headers if name.lower() == b"authorization"]
        scheme, _, encoded = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        if scheme.lower() != b"basic":
            return False
        try:
            return secrets.compare_digest(base64.b64decode(encoded, validate=True), self.login)
        except binascii.Error:
            return False
