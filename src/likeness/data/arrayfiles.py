"""The array files .npy, .npz and idx."""

from __future__ import annotations

import gzip
import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from likeness.core.batch import Batch
from likeness.core.errors import BadData
from likeness.core.space import Space
from likeness.data.arrays import Array, Rounding, ragged, read, with_label
from likeness.data.source import Reading, Table

PLAIN = "save plain arrays; items of unlike lengths as x, one behind the other, and their lengths"
CUTS = ("lengths", "offsets")
IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read_npy(path: Path) -> Array:
    """The array in a .npy file.

    Raises:
        BadData: If the file is empty, broken, or holds pickled objects.
    """
    try:
        with path.open("rb") as file:
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
    except (ValueError, EOFError) as error:
        raise _unreadable(path, error) from error


def read_npz(path: Path) -> dict[str, Array]:
    """The arrays in a .npz file by name.

    Raises:
        BadData: If the file is empty, broken, or holds pickled objects.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, OSError) as error:
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
    arrays = read_npz(path)
    main = key or next((k for k in ("x", "X", "data", "images") if k in arrays), None)
    rest = [k for k in arrays if k not in CUTS]
    main = main or (rest[0] if len(rest) == 1 else None)
    if main is None or main not in arrays:
        raise BadData(
            f"which array holds the items: {', '.join(sorted(arrays)) or 'none'}?",
            where=str(path),
            do="name it by key=",
        )
    aside = next(
        (k for k in ("y", "label", "labels", "target") if k in arrays and arrays[k].ndim == 1), None
    )
    if "space" in arrays:
        space = Space.from_json(str(arrays["space"]))
        if "length" in arrays:
            length = torch.from_numpy(arrays["length"])
        else:
            length = None
        reading = Reading(
            {"all": Table(space, Batch(torch.from_numpy(arrays[main]), length=length), name=name)}
        )
    elif cut := next((k for k in CUTS if k in arrays), None):
        pieces = _pieces(arrays[main], arrays[cut], cut, path)
        reading = Reading({"all": Table(*ragged(pieces), name=name)})
    else:
        reading = read(arrays[main], name=name, columns=columns, rounding=rounding)
    if aside is None:
        return reading
    return with_label(reading, arrays[aside], aside, where=str(path))


def _pieces(x: Array, cuts: Array, by: str, path: Path) -> list[Array]:
    """Items of unlike lengths out of one array that holds them one behind the other, or side by side and padded.

    Raises:
        BadData: If the lengths, or the offsets at which items begin, do not go with the array.
    """
    whole = cuts.ndim == 1 and cuts.dtype.kind in "ui" and len(cuts) > 0 and x.ndim > 0
    if whole:
        cuts = cuts.astype(np.int64)
    if whole and by == "offsets":
        if cuts[0] == 0:
            cuts = np.diff(cuts if cuts[-1] == len(x) else np.append(cuts, len(x)))
        else:
            cuts = -cuts - 1
    if whole and len(cuts) and cuts.min() >= 0 and cuts.sum() == len(x):
        return np.split(x, np.cumsum(cuts)[:-1])
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
    try:
        if path.suffix == ".gz":
            raw = gzip.decompress(path.read_bytes())
        else:
            raw = path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise BadData(
            "the gzip file is broken or cut short", where=str(path), do="fetch it again"
        ) from error
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in IDX_TYPES:
        raise BadData(
            "the file is empty or no idx file",
            where=str(path),
            do="give an idx file, plain or gzipped",
        )
    kind = np.dtype(IDX_TYPES[raw[2]])
    rank = raw[3]
    start = 4 + 4 * rank
    if len(raw) >= start:
        sizes = struct.unpack(f">{rank}I", raw[4:start])
    else:
        sizes = (0,)
    if len(raw) < start or len(raw) - start != math.prod(sizes) * kind.itemsize:
        raise BadData(
            "the idx file does not hold what its head says", where=str(path), do="fetch it again"
        )
    return np.frombuffer(raw, kind, offset=start).reshape(sizes).astype(kind.newbyteorder("="))
