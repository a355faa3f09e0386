"""Who is best by which kind of number, and which differences are real. Unlike kinds and measures are never ranked."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from likeness.core.answers import Kind
from likeness.evaluate.columns import COLUMNS, Cell
from likeness.metrics.intervals import Interval, difference, paired_difference

SAID = {
    "c2st": "C2ST",
    "energy": "energy distance",
    "rate_many": "samples a second",
}  # what gets a sentence
RIVALS = tuple(
    c
    for c in COLUMNS
    if c.better != "none"
    and c.group in {"quality", "diversity", "both", "speed"}
    and c.key != "evaluations"
)  # passes are counted and tie too often to rank
WORDS = {
    Kind.EXACT: "exact log p",
    Kind.LOWER_BOUND: "lower bound on log p",
    Kind.UPPER_BOUND: "upper bound on log p",
    Kind.ESTIMATE: "estimate of log p",
}


class Ranked(Protocol):
    """What ranking reads of a row."""

    @property
    def name(self) -> str:
        """What the row is called."""

    @property
    def role(self) -> str:
        """Family, baseline or truth."""

    @property
    def failure(self) -> str:
        """Why there are no numbers."""

    @property
    def kind(self) -> Kind | None:
        """The kind of its log p."""

    @property
    def measure(self) -> str:
        """What its log p is taken against."""

    @property
    def cells(self) -> dict[str, Cell]:
        """Its numbers."""

    @property
    def copies(self) -> bool | None:
        """Whether it copies."""

    @property
    def log_prob(self) -> Tensor | None:
        """log p of every item, (S, B)."""


@dataclass(frozen=True)
class Gap:
    """By how much `ahead` is better than `behind`, with the interval of the difference."""

    ahead: str
    behind: str
    value: float
    low: float
    high: float

    @property
    def separable(self) -> bool:
        """Whether the interval leaves out 0."""
        return not self.low <= 0.0 <= self.high


@dataclass(frozen=True)
class Group:
    """Rows that may be ranked against each other, best first.

    Args:
        by: What they are ranked by, in words.
        column: The column.
        kind: The kind of log p, where it is that.
        measure: What log p is taken against.
        order: Names, best first.
        gaps: Every pair, the better row ahead.
        to_truth: By how much the truth is ahead of each, where it is known.
    """

    by: str
    column: str
    kind: str
    measure: str
    order: tuple[str, ...]
    gaps: tuple[Gap, ...]
    to_truth: tuple[Gap, ...] = ()

    @property
    def tied(self) -> tuple[str, ...]:
        """Those that are not separable from the best."""
        return tuple(g.behind for g in self.gaps if g.ahead == self.order[0] and not g.separable)

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        gaps = [{**asdict(g), "separable": g.separable} for g in self.gaps]
        truth = [{**asdict(g), "separable": g.separable} for g in self.to_truth]
        return {
            "by": self.by,
            "column": self.column,
            "kind": self.kind,
            "measure": self.measure,
            "order": list(self.order),
            "not_separable_from_best": list(self.tied),
            "gaps": gaps,
            "to_truth": truth,
        }


@dataclass(frozen=True)
class Ranking:
    """Groups of comparable rows, and what they say."""

    groups: tuple[Group, ...]
    sentences: tuple[str, ...]

    def facts(self) -> list[dict[str, Any]]:
        """For JSON."""
        return [g.facts() for g in self.groups]


def rank(rows: Sequence[Ranked], level: float) -> Ranking:
    """The groups and the sentences of a comparison."""
    # By each kind of log p, then by each score of draws.
    groups = [*_by_log_prob(rows, level), *_by_samples(rows)]
    named = {r.name: r for r in rows}
    said = [_best(g, named) for g in groups if g.column == "log_prob" or g.column in SAID]
    said += [s for g in groups if (s := _against_truth(g))]
    return Ranking(
        tuple(groups), (*said, *_set_apart(rows, groups), *_copied(rows), *_failures(rows))
    )


# ---- groups --------------------------------------------------------------------------------------


def _by_log_prob(rows: Sequence[Ranked], level: float) -> list[Group]:
    """One group for each kind and measure; pairs are compared item by item, over the same seeds."""
    # Truth, if known, is compared with but never ranked.
    values = {r.name: r.log_prob for r in rows if r.log_prob is not None}
    scored = [r for r in rows if r.name in values and r.cells["log_prob"]]
    truth = next((r for r in scored if r.role == "truth"), None)
    learned = [r for r in scored if r.role != "truth"]
    groups = []
    # Only like kinds and measures share a group.
    for kind, measure in sorted({(r.kind, r.measure) for r in learned if r.kind is not None}):
        group = sorted(
            (r for r in learned if (r.kind, r.measure) == (kind, measure)),
            key=_log_prob,
            reverse=True,
        )
        gaps = [_paired(a.name, b.name, values, level) for a, b in itertools.combinations(group, 2)]
        known = truth is not None and truth.measure == measure and kind is Kind.EXACT
        if known and truth is not None:
            ahead = tuple(_paired(truth.name, r.name, values, level) for r in group)
        else:
            ahead = ()
        groups.append(
            Group(
                WORDS[kind],
                "log_prob",
                str(kind),
                measure,
                tuple(r.name for r in group),
                tuple(gaps),
                ahead,
            )
        )
    return groups


def _log_prob(row: Ranked) -> float:
    return row.cells["log_prob"].value or 0.0


def _paired(ahead: str, behind: str, values: dict[str, Tensor], level: float) -> Gap:
    """The gap between two rows' log p of the same items, (seeds, items)."""
    x, y = torch.broadcast_tensors(values[ahead], values[behind])
    return _gap(ahead, behind, paired_difference(x.contiguous(), y.contiguous(), level=level))


def _gap(ahead: str, behind: str, interval: Interval) -> Gap:
    return Gap(ahead, behind, interval.value, interval.low, interval.high)


def _by_samples(rows: Sequence[Ranked]) -> list[Group]:
    """Rows by their draws; those that copy are set apart, for copies score best."""
    groups = []
    # Copies would win on nearness to the data, and resampled rows are copies.
    honest = [r for r in rows if r.role != "truth" and r.name != "resampled" and not r.copies]
    for column in RIVALS:
        key = column.key
        sign = 1.0 if column.better == "higher" else -1.0
        measured = [(r.name, i) for r in honest if (i := r.cells[key].interval) is not None]
        order = sorted(measured, key=lambda pair: -sign * pair[1].value)
        gaps = [_independent(a, b, sign) for a, b in itertools.combinations(order, 2)]
        if order:
            words = SAID.get(key, column.title)
            groups.append(Group(words, key, "", "", tuple(name for name, _ in order), tuple(gaps)))
    return groups


def _independent(a: tuple[str, Interval], b: tuple[str, Interval], sign: float) -> Gap:
    """The gap between two rows, each a name with the interval of its score."""
    gap = difference(a[1], b[1]) if sign > 0 else difference(b[1], a[1])
    return _gap(a[0], b[0], gap)


# ---- sentences -----------------------------------------------------------------------------------


def listed(names: Sequence[str]) -> str:
    """One, one and two, one, two and three."""
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _best(group: Group, rows: dict[str, Ranked]) -> str:
    """Who is best, and whether the next one really differs."""
    best = group.order[0]
    rest = group.order[1:]
    unit = " nats an item" if group.column == "log_prob" else ""
    value = f"{best} ({_number(rows[best].cells[group.column].value or 0.0)}{unit})"
    if not rest:
        return f"Alone with a number that is {_article(group.by)} {group.by}: {value}."
    # Ties with the best are named; else the runner-up and the gap.
    if group.tied:
        verb = "is" if len(group.tied) == 1 else "are"
        return f"Best by {group.by}: {value}; {listed(group.tied)} {verb} not separable from it."
    runner = next(g for g in group.gaps if g.ahead == best and g.behind == rest[0])
    return f"Best by {group.by}: {value}, ahead of {rest[0]} by {_with_ends(runner)}."


def _number(value: float, figures: int = 4) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{figures}g}"


def _with_ends(gap: Gap) -> str:
    return f"{_number(gap.value, 3)} [{_number(gap.low, 3)}, {_number(gap.high, 3)}]"


def _article(words: str) -> str:
    if words[0] in "aeiou":
        return "an"
    return "a"


def _against_truth(group: Group) -> str:
    gap = next((g for g in group.to_truth if g.behind == group.order[0]), None)
    if gap is None:
        return ""
    if not gap.separable:
        return f"{gap.behind} is not separable from the truth by {group.by}."
    return f"The truth is ahead of {gap.behind} by {_with_ends(gap)} nats an item of {group.by}."


def _set_apart(rows: Sequence[Ranked], groups: Sequence[Group]) -> list[str]:
    kinds = [g for g in groups if g.column == "log_prob"]
    none = [r.name for r in rows if not r.failure and r.log_prob is None]
    said = []
    if len(kinds) > 1:
        each = listed([f"{g.by} ({', '.join(g.order)})" for g in kinds])
        said.append(f"Unlike kinds of log p are not ranked against each other: {each}.")
    if none:
        said.append(f"No log p is known of {listed(none)}: judged by draws alone.")
    return said


def _copied(rows: Sequence[Ranked]) -> list[str]:
    """Who hands out training items; and whether the audit could have told."""
    copying = [r.name for r in rows if r.copies and r.name != "resampled"]
    audited = [
        r for r in rows if r.copies is not None and r.role != "truth" and r.name != "resampled"
    ]
    said = []
    if copying:
        said.append(
            f"Training items are copied by {listed(copying)}: set apart where draws are ranked."
        )
    elif audited:
        said.append("No family hands out training items, as far as the audit can tell.")
    return said + _audit_works(rows)


def _audit_works(rows: Sequence[Ranked]) -> list[str]:
    """Whether the audit finds the baseline that hands out training rows; nothing without that baseline."""
    resampled = next((r for r in rows if r.name == "resampled" and r.copies is not None), None)
    if resampled is None:
        return []
    if resampled.copies:
        return [
            "The training rows that are handed out again are found by the audit, as they must be."
        ]
    return [
        "The audit tells nothing here: it does not even find the training rows that are handed out again."
    ]


def _failures(rows: Sequence[Ranked]) -> list[str]:
    failed = [r for r in rows if r.failure]
    return [
        f"{r.name} failed: {r.failure}" + ("" if r.failure.endswith(".") else ".") for r in failed
    ]
