"""Spans in tagged sequences: how many are found whole, with their type (the CoNLL measure); pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Span = tuple[int, int, str]


@dataclass(frozen=True)
class Spans:
    """Counts over all sequences.

    Args:
        right: Spans found with both ends and type right.
        found: Spans found.
        there: Spans there are.
    """

    right: int
    found: int
    there: int

    @property
    def precision(self) -> float:
        """Right of those found, 0 where none is."""
        if self.found:
            return self.right / self.found
        return 0.0

    @property
    def recall(self) -> float:
        """Right of those there are, 0 where none is."""
        if self.there:
            return self.right / self.there
        return 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of both (Tjong Kim Sang & Buchholz 2000)."""
        if self.found + self.there:
            return 2 * self.right / (self.found + self.there)
        return 0.0


def spans(tags: Sequence[str]) -> set[Span]:
    """The spans (start, end, type) of tags B-X, I-X and O; an I-X behind another type begins a span."""
    # A span is open while `kind` is not empty; the added O closes the last one.
    spans_found = set()
    start = 0
    kind = ""
    for place, tag in enumerate([*tags, "O"]):
        mark, _, label = tag.partition("-")
        goes_on = mark == "I" and label == kind
        if kind and not goes_on:
            spans_found.add((start, place, kind))
        if mark in {"B", "I"} and not goes_on:
            start = place
        kind = label if mark in {"B", "I"} else ""
    return spans_found


def compared(found: Sequence[Sequence[str]], there: Sequence[Sequence[str]]) -> Spans:
    """Spans found in sequences beside those there are."""
    pairs = [(spans(a), spans(b)) for a, b in zip(found, there, strict=True)]
    return Spans(
        sum(len(a & b) for a, b in pairs),
        sum(len(a) for a, _ in pairs),
        sum(len(b) for _, b in pairs),
    )
