"""Scores of one entrant as cells: a number with its interval, or the sentence that says why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from likeness.core.errors import LikenessError
from likeness.evaluate.audit import Verdict, verdict
from likeness.evaluate.columns import (
    Cell,
    absent,
    counted,
    measured,
    over_seeds,
    stacked,
    typical,
)
from likeness.evaluate.scores import Absent, Scores
from likeness.metrics.intervals import crossed_mean


def _gone(parts: Sequence[Any]) -> Cell | None:
    """The sentence of the first seed that has no number, if any."""
    return next((absent(p.why) for p in parts if isinstance(p, Absent)), None)


def likelihood_cells(scores: list[Scores], level: float) -> dict[str, Cell]:
    """The mean of log p over held-out items with its interval, and bits per dimension where they exist."""
    parts = [s.likelihood for s in scores]
    gone = _gone(parts)
    if gone is not None:
        return {"log_prob": gone, "bits_per_dim": gone}
    values = stacked([p.value for p in parts if not isinstance(p, Absent)])
    impossible = int((values == -float("inf")).any(0).sum())
    if impossible:
        why = absent(
            f"{impossible} of {values.shape[1]} held-out items have probability 0, so the mean is -infinity"
        )
        return {"log_prob": why, "bits_per_dim": why}
    cells = {"log_prob": measured(crossed_mean(values, level=level))}
    try:
        bits = stacked([p.bits_per_dim for p in parts if not isinstance(p, Absent)])
    except LikenessError as error:
        return cells | {"bits_per_dim": absent(str(error))}
    return cells | {"bits_per_dim": measured(crossed_mean(bits, level=level))}


def sample_cells(scores: list[Scores], level: float) -> dict[str, Cell]:
    """Precision, density, recall, coverage, and distances of draws to held-out items, over seeds."""
    cells: dict[str, Cell] = {}
    gone = _gone(
        [s.coverage for s in scores]
    )  # a cell without a number is false: `or` would pass it over
    for key in ("precision", "density", "recall", "coverage"):
        top = None if key == "density" else (0.0, 1.0)
        if gone is None:
            values = [getattr(s.coverage, key) for s in scores]
        else:
            values = []
        if gone is None:
            cells[key] = over_seeds(values, level, within=top)
        else:
            cells[key] = gone
    for key, within in (("c2st", (0.0, 1.0)), ("energy", None), ("frechet", None)):
        parts = [getattr(s, key) for s in scores]
        without = _gone(parts)
        if without is None:
            cells[key] = over_seeds(parts, level, within=within)
        else:
            cells[key] = without
    return cells


def speed_cells(scores: list[Scores], level: float) -> dict[str, Cell]:
    """Draws a second one by one and many at once, and evaluations of a net for each."""
    cells: dict[str, Cell] = {}
    for i, key in enumerate(("rate_1", "rate_many")):
        parts = [s.rates[i] for s in scores]
        rates = [r for part in parts if not isinstance(part, Absent) for r in part]
        gone = _gone(parts)
        cells[key] = typical(rates, level) if gone is None else gone
    first = scores[0].evaluations
    if isinstance(first, Absent):
        cells["evaluations"] = absent(first.why)
    else:
        cells["evaluations"] = counted(first)
    return cells


def audit_of(scores: list[Scores], level: float) -> Verdict | Absent:
    """The verdict on copies of training items, over seeds."""
    audits = [s.audit for s in scores]
    gone = next((a for a in audits if isinstance(a, Absent)), None)
    return gone or verdict([a for a in audits if not isinstance(a, Absent)], level)
