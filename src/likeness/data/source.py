"""Sources: rows by index. In memory one tensor, and batches are look-ups; splits are deterministic."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from likeness.core.batch import Batch
from likeness.core.errors import BadData
from likeness.core.noise import mix
from likeness.core.space import Space


@dataclass(frozen=True, eq=False)
class Table:
    """Rows in memory.

    Args:
        space: What an item is.
        batch: All items.
        given_space: What is given, where the batch holds it.
        name: What reports call it.
        groups: A group for each row, int64 (N,): a split keeps groups whole.
    """

    space: Space
    batch: Batch
    given_space: Space | None = None
    name: str = "data"
    groups: Tensor | None = None

    def __len__(self) -> int:
        return len(self.batch)

    def rows(self, index: Tensor) -> Batch:
        """Some items; Batch.index says which of the whole."""
        return self.batch[index]

    def chunks(self, size: int) -> Iterator[Batch]:
        """All items in order, at most `size` at a time."""
        yield from self.batch.chunks(size)

    def take(self, index: Tensor) -> Table:
        """Some rows as a source of their own; they keep their index."""
        groups = None if self.groups is None else self.groups[index]
        return replace(self, batch=self.batch[index], groups=groups)

    def split(self, holdout: float, seed: int = 0) -> tuple[Table, Table]:
        """A training part and a held-out part of about `holdout` of the rows, by hash of (seed, row or group).

        A row's side depends on its own index (or group) and the seed only, so that adding rows moves none.

        Raises:
            BadData: If `holdout` leaves nothing to learn from.
        """
        if not 0 <= holdout < 1:
            raise BadData(f"a held-out share of {holdout} leaves nothing to learn from", do="choose 0 <= holdout < 1")
        keys = self.batch.ids if self.groups is None else self.groups
        values = torch.tensor([mix(seed, int(k)) for k in keys.tolist()], dtype=torch.float64) / 2.0**63
        out = values < holdout if holdout > 0 else torch.zeros(len(self), dtype=torch.bool)
        if holdout > 0 and self.groups is None and len(self) >= 2 and not 0 < int(out.sum()) < len(self):
            out = values <= values.min()
        return self.take(torch.nonzero(~out).flatten()), self.take(torch.nonzero(out).flatten())

    def hash(self) -> str:
        """A hash of the rows' bits, for the lineage of what is learned from them."""
        sha = hashlib.sha256(self.space.to_json().encode())
        for part in (self.batch, self.batch.given):
            for t in () if part is None else (part.x, part.observed, part.length, part.weight):
                sha.update(b"-" if t is None else t.detach().cpu().contiguous().numpy().tobytes())
        return sha.hexdigest()[:16]
