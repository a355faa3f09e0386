"""The parts that a mixture's components are products of: heads, counts; what EM asks of any part.

Legend: B rows, K components, D entries of a part. Log-densities are component-major, (K, B).
Parameters and additive statistics are dictionaries of tensors; `Seen` is what one batch tells a
part, kept between the two steps of EM.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from likeness.core.noise import Noise
from likeness.heads.columns import Columns

Parameters = dict[str, Tensor]

ROOM = 1 << 22  # numbers in a chunk
STEPS = 32  # of an ascent over events


@dataclass(frozen=True, eq=False)
class Seen:
    """What a batch tells a part: log p of each row under each component, and statistics once rows are shared out.

    Args:
        log_p: (K, B), nats.
        sums: Responsibilities (K, B) -> additive statistics.
    """

    log_p: Tensor
    sums: Callable[[Tensor], Parameters]


Sight = Callable[[Tensor, Tensor], Seen]


class Part(ABC):
    """One factor of every component's law."""

    @abstractmethod
    def blank(self, variance: Tensor) -> Parameters:
        """Parameters before any data, given the variance of each entry."""

    additive = True  # whether statistics of some rows add to those of others, so that rows may come in pieces

    @abstractmethod
    def sight(self, params: Parameters, *, draft: bool = False) -> Sight:
        """Rows' values and what of them is known -> what they tell; `draft` allows single precision."""

    @abstractmethod
    def maximise(self, sums: Parameters, before: Parameters, *, least: float = 0.0) -> Parameters:
        """The parameters that are best for the statistics; `least` raises the floor of variances."""

    @abstractmethod
    def free(self, params: Parameters) -> int:
        """How many of the parameters are free."""


class Drawn(Part):
    """A part whose values can be drawn, and whose peaks be found."""

    @abstractmethod
    def draw(self, v: Tensor, known: Tensor, k: Tensor, params: Parameters, noise: Noise) -> Tensor:
        """Values drawn from component k (B,) of each row where they are not known, shaped as v."""

    @abstractmethod
    def peak(
        self, v: Tensor, known: Tensor, sought: Tensor, prior: Tensor, params: Parameters
    ) -> Tensor:
        """The values with the best found for those sought, under log-weights prior (B, K), shaped as v."""


class Multinomials(Part):
    """Counts of categories, p(c | k) proportional to the product of theta_kj^{c_j}: one group of categories or more.

    A one-hot label is a group counted once, tokens are a group counted as often as they occur.

    Args:
        groups: Which group each category belongs to, int64 (D,).
        smoothing: Weight added to every category.
        components: K.
    """

    def __init__(self, groups: Tensor, smoothing: float, components: int) -> None:
        self.groups = groups
        self.smoothing = smoothing
        self.components = components

    def blank(self, variance: Tensor) -> Parameters:
        """Uniform within each group."""
        size = torch.bincount(self.groups)[self.groups].to(variance)
        return {"log_theta": -size.log().expand(self.components, -1).clone()}

    def sight(self, params: Parameters, *, draft: bool = False) -> Sight:
        """The sum of c_j log theta_kj over known categories."""

        def see(v: Tensor, known: Tensor) -> Seen:
            counts = v * known
            return Seen(params["log_theta"] @ counts.T, lambda r: {"count": r.double() @ counts})

        return see

    def maximise(self, sums: Parameters, before: Parameters, *, least: float = 0.0) -> Parameters:
        """Smoothed shares within each group."""
        count = sums["count"] + self.smoothing + 1e-12
        groups = self.groups.to(count.device)
        total = count.new_zeros(len(count), int(groups.max()) + 1).index_add_(1, groups, count)
        return {"log_theta": count.log() - total[:, groups].log()}

    def free(self, params: Parameters) -> int:
        """One less than the categories of each group, for each component."""
        return self.components * (len(self.groups) - len(self.groups.unique()))


class Products(Drawn):
    """Products of heads over an event; the heads are maximised on all rows at once, so their rows come in one batch.

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

    def blank(self, variance: Tensor) -> Parameters:
        """The marginal law for every component."""
        if self.columns.narrow:
            places = self.columns.space.layout
        else:
            places = self.columns.space.layout[:-1]
        return {"table": self.columns.start().expand(self.components, *places, -1).clone()}

    def sight(self, params: Parameters, *, draft: bool = False) -> Sight:
        """Sums of the heads' log p over what is known."""
        table = params["table"]
        smoothing = self.smoothing
        law = self.columns.distribution(table)

        def see(v: Tensor, known: Tensor) -> Seen:
            def sums(r: Tensor) -> Parameters:
                share = r.T.contiguous()
                return {
                    "table": self.columns.estimate(
                        v, known, share, smoothing=smoothing, previous=table
                    )
                }

            return Seen(law.each(v, known).T, sums)

        return see

    def maximise(self, sums: Parameters, before: Parameters, *, least: float = 0.0) -> Parameters:
        """What was estimated already."""
        return {"table": sums["table"].to(before["table"])}

    def free(self, params: Parameters) -> int:
        """Those of the heads, for each component."""
        return self.components * self.columns.free

    def draw(self, v: Tensor, known: Tensor, k: Tensor, params: Parameters, noise: Noise) -> Tensor:
        """Events drawn from component k (B,) where they are not known, (B, *E)."""
        table = params["table"]
        u = noise.uniform("x", *table.shape[1:-1], self.columns.uniforms).double()
        size = max(1, ROOM // table[0].numel())
        pairs = zip(k.split(size), u.split(size), strict=True)
        return torch.where(
            known, v, torch.cat([self.columns.distribution(table[j]).draw(w) for j, w in pairs])
        )

    def peak(
        self, v: Tensor, known: Tensor, sought: Tensor, prior: Tensor, params: Parameters
    ) -> Tensor:
        """The best event that ascents from every component's own mode reach, entries being modes of components.

        Each step puts the candidate of most E[log p_k] under the responsibilities in every entry,
        which raises log p.
        """
        law = self.columns.distribution(params["table"])
        modes = law.mode  # (K, *E), the candidates
        scores = torch.stack([law.log_prob(m.expand_as(modes)) for m in modes], 1).clamp(
            min=-1e30
        )  # (K, C, *E)
        best = v
        height = torch.full_like(prior[:, 0], -torch.inf)
        for start in modes:
            x = torch.where(sought, start, v)
            for _ in range(STEPS):
                r = (prior + law.each(x, known | sought)).softmax(-1)
                pick = torch.tensordot(r, scores, 1).argmax(1)
                x = torch.where(sought, modes.gather(0, pick), v)
            value = (prior + law.each(x, known | sought)).logsumexp(-1)
            better = value > height
            best = torch.where(better.reshape(-1, *[1] * (v.dim() - 1)), x, best)
            height = torch.maximum(height, value)
        return best
