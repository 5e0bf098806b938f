"""The note by which `neurontune up` tells other commands where its servers are, whole and damaged."""

import json
import os
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from running_machine import free_port

from flows.services import environment, login, up
from neurontune_core.config import RuntimeConfig
from neurontune_core.errors import InputError
from tasks.recording.mlflow_store import tracking_uri


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server that says it is well, as Prefect's does."""

    class Healthy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Healthy) as found:
        Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_port}/api"
        found.shutdown()


def whole(home: Path, server: str) -> dict[str, Any]:
    return {"pid": os.getpid(), "home": str(home), "PREFECT_API_URL": server, "MLFLOW_TRACKING_URI": "http://m"}


def test_the_note_is_read_by_others_and_names_servers_alone(tmp_path: Path, server: str) -> None:
    note = whole(tmp_path, server) | {"PATH": "/elsewhere"}
    (tmp_path / environment.RUNNING).write_text(json.dumps(note))
    found = environment.running_servers(tmp_path)
    assert found == {"PREFECT_API_URL": server, "MLFLOW_TRACKING_URI": "http://m"}


def test_the_note_of_a_copied_root_is_not_the_copys(tmp_path: Path, server: str) -> None:
    original, copy = tmp_path / "original", tmp_path / "copy"
    for home in (original, copy):
        home.mkdir()
    with environment.announced(original, {"PREFECT_API_URL": server}):
        (copy / environment.RUNNING).write_bytes((original / environment.RUNNING).read_bytes())
        assert environment.running_servers(original) == {"PREFECT_API_URL": server}
        assert environment.running_servers(copy) == {}


@pytest.mark.parametrize("setting", ["scaling.steps=3", "evaluation.max_new_tokens=8", "model.name=gpt2"])
def test_a_setting_without_effect_on_a_recorded_run_is_an_error(setting: str) -> None:
    with pytest.raises(InputError, match=rf"'{setting}' would change the result; .* only runtime\.\* can change"):
        environment.ready([setting], debug=False)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\x00" * 64, b"\xff\xfe{", b"null", b"7", b'"text"', b"[]", b"{}", b"[" * 100_000, b'{"pid": 1',
        *({"pid": pid} for pid in (None, "1", -1, 2**80, 1.5, [], {})),
        *({"PREFECT_API_URL": url} for url in (None, 7, [], "", "nowhere", "http://[", "ftp://127.0.0.1")),
        {"home": "/elsewhere"}, {"home": None},
    ],
    ids=lambda content: repr(content)[:40],
)  # fmt: skip
def test_a_damaged_note_is_as_none(tmp_path: Path, server: str, content: bytes | dict[str, Any]) -> None:
    spoilt = content if isinstance(content, bytes) else json.dumps(whole(tmp_path, server) | content).encode()
    (tmp_path / environment.RUNNING).write_bytes(spoilt)
    assert environment.running_servers(tmp_path) == {}


def test_a_value_no_environment_can_hold_is_left_out(tmp_path: Path, server: str) -> None:
    note = whole(tmp_path, server) | {"MLFLOW_TRACKING_URI": "a\0b"}
    (tmp_path / environment.RUNNING).write_text(json.dumps(note))
    assert environment.running_servers(tmp_path) == {"PREFECT_API_URL": server}


@pytest.mark.parametrize(
    "kind", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path)], ids=["folder", "pipe", "loop"]
)
def test_a_note_that_is_no_file_is_as_none(tmp_path: Path, kind: Callable[[Path], None]) -> None:
    kind(tmp_path / environment.RUNNING)
    assert environment.running_servers(tmp_path) == {}


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"\n"])
def test_a_damaged_login_is_as_none_and_made_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / login.FILE).write_bytes(content)
    (tmp_path / login.FILE).chmod(0o600)
    assert login.read_login(tmp_path) == ""
    made = login.make_login(tmp_path)
    assert made.startswith("neurontune:") and login.read_login(tmp_path) == made


OWN, OTHER = "http://127.0.0.1:5000", "http://mlflow.example:5000"
NAMES = ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_PROFILE", "PREFECT_API_AUTH_STRING", "MLFLOW_TRACKING_URI")


@pytest.fixture
def running_root(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A root on which `neurontune up` runs, with an MLflow of its own."""
    monkeypatch.setattr(os, "environ", dict(os.environ) | {"HOME": str(tmp_path)})
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for name in (*NAMES, "MLFLOW_REGISTRY_URI", *login.mlflow_variables("")):
        os.environ.pop(name, None)
    home = tmp_path / "root" / ".prefect"
    home.mkdir(parents=True)
    login.make_login(home)
    with environment.announced(home, {"PREFECT_API_URL": server, "MLFLOW_TRACKING_URI": OWN}):
        yield tmp_path / "root"


@pytest.mark.parametrize("pasted", [False, True], ids=["", "with the variables that up prints"])
@pytest.mark.parametrize("address", [None, OWN, f"{OWN}/", "http://localhost:5000"])
def test_the_login_goes_to_its_own_mlflow(running_root: Path, address: str | None, pasted: bool) -> None:
    given = login.mlflow_variables(login.read_login(running_root / ".prefect"))
    os.environ |= ({"MLFLOW_TRACKING_URI": OWN} | given) if pasted else {}
    runtime = RuntimeConfig(root=str(running_root), mlflow_uri=address)
    environment.apply(runtime, quiet=True)
    assert tracking_uri(runtime) == (address or OWN)
    assert {name: os.environ[name] for name in given} == given


@pytest.mark.parametrize("pasted", [False, True], ids=["", "with the variables that up prints"])
@pytest.mark.parametrize("address", [OTHER, "http://127.0.0.1:5001", "https://127.0.0.1:5000", "sqlite:///own.db"])
@pytest.mark.parametrize("by", ["setting", "environment"])
def test_the_login_goes_to_no_other_mlflow(running_root: Path, address: str, pasted: bool, by: str) -> None:
    given = login.mlflow_variables(login.read_login(running_root / ".prefect"))
    os.environ |= ({"MLFLOW_TRACKING_URI": OWN} | given) if pasted else {}
    os.environ |= {"MLFLOW_TRACKING_URI": address} if by == "environment" else {}
    runtime = RuntimeConfig(root=str(running_root), mlflow_uri=address if by == "setting" else None)
    environment.apply(runtime, quiet=True)
    assert tracking_uri(runtime) == address
    assert not given.keys() & os.environ.keys()


def test_a_worker_sends_its_login_to_no_other_mlflow(running_root: Path) -> None:
    """A worker has both logins by its environment, and a run on it may name another MLflow."""
    given = login.mlflow_variables("neurontune:secret")
    os.environ |= given | {"PREFECT_API_AUTH_STRING": "neurontune:secret", "MLFLOW_TRACKING_URI": OWN}
    assert tracking_uri(RuntimeConfig(root=str(running_root))) == OWN and given.items() <= os.environ.items()
    assert tracking_uri(RuntimeConfig(root=str(running_root), mlflow_uri=OTHER)) == OTHER
    assert not given.keys() & os.environ.keys()


def test_a_login_of_ones_own_is_kept(running_root: Path) -> None:
    given = login.mlflow_variables("me:mine")
    os.environ |= given
    runtime = RuntimeConfig(root=str(running_root), mlflow_uri=OTHER)
    environment.apply(runtime, quiet=True)
    assert tracking_uri(runtime) == OTHER and given.items() <= os.environ.items()


@pytest.mark.parametrize("registry", [OTHER, "http://127.0.0.1:5001", "https://127.0.0.1:5000", f"{OWN}0"])
@pytest.mark.parametrize("given", ["by up", "by the variables that it prints"])
def test_the_login_goes_to_no_other_registry(running_root: Path, registry: str, given: str) -> None:
    """MLflow sends its one login to both; where they are one server it may."""
    if given != "by up":
        password = login.read_login(running_root / ".prefect")
        os.environ |= {"MLFLOW_TRACKING_URI": OWN, "PREFECT_API_AUTH_STRING": password}
        os.environ |= login.mlflow_variables(password)
    runtime = RuntimeConfig(root=str(running_root))
    os.environ["MLFLOW_REGISTRY_URI"] = OWN.replace("127.0.0.1", "localhost")
    environment.apply(runtime, quiet=True)
    assert tracking_uri(runtime) == OWN
    os.environ["MLFLOW_REGISTRY_URI"] = registry
    with pytest.raises(InputError, match=f"MLFLOW_REGISTRY_URI: '{registry}' is not the MLflow of .*unset the"):
        tracking_uri(runtime)


def test_a_login_of_ones_own_goes_to_a_registry_of_ones_own(running_root: Path) -> None:
    os.environ |= login.mlflow_variables("me:mine") | {"MLFLOW_REGISTRY_URI": OTHER}
    runtime = RuntimeConfig(root=str(running_root), mlflow_uri=OTHER)
    environment.apply(runtime, quiet=True)
    assert tracking_uri(runtime) == OTHER


def test_up_does_not_start_beside_another_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ) | {"HOME": str(tmp_path), "MLFLOW_REGISTRY_URI": OTHER})
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for name in NAMES:
        os.environ.pop(name, None)
    with pytest.raises(InputError, match="MLFLOW_REGISTRY_URI"):
        up.up([f"runtime.root='{tmp_path / 'root'}'"], free_port(), free_port(), False)
