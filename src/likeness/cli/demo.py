"""`likeness demo`: all families on two small problems, and an honest table of each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for pages, numbers and pictures.")
    ] = Path("demo"),
    scale: Annotated[
        float, typer.Option(min=0.001, help="Times as many steps of every fit.")
    ] = 1.0,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of every family.")] = 3,
) -> None:
    """Fit all families to two moons and to 8x8 digits, and compare them.

    A few minutes on two cores. Writes report.html (digits), moons.html, their numbers, and
    samples.png.

    likeness demo --scale 0.1 --seeds 1
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the comparisons run side by side
    from likeness.evaluate.demo import demonstrate

    demonstrate(out, scale=scale, seeds=seeds)
