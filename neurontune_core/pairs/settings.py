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
        description="Attacks in which queries are wrapped: shipped, or files of your own with `{query}` in every "
        "attack.",
    )
    refusals: Names = Field(
        default=("shipped",),
        description="Refusals of harmful prompts: shipped, or files of your own. Only the first refusal is used.",
    )
    sources: dict[str, SourceConfig] = Field(
        default_factory=dict,
        description="Settings of each dataset, by its name or the name of its file: local path, hub commit, limit, "
        "columns, system prompt. Example: `pairs.sources.advbench.path=FILE`.",
    )
    holdout_attack_categories: Names = Field(
        default=("research_experiment", "translation", "sudo_mode"),
        description="Held-out attack categories: they are used only in the test split, not in training and validation.",
    )
    validation_fraction: float = Field(default=0.1, gt=0, lt=1, description="Share of queries in the validation split.")
    test_fraction: float = Field(default=0.25, gt=0, lt=1, description="Share of queries in the test split.")
    ranking_queries: int = Field(
        default=1, ge=1, description="Number of harmful training queries on which the attacks are ranked."
    )
    selected_queries: int = Field(
        default=48,
        ge=2,
        description="Number of training queries of each role that are wrapped in the strongest attack of each type, "
        "for attribution.",
    )
    wrapped_queries: int = Field(
        default=1100,
        ge=1,
        description="Number of training queries of each role that are wrapped in any attack, those for attribution "
        "included.",
    )
    attacks_per_query: int = Field(
        default=1,
        ge=1,
        description="Number of attacks in which a training query is wrapped, one prompt for each attack; a query for "
        "attribution has one attack.",
    )
    wrapped_test_queries: int = Field(
        default=80,
        ge=1,
        description="Number of test queries of each role that are wrapped both in a trained and in a held-out attack. "
        "Half as many validation queries are wrapped in a trained attack.",
    )
    response_tokens: int = Field(
        default=24, ge=1, description="Most tokens of the model's own responses to harmless training prompts."
    )
    responses: int = Field(
        default=0,
        ge=0,
        description="Number of harmless training prompts that get the model's own response: first those for "
        "attribution, then plain ones. Without a response, margin_fit only trains not to refuse the "
        "prompt. 0: all get one.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of splits, wrappers and samples.")
