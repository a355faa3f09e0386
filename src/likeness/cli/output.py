"""Where answers go: a table to stdout or a file, a file written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from likeness.cli.text import give, remark
from likeness.core import formulas
from likeness.core.errors import BadConfig
from likeness.core.files import whole
from likeness.core.words import plural

if TYPE_CHECKING:
    import pandas as pd

_TABLES: Mapping[str, Callable[[pd.DataFrame, Path], None]] = {
    ".csv": lambda frame, path: frame.to_csv(path, index=False),
    ".tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    ".parquet": lambda frame, path: frame.to_parquet(path, index=False),
}
TABLES = tuple(_TABLES)


def check(out: Path | None, suffixes: tuple[str, ...] = TABLES, source: str | None = None) -> None:
    """Refuse what could not be written, before anything is computed.

    Raises:
        BadConfig: For a suffix that nothing writes, or the file that is read.
    """
    if out is None:
        return
    if out.suffix.lower() not in suffixes:
        if out.suffix:
            named = f"files of the type {out.suffix!r} are"
        else:
            named = "a file without suffix is"
        raise BadConfig(
            f"{named} not written here",
            where=str(out),
            do=f"use one of {', '.join(sorted(suffixes))}",
        )
    if source is not None and out.exists() and Path(source).exists() and out.samefile(source):
        raise BadConfig(
            "the answer would take the place of the data", where=str(out), do="choose another --out"
        )


def as_text(out: Path | None) -> bool:
    """Whether an answer goes out as text, in which values are written as the user writes them."""
    return out is None or out.suffix.lower() != ".parquet"


def emit(
    frame: pd.DataFrame, out: Path | None, forms: Mapping[str, str | None] | None = None
) -> None:
    """A table to its file, or to stdout as CSV; `forms` say how columns are written in text."""
    from likeness.data import written

    if as_text(out):
        frame = formulas.checked(frame)
    if forms is not None and as_text(out):
        frame = written.as_written(frame, {formulas.safe(n): form for n, form in forms.items()})
    if out is None:
        give(frame.to_csv(index=False))
        return
    with whole(out) as partial:
        _TABLES[out.suffix.lower()](frame, partial)
    remark(f"{plural(len(frame), 'row')} written to {out}")


def tidy(frame: pd.DataFrame, single: bool) -> pd.DataFrame:
    """Numbers that were computed in single precision with the digits that they have, and no more."""
    if not single:
        return frame
    return frame.astype(
        {name: "float32" for name, kind in frame.dtypes.items() if kind == "float64"}
    )
