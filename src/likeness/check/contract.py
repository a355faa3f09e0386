"""The contract of every family: twenty checks of a distribution over a Space, each with numbers; a report of them.

A check is a function of a Cell (one family, Space and `given`, fitted once) that returns a Result,
raises CheckFailure with numbers, or raises Skip with the reason why it says nothing here.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from likeness import registry
from likeness.check.cell import Cell, cells_of, fitted, truth
from likeness.core.errors import BadConfig, LikenessError
from likeness.core.model import Model
from likeness.registry import Card

STANDARD_ERRORS = 5.0
MODULES = ("items", "mass", "fit", "holes", "learning", "maps", "kinds")


class CheckFailure(AssertionError):
    """A promise that was not kept, with numbers."""


class Skip(Exception):
    """Why a check says nothing about a cell."""


@dataclass(frozen=True)
class Result:
    """What a check measured: it passes while the statistic is at most the threshold."""

    statistic: float
    threshold: float
    detail: str


@dataclass(frozen=True)
class Check:
    """One of the twenty.

    Args:
        number: Its number in the design.
        name: A few words.
        function: Cell -> Result.
        of_laws: Whether it asks for a distribution alone, so that worlds take it too; else for a model.
    """

    number: int
    name: str
    function: Callable[[Cell], Result]
    of_laws: bool


CHECKS: dict[int, Check] = {}


def check(
    number: int, name: str, *, of_laws: bool = False
) -> Callable[[Callable[[Cell], Result]], Callable[[Cell], Result]]:
    """Enter a function as the check of that number."""

    def keep(function: Callable[[Cell], Result]) -> Callable[[Cell], Result]:
        CHECKS[number] = Check(number, name, function, of_laws)
        return function

    return keep


def checks() -> list[Check]:
    """All twenty, in order."""
    for name in MODULES:
        importlib.import_module(f"likeness.check.checks_{name}")
    return [CHECKS[n] for n in sorted(CHECKS)]


def judge(statistic: float, threshold: float, detail: str) -> Result:
    """A Result, or a CheckFailure where the statistic (or no number at all) lies above the threshold."""
    if not statistic <= threshold:
        raise CheckFailure(f"{statistic:.4g} where at most {threshold:.4g} is allowed: {detail}")
    return Result(statistic, threshold, detail)


def worst(results: Sequence[Result]) -> Result:
    """The result that came closest to its threshold.

    Raises:
        Skip: If there is none.
    """
    if not results:
        raise Skip("nothing here can be measured")
    return max(results, key=lambda r: r.statistic / max(r.threshold, 1e-300))


def demand(kept: bool, broken: str) -> None:
    """Raise CheckFailure with this sentence unless the promise was kept."""
    if not kept:
        raise CheckFailure(broken)


@dataclass(frozen=True)
class Outcome:
    """What became of one check on one cell.

    Args:
        cell: Its name.
        number: The check's number, 0 for a cell that was refused or could not be fitted.
        state: "passed", "failed", "skipped" or "refused".
        detail: Numbers, or the reason.
        seconds: Processor time.
    """

    cell: str
    number: int
    state: str
    detail: str
    seconds: float = 0.0


def outcome(one: Check, cell: Cell) -> Outcome:
    """The check's verdict on the cell; an unforeseen error is a failure too."""
    start = time.process_time()
    try:
        if not one.of_laws and not isinstance(cell.law, Model):
            raise Skip("the truth has nothing to learn")
        found = one.function(cell)
        state = "passed"
        detail = f"{found.statistic:.3g} of {found.threshold:.3g}: {found.detail}"
    except Skip as reason:
        state = "skipped"
        detail = str(reason)
    except CheckFailure as failure:
        state = "failed"
        detail = str(failure)
    except Exception as e:  # whatever a third party's family raises is its verdict
        state = "failed"
        detail = f"{type(e).__name__}: {e}"
    return Outcome(cell.name, one.number, state, detail, time.process_time() - start)


def verdicts(cell: Cell, numbers: Sequence[int] | None = None) -> list[Outcome]:
    """Every check's verdict on one cell."""
    return [outcome(c, cell) for c in checks() if numbers is None or c.number in numbers]


@dataclass(frozen=True)
class Report:
    """All verdicts on a family."""

    family: str
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def failures(self) -> list[Outcome]:
        """What was not kept."""
        return [o for o in self.outcomes if o.state == "failed"]

    def __bool__(self) -> bool:
        return not self.failures

    def __str__(self) -> str:
        """A line for each check with its tally, then each failure and refusal with its sentence."""
        lines = [
            f"{self.family}: {'keeps the contract' if self else f'{len(self.failures)} failures'}"
        ]
        for c in checks():
            of = [o.state for o in self.outcomes if o.number == c.number]
            tally = ", ".join(
                f"{of.count(s)} {s}" for s in ("passed", "failed", "skipped") if s in of
            )
            lines.append(f"  ({c.number:2d}) {c.name}: {tally or 'not asked'}")
        told = [o for o in self.outcomes if o.state in {"failed", "refused"}]
        return "\n".join(
            lines
            + [
                f"  {o.state}: {o.cell}{f' ({o.number})' if o.number else ''}: {o.detail}"
                for o in told
            ]
        )


def _verdicts_of(
    family: str, space: str, given: str | None, numbers: Sequence[int] | None
) -> Iterator[Outcome]:
    start = time.process_time()
    try:
        cell = fitted(family, space, given)
    except LikenessError as error:
        yield Outcome(
            f"{family}, {space}, {given}", 0, "failed", str(error), time.process_time() - start
        )
        return
    yield from verdicts(cell, numbers)


def check_model(
    model: type[Model],
    *,
    spaces: Sequence[str] | None = None,
    givens: Sequence[str] | None = None,
    numbers: Sequence[int] | None = None,
    watch: Callable[[Outcome], None] | None = None,
) -> Report:
    """Every applicable check on every cell that a family accepts; cells it refuses are listed with their sentence.

    Args:
        model: The family's class, registered or not.
        spaces: Names of Spaces, all twelve where None.
        givens: Names of conditions ("none" among them), all five where None.
        numbers: Which checks, all twenty where None.
        watch: Called with each verdict as it falls.
    """
    name = named(model)
    report = Report(name)
    for space, given, answer in cells_of(model):
        if (spaces is not None and space not in spaces) or (
            givens is not None and given not in givens
        ):
            continue
        found = (
            _verdicts_of(name, space, given, numbers)
            if answer
            else [Outcome(f"{name}, {space}, {given}", 0, "refused", answer.why)]
        )
        for one in found:
            report.outcomes.append(one)
            if watch is not None:
                watch(one)
    return report


def named(model: type[Model]) -> str:
    """The name a class is registered by; one that is not is entered under its own."""
    for name, known in registry.FAMILIES.items():
        if known is model:
            return name
    if not isinstance(model, type):
        raise BadConfig(f"{model!r} is no family", do="give the class of a family: check(MyModel)")
    own = model.__name__.lower()
    registry.register(
        Card(own, model.__name__, "third party", "", 0, (model.__doc__ or own).splitlines()[0])
    )(model)
    return own


__all__ = [
    "CHECKS",
    "STANDARD_ERRORS",
    "Check",
    "CheckFailure",
    "Outcome",
    "Report",
    "Result",
    "Skip",
    "check",
    "check_model",
    "checks",
    "demand",
    "judge",
    "named",
    "outcome",
    "truth",
    "verdicts",
    "worst",
]
