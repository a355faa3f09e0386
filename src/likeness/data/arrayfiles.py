"""The array files .npy, .npz and idx."""

from __future__ import annotations

import io
import lzma
import math
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from likeness.core.batch import Batch
from likeness.core.errors import BadConfig, BadData
from likeness.core.space import Space
from likeness.data.arrays import Array, Rounding
from likeness.data.labels import with_label
from likeness.data.limits import array_memory, check_memory, read_bytes
from likeness.data.source import Reading, Table
from likeness.data.spaces import ragged, read

PLAIN = "save plain arrays; items of unlike lengths as x, one behind the other, and their lengths"
ITEMS = ("x", "X", "data", "images")
LABELS = ("y", "label", "labels", "target")
CUTS = ("lengths", "offsets")
RESTORED = ("space", "length")  # beside the items of draws
HEAD_BYTES = 2**16  # of a .npy file: numpy's own limit for its head lies below
IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read_npy(path: Path) -> Array:
    """The array in a .npy file.

    Raises:
        BadData: If the file is empty, broken, holds pickled objects, or takes more memory than is
            allowed.
    """
    with _readable(path), path.open("rb") as file:
        # The head is checked against the file's size before anything is allocated.
        _check_head(_head(file), path.stat().st_size, path)
        file.seek(0)
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def read_npz(path: Path, keys: Collection[str] | None = None) -> dict[str, Array]:
    """The arrays in a .npz file by name; all of them, or those of some names.

    Raises:
        BadData: If the file is empty, broken, holds pickled objects, or takes more memory than is
            allowed.
    """
    with _readable(path), zipfile.ZipFile(path) as archive:
        members = {name: m for name, m in _members(archive).items() if keys is None or name in keys}
        # Heads of all arrays first: their memory is checked together.
        heads = {name: _head_of(archive, member) for name, member in members.items()}
        for name, head in heads.items():
            _check_head(head, members[name].file_size, f"{path}, array {name!r}")
        check_memory(sum(head.memory for head in heads.values()), path)
        return {name: _read_member(archive, member) for name, member in members.items()}


def npz_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the arrays in a .npz file by name, from their heads alone.

    Raises:
        BadData: If the file is empty or broken, or holds pickled objects.
    """
    with _readable(path), zipfile.ZipFile(path) as archive:
        return {name: _head_of(archive, member).shape for name, member in _members(archive).items()}


@dataclass(frozen=True)
class Head:
    """What the head of a .npy file claims.

    Args:
        shape: The sizes of the array.
        dtype: The type of its values.
        size: The bytes of the head itself.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    size: int

    @property
    def values(self) -> int:
        """The number of values."""
        return math.prod(self.shape)

    @property
    def memory(self) -> int:
        """The bytes that reading takes, copies included."""
        return array_memory(self.values, self.dtype.itemsize)


def _head(file: IO[bytes]) -> Head:
    """What a .npy file claims, from its first bytes."""
    # The head lies within the first 64 KiB.
    first = io.BytesIO(file.read(HEAD_BYTES))
    # Format versions differ in the width of the head's length.
    version = np.lib.format.read_magic(first)
    one = version == (1, 0)
    if one:
        parse = np.lib.format.read_array_header_1_0
    else:
        parse = np.lib.format.read_array_header_2_0
    shape, _, dtype = parse(first)
    if dtype.hasobject:
        raise ValueError("allow_pickle")
    return Head(shape, dtype, first.tell())


def _check_head(head: Head, size: int, where: object) -> None:
    """Refuse a head that claims more or less than the `size` bytes that are there, or more than is allowed.

    Raises:
        BadData: With the bytes that are claimed.
    """
    # A file that is shorter or longer than its head says is damaged.
    claimed = head.values * head.dtype.itemsize
    available = size - head.size
    if claimed != available:
        raise BadData(
            f"the head tells of {claimed:,} bytes of values, and {available:,} are there",
            where=str(where),
            do="fetch the file again",
        )
    check_memory(head.memory, where)


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The arrays of an archive by name."""
    return {
        m.filename.removesuffix(".npy"): m
        for m in archive.infolist()
        if m.filename.endswith(".npy")
    }


def _head_of(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Head:
    with archive.open(member) as file:
        return _head(file)


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    with archive.open(member) as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What numpy and zipfile say of a file that they cannot read, in a sentence."""
    try:
        yield
    except (
        ValueError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        OSError,
        RuntimeError,
    ) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> BadData:
    if not path.stat().st_size:
        return BadData("the file is empty", where=str(path))
    if "allow_pickle" in str(error) or "Object arrays" in str(error):
        return BadData(
            "the file holds pickled objects, which are not read", where=str(path), do=PLAIN
        )
    return BadData(
        "the file is broken or no numpy file",
        where=str(path),
        do="save it again with numpy.save or savez",
    )


def from_npz(path: Path, key: str | None, rounding: Rounding, columns: Any, name: str) -> Reading:
    """Items, labels and Space of a .npz: as Draws.save wrote it, or under x, X, data, images, or one array alone.

    Raises:
        BadData: If it does not say which array holds the items.
    """
    # Heads alone tell which array holds what.
    shapes = npz_shapes(path)
    main = key or items_of(path)
    if main not in shapes:
        raise _which(path, shapes)
    aside = next((k for k in LABELS if k in shapes and len(shapes[k]) == 1), None)
    arrays = read_npz(path, {main, *CUTS, *RESTORED, *([] if aside is None else [aside])})
    # Draws that were saved: the Space stands beside them.
    if "space" in arrays:
        space = _space(str(arrays["space"]), path)
        if "length" in arrays:
            length = torch.from_numpy(arrays["length"])
        else:
            length = None
        reading = Reading(
            {"all": Table(space, Batch(torch.from_numpy(arrays[main]), length=length), name=name)}
        )
    # One long array with lengths or offsets: ragged items.
    elif cut := next((k for k in CUTS if k in arrays), None):
        pieces = _pieces(arrays[main], arrays[cut], cut, path)
        reading = Reading({"all": Table(*ragged(pieces), name=name)})
    # Otherwise items side by side, their Space inferred.
    else:
        reading = read(arrays[main], name=name, columns=columns, rounding=rounding)
    if aside is None:
        return reading
    return with_label(reading, arrays[aside], aside, where=str(path))


def _space(text: str, path: Path) -> Space:
    """The Space that stands beside the items of a file.

    Raises:
        BadData: If the text is none.
    """
    try:
        return Space.from_json(text)
    except BadConfig as error:
        raise BadData(error.what, where=str(path), do="save the draws again") from error


def items_of(path: Path) -> str:
    """The array of a .npz that holds the items: x, X, data or images, or the only one.

    Raises:
        BadData: If it does not say which.
    """
    names = npz_shapes(path)
    rest = [name for name in names if name not in CUTS]
    usual = next((name for name in ITEMS if name in names), None)
    if usual is None and len(rest) != 1:
        raise _which(path, names)
    if usual is None:
        return rest[0]
    return usual


def _which(path: Path, names: Collection[str]) -> BadData:
    listed = ", ".join(sorted(names)) or "none"
    return BadData(f"which array holds the items: {listed}?", where=str(path), do="name it by key=")


def _pieces(x: Array, cuts: Array, by: str, path: Path) -> list[Array]:
    """Items of unlike lengths out of one array that holds them one behind the other, or side by side and padded.

    Raises:
        BadData: If the lengths, or the offsets at which items begin, do not go with the array.
    """
    # Cuts are whole numbers, one an item.
    whole = cuts.ndim == 1 and cuts.dtype.kind in "ui" and len(cuts) > 0 and x.ndim > 0
    if whole:
        cuts = cuts.astype(np.int64)
    # Offsets, with or without the end, become lengths;
    # offsets that do not begin at 0 become negative and are refused below.
    if whole and by == "offsets":
        if cuts[0] == 0:
            cuts = np.diff(cuts if cuts[-1] == len(x) else np.append(cuts, len(x)))
        else:
            cuts = -cuts - 1
    # Items laid end to end.
    if whole and len(cuts) and cuts.min() >= 0 and cuts.sum() == len(x):
        return np.split(x, np.cumsum(cuts)[:-1])
    # Items side by side, padded to the longest.
    if (
        whole
        and by == "lengths"
        and x.ndim > 1
        and len(cuts) == len(x)
        and 0 <= cuts.min() <= cuts.max() <= x.shape[1]
    ):
        return [item[:length] for item, length in zip(x, cuts, strict=True)]
    raise BadData(
        f"the {by} do not go with {len(x) if x.ndim else 1} steps",
        where=str(path),
        do="give whole lengths that sum to the steps of the array, or offsets from 0 up",
    )


def read_idx(path: Path) -> Array:
    """The array in an idx file, gzipped or not: 0 0 type rank, the sizes as big-endian int32, then the values.

    Raises:
        BadData: If the file is no idx file, or is cut short.
    """
    # idx: two zero bytes, type, rank.
    raw = read_bytes(path)
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in IDX_TYPES:
        raise BadData(
            "the file is empty or no idx file",
            where=str(path),
            do="give an idx file, plain or gzipped",
        )
    # Sizes in big-endian 32 bits, then values, the last axis fastest.
    kind = np.dtype(IDX_TYPES[raw[2]])
    rank = raw[3]
    start = 4 + 4 * rank
    if len(raw) >= start:
        sizes = struct.unpack(f">{rank}I", raw[4:start])
    else:
        sizes = (0,)
    # A forged head is refused before memory is taken.
    check_memory(array_memory(math.prod(sizes), kind.itemsize), path)
    if len(raw) < start or len(raw) - start != math.prod(sizes) * kind.itemsize:
        raise BadData(
            "the idx file does not hold what its head says", where=str(path), do="fetch it again"
        )
    return np.frombuffer(raw, kind, offset=start).reshape(sizes).astype(kind.newbyteorder("="))
