"""The stages by name, in order; imported by the command line before anything heavy.

`baseline` stands in for `scaling` where a run measures another method; `base` and `tuned` are the two models' answers,
which `evaluation` judges; `base-ability` is what the base model knows, with which `ability` compares the tuned one.
"""

from typing import Literal, get_args

Stage = Literal[
    "pairs",
    "attribution",
    "scores",
    "selection",
    "cards",
    "scaling",
    "baseline",
    "base",
    "tuned",
    "evaluation",
    "base-ability",
    "ability",
    "triggers",
]
STAGES: tuple[Stage, ...] = get_args(Stage)
