"""A Law answers verbs about p(x) or p(x | given) over a Space: models, worlds whose truth is known, and baselines.

The public verbs are final: they check, bring data into model units, compute in tiles of rows without gradients,
and type the answer. A law overrides hooks (`_sample`, `_log_prob`, ...), which see one checked batch in model units.
"""

from __future__ import annotations

import warnings
from abc import ABC
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, ClassVar, TypeVar, final

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
    add_correction,
    log_mean_exp,
    minus,
    no,
    regrouped,
)
from likeness.core.batch import Batch, as_batch, missing
from likeness.core.config import Settings as Asked
from likeness.core.errors import BadData, Unsupported
from likeness.core.noise import Noise, fresh_seed
from likeness.core.preprocessor import Filler, Preprocessor
from likeness.core.routes import Question, Route, routes_for
from likeness.core.rowlaw import RowLaw
from likeness.core.space import Space
from likeness.core.tree import aligned, join, take

STRICT_TILE = 8
HOOKS = ("sample", "log_prob", "complete", "mode", "encode", "decode")
CLASSES_SUMMED = 64
FEW = 50
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def absent(hook: F) -> F:
    """Mark a hook that a law does not have unless it overrides it."""
    hook.__absent__ = True  # type: ignore[attr-defined]
    return hook


class Law(ABC):
    """p(x) or p(x | given) over `space`.

    Attributes:
        space: What x is.
        given_space: What may be given, or None.
        codes: What `encode` speaks of, or None.
        preprocessor: The map to the reals that the hooks see, or None where they see data units.
        filler: The simple law that stands in for holes, or None where the hooks handle holes themselves.
        ends: Whether the law models the length of ragged items itself.
        default_effort: Monte-Carlo draws per item where nobody asks for another number.
    """

    Settings: ClassVar[type[Asked]] = Asked
    space: Space
    given_space: Space | None
    codes: Space | None
    preprocessor: Preprocessor | None
    filler: Filler | None
    default_effort: int = 1
    ends: bool = False

    def __init__(self, space: Space, given_space: Space | None = None) -> None:
        self.space, self.given_space, self.codes = space, given_space, None
        self.preprocessor, self.filler = None, None

    # ---- hooks: one checked batch in model units -------------------------------------------------------------------

    @absent
    def _sample(self, noise: Noise, given: Batch | None, length: Tensor | None, settings: Any) -> Tensor:
        """One item for each row of noise, (B, *E) in model units."""
        raise NotImplementedError

    def _trajectory(self, noise: Noise, given: Batch | None, length: Tensor | None, settings: Any) -> Tensor | None:
        """The items of `_sample` along the way, (B, T, *E), themselves last; None where they are not asked for."""
        return None

    @absent
    def _sample_ended(self, noise: Noise, given: Batch | None, settings: Any) -> tuple[Tensor, Tensor]:
        """Items of a law that models their end, and their lengths (B,); only where `ends` is set."""
        raise NotImplementedError

    @absent
    def _log_prob(self, batch: Batch, noise: Noise, effort: int | None, settings: Any) -> Scored:
        """Log p of each row in model units; holes only where `_marginal` says that they may come."""
        raise NotImplementedError

    @absent
    def _complete(self, batch: Batch, noise: Noise, n: int, settings: Any) -> Completed:
        """N draws of each row's hidden entries given the others; use noise.draws(n)."""
        raise NotImplementedError

    @absent
    def _mode(self, batch: Batch, settings: Any) -> Mode:
        """The most probable hidden entries of each row."""
        raise NotImplementedError

    @absent
    def _encode(self, batch: Batch, noise: Noise, effort: int | None, settings: Any) -> RowLaw:
        """The law of each row's code."""
        raise NotImplementedError

    @absent
    def _critic_score(self, batch: Batch, noise: Noise) -> Tensor:
        """How far from data a critic holds each row, (B,): larger is stranger, in units of its own."""
        raise NotImplementedError

    @absent
    def _decode(self, z: Tensor, given: Batch | None, index: Tensor) -> RowLaw:
        """The law of x for each code."""
        raise NotImplementedError

    def _pooled(self, values: Tensor, settings: Any) -> tuple[Tensor, Tensor | None]:
        """One value and its error from K draws of log p, (K, B): the log of the mean where exp of each has mean p."""
        return log_mean_exp(values)

    def _marginal(self, batch: Batch) -> str | None:
        """Why `_log_prob` does not answer these holes itself, or None where it does."""
        return "holes are left to a route"

    def _why_not(self, verb: str) -> str | None:
        """A reason of this very law why it has no such verb, or None."""
        return None

    def class_prior(self) -> Tensor:
        """p(y) over the classes of a nominal `given`, (K,)."""
        k = (self.given_space.label if self.given_space else None) or 1
        return torch.full((k,), 1.0 / k, dtype=self.dtype)

    def draw_length(self, noise: Noise, given: Batch | None) -> Tensor | None:
        """The lengths of new items of a ragged space, int64 (B,), which may follow from what is given."""
        return None

    def evaluations(self, settings: Any) -> int:
        """Network evaluations that one drawn item costs."""
        return 1

    def how(self, verb: str, settings: Any) -> str:
        """A few words on how a verb is answered."""
        return "own law"

    @property
    def measure(self) -> str:
        """What log p is taken against."""
        return self.space.measure

    @property
    def dtype(self) -> torch.dtype:
        """The type the law computes in."""
        return torch.float64

    @property
    def device(self) -> torch.device:
        """Where the law computes."""
        return torch.device("cpu")

    def asking(self) -> AbstractContextManager[Any]:
        """What surrounds every answer: a model stops its dropout."""
        return nullcontext()

    # ---- public verbs ----------------------------------------------------------------------------------------------

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

        Item i depends on (seed, first + i) only; with `given` on (seed, the row's index, first + draw).

        Raises:
            Unsupported: Where the law cannot sample, with the reason.
        """
        self._need("sample")
        chosen, asked = self._seed(seed), self._settings(settings)
        if given is None:
            noise = self._noise(chosen, torch.arange(first, first + n), "sample")
            x, length, path = self._tiled(noise.place, asked, lambda rows: self._sample_rows(noise[rows], None, asked))
            return self._draws(x, length, path, chosen, first, None, asked)
        batch = self._given(given)
        assert batch is not None
        flat = batch.repeat(n)
        noise = replace(self._noise(chosen, batch.ids, "sample"), draw=first).draws(n)
        drawn = self._tiled(noise.place, asked, lambda rows: self._sample_rows(noise[rows], flat[rows], asked))
        x, length, path = drawn
        x = x.reshape(n, len(batch), *x.shape[1:])
        length = None if length is None else length.reshape(n, len(batch))
        path = None if path is None else path.unflatten(0, (n, len(batch)))
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
        """Log p(x | given) in nats, (B,); with holes the marginal of what is observed.

        `evidence` (a mask over entries, or names) makes it log p(observed) - log p(observed and evidence).

        Raises:
            Unsupported: Where the law has no log p, with the reason.
            BadData: If a hidden entry is named as evidence.
        """
        self._need("log_prob")
        chosen, asked, batch = self._seed(seed), self._settings(settings), self._batch(x, given)
        noise = self._noise(chosen, batch.ids, "log_prob")
        scored = self._score(batch, noise, effort, asked)
        known = batch.present
        if evidence is not None:
            mask = self._evidence(evidence, batch)
            base = self._score(batch.hide(~mask), noise, effort, asked)
            scored, known = _ratio(scored, base), known & ~mask
        drew = chosen if scored.stderr is not None or scored.kind is not Kind.EXACT else None
        dims = known.flatten(1).sum(-1)
        return LogProb(
            scored.value, scored.kind, self.measure, scored.how, scored.stderr, scored.terms, dims=dims, seed=drew
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
        """N draws of what is hidden given what is observed, x (n, B, *E); observed entries come back bit-identical.

        Raises:
            Unsupported: Where no route leads there, with the reasons.
        """
        chosen, asked, batch = self._seed(seed), self._settings(settings), self._batch(x, given)
        noise = replace(self._noise(chosen, batch.ids, "complete"), draw=first)
        parts = []
        for way, rows in self._ways("complete", route, batch):
            function = Law._complete_rows if way is None else way.function
            parts.append((rows, self._completed(function, Question(batch[rows], noise[rows], asked, n=n))))
        done = parts[0][1] if len(parts) == 1 else regrouped(parts)
        drawn = torch.where(batch.present[None], batch.x[None], done.x)
        drawn = drawn if batch.within is None else drawn.masked_fill(~batch.within[None], 0.0)
        if done.ess is not None:
            _warn_if_few(done.ess, done.kind)
        size = done.ess if done.ess is not None else torch.full((len(batch),), float(n), dtype=self.dtype)
        length = None if batch.length is None else batch.length.expand(n, -1)
        return Draws(
            drawn, self.space, done.how, chosen, first, length, batch.given, done.evaluations, done.kind,
            done.log_weight, size,
        )  # fmt: skip

    def _completed(self, function: Callable[[Law, Question], Completed], asked: Question) -> Completed:
        """One way of completing, in tiles of rows."""
        return self._tiled(
            asked.batch.ids,
            asked.settings,
            lambda rows: Filled.of(function(self, replace(asked, batch=asked.batch[rows], noise=asked.noise[rows]))),
        ).completed

    @final
    def mode(self, x: Any = None, *, given: Any = None, settings: Any = None) -> Mode:
        """The most probable values of what is hidden (all, where x is None), given the rest."""
        asked = self._settings(settings)
        batch = self._batch(missing(self.space, 1, torch.zeros(1)) if x is None else x, given)
        answer = self._route("mode", None, batch)
        noise = self._noise(0, batch.ids, "mode")
        function = Law._mode_rows if answer is None else answer.function
        return self._tiled(batch.ids, asked, lambda rows: function(self, Question(batch[rows], noise[rows], asked)))

    @final
    def encode(
        self,
        x: Any,
        *,
        given: Any = None,
        effort: int | None = None,
        seed: int | None = None,
        settings: Any = None,
    ) -> RowLaw:
        """The law of the code of each row: responsibilities, a posterior, a latent point."""
        self._need("encode")
        asked, batch = self._settings(settings), self._batch(x, given)
        noise = self._noise(self._seed(seed), batch.ids, "encode")

        def f(rows: Tensor) -> RowLaw:
            inside, _, _ = self._inside(batch[rows], noise[rows])
            return self._encode(inside, noise[rows], effort, asked)

        return self._tiled(batch.ids, asked, f)

    @final
    def decode(self, z: Any, *, given: Any = None, settings: Any = None) -> RowLaw:
        """The law of x for each code z (B, *codes); a point where the map is deterministic."""
        self._need("decode")
        codes = torch.as_tensor(z, dtype=self.dtype, device=self.device)
        batch, asked = self._given(given), self._settings(settings)
        index = torch.arange(len(codes))

        def f(rows: Tensor) -> RowLaw:
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
        chosen, asked, batch = self._seed(seed), self._settings(settings), self._batch(x, None)
        answer = self._route("classify", route, batch)
        assert answer is not None
        noise = self._noise(chosen, batch.ids, "classify")
        weights = self.class_prior() if prior is None else torch.as_tensor(prior, dtype=self.dtype)
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
    def p_value(self, x: Any, *, given: Any = None, seed: int | None = None, settings: Any = None) -> Tensor:
        """The conformal p-value of each row against held-out scores, (B,): (1 + #{s_i >= s}) / (n + 1)."""
        return self._asked_of_route("p_value", x, given, None, seed, settings)

    @final
    def support(self, verb: str) -> Answer:
        """Whether and by which routes the verb can be answered, best first; else why not."""
        own = verb in HOOKS and self.has(f"_{verb}")
        reason = self._why_not(verb)
        if reason is not None:
            return no(reason)
        routes = routes_for(self, verb)
        names = (("own hook",) if own else ()) + tuple(r.name for r in routes)
        if names:
            return Answer(ok=True, routes=names, kinds=tuple(r.kind for r in routes))
        return no(f"{type(self).__name__} has no {verb}" + self._reasons(verb))

    @final
    def has(self, hook: str) -> bool:
        """Whether the law has a hook of its own."""
        return not hasattr(getattr(type(self), hook), "__absent__")

    # ---- what the verbs rest on ------------------------------------------------------------------------------------

    def _reasons(self, verb: str) -> str:
        from likeness.core.routes import ROUTES  # the list grows as layers above register theirs

        reasons = [why for r in ROUTES if r.verb == verb and (why := r.why_not(self))]
        return f" ({'; '.join(reasons)})" if reasons else ""

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
                f"{verb} has no route for these rows", do=f"routes for others: {', '.join(self.support(verb).routes)}"
            )
        if wanted is not None and wanted not in names:
            raise Unsupported(f"{verb} has no route {wanted!r} here", do=f"choose among {', '.join(names)}")
        return routes.get(wanted or names[0])

    def _ways(self, verb: str, wanted: str | None, batch: Batch) -> list[tuple[Route | None, Tensor]]:
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
        return [(route, torch.tensor([i for i in rows.tolist() if each[i] == name])) for name, route in names.items()]

    def _asked_of_route(
        self,
        verb: str,
        x: Any,
        given: Any,
        wanted: str | None,
        seed: int | None,
        settings: Any,
    ) -> Tensor:
        asked, batch = self._settings(settings), self._batch(x, given)
        route = self._route(verb, wanted, batch)
        assert route is not None
        noise = self._noise(self._seed(seed), batch.ids, verb)
        with torch.no_grad(), self.asking():
            out: Tensor = route.function(self, Question(batch, noise, asked))
        return out

    def _settings(self, settings: Any) -> Any:
        return self.Settings.parse(settings or {}) if settings is None or type(settings) is dict else settings

    def _seed(self, seed: int | None) -> int:
        return fresh_seed() if seed is None else seed

    def _noise(self, seed: int, index: Tensor, scope: str) -> Noise:
        return Noise(seed, index.to(self.device), scope=scope, dtype=self.dtype)

    def _batch(self, x: Any, given: Any) -> Batch:
        batch = as_batch(self.space, x).to(dtype=self.dtype, device=self.device)
        condition = batch.given if given is None else self._given(given)
        if condition is not None and len(condition) != len(batch):
            raise BadData(f"{len(batch)} rows but {len(condition)} conditions", do="give one condition a row")
        return replace(batch, given=None if self.given_space is None else condition)

    def _given(self, given: Any) -> Batch | None:
        if given is None:
            return None
        if self.given_space is None:
            raise Unsupported("this law was fitted without `given`", do="fit again with lk.fit(..., given=...)")
        return as_batch(self.given_space, given).to(dtype=self.dtype, device=self.device)

    def _evidence(self, evidence: Any, batch: Batch) -> Tensor:
        """Evidence as a mask (B, *E); entries by name are columns of the last axis."""
        if isinstance(evidence, Sequence) and evidence and isinstance(evidence[0], str):
            names = self.space.names or ()
            unknown = [e for e in evidence if e not in names]
            if unknown:
                raise BadData(f"no column {unknown[0]!r}", do=f"the columns are {', '.join(names)}")
            mask = torch.tensor([n in evidence for n in names]).expand(batch.x.shape)
        else:
            mask = torch.as_tensor(evidence, dtype=torch.bool).expand(batch.x.shape)
        hidden = mask & batch.holes
        if bool(hidden.any()):
            row = int(torch.nonzero(hidden)[0, 0])
            raise BadData("a hidden entry cannot be evidence", where=f"row {row}", do="leave it out of the evidence")
        return mask

    def _tiled(self, place: Tensor, settings: Asked, f: Callable[[Tensor], T], cost: int = 1) -> T:
        """F over tiles of rows: as many as memory allows; where strict 8, each row in the slot that its place chooses.

        A kernel's bits may depend on where in memory a row lies, so a row's slot is a property of its item and draw.
        """
        rows = torch.arange(len(place))
        with torch.no_grad(), self.asking():
            if not settings.strict or not len(place):
                return join([f(part) for part in rows.split(max(1, settings.rows // cost))])
            tiles, where = aligned(place.cpu(), STRICT_TILE)
            return take(join([f(tile) for tile in tiles]), where)

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
        how, calls = self.how("sample", settings), self.evaluations(settings)
        path = None if path is None else path.movedim(1 if given is None else 2, 0)
        return Draws(x, self.space, how, seed, first, length, given, calls, path=path)

    def _sample_rows(
        self, noise: Noise, given: Batch | None, settings: Any
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Items, their lengths, and where asked for the items along the way (B, T, *E), all in data units."""
        given = self._drawn_given(noise, given)
        length = (
            self.draw_length(noise, given) if settings.length is None else torch.full_like(noise.index, settings.length)
        )
        length = length if self.space.ragged else None
        if self.ends and settings.length is None:
            x, length = self._sample_ended(noise, given, settings)
            return self._outside(x, length), length, None
        path = self._trajectory(noise, given, length, settings)
        if path is None:
            return self._outside(self._sample(noise, given, length, settings), length), length, None
        many = None if length is None else length.repeat_interleave(path.shape[1])
        path = self._outside(path.flatten(0, 1), many).unflatten(0, path.shape[:2])
        return path[:, -1], length, path

    def _outside(self, x: Tensor, length: Tensor | None) -> Tensor:
        """Items in data units, 0 past their lengths."""
        x = x if self.preprocessor is None else self.preprocessor.inverse(x)
        within = Batch(x, length=length).within
        return x if within is None else x.masked_fill(~within, 0.0)

    def _drawn_given(self, noise: Noise, given: Batch | None) -> Batch | None:
        """A missing label is drawn from the class prior; any other missing `given` is shown as missing."""
        if self.given_space is None:
            return None
        if given is None:
            given = missing(self.given_space, noise.rows, torch.zeros(1, dtype=self.dtype, device=self.device))
        if not self._sums_classes() or given.full:
            return given
        cdf = self.class_prior().cumsum(0)
        label = (cdf[:-1] <= noise.uniform("label", 1) * cdf[-1]).sum(-1, keepdim=True).to(self.dtype)
        return Batch(torch.where(given.present, given.x, label), index=given.ids)

    def _sums_classes(self) -> bool:
        classes = self.given_space.label if self.given_space else None
        return classes is not None and classes <= CLASSES_SUMMED

    def _inside(self, batch: Batch, noise: Noise) -> tuple[Batch, Tensor, Kind]:
        """A batch in model units, the correction to log p (B,) and its kind; holes stay holes."""
        if self.given_space is not None and batch.given is None:
            batch = replace(batch, given=missing(self.given_space, len(batch), batch.x))
        if self.preprocessor is None:
            return batch, batch.x.new_zeros(len(batch)), Kind.EXACT
        return self.preprocessor.forward(batch, noise)

    def _score(self, batch: Batch, noise: Noise, effort: int | None, settings: Any) -> Scored:
        """Log p of each row in data units, by the own hook or, where holes need one, by a route."""
        function: Callable[[Law, Question], Scored] = Law._score_rows
        if not batch.full and self.filler is None and (why := self._marginal(batch)) is not None:
            routes = routes_for(self, "log_prob with holes", batch)
            if not routes:
                raise Unsupported(f"log p of rows with holes: {why}")
            function = routes[0].function
        cost = effort or self.default_effort
        return self._tiled(
            batch.ids, settings,
            lambda rows: function(self, Question(batch[rows], noise[rows], settings, effort=effort)), cost,
        )  # fmt: skip

    def _score_rows(self, question: Question) -> Scored:
        """One tile: a missing label is summed over, log p(x) = logsumexp_y log p(y) + log p(x | y)."""
        batch = question.batch
        if not self._sums_classes() or (batch.given is not None and batch.given.full):
            return self._score_inside(question)
        assert self.given_space is not None
        given = batch.given or missing(self.given_space, len(batch), batch.x)
        parts = []
        for y in range(self.given_space.label or 0):
            under = replace(batch, given=Batch(torch.where(given.present, given.x, float(y)), index=given.ids))
            parts.append(self._score_inside(replace(question, batch=under)))
        return _summed(parts, self.class_prior().log(), given)

    def _score_inside(self, question: Question) -> Scored:
        """Log p in data units of rows under a known condition: the hook, the preprocessor, the filler."""
        batch, noise, effort, settings = question.batch, question.noise, question.effort, question.settings
        fills = self.filler is not None and not batch.full and self._marginal(batch) is not None
        drawn = (self.preprocessor is not None and self.preprocessor.stochastic) or fills
        if not drawn:
            inside, correction, kind = self._inside(batch, noise)
            scored = self._log_prob(inside, noise, effort, settings)
            return add_correction(scored, correction, kind, self.preprocessor.how if self.preprocessor else "")
        k = effort or self.default_effort
        many, wide = batch.repeat(k), noise.draws(k)
        scored = self._score_filled(many, wide, settings, fills)
        value, stderr = self._pooled(scored.value.reshape(k, -1), settings)
        return Scored(value, scored.kind, f"{scored.how}, {k} draw{'s' if k > 1 else ''}", stderr)

    def _score_filled(self, batch: Batch, noise: Noise, settings: Any, fills: bool) -> Scored:
        inside, correction, kind = self._inside(batch, noise)
        how = self.preprocessor.how if self.preprocessor else ""
        if fills:
            assert self.filler is not None
            inside, minus_log_q = self.filler.fill(inside, noise)
            correction, kind, how = (
                correction + minus_log_q,
                Kind.LOWER_BOUND,
                f"{how}, holes filled by {self.filler.how}".lstrip(", "),
            )
        return add_correction(self._log_prob(inside, noise, 1, settings), correction, kind, how)

    def _complete_rows(self, question: Question) -> Completed:
        known = not self._sums_classes() or (question.batch.given is not None and question.batch.given.full)
        if known and (self.preprocessor is None or not self.preprocessor.stochastic):
            return self._complete_inside(question, question.n)
        n, rows = question.n, len(question.batch)
        many = replace(question, batch=question.batch.repeat(n), noise=question.noise.draws(n), n=1)
        done = self._complete_inside(many if known else self._labelled(question), 1)
        weight = None if done.log_weight is None else done.log_weight.reshape(n, rows)
        ess = None if done.ess is None else done.ess.reshape(n, rows).mean(0) * n
        return replace(done, x=done.x.reshape(n, rows, *done.x.shape[2:]), log_weight=weight, ess=ess)

    def _complete_inside(self, question: Question, n: int) -> Completed:
        """What is hidden, drawn in model units; where those are drawn too, not from the law's own conditional."""
        inside, _, kind = self._inside(question.batch, question.noise)
        done = self._complete(inside, question.noise, n, question.settings)
        if self.preprocessor is None:
            return done
        x = self.preprocessor.inverse(done.x.flatten(0, 1))
        drawn = done.kind if kind is Kind.EXACT else Kind.ESTIMATE
        return replace(done, x=x.reshape(*done.x.shape[:2], *x.shape[1:]), kind=drawn)

    def _labelled(self, question: Question) -> Question:
        """N copies of the rows, each missing label drawn from p(y | what is observed)."""
        batch, n = question.batch, question.n
        assert self.given_space is not None
        given = batch.given or missing(self.given_space, len(batch), batch.x)
        asked = (question.noise, None, question.settings)
        scores = [
            self._score(replace(batch, given=given.with_x(torch.full_like(given.x, y))), *asked).value
            for y in range(self.given_space.label or 0)
        ]
        cdf = (torch.stack(scores, -1) + self.class_prior().log()).softmax(-1).cumsum(-1).repeat(n, 1)
        noise, given = question.noise.draws(n), given.repeat(n)
        label = (cdf[:, :-1] <= noise.uniform("label", 1) * cdf[:, -1:]).sum(-1, keepdim=True).to(given.x.dtype)
        known = given.with_x(torch.where(given.present, given.x, label))
        return replace(question, batch=replace(batch.repeat(n), given=known), noise=noise, n=1)

    def _mode_rows(self, question: Question) -> Mode:
        inside, _, _ = self._inside(question.batch, question.noise)
        mode = self._mode(inside, question.settings)
        x = mode.batch.x if self.preprocessor is None else self.preprocessor.inverse(mode.batch.x)
        x = torch.where(question.batch.present, question.batch.x, x)
        return replace(mode, batch=question.batch.with_x(x))


def _warn_if_few(ess: Tensor, kind: Kind) -> None:
    poor = (ess < FEW) if kind is not Kind.EXACT else torch.zeros_like(ess, dtype=torch.bool)
    if bool(poor.any()):
        warnings.warn(
            f"{int(poor.sum())} of {len(ess)} rows rest on fewer than {FEW} effective particles (least {float(ess.min()):.1f}); "
            "raise settings particles=...",
            stacklevel=3,
        )


def _ratio(whole: Scored, part: Scored) -> Scored:
    """Log p(a, b) - log p(b), the errors of the two added in squares."""
    errors = [s.stderr for s in (whole, part) if s.stderr is not None]
    stderr = torch.stack([e.square() for e in errors]).sum(0).sqrt() if errors else None
    return Scored(whole.value - part.value, minus(whole.kind, part.kind), f"{whole.how}, ratio", stderr)


def _summed(parts: list[Scored], log_prior: Tensor, given: Batch) -> Scored:
    """The sum over classes where the label is missing; where it is known every part is the label's own term."""
    values = torch.stack([p.value for p in parts], -1) + log_prior
    known = given.present.flatten(1).all(-1)
    alone, total = parts[0].value, torch.logsumexp(values, -1)
    stderr = None
    if parts[0].stderr is not None:
        errors = torch.stack([p.stderr for p in parts if p.stderr is not None], -1)
        stderr = ((values - total[:, None]).exp() * errors).square().sum(-1).sqrt()
    kind = max(p.kind for p in parts)
    return Scored(torch.where(known, alone, total), kind, f"{parts[0].how}, summed over classes", stderr)
