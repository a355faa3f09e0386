"""`likeness forecast`: what comes next after each series, with how far it may lie off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from likeness.cli import output, rows
from likeness.cli.arguments import Device, Model, Out, Rows, Seed, Series, SettingsWords
from likeness.cli.text import plural, remark
from likeness.core.errors import BadConfig, Unsupported

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from likeness.core.answers import Draws

DIGITS = 3  # after the first of the interval's width


def forecast(
    model: Model,
    data: Rows,
    steps: Annotated[int, typer.Option(min=1, help="How many steps ahead.")] = 24,
    out: Out = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Draws of each series that the answer rests on.")] = 200,
    level: Annotated[float, typer.Option(help="How often the interval shall hold what comes.")] = 0.9,
    draws: Annotated[bool, typer.Option("--draws", help="The draws themselves, a row for each step of each.")] = False,
    series: Series = None,
    seed: Seed = None,
    settings: SettingsWords = None,
    device: Device = "cpu",
) -> None:
    """Say what comes next after each series.

    For each step ahead the median of each number and an interval, the likeliest of categories and its probability.

    likeness forecast runs/hmm series.csv --steps 24 --out forecast.csv
    """
    if not 0 < level < 1:
        raise BadConfig(f"--level {level:g} is no share between 0 and 1", do="write --level 0.9, say")
    output.check(out, source=data)
    fitted = rows.open_model(model, device)
    asked = rows.settings(fitted, settings)
    able = fitted.support("forecast")
    if not able:
        raise Unsupported(f"this model cannot forecast: {able.why}")
    found = rows.read_rows(fitted, data, series=series)
    drawn = fitted.forecast(found.batch, steps, n=n, given=found.batch.given, seed=seed, settings=asked)
    frame = _each(drawn) if draws else _summary(drawn, level)
    remark(
        f"{len(found.batch)} series, {plural(n, 'draw')} of each with --seed {drawn.seed}: {drawn.how} ({drawn.kind})"
    )
    if not draws:
        remark(f"from _lower to _upper lie {level:.4g} of the draws, the median in between; p_ is how probable that is")
    output.emit(_named(output.tidy(frame, fitted.dtype.itemsize < 8), found, steps), out)


def _each(draws: Draws) -> pd.DataFrame:
    """Every draw of every series, a row a step: row, draw, step and the columns."""
    frame, count = draws.to_pandas(), draws.x.shape[1]
    item, step = frame.pop("item"), frame.pop("step")
    for name, values in (("step", step + 1), ("draw", item // count), ("row", item % count)):
        frame.insert(0, name, values, allow_duplicates=True)
    return frame.sort_values(["row", "draw", "step"], kind="stable", ignore_index=True)


# ---- what the draws say of each step -------------------------------------------------------------------------------


def _summary(draws: Draws, level: float) -> pd.DataFrame:
    """A row for each step of each series: row, step, and what the draws say of each column."""
    import pandas as pd
    import torch

    symbols = [v.type == "nominal" or v.states == 2 for v in draws.space.columns]
    ends, (best, chance) = _quantiles(draws, level), _likeliest(draws, symbols)
    ends[""] = torch.where(torch.tensor(symbols, device=best.device), best, ends[""])
    frames = {end: _long(draws, x) for end, x in ends.items()}
    parts: list[pd.Series[Any]] = [frames[""].iloc[:, 0].rename("row"), frames[""].iloc[:, 1].rename("step") + 1]
    for i, symbol in enumerate(symbols):
        name = frames[""].columns[i + 2]
        parts += [frames[end].iloc[:, i + 2].rename(f"{name}{end}") for end in ([""] if symbol else ends)]
        parts += [pd.Series(chance[..., i].flatten().cpu().numpy().round(6), name=f"p_{name}")] if symbol else []
    return pd.concat(parts, axis=1)


def _wide(draws: Draws, x: Tensor) -> Tensor:
    """Symbols as columns of one, so that the last axis is that of the columns."""
    return x if len(draws.space.shape) > 1 else x[..., None]


def _quantiles(draws: Draws, level: float) -> dict[str, Tensor]:
    """The median and the ends of the interval (B, T, C), by what a column's name ends in; levels and counts whole."""
    import torch

    found = _wide(draws, draws.quantiles(0.5, (1 - level) / 2, (1 + level) / 2))
    whole = torch.tensor([v.type != "real" for v in draws.space.columns], device=found.device)
    ways = {"": torch.round, "_lower": torch.floor, "_upper": torch.ceil}
    short = torch.stack([_rounded(column) for column in found.unbind(-1)], -1)
    return {end: torch.where(whole, way(x), y) for (end, way), x, y in zip(ways.items(), found, short, strict=True)}


def _rounded(ends: Tensor) -> Tensor:
    """Median and ends (3, B, T) with the decimals that tell a thousandth of the interval: the rest is chance."""
    width = float((ends[2] - ends[1]).median())
    return ends.round(decimals=max(0, DIGITS - math.floor(math.log10(width)))) if width > 0 else ends


def _likeliest(draws: Draws, symbols: Sequence[bool]) -> tuple[Tensor, Tensor]:
    """The commonest code of each step and its share of the draws, (B, T, C); 0 in columns of numbers."""

    x, n = _wide(draws, draws.x).double(), len(draws)
    weight = x.new_full(x.shape[:2], 1 / n) if draws.log_weight is None else draws.log_weight.double().softmax(0)
    best, chance = x.new_zeros(2, *x.shape[1:])
    for i in (i for i, symbol in enumerate(symbols) if symbol):
        states = int(draws.space.columns[i].states)
        for row in range(x.shape[1]):  # a table of all rows at once would be large where there are many words
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


def _named(frame: pd.DataFrame, found: rows.Rows, steps: int) -> pd.DataFrame:
    """The frame with the series' own names and the times that come, where the file tells them."""
    row = frame.pop("row")
    if found.clock is not None:
        times = found.clock.ahead(steps)[row, frame["step"] - 1]
        frame.insert(0, found.clock.name, times, allow_duplicates=True)
    if found.names is not None:
        frame.insert(0, str(found.key), found.names[row], allow_duplicates=True)
    elif len(found.batch) > 1:
        frame.insert(0, "row", row, allow_duplicates=True)
    return frame
