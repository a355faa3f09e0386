"""Autoregressive models: p(x) = product of p(x_i | those before it), by masked, convolutional or sequence nets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypeVar, cast

import torch
from torch import Tensor

from likeness.core import plates
from likeness.core.answers import Completed, Kind, Mode, Scored, regrouped, rescored
from likeness.core.batch import Batch, missing
from likeness.core.config import GradientConfig, option
from likeness.core.learner import FullBatch, Gradient, Learner, Phase
from likeness.core.model import Model
from likeness.core.noise import Noise
from likeness.core.preprocessor import Source
from likeness.core.routes import Question
from likeness.core.space import Space
from likeness.heads.choice import bounds_refused
from likeness.heads.columns import Column, Columns
from likeness.heads.ends import log_end, stop_logits
from likeness.nets.causal import AnyOrder, CausalNet, Masked, Passes, Pixel, Steps
from likeness.nets.conditioner import Conditioner
from likeness.numerics.stable import log_mean_exp
from likeness.registry import Card, register
from likeness.routes.by_rows import answered
from likeness.routes.enumerate_states import best, drawn, states_of, summed
from likeness.routes.particles import cloud, resampled

T = TypeVar("T")
LARGE = 400  # entries from which images and sequences get nets of their own
WALKS = 32  # particles of a net of any order, whose proposals have seen all that is known


class AutoregressiveConfig(GradientConfig):
    """Options of `autoregressive`."""

    net: Literal["auto", "masked", "pixel", "sequence", "any_order"] = option(
        "auto",
        "masked: one order of your choice; any_order: all orders at once; pixel: causal convolutions; "
        "sequence: a causal transformer; auto: by size",
    )
    hidden: tuple[int, ...] = option(
        (256, 256), "widths of a masked net's hidden layers; () is logistic"
    )
    width: int = option(64, "channels of a pixel or sequence net", ge=2)
    depth: int = option(6, "layers of a pixel or sequence net", ge=1)
    patch: int = option(
        1,
        "side of the squares of pixels that a pixel net takes together, one after the other",
        ge=1,
    )
    order: tuple[int, ...] | Literal["natural", "reverse"] = option(
        "natural", "the order of a masked net's variables"
    )
    window: int | None = option(
        None, "previous variables that each one sees: none for all, 0 independent, 1 Markov", ge=0
    )
    components: int = option(
        8, "components of a mixture for one real or many-levelled variable", ge=1
    )
    real: Literal["mixture", "spline", "log"] = option(
        "mixture",
        "distribution of a real variable given those before it; spline: with edges and gaps, always so within bounds; "
        "log: a mixture on a logarithmic axis, for values of many orders of magnitude; of rounded ones a mixture",
    )
    bins: int = option(16, "pieces of a spline", ge=2)
    end: bool = option(
        False, "whether ragged rows model their own end, so that log p speaks of the length too"
    )
    l2: float = option(
        0.0, "penalty on the weights of a logistic model (hidden=())", "objective", ge=0
    )
    context: int = option(64, "numbers that stand for what is given", ge=1)
    lr: float = option(3e-3, "peak learning rate of Adam", "optimiser", gt=0)


@register(
    Card(
        "autoregressive",
        "Autoregressive net",
        "autoregressive",
        "Germain, Gregor, Murray, Larochelle, MADE",
        2015,
        "One variable after the other: exact probabilities of anything, samples in as many short steps.",
    )
)
class Autoregressive(Model):
    """log p(x) = sum over i of log p(x_i | x_<i), each from a head whose parameters a causal net puts out.

    With missing entries: exact where they end the order or have at most 4,096 joint states, else sequential
    importance sampling, whose mean is p: a LOWER_BOUND on log p. A net of any order has the distribution
    of its declared order; its other conditionals propose the missing entries.
    """

    Config = AutoregressiveConfig
    start: Tensor
    stopping: Tensor
    into: Tensor
    out_of: Tensor

    def __init__(
        self, config: AutoregressiveConfig, space: Space, given_space: Space | None = None
    ) -> None:
        super().__init__(config, space, given_space)
        self.columns = Columns(
            space,
            components=config.components,
            real=config.real,
            bins=config.bins,
            presence=not self._logistic,
        )
        self.ends = config.end and space.ragged
        self.conditioner = Conditioner(space, given_space, config.context, by_length=not self.ends)
        self.agnostic = config.net == "any_order"
        self.net: CausalNet = _net(
            config, space, self.columns, self.conditioner.size, ends=self.ends
        )
        self.register_buffer("start", torch.zeros(self.columns.size))
        if self.ends:
            self.register_buffer("stopping", torch.zeros(space.layout[0]))
        # From numbers laid out by head to the layout by variable, and back.
        into = self.columns.feature_owner.argsort(stable=True)
        self.register_buffer("into", into, persistent=False)
        out_of = self.columns.owner.argsort(stable=True).argsort()
        self.register_buffer("out_of", out_of, persistent=False)

    @property
    def heads(self) -> list[Column]:
        """The head of each entry of the last axis, as it is now: fitting moves location and scale."""
        return [self.columns.column(v) for v in range(self.space.width)]

    @property
    def _logistic(self) -> bool:
        return self.config.hidden == () and self.config.net in {"auto", "masked"}

    @classmethod
    def _refuse(cls, config: Any, space: Space, given_space: Space | None) -> str | None:
        if config.net == "pixel" and (len(space.shape) != 3 or not space.homogeneous):
            return "a pixel net takes images (C, H, W) of one variable: take net=masked"
        if config.patch > 1 and _kind(config, space) != "pixel":
            return f"patch={config.patch} is of a pixel net: take net=pixel, or patch=1"
        if config.patch > 1 and any(side % config.patch for side in space.layout[1:]):
            return f"patch={config.patch} does not divide an image's height and width: take patch=1"
        if config.net == "any_order" and config.end:
            return "a net of any order has no end of rows: take net=masked"
        if config.net == "sequence" and not space.ragged:
            return "a sequence net takes ragged rows: take net=masked"
        return bounds_refused(space)

    @classmethod
    def small(cls, space: Space) -> dict[str, Any]:
        """A quick model for checks: few steps must teach it the distribution without a condition too."""
        sizes = {"hidden": (48,), "components": 4, "context": 16}
        return {**sizes, "drop_given": 0.5, "batch": 128, "lr": 1e-2, "ema": 0.99}

    def graph(self) -> plates.Graph:
        """An entry and those before it."""
        if self.space.dims == 1 and not self.space.ragged:
            return super().graph()
        window = self.config.window
        entry = plates.entry(self.space)
        before = plates.Node(
            "x", "observed", entry, "<i", "all before" if window is None else f"the last {window}"
        )
        x = plates.Node("x", "observed", entry, "i")
        more = () if window == 0 else (before,)
        inner = plates.Plate(plates.steps(self.space, "i"), (*(n.key for n in more), x.key))
        return plates.rows(self, *more, x=x, ties=plates.edges(more, x.key), inner=(inner,))

    # ---- learning --------------------------------------------------------------------------------

    def _prepare(self, source: Source) -> None:
        self.columns.fit(b.to(dtype=self.dtype) for b in source.chunks(65536))
        self.start = self.columns.start().to(self.start)
        if self.ends:
            lengths = (b.length for b in source.chunks(65536) if b.length is not None)
            self.stopping = stop_logits(lengths, self.space.layout[0]).to(self.stopping)
        self.conditioner.fit(source)

    def learner(self) -> Learner:
        """Stochastic gradients; L-BFGS for a logistic model, whose objective is convex."""
        c: AutoregressiveConfig = self.config
        loss = partial(self.__call__, phase="likelihood")
        if not self._logistic or self.given_space is not None:
            return Gradient((Phase("likelihood", loss, list(self.parameters())),))
        slopes = [p for name, p in self.net.named_parameters() if p.dim() > 1]
        return FullBatch(loss, list(self.parameters()), l2=c.l2, penalised=slopes)

    def forward(self, batch: Batch, noise: Noise, phase: str) -> dict[str, Tensor]:
        """-log p of what is present, (B,)."""
        if self.agnostic:
            return {"nll": self._agnostic_loss(batch, noise)}
        value, end = self._chain(batch, batch.present)
        if end is None:
            return {"nll": -value}
        return {"nll": -value, "end": -end}

    # ---- the chain -------------------------------------------------------------------------------

    def _context(self, batch: Batch) -> Tensor | None:
        """The conditioning vector of each row, (B, C)."""
        context: Tensor | None = self.conditioner(batch.given, batch.length, len(batch))
        return context

    def _agnostic_loss(self, batch: Batch, noise: Noise) -> Tensor:
        """-log p of the entries behind the first k of a random order, times n / (n - k) (Uria et al. 2014, eq. 8)."""
        present = batch.present.flatten(1)
        u = noise.uniform("order", self.space.dims + 1)
        rank = torch.where(present, u[:, 1:], torch.inf).argsort(-1).argsort(-1)
        n = present.sum(-1).clamp_min(1)
        k = (u[:, 0] * n).long()
        hidden = (present & (rank >= k[:, None])).reshape(batch.x.shape)
        entries = self._entries(batch, batch.present & ~hidden)
        return -(entries * hidden).flatten(1).sum(-1) * (n / (n - k))

    def _entries(self, batch: Batch, visible: Tensor) -> Tensor:
        """log p of every entry given those shown, (B, *E): of any order."""
        features = self.columns.embed(batch.x, visible)[..., self.into].flatten(1)
        out = self.net(features, self._context(batch))
        params = (
            out.reshape(*self.columns.split(visible).shape[:-1], -1)[..., self.out_of] + self.start
        )
        return self.columns.distribution(params).log_prob(batch.x)

    def _agnostic_chain(self, batch: Batch, counted: Tensor) -> Tensor:
        """Sum of log p of the entries seen, each given those before it, (B,): D passes."""
        flat = counted.flatten(1)
        total = batch.x.new_zeros(len(batch))
        place = torch.arange(self.space.dims)
        for i in range(self.space.dims):
            visible = (flat & (place < i)).reshape(counted.shape)
            total = total + torch.where(
                flat[:, i], self._entries(batch, visible).flatten(1)[:, i], 0.0
            )
        return total

    def _chain(self, batch: Batch, observed: Tensor) -> tuple[Tensor, Tensor | None]:
        """log p of the entries seen, each given those before it, and of the end, (B,)."""
        if self.agnostic:
            return self._agnostic_chain(batch, observed), None
        features = self.columns.embed(batch.x, observed)[..., self.into].flatten(1)
        out = self.net(features, self._context(batch), None if self.ends else batch.length)
        out, stop = self._parted(out)
        params = (
            out.reshape(*self.columns.split(observed).shape[:-1], -1)[..., self.out_of] + self.start
        )
        value = self.columns.distribution(params).total(batch.x, observed)
        if stop is None or batch.length is None:
            return value, None
        return value, log_end(stop, batch.length)

    def _parted(self, out: Tensor) -> tuple[Tensor, Tensor | None]:
        """Outputs without and of the stop logits (B, L), which stand behind the first variable of each step."""
        if not self.ends:
            return out, None
        steps = out.reshape(len(out), self.space.layout[0], -1)
        first = self.columns.column(0).head.size
        entries = torch.cat([steps[..., :first], steps[..., first + 1 :]], -1)
        return entries.flatten(1), steps[..., first] + self.stopping

    # ---- walks -----------------------------------------------------------------------------------

    def _walk(
        self, batch: Batch, noise: Noise, *, greedy: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rows with what is hidden drawn along the order, the log weight of each, lengths.

        The weight is p of what was known given what came before; of a net that sees all that is
        known from the start, one over p of what was drawn.
        """
        heads = self.heads
        known = batch.present.flatten(1)
        u = noise.uniform("x", self.space.dims, max(c.head.uniforms for c in heads))
        counted = batch.holes.flatten(1) if self.agnostic else known
        some = counted.any(0).tolist()  # what no row, or every row, knows costs less
        all_ = known.all(0).tolist()
        x = batch.x.flatten(1).clone()
        weight = batch.x.new_zeros(len(batch))
        if batch.within is None or self.ends:
            within = None
        else:
            within = batch.within.flatten(1)
        length = torch.full((len(batch),), self.space.layout[0] if self.space.ragged else 0)
        stepper = self.net.stepper(len(batch), self._context(batch))
        stops = noise.uniform("stop", self.space.layout[0])
        if self.agnostic:
            cast("Passes", stepper).show(
                self.columns.embed(batch.x, batch.present)[..., self.into].flatten(1)
            )
        with torch.no_grad():
            # Ancestral: one entry after the other, each given those before.
            for v in self.net.order:
                column = heads[v % self.space.width]
                params = stepper.params()
                step = v // self.space.width
                # A number behind the first variable's is the logit of ending here.
                # The first number of a step's output is the logit of ending here.
                if self.ends and v % self.space.width == 0:
                    stop = (params[:, -1] + self.stopping[step]).sigmoid()
                    params = params[:, :-1]
                    ended = (stops[:, step] < stop) & (length > step)
                    length = torch.where(ended, torch.full_like(length, step), length)
                head = column.head.distribution((params + self.start[column.params])[:, None])
                here = known[:, v]
                # A missing entry takes its draw, an observed one stays.
                if not all_[v]:
                    if greedy:
                        value = head.mode
                    else:
                        value = head.draw(u[:, v, None, : column.head.uniforms])
                    x[:, v] = torch.where(here, x[:, v], value[:, 0])
                # p of observed entries, or of drawn ones for a net of any order.
                if some[v]:
                    weight = weight + torch.where(
                        counted[:, v], head.log_prob(x[:, v, None])[:, 0], 0.0
                    )
                there = None if within is None else within[:, v, None]
                stepper.push(column.head.embed(x[:, v, None], there).flatten(1))
        return x.reshape(batch.x.shape), -weight if self.agnostic else weight, length

    def _weighed(self, batch: Batch, noise: Noise) -> tuple[Tensor, Tensor]:
        """Rows with what is hidden drawn, and log p of the whole less that of what was drawn as it was drawn, (B,)."""
        x, weight, _ = self._walk(batch, noise)
        if not self.agnostic:
            return x, weight
        whole = batch.with_x(x)
        return x, self._agnostic_chain(whole, whole.present) + weight

    def _sample(
        self, noise: Noise, given: Batch | None, length: Tensor | None, settings: Any
    ) -> Tensor:
        return self._walk(self._nothing(noise, given, length), noise)[0]

    def _sample_ended(
        self, noise: Noise, given: Batch | None, settings: Any
    ) -> tuple[Tensor, Tensor]:
        """Rows and the lengths at which they ended."""
        x, _, length = self._walk(self._nothing(noise, given, None), noise)
        return x, length

    def _nothing(self, noise: Noise, given: Batch | None, length: Tensor | None) -> Batch:
        hidden = missing(self.space, noise.rows, self._anchor)
        return replace(hidden, given=given, length=length, index=noise.index)

    # ---- hooks -----------------------------------------------------------------------------------

    @property
    def measure(self) -> str:
        """If the model draws the end itself, log p is of the length too."""
        if self.ends:
            return super().measure.replace("given length", "and length")
        return super().measure

    def _marginal(self, batch: Batch) -> str | None:
        return None

    def _log_prob(self, batch: Batch, noise: Noise, effort: int | None, settings: Any) -> Scored:
        """One pass where missing entries end the order, sums where they have few states, particles elsewhere."""
        late = self._suffix(batch)
        if bool(late.all()):
            return self._by_chain(batch)
        few = self._few(batch) & ~late
        ways: list[tuple[Tensor, Callable[[Question], Scored]]] = [
            (late, lambda question: self._by_chain(question.batch)),
            (few, partial(summed, self)),
            (~late & ~few, self._particles),
        ]
        return rescored(answered(ways, Question(batch, noise, settings, effort=effort)))

    def _by_chain(self, batch: Batch) -> Scored:
        """Log p of rows whose missing entries end the order."""
        value, end = self._chain(batch, batch.present)
        return Scored(value if end is None else value + end, Kind.EXACT, "chain rule")

    def _suffix(self, batch: Batch) -> Tensor:
        """Whether nothing is observed behind a row's first missing entry, along the order, (B,)."""
        holes = batch.holes.flatten(1)[:, list(self.net.order)]
        known = batch.present.flatten(1)[:, list(self.net.order)]
        return ~((holes.cumsum(-1) > 0) & known).any(-1)

    def _particles(self, question: Question) -> Scored:
        """The log of the mean, over walks that draw the missing entries, of p(known | drawn)."""
        k = question.effort or (WALKS if self.agnostic else question.settings.particles)
        noise = question.noise.within("holes").draws(k)
        weight = self._weighed(question.batch.repeat(k), noise)[1].reshape(k, -1)
        value, stderr = log_mean_exp(weight)
        return Scored(
            value, Kind.LOWER_BOUND, f"sequential importance sampling, {k} particles", stderr
        )

    def _complete(self, batch: Batch, noise: Noise, n: int, settings: Any) -> Completed:
        """Each row by its own gaps: ancestral at the end of the order, enumerated if few states, else resampled."""
        late = self._suffix(batch)
        few = self._few(batch) & ~late
        ways: list[tuple[Tensor, Callable[[Question], Completed]]] = [
            (late, self._ancestral),
            (few, partial(drawn, self)),
            (~late & ~few, self._resampled),
        ]
        return regrouped(answered(ways, Question(batch, noise, settings, n=n)))

    def _few(self, batch: Batch) -> Tensor:
        """Whether a row's missing entries have at most 4,096 joint states, (B,)."""
        return torch.tensor([states_of(self, h) is not None for h in batch.holes])

    def _ancestral(self, question: Question) -> Completed:
        n = question.n
        batch = question.batch
        x = self._walk(batch.repeat(n), question.noise.draws(n))[0]
        return Completed(x.reshape(n, *batch.x.shape), "ancestral")

    def _resampled(self, question: Question) -> Completed:
        count = question.settings.particles
        batch = question.batch
        x, weight = self._weighed(batch.repeat(count), cloud(question.noise, count))
        x = x.reshape(count, *batch.x.shape)
        weight = weight.reshape(count, -1)
        return resampled(x, weight, question, "sequential importance sampling")

    def _mode(self, batch: Batch, settings: Any) -> Mode:
        """Enumeration to 4,096 states; beyond, the best of a greedy walk and 64 drawn ones."""
        noise = Noise(0, batch.ids, scope="mode", dtype=self.dtype)
        if bool(self._few(batch).all()):
            return best(self, Question(batch, noise, settings))
        tries = [self._walk(batch, noise, greedy=True)[0]]
        tries += list(self._walk(batch.repeat(64), noise.draws(64))[0].reshape(64, *batch.x.shape))
        values = torch.stack(
            [self._chain(batch.with_x(x), batch.with_x(x).present)[0] for x in tries]
        )
        x = torch.stack(tries)[values.argmax(0), torch.arange(len(batch))]
        return Mode(batch.with_x(x), Kind.ESTIMATE, "best of a greedy walk and 64 drawn ones")

    def evaluations(self, settings: Any) -> int:
        """A walk computes each activation once; a net of any order makes a pass for each variable."""
        if self.agnostic:
            return self.space.dims
        return 1

    def how(self, verb: str, settings: Any) -> str:
        """Samples are ancestral."""
        if verb == "sample":
            return "ancestral"
        return super().how(verb, settings)


def _kind(c: AutoregressiveConfig, space: Space) -> str:
    """The kind of net that the Config names, or that the size calls for."""
    if c.net != "auto":
        return c.net
    if len(space.shape) == 3 and space.homogeneous and space.dims >= LARGE:
        return "pixel"
    if space.ragged and space.dims >= LARGE:
        return "sequence"
    return "masked"


def _net(
    c: AutoregressiveConfig, space: Space, columns: Columns, side: int, *, ends: bool
) -> CausalNet:
    """The net that the Config names, or that the size calls for."""
    kind = _kind(c, space)
    heads = [columns.column(v).head for v in range(space.width)]
    inputs = [h.features for h in heads]
    outputs = [h.size for h in heads]
    places = space.dims // space.width
    if kind == "any_order":
        return AnyOrder(inputs * places, outputs * places, c.hidden, context=side)
    if kind == "pixel":
        c_, h, w = space.layout
        dilations = tuple((1, 2, 1, 3, 1, 2)[i % 6] for i in range(c.depth))
        sizes = {"width": c.width, "context": side, "patch": c.patch}
        return Pixel((c_, h, w), inputs[0], outputs[0], dilations=dilations, **sizes)
    if kind == "sequence":
        sizes = {"width": c.width, "depth": c.depth, "context": side}
        return Steps(places, space.width, inputs[0], outputs[0] + int(ends), **sizes)
    outputs = [outputs[0] + int(ends), *outputs[1:]]
    natural = list(range(space.dims))
    named = {"natural": natural, "reverse": natural[::-1]}
    order = named.get(c.order) if isinstance(c.order, str) else c.order
    return Masked(
        inputs * places, outputs * places, order or natural, c.hidden, context=side, window=c.window
    )
