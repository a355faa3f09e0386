"""Held-out scores that p-values are ranked among: of rows under their condition, and of some without one."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from likeness.core.batch import Batch
from likeness.core.model import Model
from likeness.core.preprocessor import Source

MOST_ROWS = 10_000  # held-out rows scored under their condition, and without it
ALONE_ROWS = 1_000
SHARE = 0.25  # of a budget in seconds that scores may cost
TRIED_ROWS = 50  # rows that tell their cost
LEAST_ROWS = 200


def keep_scores(
    model: Model, held: Source, *, seed: int, seconds: float | None, decisions: dict[str, Any]
) -> None:
    """Give the model the sorted anomaly scores of held-out rows, by its default route.

    Args:
        model: The fitted model; nothing is kept where it has no anomaly score.
        held: The held-out part.
        seed: Of scores that are drawn.
        seconds: A budget that scores may cost a share of, or None.
        decisions: What the clock decides is written here as "scored", and read where it stands.
    """
    if not model.support("anomaly_score"):
        return
    # As many rows as time allows.
    most = _most_rows(model, held, seed, seconds, decisions)
    model.held_out = scores(model, rows_of(held, most), seed)
    # Scores without the condition, for questions that leave it out.
    if model.given_space is not None and not model.conditional:
        alone = rows_of(held, min(ALONE_ROWS, most))
        model.held_out_alone = scores(model, replace(alone, given=None), seed)


def _most_rows(
    model: Model, held: Source, seed: int, seconds: float | None, decisions: dict[str, Any]
) -> int:
    """How many rows are scored: what a share of the seconds allows by the pace of a few, 200 at least."""
    if seconds is None or len(held) <= LEAST_ROWS:
        return MOST_ROWS
    # Decided once by the clock, and replayed from then on.
    if "scored" not in decisions:
        begun = time.perf_counter()
        scores(model, rows_of(held, TRIED_ROWS), seed)
        pace = (time.perf_counter() - begun) / TRIED_ROWS
        decisions["scored"] = int(min(MOST_ROWS, max(LEAST_ROWS, SHARE * seconds / pace)))
    most: int = decisions["scored"]
    return most


def scores(model: Model, batch: Batch, seed: int) -> Tensor:
    """The anomaly scores of rows in rising order, (B,)."""
    score = model.anomaly_score(batch, given=batch.given, seed=seed)
    return score.detach().double().sort().values


def rows_of(source: Source, most: int) -> Batch:
    """At most so many rows, evenly spaced, since files may be sorted."""
    return source.rows(evenly(len(source), most))


def evenly(rows: int, most: int) -> Tensor:
    """At most so many places, evenly spaced."""
    return torch.linspace(0, rows - 1, min(rows, most)).round().long()
