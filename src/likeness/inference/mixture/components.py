"""Component densities of mixtures.

A component density p_k(v) answers for all K components at once. A new one is its equations:
`init`, `e_step_at`, `m_step` and `free_parameters`, and `draw` and `mode` where it is of x itself.

Legend: B rows, K components, D entries. Log-densities are component-major, (K, B). Parameters and
sufficient statistics are dictionaries of tensors; `resp` are responsibilities, (K, B).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from likeness.core.learner import Parameters
from likeness.core.noise import Noise
from likeness.heads.columns import Columns
from likeness.inference.component import Component

View = tuple[Tensor, Tensor]  # values, and which of them are observed

CHUNK_NUMBERS = 1 << 22  # numbers in a chunk
ASCENT_STEPS = 32  # of an ascent over events


@dataclass(frozen=True, eq=False)
class EStep:
    """What the E-step needs of a batch: log-densities, and sufficient statistics given responsibilities.

    Args:
        log_density: log p_k(v) of each row under each component, (K, B), nats.
        statistics: Responsibilities (K, B) -> sufficient statistics, summed over the rows.
    """

    log_density: Tensor
    statistics: Callable[[Tensor], Parameters]


EStepFunction = Callable[[Tensor, Tensor], EStep]


class MixtureComponent(Component[View]):
    """A density for each of K components; a mixture's components are products of several of them."""

    # Whether statistics of chunks of rows add up, so that rows may come in chunks
    additive = True

    @abstractmethod
    def e_step_at(self, params: Parameters, *, draft: bool = False) -> EStepFunction:
        """The E-step as a closure over the parameters: (values (B, D), observed (B, D)) -> EStep.

        `draft` permits single precision.
        """

    @final
    def e_step(self, rows: View, weight: Tensor, params: Parameters) -> Parameters:
        """Sufficient statistics under responsibilities (K, B)."""
        return self.e_step_at(params)(*rows).statistics(weight)

    @final
    def log_prob(self, rows: View, params: Parameters) -> Tensor:
        """log p_k of each row, (K, B)."""
        return self.e_step_at(params)(*rows).log_density

    @abstractmethod
    def m_step(self, sums: Parameters, before: Parameters, *, least: float = 0.0) -> Parameters:
        """The parameters that maximise the expected log-likelihood; `least` raises the floor of variances."""


class SampledComponent(MixtureComponent):
    """A component density that can be sampled and maximised."""

    @abstractmethod
    def draw(self, v: Tensor, known: Tensor, k: Tensor, params: Parameters, noise: Noise) -> Tensor:
        """Missing values drawn from component k (B,) of each row given its observed values, shaped as v."""

    @abstractmethod
    def mode(
        self, v: Tensor, known: Tensor, sought: Tensor, prior: Tensor, params: Parameters
    ) -> Tensor:
        """The mode over the entries `sought` of the mixture with log-weights `prior` (B, K), shaped as v."""


class Multinomials(MixtureComponent):
    """Multinomial counts, p(c | k) proportional to prod_j theta_kj^c_j, in one group of categories or more.

    A label is a group with one count; tokens are a group with as many counts as there are tokens.

    Args:
        groups: Which group each category belongs to, int64 (D,).
        smoothing: Weight added to every category.
        components: K.
    """

    def __init__(self, groups: Tensor, smoothing: float, components: int) -> None:
        self.groups = groups
        self.smoothing = smoothing
        self.components = components

    def init(self, variance: Tensor) -> Parameters:
        """Uniform within each group."""
        size = torch.bincount(self.groups)[self.groups].to(variance)
        return {"log_theta": -size.log().expand(self.components, -1).clone()}

    def e_step_at(self, params: Parameters, *, draft: bool = False) -> EStepFunction:
        """The sum of c_j log theta_kj over known categories."""

        def e_step(v: Tensor, known: Tensor) -> EStep:
            counts = v * known
            log_density = params["log_theta"] @ counts.T
            return EStep(log_density, lambda resp: {"count": resp.double() @ counts})

        return e_step

    def m_step(self, sums: Parameters, before: Parameters, *, least: float = 0.0) -> Parameters:
        """Smoothed relative frequencies within each group."""
        count = sums["count"] + self.smoothing + 1e-12
        # Total of each group, which normalises its categories.
        groups = self.groups.to(count.device)
        total = count.new_zeros(len(count), int(groups.max()) + 1).index_add_(1, groups, count)
        return {"log_theta": count.log() - total[:, groups].log()}

    def free_parameters(self, params: Parameters) -> int:
        """One less than the categories of each group, for each component."""
        return self.components * (len(self.groups) - len(self.groups.unique()))


class Products(SampledComponent):
    """Products of heads over an event; the M-step of heads needs all rows in one batch.

    Args:
        columns: The heads, in closed form.
        smoothing: Weight added to every category.
        components: K.
    """

    additive = False

    def __init__(self, columns: Columns, smoothing: float, components: int) -> None:
        self.columns = columns
        self.smoothing = smoothing
        self.components = components

    def init(self, variance: Tensor) -> Parameters:
        """The marginal distribution for every component."""
        if self.columns.narrow:
            places = self.columns.space.layout
        else:
            places = self.columns.space.layout[:-1]
        return {"table": self.columns.start().expand(self.components, *places, -1).clone()}

    def e_step_at(self, params: Parameters, *, draft: bool = False) -> EStepFunction:
        """Sums of the heads' log p over what is known."""
        table = params["table"]
        smoothing = self.smoothing
        densities = self.columns.distribution(table)

        # Heads are fitted, not summed: the statistics are the estimated parameters themselves.
        def e_step(v: Tensor, known: Tensor) -> EStep:
            def statistics(resp: Tensor) -> Parameters:
                weight = resp.T.contiguous()
                estimate = self.columns.estimate(
                    v, known, weight, smoothing=smoothing, previous=table
                )
                return {"table": estimate}

            return EStep(densities.each(v, known).T, statistics)

        return e_step

    def m_step(self, sums: Parameters, before: Parameters, *, least: float = 0.0) -> Parameters:
        """The estimate that the E-step made, since heads have their own M-steps."""
        return {"table": sums["table"].to(before["table"])}

    def free_parameters(self, params: Parameters) -> int:
        """Those of the heads, for each component."""
        return self.components * self.columns.free

    def draw(self, v: Tensor, known: Tensor, k: Tensor, params: Parameters, noise: Noise) -> Tensor:
        """Events drawn from component k (B,) where they are not known, (B, *E)."""
        table = params["table"]
        # Chunks of rows, each with the parameters of its own component laid out.
        u = noise.uniform("x", *table.shape[1:-1], self.columns.uniforms).double()
        # (rows, *places, numbers of the heads) a chunk
        size = max(1, CHUNK_NUMBERS // table[0].numel())
        pairs = zip(k.split(size), u.split(size), strict=True)
        return torch.where(
            known, v, torch.cat([self.columns.distribution(table[j]).draw(w) for j, w in pairs])
        )

    def mode(
        self, v: Tensor, known: Tensor, sought: Tensor, prior: Tensor, params: Parameters
    ) -> Tensor:
        """The best event that ascents from every component's own mode reach, entries being modes of components.

        Each step puts the candidate of most E[log p_k] under the responsibilities in every entry,
        which raises log p.
        """
        densities = self.columns.distribution(params["table"])
        # The candidates of every entry are the components' modes, (K, *E)
        modes = densities.mode
        # log p_k of every candidate in every entry, (K, K, *E)
        scores = torch.stack([densities.log_prob(m.expand_as(modes)) for m in modes], 1)
        scores = scores.clamp(min=-1e30)
        # One ascent from every component's mode; the best end of each row stays.
        best = v
        height = torch.full_like(prior[:, 0], -torch.inf)
        for start in modes:
            x = torch.where(sought, start, v)
            for _ in range(ASCENT_STEPS):
                # E-step at x, then the candidate of greatest expected log-density in every entry.
                resp = (prior + densities.each(x, known | sought)).softmax(-1)
                pick = torch.tensordot(resp, scores, 1).argmax(1)
                x = torch.where(sought, modes.gather(0, pick), v)
            value = (prior + densities.each(x, known | sought)).logsumexp(-1)
            better = value > height
            best = torch.where(better.reshape(-1, *[1] * (v.dim() - 1)), x, best)
            height = torch.maximum(height, value)
        return best
