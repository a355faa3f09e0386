"""Questions about five variables, each asked of every subset through `query`, and how far the answers lie off."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

import likeness.routes  # noqa: F401 - registers the ways of answering
from bench.brute import SUBSETS, Brute, Codes, D, climbed
from likeness.core.answers import Kind
from likeness.core.batch import Batch
from likeness.core.distribution import Distribution
from likeness.core.draws import Draws
from likeness.core.errors import Unsupported
from likeness.query import names_of, query


def tensor(values: Sequence[float]) -> Tensor:
    """Numbers in double precision."""
    return torch.tensor(values, dtype=torch.float64)


@dataclass(eq=False)
class Row:
    """One line of the table: what became of one verb.

    Args:
        verb: In words.
        asked: Subsets that were asked and answered.
        kinds: What the answers called themselves.
        exact: How far answers that called themselves exact lay off.
        known: How well brute force knew what they were held to.
        errors: How far all others lay off, in standard errors.
        loose: How far those lay off that state no error.
        ess: Effective sample sizes.
        refused: The sentences of those that were not answered.
    """

    verb: str
    asked: set[Any] = field(default_factory=set)
    kinds: set[Kind] = field(default_factory=set)
    exact: list[float] = field(default_factory=list)
    known: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    loose: list[float] = field(default_factory=list)
    ess: list[float] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)

    def add(self, kind: Kind, off: Tensor, stderr: Tensor | None, known: Tensor) -> None:
        """Values that lie `off` from brute force, which knows them to `known`."""
        self.kinds.add(kind)
        if kind is Kind.EXACT:
            self.exact += off.abs().tolist()
            self.known += known.tolist()
        elif stderr is None:
            self.loose += off.tolist()
        else:
            total = (stderr.square() + known.square()).sqrt()
            self.errors += torch.where(off.abs() < 1e-9, 0.0, off / total).tolist()

    @property
    def beyond(self) -> int:
        """How many answers lie beyond three standard errors."""
        return sum(abs(e) > 3 for e in self.errors)


@dataclass(eq=False)
class Case:
    """A law, what brute force says of it, and rows to ask about.

    Args:
        world: The world it was fitted to.
        name: What the table calls it.
        law: Fitted, or the truth.
        brute: On its own joint.
        rows: (R, D).
        draws: How many to draw.
        effort: Monte-Carlo draws of a value, None for the law's own.
        most: The most entries that may be hidden.
        classes: (prior, brute force of each class) of a law under a label; None asks no label.
    """

    world: str
    name: str
    law: Distribution
    brute: Brute
    rows: Tensor
    draws: int = 2000
    effort: int | None = None
    most: int = D
    classes: tuple[Tensor, list[Brute]] | None = None
    particles: int = 2048

    @property
    def subsets(self) -> list[frozenset[int]]:
        """Which entries are known."""
        return [s for s in SUBSETS if D - len(s) <= self.most]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return names_of(self.law.space)

    def told(self, known: frozenset[int], rows: Tensor | None = None) -> dict[str, list[float]]:
        """What is known of rows, by name."""
        x = self.rows if rows is None else rows
        return {self.names[i]: x[:, i].tolist() for i in sorted(known)}

    def truths(self, known: frozenset[int]) -> tuple[Tensor, Tensor]:
        """log p of what is known of each row, and how well brute force knows it."""
        found = [self.brute(x, known) for x in self.rows]
        return tensor([f.log_p for f in found]), tensor([f.error for f in found])


def marginals(case: Case) -> Row:
    """log p of every subset; of none, which is log 1, the verb itself is asked."""
    row = Row("log_prob")
    for known in case.subsets:
        truth, error = case.truths(known)
        if known:
            found: Any = query(
                case.law, "log_prob", evidence=case.told(known), effort=case.effort, seed=1
            )
        else:
            nothing = Batch(case.rows).hide(torch.ones_like(case.rows, dtype=torch.bool))
            found = case.law.log_prob(nothing, effort=case.effort, seed=1)
        row.asked.add(known)
        row.add(found.kind, found.value - truth, found.stderr, error)
    return row


def ratios(case: Case) -> Row:
    """log p of the rest given every subset."""
    row = Row("log_prob of the rest, given")
    whole, more = case.truths(frozenset(range(D)))
    for known in case.subsets[:-1]:
        part, error = (
            case.truths(known) if known else (torch.zeros_like(whole), torch.zeros_like(whole))
        )
        rest = frozenset(range(D)) - known
        found: Any = query(
            case.law,
            "log_prob",
            given=case.told(known),
            evidence=case.told(rest),
            effort=case.effort,
            seed=2,
        )
        row.asked.add(known)
        row.add(
            found.kind,
            found.value - (whole - part),
            found.stderr,
            (error.square() + more.square()).sqrt(),
        )
    return row


def drawn(case: Case, verb: str) -> Row:
    """Means and products of what is hidden, over draws of it given every subset; what is known must not move."""
    row, x = Row(verb), case.rows[0 if verb == "sample" else -1]
    for known in case.subsets:
        if verb == "sample" and len(known) == D:
            continue
        found: Any = query(
            case.law, verb, evidence=case.told(known, x[None]) or None, n=case.draws, seed=_seed(verb, known),
            settings={"particles": case.particles},
        )  # fmt: skip
        _judge(row, case, found, x, known)
    return row


def _seed(verb: str, known: frozenset[int]) -> int:
    """Of its own for every question, so that one unlucky draw is not counted 32 times."""
    return 100 * len(verb) + sum(2**i for i in known)


def _judge(row: Row, case: Case, found: Draws, x: Tensor, known: frozenset[int]) -> None:
    drawn, at = found.x.reshape(-1, D), sorted(known)
    hidden = [i for i in range(D) if i not in known]
    if not torch.equal(drawn[:, at], x[at].expand(len(drawn), -1)):
        raise AssertionError(f"{case.name}: what was known was changed")
    row.asked.add(known)
    row.kinds.add(found.kind)
    size = float(found.ess.min()) if found.ess is not None else float(len(drawn))
    row.ess.append(size)
    if not hidden:
        return
    truth = case.brute(x, known)
    real = case.law.space.real
    centre, scale, _ = truth.mean(truth.x[:, hidden])
    scale = scale.clamp_min(1e-12) if real else torch.ones_like(scale)
    centre = centre if real else torch.zeros_like(centre)
    mean, std, error = truth.mean(_moments((truth.x[:, hidden] - centre) / scale, squares=real))
    ours = _moments((drawn[:, hidden] - centre) / scale, squares=real).mean(0)
    slack = 0.0 if found.kind is Kind.EXACT else 1 / size
    sampled = std * math.sqrt(
        1 / len(drawn) + slack + (1 / len(truth.x) if isinstance(case.brute, Codes) else 0)
    )
    moved = std > 1e-6
    row.errors += ((ours - mean) / (sampled.square() + error.square()).sqrt())[moved].tolist()


def _moments(u: Tensor, *, squares: bool) -> Tensor:
    """Entries and their products in pairs, with squares for reals, (N, F)."""
    pairs = itertools.combinations_with_replacement if squares else itertools.combinations
    products = [u[:, i] * u[:, j] for i, j in pairs(range(u.shape[1]), 2)]
    return torch.cat([u, torch.stack(products, -1)], -1) if products else u


def modes(case: Case) -> Row:
    """The distance of an exact mode from the peak, in standard deviations of the lattice; what others lose, in nats."""
    row, x = Row("mode"), case.rows[0]
    for known in case.subsets:
        try:
            found: Any = query(case.law, "mode", evidence=case.told(known, x[None]) or None)
        except Unsupported as refusal:
            row.refused.add(str(refusal))
            continue
        row.asked.add(known)
        row.kinds.add(found.kind)
        truth = case.brute(x, known)
        best = truth.x[truth.log_joint.argmax()]
        hidden = [i for i in range(D) if i not in known]
        best = climbed(case.brute.joint, best, hidden) if case.law.space.real and hidden else best
        lost = case.brute.joint(best[None])[0] - case.brute.joint(found.x)[0]
        if found.kind is Kind.EXACT and case.law.space.real:
            row.exact.append(float((found.x[0] - best).abs().max()))
            row.known.append(0.0)
        elif found.kind is Kind.EXACT:
            row.exact.append(float(lost))
            row.known.append(0.0)
        else:
            row.loose.append(float(lost))
    return row


def columns(case: Case) -> Row:
    """The class of every hidden bit, given every subset."""
    row = Row("classify a column")
    for known in case.subsets:
        for i in sorted(set(range(D)) - known):
            rows = case.rows if known else case.rows[:1]
            found: Any = query(
                case.law, "classify", evidence=case.told(known, rows) or None, missing=case.names[i],
                effort=case.effort, seed=4,
            )  # fmt: skip
            row.asked.add(known)
            for x, p in zip(rows, found.probabilities, strict=True):
                truth = case.brute(x, known)
                one = float(truth.weight @ (truth.x[:, i] == 1).double())
                slack = case.brute(x, known | {i}).error + truth.error
                row.add(found.kind, tensor([float(p[1]) - one]), None, tensor([slack]))
    return row


def labels(case: Case) -> Row:
    """The label that the law is conditioned on, given every subset."""
    row = Row("classify the label")
    assert case.classes is not None
    prior, each = case.classes
    for known in case.subsets:
        rows = case.rows if known else case.rows[:1]
        found: Any = query(
            case.law,
            "classify",
            evidence=case.told(known, rows) or None,
            effort=case.effort,
            seed=5,
        )
        row.asked.add(known)
        for x, p in zip(rows, found.probabilities, strict=True):
            brutes = [b(x, known) for b in each] if known else []
            truth = (
                (prior.log() + tensor([b.log_p for b in brutes])).softmax(-1) if known else prior
            )
            slack = max((b.error for b in brutes), default=0.0)
            row.add(found.kind, (p - truth).abs().max()[None], None, tensor([slack]))
    return row


def answers(case: Case) -> list[Row]:
    """Every verb."""
    if case.classes is not None:
        return [labels(case)]
    rows = [
        marginals(case),
        ratios(case),
        drawn(case, "sample"),
        drawn(case, "complete"),
        modes(case),
    ]
    return rows if case.law.space.real else [*rows, columns(case)]
