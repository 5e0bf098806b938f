"""Runs as they are listed and named: one name, one run."""

import pytest
from recorded_runs import record_run

from neurontune_core.config import PipelineConfig
from neurontune_core.errors import InputError
from tasks.recording.mlflow_store import client_of, tracking_uri
from tasks.recording.run_list import listed, search
from tasks.recording.runs import find_run


def test_a_name_that_several_runs_share_is_refused_with_the_list(config: PipelineConfig) -> None:
    first, second, other = (record_run(config, name) for name in ("twice", "twice", "it's once"))
    with pytest.raises(InputError, match=r"2 runs have the name or id 'twice'.*neurontune runs") as refused:
        find_run("twice", config.runtime)
    assert first[:8] in str(refused.value) and second[:8] in str(refused.value)
    assert find_run("it's once", config.runtime).run_id == other
    for given in (first, first[:8], first[:12]):
        assert find_run(given, config.runtime).run_id == first
    with pytest.raises(InputError, match="no run has the name or id"):
        find_run("".join("0" if digit != "0" else "1" for digit in first[:8]), config.runtime)


def test_latest_is_the_latest_that_ended_well_where_a_result_is_needed(config: PipelineConfig) -> None:
    good, bad = record_run(config, "good"), record_run(config, "bad")
    client = client_of(tracking_uri(config.runtime))
    for state in ("FAILED", "KILLED", "RUNNING"):
        client.set_terminated(bad, state)
        assert find_run("latest", config.runtime, finished=True).run_id == good
        assert find_run("latest", config.runtime).run_id == bad
    client.set_terminated(good, "FAILED")
    with pytest.raises(InputError, match="no finished run has the name or id 'latest'"):
        find_run("latest", config.runtime, finished=True)


def test_a_listed_run_says_what_it_was_and_what_came_of_it(config: PipelineConfig) -> None:
    client = client_of(tracking_uri(config.runtime))
    run = record_run(config, "one")
    for metric, value in {"eval/su_f1": 0.6, "eval/su_f1_low": 0.5, "eval/su_f1_high": 0.7, "eval/safety": 0.8}.items():
        client.log_metric(run, metric, value)
    # an earlier version noted no changes, and its preset as tags of the flow run
    for name, value in {"runtime.preset": "tiny", "scaling.steps": "20", "model.name": "random:llama"}.items():
        client.log_param(run, name, value)
    (found,) = [listed(each) for each in search(config.runtime)]
    assert (found.run_id, found.name, found.model, found.preset) == (run, "one", "llama", "tiny")
    assert (found.differs, found.state) == ("steps=20", "finished")
    assert (found.su_f1, found.su_f1_low, found.su_f1_high, found.safety, found.utility) == (0.6, 0.5, 0.7, 0.8, None)
    assert len(found.started) == len("2026-01-01 10:00")
    assert found.answered_by == "transformers" and found.line.endswith("SU-F1 0.60")
    client.log_param(run, "evaluation.engine", "vllm")
    (found,) = [listed(each) for each in search(config.runtime)]
    assert found.answered_by == "vLLM" and found.line.endswith("SU-F1 0.60 (vLLM)")
    record_run(config, "without scores")
    assert [listed(each).answered_by for each in search(config.runtime)] == [None, "vLLM"]
