"""What a net is conditioned on: an embedding of `given` and, for ragged rows, their length."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from likeness.core.batch import Batch
from likeness.core.preprocessor import Source
from likeness.core.space import Space
from likeness.nets.context import ContextNet


@final
class Conditioner(nn.Module):
    """The conditioning vector c = [e(given), length / longest], (B, size); None where there is nothing to condition on.

    A row whose condition is missing has the learned null embedding, which classifier-free guidance
    uses too (Ho & Salimans 2022, arXiv:2207.12598, section 3.2).

    Args:
        space: What x is.
        given_space: What is given, or None.
        embedding: The size of the embedding of `given`.
        by_length: Whether the length of ragged rows is a condition.

    Attributes:
        size: The size of the conditioning vector, 0 where it is None.
    """

    size: int
    _anchor: Tensor

    def __init__(
        self, space: Space, given_space: Space | None, embedding: int, *, by_length: bool = True
    ) -> None:
        super().__init__()
        self.longest = space.layout[0] if by_length and space.ragged else None
        self.embedding: ContextNet | None = None
        self.size = 0
        if given_space is not None:
            self.embedding = ContextNet(given_space, embedding)
            self.size += embedding
        if self.longest is not None:
            self.size += 1
        # It has the dtype and the device of a net without parameters
        self.register_buffer("_anchor", torch.zeros(()), persistent=False)

    def fit(self, source: Source) -> None:
        """Location and scale of the condition's real entries, from the training split."""
        if self.embedding is not None:
            self.embedding.fit(source)

    def forward(self, given: Batch | None, length: Tensor | None, rows: int) -> Tensor | None:
        """The conditioning vector, (B, size), or None where size is 0.

        Args:
            given: What is given, or None where it is missing for all rows.
            length: The rows' lengths, (B,); read where `by_length` is set and rows are ragged.
            rows: How many rows there are, B.
        """
        # The embedding of `given` (learned null where missing), beside it the relative length.
        parts = []
        if self.embedding is not None:
            parts.append(self.embedding.embed(given, rows))
        if self.longest is not None and length is not None:
            parts.append((length / self.longest).to(self._anchor)[:, None])
        if not parts:
            return None
        return torch.cat(parts, -1)
