"""Folders of images whose sub-folders are classes, and binarised images, drawn anew each epoch or fixed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from likeness.core.batch import Batch
from likeness.core.errors import BadData
from likeness.core.noise import mix
from likeness.core.space import Ordinal, Space, image, label
from likeness.data.arrays import Array
from likeness.data.source import Reading, Table

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}
)
PARTS = ("train", "valid", "test")
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
DEEP = frozenset({"I", "F"})


# ---- folders -------------------------------------------------------------------------------------


def read_folder(
    path: Path, *, name: str, size: tuple[int, int] | None = None, channels: int | None = None
) -> Reading:
    """Images below a folder; sub-folders are classes, and folders train and test an official split.

    Args:
        path: The folder.
        name: What reports call the set.
        size: Height and width to resize to; without it all images must be of one size.
        channels: 1, 3 or 4; without it 1 where every image is grey, else 3 (4 where all have
            transparency).

    Raises:
        BadData: Naming the file that cannot be read, or whose size differs from the first one's.
    """
    split = (path / "train").is_dir() and (path / "test").is_dir()
    if split:
        folders = {p: path / p for p in PARTS if (path / p).is_dir()}
    else:
        folders = {"all": path}
    listed = {part: files(folder) for part, folder in folders.items()}
    every = [f for found in listed.values() for f in found]
    if not every:
        raise BadData(
            "the folder holds no images",
            where=str(path),
            do="put PNG or JPEG files in it, a folder a class",
        )
    channels = channels or _channels(every)
    pixels = {part: stack(found, channels=channels, size=size) for part, found in listed.items()}
    if len({p.shape[1:] for p in pixels.values()}) > 1:
        raise BadData(
            "the parts hold images of unlike sizes", where=str(path), do="give size=(height, width)"
        )
    c, h, w = next(iter(pixels.values())).shape[1:]
    binary = all(p.max(initial=0) == 255 and np.isin(p, (0, 255)).all() for p in pixels.values())
    space = image(c, h, w, levels=2 if binary else 256)
    scale = 255 if binary else 1
    owners = {part: [_class(f, folders[part]) for f in found] for part, found in listed.items()}
    classes = sorted({c for found in owners.values() for c in found if c is not None})
    tables = {
        part: _table(space, pixels[part] // scale, owners[part], classes, name) for part in listed
    }
    notes = ("every pixel is black or white: read as binary",) if binary else ()
    return Reading(tables, notes + _strangers(path, len(every)), aside="label" if classes else None)


def files(folder: Path) -> list[Path]:
    """The images below a folder, in the order of their names."""
    found = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    return sorted(
        p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts)
    )


def _strangers(folder: Path, images: int) -> tuple[str, ...]:
    others = sum(p.is_file() and not p.name.startswith(".") for p in folder.rglob("*")) - images
    if others > 0:
        return (f"{others} files that are no images were passed over",)
    return ()


def _class(file: Path, folder: Path) -> str | None:
    """The sub-folder that an image lies in."""
    if file.parent != folder:
        return file.relative_to(folder).parts[0]
    return None


def _table(
    space: Space, pixels: Array, owners: list[str | None], classes: list[str], name: str
) -> Table:
    x = torch.from_numpy(pixels).float()
    if not classes:
        return Table(space, Batch(x), name=name)
    codes = torch.tensor(
        [[classes.index(c) if c is not None else -1] for c in owners], dtype=torch.float32
    )
    known = codes >= 0
    given = Batch(codes.clamp_min(0), observed=None if bool(known.all()) else known)
    return Table(
        space, Batch(x, given=given), given_space=label(len(classes), tuple(classes)), name=name
    )


def _channels(found: list[Path]) -> int:
    modes = set()
    for file in found:
        with _open(file) as picture:
            modes.add(picture.mode)
    if modes <= {"1", "L"}:
        return 1
    if modes <= {"RGBA", "LA"}:
        return 4
    return 3


def _open(file: Path) -> Picture:
    from PIL import Image, UnidentifiedImageError

    try:
        picture = Image.open(file)
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise _unreadable(file) from error
    if picture.mode[:1] in DEEP:
        raise BadData(
            "an image of more than 8 bits a pixel",
            where=str(file),
            do="save it with 8 bits, or as .npy",
        )
    return picture


def _unreadable(file: Path) -> BadData:
    return BadData("the image cannot be read", where=str(file), do="save it again, or remove it")


def read_image(file: Path, *, channels: int, size: tuple[int, int] | None = None) -> Array:
    """One image, uint8 (C, H, W).

    Raises:
        BadData: Naming the file that cannot be read.
    """
    from PIL import Image

    with _open(file) as picture:
        try:
            made = picture.convert(MODES[channels])
        except (OSError, ValueError, SyntaxError) as error:
            raise _unreadable(file) from error
    if size is not None and (made.height, made.width) != size:
        made = made.resize((size[1], size[0]), Image.Resampling.LANCZOS)
    pixels = np.asarray(made)
    return np.ascontiguousarray(
        np.moveaxis(pixels if pixels.ndim == 3 else pixels[..., None], -1, 0)
    )


def stack(found: list[Path], *, channels: int, size: tuple[int, int] | None = None) -> Array:
    """Images of one size, uint8 (N, C, H, W).

    Raises:
        BadData: Naming the first file of another size than the first file's.
    """
    pixels = [read_image(file, channels=channels, size=size) for file in found]
    odd = next((i for i, p in enumerate(pixels) if p.shape != pixels[0].shape), None)
    if odd is not None:
        (h, w) = pixels[odd].shape[1:]
        (h0, w0) = pixels[0].shape[1:]
        raise BadData(
            f"an image of {h} x {w} among images of {h0} x {w0}",
            where=str(found[odd]),
            do="give size=(height, width)",
        )
    if pixels:
        return np.stack(pixels)
    return np.zeros((0, channels, *(size or (0, 0))), dtype=np.uint8)


def as_pixels(space: Space, found: list[Path]) -> Batch:
    """Image files as items of an image Space.

    Raises:
        BadData: If the Space is none of images.
    """
    if len(space.shape) != 3 or space.ragged or space.variables[0].type != "ordinal":
        raise BadData(
            "image files where the items are no images",
            do="give items like those that were learned",
        )
    channels, height, width = space.layout
    levels = int(space.variables[0].states)
    pixels = torch.from_numpy(stack(found, channels=channels, size=(height, width))).float()
    return Batch(pixels if levels == 256 else (pixels * (levels - 1) / 255).round())


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
        kept, out = self.grey.split(holdout, seed)
        return replace(self, grey=kept), replace(self, grey=out)

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
        chance = batch.x.flatten(1) / (levels - 1)
        coin = uniforms(batch.ids, chance.shape[1], mix(self.seed, self.pass_))
        return batch.with_x((coin < chance).to(batch.x.dtype).reshape(batch.x.shape))


def uniforms(ids: Tensor, entries: int, seed: int) -> Tensor:
    """A uniform number in [0, 1) for each (seed, id, entry), float32 (B, entries), by hashing the three.

    MurmurHash3's finaliser (Appleby 2011) in wrapping int64. Tiles of `Noise` would draw 64 rows
    for each one asked, and a training batch takes its rows from all over the data.
    """
    key = (
        _scramble(ids.to(torch.int64) ^ seed)[:, None]
        + torch.arange(entries, device=ids.device) * 0x1E3779B97F4A7C15
    )
    return (_scramble(key) >> 40 & 0xFFFFFF).float() / 2.0**24


def _scramble(h: Tensor) -> Tensor:
    for factor in (-0xAE502812AA7333, -0x3B314601E57A13AD):
        h = (h ^ (h >> 33 & 0x7FFFFFFF)) * factor
    return h ^ (h >> 33 & 0x7FFFFFFF)


def threshold(table: Table) -> Table:
    """Images with every pixel above half of the top level white, the others black."""
    levels = table.space.variables[0].states
    x = (table.batch.x > (levels - 1) / 2).to(table.batch.x.dtype)
    space = table.space.model_copy(update={"variables": (Ordinal(levels=2),)})
    return replace(table, space=space, batch=table.batch.with_x(x))
