"""Picture files: what their heads say, and their pixels as a viewer shows them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from likeness.core.errors import BadData
from likeness.core.quiet import filtered
from likeness.data.arrays import Array
from likeness.data.folders import counted, listed
from likeness.data.limits import check_memory
from likeness.data.source import Loud

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

SUFFIXES = frozenset(
    {
        *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp"),
        *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
    }
)
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
GREY = frozenset({"1", "L", "LA", "La"})
COLOURS = frozenset({"P", "PA", "RGB", "RGBA", "RGBa", "RGBX"})
CONVERTED = frozenset({"CMYK", "YCbCr", "HSV"})
DEEP = frozenset({"I", "F"})
PIXELS_MOST = 2**26
BYTES_PER_PIXEL = 12  # of one picture: as it is decoded, with its transparency, and converted
SIZES_SHOWN = 3
ORIENTATION = 0x0112
UPRIGHT, SIDEWAYS = 1, 5  # orientations; from 5 on height and width change places


@dataclass(frozen=True)
class Head:
    """What is known of a picture before its pixels are read.

    Args:
        file: The file.
        size: Height and width as shown.
        mode: The colours as the file holds them: Pillow's name.
        grey: Whether it has no colours.
        clear: Whether parts of it may be transparent.
        turned: Whether it is shown turned or mirrored.
        frames: The number of its frames or pages.
    """

    file: Path
    size: tuple[int, int]
    mode: str
    grey: bool
    clear: bool
    turned: bool
    frames: int


def head(file: Path) -> Head:
    """What a picture file says of itself.

    Raises:
        BadData: If it is no picture, is too large, or holds more than 8 bits a channel.
    """
    # The head alone tells size, colours and orientation.
    with _opened(file) as picture:
        orientation = _orientation(picture)
        found = Head(
            file=file,
            size=_shown_size(picture, orientation),
            mode=picture.mode,
            grey=picture.mode in GREY or (picture.mode == "P" and _grey_palette(picture)),
            clear=picture.has_transparency_data,
            turned=orientation != UPRIGHT,
            frames=int(getattr(picture, "n_frames", 1)),
        )
        kind = picture.format
    # PNG has checksums: a damaged file is found now, not in the middle of a fit.
    if kind == "PNG":
        _verify(file)
    return found


def pixels(file: Path, *, channels: int, size: tuple[int, int] | None = None) -> Array:
    """The pixels of a picture as it is shown, uint8 (C, H, W): upright, and laid on white.

    With four channels transparency stays as it is.

    Args:
        file: The file.
        channels: 1 for grey, 3 for colours, 4 for colours and transparency.
        size: Height and width to resize to.

    Raises:
        BadData: Naming the file, if it cannot be read whole.
    """
    from PIL import Image

    # Upright first, then white under transparency, then the number of channels.
    with _opened(file) as picture:
        picture.load()
        shown = _upright(picture)
        if channels < 4 and picture.has_transparency_data:
            shown = _on_white(shown)
        shown = shown.convert(MODES[channels])
    # Resized last, after colours are final.
    if size is not None and (shown.height, shown.width) != size:
        shown = shown.resize((size[1], size[0]), Image.Resampling.LANCZOS)
    # (H, W) or (H, W, C) -> (C, H, W)
    values = np.asarray(shown)
    planes = values[..., None] if values.ndim == 2 else values
    return np.ascontiguousarray(np.moveaxis(planes, -1, 0))


def notes(heads: Sequence[Head], channels: int) -> tuple[str, ...]:
    """What was changed or left out to read pictures in so many channels."""
    made: list[str] = []
    turned = sum(h.turned for h in heads)
    if turned:
        made.append(
            f"{counted(turned, 'image')} turned upright, as the orientation in the file (EXIF) says"
        )
    several = [h for h in heads if h.frames > 1]
    if several:
        left = sum(h.frames - 1 for h in several)
        said = f"{counted(len(several), 'image')} of several frames or pages"
        names = listed(h.file.name for h in several)
        made.append(Loud(f"{said}, the first of which is read: {left:,} left out ({names})"))
    clear = sum(h.clear for h in heads)
    if clear and channels < 4:
        made.append(
            Loud(f"{clear:,} of {counted(len(heads), 'image')} with transparency: laid on white")
        )
    modes = Counter(h.mode for h in heads if h.mode in CONVERTED)
    made += [f"{counted(n, 'image')} in {mode} read as RGB" for mode, n in sorted(modes.items())]
    coloured = sum(not h.grey for h in heads)
    if coloured and channels == 1:
        made.append(f"{counted(coloured, 'image')} with colours read as grey")
    return tuple(made)


def channels_of(heads: Sequence[Head]) -> int:
    """4 where every picture may be transparent, else 1 where all are grey, else 3."""
    if all(h.clear for h in heads):
        return 4
    return 1 if all(h.grey for h in heads) else 3


def one_size(files: Sequence[Path], sizes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The height and width that all pictures share.

    Raises:
        BadData: If they differ: the most frequent size, the first file of another, and the others.
    """
    counts = Counter(sizes)
    (common, _), *others = counts.most_common()
    if not others:
        return common
    odd = next(i for i, size in enumerate(sizes) if size != common)
    said = f"an image of {_by(sizes[odd])} among images of {_by(common)}"
    if counts[common] < len(sizes) - 1:
        shown = ", ".join(f"{n:,} of {_by(size)}" for size, n in others[:SIZES_SHOWN])
        more = (
            f", and {len(others) - SIZES_SHOWN:,} sizes more" if len(others) > SIZES_SHOWN else ""
        )
        said += f" (other sizes: {shown}{more})"
    raise BadData(said, where=str(files[odd]), do="give size=(height, width)")


def _by(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))


# ---- colours and turns ---------------------------------------------------------------------------


def _orientation(picture: Picture) -> int:
    """How a picture is to be turned, by its EXIF tag; a broken tag says nothing.

    CIPA DC-008-2023, Exif 3.0, section 4.6.5: 1 is upright.
    """
    # The orientation of a PNG may stand behind its pixels; asking for it would read them.
    if picture.format == "PNG" and "exif" not in picture.info:
        return UPRIGHT
    try:
        said = picture.getexif().get(ORIENTATION, UPRIGHT)
    except Exception:
        return UPRIGHT
    return said if isinstance(said, int) and UPRIGHT <= said <= 8 else UPRIGHT


def _shown_size(picture: Picture, orientation: int) -> tuple[int, int]:
    """Height and width when upright."""
    # A TIFF page may be smaller than its first tags say.
    tags = getattr(picture, "tag_v2", None)
    width, height = picture.size if tags is None else (int(tags[256]), int(tags[257]))
    return (width, height) if orientation >= SIDEWAYS else (height, width)


def _upright(picture: Picture) -> Picture:
    from PIL.Image import Transpose

    # Values 2 to 8 of the tag, as what undoes them.
    turns = (
        Transpose.FLIP_LEFT_RIGHT,
        Transpose.ROTATE_180,
        Transpose.FLIP_TOP_BOTTOM,
        Transpose.TRANSPOSE,
        Transpose.ROTATE_270,
        Transpose.TRANSVERSE,
        Transpose.ROTATE_90,
    )
    orientation = _orientation(picture)
    return picture if orientation == UPRIGHT else picture.transpose(turns[orientation - 2])


def _on_white(picture: Picture) -> Picture:
    from PIL import Image

    clear = picture.convert("LA") if picture.mode == "La" else picture
    ground = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(ground, clear.convert("RGBA")).convert("RGB")


def _grey_palette(picture: Picture) -> bool:
    """Whether the colours of a palette that are used are grey."""
    # Only colours that some pixel uses count.
    used = picture.getcolors(256) or []
    palette = np.array(picture.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    colours = palette[
        [index for _, index in used if isinstance(index, int) and index < len(palette)]
    ]
    return bool((colours == colours[:, :1]).all())


# ---- opening -------------------------------------------------------------------------------------


@contextmanager
def _opened(file: Path) -> Iterator[Picture]:
    """A picture whose head is sound; what a decoder raises while it is open becomes a sentence."""
    from PIL import Image

    with filtered("ignore"):  # a decoder's warnings are for those who write decoders
        try:
            with Image.open(file, formats=FORMATS) as picture:
                _check(picture, file)
                yield picture
        except BadData:
            raise
        except Image.DecompressionBombError as error:
            count = re.search(r"\((\d+) pixels\)", str(error))
            raise _too_large(
                file, f"{int(count[1]):,} pixels" if count else "too many pixels"
            ) from error
        except MemoryError as error:
            raise _too_large(file, "more pixels than the memory holds") from error
        except Exception as error:
            raise _unreadable(file, error) from error


def _check(picture: Picture, file: Path) -> None:
    # Limits before decoding: a small file may hold a huge picture.
    if picture.width * picture.height > PIXELS_MOST:
        raise _too_large(file, f"{picture.height} x {picture.width} pixels")
    check_memory(picture.width * picture.height * BYTES_PER_PIXEL, file)
    if picture.width < 1 or picture.height < 1:
        raise BadData("an image without pixels", where=str(file), do="remove it")
    if picture.mode[:1] in DEEP or _deep(picture):
        raise BadData(
            "an image of more than 8 bits a pixel",
            where=str(file),
            do="save it with 8 bits, or as .npy",
        )
    # A truncated JPEG decodes without complaint.
    if picture.format == "JPEG" and _too_short(picture, file):
        raise _unreadable(file)
    if picture.mode not in GREY | COLOURS | CONVERTED:
        raise BadData(f"an image in {picture.mode} colours", where=str(file), do="save it in RGB")


def _too_short(picture: Picture, file: Path) -> bool:
    """Whether a JPEG lacks a bit for each of its blocks of 8 x 8 pixels: a decoder makes them up."""
    blocks = picture.width * picture.height / 64
    return blocks > 8 * file.stat().st_size


def _verify(file: Path) -> None:
    """Compare the sums in a PNG with its bytes: a decoder that has all its pixels does not.

    Raises:
        BadData: If they differ.
    """
    with _opened(file) as picture:
        picture.verify()


def _deep(picture: Picture) -> bool:
    """Whether a decoder would cut 16 bits down to 8: its raw mode or greatest value says so."""
    for tile in getattr(picture, "tile", ()):
        values = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        if any(";16" in value for value in values if isinstance(value, str)):
            return True
        if tile[0].startswith("ppm") and int(values[-1]) > 255:
            return True
    return False


def _too_large(file: Path, size: str) -> BadData:
    return BadData(
        f"an image of {size}, where {PIXELS_MOST:,} pixels are read at most",
        where=str(file),
        do="shrink it, cut it into pieces, or remove it",
    )


def _unreadable(file: Path, error: Exception | None = None) -> BadData:
    reason = ""
    if isinstance(error, OSError) and error.strerror:
        reason = f": {error.strerror.lower()}"
    return BadData(
        f"the image cannot be read{reason}", where=str(file), do="save it again, or remove it"
    )
