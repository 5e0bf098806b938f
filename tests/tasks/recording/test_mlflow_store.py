"""Addresses of an MLflow store: no password is shown."""

import os

import pytest

from neurontune_core.config import PipelineConfig
from tasks.recording import mlflow_store
from tasks.recording.mlflow_store import tracking_uri


def test_no_password_is_shown() -> None:
    shown = mlflow_store.without_password("postgresql://user:secret@database:5432/mlflow")
    assert shown == "postgresql://database:5432/mlflow"
    assert mlflow_store.without_password("http://localhost:5000") == "http://localhost:5000"
    assert mlflow_store.without_password("sqlite:////data/a@b/mlflow.db") == "sqlite:////data/a@b/mlflow.db"


def test_password_of_a_server_leaves_its_address(config: PipelineConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's errors quote the address it was given."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ada:hid%2Fden@server:5000")
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", "older")
    for _ in range(2):
        assert tracking_uri(config.runtime) == os.environ["MLFLOW_TRACKING_URI"] == "https://server:5000"
        assert os.environ["MLFLOW_TRACKING_USERNAME"] == "ada"
        assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "hid/den"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://ada:hidden@database/mlflow")
    assert "hidden" in tracking_uri(config.runtime), "a database has no other place for it"
