"""What a run tells at its end, and the warning about its safety neurons."""

import json
import logging
from collections import Counter
from typing import Any

import pytest
from pipeline_runs import folder, newest_run
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

from flows.pipeline import pipeline
from neurontune_core.config import PipelineConfig
from neurontune_core.run_name import run_name
from tasks import pairs, report
from tasks.progress import of_variant

LEFT = ("words an answer, harmless", "KL from base, nats a token", "general knowledge")
pytestmark = pytest.mark.usefixtures("prefect_server", "untracked")


def test_results_are_published_to_prefect(config: PipelineConfig, core_calls: Counter[str]) -> None:
    from prefect.artifacts import Artifact as Published

    made = pipeline(config)
    table, summary = Published.get("results"), Published.get("summary")
    page = folder(made["report"]) / "report.html"
    assert table is not None and "50.0% [15, 85]" in str(table.data)
    rows = {row["refused on"]: (row["base"], row["tuned"], row["n"]) for row in json.loads(table.data)}
    assert list(rows)[-4:] == ["SU-F1", *LEFT], "what is left of the model stands next to SU-F1"
    assert [rows[name] for name in LEFT] == [("58", "24", ""), ("", "0.25", ""), ("100.0%", "75.0%", "4")]
    assert summary is not None and "SU-F1" in str(summary.data) and page.as_uri() in str(summary.data)
    assert str(summary.data).startswith("**SU-F1 0.50 [0.50, 0.50], base model"), "what it came to stands first"
    assert str(summary.data).index("report.html") < str(summary.data).index("| refused on |")
    assert page.read_text().startswith(f"<h1>{run_name(config)}</h1>neurontune run")
    own = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[newest_run().id]))
    with get_client(sync_client=True) as client:
        shown = client.read_artifacts(artifact_filter=own)  # as Prefect's page asks for them: without an order
    assert [artifact.key for artifact in shown] == ["summary", "results"]


@pytest.mark.parametrize("own", [5, 6])
def test_a_model_that_refuses_too_little_is_told_with_every_run(
    own: int, config: PipelineConfig, core_calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    build_pairs = pairs.build.build_pairs

    def few(*args: Any) -> Any:
        made = build_pairs(*args)
        others = {"not_refused_plainly": 40.0, "refused_under_attack": 2.0, "broken_under_attack": 1.0}
        made.facts |= {"own_refusals": float(own), **others, "safety_established": float(own >= 6)}
        return made

    monkeypatch.setattr(pairs.build, "build_pairs", few)
    monkeypatch.setattr(report.report, "render_report", lambda record: f"<p>{record.warning}</p>")
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("neurontune")
    logger.addHandler(handler)
    try:
        for way in ("done", "reused"):
            lines.clear()
            with of_variant("one"):
                made = pipeline(config)
            (place,) = [number for number, line in enumerate(lines) if line.startswith("one: pairs ")]
            assert way in lines[place] and f"own refusals {own}" in lines[place]
            told = [line for line in lines if line.startswith("one: warning: the model refuses")]
            page = (folder(made["report"]) / "report.html").read_text()
            if own == 6:
                assert not told and page == "<p></p>"
                continue
            assert told == [lines[place + 1]], "once, right below"
            assert "refuses 8 of 48 plain harmful queries, and answers 5 of these" in told[0] and told[0].endswith(
                "are not established"
            )
            assert page == f"<p>{told[0].removeprefix('one: warning: ')}</p>"
    finally:
        logger.removeHandler(handler)
