"""`likeness forecast`: what comes next after each series, with how far it may lie off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from likeness.cli import output, rows
from likeness.cli.arguments import (
    Device,
    MaxMemory,
    Model,
    Out,
    Rows,
    SafeCsv,
    Seed,
    Series,
    SettingsWords,
)
from likeness.cli.text import remark
from likeness.core.errors import BadConfig, Unsupported
from likeness.core.words import plural

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from likeness.core.draws import Draws

DIGITS = 3  # after the first of the interval's width
MOST_DIGITS = 15  # decimals, beyond which numbers stay as they are
MEDIAN = ""  # what a median's column adds to its name


def forecast(
    model: Model,
    data: Rows,
    steps: Annotated[int, typer.Option(min=1, help="How many steps ahead.")] = 24,
    out: Out = None,
    n: Annotated[
        int, typer.Option("-n", min=1, help="Draws of each series that the answer rests on.")
    ] = 200,
    level: Annotated[
        float, typer.Option(help="How often the interval shall hold what comes.")
    ] = 0.9,
    draws: Annotated[
        bool, typer.Option("--draws", help="The draws themselves, a row for each step of each.")
    ] = False,
    series: Series = None,
    seed: Seed = None,
    settings: SettingsWords = None,
    max_memory: MaxMemory = None,
    safe_csv: SafeCsv = False,
    device: Device = "cpu",
) -> None:
    """Say what comes next after each series.

    For each step ahead the median of each number and an interval, the likeliest of categories and
    its probability.

    likeness forecast runs/hmm series.csv --steps 24 --out forecast.csv
    """
    if not 0 < level < 1:
        raise BadConfig(
            f"--level {level:g} is no share between 0 and 1", do="write --level 0.9, say"
        )
    output.check(out, source=data)
    fitted = rows.open_model(model, device)
    asked = rows.settings(fitted, settings)
    able = fitted.support("forecast")
    if not able:
        raise Unsupported(f"this model cannot forecast: {able.why}")
    found = rows.read_rows(fitted, data, series=series)
    drawn = fitted.forecast(
        found.batch, steps, n=n, given=found.batch.given, seed=seed, settings=asked
    )
    head, frame = _each(drawn) if draws else _summary(drawn, level)
    remark(
        f"{len(found.batch)} series, {plural(n, 'draw')} of each with --seed {drawn.seed}: {drawn.how} ({drawn.kind})"
    )
    if not draws:
        remark(
            f"from _lower to _upper lie {level:.4g} of the draws, the median in between; p_ is how probable that is"
        )
    tidy = output.tidy(frame, fitted.dtype.itemsize < 8)
    table = _named(head, tidy, found, steps, as_text=output.as_text(out))
    output.emit(table, out, _forms(drawn, frame))


Head = dict[str, Any]  # where each row of an answer belongs: row, draw, step


def _each(draws: Draws) -> tuple[Head, pd.DataFrame]:
    """Every draw of every series, a row a step."""
    import numpy as np

    frame = draws.to_pandas()
    count = draws.x.shape[1]
    item = frame.iloc[:, 0].to_numpy()
    step = frame.iloc[:, 1].to_numpy()
    order = np.lexsort((step, item // count, item % count))
    head = {"row": item % count, "draw": item // count, "step": step + 1}
    return {k: v[order] for k, v in head.items()}, frame.iloc[order, 2:].reset_index(drop=True)


# ---- what the draws say of each step -------------------------------------------------------------


def _summary(draws: Draws, level: float) -> tuple[Head, pd.DataFrame]:
    """What the draws say of each column, a row for each step of each series."""
    import pandas as pd
    import torch

    symbols = [v.type == "nominal" or v.states == 2 for v in draws.space.columns]
    ends = _quantiles(draws, level)
    (best, chance) = _likeliest(draws, symbols)
    ends[MEDIAN] = torch.where(torch.tensor(symbols, device=best.device), best, ends[MEDIAN])
    frames = {end: _long(draws, x) for end, x in ends.items()}
    head = {
        name: frames[MEDIAN].iloc[:, i].to_numpy() + i for i, name in enumerate(("row", "step"))
    }  # steps from 1
    parts: list[pd.Series[Any]] = []
    for i, symbol in enumerate(symbols):
        name = frames[MEDIAN].columns[i + 2]
        parts += [
            frames[end].iloc[:, i + 2].rename(f"{name}{end}")
            for end in ([MEDIAN] if symbol else ends)
        ]
        parts += (
            [pd.Series(chance[..., i].flatten().cpu().numpy().round(6), name=f"p_{name}")]
            if symbol
            else []
        )
    return head, pd.concat(parts, axis=1)


def _wide(draws: Draws, x: Tensor) -> Tensor:
    """Symbols as columns of one, so that the last axis is that of the columns."""
    if len(draws.space.shape) > 1:
        return x
    return x[..., None]


def _quantiles(draws: Draws, level: float) -> dict[str, Tensor]:
    """The median and the ends of the interval (B, T, C), by what a column's name ends in; levels and counts whole."""
    import torch

    found = _wide(draws, draws.quantiles(0.5, (1 - level) / 2, (1 + level) / 2))
    whole = torch.tensor([v.type != "real" for v in draws.space.columns], device=found.device)
    ways = {MEDIAN: torch.round, "_lower": torch.floor, "_upper": torch.ceil}
    short = torch.stack([_rounded(column) for column in found.unbind(-1)], -1)
    return {
        end: torch.where(whole, way(x), y)
        for (end, way), x, y in zip(ways.items(), found, short, strict=True)
    }


def _rounded(ends: Tensor) -> Tensor:
    """Median and ends (3, B, T) with the decimals that tell a thousandth of a series' interval: the rest is chance."""
    import torch

    width = (ends[2] - ends[1]).double().median(-1, keepdim=True).values
    digits = (DIGITS - width.clamp(min=1e-300).log10().floor()).clamp(min=0)
    scale = 10**digits
    return torch.where(
        (width > 0) & (digits <= MOST_DIGITS), ((ends * scale).round() / scale).to(ends), ends
    )


def _likeliest(draws: Draws, symbols: Sequence[bool]) -> tuple[Tensor, Tensor]:
    """The commonest code of each step and its share of the draws, (B, T, C); 0 in columns of numbers."""

    x = _wide(draws, draws.x).double()
    n = len(draws)
    if draws.log_weight is None:
        weight = x.new_full(x.shape[:2], 1 / n)
    else:
        weight = draws.log_weight.double().softmax(0)
    best, chance = x.new_zeros(2, *x.shape[1:])
    for i in (i for i, symbol in enumerate(symbols) if symbol):
        states = int(draws.space.columns[i].states)
        for row in range(
            x.shape[1]
        ):  # a table of all rows at once would be large where there are many words
            share = x.new_zeros(x.shape[2], states)
            share.scatter_add_(1, x[:, row, :, i].long().T, weight[:, row].expand(x.shape[2], -1))
            chance[row, :, i], best[row, :, i] = share.max(-1)
    return best, chance


def _long(draws: Draws, x: Tensor) -> pd.DataFrame:
    """Steps (B, T, C) as a frame in the user's own terms: item, step, and the columns."""
    import torch

    from likeness.core.batch import Batch
    from likeness.data.frames import to_frame

    narrow = len(draws.space.shape) == 1
    length = torch.full((len(x),), x.shape[1], dtype=torch.int64)
    return to_frame(draws.space, Batch((x[..., 0] if narrow else x).cpu(), length=length))


def _forms(draws: Draws, frame: pd.DataFrame) -> dict[str, str | None]:
    """How columns are written, their medians and the ends of their intervals."""
    from likeness.data.frames import forms_of

    forms = forms_of(draws.space, draws.given_space)
    bounds = {f"{name}{end}": form for name, form in forms.items() for end in ("_lower", "_upper")}
    return {name: form for name, form in (bounds | forms).items() if name in frame}


def _named(
    head: Head, frame: pd.DataFrame, found: rows.Rows, steps: int, *, as_text: bool
) -> pd.DataFrame:
    """The frame behind the series' own names and the times that come, where the file tells them, and the steps.

    Names of our own give way to those of columns.
    """
    import pandas as pd

    from likeness.data.frames import free

    row = head.pop("row")
    step = head["step"]
    told: Head = {}
    if found.names is not None:
        told[str(found.key)] = found.names[row]
    elif len(found.batch) > 1:
        told[free("row", frame)] = row
    if found.clock is not None:
        times = found.clock.ahead(steps)[row, step - 1]
        told[found.clock.name] = found.clock.last.texts(times) if as_text else times
    own = {free(name, [*frame, *told]): values for name, values in head.items()}
    return pd.concat([pd.DataFrame({**told, **own}), frame], axis=1)
