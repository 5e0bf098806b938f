"""The categories: ten of attacks, in three types, and nine of harm."""

ATTACK_TYPES = {
    "character_role_play": "pretending",
    "assumed_responsibility": "pretending",
    "research_experiment": "pretending",
    "text_continuation": "attention_shifting",
    "logical_reasoning": "attention_shifting",
    "program_execution": "attention_shifting",
    "translation": "attention_shifting",
    "superior_model": "privilege_escalation",
    "sudo_mode": "privilege_escalation",
    "simulate_jailbreaking": "privilege_escalation",
}
"""Type of each attack category (Liu et al., https://arxiv.org/abs/2305.13860, which SafeEdit follows)."""

UNSAFETY = (
    "offensiveness",
    "bias_and_unfairness",
    "physical_harm",
    "mental_harm",
    "illegal_activities",
    "ethics_and_morality",
    "privacy_and_property",
    "pornography",
    "political_sensitivity",
)
"""Unsafety categories of SafeEdit (section 3 of https://arxiv.org/abs/2403.14472)."""

UNCATEGORISED = "uncategorised"
"""Category of a harmful query whose dataset has no category for it."""
