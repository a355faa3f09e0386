"""A distribution over a Space answers verbs about p(x) or p(x | given).

Models, synthetic distributions whose truth is known, and baselines are distributions.

The public verbs are final: they check, bring data into model units, compute in tiles of rows
without gradients, and type the answer. A distribution overrides hooks (`_sample`, `_log_prob`, ...), which
see one checked batch in model units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar, final

import torch
from torch import Tensor

from likeness.core import inputs, routes, scoring
from likeness.core.answers import (
    Answer,
    Completed,
    Filled,
    Kind,
    LogProb,
    Mode,
    Posterior,
    regrouped,
)
from likeness.core.batch import Batch, Places, after
from likeness.core.draws import Draws
from likeness.core.empty import answers_no_rows, full_row, no_draws, none_of
from likeness.core.hooks import Hooks
from likeness.core.inputs import whole
from likeness.core.reach import at_the_edge, refuse_nan, refuse_nans
from likeness.core.routes import Question
from likeness.core.row_distribution import RowDistribution

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Distribution(Hooks):
    """p(x) or p(x | given) over `space`: the public verbs, which are final. `Hooks` holds what is overridden."""

    # ---- public verbs ----------------------------------------------------------------------------

    @final
    def support(self, verb: str) -> Answer:
        """Whether and by which routes the verb can be answered, best first; else why not."""
        return routes.support(self, verb)

    @final
    def held(self, batch: Batch) -> Batch:
        """Checked rows and their condition within reach, in the distribution's type."""
        return inputs.held(self, batch)

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
            Unsupported: Where the distribution cannot sample, with the reason.
        """
        routes.need(self, "sample")
        chosen = inputs.seed_of(seed)
        asked = inputs.settings_of(self, settings)
        n = inputs.number_of(self, n, 1, least=0)
        first = whole(first, "first")
        if not n:
            one = self.sample(given=given, seed=chosen, first=first, settings=asked)
            return no_draws(one)
        if given is None:
            inputs.need_condition(self, None)
            noise = inputs.noise_of(self, chosen, torch.arange(first, first + n), "sample")
            x, length, path = scoring.tiled(
                self,
                noise.place,
                asked,
                lambda rows: scoring.sample_rows(self, noise[rows], None, asked),
            )
            if self.sums_classes():
                told = scoring.drawn_given(self, noise, None)
            else:
                told = None
            return self._draws(x, length, path, chosen, first, told, asked)
        batch = inputs.condition_of(self, given)
        if not len(batch) and self.given_space is not None:
            stand_in = full_row(self.given_space, self.dtype)
            return none_of(self.sample(n, given=stand_in, seed=chosen, first=first, settings=asked))
        flat = batch.repeat(n)
        noise = replace(inputs.noise_of(self, chosen, batch.ids, "sample"), draw=first).draws(n)
        drawn = scoring.tiled(
            self,
            noise.place,
            asked,
            lambda rows: scoring.sample_rows(self, noise[rows], flat[rows], asked),
            alike=flat,
        )
        x, length, path = drawn
        x = x.reshape(n, len(batch), *x.shape[1:])
        if length is not None:
            length = length.reshape(n, len(batch))
        if path is not None:
            path = path.unflatten(0, (n, len(batch)))
        return self._draws(x, length, path, chosen, first, batch, asked)

    @final
    @answers_no_rows
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
            Unsupported: Where the distribution has no log p, with the reason.
            BadData: If a hidden entry is named as evidence.
        """
        routes.need(self, "log_prob")
        chosen = inputs.scoring_seed(seed)
        asked = inputs.settings_of(self, settings)
        rows = inputs.rows_of(self, x, given)
        batch = rows.batch
        noise = inputs.noise_of(self, chosen, batch.ids, "log_prob")
        draws = inputs.effort_of(effort)
        scored = scoring.score(self, batch, noise, draws, asked)
        present = batch.present
        if evidence is not None:
            mask = inputs.evidence_mask(self, evidence, batch)
            base = scoring.score(self, batch.hide(~mask), noise, draws, asked)
            scored = scoring.ratio(scored, base)
            present = present & ~mask
        if rows.far:
            scored = at_the_edge(scored)
        refuse_nan("log p", scored.value, batch.ids)
        if scored.stderr is not None or scored.kind is not Kind.EXACT:
            drew = chosen
        else:
            drew = None
        dims = present.flatten(1).sum(-1)
        own = inputs.roomy(self, self.space, batch)
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
    @answers_no_rows
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

        To the last bit of the distribution's own precision, which may be single.

        Raises:
            Unsupported: Where no route leads there, with the reasons.
        """
        chosen = inputs.seed_of(seed)
        asked = inputs.settings_of(self, settings)
        rows = inputs.rows_of(self, x, given)
        batch = rows.batch
        n = inputs.number_of(self, n, len(batch), least=1)
        first = whole(first, "first")
        noise = replace(inputs.noise_of(self, chosen, batch.ids, "complete"), draw=first)
        parts = []
        for way, some in routes.ways(self, "complete", route, batch):
            function = scoring.complete_rows if way is None else way.function
            parts.append(
                (some, self._completed(function, Question(batch[some], noise[some], asked, n=n)))
            )
        done = parts[0][1] if len(parts) == 1 else regrouped(parts)
        completed = torch.where(batch.present[None], rows.x[None], done.x)
        refuse_nan("what is hidden", completed, batch.ids, axis=1)
        if batch.within is not None:
            completed = completed.masked_fill(~batch.within[None], 0.0)
        size = torch.full((len(batch),), float(n), dtype=self.dtype)
        if done.ess is not None:
            scoring.warn_if_few(done.ess, done.kind)
            size = done.ess
        if batch.length is None:
            length = None
        else:
            length = batch.length.expand(n, -1)
        return Draws(
            completed,
            inputs.roomy(self, self.space, batch),
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
    @answers_no_rows
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
            BadData: Where the distribution knows no items as long as that.
        """
        steps = whole(steps, "steps", least=1)
        routes.need(self, "forecast")
        batch = inputs.batch_of(self, x, given)
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
        return scoring.tiled(
            self,
            asked.batch.ids,
            asked.settings,
            lambda rows: Filled.of(
                function(self, replace(asked, batch=asked.batch[rows], noise=asked.noise[rows]))
            ),
            alike=asked.batch,
        ).completed

    @final
    @answers_no_rows
    def mode(self, x: Any = None, *, given: Any = None, settings: Any = None) -> Mode:
        """The most probable values of what is hidden (all, where x is None), given the rest."""
        asked = inputs.settings_of(self, settings)
        rows = inputs.rows_of(self, x, given)
        batch = rows.batch
        answer = routes.route_of(self, "mode", None, batch)
        noise = inputs.noise_of(self, 0, batch.ids, "mode")
        function = scoring.mode_rows if answer is None else answer.function
        best: Mode = scoring.tiled(
            self,
            batch.ids,
            asked,
            lambda some: function(self, Question(batch[some], noise[some], asked)),
            alike=batch,
        )
        values = torch.where(batch.present, rows.x, best.x)
        refuse_nan("the mode", values, batch.ids)
        return replace(best, batch=replace(best.batch, x=values))

    @final
    @answers_no_rows
    def encode(
        self,
        x: Any,
        *,
        given: Any = None,
        effort: int | None = None,
        seed: int | None = None,
        settings: Any = None,
    ) -> RowDistribution:
        """The distribution of the code of each row: responsibilities, a posterior, a latent point."""
        routes.need(self, "encode")
        asked = inputs.settings_of(self, settings)
        batch = inputs.batch_of(self, x, given)
        draws = inputs.effort_of(effort, least=0)
        noise = inputs.noise_of(self, inputs.scoring_seed(seed), batch.ids, "encode")

        def f(rows: Places) -> RowDistribution:
            inside, _, _ = scoring.to_model_units(self, batch[rows], noise[rows])
            return self._encode(inside, noise[rows], draws, asked)

        law: RowDistribution = scoring.tiled(self, batch.ids, asked, f, alike=batch)
        refuse_nans("the code", law, batch.ids)
        return law

    @final
    def decode(self, z: Any, *, given: Any = None, settings: Any = None) -> RowDistribution:
        """The distribution of x for each code z (B, *codes); a point where the map is deterministic."""
        routes.need(self, "decode")
        codes = torch.as_tensor(z, dtype=self.dtype, device=self.device)
        batch = inputs.given_of(self, given)
        asked = inputs.settings_of(self, settings)
        index = torch.arange(len(codes))
        if not len(codes):
            one = codes.new_zeros(1, *codes.shape[1:])
            return self.decode(one, settings=asked)[:0]

        def f(rows: Places) -> RowDistribution:
            return self._decode(codes[rows], None if batch is None else batch[rows], index[rows])

        law: RowDistribution = scoring.tiled(self, index, asked, f)
        refuse_nans("what the code stands for", law, index)
        return law

    @final
    @answers_no_rows
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
        chosen = inputs.scoring_seed(seed)
        asked = inputs.settings_of(self, settings)
        batch = inputs.batch_of(self, x, None)
        answer = routes.registered_route(self, "classify", route, batch)
        noise = inputs.noise_of(self, chosen, batch.ids, "classify")
        if prior is None:
            weights = self.class_prior()
        else:
            weights = inputs.class_weights(self, prior)
        draws = inputs.effort_of(effort)
        asking = Question(batch, noise, asked, effort=draws, prior=weights / weights.sum())
        with torch.no_grad(), self.asking():
            posterior: Posterior = answer.function(self, asking)
        refuse_nan("p(y | x)", posterior.logits, batch.ids)
        return replace(posterior, seed=chosen)

    @final
    @answers_no_rows
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
    @answers_no_rows
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
    @answers_no_rows
    def p_value(
        self, x: Any, *, given: Any = None, seed: int | None = None, settings: Any = None
    ) -> Tensor:
        """The conformal p-value of each row against held-out scores, (B,): (1 + #{s_i >= s}) / (n + 1)."""
        return self._asked_of_route("p_value", x, given, None, seed, settings)

    # ---- what the verbs rest on ------------------------------------------------------------------

    def _asked_of_route(
        self,
        verb: str,
        x: Any,
        given: Any,
        wanted: str | None,
        seed: int | None,
        settings: Any,
    ) -> Tensor:
        asked = inputs.settings_of(self, settings)
        batch = inputs.batch_of(self, x, given)
        route = routes.registered_route(self, verb, wanted, batch)
        noise = inputs.noise_of(self, inputs.scoring_seed(seed), batch.ids, verb)
        with torch.no_grad(), self.asking():
            out: Tensor = route.function(self, Question(batch, noise, asked))
        refuse_nan(verb.replace("_", " "), out, batch.ids)
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
        refuse_nan("what was drawn", x.flatten(1), torch.arange(first, first + len(x)))
        how = self.how("sample", settings)
        calls = self.evaluations(settings)
        if path is not None:
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
