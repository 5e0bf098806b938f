"""An S3 server on this machine whose requests fail now and then, and whose listings can be old."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from itertools import cycle
from socket import SHUT_RDWR
from threading import Lock, Thread
from typing import Any

import pytest

BUCKET = "shared"
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
KINDS = ("refused", "broken", "dropped", "cut")


class FaultyStore:
    """The application of moto's server behind faults.

    `every`: each so many-th request fails, in one way after another; 0 for none. `old_listings`: listings are answered
    as they were first. `failed` counts the requests that failed, by kind; `listed` those that got an old listing.
    """

    def __init__(self, application: Callable[..., Any]) -> None:
        self.application = application
        self.every = self.requests = self.listed = 0
        self.old_listings = False
        self.failed = dict.fromkeys(KINDS, 0)
        self._kinds = cycle(KINDS)
        self._listings: dict[str, list[bytes]] = {}
        self._lock = Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        query = str(environ.get("QUERY_STRING", ""))
        if self.old_listings and "list-type" in query:
            return self._listing(f"{environ['PATH_INFO']}?{query}", environ, start_response)
        kind = self._fault()
        if kind == "refused":
            start_response("503 Slow Down", [("Content-Type", "application/xml")])
            return [SLOW_DOWN]
        if kind == "broken":
            start_response("500 Internal Server Error", [("Content-Type", "text/plain")])
            return [b""]
        if kind == "dropped":
            environ["werkzeug.socket"].shutdown(SHUT_RDWR)
            raise ConnectionError("dropped on purpose")
        answer = self.application(environ, start_response)
        return [content[: len(content) // 2] for content in answer] if kind == "cut" else answer

    def _fault(self) -> str:
        with self._lock:
            self.requests += 1
            if not self.every or self.requests % self.every:
                return ""
            kind = next(self._kinds)
            self.failed[kind] += 1
            return kind

    def _listing(self, what: str, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        fresh = list(self.application(environ, lambda *_: None))
        self.listed += 1
        old = self._listings.setdefault(what, fresh)
        start_response(f"200 {HTTPStatus.OK.phrase}", [("Content-Type", "application/xml")])
        return old


@contextmanager
def serving() -> Iterator[FaultyStore]:
    """Serve an empty bucket, without faults so far; file systems made meanwhile find it by the environment."""
    import boto3
    import s3fs
    from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    store = FaultyStore(DomainDispatcherApplication(create_backend_app))
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, store, threaded=True, request_handler=MotoRequestHandler)
    Thread(target=server.serve_forever, daemon=True).start()
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (keys | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}"}).items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()  # they are kept, and remember where their server was
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET)
        yield store
        store.every = 0
        boto3.resource("s3").Bucket(BUCKET).objects.delete()
        client.delete_bucket(Bucket=BUCKET)
        s3fs.S3FileSystem.clear_instance_cache()
    server.shutdown()
    server.server_close()
