"""A distribution over a Space answers verbs about p(x) or p(x | given).

Models, synthetic distributions whose truth is known, and baselines are distributions.

The public verbs are final: they check, bring data into model units, compute in tiles of rows
without gradients, and type the answer. A law overrides hooks (`_sample`, `_log_prob`, ...), which
see one checked batch in model units.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar, final

import torch
from torch import Tensor

from likeness.core.answers import (
    Answer,
    Completed,
    Draws,
    Filled,
    Kind,
    LogProb,
    Mode,
    Posterior,
    Scored,
    minus,
    no,
    regrouped,
)
from likeness.core.asked import Asked, whole
from likeness.core.batch import Batch, Places, after
from likeness.core.errors import Unsupported
from likeness.core.routes import Question, Route, routes_for
from likeness.core.row_distribution import RowDistribution

HOOKS = ("sample", "log_prob", "complete", "mode", "encode", "decode")
FEW = 50
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Distribution(Asked):
    """p(x) or p(x | given) over `space`: the public verbs, which are final. What a law overrides stands in `Hooks`."""

    # ---- public verbs ----------------------------------------------------------------------------

    @final
    def sample(
        self,
        n: int = 1,
        *,
        given: Any = None,
        seed: int | None = None,
        first: int = 0,
        settings: Any = None,
    ) -> Draws:
        """Draw n items, x (n, *E); with `given` of B rows n for each of them, x (n, B, *E), in data units.

        Item i depends on (seed, first + i) only; with `given` on (seed, the row's index, first +
        draw).

        Raises:
            Unsupported: Where the law cannot sample, with the reason.
        """
        self._need("sample")
        chosen = self._seed(seed)
        asked = self._settings(settings)
        n = whole(n, "n")
        first = whole(first, "first")
        if given is None:
            self._needs_condition(None)
            noise = self._noise(chosen, torch.arange(first, first + n), "sample")
            x, length, path = self._tiled(
                noise.place, asked, lambda rows: self._sample_rows(noise[rows], None, asked)
            )
            if self._sums_classes():
                told = self._drawn_given(noise, None)
            else:
                told = None
            return self._draws(x, length, path, chosen, first, told, asked)
        batch = self._given(given)
        assert batch is not None
        flat = batch.repeat(n)
        noise = replace(self._noise(chosen, batch.ids, "sample"), draw=first).draws(n)
        drawn = self._tiled(
            noise.place,
            asked,
            lambda rows: self._sample_rows(noise[rows], flat[rows], asked),
            alike=flat,
        )
        x, length, path = drawn
        x = x.reshape(n, len(batch), *x.shape[1:])
        if length is None:
            length = None
        else:
            length = length.reshape(n, len(batch))
        if path is None:
            path = None
        else:
            path = path.unflatten(0, (n, len(batch)))
        return self._draws(x, length, path, chosen, first, batch, asked)

    @final
    def log_prob(
        self,
        x: Any,
        *,
        given: Any = None,
        evidence: Any = None,
        effort: int | None = None,
        seed: int | None = None,
        settings: Any = None,
    ) -> LogProb:
        """log p(x | given) in nats, (B,); with holes the marginal of what is observed.

        `evidence` (a mask over entries, or names) makes it log p(observed) - log p(observed and
        evidence).

        Raises:
            Unsupported: Where the law has no log p, with the reason.
            BadData: If a hidden entry is named as evidence.
        """
        self._need("log_prob")
        chosen = self._seed(seed)
        asked = self._settings(settings)
        batch = self._batch(x, given)
        noise = self._noise(chosen, batch.ids, "log_prob")
        scored = self._score(batch, noise, effort, asked)
        known = batch.present
        if evidence is not None:
            mask = self._evidence(evidence, batch)
            base = self._score(batch.hide(~mask), noise, effort, asked)
            scored = _ratio(scored, base)
            known = known & ~mask
        if scored.stderr is not None or scored.kind is not Kind.EXACT:
            drew = chosen
        else:
            drew = None
        dims = known.flatten(1).sum(-1)
        own = self._roomy(self.space, batch)
        if own.ragged == self.space.ragged:
            measure = self.measure
        else:
            measure = own.measure
        return LogProb(
            scored.value,
            scored.kind,
            measure,
            scored.how,
            scored.stderr,
            scored.terms,
            dims=dims,
            seed=drew,
        )

    @final
    def complete(
        self,
        x: Any,
        *,
        n: int = 1,
        given: Any = None,
        seed: int | None = None,
        first: int = 0,
        route: str | None = None,
        settings: Any = None,
    ) -> Draws:
        """n draws of what is hidden given what is observed, x (n, B, *E); observed entries come back as they are.

        To the last bit of the law's own precision, which may be single.

        Raises:
            Unsupported: Where no route leads there, with the reasons.
        """
        chosen = self._seed(seed)
        asked = self._settings(settings)
        batch = self._batch(x, given)
        n = whole(n, "n", least=1)
        first = whole(first, "first")
        noise = replace(self._noise(chosen, batch.ids, "complete"), draw=first)
        parts = []
        for way, rows in self._ways("complete", route, batch):
            function = Distribution._complete_rows if way is None else way.function
            parts.append(
                (rows, self._completed(function, Question(batch[rows], noise[rows], asked, n=n)))
            )
        done = parts[0][1] if len(parts) == 1 else regrouped(parts)
        drawn = torch.where(batch.present[None], batch.x[None], done.x)
        if batch.within is not None:
            drawn = drawn.masked_fill(~batch.within[None], 0.0)
        if done.ess is not None:
            _warn_if_few(done.ess, done.kind)
        if done.ess is not None:
            size = done.ess
        else:
            size = torch.full((len(batch),), float(n), dtype=self.dtype)
        if batch.length is None:
            length = None
        else:
            length = batch.length.expand(n, -1)
        return Draws(
            drawn,
            self._roomy(self.space, batch),
            done.how,
            chosen,
            first,
            length,
            batch.given,
            done.evaluations,
            done.kind,
            done.log_weight,
            size,
            given_space=self.given_space,
            told=batch.present,
        )

    @final
    def forecast(
        self,
        x: Any,
        steps: int,
        *,
        n: int = 100,
        given: Any = None,
        seed: int | None = None,
        first: int = 0,
        settings: Any = None,
    ) -> Draws:
        """n draws of what comes next after each item that goes through time, x (n, B, steps, ...).

        It is `complete` of items that are so many steps longer; `Draws.quantiles(0.05, 0.95)` are
        an interval.

        Raises:
            Unsupported: Where nothing can come behind an item: `support("forecast")` says why.
            BadData: Where the law knows no items as long as that.
        """
        steps = whole(steps, "steps", least=1)
        self._need("forecast")
        batch = self._batch(x, given)
        if batch.length is None:
            length = torch.full_like(batch.ids, batch.x.shape[1])
        else:
            length = batch.length
        longer = after(replace(batch, length=length), steps)
        done = self.complete(
            longer, n=n, given=longer.given, seed=seed, first=first, settings=settings
        )
        ahead = length[:, None] + torch.arange(steps, device=batch.x.device)
        place = ahead.reshape(*ahead.shape, *[1] * (batch.x.dim() - 2)).expand(
            -1, -1, *batch.x.shape[2:]
        )
        return replace(
            done,
            x=done.x.gather(2, place.expand(n, *place.shape)),
            how=f"{steps} steps ahead, {done.how}",
            space=self.space.model_copy(
                update={"shape": (None, *self.space.shape[1:]), "longest": steps}
            ),
            told=None,
            length=torch.full_like(length, steps).expand(n, -1),
        )

    def _completed(
        self, function: Callable[[Distribution, Question], Completed], asked: Question
    ) -> Completed:
        """One way of completing, in tiles of rows."""
        return self._tiled(
            asked.batch.ids,
            asked.settings,
            lambda rows: Filled.of(
                function(self, replace(asked, batch=asked.batch[rows], noise=asked.noise[rows]))
            ),
            alike=asked.batch,
        ).completed

    @final
    def mode(self, x: Any = None, *, given: Any = None, settings: Any = None) -> Mode:
        """The most probable values of what is hidden (all, where x is None), given the rest."""
        asked = self._settings(settings)
        batch = self._batch(x, given)
        answer = self._route("mode", None, batch)
        noise = self._noise(0, batch.ids, "mode")
        function = Distribution._mode_rows if answer is None else answer.function
        return self._tiled(
            batch.ids,
            asked,
            lambda rows: function(self, Question(batch[rows], noise[rows], asked)),
            alike=batch,
        )

    @final
    def encode(
        self,
        x: Any,
        *,
        given: Any = None,
        effort: int | None = None,
        seed: int | None = None,
        settings: Any = None,
    ) -> RowDistribution:
        """The law of the code of each row: responsibilities, a posterior, a latent point."""
        self._need("encode")
        asked = self._settings(settings)
        batch = self._batch(x, given)
        noise = self._noise(self._seed(seed), batch.ids, "encode")

        def f(rows: Places) -> RowDistribution:
            inside, _, _ = self._inside(batch[rows], noise[rows])
            return self._encode(inside, noise[rows], effort, asked)

        return self._tiled(batch.ids, asked, f, alike=batch)

    @final
    def decode(self, z: Any, *, given: Any = None, settings: Any = None) -> RowDistribution:
        """The law of x for each code z (B, *codes); a point where the map is deterministic."""
        self._need("decode")
        codes = torch.as_tensor(z, dtype=self.dtype, device=self.device)
        batch = self._given(given)
        asked = self._settings(settings)
        index = torch.arange(len(codes))

        def f(rows: Places) -> RowDistribution:
            return self._decode(codes[rows], None if batch is None else batch[rows], index[rows])

        return self._tiled(index, asked, f)

    @final
    def classify(
        self,
        x: Any,
        *,
        prior: Any = None,
        effort: int | None = None,
        seed: int | None = None,
        route: str | None = None,
        settings: Any = None,
    ) -> Posterior:
        """p(y | x) for a nominal `given`, under the learned class prior or another one (K,)."""
        chosen = self._seed(seed)
        asked = self._settings(settings)
        batch = self._batch(x, None)
        answer = self._route("classify", route, batch)
        assert answer is not None
        noise = self._noise(chosen, batch.ids, "classify")
        if prior is None:
            weights = self.class_prior()
        else:
            weights = self._prior(prior)
        asking = Question(batch, noise, asked, effort=effort, prior=weights / weights.sum())
        with torch.no_grad(), self.asking():
            posterior: Posterior = answer.function(self, asking)
        return replace(posterior, seed=chosen)

    @final
    def anomaly_score(
        self,
        x: Any,
        *,
        given: Any = None,
        route: str | None = None,
        seed: int | None = None,
        settings: Any = None,
    ) -> Tensor:
        """How strange each row is, (B,): larger is stranger."""
        return self._asked_of_route("anomaly_score", x, given, route, seed, settings)

    @final
    def anomaly_map(
        self,
        x: Any,
        *,
        given: Any = None,
        route: str | None = None,
        seed: int | None = None,
        settings: Any = None,
    ) -> Tensor:
        """How strange each entry is, (B, *E): larger is stranger, 0 where hidden."""
        return self._asked_of_route("anomaly_map", x, given, route, seed, settings)

    @final
    def p_value(
        self, x: Any, *, given: Any = None, seed: int | None = None, settings: Any = None
    ) -> Tensor:
        """The conformal p-value of each row against held-out scores, (B,): (1 + #{s_i >= s}) / (n + 1)."""
        return self._asked_of_route("p_value", x, given, None, seed, settings)

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

    # ---- what the verbs rest on ------------------------------------------------------------------

    def _reasons(self, verb: str) -> str:
        from likeness.core.routes import ROUTES  # the list grows as layers above register theirs

        reasons = [why for r in ROUTES if r.verb == verb and (why := r.why_not(self))]
        if reasons:
            return f" ({'; '.join(reasons)})"
        return ""

    def _need(self, verb: str) -> None:
        answer = self.support(verb)
        if not answer:
            raise Unsupported(answer.why)

    def _route(self, verb: str, wanted: str | None, batch: Batch) -> Route | None:
        """The route to take for `verb` on these rows, None for the law's own hook."""
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
        patterns, of = batch.holes.flatten(1).unique(dim=0, return_inverse=True)
        first = [int((of == k).nonzero()[0]) for k in range(len(patterns))]
        chosen = [self._route(verb, None, batch[i : i + 1]) for i in first]
        labels = [None if c is None else c.name for c in chosen]
        names = dict(zip(labels, chosen, strict=True))
        each = [labels[k] for k in of.tolist()]
        return [
            (route, torch.tensor([i for i in rows.tolist() if each[i] == name]))
            for name, route in names.items()
        ]

    def _asked_of_route(
        self,
        verb: str,
        x: Any,
        given: Any,
        wanted: str | None,
        seed: int | None,
        settings: Any,
    ) -> Tensor:
        asked = self._settings(settings)
        batch = self._batch(x, given)
        route = self._route(verb, wanted, batch)
        assert route is not None
        noise = self._noise(self._seed(seed), batch.ids, verb)
        with torch.no_grad(), self.asking():
            out: Tensor = route.function(self, Question(batch, noise, asked))
        return out

    def _draws(
        self,
        x: Tensor,
        length: Tensor | None,
        path: Tensor | None,
        seed: int,
        first: int,
        given: Batch | None,
        settings: Any,
    ) -> Draws:
        how = self.how("sample", settings)
        calls = self.evaluations(settings)
        if path is None:
            path = None
        else:
            path = path.movedim(x.dim() - len(self.space.shape), 0)
        return Draws(
            x,
            self.space,
            how,
            seed,
            first,
            length,
            given,
            calls,
            path=path,
            given_space=self.given_space,
        )


def _warn_if_few(ess: Tensor, kind: Kind) -> None:
    if kind is not Kind.EXACT:
        poor = ess < FEW
    else:
        poor = torch.zeros_like(ess, dtype=torch.bool)
    if bool(poor.any()):
        warnings.warn(
            f"{int(poor.sum())} of {len(ess)} rows rest on fewer than {FEW} effective particles "
            f"(least {float(ess.min()):.1f}); raise settings particles=...",
            stacklevel=3,
        )


def _ratio(whole: Scored, part: Scored) -> Scored:
    """log p(a, b) - log p(b), the errors of the two added in squares."""
    errors = [s.stderr for s in (whole, part) if s.stderr is not None]
    if errors:
        stderr = torch.stack([e.square() for e in errors]).sum(0).sqrt()
    else:
        stderr = None
    return Scored(
        whole.value - part.value, minus(whole.kind, part.kind), f"{whole.how}, ratio", stderr
    )
