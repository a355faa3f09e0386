"""Nets that know the truth: put in the place of what was learned, they get the least loss there is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from likeness.check.cell import Cell


@dataclass(frozen=True)
class Oracle:
    """What is known of a family's least loss.

    Args:
        cell: The Space and `given` on which the truth can be put in.
        measure: Cell -> how far the oracle's loss is from the least, and words.
        drawn: Whether that is in standard errors; else it is compared with the tolerance.
        tolerance: The largest gap of a value that is not drawn.
    """

    cell: tuple[str, str]
    measure: Callable[[Cell], tuple[float, str]]
    drawn: bool = True
    tolerance: float = 1e-6


ORACLES: dict[str, Oracle] = {}
