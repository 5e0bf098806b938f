"""Settings of the evaluation stage."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from neurontune_core.data.settings import SourceConfig
from neurontune_core.section import Names, Section, as_list

JudgeName = Literal[
    "rules",
    "keyword",
    "classifier",
    "precomputed",
    "llama-guard-3",
    "llama-guard-4",
    "wildguard",
    "shieldgemma",
    "harmbench",
    "strongreject",
]
MODEL_JUDGES = r"llama-guard-3|llama-guard-4|wildguard|shieldgemma|harmbench|strongreject"
ALSO_JUDGE = rf"^(?:rules|keyword|(?:{MODEL_JUDGES})(?:=.+)?)$"


class EvaluationConfig(Section):
    """What is generated and how it is judged."""

    benchmarks: Names = Field(
        default=("shipped",),
        description="Benchmarks to run: `shipped` (the test split), a public set such as `advbench`, or a file of your "
        "own (`mine.csv` of harmful queries, `benign:mine.csv` of harmless ones), plain or wrapped in attacks "
        "(`advbench/heldout`, `advbench/all`, `mine.csv/translation`).",
    )
    attacks: Names = Field(
        default=("shipped",),
        description="Attacks that public sets and files of your own are wrapped in: shipped, or files of your own.",
    )
    sources: dict[str, SourceConfig] = Field(
        default_factory=dict,
        description="Per public set or file, by its name: local path, revision, row limit, columns, system prompt.",
    )
    prompts_per_benchmark: int = Field(default=80, ge=1, description="Most prompts taken from each benchmark.")
    max_new_tokens: int = Field(default=150, ge=1, description="Longest completion, in tokens.")
    judge: JudgeName = Field(default="rules", description="Refusal judge.")
    judge_path: str | None = Field(
        default=None,
        description="Model folder of the `classifier` judge, verdict file of the `precomputed` one, folder or hub id "
        "of a named model judge.",
    )
    also_judges: Annotated[tuple[Annotated[str, Field(pattern=ALSO_JUDGE)], ...], BeforeValidator(as_list)] = Field(
        default=(),
        description="Further judges, whose agreement with the first is measured: `rules`, `keyword`, or a model judge "
        "with its folder or hub id, as in `wildguard=FOLDER`.",
    )
    bootstrap_samples: int = Field(default=2000, ge=100, description="Resamples of the paired bootstrap.")
    seed: int = Field(default=0, ge=0, description="Seed of prompt samples and of the bootstrap.")
