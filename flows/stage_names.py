"""The names of the stages, in order; this module imports nothing heavy, so the command line can use it at once.

`baseline` replaces `scaling` if a run measures another method; `base` and `tuned` are the answers of both models, which
`evaluation` judges; `base-ability` is the base model's general knowledge, to which `ability` compares the tuned one's.
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
