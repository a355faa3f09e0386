"""`likeness complete`: fill in what is missing; what is known comes back as it was written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from likeness.cli import output, rows
from likeness.cli.arguments import (
    Device,
    MaxMemory,
    Model,
    Out,
    Route,
    Rows,
    SafeCsv,
    Seed,
    SettingsWords,
)
from likeness.cli.text import remark
from likeness.core.errors import BadConfig
from likeness.core.words import plural

if TYPE_CHECKING:
    import pandas as pd

    from likeness.core.draws import Draws
    from likeness.core.model import Model as Fitted


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
    safe_csv: SafeCsv = False,
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
    tables = [_filled(found.frame.copy(), found, fitted, part) for part in parts]
    remark(f"{plural(int(found.batch.holes.sum()), 'missing cell')} filled: {how} ({kind})")
    output.emit(tables[0] if len(tables) == 1 else _stacked(tables), out)


def _parts(draws: Draws) -> list[Any]:
    """Each draw of all rows as a batch."""
    from likeness.core.batch import Batch

    return [Batch(x) for x in draws.x]


def _filled(table: pd.DataFrame, found: rows.Rows, model: Fitted, part: Any) -> pd.DataFrame:
    """The table with its hidden cells filled from one draw; in a text file's table as it is written."""
    from likeness.data.frames import to_frame

    drawn = output.tidy(to_frame(model.space, part), model.dtype.itemsize < 8)
    forms = model.space.written or (None,) * model.space.width
    hidden = found.batch.holes.cpu().numpy()
    for place, name in enumerate(model.space.names or table.columns):
        holes = hidden[:, place]
        if holes.any():
            filled = drawn.iloc[:, place]
            if table[name].dtype.kind == "O" or str(table[name].dtype) in {"str", "string"}:
                filled = _as_written(filled, table[name][~holes], forms[place])
            table[name] = table[name].where(~holes, filled)
    return table


def _as_written(drawn: pd.Series[Any], known: pd.Series[Any], form: str | None) -> pd.Series[Any]:
    """Drawn cells in the form of the known ones, or where that is none in that of the fit."""
    import pandas as pd

    from likeness.data import written
    from likeness.data.cells import cells

    own = cells(known, str(known.name)).written if len(known) else None
    texts = written.as_texts(drawn, own or form)
    if texts is None and drawn.dtype.kind == "M":
        return drawn.dt.strftime("%Y-%m-%d %H:%M:%S")
    return drawn.astype(str) if texts is None else pd.Series(texts, index=drawn.index)


def _stacked(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Several completions below each other, with the row and the draw before the columns."""
    import pandas as pd

    numbered = [t.assign(row=range(len(t)), draw=k) for k, t in enumerate(tables)]
    both = pd.concat(numbered, ignore_index=True).sort_values(
        ["row", "draw"], kind="stable", ignore_index=True
    )
    return both[["row", "draw", *tables[0].columns]]
