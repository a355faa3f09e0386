"""A bound on the memory that reading may take, and the bytes of files read below it.

Files hold far more than their size says: archives, compressed text, heads that claim values which
are not there. Readers estimate what they are about to take before they take it; compressed files
are unpacked piece by piece.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import math
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

from likeness.core.errors import BadConfig, BadData
from likeness.numerics import machine

SHARE = 0.25  # of the machine's memory, unless the user says more
UNKNOWN_MACHINE = 8 * 2**30  # bytes, where the system does not say
PIECE = 2**20  # bytes unpacked at once
# Bytes of memory for a byte of text: decoded, cut into cells, and laid out as numbers
TEXT_EXPANSION = 10.0
BYTES_PER_VALUE = 16  # beside the array that was read: one copy to look at, one to keep
CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE | re.ASCII)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_BOUND: ContextVar[float | None] = ContextVar("max_memory", default=None)


# ---- the bound -----------------------------------------------------------------------------------


def parse_size(size: int | float | str) -> float:
    """Bytes from a number of them, or from words such as "500MB", "5 GB" (powers of 1000) and "2GiB" (of 1024).

    Raises:
        BadConfig: If it is no size above 0.
    """
    match = _SIZE.fullmatch(str(size).strip())
    if match is None or float(match[1]) == 0:
        raise BadConfig(
            f"max_memory={size!r} is no size of memory", do="write max_memory='5GB', say"
        )
    base = 1024 if match[3] else 1000
    return float(match[1]) * base ** _POWERS[match[2].lower()]


@contextmanager
def bounded(size: int | float | str | None) -> Iterator[None]:
    """Readers inside may take so much; None leaves the bound as it is.

    Raises:
        BadConfig: If it is no size above 0.
    """
    if size is None:
        yield
        return
    token = _BOUND.set(parse_size(size))
    try:
        yield
    finally:
        _BOUND.reset(token)


def bound() -> float:
    """The bytes that one reading may take: what the user allows, else a quarter of the machine's memory."""
    allowed = _BOUND.get()
    if allowed is None:
        return SHARE * machine_memory()
    return allowed


def machine_memory() -> float:
    """The memory of the machine in bytes, or of the container that the process runs in."""
    sizes = [machine.memory(), *(_limit_of(file) for file in CGROUPS)]
    return min((size for size in sizes if size is not None), default=float(UNKNOWN_MACHINE))


def _limit_of(file: Path) -> float | None:
    try:
        return float(file.read_text())
    except (OSError, ValueError):  # not there, or "max"
        return None


def check_memory(size: float, where: object = None) -> None:
    """Refuse a reading that would take more memory than the bound.

    Args:
        size: What it would take, in bytes.
        where: The file, row or column.

    Raises:
        BadData: With the size, the bound, and how to raise it.
    """
    if size > bound():
        raise _too_much(f"about {in_words(size)}", size, where)


def array_memory(values: int, itemsize: int) -> int:
    """The bytes that an array of so many values takes in reading, copies included."""
    return values * (itemsize + BYTES_PER_VALUE)


def _too_much(said: str, size: float, where: object) -> BadData:
    enough = math.ceil(1.2 * size / 1e9)
    return BadData(
        f"reading would take {said} of memory where {in_words(bound())} are allowed",
        where=None if where is None else str(where),
        do=f"allow more with max_memory='{enough}GB', or give less at once",
    )


def in_words(size: float) -> str:
    """A size as people say it."""
    for unit, power in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= power:
            return f"{size / power:.1f} {unit}"
    return f"{size / 1e3:.1f} kB"


# ---- files ---------------------------------------------------------------------------------------


def _zstandard(path: Path) -> IO[bytes]:
    import pyarrow

    return pyarrow.input_stream(str(path), compression="zstd")


OPENERS: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _zstandard,
}


def uncompressed_name(path: Path) -> Path:
    """The path without the suffix of a compression."""
    if path.suffix.lower() in OPENERS:
        return path.with_suffix("")
    return path


def read_bytes(path: Path, *, expansion: float = 1.0) -> bytes:
    """The bytes in a file, unpacked where its suffix is .gz, .bz2, .xz or .zst.

    Args:
        path: The file.
        expansion: Bytes of memory that the reader takes for each byte, this one included.

    Raises:
        BadData: If that is more than the bound allows, found before it is taken; or if the file is
            broken.
    """
    opener = OPENERS.get(path.suffix.lower())
    if opener is None:
        check_memory(path.stat().st_size * expansion, path)
        return path.read_bytes()
    try:
        with opener(path) as file:
            return _unpacked(file, expansion, path)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise BadData(
            "the compressed file is broken or cut short", where=str(path), do="fetch it again"
        ) from error


def _unpacked(file: IO[bytes], expansion: float, path: Path) -> bytes:
    """All that a stream holds, read no further than the bound."""
    pieces = bytearray()
    while piece := file.read(PIECE):
        pieces += piece
        if len(pieces) * expansion > bound():
            raise _too_much(f"more than {in_words(bound())}", 2 * bound(), path)
    return bytes(pieces)
