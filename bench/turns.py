"""Runs one of ours and one of a peer's in turns: processor time, the ratio, and how far apart the answers lie."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from likeness import registry
from likeness.numerics import memory

Timed = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """Our way, theirs, how far apart their answers are, in words, and whose theirs is."""

    title: str
    ours: Timed
    theirs: Timed
    gap: Callable[[Any, Any], str]
    peer: str = "scikit-learn"


def seconds(f: Timed) -> tuple[float, Any]:
    """Processor time of one call, and its answer."""
    begun = time.process_time()
    answer = f()
    return time.process_time() - begun, answer


def compared(case: Case, repeats: int) -> str:
    """Medians of both, the median ratio over repeats and its range, after a turn that warms up."""
    pairs = [(seconds(case.ours), seconds(case.theirs)) for _ in range(repeats + 1)][1:]
    ratios = [b[0] / a[0] for a, b in pairs]
    mine, peer = (statistics.median(p[i][0] for p in pairs) for i in (0, 1))
    gap = case.gap(pairs[-1][0][1], pairs[-1][1][1])
    spread = f"{statistics.median(ratios):6.2f} x ({min(ratios):.2f} to {max(ratios):.2f})"
    return f"{case.title:52} {mine:8.4f} s, {case.peer} {peer:8.4f} s: {spread}; {gap}"


def main(cases: Mapping[str, Callable[[], Case]], doc: str | None) -> None:
    """Run the cases that were named, or all."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", action="append", choices=[*cases])
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    memory.keep()  # as every executor does
    registry.load_all()
    for name in asked.case or cases:
        print(compared(cases[name](), asked.repeats), flush=True)
