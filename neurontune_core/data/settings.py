"""Settings of one source of data."""

from typing import Literal

from pydantic import Field

from neurontune_core.section import Section

ColumnUse = Literal["query", "history", "context", "category", "response", "template", "name", "type", "text"]
"""The uses of a column of a user's file."""


class SourceConfig(Section):
    """The place from which one dataset is read."""

    path: str | None = Field(
        default=None,
        min_length=1,
        description="Local copy to read instead of the hub: a csv, json, jsonl or parquet file, or its folder.",
    )
    revision: str | None = Field(default=None, description="Hub commit to use instead of the pinned one.")
    limit: int | None = Field(
        default=None, ge=1, description="Use at most this many queries of each role, drawn by the seed."
    )
    system_prompt: str | None = Field(
        default=None,
        description="System message before queries that have none; it replaces the dataset's and model.system_prompt.",
    )
    columns: dict[ColumnUse, str] = Field(
        default_factory=dict,
        description="Columns of a file of your own that are not recognised, e.g. `columns.query=NAME`: query, history, "
        "context, category, response; of attacks template, name, type, category; of refusals text.",
    )
