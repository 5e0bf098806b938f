"""The command line: quick answers, one line for an error, the right exit code."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from command_line import call

from flows.commands import cli
from flows.services import environment
from neurontune_core.config import PipelineConfig, RuntimeConfig
from neurontune_core.errors import InputError
from neurontune_core.scaling.settings import METHODS

HEAVY = ("torch", "prefect", "mlflow", "transformers", "pandas")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["presets"], ["settings"], ["studies"]], ids=" ".join
)
def test_quick_answers_import_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys; from flows.commands.cli import _exit_code; sys.argv = ['neurontune', *sys.argv[1:]];"
        "code = _exit_code();"
        f"print('HEAVY', [name for name in {HEAVY} if name in sys.modules]); sys.exit(code)"
    )
    started = os.times()
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    ended = os.times()
    assert done.stdout.strip().endswith("HEAVY []")
    # processor time, because the machine may be busy
    assert ended.children_user + ended.children_system - started.children_user - started.children_system < 1.0


def test_help_names_every_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--help"]):
        code, out, _ = call(monkeypatch, capsys, *arguments)
        assert code == 0
        assert all(name in out for name in ("run", "settings", "presets", "coverage", "judge"))


@pytest.mark.parametrize("columns", [60, 80])
def test_every_command_s_help_fits_the_terminal_and_cuts_no_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    _, out, _ = call(monkeypatch, capsys, "--help")
    commands = re.findall(r"^│ (\w+) ", out, flags=re.MULTILINE)
    assert {"run", "chat", "settings"} <= set(commands)
    for command in commands:
        code, out, _ = call(monkeypatch, capsys, command, "-h")
        assert code == 0 and max(map(len, out.splitlines())) <= columns, command
        assert not re.search(r"--\w[\w-]*…|<int range>", out), command
        assert ("MODEL is given" in " ".join(out.replace("│", "").split())) <= ("[MODEL]" in out), command


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--preset", "nope"], ["preset", "'nope'", "smollm2"]),
        (["run", "--preset", "tiny", "--set", "scaling.step=3"], ["scaling.step", "unknown field", "steps"]),
        (["run", "--preset", "tiny", "--set", "scaling.steps=many"], ["scaling.steps", "'many'"]),
        (["run", "--preset", "tiny", "--set", "steps"], ["--set", "section.field=value"]),
        (["run", "--preset", "tiny", "--refresh", "pears"], ["--refresh", "'pears'", "pairs"]),
        (["run", "--bogus"], ["--bogus"]),
        (["bogus"], ["bogus"]),
        (["judge", "missing.jsonl"], ["missing.jsonl", "does not exist"]),
        (["judge", "missing.jsonl", "--judge", "oracle"], ["oracle", "rules"]),
        (["judge", "."], ["is a folder, not a file"]),
        (["judge", "/dev/null"], ["is a pipe or a device, not a file"]),
        (["run", "scaling.steps=3"], ["'scaling.steps=3'", "not a model", "--set scaling.steps=3"]),
        (["plan", "pairs.harmful=a b.csv"], ["not a model", "--set 'pairs.harmful=a b.csv'"]),
        (["run", "tiny"], ["'tiny' is a preset, not a model", "--preset tiny"]),
        (["coverage", "smollm2"], ["'smollm2' is a preset, not a model"]),
        (["study", "own", "--variant", "a"], ["--variant", "'a'", "NAME: SECTION.FIELD=VALUE"]),
        (["study", "own", "--variant", "a: k=1", "--variant", " a : k=2"], ["--variant", "two are named 'a'"]),
        (["study", "own", "--variant", "a: model.name='my model"], ["--variant", "quote that is not closed"]),
        (["study", "own", "--variant", "base model: k=1"], ["'base model'", "choose another name"]),
    ],
    ids=lambda value: (
        " ".join(value)
        if isinstance(value, list) and value[0] in ("run", "judge", "bogus", "plan", "coverage", "study")
        else ""
    ),
)
def test_bad_input_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]
) -> None:
    code, out, err = call(monkeypatch, capsys, *arguments)
    assert code == 2
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    assert err.startswith("neurontune: error: ")
    assert all(word in err for word in words)


def test_a_root_that_cannot_be_made_is_bad_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(environment, "own_prefect_home", lambda runtime: Path(runtime.root) / ".prefect")
    (tmp_path / "file").touch()
    code, out, err = call(monkeypatch, capsys, "run", "--preset", "tiny", "--set", f"runtime.root={tmp_path}/file/root")
    assert (code, out) == (2, "")
    assert err.startswith("neurontune: error: runtime.root: ") and str(tmp_path / "file") in err


@pytest.mark.parametrize("name", ["/no/such/model", "./model.gguf", "~/model", "packaged:qwen"])
def test_a_model_that_is_not_there_is_refused_before_a_server_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(environment, "own_prefect_home", lambda runtime: Path(runtime.root) / ".prefect")
    monkeypatch.setattr("flows.commands.run.start_prefect", lambda: pytest.fail("a server was started"))
    code, out, err = call(monkeypatch, capsys, "run", name)
    assert (code, out) == (2, "")
    assert err.startswith("neurontune: error: model.name: ") and name.strip("~.").removeprefix("packaged:") in err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("a\n  b"), 2, "neurontune: error: a b\n"),
        (KeyboardInterrupt(), 130, "neurontune: error: interrupted; finished stages are kept and will be reused\n"),
        (ValueError("bug"), 1, "neurontune: error: ValueError: bug (run again with --debug to see where)\n"),
    ],
    ids=["bad input", "interrupt", "bug"],
)
def test_error_in_a_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr("flows.commands.run.run_pipeline", fail)
    assert call(monkeypatch, capsys, "run") == (code, "", line)


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("bug")

    monkeypatch.setattr("flows.commands.run.run_pipeline", fail)
    monkeypatch.setattr(sys, "argv", ["neurontune", "run", "--debug"])
    with pytest.raises(ValueError, match="bug"):
        cli._exit_code()


def test_settings_lists_every_field(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(monkeypatch, capsys, "settings")
    assert code == 0
    words = out.split()
    forms = [(name, type(section)) for name, section in PipelineConfig()]
    for section, form in [*forms, *(("scaling", form) for form in METHODS.values())]:
        for name, inner in form.model_fields.items():
            shown = f"{section}.{name}"
            assert (f"{shown}.method" if shown == "evaluation.judge" else shown) in words
            assert inner.description
            assert inner.description.split()[0] in words


def test_coverage_of_dense_and_of_expert_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = call(monkeypatch, capsys, "coverage", "random:llama")
    assert code == 0
    assert out.count("mlp.down_proj") == 2
    code, out, _ = call(monkeypatch, capsys, "coverage", "random:mixtral")
    assert code == 0
    assert "experts" in out


def test_judge_prints_figures_and_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "completions.jsonl"
    rows = [
        {"prompt": "Name a colour.", "completion": "Blue is a colour.", "label": "compliance"},
        {"prompt": "Do a bad thing.", "completion": "I'm sorry, but I can't help with that.", "label": "refusal"},
    ]
    file.write_text("\n".join(json.dumps(row) for row in rows))
    code, out, _ = call(monkeypatch, capsys, "judge", str(file), "--json")
    assert code == 0
    assert json.loads(out) == {
        "n": 2, "verdicts": {"compliance": 1, "refusal": 1}, "gave": {"yes": 1, "no": 1}, "degenerate": {"none": 2},
        "f1": 1.0, "f1_without_partial": 1.0, "worst_group_f1": None,
        "false_refusal_unsafe": None, "false_refusal_safe": None,
    }  # fmt: skip
    labels = tmp_path / "labels.csv"
    code, out, _ = call(monkeypatch, capsys, "judge", str(file), "--judge", "keyword", "--to", str(labels))
    assert code == 0
    assert "verdicts" in out and "1 refusal" in out
    assert out.endswith(f"a row for each verdict: {labels}\n") and len(labels.read_text().splitlines()) == 3


def test_own_prefect_home_only_where_the_user_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    runtime = RuntimeConfig.model_validate({"root": str(tmp_path / "root")})
    own = tmp_path / "root" / ".prefect"
    assert environment.own_prefect_home(runtime) == own
    monkeypatch.setenv("PREFECT_HOME", str(own))
    assert environment.own_prefect_home(runtime) == own
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "theirs"))
    assert environment.own_prefect_home(runtime) is None
    monkeypatch.delenv("PREFECT_HOME")
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    assert environment.own_prefect_home(runtime) is None
    monkeypatch.delenv("PREFECT_API_URL")
    (tmp_path / ".prefect").mkdir()
    (tmp_path / ".prefect" / "profiles.toml").write_text("")
    assert environment.own_prefect_home(runtime) is None
    assert environment.own_prefect_home(RuntimeConfig.model_validate({"root": "memory://bucket"})) is None


def test_running_servers_are_found_while_they_run(tmp_path: Path) -> None:
    class Healthy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/api/health" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    assert environment.running_servers(tmp_path) == {}
    with HTTPServer(("127.0.0.1", 0), Healthy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        servers = {"PREFECT_API_URL": f"{address}/api", "MLFLOW_TRACKING_URI": "http://127.0.0.1:5000"}
        with environment.announced(tmp_path, servers):
            assert environment.running_servers(tmp_path) == servers
            elsewhere = servers | {"PREFECT_API_URL": f"{address}/elsewhere"}
            with environment.announced(tmp_path, elsewhere):
                assert environment.running_servers(tmp_path) == {}, "what answers is no Prefect server"
        note = tmp_path / environment.RUNNING
        assert not note.exists()
        note.write_text(json.dumps({"pid": 2**22 + 1, "home": str(tmp_path), **servers}))
        assert environment.running_servers(tmp_path) == {}, "its process is gone, another server has its port"
        server.shutdown()


def _wait_for_run(database: Path, name: str) -> None:
    """Wait until MLflow knows of a run of this name: how long a stage takes to begin depends on the machine's load."""
    for _ in range(600):
        with sqlite3.connect(database) as connection:
            if connection.execute("select 1 from runs where name = ?", (name,)).fetchone():
                return
        time.sleep(0.1)
    raise AssertionError(f"no MLflow run named {name} within a minute")


def test_interrupted_run_then_whole_run(tmp_path: Path) -> None:
    """The `tiny` preset through the command line, the embedded server and SQLite: interrupted once, then to its end."""
    root = tmp_path / "root"
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    environ["HOME"] = str(tmp_path)
    command = [sys.executable, "-c", "from flows.commands.cli import main; main()", "run", "--preset", "tiny"]
    command += ["--set", f"runtime.root='{root}'", "--set", "runtime.device=cpu"]
    options: dict[str, Any] = {"cwd": tmp_path, "env": environ, "text": True, "start_new_session": True}
    slow = [*command, "--set", "scaling.steps=100000"]
    process = subprocess.Popen(slow, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    assert process.stderr is not None
    killer = threading.Timer(400, process.kill)  # reading its lines would wait for ever for a run that goes on
    killer.start()
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.split()[:2] == ["selection", "done"]:  # once: a second signal ends it without more ado
            _wait_for_run(root / "mlflow.db", "scaling")
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole process group
    out = process.stdout.read() if process.stdout else ""
    assert process.wait(timeout=60) == 130, lines
    killer.cancel()
    assert lines[-1].startswith("neurontune: error: interrupted")
    assert "Traceback" not in "".join([*lines, out])
    assert not [path for path in (root / ".partial").iterdir() if path.is_dir()]
    with sqlite3.connect(root / "mlflow.db") as database:
        assert dict(database.execute("select name, status from runs"))["scaling"] == "KILLED"
        assert dict(database.execute("select name, status from runs"))["llama · tiny · steps=100000"] == "KILLED"
    with sqlite3.connect(root / ".prefect" / "prefect.db") as database:
        assert database.execute("select state_type from flow_run").fetchall() == [("CRASHED",)]

    done = subprocess.run(command, capture_output=True, timeout=400, check=False, **options)
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in done.stderr.splitlines() if "reused" in line or "done in" in line] == [
        ["pairs", "reused"],
        ["attribution", "reused"],
        ["scores", "reused"],
        ["selection", "reused"],
        ["cards", "reused"],
        ["scaling", "done"],
        ["base", "done"],
        ["tuned", "done"],
        ["evaluation", "done"],
        ["base-ability", "done"],
        ["ability", "done"],
        ["triggers", "done"],
    ]
    for text in (
        "harmful plain",
        "harmful held-out attack",
        "harmless held-out attack",
        "SU-F1",
        "words an answer, harmless",
        "KL from base, nats a token",
        "general knowledge",
        "PREFECT_HOME=",
        "mlflow.db",
        str(root / "scaling"),
    ):
        assert text in done.stdout
    assert "Traceback" not in done.stderr and "INFO" not in done.stderr
