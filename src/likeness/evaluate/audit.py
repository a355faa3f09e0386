"""Was anything copied? The audits of a row's seeds, taken together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from likeness.evaluate.columns import Cell, absent, alone, over_seeds
from likeness.metrics.audit import ALARM, Audit

KEYS = ("distance_ratio", "duplicates", "duplicates_held_out", "membership")
NO_RATIO = "more than half of the held-out items equal a training item, as discrete data do"


@dataclass(frozen=True)
class Verdict:
    """What the audits of all seeds say together.

    Args:
        copies: Whether training items were handed out: p at most 0.05 after Bonferroni's correction
            for the seeds.
        p_value: That p-value.
        cells: The audit's columns.
        worst: The pairs of the first seed that lie closest: rows of what was drawn and of the
            training part.
    """

    copies: bool
    p_value: float
    cells: dict[str, Cell]
    worst: tuple[dict[str, Any], ...]


def verdict(audits: Sequence[Audit], level: float) -> Verdict:
    """The audits of a row's seeds as one."""
    p_value = min(1.0, min(a.copies_p_value for a in audits) * len(audits))
    cells = {
        "duplicates": over_seeds([a.duplicates for a in audits], level, within=(0.0, 1.0)),
        "duplicates_held_out": over_seeds(
            [a.duplicates_held_out for a in audits], level, within=(0.0, 1.0)
        ),
        "membership": over_seeds([a.membership for a in audits], level, within=(0.0, 1.0)),
        "copies_p_value": alone(p_value),
        "distance_ratio": _ratio(audits, level),
    }
    first = audits[0].worst
    worst = tuple(
        {"drawn": p.generated, "train": p.train, "distance": p.distance, "ratio": p.ratio}
        for p in first
    )
    return Verdict(p_value <= ALARM, p_value, cells, worst)


def _ratio(audits: Sequence[Audit], level: float) -> Cell:
    ratios = [a.distance_ratio for a in audits if a.distance_ratio is not None]
    if len(ratios) == len(audits):
        return over_seeds(ratios, level)
    return absent(NO_RATIO)
