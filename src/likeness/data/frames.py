"""The way from users' own types to a Batch of a known Space, and back to frames and files."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from likeness.core import formulas
from likeness.core.batch import BESIDE, CONVERTERS, Batch, as_batch
from likeness.core.draws import FRAMES, SEVERAL, TEXTS, WRITERS, Draws
from likeness.core.errors import BadData
from likeness.core.space import Space, Variable
from likeness.data import (
    arrayfiles,
    arrays,
    audio,
    corpora,
    datetimes,
    images,
    paths,
    tables,
    text,
    tsfile,
    written,
)
from likeness.data.cells import DAYS
from likeness.data.containers import native, plain
from likeness.data.encoding import encode_array, encode_column, encode_list, renamed
from likeness.data.images import Dynamic
from likeness.data.recoding import recoded
from likeness.data.source import Table, inside


def register() -> None:
    """Tell the core how to read users' types and how to write answers; telling it twice changes nothing."""
    if _converter not in CONVERTERS:
        CONVERTERS.append(_converter)
        BESIDE.append(beside)
        FRAMES.append(to_frame)
        TEXTS.append(text.decode)
        WRITERS.update(SAVES)
        SEVERAL.add(".wav")


def _converter(space: Space, data: Any) -> Batch | None:
    return convert(data, space)


# ---- in ------------------------------------------------------------------------------------------


@singledispatch
def convert(data: Any, space: Space) -> Batch | None:
    """The data as a Batch of `space`, or None where they are nothing that is read here."""
    found = native(data)
    if type(found) is not type(data):
        return convert(found, space)
    return encode_array(space, plain(data))


@convert.register
def _(data: Table, space: Space) -> Batch:
    return recoded(data.batch, data.space, space)


@convert.register
def _(data: Dynamic, space: Space) -> Batch:
    return data.batch


@convert.register
def _(data: pd.DataFrame, space: Space) -> Batch:
    return tables.encode(space, data)


@convert.register
def _(data: pd.Series, space: Space) -> Batch:
    return encode_column(space, data)


@convert.register
def _(data: dict, space: Space) -> Batch:  # type: ignore[type-arg]
    single = all(np.ndim(v) == 0 for v in data.values())
    return tables.encode(space, pd.DataFrame([data] if single else data))


@convert.register
def _(data: list, space: Space) -> Batch:  # type: ignore[type-arg]
    return encode_list(space, data)


@convert.register
def _(data: tuple, space: Space) -> Batch:  # type: ignore[type-arg]
    return encode_list(space, list(data))


@convert.register
def _(data: np.ndarray, space: Space) -> Batch:
    return encode_array(space, data)


@convert.register
def _(data: Tensor, space: Space) -> Batch | None:
    if renamed(space):
        return encode_array(space, plain(data))
    return None


@convert.register
def _(data: Draws, space: Space) -> Batch:
    return data.batch


@convert.register
def _(data: str, space: Space) -> Batch:
    # A label, or else a path.
    labels = getattr(space.variables[0], "labels", None) or ()
    file = paths.there(Path(data)) and Path(data).is_file()
    if space.label and (data.strip() in labels or not file):
        return tables.label_batch(space, [data])
    return convert(paths.named(data), space)  # type: ignore[return-value]


@convert.register
def _(data: Path, space: Space) -> Batch:
    with inside(paths.exists(data)):
        # The kind of the file follows from its suffix and from the Space.
        kind = paths.kind_for(space, data)
        if kind == "images":
            return _said(images.of_path(space, data))
        if kind == "audio":
            return _said(audio.of_path(space, data))
        if space.source == corpora.WORDS and kind in corpora.KINDS:
            return corpora.of_file(space, data, bagged=kind == "bags").batch
        return as_batch(space, _held(data, kind))


def _said(read: tuple[Batch, tuple[str, ...]]) -> Batch:
    """What was read, after a warning for each note."""
    batch, notes = read
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return batch


def _held(path: Path, kind: str) -> Any:
    """What a file holds, in a type that `convert` or the core reads."""
    if kind == "npz":
        key = arrayfiles.items_of(path)
        return arrayfiles.read_npz(path, {key})[key]
    readers = {
        "table": paths.frame,
        "npy": arrayfiles.read_npy,
        "idx": arrayfiles.read_idx,
        "text": corpora.texts,
        "texts": corpora.texts,
        "bags": corpora.bags,
        "series": _series,
    }
    if kind not in readers:
        raise BadData(
            "sentences in columns hold labels and what tells them", do="load them with lk.load"
        )
    return readers[kind](path)


def _series(path: Path) -> list[arrays.Array]:
    return tsfile.parse(path).items


def beside(space: Space, given_space: Space, data: Any) -> Batch | None:
    """The condition that a source holds, or that stands among the columns of a table.

    There all its names must stand, and none may be a column of the items.
    """
    # A source brings its condition along.
    if isinstance(data, Table):
        if data.given_space is None or data.batch.given is None:
            return None
        return recoded(data.batch.given, data.given_space, given_space, hide=given_space.ragged)
    # A table has it as columns, if it has all of them and the items have none.
    frame = _as_frame(data)
    names = given_space.names or ()
    if (
        frame is None
        or not names
        or set(names) & set(space.names or ())
        or not set(names) <= set(map(str, frame))
    ):
        return None
    return tables.encode(given_space, frame)


def _as_frame(data: Any) -> pd.DataFrame | None:
    """A table in any form that `convert` reads with its names, or None."""
    if isinstance(data, dict):
        return pd.DataFrame([data] if all(np.ndim(v) == 0 for v in data.values()) else data)
    rows = isinstance(data, list) and bool(data) and all(isinstance(item, dict) for item in data)
    if rows:
        return pd.DataFrame(data)
    if isinstance(data, pd.DataFrame):
        return data
    return None


# ---- out -----------------------------------------------------------------------------------------


def to_frame(space: Space, batch: Batch, told: Tensor | None = None) -> pd.DataFrame:
    """The items as a frame, with labels, dates and levels as the user knows them; what is hidden is missing.

    Numbers and dates have the decimals and the precision that were learned, but where the user
    `told` them, bool (B, *E).

    Rows of columns stay that; images and other arrays get a column an entry (channel_row_column);
    ragged items a row a step, with the columns item and step before.
    """
    if space.ragged:
        return _long(space, batch, told)
    # Rows of columns: the user's names and forms.
    x = batch.x.detach().cpu()
    known = batch.present.cpu()
    if len(space.shape) == 1:
        names: tuple[str, ...] = space.names or tuple(f"x{i}" for i in range(space.width))
        return _columns(names, space.columns, x, known, space.written, told)
    # Arrays: one column an entry, named by its place.
    names = tuple("_".join(map(str, place)) for place in np.ndindex(*space.layout))
    variables = space.columns * (space.dims // space.width)
    return _columns(names, variables, x.flatten(1), known.flatten(1))


def _long(space: Space, batch: Batch, told: Tensor | None) -> pd.DataFrame:
    # One row a step: the steps within each item's length, (steps of all items, columns).
    inside_ = torch.arange(batch.x.shape[1]) < batch.lengths[:, None].cpu()
    item, step = torch.nonzero(inside_, as_tuple=True)
    x = batch.x.detach().cpu()[inside_]
    known = batch.present.cpu()[inside_]
    x, known = (x[:, None], known[:, None]) if x.dim() == 1 else (x.flatten(1), known.flatten(1))
    names = space.names or (
        ("symbol",) if len(space.shape) == 1 else tuple(f"x{i}" for i in range(x.shape[1]))
    )
    if told is None:
        kept = None
    else:
        kept = told.cpu()[inside_].reshape(x.shape)
    frame = _columns(names, space.columns, x, known, space.written, kept)
    frame.insert(0, free("step", names), step.numpy())
    frame.insert(0, free("item", names), batch.ids.cpu()[item].numpy())
    return frame


def free(name: str, taken: Iterable[str]) -> str:
    """The name, with a line behind it for as long as a column is called so."""
    if name in set(taken):
        return free(f"{name}_", taken)
    return name


def _columns(
    names: tuple[str, ...],
    variables: tuple[Variable, ...],
    x: Tensor,
    known: Tensor,
    forms: tuple[str | None, ...] | None = None,
    told: Tensor | None = None,
) -> pd.DataFrame:
    # One column after the other, each with its variable and its written form: (B, C) -> C x (B,).
    kept = torch.zeros_like(known) if told is None else told.cpu()
    columns = zip(
        names,
        variables,
        x.double().numpy().T,
        known.numpy().T,
        forms or (None,) * len(names),
        kept.numpy().T,
        strict=True,
    )
    return pd.DataFrame({name: _restored(*rest) for name, *rest in columns})


def _restored(
    variable: Variable,
    values: arrays.Array,
    known: arrays.Array,
    form: str | None,
    told: arrays.Array,
) -> Any:
    """A column in the user's own terms."""
    # Truth values
    if written.flag_words(form) and variable.states == 2:
        flags = np.where(known, values, 0) == 1
        if known.all():
            return flags
        return pd.arrays.BooleanArray(flags, ~known)
    # Labels in place of codes.
    if variable.type == "nominal" and variable.labels is not None:
        labels = np.array(variable.labels, dtype=object)
        return pd.Series(
            np.where(known, labels[np.where(known, values, 0).astype(int)], None), dtype="str"
        )
    # Reals, with the decimals they were learned with.
    if variable.type == "real":
        return _real(variable.unit, np.where(known, values, np.nan), form, told)
    # Levels and counts as whole numbers; pandas' masked integers where some are missing.
    start = variable.start if variable.type == "ordinal" else 0
    whole = np.where(known, values, 0).astype(np.int64) + start
    if known.all():
        return whole
    return pd.arrays.IntegerArray(whole, ~known)


def _real(
    unit: str | None,
    values: arrays.Array,
    form: str | None,
    told: arrays.Array,
) -> Any:
    if unit == DAYS:
        return _moments(values, form, told)
    digits = written.digits(form)
    if digits is None:
        return values
    rounded = np.where(told, values, np.round(values, digits))
    return _integers(rounded) if digits == 0 else rounded


def _integers(values: arrays.Array) -> Any:
    """Whole numbers as such, if all are, with gaps where they are NaN."""
    gaps = np.isnan(values)
    if not arrays.is_whole(values[~gaps]):
        return values
    whole = np.where(gaps, 0, values).astype(np.int64)
    return pd.arrays.IntegerArray(whole, gaps) if gaps.any() else whole


def _moments(days: arrays.Array, form: str | None, told: arrays.Array) -> Any:
    """Dates of the precision that they were written with, but where the user told them."""
    # Milliseconds are what a double of days since 1970 still resolves.
    moments = pd.Series(pd.to_datetime(days, unit="D", origin="unix").round("ms"))
    free = moments.notna().to_numpy() & ~told
    if datetimes.is_format(form):
        snapped = datetimes.snap(moments[free].to_numpy(), form or "")
        moments[free] = pd.Series(snapped.astype(moments.dtype), index=moments.index[free])
    return pd.DatetimeIndex(moments)


def forms_of(space: Space, given_space: Space | None) -> dict[str, str | None]:
    """How the columns of a frame of draws are written, by their names in it."""
    forms: dict[str, str | None] = {}
    for part in (given_space, space):
        if part is not None and part.names is not None and part.written is not None:
            forms |= dict(zip(part.names, part.written, strict=True))
    return forms


def _csv(draws: Draws, path: Path) -> None:
    forms = forms_of(draws.space, draws.given_space)
    frame = formulas.checked(draws.to_pandas())
    named = {formulas.safe(name): form for name, form in forms.items()}
    written.as_written(frame, named).to_csv(path, index=False)


def _parquet(draws: Draws, path: Path) -> None:
    draws.to_pandas().to_parquet(path, index=False)


def _npy(draws: Draws, path: Path) -> None:
    """The items alone, (n, *E) or (n, B, *E); NaN past the end of ragged ones."""
    x = draws.x.detach().cpu()
    if draws.length is not None:
        steps = torch.arange(x.shape[draws.length.dim()])
        past = steps >= draws.length.cpu()[..., None]
        x = x.masked_fill(past.reshape(*past.shape, *[1] * (x.dim() - past.dim())), torch.nan)
    with path.open("wb") as file:
        np.save(file, x.numpy(), allow_pickle=False)


def _npz(draws: Draws, path: Path) -> None:
    """The items with their lengths, what was given, the seed and the Space, from which `load` restores them."""
    batch = draws.batch
    held: dict[str, Any] = {
        "x": batch.x.detach().cpu().numpy(),
        "space": np.array(draws.space.to_json()),
    }
    held |= {} if batch.length is None else {"length": batch.length.cpu().numpy()}
    held |= {} if batch.given is None else {"given": batch.given.x.detach().cpu().numpy()}
    with path.open("wb") as file:
        np.savez(file, seed=np.array(draws.seed), **held)


SAVES: Mapping[str, Any] = {
    ".csv": _csv,
    ".parquet": _parquet,
    ".npy": _npy,
    ".npz": _npz,
    ".txt": lambda draws, path: text.write(draws.space, draws.batch, path),
    ".wav": lambda draws, path: audio.write(draws.space, draws.batch, path),
}
