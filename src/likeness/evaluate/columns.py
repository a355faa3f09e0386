"""What the columns of a comparison are, and a number in one of them: with its interval, or why there is none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from likeness.metrics.intervals import Interval, mean_with_stderr, normal_interval

Better = Literal["higher", "lower", "none"]


@dataclass(frozen=True)
class Column:
    """A column.

    Args:
        key: Its name in JSON.
        title: Its name in tables.
        group: What it speaks of.
        better: Which end is better, if any.
        unit: Of its numbers.
        meaning: One or two sentences for a reader who did not build this.
        target: The number that a perfect model would reach, in words.
    """

    key: str
    title: str
    group: str
    better: Better
    unit: str
    meaning: str
    target: str = ""


COLUMNS = (
    Column(
        "log_prob",
        "log p",
        "likelihood",
        "higher",
        "nats an item",
        "Mean over held-out items of the log-probability (or log-density) that the model gives them.",
    ),
    Column(
        "bits_per_dim",
        "bits/dim",
        "likelihood",
        "lower",
        "bits",
        "-log2 p per entry, where entries are counted: the length of the shortest code that the model affords.",
    ),
    Column(
        "precision",
        "precision",
        "quality",
        "higher",
        "share",
        "Share of drawn items that lie where real ones do (in a ball that reaches a held-out item's 5th neighbour).",
        "near 1",
    ),
    Column(
        "density",
        "density",
        "quality",
        "higher",
        "ratio",
        "How many real neighbourhoods a drawn item lies in, over how many it should.",
        "1",
    ),
    Column(
        "recall",
        "recall",
        "diversity",
        "higher",
        "share",
        "Share of held-out items that lie where drawn ones do.",
        "near 1",
    ),
    Column(
        "coverage",
        "coverage",
        "diversity",
        "higher",
        "share",
        "Share of held-out items that have a drawn one among their neighbours.",
        "near 1",
    ),
    Column(
        "c2st",
        "C2ST",
        "both",
        "lower",
        "accuracy",
        "How often a classifier tells drawn items from held-out ones: 0.5 is a coin's toss, 1 is always.",
        "0.5",
    ),
    Column(
        "energy",
        "energy distance",
        "both",
        "lower",
        "units of the features",
        "2 E|X-Y| - E|X-X'| - E|Y-Y'| between drawn and held-out items, without bias: 0 for equal distributions.",
        "0",
    ),
    Column(
        "frechet",
        "Fréchet distance",
        "both",
        "lower",
        "squared units of the features",
        "Between Gaussians with the means and covariances of drawn and of held-out items. It grows as items get "
        "fewer, so that only rows of one table compare.",
        "0",
    ),
    Column(
        "rate_1",
        "samples/s, batch 1",
        "speed",
        "higher",
        "1/s",
        "Items drawn a second, one at a time.",
    ),
    Column(
        "rate_many",
        "samples/s, large batch",
        "speed",
        "higher",
        "1/s",
        "Items drawn a second, many at once.",
    ),
    Column(
        "evaluations",
        "net evaluations",
        "speed",
        "lower",
        "passes",
        "Passes through a network that one drawn item costs.",
    ),
    Column(
        "seconds", "training", "cost", "none", "s", "Wall time of learning, validation included."
    ),
    Column("parameters", "parameters", "cost", "none", "numbers", "Numbers learned."),
    Column(
        "distance_ratio",
        "nearness to training items",
        "audit",
        "none",
        "ratio",
        "Median distance from a drawn item to the nearest training item, over the same for held-out items; "
        "below 1 is too close.",
        "1",
    ),
    Column(
        "duplicates",
        "copies",
        "audit",
        "lower",
        "share",
        "Share of drawn items that equal a training item.",
    ),
    Column(
        "duplicates_held_out",
        "copies among held-out",
        "audit",
        "none",
        "share",
        "The same share of held-out items: what the data repeat by themselves.",
    ),
    Column(
        "membership",
        "membership",
        "audit",
        "lower",
        "AUROC",
        "How well nearness to a drawn item tells training items from held-out ones; 0.5 tells nothing.",
        "0.5",
    ),
    Column(
        "copies_p_value",
        "p of copying",
        "audit",
        "none",
        "p-value",
        "p-value of 'no more copies than among held-out items', corrected for the number of seeds.",
    ),
)


@dataclass(frozen=True)
class Cell:
    """A number with its interval, or the sentence that says why there is none.

    `low` and `high` are None where one run alone cannot tell; they equal the value where the number
    is a count.
    """

    value: float | None = None
    stderr: float | None = None
    low: float | None = None
    high: float | None = None
    why: str = ""

    def __bool__(self) -> bool:
        return self.value is not None

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        if self.value is None:
            return {"why": self.why}
        return {k: v for k, v in asdict(self).items() if k != "why"}

    @property
    def interval(self) -> Interval | None:
        """The interval, where there is one."""
        if self.value is None or self.low is None or self.high is None or self.stderr is None:
            return None
        return Interval(self.value, self.stderr, self.low, self.high)


def measured(interval: Interval) -> Cell:
    """A cell of an interval."""
    return Cell(interval.value, interval.stderr, interval.low, interval.high)


def counted(number: float) -> Cell:
    """A cell of a number that has no error."""
    return Cell(float(number), 0.0, float(number), float(number))


def alone(number: float) -> Cell:
    """A cell of a number that was measured once, or is a p-value: no interval."""
    return Cell(float(number))


def absent(why: str) -> Cell:
    """A cell without a number."""
    return Cell(why=why)


def typical(numbers: Sequence[float], level: float) -> Cell:
    """The geometric mean of timings or rates with Student's interval on the log scale; one alone has no interval."""
    if len(numbers) < 2:
        return alone(numbers[0])
    # Rates are positive and skewed: geometric mean, interval on the log scale.
    log = mean_with_stderr(torch.tensor(numbers, dtype=torch.float64).log(), level=level)
    value = math.exp(log.value)
    return measured(
        Interval(value, value * log.stderr, math.exp(log.low), math.exp(log.high), level)
    )


def over_seeds(
    parts: Sequence[Interval], level: float, *, within: tuple[float, float] | None = None
) -> Cell:
    """The mean over seeds of numbers that carry errors of their own.

    All seeds are scored on the same held-out items, so their own errors do not shrink by averaging:
    stderr^2 = s^2 / S + mean of stderr_s^2, with s the spread between seeds, which holds part of
    the second term already: conservative. Degrees of freedom by Satterthwaite. One seed keeps its
    own interval.
    """
    if len(parts) == 1:
        return measured(parts[0])
    # Spread between seeds, and the mean of their own variances.
    values = np.array([p.value for p in parts])
    between = float(values.var(ddof=1)) / len(parts)
    own = float(np.mean([p.stderr**2 for p in parts]))
    total = between + own
    # Satterthwaite: only the between-seed part has few degrees of freedom.
    if between == 0:
        degrees = math.inf
    else:
        degrees = (total / between) ** 2 * (len(parts) - 1)
    interval = normal_interval(float(values.mean()), math.sqrt(total), level=level, degrees=degrees)
    if total == 0 or within is not None:
        # Wilson's interval of a share next to 0 or 1 is wider than its standard error: keep the widest reach.
        low = min(interval.low, float(np.mean([p.low for p in parts])))
        high = max(interval.high, float(np.mean([p.high for p in parts])))
        floor, top = within or (-math.inf, math.inf)
        interval = Interval(interval.value, interval.stderr, max(low, floor), min(high, top), level)
    return measured(interval)


def stacked(values: Sequence[Tensor]) -> Tensor:
    """Values of each seed, (S, B)."""
    return torch.stack([v.double() for v in values])
