"""Settings of the pairs stage."""

from pydantic import Field

from neurontune_core.data.settings import SourceConfig
from neurontune_core.section import Names, Section


class PairsConfig(Section):
    """Which queries, attacks and responses the run uses, and how they are split."""

    harmful: Names = Field(
        default=("shipped",),
        description="Datasets of harmful queries: shipped, safeedit, advbench, harmbench, jailbreakbench, "
        "strongreject, xstest, or_bench, or files of your own (docs/datasets.md).",
    )
    benign: Names = Field(
        default=("shipped",),
        description="Datasets of harmless queries: shipped, alpaca, truthfulqa, xstest, jailbreakbench, or_bench, or "
        "files of your own.",
    )
    attacks: Names = Field(
        default=("shipped",),
        description="Attacks around the queries: shipped, or files of your own with `{query}` in every attack.",
    )
    refusals: Names = Field(
        default=("shipped",),
        description="Refusals of harmful prompts: shipped, or files of your own; the first refusal is used.",
    )
    sources: dict[str, SourceConfig] = Field(
        default_factory=dict,
        description="Per dataset, by its name or that of its file: local path, hub commit, limit, columns, system "
        "prompt (`sources.advbench.path=FILE`).",
    )
    holdout_attack_categories: Names = Field(
        default=("research_experiment", "translation", "sudo_mode"),
        description="Attack categories kept out of training and validation: used in the test split only.",
    )
    validation_fraction: float = Field(default=0.1, gt=0, lt=1, description="Share of queries in the validation split.")
    test_fraction: float = Field(default=0.25, gt=0, lt=1, description="Share of queries in the test split.")
    ranking_queries: int = Field(
        default=1, ge=1, description="Harmful training queries on which every attack is ranked."
    )
    selected_queries: int = Field(
        default=48,
        ge=2,
        description="Training queries of each role wrapped in the strongest attack of each type, for attribution.",
    )
    wrapped_queries: int = Field(
        default=1100,
        ge=1,
        description="Training queries of each role wrapped in any attack, including the selected attacks.",
    )
    attacks_per_query: int = Field(
        default=1,
        ge=1,
        description="Attacks around each wrapped training query, one prompt each; queries for attribution: one.",
    )
    wrapped_test_queries: int = Field(
        default=80,
        ge=1,
        description="Test queries of each role wrapped in a trained and a held-out attack; validation: half as many.",
    )
    response_tokens: int = Field(
        default=24, ge=1, description="Most tokens of the model's own responses to harmless training prompts."
    )
    responses: int = Field(
        default=0,
        ge=0,
        description="Harmless training prompts that get the model's own response: first those for attribution, then "
        "plain ones. For harmless prompts without one, margin_fit only trains not to refuse. 0: all get one.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of splits, wrappers and samples.")
