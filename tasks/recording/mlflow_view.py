"""The saved view of the experiment's run table: headline metrics, differing settings, and the groups of a run.

Without a view MLflow's table shows no metric. The format is internal to MLflow and undocumented (seen in 3.17); an
MLflow that cannot read it shows the table without a view.
"""

import base64
import json
import zlib
from collections.abc import Collection, Mapping, Sequence

KEY = "headline"
TAG = f"mlflow.sharedViewState.{KEY}"
METRICS = (
    "eval/su_f1",
    "eval/safety",
    "eval/utility",
    "refusal_rate/harmful_heldout_attack",
    "refusal_rate/benign_borderline",
)
"""Metrics with a column each. MLflow shows the name of a run, then these sorted by name, then settings, then tags,
whatever the order here. Few metrics leave room for the settings; others can be added in the table's list of columns."""
TAGS = ("model", "preset", "study")
CHANGES = "neurontune.changes"
"""The tag with the settings that differ from the run's preset, in one line."""


def differing(runs: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the parameters that differ between the runs that have them, without those of where and how a run works."""
    values: dict[str, set[str]] = {}
    for parameters in runs:
        for name, value in parameters.items():
            values.setdefault(name, set()).add(value)
    return sorted(name for name, found in values.items() if len(found) > 1 and not name.startswith("runtime."))


def saved_view(settings: Collection[str] = ()) -> str:
    """Return the view in the format of MLflow's experiment tag, with columns for these settings."""
    columns = [f"metrics.`{name}`" for name in METRICS] + [f"params.`{name}`" for name in settings]
    columns += [f"tags.`{name}`" for name in (CHANGES, *TAGS)]
    state = {
        "searchFilter": "tags.`prefect.flow_name` = 'neurontune'",  # not the runs of single stages
        "orderByKey": f"metrics.`{METRICS[0]}`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": [*columns, "attributes.`Created`", "attributes.`Duration`"],
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runListHidden": False,
        "viewMaximized": True,
    }
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    # a fixed time, so that the same view gives the same text
    return json.dumps({"name": "Headline", "createdAt": 0, "updatedAt": 0, "state": f"deflate;{packed}"})


def experiment_description(experiment_id: str) -> str:
    """Return the experiment's description with a link to this view; MLflow opens an experiment on another page."""
    return f"[All runs side by side]({table_link(experiment_id)})"


def table_link(experiment_id: str) -> str:
    """Return the address of the run table in this view, relative to the MLflow server."""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={KEY}&workflowType=machine_learning"
