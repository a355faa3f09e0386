"""All families on two moons and on scikit-learn's 8x8 digits: three seeds each, a few minutes on two cores."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from likeness import routes  # noqa: F401 - registers the ways of answering
from likeness.core.files import write_atomic
from likeness.core.plain import plain
from likeness.data.load import load_data
from likeness.data.options import LoadOptions
from likeness.evaluate.comparison import compare
from likeness.evaluate.figures import sheet
from likeness.evaluate.protocol import Options
from likeness.evaluate.report import panels
from likeness.evaluate.terminal import terminal_table

QUICK = {"batch": 128, "ema": 0.99}
# Nets small enough that every family learns within seconds; `gaussian` and `independent` are always there.
MOONS = (
    ("mixture", {"components": 12}),
    ("autoregressive", {"hidden": (64, 64), **QUICK, "lr": 5e-3}),
    (
        "vae",
        {
            "latent": 2,
            "hidden": (64, 64),
            "activation": "tanh",
            "kl_warmup": 0.4,
            "draws": 8,
            "draws_from": 0.5,
            "hide": 0.0,
            **QUICK,
            "lr": 1e-2,
        },
    ),
    ("gan", {"hidden": (64, 64), **QUICK}),
    ("flow", {"layers": 3, "hidden": (64,), **QUICK, "lr": 5e-3}),
    ("diffusion", {"width": 96, **QUICK, "lr": 5e-3}),
)
DIGITS = (
    ("mixture", {"components": 20}),
    ("autoregressive", {"hidden": (128,), "components": 5, **QUICK, "lr": 1e-2}),
    ("vae", {"latent": 12, "net": "mlp", "hidden": (256, 128), "hide": 0.0, **QUICK, "lr": 5e-3}),
    ("gan", {"width": 16, **QUICK}),
    ("flow", {"layers": 3, "hidden": (96,), **QUICK, "lr": 5e-3}),
    ("diffusion", {"net": "mlp", "width": 256, **QUICK, "lr": 3e-3}),
)


@dataclass(frozen=True)
class Task:
    """One comparison: data, how it is split, families, steps, seeds, and where its page goes."""

    data: str
    reading: LoadOptions
    families: tuple[tuple[str, dict[str, Any]], ...]
    steps: int
    seeds: int
    page: Path


def demonstrate(out: Path, *, scale: float = 1.0, seeds: int = 3) -> None:
    """Fit all families to both sets, print what they can say, and leave pages, numbers and pictures in a folder.

    Args:
        out: The folder: report.html (digits), moons.html, their numbers as JSON, samples.png with
            draws of every row.
        scale: Times as many steps.
        seeds: Seeds of every family.
    """
    start = time.perf_counter()
    tasks = [
        Task("moons", LoadOptions(n=4000), MOONS, round(900 * scale), seeds, out / "moons.html"),
        Task(
            "digits", LoadOptions(test=0.3), DIGITS, round(350 * scale), seeds, out / "report.html"
        ),
    ]
    with ProcessPoolExecutor(len(tasks), mp_context=multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(compared, tasks))
    show(found, out, time.perf_counter() - start)


def compared(task: Task) -> tuple[dict[str, Any], list[tuple[str, bytes]]]:
    """The facts of one comparison and the pictures of its rows; in a process and a thread of its own."""
    torch.set_num_threads(1)  # two comparisons share two cores
    start = time.perf_counter()

    def tell(line: str) -> None:
        print(f"{time.perf_counter() - start:5.0f} s  {task.data:6}  {line}", flush=True)

    data = load_data(task.data, options=task.reading)
    tell(f"{len(data.train):,} items to learn from, {task.steps} steps a fit, {task.seeds} seeds")
    scoring = Options(draws=400, items=1000)
    found = compare(
        data,
        list(task.families),
        budget=task.steps,
        seeds=task.seeds,
        report=task.page,
        progress=tell,
        options=scoring,
    )
    return found.facts(), [(name, png) for name, png, _ in panels(found.exhibits())]


def show(
    found: list[tuple[dict[str, Any], list[tuple[str, bytes]]]], out: Path, seconds: float
) -> None:
    """One sheet of samples; the tables, the sentences, and where to look."""
    write_atomic(out / "samples.png", sheet([pictures for _, pictures in found]))
    console = Console()
    for facts, _ in found:
        console.print()
        console.print(terminal_table(facts))
        for sentence in facts["sentences"]:
            console.print(plain(f"- {sentence}"), highlight=False, markup=False)
    console.print(
        plain(
            f"\nDone in {seconds:.0f} s. Open {out / 'report.html'} (digits) and {out / 'moons.html'};"
        ),
        markup=False,
    )
    console.print(plain(f"draws of every row are in {out / 'samples.png'}."), markup=False)
