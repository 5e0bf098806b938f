"""Draw the figures of the documents: `python docs/figures.py`."""

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("svg")
from matplotlib import pyplot as plt

KINDS = (
    ("refuse, finish: to rise", "#c0392b", lambda m: np.log1p(np.exp(-m))),
    ("answer: to fall", "#2471a3", lambda m: np.log1p(np.exp(m))),
    ("keep: to stay at 0", "#1e8449", lambda m: m**2 / 2),
)
STEPS = (
    ("measure", "run new prompts at\nthe present factors:\nmargins and slopes"),
    ("solve", "find factors that\nfit all margins\nso far (convex)"),
    ("move", "take them as the\npresent factors,\nvalidate at times"),
)


def margin_fit(target: Path) -> None:
    """Draw the losses of the margins, and the loop of the method."""
    figure, (losses, loop) = plt.subplots(1, 2, figsize=(10.5, 3.6), width_ratios=(1, 1.25))
    margin = np.linspace(-4, 4, 161)
    for name, colour, loss in KINDS:
        losses.plot(margin, loss(margin), color=colour, label=name, linewidth=2)
    losses.set(xlabel="margin m", ylabel="loss in nats", ylim=(0, 4.2), xlim=(-4, 4))
    losses.legend(frameon=False, loc="upper center", fontsize=9)
    loop.axis("off")
    loop.set(xlim=(0, 3), ylim=(0, 1))
    for place, (title, text) in enumerate(STEPS):
        box = {"boxstyle": "round,pad=0.5", "facecolor": "#f4f6f7", "edgecolor": "#566573"}
        loop.text(place + 0.5, 0.55, f"{title}\n\n{text}", ha="center", va="center", fontsize=8.5, bbox=box)
        if place < len(STEPS) - 1:
            loop.annotate("", (place + 1.06, 0.55), (place + 0.94, 0.55), arrowprops={"arrowstyle": "->"})
    curve = {"arrowstyle": "->", "connectionstyle": "arc3,rad=-0.25", "color": "#566573"}
    loop.annotate("", (0.5, 0.22), (2.5, 0.22), arrowprops=curve)
    loop.text(1.5, 0.02, "next step: another attack category", ha="center", fontsize=9, color="#566573")
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    margin_fit(Path(__file__).parent / "margin-fit.svg")
