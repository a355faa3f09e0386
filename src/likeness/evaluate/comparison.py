"""Families side by side under one protocol: a failure is a row, every number has its interval."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from likeness.core.answers import Kind
from likeness.core.distribution import Distribution
from likeness.core.errors import LikenessError
from likeness.core.files import write_atomic
from likeness.core.overview import Overview, Shown
from likeness.core.plain import plain
from likeness.data.parting import Data
from likeness.evaluate import protocol
from likeness.evaluate.cells import audit_of, likelihood_cells, sample_cells, speed_cells
from likeness.evaluate.columns import (
    COLUMNS,
    Cell,
    absent,
    counted,
    stacked,
    typical,
)
from likeness.evaluate.exhibits import Exhibits
from likeness.evaluate.features import View, view
from likeness.evaluate.protocol import Entrant, Named, Options, Role, Split
from likeness.evaluate.ranking import Ranking, rank
from likeness.evaluate.scores import Absent, Scores, classifier_in_words, score, size
from likeness.learn.budget import Budget
from likeness.learn.fit import start
from likeness.learn.run import Run

if TYPE_CHECKING:
    from rich.table import Table as RichTable
    from torch import Tensor

    from likeness.core.batch import Batch

Progress = bool | Callable[[str], None] | None
POINTS = 200  # of a training curve


@dataclass(frozen=True, eq=False, kw_only=True)
class Row:
    """One line of a comparison.

    Args:
        name: What it is called.
        role: "family", "baseline" or "truth".
        title: A few words.
        family: The family's name, or None.
        options: The family's options.
        cells: A Cell for each column.
        failure: Why there are no numbers, or "".
        kind: What kind of number its log p is, or None where it has none.
        measure: What its log p is taken against.
        how: How its log p is computed.
        copies: Whether the audit found training items among its draws; None where it could not be
            asked.
        worst: The closest pairs of drawn and training items, of the first seed.
        answers: Verb -> the routes that answer it, or the reason why none does.
        curves: For each seed what was seen while learning.
        criterion: What validation minimised, in words.
        log_prob: log p of every scored item, (S, B), or None.
    """

    name: str
    role: Role
    title: str
    family: str | None
    options: dict[str, Any]
    cells: dict[str, Cell]
    failure: str = ""
    kind: Kind | None = None
    measure: str = ""
    how: str = ""
    copies: bool | None = None
    worst: tuple[dict[str, Any], ...] = ()
    answers: dict[str, str] = field(default_factory=dict)
    curves: tuple[dict[str, Any], ...] = ()
    criterion: str = ""
    log_prob: Tensor | None = None

    def facts(self) -> dict[str, Any]:
        """For JSON: everything but the tensors."""
        return {
            "name": self.name,
            "role": self.role,
            "title": self.title,
            "family": self.family,
            "options": self.options,
            "failure": self.failure,
            "kind": None if self.kind is None else str(self.kind),
            "measure": self.measure,
            "how": self.how,
            "numbers": {c.key: self.cells[c.key].facts() for c in COLUMNS},
            "copies": self.copies,
            "closest": list(self.worst),
            "answers": self.answers,
            "criterion": self.criterion,
            "curves": list(self.curves),
        }


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Shown):
    """Rows under one protocol, what they say, and what pictures of them need.

    Args:
        protocol: Split, seeds, budget, scoring, versions, machine.
        rows: The truth, families and baselines.
        ranking: Who is best by which kind of number, and who is not separable from it.
        laws: The distribution of each row's first seed.
        drawn: Items drawn from it.
        split: The parts that all rows shared.
    """

    protocol: dict[str, Any]
    rows: tuple[Row, ...]
    ranking: Ranking
    laws: dict[str, Distribution]
    drawn: dict[str, Batch]
    split: Split

    def row(self, name: str) -> Row:
        """The row of that name.

        Raises:
            LikenessError: If there is none.
        """
        match = next((r for r in self.rows if r.name == name), None)
        if match is None:
            raise LikenessError(
                f"there is no row {name!r}",
                do=f"the rows are {', '.join(r.name for r in self.rows)}",
            )
        return match

    def overview(self) -> Overview:
        """The main columns, a line a row, and what was found."""
        from likeness.evaluate.terminal import main_columns

        facts = {str(i): sentence for i, sentence in enumerate(self.sentences, 1)}
        title = f"Comparison on {self.protocol['data']['name']}"
        return Overview(title, facts, main_columns(self.facts()))

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the comparison found, a sentence each."""
        return self.ranking.sentences

    def facts(self) -> dict[str, Any]:
        """All numbers and words, as JSON holds them and as the page shows them."""
        return {
            "format": 1,
            "protocol": self.protocol,
            "sentences": list(self.sentences),
            "rankings": self.ranking.facts(),
            "rows": [row.facts() for row in self.rows],
        }

    def exhibits(self) -> Exhibits:
        """What the pictures of a report are made of."""
        return Exhibits(self.facts(), self.laws, self.drawn, self.split)

    def to_json(self) -> str:
        """The facts as JSON."""
        from likeness.evaluate.report import to_json

        return to_json(self.facts())

    def to_html(self, path: str | Path) -> Path:
        """One self-contained page for a reader who did not build it; returns where it is."""
        from likeness.evaluate.report import page

        target = Path(path)
        write_atomic(target, page(self.exhibits()).encode(errors="backslashreplace"))
        return target

    def save(self, path: str | Path) -> Path:
        """The page, and the JSON file beside it."""
        target = self.to_html(path)
        write_atomic(target.with_suffix(".json"), self.to_json().encode(errors="backslashreplace"))
        return target

    def table(self) -> RichTable:
        """The main columns for a terminal: `rich.print(comparison.table())`."""
        from likeness.evaluate.terminal import terminal_table

        return terminal_table(self.facts())

    def __str__(self) -> str:
        return "\n".join(self.sentences)


def compare(
    data: Data,
    families: Sequence[Named] | Named,
    *,
    budget: str | int | Budget,
    seeds: int | Sequence[int] = 3,
    report: str | Path | None = None,
    holdout: float = 0.1,
    progress: Progress = None,
    options: Options,
) -> Comparison:
    """Fit families to one split with the same seeds and budget, and score all alike: what `lk.compare` does.

    Raises:
        BadConfig: For an unknown family or option, before anything is fitted.
    """
    # One split for all entrants, cut with the first seed.
    chosen = protocol.seeds_of(seeds)
    split = protocol.split_of(data, holdout, chosen[0], options)
    race = Race(split, view(split.train), chosen, budget, options, _teller(progress))
    # Entrants one after the other, each with every seed.
    results = [race.row(entrant) for entrant in protocol.entrants(families, split)]
    rows = tuple(row for row, _ in results)
    facts = protocol.facts(split, chosen, budget, options) | _how_scored(race)
    # What pictures need: the first seed's model and draws.
    extras = {row.name: extra for row, extra in results if extra is not None}
    result = Comparison(
        facts,
        rows,
        rank(rows, options.level),
        {k: e[0] for k, e in extras.items()},
        {k: e[1] for k, e in extras.items() if e[1] is not None},
        split,
    )
    if report is not None:
        result.save(report)
    return result


def _how_scored(race: Race) -> dict[str, Any]:
    return {
        "features": race.view.of_features,
        "entries": race.view.of_entries,
        "items": race.view.of_items,
        "classifier": classifier_in_words(race.split.train.space),
    }


def _teller(progress: Progress) -> Callable[[str], None]:
    if callable(progress):
        return progress
    show = sys.stderr.isatty() if progress is None else progress
    if show:
        return lambda line: print(plain(line), file=sys.stderr, flush=True)
    return lambda _line: None


@dataclass(frozen=True, eq=False)
class Once:
    """One distribution of one seed: how it was learned and what it scored."""

    law: Distribution
    scores: Scores
    seconds: float | None
    curve: dict[str, Any] | None
    criterion: str


@dataclass(frozen=True, eq=False)
class Race:
    """What all entrants share."""

    split: Split
    view: View
    seeds: tuple[int, ...]
    budget: str | int | Budget
    options: Options
    tell: Callable[[str], None]

    def row(self, entrant: Entrant) -> tuple[Row, tuple[Distribution, Batch | None] | None]:
        """An entrant's row, and the distribution and draws of its first seed."""
        runs: list[Once] = []
        # A family of anyone may fail in any way; its row then says how.
        for seed in self.seeds:
            try:
                runs.append(self._once(entrant, seed))
            except (
                Exception
            ) as error:  # a family of anyone may fail in any way, and its row says how
                failure = f"seed {seed}: {_sentence(error)}"
                self.tell(f"{entrant.name}: failed, {failure}")
                return _failed(entrant, failure), None
        row = self._scored(entrant, runs)
        draws = runs[0].scores.drawn
        return row, (
            runs[0].law,
            None if isinstance(draws, Absent) else draws[: self.options.pictures],
        )

    def _once(self, entrant: Entrant, seed: int) -> Once:
        # Baselines and the truth are made from the data; families are fitted.
        begun = time.perf_counter()
        if entrant.law is not None:
            law = entrant.law(self.split.train)
            seconds = None
            curve = None
            criterion = ""
        else:
            law, seconds, curve, criterion = self._fitted(entrant, seed)
        scores = score(law, self.split, self.view, seed, self.options)
        took = time.perf_counter() - begun
        self.tell(f"{entrant.name}, seed {seed}: {_told(scores)}, {took:.1f} s")
        return Once(law, scores, seconds, curve, criterion)

    def _fitted(
        self, entrant: Entrant, seed: int
    ) -> tuple[Distribution, float, dict[str, Any], str]:
        assert entrant.family is not None
        train = self.split.train
        device = self.options.device
        model = start(entrant.family, entrant.options, train, seed=seed, device=device)  # type: ignore[arg-type]
        begun = time.perf_counter()
        run = Run(model, self.split.train, self.budget, seed, holdout=self.split.valid)
        fitted = run.fit()
        return fitted, time.perf_counter() - begun, _curve(run, seed), fitted.kind_of_criterion()

    def _scored(self, entrant: Entrant, runs: list[Once]) -> Row:
        scores = [r.scores for r in runs]
        first = scores[0].likelihood
        level = self.options.level
        # Copies are judged first, as they make nearness meaningless.
        audited = audit_of(scores, level)
        copies, worst = (
            (None, ()) if isinstance(audited, Absent) else (audited.copies, audited.worst)
        )
        # A log p is reported only if every seed has one.
        likelihoods = [s.likelihood for s in scores if not isinstance(s.likelihood, Absent)]
        whole = likelihoods[0] if len(likelihoods) == len(scores) else None
        how = first.why if isinstance(first, Absent) else first.how
        cells = {c.key: absent("not measured") for c in COLUMNS}
        cells |= (
            likelihood_cells(scores, level)
            | sample_cells(scores, level)
            | speed_cells(scores, level)
            | _cost(runs, level)
        )
        cells |= (
            dict.fromkeys(_AUDITED, absent(audited.why))
            if isinstance(audited, Absent)
            else audited.cells
        )
        return Row(
            name=entrant.name,
            role=entrant.role,
            title=entrant.title,
            family=entrant.family,
            options=entrant.options,
            cells=cells,
            kind=None if whole is None else whole.kind,
            measure="" if whole is None else whole.measure,
            how=how,
            copies=copies,
            worst=worst,
            answers=scores[0].answers,
            curves=tuple(r.curve for r in runs if r.curve is not None),
            criterion=runs[0].criterion,
            log_prob=None if whole is None else stacked([p.value for p in likelihoods]),
        )


_AUDITED = tuple(c.key for c in COLUMNS if c.group == "audit")


def _failed(entrant: Entrant, failure: str) -> Row:
    cells = {c.key: absent(failure) for c in COLUMNS}
    return Row(
        name=entrant.name,
        role=entrant.role,
        title=entrant.title,
        family=entrant.family,
        options=entrant.options,
        cells=cells,
        failure=failure,
    )


def _sentence(error: Exception) -> str:
    first = (str(error) or type(error).__name__).splitlines()[0]
    if isinstance(error, LikenessError):
        return first
    return f"{type(error).__name__}: {first}"


def _told(scores: Scores) -> str:
    if isinstance(scores.likelihood, Absent):
        return "no log p"
    return f"log p {scores.likelihood.mean()}"


def _curve(run: Run, seed: int) -> dict[str, Any]:
    """What was seen while learning, thinned to a few hundred points; validation in full."""
    events = run.events
    points = events[:: max(1, len(events) // POINTS)]
    return {
        "seed": seed,
        "loss": [[e.iteration, e.loss] for e in points],
        "validation": [[e.iteration, e.validation] for e in events if e.validation is not None],
    }


# ---- seeds to cells ------------------------------------------------------------------------------


def _cost(runs: list[Once], level: float) -> dict[str, Cell]:
    seconds = [r.seconds for r in runs if r.seconds is not None]
    if not seconds:
        return {"seconds": absent("nothing is learned"), "parameters": absent("nothing is learned")}
    return {"seconds": typical(seconds, level), "parameters": counted(size(runs[0].law))}


__all__ = ["Comparison", "Row", "compare"]
