"""Draw the figures of the documents: `python -m docs.figures`, or, with `RUN [ROOT]`, the pictures of a run's report.

The pictures need Chromium, and the run's artifacts; no model is loaded.
"""

import re
import shutil
import subprocess
import sys
import tempfile
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


HERE = Path(__file__).parent
WIDTH, HEIGHT = 1180, 980
LARGEST = 200_000
"""Bytes a picture takes at most."""


def pictures(run: str, root: str, folder: Path) -> None:
    """Write the top of a run's report as PNG and its safety-utility plot as SVG.

    Args:
        run: an id, a name, or `latest`.
        root: the artifact root.
        folder: where the pictures go.
    """
    from neurontune_core.config import RuntimeConfig
    from tasks.recording.runs import find_run
    from tasks.report import page_of

    page = page_of(find_run(run, RuntimeConfig(root=root), finished=True))
    folder.mkdir(exist_ok=True)
    screenshot(page, folder / "report.png")
    (folder / "safety-utility.svg").write_text(plot_of(page), encoding="utf-8")
    for file in folder.iterdir():
        if file.stat().st_size > LARGEST:
            raise SystemExit(f"{file}: {file.stat().st_size} bytes, more than {LARGEST}")


def screenshot(page: str, target: Path) -> None:
    """Write the first screen of a page as a picture of few colours."""
    from PIL import Image

    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("no chromium: install it, or take the picture by hand")
    with tempfile.TemporaryDirectory() as place:
        file, shot = Path(place) / "report.html", Path(place) / "shot.png"
        file.write_text(page, encoding="utf-8")
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={place}/profile",
        ]
        size = f"--window-size={WIDTH},{HEIGHT}"
        subprocess.run(
            [browser, *options, size, f"--screenshot={shot}", file.as_uri()], check=True, capture_output=True
        )
        Image.open(shot).convert("P", palette=Image.Palette.ADAPTIVE, colors=200).save(target, optimize=True)


def plot_of(page: str) -> str:
    """Return the first drawing of a report with its colours, as a file of its own that is legible on any ground."""
    drawing = re.findall(r"<svg.*?</svg>", page, re.DOTALL)[0]
    colours = dict(re.findall(r"(--[a-z]+): (#[0-9a-f]+)", page.partition(":root")[2].partition("}")[0]))
    rules = "".join(line + "\n" for line in page.splitlines() if line.startswith("svg"))
    for name, colour in colours.items():
        rules = rules.replace(f"var({name})", colour)
    ground = f'<rect width="100%" height="100%" fill="{colours["--card"]}"/>'
    style = f"<style>\n{rules.replace('svg.chart {', 'svg {').replace('svg .', '.')}</style>"
    start = drawing.index(">") + 1
    opening = drawing[:start].replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return f"{opening}{style}{ground}{drawing[start:]}\n"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        pictures(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "neurontune-artifacts", HERE / "pictures")
    else:
        margin_fit(HERE / "margin-fit.svg")
