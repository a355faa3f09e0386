"""`load_data`: anything that holds items, as parts to learn from and to test on, with what inference saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from likeness.core.batch import as_batch
from likeness.core.distribution import Distribution
from likeness.core.errors import BadConfig, BadData
from likeness.core.space import Space
from likeness.data import (
    arrayfiles,
    audio,
    catalog,
    conll,
    corpora,
    folders,
    images,
    labels,
    limits,
    paths,
    spaces,
    text,
    tsfile,
)
from likeness.data.conditions import (
    column_frame,
    column_names,
    conditioned,
    grouped,
    recondition,
)
from likeness.data.containers import columns_of, frame_of, native, plain
from likeness.data.options import DEFAULTS, LoadOptions, Request
from likeness.data.parting import Data, alone, binarized, cut
from likeness.data.source import Reading, Table, inside
from likeness.data.textfile import decode


def load_data(what: Any, given: Any = None, options: LoadOptions = DEFAULTS) -> Data:
    """Items as training and test parts, by their official split or by hash of (seed, row or group).

    Args:
        what: A name (digits, mnist, moons, ...), a path, an array or tensor, a frame, a dict of
            columns, a list of strings or of arrays of unlike lengths, a Table, a synthetic
            distribution, what was loaded before, or a pair (items, given).
        given: What items are conditioned on: names of columns, "label" where a set has labels, or
            an array.
        options: How the items are read and split.

    Raises:
        BadData: One sentence on what cannot be read, where it is, and what to do.
        BadConfig: If options exclude each other.
    """
    if isinstance(what, Data):
        if given is None:
            return what
        return recondition(what, given)

    _check_columns(options.columns)
    what, condition = _pair(what, given)
    with limits.bounded(options.max_memory):
        request = Request(options.name or _name(what), column_names(condition, what), options)
        reading = _read(what, request)
    _refuse_unused(request, next(iter(reading.parts.values())).space)

    reading = conditioned(reading, condition, request)
    reading = grouped(reading, options.group)
    timed = alone(reading) if options.split is None else options.split == "time"
    data = cut(reading, request.name, options.test, options.valid, options.seed, timed)
    return binarized(data, options.binarize, options.seed)


# ---- the request ----------------------------------------------------------------------------------


def _check_columns(columns: Any) -> None:
    """Refuse names alone: which type they are to have is what `columns` says."""
    if isinstance(columns, list | tuple | set):
        name = next(iter(columns), "age")
        raise BadConfig(
            "columns= gives types by names, and there are names alone",
            do=f'write columns={{{name!r}: "real"}}, or "skip" to leave a column out',
        )


def _pair(what: Any, given: Any) -> tuple[Any, Any]:
    if not isinstance(what, tuple):
        return what, given
    if len(what) != 2 or given is not None:
        raise BadConfig(
            "a tuple is a pair (items, given)", do="give a list of items, or given= once"
        )
    return what


def _name(what: Any) -> str:
    if isinstance(what, str | Path):
        return Path(what).name.split(".")[0] or str(what)
    if isinstance(what, Table):
        return what.name
    return "data"


def _refuse_unused(request: Request, space: Space) -> None:
    """Refuse options of series and documents for other items: they would change nothing."""
    named = {"words": "to cut text into words", "vocabulary": "for bags of words in LDA-C's format"}
    options = request.options
    if options.series and not space.ragged:
        raise BadConfig(
            "the items are no steps of a series", do="leave series= out: it is for tables of steps"
        )
    for name, use in named.items():
        if getattr(options, name) is not None and space.source != corpora.WORDS:
            raise BadConfig("the items are no documents", do=f"leave {name}= out: it is {use}")
    if options.words is not None and options.vocabulary is not None:
        raise BadConfig(
            "text has its own words, bags of words are cut already",
            do="leave words= or vocabulary= out",
        )


# ---- reading -------------------------------------------------------------------------------------


def _read(what: Any, request: Request) -> Reading:
    options = request.options
    if options.space is not None:
        batch = as_batch(options.space, what)
        return Reading({"all": Table(options.space, batch, name=request.name)})
    if isinstance(what, Distribution) or (isinstance(what, str) and what in worlds()):
        return _draw(what, options)
    return read(what, request)


def _draw(what: str | Distribution, options: LoadOptions) -> Reading:
    """Rows of a synthetic distribution.

    Raises:
        BadData: For another distribution, such as a model, which is no data.
    """
    from likeness.data.synthetic import SyntheticDistribution, world

    truth = world(what) if isinstance(what, str) else what
    if not isinstance(truth, SyntheticDistribution):
        raise BadData(
            f"a model ({type(truth).__name__}) is no data",
            do="give rows, such as those that model.sample(n) draws",
        )
    return Reading({"all": truth.source(options.n, options.seed)}, truth=truth)


def worlds() -> tuple[str, ...]:
    """The names of the worlds."""
    from likeness.data.synthetic import SYNTHETIC

    return tuple(SYNTHETIC)


@singledispatch
def read(what: Any, request: Request) -> Reading:
    """A Reading of whatever holds items; third parties register types of their own."""
    found = native(what)
    if type(found) is not type(what):
        return read(found, request)
    return _array(found, request)


@read.register
def _(what: str, request: Request) -> Reading:
    if what in catalog.SETS:
        return catalog.read(request.called(what))
    return read(paths.named(what, (*catalog.SETS, *worlds())), request)


@read.register
def _(what: None, request: Request) -> Reading:
    raise BadData(
        "there is nothing to read: None is no data", do="give a path, an array or a frame"
    )


@read.register
def _(what: Path, request: Request) -> Reading:
    with inside(paths.exists(what)):
        return FILES[paths.kind(what)](what, request)


@read.register
def _(what: Table, request: Request) -> Reading:
    return Reading({"all": what})


@read.register
def _(what: pd.DataFrame, request: Request) -> Reading:
    return catalog.read_frames(request, {"all": what})


@read.register
def _(what: pd.Series, request: Request) -> Reading:
    return catalog.read_frames(request, {"all": column_frame(what)})


@read.register
def _(what: np.ndarray, request: Request) -> Reading:
    found = native(what)
    if isinstance(found, pd.DataFrame):
        return read(found, request)
    return _array(found, request)


@read.register
def _(what: dict, request: Request) -> Reading:  # type: ignore[type-arg]
    try:
        return catalog.read_frames(request, {"all": pd.DataFrame(what)})
    except ValueError as error:
        raise BadData(
            "the columns are of unlike lengths", do="give one value a row in each column"
        ) from error


@read.register
def _(what: list, request: Request) -> Reading:  # type: ignore[type-arg]
    if what and all(isinstance(item, str) for item in what):
        return _texts(what, request)
    if what and all(isinstance(item, dict) for item in what):
        return catalog.read_frames(request, {"all": pd.DataFrame(what)})
    if what and all(isinstance(item, pd.DataFrame) for item in what):
        return _frames(what, request)
    if what and all(isinstance(item, list | tuple) for item in what) and _mixed(what):
        return read(np.array(what, dtype=object), request)
    return spaces.read(
        what,
        name=request.name,
        columns=request.options.columns,
        rounding=request.noted_rounding,
    )


def _texts(items: Sequence[str], request: Request) -> Reading:
    """Texts as characters, or as words where these are asked for."""
    if request.options.words is None:
        return text.read(items, name=request.name)
    return corpora.read(items, request.options.words, name=request.name)


def _vocabulary(request: Request) -> Path | None:
    """The file of words that the user named, which must be there."""
    if request.options.vocabulary is None:
        return None
    return paths.exists(request.options.vocabulary)


def _text_folder(path: Path, request: Request) -> Reading:
    """Each text below a folder as an item."""
    listing = folders.walk(path)
    reading = _texts([decode(file) for file in listing.of({".txt"})], request)
    return replace(reading, notes=(*reading.notes, *listing.notes))


def _frames(frames: list[pd.DataFrame], request: Request) -> Reading:
    """Series, each a frame of steps; columns are matched by their names."""
    names = tuple(str(name) for name in frames[0].columns)
    items = [frame.to_numpy() for frame in columns_of(frames, names)]
    options = request.options
    reading = spaces.read(
        items, name=request.name, columns=options.columns, rounding=request.noted_rounding
    )
    parts = {
        part: replace(table, space=table.space.model_copy(update={"names": names}))
        for part, table in reading.parts.items()
    }
    return replace(reading, parts=parts)


def _mixed(rows: Sequence[Any]) -> bool:
    """Whether rows of one width hold words or nothing at all among their numbers."""
    one = len({len(row) for row in rows}) == 1
    return one and any(cell is None or isinstance(cell, str) for row in rows for cell in row)


def _idx(path: Path, request: Request) -> Reading:
    """A folder of MNIST's form, or one file with the labels that lie beside it."""
    if path.is_dir():
        return catalog.read_idx_folder(path, name=request.name)
    reading = _array(arrayfiles.read_idx(path), request)
    beside = path.with_name(path.name.replace("images-idx3", "labels-idx1"))
    if beside == path or not beside.exists():
        return reading
    return labels.with_label(
        reading, arrayfiles.read_idx(beside).astype(np.int64), "label", where=str(beside)
    )


def _array(x: Any, request: Request) -> Reading:
    if request.options.series and plain(x).ndim in {1, 2}:
        return catalog.read_frames(request, {"all": frame_of(plain(x))})
    return spaces.read(
        x,
        name=request.name,
        columns=request.options.columns,
        rounding=request.noted_rounding,
    )


FILES: Mapping[str, Callable[[Path, Request], Reading]] = {
    "table": lambda path, request: catalog.read_frames(request, {"all": paths.frame(path)}),
    "npy": lambda path, request: _array(arrayfiles.read_npy(path), request),
    "npz": lambda path, request: arrayfiles.from_npz(
        path,
        request.options.key,
        request.noted_rounding,
        request.options.columns,
        request.name,
    ),
    "idx": _idx,
    "images": lambda path, request: images.read_folder(
        path, name=request.name, size=request.size, channels=request.options.channels
    ),
    "audio": lambda path, request: audio.read(path, name=request.name),
    "tags": lambda path, request: conll.read({"all": path}, name=request.name),
    "series": lambda path, request: tsfile.read(path, name=request.name),
    "text": lambda path, request: _texts(text.pieces(decode(path), request.options.width), request),
    "texts": _text_folder,
    "bags": lambda path, request: corpora.read_bags(
        path, name=request.name, vocabulary=_vocabulary(request)
    ),
}
