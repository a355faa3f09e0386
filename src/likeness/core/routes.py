"""Routes: ways of answering one verb from others, registered functions with a name and requirements.

Which of them a distribution has for a verb (`support`), and which of them rows take (`route_of`,
`ways`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from likeness.core import inputs
from likeness.core.answers import Answer, Kind, no
from likeness.core.batch import Batch
from likeness.core.config import Settings
from likeness.core.errors import Unsupported
from likeness.core.hooks import Hooks
from likeness.core.noise import Noise
from likeness.numerics.patterns import patterns_of


class Answering(Protocol):
    """A distribution, as far as routes ask it what it can answer."""

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
        effort: Monte-Carlo draws of each row, None for the distribution's own default.
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
        needs: Verbs that the distribution must support.
        kind: The best kind its answers can have, which orders routes.
        function: (distribution, question) -> what the verb's hook would return.
        refuse: A further condition: why it does not apply to this distribution, or None.
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
        """Why this distribution cannot take the route, or None."""
        for verb in self.needs:
            answer = law.support(verb)
            if not answer:
                return f"{self.name} needs {verb}: {answer.why}"
        return self.refuse(law)


ROUTES: list[Route] = []  # grows as the layers above register theirs
HOOKS = ("sample", "log_prob", "complete", "mode", "encode", "decode")


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
    """Register a function of (distribution, question) as a way of answering `verb`."""

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
        # The best kind first, then the lowest rank, whatever the order of imports.
        ROUTES.sort(key=lambda r: (r.kind, r.rank))
        return function

    return keep


def routes_for(law: Any, verb: str, batch: Batch | None = None) -> list[Route]:
    """The routes open to this distribution (and these rows), best first."""
    open_ = [r for r in ROUTES if r.verb == verb and r.why_not(law) is None]
    if batch is None:
        return open_
    return [r for r in open_ if r.suits(law, batch)]


def support(dist: Hooks, verb: str) -> Answer:
    """Whether and by which routes the verb can be answered, best first; else why not."""
    # A model's own hook comes before any route.
    own = verb in HOOKS and dist.has(f"_{verb}")
    # A forecast is a completion of longer items.
    if verb == "forecast":
        if (why := inputs.why_no_future(dist)) is None:
            return support(dist, "complete")
        return no(why)
    reason = dist._why_not(verb)
    if reason is not None:
        return no(reason)
    open_ = routes_for(dist, verb)
    names = (("own hook",) if own else ()) + tuple(r.name for r in open_)
    if names:
        return Answer(ok=True, routes=names, kinds=tuple(r.kind for r in open_))
    return no(f"{type(dist).__name__} has no {verb}" + _reasons(dist, verb))


def _reasons(dist: Hooks, verb: str) -> str:
    """Why each route to the verb is closed, in brackets; nothing where there is none."""
    own: Any = dist
    reasons = [why for r in ROUTES if r.verb == verb and (why := r.why_not(own))]
    if reasons:
        return f" ({'; '.join(reasons)})"
    return ""


def need(dist: Hooks, verb: str) -> None:
    """Refuse a verb that cannot be answered.

    Raises:
        Unsupported: With the reason.
    """
    answer = support(dist, verb)
    if not answer:
        raise Unsupported(answer.why)


def route_of(dist: Hooks, verb: str, wanted: str | None, batch: Batch) -> Route | None:
    """The route to take for `verb` on these rows, None for the own hook."""
    name, registered = _choice(dist, verb, wanted, batch)
    return registered.get(name)


def registered_route(dist: Hooks, verb: str, wanted: str | None, batch: Batch) -> Route:
    """The route to take on these rows for a verb that has no hook."""
    name, registered = _choice(dist, verb, wanted, batch)
    return registered[name]


def _choice(
    dist: Hooks, verb: str, wanted: str | None, batch: Batch
) -> tuple[str, dict[str, Route]]:
    """The name of the route to take, and the registered routes that suit these rows."""
    need(dist, verb)
    # Only routes that suit these rows are a choice.
    open_ = {r.name: r for r in routes_for(dist, verb, batch)}
    own = ("own hook",) if "own hook" in support(dist, verb).routes else ()
    names = (*own, *open_)
    if not names:
        raise Unsupported(
            f"{verb} has no route for these rows",
            do=f"routes for others: {', '.join(support(dist, verb).routes)}",
        )
    if wanted is not None and wanted not in names:
        raise Unsupported(
            f"{verb} has no route {wanted!r} here", do=f"choose among {', '.join(names)}"
        )
    return wanted or names[0], open_


def ways(
    dist: Hooks, verb: str, wanted: str | None, batch: Batch
) -> list[tuple[Route | None, Tensor]]:
    """The route of each row, which knows of no other row: (route, rows) for each route that is taken."""
    need(dist, verb)
    rows = torch.arange(len(batch))
    if wanted is not None or not len(batch) or len(support(dist, verb).routes) == 1:
        return [(route_of(dist, verb, wanted, batch), rows)]
    # Rows of one missingness pattern take one route, so one row of each pattern decides.
    patterns, of = patterns_of(batch.holes.flatten(1))
    first = [int((of == k).nonzero()[0]) for k in range(len(patterns))]
    chosen = [route_of(dist, verb, None, batch[i : i + 1]) for i in first]
    labels = [None if c is None else c.name for c in chosen]
    # Patterns that share a route are answered together.
    names = dict(zip(labels, chosen, strict=True))
    each = [labels[k] for k in of.tolist()]
    return [
        (route, torch.tensor([i for i in rows.tolist() if each[i] == name]))
        for name, route in names.items()
    ]
