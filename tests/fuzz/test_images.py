"""Mangled picture files and folders of them: read, or refused in a sentence, soon and in little memory."""

import io
import random
import struct
import warnings
import zlib
from functools import cache

import numpy as np
import pytest
from PIL import Image

from likeness.core.batch import as_batch
from likeness.core.space import image
from likeness.data.images import read_folder
from likeness.data.limits import bounded
from tests.fuzz.harness import fuzz, runs
from tests.fuzz.inputs import mangled

BOUND = "200MB"  # below what the harness allows
SIZES = (0, 1, 7, 255, 4_000, 8_000, 60_000, 2**31 - 1, 2**32 - 1)


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def encoded(picture, kind, **options):
    made = io.BytesIO()
    picture.save(made, format=kind, **options)
    return made.getvalue()


@cache
def good():
    """Small valid files of each kind, with what readers stumble over: palettes, tags, frames, 16 bits."""
    colour = Image.fromarray(noise(9, 7, 3))
    grey = Image.fromarray(noise(9, 7))
    clear = Image.fromarray(noise(9, 7, 4))
    palette = colour.quantize(8)
    tag = Image.Exif()
    tag[0x0112] = 6
    frames = {"save_all": True, "append_images": [grey, grey]}
    return (
        encoded(colour, "PNG", exif=tag),
        encoded(palette, "PNG", transparency=3),
        encoded(grey, "PNG", **frames),
        encoded(Image.fromarray(noise(9, 7).astype(np.uint16)), "PNG"),
        encoded(colour, "JPEG", exif=tag),
        encoded(colour.convert("CMYK"), "JPEG"),
        encoded(colour, "JPEG", progressive=True),
        encoded(palette, "GIF", transparency=3),
        encoded(grey, "GIF", **frames),
        encoded(colour, "TIFF", exif=tag),
        encoded(grey, "TIFF", compression="tiff_lzw", **frames),
        encoded(clear, "TIFF", compression="tiff_deflate"),
        encoded(colour, "TIFF", compression="jpeg"),
        encoded(Image.fromarray(noise(9, 7).astype(np.float32)), "TIFF"),
        encoded(colour, "BMP"),
        encoded(palette, "BMP"),
        encoded(clear, "WEBP", lossless=True, exif=tag),
        encoded(colour, "WEBP", **frames),
        encoded(colour, "PPM"),
        encoded(grey, "PPM"),
    )


def mangled_picture(rng):
    return mangled(rng, rng.choice(good()))


def chunk(name, body, size=None):
    stated = len(body) if size is None else size
    return struct.pack(">I", stated) + name + body + struct.pack(">I", zlib.crc32(name + body))


def odd_png(rng):
    """Chunks whose sums are right, and whose content is anything: what mangling never reaches."""
    width, height = rng.choice(SIZES), rng.choice(SIZES)
    depth, colour = rng.choice((1, 2, 4, 8, 16, 3)), rng.choice((0, 2, 3, 4, 6, 1))
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, rng.randrange(2))
    names = (
        b"IDAT",
        b"PLTE",
        b"tRNS",
        b"eXIf",
        b"acTL",
        b"fcTL",
        b"fdAT",
        b"iCCP",
        b"zTXt",
        b"gAMA",
    )
    chunks = [chunk(b"IHDR", head)]
    for _ in range(rng.randrange(1, 6)):
        body = rng.choice((rng.randbytes(rng.randrange(40)), bytes(rng.randrange(2000))))
        packed = zlib.compress(body) if rng.random() < 0.5 else body
        size = rng.choice((None, None, None, 0, 2**31 - 1))
        chunks.append(chunk(rng.choice(names), packed, size))
    ending = rng.choice((b"", chunk(b"IEND", b"")))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + ending


def odd_size(rng):
    """A good file that claims to be of another size, where its kind says the size in plain numbers."""
    width, height = rng.choice(SIZES), rng.choice(SIZES)
    kind = rng.randrange(4)
    if kind == 0:
        bmp = bytearray(encoded(Image.fromarray(noise(9, 7, 3)), "BMP"))
        bmp[18:26] = struct.pack("<II", width, height)
        return bytes(bmp)
    if kind == 1:
        gif = bytearray(encoded(Image.fromarray(noise(9, 7)), "GIF"))
        gif[6:10] = struct.pack("<HH", width % 2**16, height % 2**16)
        return bytes(gif)
    if kind == 2:
        top = rng.choice((0, 1, 255, 1023, 65535, 10**9))
        magic = rng.choice(("P1", "P2", "P3", "P4", "P5", "P6"))
        return f"{magic} {width} {height} {top} ".encode() + rng.randbytes(30)
    jpeg = bytearray(encoded(Image.fromarray(noise(9, 7)), "JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", height % 2**16, width % 2**16)
    return bytes(jpeg)


@pytest.fixture
def read(tmp_path):
    """A folder whose only picture is made of the given bytes, read."""

    def action(made):
        (tmp_path / "0.png").write_bytes(made)
        with bounded(BOUND):
            read_folder(tmp_path, name="x")

    return action


def test_the_good_files_are_good(read):
    refused = [k for k, made in enumerate(good()) if not accepted(read, made)]
    assert refused == [3, 13]  # those of more than 8 bits


def accepted(read, made):
    try:
        read(made)
    except Exception:
        return False
    return True


@runs()
def test_mangled_pictures_are_read_or_refused(read, n):
    fuzz(read, mangled_picture, n)


@runs()
def test_pngs_of_any_chunks_are_read_or_refused(read, n):
    fuzz(read, odd_png, n)


@runs()
def test_pictures_of_any_claimed_size_are_read_or_refused(read, n):
    fuzz(read, odd_size, n)


@runs(few=100, many=10_000)
def test_mangled_pictures_are_asked_about_or_refused(tmp_path, n):
    space = image(3, 9, 7)
    file = tmp_path / "0.png"

    def action(made):
        file.write_bytes(made)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            as_batch(space, file)

    fuzz(action, mangled_picture, n)


# ---- folders -------------------------------------------------------------------------------------

NAMES = (
    *("train", "val", "test", "images", "labels", "masks", "a", "b", "Train", "dev", "__MACOSX"),
    *(".git", "é", "é", " ", "a b", "[x]", "0.png", "x.txt", "Thumbs.db", "caf\udce9"),
)


def tree(rng):
    """Places of pictures, texts, empty folders and links, each by the names that lead to it."""
    kinds = ("picture", "picture", "text", "folder", "link")
    return [
        (rng.choice(kinds), tuple(rng.choices(NAMES, k=rng.randrange(1, 5))), rng.random())
        for _ in range(rng.randrange(12))
    ]


def build(root, places):
    """The folder of a tree; places that are taken already are left out."""
    made = encoded(Image.fromarray(noise(2, 2)), "PNG")
    for kind, names, share in places:
        place = root.joinpath(*names)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if kind == "folder":
                place.mkdir()
            elif kind == "link":
                targets = [*sorted(root.rglob("*")), root, root.parent, root / "nowhere"]
                place.symlink_to(targets[int(share * len(targets))])
            elif not place.exists():
                file = place.with_name(f"{place.name}.png") if kind == "picture" else place
                file.write_bytes(made if kind == "picture" else b"text")
        except OSError:
            continue


@runs(few=200, many=20_000)
def test_folders_of_any_shape_are_read_or_refused(tmp_path, n):
    count = iter(range(10**9))

    def action(places):
        root = tmp_path / str(next(count))
        root.mkdir()
        build(root, places)
        read_folder(root, name="x")

    fuzz(action, tree, n)


def test_a_tree_is_a_function_of_its_generator():
    assert tree(random.Random(5)) == tree(random.Random(5))
