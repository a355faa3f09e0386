"""Linear-chain conditional random fields: sequence labelling with transition and feature potentials."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from likeness.core import plates
from likeness.core.answers import Completed, Kind, Mode, Scored
from likeness.core.batch import Batch
from likeness.core.config import Config, option
from likeness.core.errors import BadConfig, BadData
from likeness.core.learner import FullBatch
from likeness.core.model import Model
from likeness.core.noise import Noise
from likeness.core.preprocessor import Source, standardised
from likeness.core.row_distribution import RowDistribution
from likeness.core.space import Space, vector
from likeness.inference.sequence.indicators import Indicators, Sparse, SparseProduct
from likeness.inference.sequence.linear_chain import NEVER, Paths, log_sums
from likeness.inference.sequence.posterior import StateDistribution, Steering
from likeness.inference.sequence.steps import StepNoise, unseen
from likeness.registry import Card, register

CHUNK = 4096
MEMORY = 30  # steps that L-BFGS remembers: indicators that rarely occur take it many, with 10 as many again


class CRFConfig(Config):
    """Options of `crf`."""

    window: int = option(2, "steps before and after whose features a label is told by", ge=0)
    templates: tuple[str, ...] | None = option(
        None,
        "which codes make an indicator together, each a column[offset], joined by bars; none: each column, each "
        "offset of the window, and neighbours in pairs",
    )
    least: int = option(1, "times that an indicator must occur in the training part", ge=1)
    pairs: Literal["seen", "all"] = option(
        "seen", "which indicators go with which labels: those seen together, or all with all"
    )
    l2: float = option(
        1.0,
        "l2 times the sum of squared weights is added to the sum of -log p over the items",
        "objective",
        ge=0,
    )
    l1: float = option(
        0.0,
        "l1 times the sum of absolute weights is added to the sum of -log p over the items",
        "objective",
        ge=0,
    )
    iterations: int = option(200, "most iterations of L-BFGS", "optimiser", ge=1)
    tolerance: float = option(
        1e-6, "L-BFGS stops where no slope of the mean objective is steeper", "optimiser", ge=0
    )


@register(
    Card(
        "crf",
        "Conditional random field",
        "classical",
        "Lafferty, McCallum & Pereira, Conditional random fields",
        2001,
        "Tags of words, phases of a series: p(labels | features), discriminative, with exact marginals and best path.",
    )
)
class CRF(Model):
    """p(y | g) in proportion to exp(sum_t w[y_t] . f(g, t) + step[y_t-1, y_t]): labels y of steps, features f of steps.

    It is discriminative: it says nothing of the features. Without them (no `given`, or a label
    alone) it is a chain of labels under weights. `encode` is the distribution of the hidden labels,
    its `mean` the marginal of each.
    """

    Config = CRFConfig
    natural_dtype = torch.float64
    unbounded = True
    seen: Tensor
    linked: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, config: CRFConfig, space: Space, given_space: Space | None = None) -> None:
        super().__init__(config, space, given_space)
        self.codes = space
        self.k = int(space.variables[0].states)
        self.stepwise = self.conditional = given_space is not None and given_space.ragged
        self.indicators: Indicators | None = None
        self.numbers: list[int] = []
        if given_space is not None and self.stepwise:
            self.indicators = Indicators(given_space, config.templates, config.window)
            self.numbers = [
                i for i, v in enumerate(given_space.columns) if v.type in {"real", "count"}
            ]
        shifts = 2 * config.window + 1
        # Dense features: each number at every offset with its mask, or a label's indicators.
        if self.stepwise:
            wide = 2 * shifts * len(self.numbers)
        else:
            wide = (given_space.label or 0) if given_space else 0
        self.offsets = range(-config.window, config.window + 1)
        self.weight = nn.Parameter(torch.zeros(0))
        self.slope = nn.Parameter(torch.zeros(1 + wide, self.k))
        self.step = nn.Parameter(torch.zeros(self.k, self.k))
        self.register_buffer("seen", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("linked", torch.ones(self.k, self.k))
        self.register_buffer("mean", torch.zeros(len(self.numbers)))
        self.register_buffer("std", torch.ones(len(self.numbers)))
        self.items = 1.0
        self.cache: dict[tuple[int, int, int], Sparse] = {}

    @classmethod
    def _refuse(cls, config: CRFConfig, space: Space, given_space: Space | None) -> str | None:
        if not space.ragged or len(space.shape) > 1 or not space.discrete:
            return "it labels the steps of sequences: give it sequences of labels, or take `autoregressive`"
        if given_space is None or given_space.label is not None:
            return None
        if not given_space.ragged or given_space.longest != space.longest:
            return "what is given goes step by step with its labels: give features of the same steps, as many as labels"
        try:
            Indicators(given_space, config.templates, config.window)
        except BadConfig as error:
            return str(error)
        return None

    @classmethod
    def small(cls, space: Space) -> dict[str, Any]:
        """Options that learn within a second."""
        return {"iterations": 60}

    def graph(self) -> plates.Graph:
        """Labels, each tied to the one before, under the features of their step."""
        one = plates.entry(self.space)
        y, before = (plates.Node("y", "observed", one, index) for index in ("t", "t-1"))
        nodes = (before, *self._features(), y)
        theta = plates.theta(self)
        ties = (plates.Edge(before.key, y.key, "link"), *plates.edges(nodes[1:-1], y.key))
        stepwise = nodes[1:] if self.stepwise else nodes[-1:]
        inner = plates.Plate(plates.steps(self.space), tuple(n.key for n in stepwise))
        every = (plates.plate_of_rows(self, nodes), inner)
        return plates.Graph((*nodes, *theta), (*ties, *plates.edges(theta, y.key)), every)

    def _features(self) -> tuple[plates.Node, ...]:
        """The features, for each step or for all."""
        if self.given_space is None:
            return ()
        space = self.given_space
        if not self.stepwise:
            return (plates.Node("given", "given", space),)
        return (
            plates.Node("given", "given", vector(space.width, space.columns, space.names), "t"),
        )

    # ---- learning --------------------------------------------------------------------------------

    def _prepare(self, source: Source) -> None:
        """Which indicators there are, which labels each occurs with, and which label follows which."""
        self.items = 0.0
        codes = []
        labels = []
        linked = torch.zeros(self.k, self.k, dtype=torch.float64)
        for batch in source.chunks(CHUNK):
            view = self._view(batch.to(dtype=self.dtype))
            self.items += float(batch.weights.sum())
            linked += _followed(view, self.k)
            labels.append(torch.where(view.known, view.y, -1))
            if self.indicators is not None:
                codes.append(self.indicators.codes(view.features, view.observed, view.length))
        # Transitions never seen in training get no weight, unless pairs=all.
        everything = self.config.pairs == "all"
        if everything:
            self.linked = torch.ones_like(self.linked)
        else:
            self.linked = (linked > 0).to(self.linked)
        # Only indicators, and pairs of indicator and label, that occur often enough get a weight.
        if self.indicators is not None:
            self.indicators.fit(codes, self.config.least)
            self.seen = self._pairs(self.indicators, codes, labels)
            self.weight.data = torch.zeros(len(self.seen), dtype=self.dtype)
        if self.numbers:
            self._scale(source)

    def _pairs(self, indicators: Indicators, codes: list[Tensor], labels: list[Tensor]) -> Tensor:
        """Indicator * K + label of every pair that has a weight, in order."""
        if self.config.pairs == "all":
            return torch.arange(indicators.size * self.k)
        pairs = []
        for code, label in zip(codes, labels, strict=True):
            # (step, indicator) entries of the training items, with the label of each step.
            step, indicator = indicators.place(code)
            pair = indicator * self.k + label[step]
            pairs.append(pair[label[step] >= 0].unique())
        return torch.cat(pairs).unique()

    def _scale(self, source: Source) -> None:
        """Location and scale of the numbers among the features."""
        views = [self._view(batch.to(dtype=self.dtype)) for batch in source.chunks(CHUNK)]
        x, known = (
            torch.cat([getattr(v, name)[:, self.numbers] for v in views])
            for name in ("features", "observed")
        )
        mean, std = standardised(x, known.to(x), x.new_ones(len(x)))
        self.mean, self.std = mean.to(self.mean), std.to(self.std)

    def learner(self) -> FullBatch:
        """L-BFGS on all items; penalties are on the sum over items, as in CRFsuite."""
        config: CRFConfig = self.config
        # FullBatch minimises a mean over items, so
        # penalties on the sum are divided by their number.
        return FullBatch(
            partial(self.__call__, phase="full"),
            [self.weight, self.slope, self.step],
            l1=config.l1 / self.items,
            l2=2 * config.l2 / self.items,
            iterations=config.iterations,
            tolerance=config.tolerance,
            memory=MEMORY,
            rows=CHUNK,
        )

    def forward(self, batch: Batch, noise: Noise, phase: str) -> dict[str, Tensor]:
        """-log p(labels that are known | features) of each item, (B,)."""
        # -log p(y | g) = log Z(all labels) - score(y), with
        # a second log-sum where labels are missing.
        view = self._view(batch)
        unary = self._unary(view, batch)
        step = self._steps
        first = self.step.new_zeros(self.k)
        log_z = log_sums(first, step, unary, view.length)
        if bool(view.known.all()):
            return {"nll": log_z - _score(unary, step, view)}
        return {
            "nll": log_z - log_sums(first, step, self._held(unary, view.y, view.known), view.length)
        }

    def train(self, mode: bool = True) -> CRF:
        """In training the indicators of rows are kept between passes; evaluation drops them."""
        if not mode:
            self.cache = {}
        super().train(mode)
        return self

    def count(self) -> int:
        """Pairs of indicators and labels, steps from label to label, and what goes with numbers and the label's own."""
        return len(self.seen) + int(self.linked.sum()) + self.slope.numel()

    def remarks(self, batch: Batch) -> tuple[str, ...]:
        """That it is discriminative."""
        return (
            "Discriminative: it says how likely labels are given their features, and nothing of the features.",
        )

    # ---- features --------------------------------------------------------------------------------

    def _view(self, batch: Batch) -> View:
        """Labels and features of all steps, one item after the other.

        Raises:
            BadData: If an item has not as many labels as steps of features.
        """
        inside = batch.inside
        length = batch.lengths
        features = batch.x.new_zeros(int(length.sum()), 0)
        observed = torch.ones_like(features, dtype=torch.bool)
        if self.stepwise and batch.given is not None and batch.given.length is not None:
            # A condition that goes step by step has to have the labels' lengths.
            odd = (batch.given.length != length).nonzero().flatten().tolist()
            if odd:
                steps = int(batch.given.length[odd[0]])
                labels = int(length[odd[0]])
                if steps:
                    do = "give as many of both"
                else:
                    do = "it tells labels from features: give them"
                raise BadData(
                    f"{labels} labels but {steps} steps of features", where=f"row {odd[0]}", do=do
                )
            given = batch.given
            within = given.inside
            flat = given.x if given.x.dim() > 2 else given.x[..., None]
            rows = within if within.dim() == 2 else within[..., 0]
            if given.x.dim() > 2:
                present = given.present
            else:
                present = given.present[..., None]
            features = flat[rows]
            observed = present[rows]
        return View(batch.x[inside].long(), batch.present[inside], length, features, observed)

    def _dense(self, view: View, batch: Batch) -> Tensor:
        """A one, and the numbers of the features at every offset with what of them is known, or the label's own."""
        one = view.features.new_ones(len(view.y), 1)
        # Standardised numbers and their masks at each offset of the window, (N, 2 C * offsets).
        if self.stepwise and self.numbers:
            known = view.observed[:, self.numbers].to(one)
            x = torch.cat(
                [(view.features[:, self.numbers] - self.mean) / self.std * known, known], -1
            )
            return torch.cat([one, *(view.shifted(x, offset) for offset in self.offsets)], -1)
        if self.stepwise or batch.given is None:
            return one
        hot = nn.functional.one_hot(batch.given.x.flatten(1)[:, 0].long(), self.slope.shape[0] - 1)
        return torch.cat([one, hot.to(one).repeat_interleave(view.length, 0)], -1)

    def _unary(self, view: View, batch: Batch) -> Tensor:
        """The feature potentials of each label at each step, (N, K)."""
        unary = self._dense(view, batch) @ self.slope
        if self.indicators is None or not len(self.seen):
            return unary
        # Weights of the pairs that occur, laid out over all pairs: (A, K).
        table = self.weight.new_zeros(self.indicators.size * self.k).index_copy(
            0, self.seen, self.weight
        )
        product: Tensor = SparseProduct.apply(
            table.unflatten(0, (-1, self.k)), self._sparse(self.indicators, view, batch)
        )
        return unary + product

    def _sparse(self, indicators: Indicators, view: View, batch: Batch) -> Sparse:
        """Indicators of the steps; those of training rows are kept from one iteration to the next."""
        ids = batch.ids
        if self.training and len(ids):
            name = (int(ids[0]), int(ids[-1]), len(ids))
        else:
            name = None
        if name is not None and name in self.cache:
            return self.cache[name]
        codes = indicators.codes(view.features, view.observed, view.length)
        sparse = indicators.sparse(codes, self.dtype)
        if name is not None:
            self.cache[name] = sparse
        return sparse

    @property
    def _steps(self) -> Tensor:
        """The transition potentials, (K, K)."""
        return self.step * self.linked

    def _held(self, unary: Tensor, y: Tensor, known: Tensor) -> Tensor:
        """The same with all labels but the observed one ruled out where one is observed, (..., K)."""
        other = torch.arange(self.k, device=y.device) != y[..., None]
        return unary.masked_fill(known[..., None] & other, NEVER)

    # ---- hooks -----------------------------------------------------------------------------------

    def _paths(self, batch: Batch) -> tuple[Paths, Paths]:
        """The distribution of each row's labels given its features, and given the observed labels too."""
        view = self._view(batch)
        inside = batch.inside
        # (N, K) of steps one after the other -> (rows, steps, K)
        unary = view.features.new_zeros(*batch.x.shape, self.k)
        unary[inside] = self._unary(view, batch)
        first = self.step.new_zeros(self.k)
        limited = self._held(unary, batch.x.long(), batch.present)
        return Paths(first, self._steps, unary, batch.length), Paths(
            first, self._steps, limited, batch.length
        )

    def _marginal(self, batch: Batch) -> str | None:
        return None

    def draw_length(self, noise: Noise, given: Batch | None) -> Tensor | None:
        """As many labels as there are steps of features."""
        if self.stepwise and given is not None:
            return given.length
        return super().draw_length(noise, given)

    def _log_prob(self, batch: Batch, noise: Noise, effort: int | None, settings: Any) -> Scored:
        free, held = self._paths(batch)
        # log p(observed labels | g): paths through them over all paths.
        top = held.score(batch.x.long()) if batch.full else held.log_z
        return Scored(top - free.log_z, Kind.EXACT, "forward recursion")

    def _encode(
        self, batch: Batch, noise: Noise, effort: int | None, settings: Any
    ) -> RowDistribution:
        paths = self._paths(batch)[1]
        chain = Steering(paths.log_first, paths.log_step)
        return StateDistribution(
            self.space,
            batch.ids,
            Kind.EXACT,
            "forward and backward",
            chain,
            paths.unary,
            batch.lengths,
        )

    def _sample(
        self, noise: Noise, given: Batch | None, length: Tensor | None, settings: Any
    ) -> Tensor:
        return self._drawn(unseen(self.space, noise, length, self.step).given_as(given), noise, 1)[
            0
        ]

    def _complete(self, batch: Batch, noise: Noise, n: int, settings: Any) -> Completed:
        return Completed(self._drawn(batch, noise.draws(n), n), "labels drawn backwards")

    def _drawn(self, batch: Batch, noise: Noise, n: int) -> Tensor:
        """n times the labels of each row from their distribution, (n, B, L)."""
        u = StepNoise.of(noise, batch.x.shape[1]).uniform("label").reshape(n, *batch.x.shape)
        return self._paths(batch)[1].draw(u.to(self.step)).to(self.dtype)

    def _mode(self, batch: Batch, settings: Any) -> Mode:
        """The best path that holds the known labels (Viterbi 1967)."""
        return Mode(
            batch.with_x(self._paths(batch)[1].best()[0].to(self.dtype)), Kind.EXACT, "best path"
        )


@dataclass(frozen=True, eq=False)
class View:
    """Steps of B items, one item after the other.

    Args:
        y: Labels, int64 (N,).
        known: Which of them are known, bool (N,).
        length: Steps of each item, int64 (B,).
        features: (N, C).
        observed: Which of them are known, bool (N, C).
    """

    y: Tensor
    known: Tensor
    length: Tensor
    features: Tensor
    observed: Tensor

    @property
    def item(self) -> Tensor:
        """Which item each step is of, int64 (N,)."""
        return torch.arange(len(self.length), device=self.y.device).repeat_interleave(self.length)

    def shifted(self, x: Tensor, offset: int) -> Tensor:
        """The entries of the step `offset` later in the same item, 0 outside, (N, C)."""
        # Neither before the first step, nor across the border between two items.
        there = torch.arange(len(x), device=x.device) + offset
        inside = (there >= 0) & (there < len(x))
        there = there.clamp(0, max(len(x) - 1, 0))
        item = self.item
        return x[there] * (inside & (item[there] == item)).to(x)[:, None]

    @property
    def inner(self) -> Tensor:
        """Whether the next step is of the same item, bool (N - 1,)."""
        item = self.item
        return item[1:] == item[:-1]


def _score(unary: Tensor, step: Tensor, view: View) -> Tensor:
    """The score of each item's own labels, (B,)."""
    each = unary.gather(-1, view.y[:, None])[:, 0]
    moves = step[view.y[:-1], view.y[1:]] * view.inner
    total = unary.new_zeros(len(view.length)).index_add(0, view.item, each)
    return total.index_add(0, view.item[1:], moves)


def _followed(view: View, k: int) -> Tensor:
    """How often each label follows each, (K, K)."""
    inside = view.inner & view.known[:-1] & view.known[1:]
    pair = (view.y[:-1] * k + view.y[1:])[inside]
    return torch.bincount(pair, minlength=k * k).reshape(k, k).double()
