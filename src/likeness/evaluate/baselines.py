"""A baseline that must win every comparison of samples and lose the audit: the training rows themselves."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor

from likeness.core.batch import Batch
from likeness.core.context import Summary
from likeness.core.distribution import Distribution
from likeness.core.noise import Noise
from likeness.data.source import Source
from likeness.numerics.draws import inverse_cdf

ROWS = 256  # conditions that are looked up at once


@final
class Resampled(Distribution):
    """Hands out training rows, under a condition those whose own condition is nearest; it knows no log p.

    Args:
        train: The rows.
    """

    def __init__(self, train: Source) -> None:
        super().__init__(train.space, train.given_space)
        self.batch = train.batch
        self.ends = train.space.ragged
        if train.given_space is not None:
            self.summary = Summary(train.given_space).double()
            self.summary.fit(train)
            self.known = self.summary(self._told(self.batch)).double()

    def how(self, verb: str, settings: Any) -> str:
        """A training row."""
        return "a training row"

    def _why_not(self, verb: str) -> str | None:
        if verb == "log_prob":
            return "rows that are handed out again have no density"
        if verb == "sample":
            return None
        return "training rows only answer by being handed out"

    def _sample(
        self, noise: Noise, given: Batch | None, length: Tensor | None, settings: Any
    ) -> Tensor:
        return self.batch.x[self._rows(noise, given)].to(self.dtype)

    def _sample_ended(
        self, noise: Noise, given: Batch | None, settings: Any
    ) -> tuple[Tensor, Tensor]:
        rows = self._rows(noise, given)
        return self.batch.x[rows].to(self.dtype), self.batch.lengths[rows]

    def _rows(self, noise: Noise, given: Batch | None) -> Tensor:
        # Without a condition: any training row.
        u = noise.uniform("row", 1)[:, 0]
        if given is None or self.given_space is None:
            return (u * len(self.batch)).long()
        # With one: among the rows whose condition is nearest.
        wanted = self.summary(given.to(dtype=torch.float64)).double()
        return torch.cat(
            [self._nearest(w, v) for w, v in zip(wanted.split(ROWS), u.split(ROWS), strict=True)]
        )

    def _nearest(self, wanted: Tensor, u: Tensor) -> Tensor:
        """One of the rows whose condition is nearest, by uniform choice."""
        distance = torch.cdist(wanted, self.known)
        tied = distance <= distance.amin(1, keepdim=True) + 1e-9
        return inverse_cdf(tied.double().cumsum(1), u)

    @staticmethod
    def _told(batch: Batch) -> Batch:
        return batch.condition.to(dtype=torch.float64)
