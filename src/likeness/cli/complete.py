"""`likeness complete`: fill in what is missing; what is known comes back as it was written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from likeness.cli import output, rows
from likeness.cli.arguments import Device, MaxMemory, Model, Out, Route, Rows, Seed, SettingsWords
from likeness.cli.text import plural, remark
from likeness.core.errors import BadConfig

if TYPE_CHECKING:
    import pandas as pd

    from likeness.core.answers import Draws
    from likeness.core.model import Model as Fitted

PLAIN = r"[-+]?\d*\.?\d+"  # a number without an exponent


def complete(
    model: Model,
    data: Rows,
    out: Out = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Draws of each row, below each other.")] = 1,
    mode: Annotated[
        bool, typer.Option("--mode", help="The most probable values instead of draws.")
    ] = False,
    route: Route = None,
    seed: Seed = None,
    settings: SettingsWords = None,
    max_memory: MaxMemory = None,
    device: Device = "cpu",
) -> None:
    """Fill in the missing cells of a table.

    By draws given the known cells, which stay as they are.

    likeness complete runs/flow holes.csv -n 20 --out completed.csv
    """
    if mode and (n > 1 or route is not None):
        raise BadConfig("--mode is one answer", do="leave -n and --route out")
    output.check(out, source=data)
    fitted = rows.open_model(model, device)
    asked = rows.settings(fitted, settings)
    found = rows.read_rows(fitted, data)
    if found.frame is None:
        tags = fitted.space.source == "tags"
        if tags:
            do = f"use likeness tag {model} {data}"
        else:
            do = "use model.complete in Python"
        raise BadConfig("rows of a table are completed here, and no others", where=data, do=do)
    if mode:
        best = fitted.mode(found.batch, given=found.batch.given, settings=asked)
        parts = [best.batch]
        how = best.how
        kind = best.kind
    else:
        draws = fitted.complete(
            found.batch, n=n, given=found.batch.given, seed=seed, route=route, settings=asked
        )
        parts = _parts(draws)
        how = f"{draws.how}, --seed {draws.seed}"
        kind = draws.kind
    tables = [_filled(_written(data, found.frame), found, fitted, part) for part in parts]
    remark(f"{plural(int(found.batch.holes.sum()), 'missing cell')} filled: {how} ({kind})")
    output.emit(tables[0] if len(tables) == 1 else _stacked(tables), out)


def _parts(draws: Draws) -> list[Any]:
    """Each draw of all rows as a batch."""
    from likeness.core.batch import Batch

    return [Batch(x) for x in draws.x]


def _written(source: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The table's cells as they were written, in text where the file is text."""
    from likeness.data import paths
    from likeness.data.files import read_csv

    path = Path(source)
    text = (
        path.exists()
        and paths.kind(path) == "table"
        and path.suffix.lower() not in {".parquet", ".pq"}
    )
    if text:
        return read_csv(path, verbatim=True)
    return frame.copy()


def _filled(written: pd.DataFrame, found: rows.Rows, model: Fitted, part: Any) -> pd.DataFrame:
    """The table with its hidden cells filled from one draw."""
    from likeness.data.frames import to_frame

    drawn = output.tidy(to_frame(model.space, part), model.dtype.itemsize < 8)
    forms = model.space.written or (None,) * model.space.width
    hidden = found.batch.holes.cpu().numpy()
    for place, name in enumerate(model.space.names or written.columns):
        rows_ = hidden[:, place]
        if rows_.any():
            column = drawn.iloc[:, place]
            text = written[name].dtype.kind == "O" or str(written[name].dtype) in {"str", "string"}
            if text:
                filled = _as_written(column, written[name][~rows_], forms[place])
            else:
                filled = column
            written[name] = written[name].where(~rows_, filled)
    return written


def _as_written(drawn: pd.Series[Any], known: pd.Series[Any], form: str | None) -> pd.Series[Any]:
    """Drawn cells in the form of the known ones: dates in their order, numbers with their mark and decimals."""
    if drawn.dtype.kind == "M":
        own = form is not None and "%" in form
        return drawn.dt.strftime(form if own else "%Y-%m-%d %H:%M:%S")
    comma = form is not None and form.startswith("comma")
    if comma:
        known = known.str.replace(",", ".")
    if drawn.dtype.kind != "f" or not bool(known.str.fullmatch(PLAIN).all()):
        return drawn.astype(str)
    if len(known):
        decimals = int(known.str.partition(".")[2].str.len().max())
    else:
        decimals = 0
    return drawn.map(lambda value: f"{value:.{decimals}f}".replace(".", "," if comma else "."))


def _stacked(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Several completions below each other, with the row and the draw before the columns."""
    import pandas as pd

    numbered = [t.assign(row=range(len(t)), draw=k) for k, t in enumerate(tables)]
    both = pd.concat(numbered, ignore_index=True).sort_values(
        ["row", "draw"], kind="stable", ignore_index=True
    )
    return both[["row", "draw", *tables[0].columns]]
