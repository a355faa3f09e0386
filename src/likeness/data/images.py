"""Folders of images, and binarised images, drawn anew each epoch or fixed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from likeness.core.batch import Batch
from likeness.core.errors import BadData
from likeness.core.noise import mix
from likeness.core.space import Ordinal, Space, image
from likeness.data import folders, pictures
from likeness.data.arrangement import Arrangement, arrange
from likeness.data.arrays import Array
from likeness.data.limits import array_memory, check_memory
from likeness.data.source import Loud, Reading, Table

SUFFIXES = pictures.SUFFIXES


# ---- folders -------------------------------------------------------------------------------------


def read_folder(
    path: Path, *, name: str, size: tuple[int, int] | None = None, channels: int | None = None
) -> Reading:
    """Images below a folder; sub-folders are classes, and folders train and test an official split.

    Args:
        path: The folder.
        name: What reports call the set.
        size: Height and width to resize to; without it all images must be of one size.
        channels: 1, 3 or 4; without it 4 where all may be transparent, else 1 where all are grey,
            else 3.

    Raises:
        BadData: Naming the file that cannot be read, or whose size differs from the others'.
    """
    # The folders say parts and classes.
    arrangement = arrange(path, SUFFIXES, "image")
    # Heads of all files before any pixel: size, channels and memory are settled first.
    heads = [pictures.head(file) for held in arrangement.files.values() for file in held]
    channels = channels or pictures.channels_of(heads)
    height, width = size or pictures.one_size([h.file for h in heads], [h.size for h in heads])
    check_memory(array_memory(len(heads) * channels * height * width, 1), path)
    pixels = {
        part: stack(held, channels=channels, size=size) for part, held in arrangement.files.items()
    }
    # Black and white throughout: two levels instead of 256.
    binary = all(p.max(initial=0) == 255 and np.isin(p, (0, 255)).all() for p in pixels.values())
    space = image(channels, height, width, levels=2 if binary else 256)
    scale = 255 if binary else 1
    tables = {
        part: _table(space, p // scale, arrangement, part, name) for part, p in pixels.items()
    }
    notes = ("every pixel is black or white: read as binary",) if binary else ()
    notes = (*notes, *pictures.notes(heads, channels), *arrangement.notes)
    return Reading(tables, notes, aside="label" if arrangement.names else None)


def files(folder: Path) -> list[Path]:
    """The images below a folder, in the order of their names."""
    return folders.files(folder, SUFFIXES)


def _table(space: Space, pixels: Array, found: Arrangement, part: str, name: str) -> Table:
    given, given_space = found.given(part)
    return Table(
        space,
        Batch(torch.from_numpy(pixels).float(), given=given),
        given_space=given_space,
        name=name,
    )


def stack(found: Sequence[Path], *, channels: int, size: tuple[int, int] | None = None) -> Array:
    """Images of one size, uint8 (N, C, H, W).

    Raises:
        BadData: Naming the first file of another size than the first file's.
    """
    # The array is made when the first picture has told the size.
    shape = (channels, *(size or (0, 0)))
    stacked = np.zeros((0, *shape), dtype=np.uint8)
    for i, file in enumerate(found):
        pixels = pictures.pixels(file, channels=channels, size=size)
        if not i:
            stacked = np.zeros((len(found), *pixels.shape), dtype=np.uint8)
        pictures.one_size([found[0], file], [stacked.shape[2:], pixels.shape[1:]])
        stacked[i] = pixels
    return stacked


def of_path(space: Space, path: Path) -> tuple[Batch, tuple[str, ...]]:
    """Images of a file or a folder as items of an image Space, and what was changed for it.

    Raises:
        BadData: If the Space is none of images, or a file cannot be read.
    """
    if len(space.shape) != 3 or space.ragged or space.variables[0].type != "ordinal":
        raise BadData(
            "image files where the items are no images",
            do="give items like those that were learned",
        )
    channels, height, width = space.layout
    if channels not in pictures.MODES:
        raise BadData(f"image files where items have {channels} channels", do="give arrays")
    found = files(path) if path.is_dir() else [path]
    # Pictures of other sizes are resized to the model's, with a note.
    heads = [pictures.head(file) for file in found]
    notes = list(pictures.notes(heads, channels))
    resized = sum(h.size != (height, width) for h in heads)
    if resized:
        notes.append(
            Loud(
                f"{folders.counted(resized, 'image')} of other sizes resized to {height} x {width}"
            )
        )
    check_memory(array_memory(len(found) * space.dims, 1), path)
    pixels = torch.from_numpy(stack(found, channels=channels, size=(height, width))).float()
    # 256 levels to the model's number, rounded.
    levels = int(space.variables[0].states)
    if levels == 256:
        return Batch(pixels), tuple(notes)
    scaled = pixels * (levels - 1) / 255
    rounded = int((scaled != scaled.round()).flatten(1).any(1).sum())
    if rounded:
        notes.append(
            Loud(f"the 256 levels of {folders.counted(rounded, 'image')} rounded to {levels}")
        )
    return Batch(scaled.round()), tuple(notes)


# ---- binarised images ----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Dynamic:
    """Images whose pixels are drawn black or white anew each epoch: Bernoulli(grey level), the level in [0, 1].

    A pixel depends on (seed, epoch, the item's index, the pixel) and on nothing else.
    Salakhutdinov & Murray 2008, section 5; Burda et al. 2015, arXiv:1509.00519, section 5.

    Args:
        grey: The grey items.
        seed: The seed of the draws.
        pass_: The epoch whose draws `rows` gives.
    """

    grey: Table
    seed: int = 0
    pass_: int = 0

    def __len__(self) -> int:
        return len(self.grey)

    @property
    def space(self) -> Space:
        """What an item is: an image of two levels."""
        return self.grey.space.model_copy(update={"variables": (Ordinal(levels=2),)})

    @property
    def given_space(self) -> Space | None:
        """What is given, if anything."""
        return self.grey.given_space

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.grey.name

    @property
    def batch(self) -> Batch:
        """All items as this epoch draws them."""
        return self._draw(self.grey.batch)

    def rows(self, index: Tensor) -> Batch:
        """Some items; Batch.index says which of the whole."""
        return self._draw(self.grey.rows(index))

    def chunks(self, size: int) -> Iterator[Batch]:
        """All items in order, at most `size` at a time."""
        yield from map(self._draw, self.grey.chunks(size))

    def take(self, index: Tensor) -> Dynamic:
        """Some rows as a source of their own; they keep their index, and so their draws."""
        return replace(self, grey=self.grey.take(index))

    def split(self, holdout: float, seed: int = 0) -> tuple[Dynamic, Dynamic]:
        """A training part and a held-out part of about `holdout` of the rows, by hash as tables do."""
        train, out = self.grey.split(holdout, seed)
        return replace(self, grey=train), replace(self, grey=out)

    def epoch(self, number: int) -> Dynamic:
        """The items as another pass over the data sees them."""
        return replace(self, pass_=number)

    def fixed(self) -> Table:
        """The items as this epoch draws them, once for all: what a test part needs."""
        return replace(self.grey, space=self.space, batch=self.batch)

    def hash(self) -> str:
        """A hash of the grey levels and the seed."""
        return f"{self.grey.hash()[:12]}{mix(self.seed) & 0xFFFF:04x}"

    def _draw(self, batch: Batch) -> Batch:
        levels = self.grey.space.variables[0].states
        # p(white) = grey level / top level, (B, D).
        chance = batch.x.flatten(1) / (levels - 1)
        # Uniforms by hashing (seed, epoch, item, pixel).
        coin = uniforms(batch.ids, chance.shape[1], mix(self.seed, self.pass_))
        return batch.with_x((coin < chance).to(batch.x.dtype).reshape(batch.x.shape))


def uniforms(ids: Tensor, entries: int, seed: int) -> Tensor:
    """A uniform number in [0, 1) for each (seed, id, entry), float32 (B, entries), by hashing the three.

    MurmurHash3's finaliser (Appleby 2011) in wrapping int64. Tiles of `Noise` would draw 64 rows
    for each one asked, and a training batch takes its rows from all over the data.
    """
    # One key a (row, entry), the golden-ratio increment apart.
    key = (
        _scramble(ids.to(torch.int64) ^ seed)[:, None]
        + torch.arange(entries, device=ids.device) * 0x1E3779B97F4A7C15
    )
    # The top 24 bits, which float32 holds exactly.
    return (_scramble(key) >> 40 & 0xFFFFFF).float() / 2.0**24


def _scramble(h: Tensor) -> Tensor:
    # Xor-shift and multiply, the shift made unsigned by the mask.
    for factor in (-0xAE502812AA7333, -0x3B314601E57A13AD):
        h = (h ^ (h >> 33 & 0x7FFFFFFF)) * factor
    return h ^ (h >> 33 & 0x7FFFFFFF)


def threshold(table: Table) -> Table:
    """Images with every pixel above half of the top level white, the others black."""
    levels = table.space.variables[0].states
    x = (table.batch.x > (levels - 1) / 2).to(table.batch.x.dtype)
    space = table.space.model_copy(update={"variables": (Ordinal(levels=2),)})
    return replace(table, space=space, batch=table.batch.with_x(x))
