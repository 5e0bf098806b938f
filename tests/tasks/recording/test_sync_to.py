"""Records kept for one MLflow address, sent to another."""

import pytest

from neurontune_core.config import PipelineConfig
from tasks.recording import kept_records, mlflow_spool, step_runs, tracking
from tasks.recording.mlflow_store import Tracking, client_of, tracking_uri

AWAY = "http://127.0.0.1:9"


def keep_a_run(config: PipelineConfig, monkeypatch: pytest.MonkeyPatch, run: str = "") -> None:
    """Record a run, or parameters of one that its store has, while MLflow is away."""
    place = Tracking(uri=AWAY, root=config.runtime.root, experiment="neurontune", experiment_id="77" if run else "")
    with monkeypatch.context() as away:
        away.setattr(mlflow_spool, "client_of", lambda _: 1 / 0)
        away.setattr(step_runs, "client_of", lambda _: 1 / 0)
        made = run or str(tracking.open_run(place, "kept", {}))
        step_runs.record_parameters(place.model_copy(update={"run_id": made}), made, {"scaling": {"steps": 3}})


def test_all_of_a_run_goes_to_the_other(config: PipelineConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_a_run(config, monkeypatch)
    root, uri = config.runtime.root, tracking_uri(config.runtime)
    assert mlflow_spool.send(config.runtime).elsewhere == (AWAY,) and len(kept_records.waiting(root)) == 2
    assert mlflow_spool.send(config.runtime, of_every_store=True) == mlflow_spool.Sent(2, [], [])
    assert not kept_records.waiting(root)
    client = client_of(uri)
    experiment = client.get_experiment_by_name("neurontune")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.data.params) == ("kept", {"scaling.steps": "3"})


def test_what_belongs_to_a_run_of_its_own_store_is_kept(
    config: PipelineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_a_run(config, monkeypatch, "0" * 32)
    keep_a_run(config, monkeypatch)
    sent = mlflow_spool.send(config.runtime, of_every_store=True)
    assert (sent.sent, sent.refused, len(sent.left), sent.elsewhere) == (2, [], 1, (AWAY,))
    assert len(kept_records.waiting(config.runtime.root)) == 1
