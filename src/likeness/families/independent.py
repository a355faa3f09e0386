"""A product of heads: every variable on its own, exact, the baseline that knows no dependence."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from likeness.core import plates
from likeness.core.answers import Completed, Kind, Mode, Scored
from likeness.core.batch import Batch, missing
from likeness.core.config import Config, option
from likeness.core.context import Summary
from likeness.core.learner import EM, FullBatch, Learner, Parameters
from likeness.core.model import Model
from likeness.core.noise import Noise
from likeness.core.preprocessor import Source
from likeness.core.space import Space
from likeness.heads.choice import bounds_refused
from likeness.heads.columns import Columns, ColumnsDistribution
from likeness.numerics.draws import inverse_cdf
from likeness.numerics.stable import product
from likeness.registry import Card, register

MEMORY = 256  # training conditions that stand for the distribution of a condition that is missing


class IndependentConfig(Config):
    """Options of `independent`."""

    real: Literal["histogram", "mixture", "normal"] = option(
        "histogram", "the distribution of a real variable"
    )
    bins: int = option(64, "most bins of a histogram", ge=2)
    components: int = option(5, "components of a mixture for one real variable", ge=1)
    smoothing: float = option(
        1.0, "weight added to every category, as if each had been seen so often", "objective", ge=0
    )
    l2: float = option(
        1e-4,
        "penalty on the weights by which a vector, image or text is taken in",
        "objective",
        ge=0,
    )
    iterations: int = option(
        200,
        "most iterations of L-BFGS where parameters are linear in what is given",
        "optimiser",
        ge=1,
    )


@register(
    Card(
        "independent",
        "A product of independent variables",
        "classical",
        "Lewis, Naive (Bayes) at forty",
        1998,
        "Every variable has a distribution of its own: what a model gains over it, it gains by modelling dependence.",
    )
)
class Independent(Model):
    """p(x) = product over entries of p(x_i), one product for each class, else linear in a summary of `given`.

    Places of ragged rows share one distribution.
    """

    Config = IndependentConfig
    natural_dtype = torch.float64
    counted: Tensor
    memory: Tensor

    @property
    def table(self) -> Tensor:
        """The parameters of every class, (K, *E[:-1], S)."""
        if self.searched:
            return self.free[0]
        return self.counted

    def __init__(
        self, config: IndependentConfig, space: Space, given_space: Space | None = None
    ) -> None:
        super().__init__(config, space, given_space)
        # A label has parameters of its own; any other condition moves them by a linear map.
        self.linear = given_space is not None and not self.sums_classes()
        kind: Literal["net", "closed"] = (
            "net" if self.linear or config.real == "mixture" else "closed"
        )
        real: Any = "normal" if self.linear and config.real == "histogram" else config.real
        self.columns = Columns(
            space, kind=kind, components=config.components, real=real, bins=config.bins
        )
        if given_space is not None and not self.linear:
            classes = given_space.label or 1
        else:
            classes = 1
        places = () if space.ragged else space.layout[:-1]
        start = torch.zeros(classes, *places, self.columns.size)
        self.searched = kind == "net"
        self.free = nn.ParameterList([nn.Parameter(start)] if self.searched else [])
        self.register_buffer("counted", start)
        if given_space is not None and self.linear:
            self.summary = Summary(given_space)
            self.weight = nn.Parameter(torch.zeros(self.summary.size, start.numel()))
            self.register_buffer("memory", torch.zeros(0, self.summary.size))

    @classmethod
    def _refuse(cls, config: Any, space: Space, given_space: Space | None) -> str | None:
        labelled = given_space is None or given_space.label is not None
        return bounds_refused(space, closed=config.real == "normal" and labelled)

    def graph(self) -> plates.Graph:
        """Entries that know nothing of each other."""
        if self.space.dims == 1:
            return super().graph()
        entry = plates.entry(self.space)
        x = plates.Node("x", "observed", entry, "i", note="" if entry else plates.kinds(self.space))
        return plates.rows(
            self, x=x, inner=(plates.Plate(plates.steps(self.space, "i"), (x.key,)),)
        )

    # ---- learning --------------------------------------------------------------------------------

    def _prepare(self, source: Source) -> None:
        self.columns.fit(b.to(dtype=self.dtype) for b in source.chunks(65536))
        self.table.data.copy_(self.columns.start().expand(self.table.shape))
        if self.linear:
            self.summary.fit(source)
            # Conditions of evenly spaced training rows stand for p(given) where it is missing.
            some = source.rows(
                torch.linspace(0, len(source) - 1, min(MEMORY, len(source))).round().long()
            )
            self.memory = self.summary(some.condition.to(dtype=self.dtype))

    def learner(self) -> Learner:
        """Counting, or L-BFGS where there is no closed form: mixtures, and parameters linear in what is given."""
        config: IndependentConfig = self.config
        if not self.searched:
            return EM(self._start, self._expect, lambda _sums, now: now, self._assign, passes=1)
        loss = partial(self.__call__, phase="full")
        slopes = [self.weight] if self.linear else []
        return FullBatch(
            loss,
            [*self.free, *slopes],
            l2=config.l2,
            penalised=slopes,
            iterations=config.iterations,
        )

    def _start(self, task: Any, noise: Noise) -> Parameters:
        """The weighted maximum-likelihood distribution of every entry, for each class."""
        batches = [batch for batch, _ in task.everything(65536)]
        x = torch.cat([b.x for b in batches])
        present = torch.cat([b.present for b in batches])
        weight = torch.cat([b.weights[:, None] * self._hot(b) for b in batches])
        # Places of ragged rows share their parameters: each is a row of its own.
        if self.space.ragged:
            weight = weight.repeat_interleave(x.shape[1], 0)
            x = x.flatten(0, 1)
            present = present.flatten(0, 1)
        return {"table": self.columns.estimate(x, present, weight, smoothing=self.config.smoothing)}

    def _expect(self, batch: Batch, parameters: Parameters) -> Parameters:
        return {"objective": batch.weights.sum() * 0, "weight": batch.weights.sum()}

    def _assign(self, parameters: Parameters) -> None:
        self.counted = parameters["table"].to(self.counted).reshape(self.counted.shape)

    def _hot(self, batch: Batch) -> Tensor:
        """One-hot classes (B, K), nothing for a missing label: it says nothing of p(x | y)."""
        if len(self.table) == 1 or batch.given is None:
            return batch.x.new_ones(len(batch), len(self.table))
        code = batch.given.x.flatten(1)[:, 0].long()
        known = batch.given.present.flatten(1)[:, :1]
        return nn.functional.one_hot(code, len(self.table)).to(batch.x) * known

    def forward(self, batch: Batch, noise: Noise, phase: str) -> dict[str, Tensor]:
        """-log p(x | given), (B,)."""
        return {"nll": -self._distribution(batch).total(batch.x, batch.present)}

    def count(self) -> int:
        """Those of the heads for each class and one less than the classes, or all slopes and intercepts.

        Slopes are penalised, so that none of a category's is free to be 0: C D + C of C categories
        under D numbers.
        """
        if self.linear:
            return self.table.numel() + self.weight.numel()
        return len(self.table) * (self.columns.free + 1) - 1

    # ---- hooks -----------------------------------------------------------------------------------

    def _distribution(self, batch: Batch) -> ColumnsDistribution:
        """Each row's product of distributions."""
        if self.linear:
            return self._under(self.summary(batch.condition))
        if batch.given is not None:
            k = batch.given.x.flatten(1)[:, 0].long()
        else:
            k = torch.zeros(len(batch), dtype=torch.int64)
        return self._everywhere(self.table[k])

    def _under(self, summary: Tensor) -> ColumnsDistribution:
        """The distributions under summaries of conditions (B, C)."""
        return self._everywhere(self._linear(summary))

    def _everywhere(self, params: Tensor) -> ColumnsDistribution:
        """The distributions of rows whose places have these parameters, ragged rows' all the same."""
        if self.space.ragged:
            params = params[:, None].expand(-1, self.space.layout[0], -1)
        return self.columns.distribution(params)

    def _linear(self, summary: Tensor) -> Tensor:
        """Parameters linear in summaries (B, C), (B, *E[:-1], S) or (B, S)."""
        return (
            product(summary, self.weight).reshape(len(summary), *self.table.shape[1:])
            + self.table[0]
        )

    def _blank(self, batch: Batch) -> Tensor:
        """Rows whose condition is missing whole, where it is not a label, (B,)."""
        if not self.linear or batch.given is None:
            return torch.zeros(len(batch), dtype=torch.bool)
        return ~(self.summary.mask(batch.given) > 0).any(-1)

    @property
    def _remembered(self) -> Tensor:
        """Summaries of conditions, (M, C); before anything is learned the one that is all zeros."""
        if len(self.memory):
            return self.memory
        return self.memory.new_zeros(1, self.memory.shape[1])

    def _under_all(self, batch: Batch) -> Tensor:
        """log p of each row under every condition that is remembered, (B, M)."""
        return self._under(self._remembered).each(batch.x, batch.present)

    def _marginal(self, batch: Batch) -> str | None:
        return None

    def _log_prob(self, batch: Batch, noise: Noise, effort: int | None, settings: Any) -> Scored:
        """A condition that is missing whole is integrated over those of training rows, evenly spaced."""
        value = self._distribution(batch).total(batch.x, batch.present)
        blank = self._blank(batch)
        if bool(blank.any()):
            integral = torch.logsumexp(self._under_all(batch), -1) - math.log(len(self._remembered))
            value = torch.where(blank, integral, value)
        return Scored(value, Kind.EXACT, "product of marginals")

    def _draw(self, batch: Batch, noise: Noise) -> Tensor:
        if self.columns.narrow:
            places = self.space.layout
        else:
            places = self.space.layout[:-1]
        u = noise.uniform("x", *places, self.columns.uniforms)
        blank = self._blank(batch)
        distribution = self._distribution(batch)
        if bool(blank.any()):
            params = self._recalled(batch, noise, blank, distribution.params)
            distribution = self.columns.distribution(params)
        return distribution.draw(u)

    def _recalled(self, batch: Batch, noise: Noise, blank: Tensor, params: Tensor) -> Tensor:
        """Parameters with each missing condition drawn from those remembered, given what is observed of the row."""
        # p(condition | row) over the remembered conditions, which count alike before the row is seen.
        cdf = self._under_all(batch).softmax(-1).cumsum(-1)
        pick = inverse_cdf(cdf, noise.uniform("given", 1)[:, 0])
        own = self._linear(self._remembered[pick])
        if self.space.ragged:
            own = own[:, None].expand_as(params)
        return torch.where(blank.reshape(-1, *[1] * (params.dim() - 1)), own, params)

    def _sample(
        self, noise: Noise, given: Batch | None, length: Tensor | None, settings: Any
    ) -> Tensor:
        hidden = missing(self.space, noise.rows, self.table)
        return self._draw(replace(hidden, given=given, length=length), noise)

    def _complete(self, batch: Batch, noise: Noise, n: int, settings: Any) -> Completed:
        x = self._draw(batch.repeat(n), noise.draws(n))
        return Completed(x.reshape(n, *batch.x.shape), "product of marginals")

    def _mode(self, batch: Batch, settings: Any) -> Mode:
        distribution = self._distribution(batch)
        if bool(self._blank(batch).any()):
            kind = Kind.ESTIMATE
        else:
            kind = Kind.EXACT
        return Mode(batch.with_x(distribution.mode), kind, "mode of every marginal")

    @classmethod
    def small(cls, space: Space) -> dict[str, Any]:
        """A quick model for checks, of a smooth density: steps would defeat a grid's quadrature."""
        return {"real": "normal"}
