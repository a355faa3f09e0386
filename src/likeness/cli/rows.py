"""A model and rows to ask it about: opened, read, and told when they do not go together."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from likeness.cli.options import parse
from likeness.cli.text import remark
from likeness.core.errors import BadData, BadStore

if TYPE_CHECKING:
    import pandas as pd

    from likeness.core.batch import Batch
    from likeness.core.model import Model
    from likeness.core.space import Space
    from likeness.data.corpora import Documents
    from likeness.data.times import Clock

ONE = "all"  # in place of a column of series: all rows are one
CONFIG = "config.json"
CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows that a model can be asked about.

    Args:
        batch: The rows; what they are conditioned on is in `batch.given`, where it is known.
        frame: The table that they were read from, or None where they are no table.
        source: What the user called them.
        key: The column that names the series, where rows are series with names.
        names: What each series is called.
        clock: When the next steps of series are, where their times tell it.
        notes: More columns that an answer for each row says, (B,) each, by their names.
    """

    batch: Batch
    frame: pd.DataFrame | None
    source: str
    key: str | None = None
    names: Any = None
    clock: Clock | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


def open_model(folder: Path, device: str = "cpu") -> Model:
    """The model in a folder, on its device.

    Raises:
        BadStore: If there is none, with the nearest folder that has one.
    """
    _there(folder)
    import likeness as lk
    from likeness.core.devices import device_of

    return lk.open(folder).to(device_of(device))


def _there(folder: Path) -> None:
    if (folder / CONFIG).exists():
        return
    if (folder / CHECKPOINT).exists():
        raise BadStore(
            "this fit is not finished", where=str(folder), do="go on with likeness fit ... --resume"
        )
    beside = folder.parent if folder.parent.is_dir() else Path()
    models = [
        str(path.parent)
        for path in (*beside.glob(f"*/{CONFIG}"), *Path("runs").glob(f"*/{CONFIG}"))
    ]
    near = difflib.get_close_matches(str(folder), models, n=1) or sorted(set(models))[:1]
    if near:
        do = f"did you mean {near[0]!r}?"
    else:
        do = "fit one with likeness fit DATA FAMILY"
    raise BadStore("there is no model here", where=str(folder), do=do)


def settings(model: Model, words: Sequence[str] | None) -> Any:
    """How to ask, from NAME=VALUE words.

    Raises:
        BadConfig: For a setting that the model does not know.
    """
    return model.Settings.parse(parse(words or ()))


def read_rows(
    model: Model, source: str, *, needs_given: bool = True, series: str | None = None
) -> Rows:
    """The rows of a path or of a named set, as the model's Space reads them.

    Where a condition that the answer rests on is not among them, a remark says so. `series` names
    the column of series where it is not that of the fit.

    Raises:
        BadData: If they cannot be read, or are not of the model's Space.
    """
    from likeness.data import paths
    from likeness.data.source import NOTES, Loud, inside

    path = Path(source)
    on_disk = bool(source.strip()) and paths.there(path)
    with inside(path) if on_disk else nullcontext():
        if not on_disk:
            found = _named(model, source)
        elif (kind := paths.kind_for(model.space, path)) == "table":
            frame = paths.frame(path)
            for note in Loud.among(frame.attrs.get(NOTES, ())):
                remark(f"note: {note}")
            found = _table(model, frame, source, series)
        else:
            found = _of_file(model, path, kind, source)
    if not len(found.batch):
        raise BadData("there are no rows", where=source)
    _say_empty(found.batch)
    if needs_given and model.given_space is not None and found.batch.given is None:
        remark(
            f"note: {', '.join(model.given_space.names or ('what was given',))} not found in {source}: summed out"
        )
    return found


def _say_empty(batch: Batch) -> None:
    """Remark that items of length 0 are answered too: under a law given the length they are certain."""
    if batch.length is None:
        return
    empty = int((batch.length == 0).sum())
    if empty:
        remark(
            f"note: {empty:,} of {len(batch):,} items are empty: nothing but their length can be strange"
        )


def _of_file(model: Model, path: Path, kind: str, source: str) -> Rows:
    """The items of a file that is no table, with what is given beside them."""
    from likeness.core.batch import as_batch
    from likeness.data import conll, corpora, tsfile
    from likeness.data.source import Loud

    if kind == "tags":
        file, batch = conll.file_for(model.space, model.given_space, path)
        _say(Loud.among(file.notes))
        return Rows(batch, None, source)
    if kind == "series":
        batch, notes = tsfile.of_file(model.space, model.given_space, path)
        _say(notes)
        return Rows(batch, None, source)
    if model.space.source == corpora.WORDS and kind in corpora.KINDS:
        return _documents(corpora.of_file(model.space, path, bagged=kind == "bags"), source)
    return _framed(model, as_batch(model.space, path), source)


def _say(notes: Iterable[str]) -> None:
    for note in notes:
        remark(f"note: {note}")


def _documents(found: Documents, source: str) -> Rows:
    """Documents, with the number of unknown words of each where there are any."""
    _say(found.notes)
    unknown = found.unknown.numpy()
    return Rows(
        found.batch, None, source, notes={"unknown_words": unknown} if unknown.any() else {}
    )


def _table(model: Model, frame: pd.DataFrame, source: str, series: str | None) -> Rows:
    from likeness.core.batch import as_batch

    frame = frame.rename(columns=str)
    if model.space.ragged and len(model.space.shape) == 2 and model.space.names is not None:
        return _steps(model, frame, source, series)
    batch = as_batch(model.space, _only(frame, model.space))
    names = () if model.given_space is None else model.given_space.names or ()
    if model.given_space is not None and names and set(names) <= set(frame.columns):
        batch = replace(batch, given=as_batch(model.given_space, frame[list(names)]))
    return Rows(batch, frame, source)


def _steps(model: Model, frame: pd.DataFrame, source: str, series: str | None) -> Rows:
    """A table whose rows are steps, as series, by the columns that parted and ordered those that were learned."""
    from likeness.data.series import of_frame

    known = series is not None or "series" in model.facts
    key = series or model.facts.get("series")
    if key == ONE:
        key = None
    if key is not None and key not in frame.columns:
        do = "name the column with --series, or write --series all where the rows are one"
        raise BadData(
            f"no column {key!r}, which is to say the series of each row", where=source, do=do
        )
    found = of_frame(model.space, model.given_space, frame, key, model.facts.get("times"))
    if found.repeats and not known:
        do = "name the column that tells series apart, or say that the rows are one: --series COLUMN|all"
        raise BadData(
            "times repeat, and the model does not say which series a row belongs to",
            where=source,
            do=do,
        )
    for note in found.notes:
        remark(f"note: {note}")
    return Rows(found.batch, None, source, key, found.names, found.clock)


def _framed(model: Model, batch: Batch, source: str) -> Rows:
    """Rows that are no table, as one where they are vectors."""
    from likeness.data.frames import to_frame

    return Rows(batch, to_frame(model.space, batch) if model.space.flat else None, source)


def _only(frame: pd.DataFrame, space: Space) -> Any:
    """The frame itself where columns have names; its numbers where an array was learned."""
    from likeness.data.columns import numbers_of

    if space.names is not None or len(frame.columns) != space.width:
        return frame
    numbers = numbers_of(frame)
    return frame if numbers is None else numbers


def condition_of(names: Sequence[str]) -> str | list[str] | None:
    """Names as `load` takes them for `given`: one alone, several as a list, none as None."""
    if not names:
        return None
    if len(names) == 1:
        return names[0]
    return list(names)


def _named(model: Model, source: str) -> Rows:
    """The test rows of a set with an official split, all rows of another."""
    import likeness as lk

    names = () if model.given_space is None else model.given_space.names or ()
    data = lk.load(source, given=condition_of(names), test=0.0)
    why = model.space.fits(data.space)
    if why is not None:
        raise BadData(why, where=source, do="ask about data like those that were learned")
    part = data.test if len(data.test) else data.train
    return _framed(model, part.batch, source)


def keyed(series: str | None) -> str | bool | None:
    """What --series says, as `load` takes it."""
    if series == ONE:
        return True
    return series


def labels_of(space: Space) -> tuple[str, ...]:
    """What the classes of a label Space are called."""
    variable = space.variables[0]
    assert variable.type == "nominal"
    return variable.labels or tuple(str(k) for k in range(variable.categories))
