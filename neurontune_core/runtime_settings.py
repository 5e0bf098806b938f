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
        description="MLflow tracking URI; by default MLFLOW_TRACKING_URI or a SQLite file in the root. A URI with a "
        "password can only be given in the environment variable.",
        json_schema_extra={"pattern": f"^(?!{PASSWORD_IN_ADDRESS})"},
    )
    experiment: str = Field(
        default="neurontune", min_length=1, description="Name of the MLflow experiment that has the runs."
    )
    device: str = Field(
        default="auto",
        description="Device of the model: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`. Several devices share the model's "
        "layers, e.g. `cuda:0,cuda:1`; `cpu` as the last one takes the layers that do not fit on the GPUs. `auto` is "
        "all GPUs and then `cpu`.",
    )
    max_memory: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict,
        description="Most GiB of weights on a device, if the model is spread over several devices, e.g. "
        "`runtime.max_memory.cuda:0=60`; by default 70% of the device's free memory.",
    )
    threads: int | None = Field(
        default=None, ge=1, le=10_000, description="Number of processor threads that torch uses; all cores by default."
    )
    batch_tokens: int | None = Field(
        default=None,
        ge=64,
        description="Most tokens of a batch in generation and scoring; by default as many as fit in a quarter of the "
        "device's memory, and at most 3072 on a processor.",
    )
    memory_mib: int | None = Field(
        default=None,
        ge=64,
        description="Memory for the activations in attribution, in MiB; by default it is chosen for device and model.",
    )
    price_per_hour: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="Price of an hour of this machine, from which `neurontune plan` computes the cost of a run.",
    )
    harmful_text: Literal["masked", "shown"] = Field(
        default="masked",
        description="Whether MLflow's traces and table of completions show harmful prompts and the answers to them: "
        "`masked` or `shown`. The report and the artifacts always contain them.",
    )
    name: str = Field(
        default="", description="Name of the run; by default it is made of model, preset and changed settings."
    )
    preset: str = Field(default="", description="Name of the preset of these settings, for the names of runs.")
    changed: tuple[str, ...] = Field(
        default=(), description="Settings that differ from a preset in your own file, for the names of runs."
    )
    retries: int = Field(default=2, ge=0, le=1000, description="Number of retries of a stage after a temporary error.")
    timeouts: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict,
        description="Most seconds that one attempt at a stage may take, by stage; for attribution the limit of each "
        "shard. Example: `runtime.timeouts.attribution=600`.",
    )
    runner: Literal["threads", "processes", "dask"] = Field(
        default="threads",
        description="Where shards are computed: in `threads` of this process, which share one loaded model; in "
        "`processes` of this machine; or on `dask` workers on any machines.",
    )
    workers: int = Field(
        default=1,
        ge=1,
        le=10_000,
        description="Number of shards computed at a time, if runtime.dask_address is not given.",
    )
    dask_address: str | None = Field(
        default=None,
        description="Address of a Dask scheduler, e.g. `tcp://host:8786`; by default the runner `dask` starts a "
        "cluster on this machine.",
        json_schema_extra={"pattern": DASK_ADDRESS},
    )
    concurrency_limit: str | None = Field(
        default=None,
        description="Name of the Prefect concurrency limit that a stage holds while it uses a model; on a CUDA device "
        "`gpu` by default.",
    )

    @field_validator("root", "mlflow_uri")
    @classmethod
    def _holds_no_password(cls, uri: str | None, field: ValidationInfo) -> str | None:
        # settings are parameters of the flow run, which everybody can read who has access to the Prefect UI
        if uri is not None and re.match(PASSWORD_IN_ADDRESS, uri):
            place = "MLFLOW_TRACKING_URI" if field.field_name == "mlflow_uri" else "the environment, as fsspec reads it"
            raise ValueError(f"an address in the settings must not have a password; put the address into {place}")
        return uri

    @field_validator("dask_address")
    @classmethod
    def _has_a_port(cls, address: str | None) -> str | None:
        if address is not None and not re.fullmatch(DASK_ADDRESS, address):
            raise ValueError(
                "not the address of a Dask scheduler; give tcp://HOST:PORT, as the scheduler prints it when it starts"
            )
        return address
