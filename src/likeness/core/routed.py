"""Which ways a distribution has of answering a verb, and which of them each row takes."""

from __future__ import annotations

from abc import ABC
from typing import Any, final

import torch
from torch import Tensor

from likeness.core.answers import Answer, no
from likeness.core.asked import Asked
from likeness.core.batch import Batch
from likeness.core.errors import Unsupported
from likeness.core.routes import Route, routes_for
from likeness.numerics.patterns import patterns_of

HOOKS = ("sample", "log_prob", "complete", "mode", "encode", "decode")


class Routed(Asked, ABC):
    """A distribution's own hooks, and the registered routes that its verbs open to it."""

    @final
    def support(self, verb: str) -> Answer:
        """Whether and by which routes the verb can be answered, best first; else why not."""
        own = verb in HOOKS and self.has(f"_{verb}")
        if verb == "forecast":
            if (why := self._no_future()) is None:
                return self.support("complete")
            return no(why)
        reason = self._why_not(verb)
        if reason is not None:
            return no(reason)
        routes = routes_for(self, verb)
        names = (("own hook",) if own else ()) + tuple(r.name for r in routes)
        if names:
            return Answer(ok=True, routes=names, kinds=tuple(r.kind for r in routes))
        return no(f"{type(self).__name__} has no {verb}" + self._reasons(verb))

    def _reasons(self, verb: str) -> str:
        from likeness.core.routes import ROUTES  # the list grows as layers above register theirs

        own: Any = self
        reasons = [why for r in ROUTES if r.verb == verb and (why := r.why_not(own))]
        if reasons:
            return f" ({'; '.join(reasons)})"
        return ""

    def _need(self, verb: str) -> None:
        answer = self.support(verb)
        if not answer:
            raise Unsupported(answer.why)

    def _route(self, verb: str, wanted: str | None, batch: Batch) -> Route | None:
        """The route to take for `verb` on these rows, None for the own hook."""
        self._need(verb)
        routes = {r.name: r for r in routes_for(self, verb, batch)}
        own = ("own hook",) if "own hook" in self.support(verb).routes else ()
        names = (*own, *routes)
        if not names:
            raise Unsupported(
                f"{verb} has no route for these rows",
                do=f"routes for others: {', '.join(self.support(verb).routes)}",
            )
        if wanted is not None and wanted not in names:
            raise Unsupported(
                f"{verb} has no route {wanted!r} here", do=f"choose among {', '.join(names)}"
            )
        return routes.get(wanted or names[0])

    def _ways(
        self, verb: str, wanted: str | None, batch: Batch
    ) -> list[tuple[Route | None, Tensor]]:
        """The route of each row, which knows of no other row: (route, rows) for each route that is taken."""
        self._need(verb)
        rows = torch.arange(len(batch))
        if wanted is not None or not len(batch) or len(self.support(verb).routes) == 1:
            return [(self._route(verb, wanted, batch), rows)]
        patterns, of = patterns_of(batch.holes.flatten(1))
        first = [int((of == k).nonzero()[0]) for k in range(len(patterns))]
        chosen = [self._route(verb, None, batch[i : i + 1]) for i in first]
        labels = [None if c is None else c.name for c in chosen]
        names = dict(zip(labels, chosen, strict=True))
        each = [labels[k] for k in of.tolist()]
        return [
            (route, torch.tensor([i for i in rows.tolist() if each[i] == name]))
            for name, route in names.items()
        ]
