"""Randomness that depends on (seed, use, index, draw, step) and on nothing else.

Rows are drawn in tiles of 64 consecutive indices, one generator per (seed, scope, use, step, draw,
tile), so that what a row is given does not change when rows are reordered, padded, batched or
sharded. A tile is always drawn whole. Ambient generators are neither read nor disturbed.
"""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

TILE = 64
_MASK = (1 << 64) - 1


def fresh_seed() -> int:
    """A seed from the operating system's entropy, below 2^53 so that JSON keeps it."""
    return secrets.randbits(53)


def mix(*words: int) -> int:
    """One 63-bit seed from several words: SplitMix64's finaliser (Steele et al. 2014) over their running sum."""
    state = 0x9E3779B97F4A7C15
    for word in words:
        state = _absorbed(state, word)
    return state >> 1


def _absorbed(state: int, word: int) -> int:
    # One round: add the word and the golden-ratio increment, then two xor-multiplies.
    state = (state + word * 0xBF58476D1CE4E5B9 + 0x9E3779B97F4A7C15) & _MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
    return state ^ (state >> 31)


def mix_each(seed: int, words: Tensor) -> Tensor:
    """`mix(seed, word)` of every word, int64 (N,): the same numbers, many at once."""
    start = np.uint64(_absorbed(0x9E3779B97F4A7C15, seed))
    word = words.detach().cpu().numpy().astype(np.int64).view(np.uint64)
    state = (
        start + word * np.uint64(0xBF58476D1CE4E5B9) + np.uint64(0x9E3779B97F4A7C15)
    )  # arrays wrap at 2^64
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state = state ^ (state >> np.uint64(31))
    return torch.from_numpy((state >> np.uint64(1)).astype(np.int64))


def generator(seed: int, *words: int) -> torch.Generator:
    """A generator of its own for (seed, words)."""
    return torch.Generator().manual_seed(mix(seed, *words))


@dataclass(frozen=True, eq=False)
class Noise:
    """A source of random numbers for a batch of rows.

    Args:
        seed: The user's seed.
        index: Which item each row is, int64 (B,).
        draw: The number of the draw, one for all rows or int64 (B,).
        step: The training step, 0 when asking.
        scope: The verb that draws, so that two verbs of one seed are independent.
        dtype: The type of the numbers given.
    """

    seed: int
    index: Tensor
    draw: int | Tensor = 0
    step: int = 0
    scope: str = ""
    dtype: torch.dtype = torch.float32

    @property
    def rows(self) -> int:
        """The number of rows B."""
        return int(self.index.shape[0])

    @property
    def place(self) -> Tensor:
        """Index plus draw, int64 (B,): a number of the row's own, which spreads both items and draws."""
        return self.index.cpu() + torch.as_tensor(self.draw).cpu()

    def normal(self, use: str, *shape: int) -> Tensor:
        """Standard normal numbers (B, *shape)."""
        return self._tiles(
            use, shape, lambda size, g: torch.randn(size, generator=g, dtype=self.dtype)
        )

    def uniform(self, use: str, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), (B, *shape)."""
        return self._tiles(
            use, shape, lambda size, g: torch.rand(size, generator=g, dtype=self.dtype)
        )

    def draws(self, n: int, first: int = 0) -> Noise:
        """The noise of draws first..first+n-1 of every row, (n*B,) rows, draw-major."""
        draw = torch.arange(first, first + n).repeat_interleave(self.rows) + torch.as_tensor(
            self.draw
        ).repeat(n if isinstance(self.draw, Tensor) else 1)
        return replace(self, index=self.index.repeat(n), draw=draw)

    def within(self, scope: str) -> Noise:
        """The same rows under a scope of their own."""
        return replace(self, scope=f"{self.scope}/{scope}")

    def __getitem__(self, rows: Tensor | slice) -> Noise:
        """The noise of some rows."""
        draw = self.draw[rows] if isinstance(self.draw, Tensor) else self.draw
        return replace(self, index=self.index[rows], draw=draw)

    def _tiles(
        self,
        use: str,
        shape: tuple[int, ...],
        fill: Callable[[tuple[int, ...], torch.Generator], Tensor],
    ) -> Tensor:
        # The name of the use is a word of the seed, so that uses are independent.
        word = zlib.crc32(f"{self.scope}|{use}".encode())
        source = torch.Generator()

        def block(tile: int, draw: int) -> Tensor:
            return fill(
                (TILE, *shape), source.manual_seed(mix(self.seed, word, self.step, draw, tile))
            )

        index = self.index.cpu()
        if not len(index):
            return fill((0, *shape), source).to(self.index.device)
        # One draw of consecutive rows: whole tiles side by side, of which a slice is the answer.
        if not isinstance(self.draw, Tensor) and _consecutive(index):
            start, skip = divmod(int(index[0]), TILE)
            stop = start - (-(skip + len(index)) // TILE)
            blocks = [block(t, self.draw) for t in range(start, stop)]
            whole = blocks[0] if len(blocks) == 1 else torch.cat(blocks)
            here = whole[skip : skip + len(index)]
            return (here.clone() if skip else here).to(
                self.index.device
            )  # kernels' bits depend on alignment
        # Any other rows: each distinct (tile, draw) once, rows picked by position in the tile.
        tile = torch.div(index, TILE, rounding_mode="floor")
        keys, inverse = _pairs(tile, torch.as_tensor(self.draw).cpu().expand_as(tile))
        rows = torch.stack([block(t, d) for t, d in keys])
        return rows.flatten(0, 1)[inverse * TILE + index % TILE].to(self.index.device)


def _consecutive(index: Tensor) -> bool:
    """Whether the indices are n, n + 1, n + 2, ..."""
    return torch.equal(index, torch.arange(int(index[0]), int(index[0]) + len(index)))


def _pairs(tile: Tensor, draw: Tensor) -> tuple[list[tuple[int, int]], Tensor]:
    """The distinct (tile, draw) among the rows, and which of them each row has."""
    # The two numbers as one key, which sorts faster than pairs do.
    least = int(draw.min())
    span = int(draw.max() - draw.min()) + 1
    # Unless the key would overflow 64 bits.
    if int(tile.abs().max()) >= (1 << 62) // span:
        both, inverse = torch.unique(torch.stack([tile, draw]), dim=1, return_inverse=True)
        return [(t, d) for t, d in both.T.tolist()], inverse
    keys, inverse = torch.unique(tile * span + (draw - least), return_inverse=True)
    return [(k // span, k % span + least) for k in keys.tolist()], inverse
