"""Nominal entries, and ordinal ones of few levels: one logit for each code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from likeness.heads.base import EntryDistribution, Head, keep_known
from likeness.numerics.draws import choose, soft_choice
from likeness.numerics.stable import log_softmax
from likeness.numerics.weighted import sums, tabulate

_DENSE = 32  # up to here one-hot rows and a matrix product beat a look-up for each component


@dataclass(frozen=True, eq=False)
class CategoricalDistribution(EntryDistribution):
    """P(x = k) = softmax(logits)_k over the codes that the entry has."""

    head: Categorical

    @cached_property
    def log_p(self) -> Tensor:
        """Normalised log-probabilities (..., n, K), -inf for codes that an entry does not have."""
        return log_softmax(self.head.mask(self.params))

    def log_prob(self, x: Tensor) -> Tensor:
        """A look-up in the log-softmax."""
        shape = np.broadcast_shapes(x.shape, self.log_p.shape[:-1])
        code = x.long().unsqueeze(-1).expand(*shape, 1)
        return self.log_p.expand(*shape, self.head.size).gather(-1, code).squeeze(-1)

    def draw(self, u: Tensor) -> Tensor:
        """The smallest code whose cumulative probability exceeds u."""
        u = u.squeeze(-1)
        return choose(self.log_p, u).to(u.dtype)

    def cdf(self, x: Tensor) -> Tensor:
        """The cumulative probability up to x's code."""
        total = self.log_p.exp().cumsum(-1)
        shape = np.broadcast_shapes(x.shape, total.shape[:-1])
        code = x.floor().clamp(0, self.head.size - 1).long().unsqueeze(-1).expand(*shape, 1)
        return torch.where(
            x < 0, 0.0, total.expand(*shape, self.head.size).gather(-1, code).squeeze(-1)
        )

    def relaxed(self, u: Tensor, temperature: float) -> Tensor:
        """Soft one-hot codes."""
        return soft_choice(self.log_p, u.squeeze(-1), temperature)

    @property
    def mode(self) -> Tensor:
        """The most probable code."""
        return self.log_p.argmax(-1).to(self.params.dtype)

    @property
    def mean(self) -> Tensor:
        """The expected code of ordinal entries, the most probable one of nominal entries."""
        codes = torch.arange(self.head.size, dtype=self.params.dtype, device=self.params.device)
        return torch.where(self.head.ordered, self.log_p.exp() @ codes, self.mode)

    @property
    def probabilities(self) -> Tensor:
        """Probabilities of the codes."""
        return self.log_p.exp()

    @property
    def linear(self) -> Tensor | None:
        """The log-probabilities, where the codes are few."""
        if self.head.size <= _DENSE:
            return self.log_p
        return None


class Categorical(Head):
    """Entries with codes 0..K_i - 1, embedded one-hot (all zero where missing); K is the largest K_i.

    Args:
        categories: The number of codes of each entry.
        ordered: Whether each entry's codes are in order; all nominal unless told.
    """

    counts: Tensor
    ordered: Tensor
    marginal: Tensor

    def __init__(self, categories: Sequence[int], *, ordered: Sequence[bool] | None = None) -> None:
        size = max(categories)
        super().__init__(entries=len(categories), size=size, features=size, presence=False)
        self.uneven = min(categories) < size
        self.register_buffer("counts", torch.tensor(list(categories)))
        self.register_buffer("ordered", torch.tensor(list(ordered or [False] * len(categories))))
        self.register_buffer("marginal", self._uniform())

    @property
    def free(self) -> int:
        """One less than the codes of each entry."""
        return int((self.counts - 1).sum())

    def _uniform(self) -> Tensor:
        return self.mask(torch.zeros(self.entries, self.size, dtype=torch.float64)).log_softmax(-1)

    def mask(self, logits: Tensor) -> Tensor:
        """The logits (..., n, K) with -inf at codes that an entry does not have."""
        if not self.uneven:
            return logits
        codes = torch.arange(self.size, device=logits.device)
        return logits.masked_fill(codes >= self.counts.unsqueeze(-1), -torch.inf)

    def fit(self, x: Tensor, present: Tensor, weight: Tensor) -> None:
        """The marginal log-probabilities, with one row spread over the codes."""
        table = self._table(x, present, weight.double().unsqueeze(-1))[0]
        smooth = table + 1.0 / self.counts.unsqueeze(-1)
        self.marginal = self.mask(smooth.log()).log_softmax(-1)

    def embed(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        """One-hot codes."""
        codes = torch.arange(self.size, dtype=x.dtype, device=x.device)
        return self._marked((x.unsqueeze(-1) == codes).to(x.dtype), present)

    def distribution(self, params: Tensor) -> CategoricalDistribution:
        """The distribution with these logits (..., n, K)."""
        return CategoricalDistribution(params, self)

    def start(self) -> Tensor:
        """The marginal log-probabilities, 0 at codes that an entry does not have."""
        return torch.where(torch.isfinite(self.marginal), self.marginal, 0.0)

    def estimate(
        self,
        x: Tensor,
        present: Tensor,
        weight: Tensor,
        *,
        smoothing: float = 0.0,
        previous: Tensor | None = None,
    ) -> Tensor:
        """Logits log (weight of the code + smoothing), normalised."""
        table = self._table(x, present, weight) + smoothing
        log_p = self.mask(table.log()).log_softmax(-1)
        return keep_known(log_p, table.sum(-1), self.marginal)

    def _table(self, x: Tensor, present: Tensor, weight: Tensor) -> Tensor:
        """The weight on each code of each entry, (K, ..., n, size)."""
        # Few codes: one-hot rows, a product of matrices, in chunks of bounded size.
        if self.size <= _DENSE:
            rows = max(1, 2**24 // (x[:1].numel() * self.size))
            parts = zip(x.split(rows), present.split(rows), weight.split(rows), strict=True)
            return torch.stack([sums(w, self.embed(v, mask)) for v, mask, w in parts]).sum(0)
        # Many codes: count each value that occurs.
        values, counts = tabulate(x.flatten(1), present.flatten(1), weight)
        table = counts.new_zeros(*counts.shape[:2], self.size)
        inside = values < self.size
        table[..., values[inside].long()] = counts[..., inside]
        return table.reshape(weight.shape[1], *x.shape[1:], self.size)

    def statistics(self, x: Tensor, present: Tensor) -> Tensor | None:
        """One-hot codes, where they are few."""
        if self.size <= _DENSE:
            return self.embed(x, present)
        return None
