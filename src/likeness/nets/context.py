"""An embedding of `given`, whatever it is: labels, vectors, images, tokens, steps of several columns."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from likeness.core.batch import Batch
from likeness.core.context import Summary
from likeness.core.preprocessor import Source
from likeness.core.space import Space
from likeness.nets.conv import Encoder
from likeness.nets.mlp import MLP


class ContextNet(nn.Module):
    """The embedding of `given`, (B, size); a condition that is missing whole has a learned null vector.

    A label is embedded, a vector passes an MLP with its mask bits, an image a small convolutional
    net; of tokens the MLP sees counts, length and sum_l P_l * E_{x_l} over those that are present,
    so that their order counts too; steps of several named columns are read so column by column.

    Args:
        space: The Space of `given`.
        size: The size of the embedding.
    """

    def __init__(self, space: Space, size: int = 64) -> None:
        super().__init__()
        self.space = space
        self.size = size
        self.summary = Summary(space)
        self.image = len(space.shape) == 3
        self.coded = [
            i for i, v in enumerate(space.columns) if space.ragged and v.type == "nominal"
        ]
        self.tokens = bool(self.coded)
        self.null = nn.Parameter(torch.zeros(size))
        if self.image:
            shape = (2 * space.layout[0], *space.layout[1:])
            self.net: nn.Module = Encoder(shape, size, width=16)
        else:
            # Values and their mask; of tokens also a vector that depends on their order.
            self.net = MLP(
                2 * self.summary.size + size * self.tokens, size, hidden=(max(size, 64),)
            )
        if self.tokens:
            longest = space.layout[0]
            states = [int(space.columns[i].states) for i in self.coded]
            self.first = [
                sum(states[:i]) for i in range(len(states))
            ]  # of each column's symbols among all
            self.places = nn.Parameter(torch.randn(longest, size))
            self.symbols = nn.Parameter(
                torch.randn(sum(states), size) / (longest * len(states)) ** 0.5
            )

    def fit(self, source: Source) -> None:
        """Location and scale of the condition's real entries, from the training split."""
        self.summary.fit(source)

    def embed(self, given: Batch | None, rows: int) -> Tensor:
        """The embedding for so many rows, (B, size): the null vector where nothing is given."""
        if given is None:
            return self.null.expand(rows, -1)
        vector: Tensor = self(given)
        return vector

    def forward(self, given: Batch) -> Tensor:
        """The embedding, (B, size)."""
        values = self.summary(given)
        mask = self.summary.mask(given)
        if self.image:
            shape = (len(given), *self.space.layout)
            features = torch.cat([values.reshape(shape), mask.reshape(shape)], 1)
        else:
            features = torch.cat([values, mask, *([self._read(given)] if self.tokens else [])], -1)
        # Nothing of the condition observed: the learned null vector.
        known = mask.any(-1, keepdim=True)
        return torch.where(known, self.net(features), self.null)

    def _read(self, given: Batch) -> Tensor:
        """What the tokens that are present say at their places, (B, size)."""
        # (B, L) or (B, L, columns) -> (B, L, columns)
        x, present = (t if t.dim() > 2 else t[..., None] for t in (given.x.long(), given.present))
        places = self.places[: x.shape[1]]
        total = self.symbols.new_zeros(len(x), self.size)
        # sum over places of (embedding of the symbol) times (embedding of its place).
        for column, first in zip(self.coded, self.first, strict=True):
            symbol = self.symbols[(x[..., column] + first).clamp(0, len(self.symbols) - 1)] * places
            total = total + (symbol * present[..., column, None]).sum(1)
        return total
