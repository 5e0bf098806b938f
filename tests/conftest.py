"""Shared fixtures: one Prefect test server a session, and a pipeline whose heavy functions are replaced by fakes."""

import gc
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from headless import Browser, chromium

os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")
os.environ["PREFECT_LOGGING_EXTRA_LOGGERS"] = "neurontune"
os.environ["PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW"] = "ignore"
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ["DO_NOT_TRACK"] = "true"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("MLFLOW_TRACKING_URI", None)
os.environ.pop("COLUMNS", None)  # pytest-xdist sets it to 80, and a table on no terminal would be as narrow


def pytest_runtestloop() -> None:
    """Leave the modules out of garbage collection: walking through all of torch and Prefect takes half a second."""
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a file that runs flows together, the largest files first, and spread all others one by one."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0]
            return file if file.startswith(("tests/flows/", "tests/tasks/", "tests/faults/")) else nodeid

    return ByFile(config, log)


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """Give every test the same environment variables, whatever a command that ran before it in this process has set."""
    prefixes = ("PREFECT_", "MLFLOW_", "HF_", "NEURONTUNE_")
    before = {name: value for name, value in os.environ.items() if name.startswith(prefixes)}
    yield
    for name in [name for name in os.environ if name.startswith(prefixes) and name not in before]:
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(autouse=True)
def no_server_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Stop the servers that commands have started in this process; they would run beside all other tests."""
    from flows.services import server

    start, started = server.start_server, []

    def noted(*args: Any, **named: Any) -> Any:
        started.append(start(*args, **named))
        return started[-1]

    monkeypatch.setattr(server, "start_server", noted)
    yield
    for each in started:
        each.process.kill()
        each.process.wait()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A page in headless Chromium."""
    with chromium(tmp_path / "profile") as page:
        yield page


@pytest.fixture(scope="session")
def prefect_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Any, Any]]:
    """Start one Prefect server for all tests that run flows, as a run does; Prefect's test server is never idle."""
    from prefect.events.worker import EventsWorker
    from prefect.settings import (
        PREFECT_API_AUTH_STRING,
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_LOGGING_TO_API_ENABLED,
    )

    from flows.services.server import start_server

    home = tmp_path_factory.mktemp("prefect")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(home))
        patch.setenv("PREFECT_API_BLOCKS_REGISTER_ON_START", "false")  # takes seconds
        server = start_server(home, home / "server.log")
    server.wait_until_ready()
    place = {PREFECT_API_URL: f"{server.address}/api", PREFECT_API_AUTH_STRING: server.login}
    quick = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None, PREFECT_LOGGING_TO_API_ENABLED: False}
    yield place | quick
    EventsWorker.drain_all()
    server.process.terminate()


@pytest.fixture
def prefect_server(prefect_settings: dict[Any, Any]) -> Iterator[None]:
    """Run this test with the Prefect server of all tests; other tests see no server, whatever ran before them."""
    from prefect.context import _temporary_global_settings_context, get_settings_context
    from prefect.settings import temporary_settings

    # threads of Prefect's own see the global settings
    with temporary_settings(prefect_settings), _temporary_global_settings_context(get_settings_context()):
        yield


@pytest.fixture(scope="session")
def mlflow_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh MLflow database: making one takes seconds, copying it none."""
    from tasks.recording.mlflow_store import client_of

    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    client_of(f"sqlite:///{file}").search_experiments(max_results=1)
    return file


@pytest.fixture
def config(tmp_path: Path, mlflow_template: Path) -> Any:
    """A small configuration with an artifact root of its own."""
    import shutil

    from neurontune_core.config import load_config

    root = tmp_path / "root"
    root.mkdir()
    shutil.copy(mlflow_template, root / "mlflow.db")
    empty = tmp_path / "preset.toml"
    empty.write_text("")
    settings = [
        "model.name=random:llama",
        "selection.safety_neurons=5",
        "selection.utility_neurons=4",
        "attribution.shards=3",
        f"runtime.root='{root}'",
        "runtime.device=cpu",
        "runtime.retries=2",
        "runtime.batch_tokens=3072",
    ]
    return load_config(str(empty), settings)


@pytest.fixture
def untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave MLflow out: it has its own tests, and takes most of the time of a run of fakes."""
    from tasks.recording import tracking
    from tasks.recording.mlflow_store import Tracking

    monkeypatch.setattr(tracking, "start_run", lambda *_: Tracking(uri=""))


@pytest.fixture
def core_calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Replace the core's slow functions by fakes, and count their calls by stage."""
    import numpy as np
    import pandas as pd

    from neurontune_core.cards.card import NeuronCard
    from neurontune_core.records import PromptPair, ScalingFactors
    from tasks import ability, attribution, cards, evaluation, models, pairs, report, scaling, stage, triggers

    calls: Counter[str] = Counter()

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls[name] += 1
            return function(*args, **kwargs)

        return call

    def build_pairs(settings: Any, *_: Any) -> Any:
        made = [
            PromptPair(
                id=f"{role}{number}", role=role, query_id=f"q{number}", query="q", query_category="c", prompt="p",
                response=f"seed {settings.seed}", attack_type="t", attack_category="a", attack_name="n", selected=True,
                source="s", split="train",
            )
            for role in ("safety", "utility")
            for number in range(6)
        ]  # fmt: skip
        tables = {name: pd.DataFrame({name: ["n"]}) for name in ("ranking", "rejected", "sources", "own_refusals")}
        return SimpleNamespace(pairs=made, facts={"pairs": len(made)}, **tables)

    def attribute_shard(mine: Any, settings: Any, *_: Any) -> Any:
        rows = [
            {"role": role, "attack_category": "a", "layer": layer, "neuron": neuron, "half": half,
             "score_sum": float((neuron * 7 + layer) % 11), "score_sq_sum": 1.0, "count": len(mine)}
            for role in ("safety", "utility") for layer in range(2) for neuron in range(48) for half in (0, 1)
        ]  # fmt: skip
        table = pd.DataFrame(rows)
        return SimpleNamespace(table=table, completeness=table.head(1), facts={"pairs": len(mine)})

    def make_cards(rows: Any, *_: Any) -> Any:
        return [
            NeuronCard(row.role, row.layer, row.index, row.score, 0.0, 1.0, (), (), ()) for row in rows.itertuples()
        ]

    def learn_scaling(problem: Any, *_: Any, report: Any, **__: Any) -> Any:
        neurons = problem.neurons
        factors = ScalingFactors(neurons, np.full(len(neurons.all), 1.5, dtype=np.float32))
        curve = pd.DataFrame({"step": [0, 1], "loss": [2.0, 1.0]})
        for row in curve.to_dict("records"):
            report(int(row["step"]), row)
        validation = 1 - abs(len(neurons.safety) - 6) / 100  # best with six
        return SimpleNamespace(scaling=factors, curve=curve, facts={"loss_last": 1.0, "best_score": validation})

    def base_answers(prompts: Any, settings: Any, *_: Any, **__: Any) -> Any:
        asked = pd.DataFrame({"prompt": [prompts[0].response], "tokens": [[1, settings.max_new_tokens]]})
        return asked, pd.DataFrame({"reason": []})

    def tuned_answers(before: Any, factors: Any, settings: Any, *_: Any) -> Any:
        said = "baseline" if not hasattr(factors, "alpha") else f"{len(factors.alpha)}"
        return before.assign(completion=said), {"eval/kl_to_base": 0.25}

    def evaluate(base: Any, tuned: Any, settings: Any, moved: Any, device: str) -> Any:
        completions = pd.DataFrame(
            [
                {"benchmark": f"{role}_plain", "id": role, "query_id": role, "role": role, "prompt": "p",
                 "query_category": "", "attack_category": "", "model": model, "completion": f"{settings.seed}",
                 "verdict": "refusal",
                 "refused": True, "broken": False, "judge": "rules"}
                for role in ("safety", "utility")
                for model in ("base", "tuned")
            ]
        )  # fmt: skip
        rates = pd.DataFrame(
            [
                {"benchmark": name, "role": role, "model": model, "n": 4, "refused": 2, "rate": 0.5, "low": 0.15,
                 "high": 0.85}
                for name, role in (("harmful_plain", "safety"), ("harmful", "safety"), ("benign", "utility"))
                for model in ("base", "tuned")
            ]
        )  # fmt: skip
        scores = {f"eval/su_f1{suffix}{end}": 0.5 for suffix in ("", "_base") for end in ("", "_low", "_high")}
        shares = {f"eval/{name}{suffix}": 0.5 for name in ("safety", "utility", "broken") for suffix in ("", "_base")}
        facts = {"refusal_rate/harmful": 0.5, "left/words": 24.0, "left/words_base": 58.0} | scores | shares | moved
        return SimpleNamespace(completions=completions, rates=rates, facts=facts)

    monkeypatch.setattr(models, "load", lambda *_: SimpleNamespace())
    models._loaded.clear()
    monkeypatch.setattr(pairs.build, "build_pairs", counted("pairs", build_pairs))
    monkeypatch.setattr(attribution.shards, "attribute_shard", counted("attribution", attribute_shard))
    monkeypatch.setattr(cards.make, "make_cards", counted("cards", make_cards))
    monkeypatch.setattr(scaling.learn, "learn_scaling", counted("scaling", learn_scaling))
    monkeypatch.setattr(evaluation.answers, "base_answers", counted("base", base_answers))
    monkeypatch.setattr(evaluation.answers, "tuned_answers", counted("tuned", tuned_answers))
    monkeypatch.setattr(evaluation.evaluate, "evaluate", counted("evaluation", evaluate))
    accuracy = {"ability/accuracy_base": 1.0, "ability/accuracy": 0.75, "ability/questions": 4.0}
    known = pd.DataFrame({"id": ["q"], "subject": ["s"], "base": [True], "tuned": [True]})
    monkeypatch.setattr(ability.ability, "base_choices", lambda *_: (known, {"ability/accuracy_base": 1.0}))
    monkeypatch.setattr(ability.ability, "tuned_choices", lambda *_: (known, accuracy))
    found = pd.DataFrame({"id": ["q"], "word": [""]})
    monkeypatch.setattr(triggers.over_refusal, "measure_triggers", lambda *_: (found, {"false_refusals": 1.0}))
    monkeypatch.setattr(report.report, "render_report", lambda record: f"<h1>{record.title}</h1>{record.command}")
    monkeypatch.setattr(stage, "FIRST_DELAY_SECONDS", 0)
    return calls
