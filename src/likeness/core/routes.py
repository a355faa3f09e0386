"""Routes: ways of answering one verb from others, registered functions with a name and requirements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from likeness.core.answers import Answer, Kind
from likeness.core.batch import Batch
from likeness.core.config import Settings
from likeness.core.noise import Noise


class Answering(Protocol):
    """A law, as far as routes ask it what it can answer."""

    def support(self, verb: str) -> Answer:
        """Whether and how the verb can be answered."""


@dataclass(frozen=True, eq=False)
class Question:
    """One checked batch and how it is asked.

    Args:
        batch: The rows, in data units.
        noise: The rows' randomness.
        settings: How to ask.
        n: Draws wanted of each row.
        effort: Monte-Carlo draws of each row, None for the law's own default.
        prior: Class probabilities (K,), for `classify`.
    """

    batch: Batch
    noise: Noise
    settings: Settings
    n: int = 1
    effort: int | None = None
    prior: Tensor | None = None


@dataclass(frozen=True)
class Route:
    """A way of answering `verb`.

    Args:
        verb: What it answers.
        name: What users see and choose it by.
        needs: Verbs that the law must support.
        kind: The best kind its answers can have, which orders routes.
        function: (law, question) -> what the verb's hook would return.
        refuse: A further condition: why it does not apply to this law, or None.
        rank: Orders routes of one kind, lowest first.
        suits: A condition on the rows asked about (few enough states, say).
    """

    verb: str
    name: str
    needs: tuple[str, ...]
    kind: Kind
    function: Callable[[Any, Question], Any]
    refuse: Callable[[Any], str | None] = field(default=lambda _law: None)
    rank: int = 0
    suits: Callable[[Any, Batch], bool] = field(default=lambda _law, _batch: True)

    def why_not(self, law: Answering) -> str | None:
        """Why this law cannot take the route, or None."""
        for verb in self.needs:
            answer = law.support(verb)
            if not answer:
                return f"{self.name} needs {verb}: {answer.why}"
        return self.refuse(law)


ROUTES: list[Route] = []


def route(
    verb: str,
    name: str,
    *,
    needs: tuple[str, ...] = (),
    kind: Kind,
    refuse: Callable[[Any], str | None] | None = None,
    rank: int = 0,
    suits: Callable[[Any, Batch], bool] | None = None,
) -> Callable[[Callable[[Any, Question], Any]], Callable[[Any, Question], Any]]:
    """Register a function of (law, question) as a way of answering `verb`."""

    def keep(function: Callable[[Any, Question], Any]) -> Callable[[Any, Question], Any]:
        always: Callable[[Any, Batch], bool] = lambda _law, _batch: True  # noqa: E731
        ROUTES.append(
            Route(
                verb,
                name,
                needs,
                kind,
                function,
                refuse or (lambda _law: None),
                rank,
                suits or always,
            )
        )
        ROUTES.sort(key=lambda r: (r.kind, r.rank))
        return function

    return keep


def routes_for(law: Any, verb: str, batch: Batch | None = None) -> list[Route]:
    """The routes open to this law (and these rows), best first."""
    open_ = [r for r in ROUTES if r.verb == verb and r.why_not(law) is None]
    if batch is None:
        return open_
    return [r for r in open_ if r.suits(law, batch)]
