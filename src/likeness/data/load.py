"""`load`: anything that holds items, as parts to learn from and to test on, with what inference saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import singledispatch
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from likeness.core.batch import Batch, as_batch
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
    tables,
    text,
    tsfile,
)
from likeness.data.arrays import Rounding, Wanted
from likeness.data.catalog import Asked, square
from likeness.data.columns import space_of
from likeness.data.containers import frame_of, native, plain
from likeness.data.parting import Binarize, Data, alone, binarized, cut
from likeness.data.source import Reading, Source, Table, inside
from likeness.data.textfile import decode

Split = Literal["rows", "time"]


def load(
    what: Any,
    *,
    given: Any = None,
    columns: Mapping[Any, Wanted] | Wanted | None = None,
    name: str | None = None,
    space: Space | None = None,
    test: float | None = None,
    valid: float = 0.0,
    seed: int = 0,
    group: Any = None,
    rounding: Rounding | None = None,
    binarize: Binarize | None = None,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    key: str | None = None,
    width: int | None = None,
    words: int | None = None,
    vocabulary: str | Path | None = None,
    series: bool | str | None = None,
    split: Split | None = None,
    n: int = 10_000,
    max_memory: int | str | None = None,
) -> Data:
    """Items as training and test parts, by their official split or by hash of (seed, row or group).

    Args:
        what: A name (digits, mnist, a world, ...), a path, an array or tensor, a frame, a dict of
            columns, a list of strings or of arrays of unlike lengths, a Table, or a pair (items,
            given).
        given: What items are conditioned on: names of columns, "label" where a set has labels, or
            an array.
        columns: Types that the user knows better, by column: a Variable, or one of "real",
            "ordinal", "nominal", "count", "binary", "date", "skip".
        name: What reports call it.
        space: The Space, where it is known: nothing is inferred then.
        test: The share held out, a tenth unless told; sets with an official split take none.
        valid: The share of the rest that is held out for choices.
        seed: The seed of the split, of a world's rows and of binarisation.
        group: A column's name, or an array (N,): rows of one group stay together.
        rounding: "bins" makes coarse roundings a resolution, "note" only notes them; frames and
            files "bins", arrays, series and scikit-learn's sets "note" unless told.
        binarize: For images: "dynamic" draws pixels anew each epoch, "threshold" cuts at half.
        size: Height and width that images are resized to.
        channels: 1, 3 or 4 for image files.
        key: Which array of a .npz holds the items.
        width: Cut text into pieces of so many characters instead of lines.
        words: Cut text into words in lower case instead of characters; those seen less often are
            the symbol <unk>, and so are words that were never seen.
        vocabulary: A file with the words of a corpus in LDA-C's format, one a line; else one that
            lies beside it.
        series: True where the rows of a table are the steps of one series, or the column that says
            which series a row belongs to; a column of times orders the steps.
        split: "time" holds out the last steps of every series, "rows" whole rows; "time" for a
            series alone.
        n: How many rows to draw from a world.
        max_memory: What reading may take, in bytes or as "5GB"; a quarter of the machine's memory
            unless told.

    Raises:
        BadData: One sentence on what cannot be read, where it is, and what to do.
        BadConfig: If options exclude each other.
    """
    if isinstance(what, Data):
        if given is None:
            return what
        return _again(what, given)
    what, condition = _pair(what, given)
    with limits.bounded(max_memory):
        asked = Asked(
            name=name or _name(what),
            given=_names(condition, what),
            columns=columns,
            rounding=rounding,
            group=group if isinstance(group, str) else None,
            size=square(size),
            channels=channels,
            key=key,
            width=width,
            words=words,
            vocabulary=None if vocabulary is None else paths.exists(Path(vocabulary)),
            series=series,
        )
        reading = _read(what, asked, space, n, seed)
    if series and not next(iter(reading.parts.values())).space.ragged:
        raise BadConfig(
            "the items are no steps of a series", do="leave series= out: it is for tables of steps"
        )
    _refuse_unused(asked, next(iter(reading.parts.values())).space)
    reading = _conditioned(reading, condition, asked)
    reading = _grouped(reading, None if isinstance(group, str) else group)
    timed = alone(reading) if split is None else split == "time"
    return binarized(cut(reading, asked.name, test, valid, seed, timed), binarize, seed)


# ---- what was asked ------------------------------------------------------------------------------


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


def _names(condition: Any, what: Any) -> tuple[str, ...]:
    """Names of columns among what is given: a word, or a list of words where the items have columns."""
    if isinstance(condition, str):
        return (condition,)
    if isinstance(condition, int) and _columned(what):
        return (str(condition),)  # a frame's columns may be numbers
    words = (
        isinstance(condition, list | tuple)
        and condition
        and all(isinstance(c, str) for c in condition)
    )
    if words and _columned(what):
        return tuple(condition)
    return ()


def _columned(what: Any) -> bool:
    if isinstance(what, str) and what in catalog.SETS:
        return catalog.SETS[what].table
    if isinstance(what, str | Path):
        return paths.there(Path(what)) and paths.kind(Path(what)) == "table"
    if isinstance(what, Table):
        return what.space.names is not None
    return isinstance(what, pd.DataFrame | dict) or (
        isinstance(what, list) and bool(what) and isinstance(what[0], dict)
    )


def _refuse_unused(asked: Asked, space: Space) -> None:
    """Refuse options of documents for other items: they would change nothing."""
    named = {"words": "to cut text into words", "vocabulary": "for bags of words in LDA-C's format"}
    for name, use in named.items():
        if getattr(asked, name) is not None and space.source != corpora.WORDS:
            raise BadConfig("the items are no documents", do=f"leave {name}= out: it is {use}")
    if asked.words is not None and asked.vocabulary is not None:
        raise BadConfig(
            "text has its own words, bags of words are cut already",
            do="leave words= or vocabulary= out",
        )


# ---- reading -------------------------------------------------------------------------------------


def _read(what: Any, asked: Asked, space: Space | None, n: int, seed: int) -> Reading:
    if space is not None:
        return Reading({"all": Table(space, as_batch(space, what), name=asked.name)})
    if isinstance(what, str) and what in worlds():
        from likeness.data.synthetic import world

        truth = world(what)
        return Reading({"all": truth.source(n, seed)}, truth=truth)
    return read(what, asked)


def worlds() -> tuple[str, ...]:
    """The names of the worlds."""
    from likeness.data.synthetic import SYNTHETIC

    return tuple(SYNTHETIC)


@singledispatch
def read(what: Any, asked: Asked) -> Reading:
    """A Reading of whatever holds items; third parties register types of their own."""
    found = native(what)
    if type(found) is not type(what):
        return read(found, asked)
    return _array(found, asked)


@read.register
def _(what: str, asked: Asked) -> Reading:
    if what in catalog.SETS:
        return catalog.read(replace(asked, name=what))
    return read(paths.named(what, (*catalog.SETS, *worlds())), asked)


@read.register
def _(what: None, asked: Asked) -> Reading:
    raise BadData(
        "there is nothing to read: None is no data", do="give a path, an array or a frame"
    )


@read.register
def _(what: Path, asked: Asked) -> Reading:
    with inside(paths.exists(what)):
        return FILES[paths.kind(what)](what, asked)


@read.register
def _(what: Table, asked: Asked) -> Reading:
    return Reading({"all": what})


@read.register
def _(what: pd.DataFrame, asked: Asked) -> Reading:
    return catalog.read_frames(asked, {"all": what})


@read.register
def _(what: pd.Series, asked: Asked) -> Reading:
    return catalog.read_frames(asked, {"all": _column(what)})


@read.register
def _(what: np.ndarray, asked: Asked) -> Reading:
    found = native(what)
    if isinstance(found, pd.DataFrame):
        return read(found, asked)
    return _array(found, asked)


@read.register
def _(what: dict, asked: Asked) -> Reading:  # type: ignore[type-arg]
    try:
        return catalog.read_frames(asked, {"all": pd.DataFrame(what)})
    except ValueError as error:
        raise BadData(
            "the columns are of unlike lengths", do="give one value a row in each column"
        ) from error


@read.register
def _(what: list, asked: Asked) -> Reading:  # type: ignore[type-arg]
    if what and all(isinstance(item, str) for item in what):
        return _texts(what, asked)
    if what and all(isinstance(item, dict) for item in what):
        return catalog.read_frames(asked, {"all": pd.DataFrame(what)})
    if what and all(isinstance(item, list | tuple) for item in what) and _mixed(what):
        return read(np.array(what, dtype=object), asked)
    return spaces.read(
        what, name=asked.name, columns=asked.columns, rounding=asked.rounding or "note"
    )


def _texts(items: Sequence[str], asked: Asked) -> Reading:
    """Texts as characters, or as words where these are asked for."""
    if asked.words is None:
        return text.read(items, name=asked.name)
    return corpora.read(items, asked.words, name=asked.name)


def _text_folder(path: Path, asked: Asked) -> Reading:
    """Each text below a folder as an item."""
    listing = folders.walk(path)
    reading = _texts([decode(file) for file in listing.of({".txt"})], asked)
    return replace(reading, notes=(*reading.notes, *listing.notes))


def _mixed(rows: Sequence[Any]) -> bool:
    """Whether rows of one width hold words or nothing at all among their numbers."""
    one = len({len(row) for row in rows}) == 1
    return one and any(cell is None or isinstance(cell, str) for row in rows for cell in row)


def _column(series: pd.Series[Any]) -> pd.DataFrame:
    return series.to_frame("x" if series.name is None else str(series.name))


def _idx(path: Path, asked: Asked) -> Reading:
    """A folder of MNIST's form, or one file with the labels that lie beside it."""
    if path.is_dir():
        return catalog.read_idx_folder(path, name=asked.name)
    reading = _array(arrayfiles.read_idx(path), asked)
    beside = path.with_name(path.name.replace("images-idx3", "labels-idx1"))
    if beside == path or not beside.exists():
        return reading
    return labels.with_label(
        reading, arrayfiles.read_idx(beside).astype(np.int64), "label", where=str(beside)
    )


def _array(x: Any, asked: Asked) -> Reading:
    if asked.series and plain(x).ndim in {1, 2}:
        return catalog.read_frames(asked, {"all": frame_of(plain(x))})
    return spaces.read(x, name=asked.name, columns=asked.columns, rounding=asked.rounding or "note")


FILES: Mapping[str, Callable[[Path, Asked], Reading]] = {
    "table": lambda path, asked: catalog.read_frames(asked, {"all": paths.frame(path)}),
    "npy": lambda path, asked: _array(arrayfiles.read_npy(path), asked),
    "npz": lambda path, asked: arrayfiles.from_npz(
        path, asked.key, asked.rounding or "note", asked.columns, asked.name
    ),
    "idx": _idx,
    "images": lambda path, asked: images.read_folder(
        path, name=asked.name, size=asked.size, channels=asked.channels
    ),
    "audio": lambda path, asked: audio.read(path, name=asked.name),
    "tags": lambda path, asked: conll.read({"all": path}, name=asked.name),
    "series": lambda path, asked: tsfile.read(path, name=asked.name),
    "text": lambda path, asked: _texts(text.pieces(decode(path), asked.width), asked),
    "texts": _text_folder,
    "bags": lambda path, asked: corpora.read_bags(
        path, name=asked.name, vocabulary=asked.vocabulary
    ),
}


# ---- conditions, groups, parts -------------------------------------------------------------------


def _conditioned(reading: Reading, condition: Any, asked: Asked) -> Reading:
    """The reading with what was asked as `given`: a label that was offered, columns already taken, or an array."""
    if condition is None:
        return reading
    if asked.given and reading.aside is not None:
        if asked.given not in {("label",), (reading.aside,)}:
            raise BadData(
                f"nothing called {asked.given[0]!r} can be given",
                do=f"the label is called {reading.aside!r}",
            )
        return replace(reading, aside=None)
    first = next(iter(reading.parts.values()))
    if (
        asked.given
        and first.given_space is not None
        and set(first.given_space.names or ()) >= set(asked.given)
    ):
        return reading
    if asked.given:
        return replace(
            reading,
            parts={part: tables.conditioned(t, asked.given) for part, t in reading.parts.items()},
        )
    if "all" not in reading.parts:
        raise BadData(
            "a set with an official split takes no array as given", do="name what is given"
        )
    space, batch = _condition(condition)
    if len(batch) != len(first):
        raise BadData(
            f"{len(first)} items but {len(batch)} conditions", do="give one condition for each item"
        )
    table = replace(first, batch=first.batch.given_as(batch), given_space=space)
    return replace(reading, parts={"all": table}, aside=None)


def _condition(given: Any) -> tuple[Space, Batch]:
    """What is given, a row for each item: a column of a frame is what a Series or an array of it is."""
    if isinstance(given, Table):
        return given.space, given.batch
    if isinstance(given, pd.DataFrame) and given.shape[1] == 1:
        given = given.iloc[:, 0]
    one = isinstance(given, pd.Series)
    if isinstance(given, pd.DataFrame) or (
        one and (isinstance(given.dtype, pd.CategoricalDtype) or given.dtype.kind in "Mm")
    ):
        frame = _column(given) if one else given.rename(columns=str)
        space, _ = space_of(frame, keep=tuple(frame.columns))
        return space, tables.encode(space, frame)
    if one and given.name is not None:
        name = str(given.name)
    else:
        name = "label"
    if one and given.dtype.kind not in "biuf":
        plain = given.to_numpy(dtype=object, na_value=None)
    else:
        plain = given
    return labels.given(plain, name)


def _again(data: Data, given: Any) -> Data:
    """What was loaded before, conditioned on its label, on columns of its table, or on an array for its training rows.

    Raises:
        BadData: If nothing of that name is there.
    """
    names = _names(given, data.train)
    if data.label_space is not None:
        label = (data.label_space.names or ("label",))[0]
    else:
        label = None
    if label is not None and data.label_space is not None and names in {("label",), (label,)}:
        told = {
            part: _labelled(table, data.labels[part], data.label_space)
            for part, table in data.parts.items()
        }
        return replace(_parted(data, told), labels={}, label_space=None)
    if names:
        return _parted(
            data, {p: tables.conditioned(_whole(table), names) for p, table in data.parts.items()}
        )
    nothing = torch.zeros(0, dtype=torch.int64)
    return replace(
        data,
        train=load((data.train, given), test=0.0).train,
        test=data.test.take(nothing),
        valid=None,
    )


def _parted(data: Data, parts: Mapping[str, Table]) -> Data:
    return replace(data, train=parts["train"], test=parts["test"], valid=parts.get("valid"))


def _labelled(source: Source, codes: Tensor, space: Space) -> Table:
    table = _whole(source)
    known = (codes >= 0)[:, None]
    observed = None if bool(known.all()) else known
    x = codes.clamp_min(0)[:, None].double()
    given = Batch(x, observed, index=table.batch.ids)
    return replace(table, batch=table.batch.given_as(given), given_space=space)


def _whole(source: Source) -> Table:
    if not isinstance(source, Table):
        raise BadConfig(
            "pixels that are drawn anew take no condition afterwards", do="load them with given="
        )
    return source


def _grouped(reading: Reading, group: Any) -> Reading:
    if group is None:
        return reading
    table = reading.parts.get("all")
    values = plain(group).ravel()
    if table is None or len(values) != len(table):
        raise BadData(
            f"{len(values)} groups do not go with the items", do="give one group for each item"
        )
    return replace(reading, parts={"all": replace(table, groups=tables.groups(values))})
