"""Settings of where and how a run executes."""

import os
import re
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from neurontune_core.section import Section

DASK_ADDRESS = r"^([a-z]+://)?(\[[0-9a-fA-F:.]+\]|[^\s/:@\[\]]+):[0-9]{1,5}/?$"
PASSWORD_IN_ADDRESS = r"[^/]+://[^/]*:[^/]*@"


class RuntimeConfig(Section):
    """Where and how the run executes. These settings change no result, so they are in no content key."""

    root: str = Field(
        default_factory=lambda: os.environ.get("NEURONTUNE_ROOT", "neurontune-artifacts"),
        min_length=1,
        description="Artifact root: a folder or any fsspec URL; by default NEURONTUNE_ROOT or ./neurontune-artifacts. "
        "Credentials come from the environment, never from the URL.",
        validate_default=True,
        json_schema_extra={"pattern": f"^(?!{PASSWORD_IN_ADDRESS})"},
    )
    mlflow_uri: str | None = Field(
        default=None,
        description="MLflow tracking URI; MLFLOW_TRACKING_URI or a SQLite file in the root by default. One with a "
        "password can only come from the environment.",
        json_schema_extra={"pattern": f"^(?!{PASSWORD_IN_ADDRESS})"},
    )
    experiment: str = Field(default="neurontune", min_length=1, description="MLflow experiment.")
    device: str = Field(
        default="auto",
        description="`auto`, `cpu`, `cuda`, `cuda:1`, `mps`; or several, over which the model's layers are spread: "
        "`cuda:0,cuda:1`, with `cpu` last for what they cannot hold.",
    )
    max_memory: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict,
        description="GiB of weights a device may hold where a model is spread over several "
        "(`runtime.max_memory.cuda:0=60`); by default 70% of what is free.",
    )
    threads: int | None = Field(
        default=None, ge=1, le=10_000, description="Processor threads of torch; all cores by default."
    )
    batch_tokens: int | None = Field(
        default=None,
        ge=64,
        description="Tokens a batch holds at most in generation and scoring; by default what a quarter of the device's "
        "memory holds, at most 3072 on a processor.",
    )
    memory_mib: int | None = Field(
        default=None, ge=64, description="Activation memory of attribution; automatic by default."
    )
    price_per_hour: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="Price of an hour of this machine, from which `neurontune plan` computes the cost of a run.",
    )
    harmful_text: Literal["masked", "shown"] = Field(
        default="masked",
        description="Harmful prompts and the answers to them in MLflow's traces and table of completions: `masked` or "
        "`shown`. The report and the artifacts hold them in any case.",
    )
    name: str = Field(default="", description="Name of the run; by default model, preset and changed settings.")
    preset: str = Field(default="", description="Name of the preset of these settings, for the names of runs.")
    changed: tuple[str, ...] = Field(
        default=(), description="Settings that differ from a preset in your own file, for the names of runs."
    )
    retries: int = Field(default=2, ge=0, le=1000, description="Retries of a stage after a transient error.")
    timeouts: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict,
        description="Longest time one attempt at a stage may take, in seconds, by stage; for attribution that of a "
        "shard (`runtime.timeouts.attribution=600`).",
    )
    runner: Literal["threads", "processes", "dask"] = Field(
        default="threads",
        description="What the shards run on: threads of this process, which share its one model; processes of this "
        "machine; or Dask workers on any machines.",
    )
    workers: int = Field(
        default=1, ge=1, le=10_000, description="Shards computed at a time, if no address of a Dask scheduler is given."
    )
    dask_address: str | None = Field(
        default=None,
        description="Address of a Dask scheduler, e.g. `tcp://host:8786`; a cluster on this machine by default.",
        json_schema_extra={"pattern": DASK_ADDRESS},
    )
    concurrency_limit: str | None = Field(
        default=None,
        description="Prefect concurrency limit to hold while a model is in use; `gpu` by default on a CUDA device.",
    )

    @field_validator("root", "mlflow_uri")
    @classmethod
    def _holds_no_password(cls, uri: str | None, field: ValidationInfo) -> str | None:
        # settings are parameters of the flow run, which everybody can read who has access to the Prefect UI
        if uri is not None and re.match(PASSWORD_IN_ADDRESS, uri):
            place = "MLFLOW_TRACKING_URI" if field.field_name == "mlflow_uri" else "the environment, as fsspec reads it"
            raise ValueError(f"an address with a password is no setting: put it into {place}")
        return uri

    @field_validator("dask_address")
    @classmethod
    def _has_a_port(cls, address: str | None) -> str | None:
        if address is not None and not re.fullmatch(DASK_ADDRESS, address):
            raise ValueError("no address of a Dask scheduler; give tcp://HOST:PORT, as it prints when it starts")
        return address
