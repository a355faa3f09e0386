"""Answers, each of which says how exact it is."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from likeness.core.batch import Batch
from likeness.core.errors import Unsupported
from likeness.core.overview import Overview, Shown
from likeness.core.words import plural
from likeness.numerics.tree import join, take

if TYPE_CHECKING:
    pass


SHOWN_ROWS = 10  # of what a notebook shows
SHOWN_CLASSES = 12


class Kind(IntEnum):
    """How the expected value of a number stands to the truth; sums keep the weaker (larger) kind."""

    EXACT = 0
    LOWER_BOUND = 1
    UPPER_BOUND = 2
    ESTIMATE = 3

    def __str__(self) -> str:
        """The words that reports use."""
        return {0: "exact", 1: "lower bound", 2: "upper bound", 3: "estimate"}[self.value]


def plus(a: Kind, b: Kind) -> Kind:
    """The kind of a sum: a lower and an upper bound make an estimate."""
    if {a, b} == {Kind.LOWER_BOUND, Kind.UPPER_BOUND}:
        return Kind.ESTIMATE
    return max(a, b)


def minus(a: Kind, b: Kind) -> Kind:
    """The kind of a difference: exact only where both are; a bound minus a bound bounds nothing."""
    if b is Kind.EXACT:
        return a
    if a is Kind.EXACT and b is Kind.LOWER_BOUND:
        return Kind.UPPER_BOUND
    return Kind.ESTIMATE


@dataclass(frozen=True, eq=False)
class Scored:
    """What a family's `_log_prob` hook returns, in nats.

    Args:
        value: One number a row, (B,).
        kind: How the expected value stands to log p.
        how: A few words on the method.
        stderr: Its Monte-Carlo standard error, (B,), None where nothing was drawn or one draw
            cannot tell.
        terms: Named parts that add up to the value, each (B,).
    """

    value: Tensor
    kind: Kind = Kind.EXACT
    how: str = "closed form"
    stderr: Tensor | None = None
    terms: dict[str, Tensor] | None = None

    @classmethod
    def cat(cls, parts: Sequence[Scored]) -> Scored:
        """The rows of several, one after the other; the weakest kind is that of all."""
        named = [p.terms.keys() for p in parts if p.terms is not None]
        alike = len(named) == len(parts) and all(n == named[0] for n in named)
        if alike:
            terms = {
                k: torch.cat([p.terms[k] for p in parts if p.terms is not None]) for k in named[0]
            }
        else:
            terms = None
        stderr = _filled([p.stderr for p in parts], [torch.zeros_like(p.value) for p in parts])
        return cls(torch.cat([p.value for p in parts]), weakest(parts), ways(parts), stderr, terms)


@dataclass(frozen=True)
class Mean:
    """The mean of log p over n items (their sum is n times it), with the standard error of that mean, in nats."""

    value: float
    stderr: float
    kind: Kind
    measure: str
    n: int

    def __str__(self) -> str:
        """As reports print it."""
        if math.isnan(self.stderr):
            error = ""
        else:
            error = f" ± {self.stderr:.4f}"
        return f"{self.value:.4f}{error} nats a row, the mean of {self.n:,} ({self.kind})"


@dataclass(frozen=True, eq=False, repr=False)
class LogProb(Shown):
    """log p of each item in nats, with what kind of number it is.

    Args:
        value: (B,).
        kind: EXACT, LOWER_BOUND, UPPER_BOUND or ESTIMATE: of the expected value.
        measure: What it is a density or probability against.
        how: A few words on the method.
        stderr: Monte-Carlo standard error (B,), or None.
        terms: Named parts, each (B,), or None.
        dims: Entries scored in each item, (B,).
        seed: The seed of what was drawn, None where nothing was.
    """

    value: Tensor
    kind: Kind
    measure: str
    how: str
    stderr: Tensor | None = None
    terms: dict[str, Tensor] | None = None
    dims: Tensor | None = None
    seed: int | None = None

    def __len__(self) -> int:
        return int(self.value.shape[0])

    def overview(self) -> Overview:
        """The mean, the range, and what kind of number they are."""
        title = f"log p of {plural(len(self), 'item')}: {self.kind} ({self.how})"
        if not len(self):
            return Overview(title)
        low = int(self.value.argmin())
        high = int(self.value.argmax())
        mean = self.mean()
        spread = "" if math.isnan(mean.stderr) else f" ± {mean.stderr:.4f}"
        facts = {
            "mean": f"{mean.value:.4f}{spread} nats an item",
            "lowest": f"{float(self.value[low]):.4f} (item {low})",
            "highest": f"{float(self.value[high]):.4f} (item {high})",
            "measure": mean.measure,
        }
        if self.stderr is not None:
            facts["Monte-Carlo error"] = f"up to {float(self.stderr.max()):.4f} nats"
        return Overview(title, facts)

    def mean(self) -> Mean:
        """The mean over items and its standard error; its measure says where items have unlike numbers of entries."""
        n = len(self)
        if n > 1:
            spread = float(self.value.double().std()) / math.sqrt(n)
        else:
            spread = math.nan
        low, high = (
            (0, 0) if self.dims is None or not n else (int(self.dims.min()), int(self.dims.max()))
        )
        if low == high:
            measure = self.measure
        else:
            measure = f"{self.measure}, of {low} to {high} entries"
        return Mean(float(self.value.double().mean()), spread, self.kind, measure, n)

    @property
    def bits_per_dim(self) -> Tensor:
        """-log2 p per scored entry, (B,); an upper bound where log p is a lower one.

        Raises:
            Unsupported: Where the measure is not counting: bits need a resolution.
        """
        if "lebesgue" in self.measure or self.dims is None:
            raise Unsupported(
                "no bits/dim without a resolution", do="set Real(resolution=...) in the Space"
            )
        return -self.value / (self.dims * math.log(2))

    def __sub__(self, other: object) -> LogProb:
        """The log-ratio of two distributions' probabilities of the same items.

        Raises:
            Unsupported: If the two are against unlike measures, or of unlike entries.
        """
        if not isinstance(other, LogProb):
            return NotImplemented
        if self.measure != other.measure:
            raise Unsupported(
                f"log p against {self.measure} and against {other.measure} cannot be compared"
            )
        if (
            self.dims is not None
            and other.dims is not None
            and not torch.equal(self.dims, other.dims)
        ):
            raise Unsupported(
                "log p of unlike numbers of entries cannot be compared",
                do="ask both about the same items",
            )
        errors = [e for e in (self.stderr, other.stderr) if e is not None]
        if errors:
            stderr = torch.stack([e.square() for e in errors]).sum(0).sqrt()
        else:
            stderr = None
        return LogProb(
            self.value - other.value,
            minus(self.kind, other.kind),
            self.measure,
            f"{self.how} - {other.how}",
            stderr,
            dims=self.dims,
        )

    def comparable(self, other: LogProb) -> bool:
        """Whether the two may be ranked against each other: like measure, like kind."""
        return self.measure == other.measure and self.kind == other.kind


@dataclass(frozen=True, eq=False)
class Completed:
    """What a `_complete` hook or route returns: x (n, B, *E), log weights (n, B), effective sizes (B,)."""

    x: Tensor
    how: str
    log_weight: Tensor | None = None
    ess: Tensor | None = None
    kind: Kind = Kind.EXACT
    evaluations: int = 1


@dataclass(frozen=True, eq=False)
class Filled:
    """`Completed` with its rows first: x (B, n, *E), log weights (B, n), effective sizes (B,)."""

    x: Tensor
    how: str
    log_weight: Tensor | None
    ess: Tensor | None
    kind: Kind
    evaluations: int

    @classmethod
    def of(cls, done: Completed) -> Filled:
        """Draws first to rows first."""
        weight = None if done.log_weight is None else done.log_weight.T
        return cls(done.x.transpose(0, 1), done.how, weight, done.ess, done.kind, done.evaluations)

    @property
    def completed(self) -> Completed:
        """Rows first to draws first."""
        weight = None if self.log_weight is None else self.log_weight.T
        return Completed(
            self.x.transpose(0, 1), self.how, weight, self.ess, self.kind, self.evaluations
        )

    @classmethod
    def cat(cls, parts: Sequence[Filled]) -> Filled:
        """The rows of several, one after the other; the weakest kind is that of all."""
        even = [p.x.new_zeros(p.x.shape[:2]) for p in parts]
        weight = _filled([p.log_weight for p in parts], even)
        ess = _filled([p.ess for p in parts], [e.sum(-1) + e.shape[1] for e in even])
        calls = max(p.evaluations for p in parts)
        return cls(torch.cat([p.x for p in parts]), ways(parts), weight, ess, weakest(parts), calls)


def regrouped(parts: Sequence[tuple[Tensor, Completed]]) -> Completed:
    """Completions of several sets of rows (their places, what was drawn) as one, the rows in their own order."""
    order = torch.cat([rows for rows, _ in parts]).argsort()
    return take(join([Filled.of(done) for _, done in parts]), order).completed


def rescored(parts: Sequence[tuple[Tensor, Scored]]) -> Scored:
    """Scores of several sets of rows (their places, log p) as one, the rows in their own order."""
    order = torch.cat([rows for rows, _ in parts]).argsort()
    return take(Scored.cat([scored for _, scored in parts]), order)


def _filled(known: Sequence[Tensor | None], otherwise: Sequence[Tensor]) -> Tensor | None:
    """Values one after the other, with others where some are None; None where all are."""
    if all(k is None for k in known):
        return None
    return torch.cat([o if k is None else k for k, o in zip(known, otherwise, strict=True)])


def weakest(parts: Sequence[Any]) -> Kind:
    """The kind of an answer made of several."""
    return functools.reduce(plus, [p.kind for p in parts])


def ways(parts: Sequence[Any]) -> str:
    """How an answer made of several was found, each way once."""
    return "; ".join(dict.fromkeys(p.how for p in parts))


@dataclass(frozen=True, eq=False, repr=False)
class Mode(Shown):
    """The most probable values of what is hidden: a Batch, and how sure it is that they are."""

    batch: Batch
    kind: Kind
    how: str

    def overview(self) -> Overview:
        """How many items there are, and whether they are surely the most probable."""
        title = f"Mode of {plural(len(self.batch), 'item')}: {self.kind} ({self.how})"
        return Overview(title, {"values": "in .x, of shape " + _sizes(self.x)})

    @property
    def x(self) -> Tensor:
        """The values (B, *E) in data units."""
        return self.batch.x


@dataclass(frozen=True, eq=False, repr=False)
class Posterior(Shown):
    """Class probabilities: logits are normalised log p(y | x), (B, K)."""

    logits: Tensor
    kind: Kind
    how: str
    labels: tuple[str, ...] | None = None
    seed: int | None = None

    def overview(self) -> Overview:
        """The classes, and the probabilities of the first rows."""
        import pandas as pd

        rows, classes = self.logits.shape
        names = self.labels or tuple(str(k) for k in range(classes))
        first = self.probabilities[:SHOWN_ROWS, :SHOWN_CLASSES].detach().cpu().numpy()
        title = f"Posterior over {classes} classes of {plural(rows, 'row')}"
        facts = {"kind": f"{self.kind} ({self.how})"}
        return Overview(
            title, facts, pd.DataFrame(first.round(4), columns=list(names)[:SHOWN_CLASSES])
        )

    @property
    def probabilities(self) -> Tensor:
        """p(y | x), (B, K)."""
        return self.logits.exp()

    @property
    def best(self) -> Tensor:
        """The most probable class of each row, int64 (B,)."""
        return self.logits.argmax(-1)


@dataclass(frozen=True)
class Answer:
    """Whether something can be done, by which routes (best first), and if not, why not."""

    ok: bool
    routes: tuple[str, ...] = ()
    why: str = ""
    kinds: tuple[Kind, ...] = field(default=())

    def __bool__(self) -> bool:
        return self.ok


def _sizes(x: Tensor) -> str:
    return " x ".join(map(str, x.shape))


def no(why: str) -> Answer:
    """A refusal with its sentence."""
    return Answer(ok=False, why=why)


YES = Answer(ok=True)


def add_correction(scored: Scored, correction: Tensor, kind: Kind, how: str) -> Scored:
    """A score in model units, brought to data units by a preprocessor's log-determinant or bound."""
    joined = f"{scored.how}, {how}" if how else scored.how
    if scored.terms is None:
        terms = None
    else:
        terms = {**scored.terms, "preprocessing": correction}
    return replace(
        scored,
        value=scored.value + correction,
        kind=plus(scored.kind, kind),
        how=joined,
        terms=terms,
    )
