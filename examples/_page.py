"""What the examples share: a page of plots, its colours, and the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, RED, GREEN, ORANGE, PURPLE, GREY = (
    "#2166ac",
    "#c1272d",
    "#2a8c4a",
    "#e08214",
    "#7b3294",
    "#8a8a8a",
)
WIDTH, HEIGHT = 4.4, 3.6  # inches of one plot
STYLE = {"axes.labelsize": 9, "xtick.labelsize": 8, "ytick.labelsize": 8,
         "axes.spines.top": False, "axes.spines.right": False}  # fmt: skip

Example = Callable[..., dict[str, float]]


def page(columns: int, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of rows x columns plots, and the plots row by row."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(columns * WIDTH, rows * HEIGHT), layout="constrained")
        plots = figure.subplots(rows, columns, squeeze=False).ravel()
    return figure, list(plots)


def mark(plot: Axes, title: str, x: str = "", y: str = "") -> None:
    """Title, labels, and a legend where something has a label."""
    plot.set_title(title, fontsize=10)
    plot.set_xlabel(x)
    plot.set_ylabel(y)
    if plot.get_legend_handles_labels()[0]:
        plot.legend(frameon=False, fontsize=8)


def write(figure: Figure, out: Path, name: str) -> None:
    """The figure as a picture in the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / f"{name}.png", dpi=120)


def command(example: Example) -> None:
    """Run an example from the command line and print its numbers: `python examples/NAME.py [folder] [--quick]`."""
    parser = argparse.ArgumentParser(description=example.__doc__)
    parser.add_argument(
        "out", nargs="?", type=Path, default=Path("out"), help="folder for the figure (out)"
    )
    parser.add_argument("--quick", action="store_true", help="less data and fewer steps")
    asked = parser.parse_args()
    for name, value in example(asked.out, quick=asked.quick).items():
        print(f"{name:42s} {value:.6g}")
