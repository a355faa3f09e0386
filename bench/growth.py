"""Fits how cost grows: processor time against rows, numbers, states, length and others, and peak memory against rows.

    python -m bench.growth [--family hmm] ... [--repeats 3] [--out folder]

One thread, processor time, the median of the repeats. The exponent is the slope of log time in log size; beside it is
what the count of operations says. A page of log-log plots is written to the folder. Peak memory is what a process of
its own takes beyond its data while it learns.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from examples._page import BLUE, GREY, mark, page, write
from likeness import registry
from likeness.core.batch import Batch
from likeness.core.space import Nominal, Space, label, sequence, series, vector
from likeness.data.source import Table
from likeness.learn.run import Run
from likeness.numerics.memory import keep

Timed = Callable[[], Any]
MEMORY = {
    "gaussian": {},
    "pca": {},
    "mixture": {"components": 8, "restarts": 1, "passes": 2, "trial": 1},
}
MEMORY_ROWS = (100_000, 200_000, 400_000, 800_000)
FLAT = 2.6  # how far beyond the middle an axis of times reaches at least, so that two of its marks 1, 2, 5 are on it
BUDGET = 10_000  # steps, more than any of them takes
EM: dict[str, Any] = {"restarts": 1, "trial": 0, "passes": 5, "tolerance": 0.0}


@dataclass(frozen=True)
class Axis:
    """A family's cost along one size.

    Args:
        family: Its name.
        size: What grows.
        sizes: How large it is at each point.
        order: The exponent that the count of operations says for large sizes.
        make: What is timed, from the size.
    """

    family: str
    size: str
    sizes: Sequence[int]
    order: float
    make: Callable[[int], Timed]


def table(n: int, d: int, classes: int = 0) -> Table:
    """Correlated numbers (n, d), of classes that lie apart where there are some."""
    g = np.random.default_rng(0)
    x = g.normal(size=(n, d)) + g.normal(size=(n, 1))
    if not classes:
        return Table(vector(d), Batch(torch.from_numpy(x)))
    y = np.arange(n) % classes
    given = Batch(torch.from_numpy(y[:, None].astype(float)))
    return Table(
        vector(d),
        Batch(torch.from_numpy(x + 3 * g.normal(size=(classes, d))[y]), given=given),
        label(classes),
    )


def symbols(n: int, steps: int, codes: int) -> Table:
    """Sequences (n, steps) of codes."""
    x = np.random.default_rng(0).integers(codes, size=(n, steps)).astype(float)
    return Table(sequence(codes, steps), Batch(torch.from_numpy(x), length=torch.full((n,), steps)))


def numbers(n: int, steps: int, d: int) -> Table:
    """Series (n, steps, d) whose mean jumps."""
    g = np.random.default_rng(0)
    x = g.normal(size=(n, steps, d)) + 2 * g.integers(4, size=(n, steps, 1))
    return Table(series(d, steps), Batch(torch.from_numpy(x), length=torch.full((n,), steps)))


def tags(n: int, steps: int, labels: int) -> Table:
    """Labels (n, steps) with a word of 200 beside each."""
    g = np.random.default_rng(0)
    words, length = g.integers(200, size=(n, steps, 1)), torch.full((n,), steps)
    outer = Space(
        axes=("time", "column"),
        shape=(None, 1),
        variables=(Nominal(categories=200),),
        longest=steps,
    )
    given = Batch(torch.from_numpy(words.astype(float)), length=length)
    x = torch.from_numpy(((words[..., 0] + g.integers(2, size=(n, steps))) % labels).astype(float))
    return Table(sequence(labels, steps), Batch(x, length=length, given=given), outer)


def fit(family: str, data: Table, **options: Any) -> Timed:
    """Learns a model of the data anew at each call."""
    return lambda: Run(
        registry.build(family, options, data.space, data.given_space).double(), data, BUDGET
    ).fit()


def bits(n: int, d: int, codes: int) -> Table:
    """Codes (n, d), each like the one before it in half of the rows."""
    g = np.random.default_rng(0)
    x = g.integers(codes, size=(n, d))
    for j in range(1, d):
        x[:, j] = np.where(g.random(n) < 0.5, x[:, j - 1], x[:, j])
    return Table(vector(d, Nominal(categories=codes)), Batch(torch.from_numpy(x.astype(float))))


def texts(n: int, steps: int, words: int) -> Table:
    """Documents (n, steps) of words, half of them from the tenth of all words that a document is about."""
    g = np.random.default_rng(0)
    x, about = g.integers(words, size=(n, steps)), g.integers(10, size=(n, 1))
    x = np.where(g.random((n, steps)) < 0.5, x, (x % (words // 10)) * 10 + about).astype(float)
    return Table(sequence(words, steps), Batch(torch.from_numpy(x), length=torch.full((n,), steps)))


def tracked(n: int, steps: int, d: int, latents: int) -> Timed:
    """Passes of EM of a linear system alone: its starts take as long whatever the data."""
    data = numbers(n, steps, d)
    model: Any = fit("linear_dynamical", data, latents=latents, passes=1)()
    now = vars(model.fitted)
    keep()  # as every executor does
    return lambda: [
        model._maximise(model._expect(data.batch, now), now) for _ in range(EM["passes"])
    ]


def kernels(kept: int, d: int, asked: int) -> Timed:
    """Densities of so many rows under so many kernels."""
    data = table(kept, d)
    model = fit("kde", data, width=0.3, bandwidth="one", rows=kept)()
    rows = table(asked, d).batch
    return lambda: model.log_prob(rows)


AXES = (
    Axis("gaussian", "rows", (100_000, 200_000, 400_000, 800_000), 1, lambda n: fit("gaussian", table(n, 20))),
    Axis("gaussian", "numbers", (50, 100, 200, 400), 2, lambda d: fit("gaussian", table(20_000, d))),
    Axis("pca", "rows", (100_000, 200_000, 400_000, 800_000), 1, lambda n: fit("pca", table(n, 20))),
    Axis("pca", "numbers", (50, 100, 200, 400), 2, lambda d: fit("pca", table(20_000, d))),
    Axis("mixture", "rows", (50_000, 100_000, 200_000, 400_000), 1,
         lambda n: fit("mixture", table(n, 8), components=8, **EM)),
    Axis("mixture", "numbers", (25, 50, 100, 200), 2,
         lambda d: fit("mixture", table(20_000, d), components=4, covariance="full", **EM)),
    Axis("mixture", "components", (8, 16, 32, 64), 1,
         lambda k: fit("mixture", table(40_000, 8), components=k, **EM)),
    Axis("kde", "kernels", (5_000, 10_000, 20_000, 40_000), 1, lambda n: kernels(n, 4, 1_000)),
    Axis("kde", "questions", (500, 1_000, 2_000, 4_000), 1, lambda n: kernels(10_000, 4, n)),
    Axis("kde", "numbers", (8, 16, 32, 64), 1, lambda d: kernels(10_000, d, 1_000)),
    Axis("discriminant", "rows", (50_000, 100_000, 200_000, 400_000), 1,
         lambda n: fit("discriminant", table(n, 20, 5), kind="qda")),
    Axis("discriminant", "numbers", (50, 100, 200, 400), 2,
         lambda d: fit("discriminant", table(20_000, d, 5), kind="qda")),
    Axis("discriminant", "classes", (5, 10, 20, 40), 0,
         lambda k: fit("discriminant", table(80_000, 20, k), kind="qda")),
    Axis("markov", "rows", (5_000, 10_000, 20_000, 40_000), 1, lambda n: fit("markov", symbols(n, 50, 20))),
    Axis("markov", "length", (100, 200, 400, 800), 1, lambda t: fit("markov", symbols(2_000, t, 20))),
    Axis("markov", "codes", (8, 16, 32, 64), 0, lambda k: fit("markov", symbols(10_000, 50, k))),
    Axis("hmm", "rows", (250, 500, 1_000, 2_000), 1,
         lambda n: fit("hmm", numbers(n, 50, 3), states=5, covariance="diagonal", **EM)),
    Axis("hmm", "length", (100, 200, 400, 800), 1,
         lambda t: fit("hmm", numbers(100, t, 3), states=5, covariance="diagonal", **EM)),
    Axis("hmm", "states", (10, 20, 40, 80), 2,
         lambda k: fit("hmm", numbers(50, 50, 3), states=k, covariance="diagonal", **EM)),
    Axis("hmm", "numbers", (8, 16, 32, 64), 1,
         lambda d: fit("hmm", numbers(200, 50, d), states=5, covariance="diagonal", **EM)),
    Axis("crf", "rows", (100, 200, 400, 800), 1, lambda n: fit("crf", tags(n, 20, 5), iterations=10)),
    Axis("crf", "length", (20, 40, 80, 160), 1, lambda t: fit("crf", tags(100, t, 5), iterations=10)),
    Axis("crf", "labels", (5, 10, 20, 40), 2, lambda k: fit("crf", tags(100, 20, k), iterations=10, pairs="all")),
    Axis("linear_dynamical", "rows", (500, 1_000, 2_000, 4_000), 1, lambda n: tracked(n, 50, 3, 4)),
    Axis("linear_dynamical", "length", (100, 200, 400, 800), 1, lambda t: tracked(200, t, 3, 4)),
    Axis("linear_dynamical", "latents", (8, 16, 32, 64), 2, lambda q: tracked(400, 50, 3, q)),
    Axis("linear_dynamical", "numbers", (16, 32, 64, 128), 1, lambda d: tracked(400, 50, d, 4)),
    Axis("bayes_net", "rows", (50_000, 100_000, 200_000, 400_000), 1, lambda n: fit("bayes_net", bits(n, 20, 2))),
    Axis("bayes_net", "columns", (50, 100, 200, 400), 2, lambda d: fit("bayes_net", bits(20_000, d, 2))),
    Axis("bayes_net", "values a column", (8, 16, 32, 64), 2, lambda k: fit("bayes_net", bits(20_000, 10, k))),
    Axis("bayes_net", "components", (4, 8, 16, 32), 1,
         lambda m: fit("bayes_net", bits(20_000, 20, 2), components=m, **EM)),
    Axis("topic", "documents", (500, 1_000, 2_000, 4_000), 1, lambda n: fit("topic", texts(n, 100, 2_000), **EM)),
    Axis("topic", "words a document", (50, 100, 200, 400), 1, lambda t: fit("topic", texts(500, t, 5_000), **EM)),
    Axis("topic", "vocabulary", (1_000, 2_000, 4_000, 8_000), 0, lambda v: fit("topic", texts(1_000, 100, v), **EM)),
    Axis("topic", "topics", (10, 20, 40, 80), 1, lambda k: fit("topic", texts(500, 100, 2_000), topics=k, **EM)),
)  # fmt: skip


def seconds(run: Timed, repeats: int) -> float:
    """The median processor time, after a run that warms up."""
    run()
    found = []
    for _ in range(repeats):
        begun = time.process_time()
        run()
        found.append(time.process_time() - begun)
    return statistics.median(found)


def slope(sizes: Sequence[float], times: Sequence[float]) -> float:
    """The exponent of a power law through the points, by least squares of the logs."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def measured(axes: Sequence[Axis], repeats: int) -> list[list[float]]:
    """Seconds at each size of each axis; a line of a table is printed for each."""
    print(
        "| family | against | sizes | seconds | exponent | last step | operations |\n|---|---|---|---|---|---|---|"
    )
    found = []
    for axis in axes:
        times = [seconds(axis.make(size), repeats) for size in axis.sizes]
        told, last = slope(axis.sizes, times), slope(axis.sizes[-2:], times[-2:])
        listed = ", ".join(f"{t:.3f}" for t in times)
        print(f"| {axis.family} | {axis.size} | {axis.sizes[0]:,} to {axis.sizes[-1]:,} | {listed} | {told:.2f} | "
              f"{last:.2f} | {axis.order:g} |", flush=True)  # fmt: skip
        found.append(times)
    return found


# ---- memory --------------------------------------------------------------------------------------------------------


def resident(field: str) -> int:
    """VmRSS or VmHWM of this process in KiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def grown(family: str, n: int) -> tuple[float, float]:
    """MiB of the data, and the most that learning takes beyond what was there before it."""
    fit(family, table(2_000, 20), **MEMORY[family])()
    data = table(n, 20)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts from now
    fit(family, data, **MEMORY[family])()
    return data.batch.x.numel() * 8 / 2**20, (resident("VmHWM") - before) / 1024


def memory(family: str) -> list[float]:
    """MiB beyond the data at each number of rows, a process for each."""
    found, sizes = [], []
    for n in MEMORY_ROWS:
        command = [sys.executable, "-m", "bench.growth", "--memory", family, str(n)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        sizes.append(float(said[0]))
        found.append(float(said[1]))
    print(
        f"| {family} | {', '.join(f'{s:.0f}' for s in sizes)} | {', '.join(f'{f:.0f}' for f in found)} |",
        flush=True,
    )
    return found


def draw(
    axes: Sequence[Axis], times: Sequence[Sequence[float]], peaks: dict[str, list[float]], out: Path
) -> None:
    """A plot for each axis, and for each family whose memory was measured."""
    figure, plots = page(4, -(-(len(axes) + len(peaks)) // 4))
    for plot, axis, seen in zip(plots, axes, times, strict=False):
        whole = slope(axis.sizes, seen)
        law = [seen[-1] * (s / axis.sizes[-1]) ** axis.order for s in axis.sizes]
        plot.loglog(axis.sizes, law, color=GREY, ls="--", label=f"operations: {axis.order:g}")
        plot.loglog(axis.sizes, seen, color=BLUE, marker="o", label=f"measured: {whole:.2f}")
        _ticks(plot, axis.sizes)
        mark(plot, f"{axis.family} against {axis.size}", axis.size, "seconds")
    for plot, (family, seen) in zip(plots[len(axes) :], peaks.items(), strict=False):
        plot.plot(MEMORY_ROWS, seen, color=BLUE, marker="o", label="beyond the data")
        plot.plot(
            MEMORY_ROWS,
            [n * 20 * 8 / 2**20 for n in MEMORY_ROWS],
            color=GREY,
            ls="--",
            label="the data",
        )
        plot.set_ylim(bottom=0)
        mark(plot, f"{family}: peak memory", "rows", "MiB")
    for plot in plots[len(axes) + len(peaks) :]:
        plot.set_axis_off()
    write(figure, out, "growth")


def _ticks(plot: Any, sizes: Sequence[int]) -> None:
    plot.set_xticks(sizes, [f"{s // 1000}k" if s >= 5_000 else str(s) for s in sizes])
    plot.minorticks_off()
    low, high = plot.get_ylim()
    middle = (low * high) ** 0.5
    low, high = min(low, middle / FLAT), max(high, middle * FLAT)
    plot.set_ylim(low, high)
    marks = [m * 10.0**e for e in range(-4, 3) for m in (1, 2, 5)]
    shown = [m for m in marks if low <= m <= high]
    plot.set_yticks(shown, [f"{m:g}" for m in shown])


def main() -> None:
    """Measure the families that were named, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--family", action="append", choices=sorted({axis.family for axis in AXES}))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="folder for the page of plots")
    parser.add_argument(
        "--memory", nargs=2, metavar=("FAMILY", "ROWS"), help="one point of memory, alone"
    )
    asked = parser.parse_args()
    torch.set_num_threads(1)
    registry.load_all()
    if asked.memory:
        print(*grown(asked.memory[0], int(asked.memory[1])))
        return
    axes = [axis for axis in AXES if asked.family is None or axis.family in asked.family]
    times = measured(axes, asked.repeats)
    print("\n| family | data, MiB | peak beyond the data, MiB |\n|---|---|---|")
    peaks = {
        family: memory(family)
        for family in MEMORY
        if asked.family is None or family in asked.family
    }
    if asked.out:
        draw(axes, times, peaks, asked.out)


if __name__ == "__main__":
    main()
