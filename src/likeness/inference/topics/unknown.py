"""Words that are none of a vocabulary: each word of a document is one with one probability, whatever its topic."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from likeness.core.batch import Batch


@dataclass(frozen=True, eq=False)
class UnknownWords:
    """p(words) = p^u (1 - p)^(n - u) p(the n - u known words), u of the n being unknown.

    They say nothing of topics, so that they move no document's proportions.

    Args:
        code: What stands for an unknown word; those of the vocabulary lie below it.
        p: Its probability, float64 ().
    """

    code: int
    p: Tensor

    def known(self, batch: Batch) -> Tensor:
        """Which entries are there and hold a word of the vocabulary, bool (B, L)."""
        return batch.present & (batch.x != self.code)

    def count(self, batch: Batch) -> Tensor:
        """The unknown words of each document, (B,)."""
        return (batch.present & (batch.x == self.code)).sum(-1).double()

    def log_prob(self, batch: Batch) -> Tensor:
        """Log p of which words are unknown, (B,)."""
        # A binomial without its coefficient: the order of the words is observed.
        unknown = self.count(batch)
        known = self.known(batch).sum(-1).double()
        return torch.xlogy(unknown, self.p) + torch.xlogy(known, 1 - self.p)

    def mixed(self, words: Tensor, u: Tensor) -> Tensor:
        """Drawn words, of which some are unknown by uniform numbers of the same shape."""
        return torch.where(u < self.p, float(self.code), words)
