"""Pictures of items: image grids, scatters with density contours, marginals and correlations, strips, lines.

Nothing here knows of matplotlib's global state: every picture is a Figure of its own with an Agg
canvas.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from likeness.core.batch import Batch
from likeness.core.distribution import Distribution
from likeness.core.errors import LikenessError
from likeness.core.space import Space, Variable
from likeness.evaluate.charts import COLOURS, INK, RULE, SOFT

DPI = 160
GRID = 8  # images across
MOST_COLUMNS = 6
STRIPS = 24
WAVES = 6
DATA = "#9aa3b2"
CONTOUR_SIDE = 80
LEAST_SIDE = 32
TRIED = 16
CONTOUR_SECONDS = 6.0
MASSES = (0.95, 0.8, 0.6, 0.4, 0.2)

Array = np.ndarray[Any, np.dtype[Any]]


def form(space: Space) -> str:
    """How items of a Space are shown: image, plane, table, strips, waves, or map."""
    if len(space.shape) == 3 and space.axes[0] == "channel":
        return "image"
    if not space.ragged and len(space.shape) == 1:
        if space.shape == (2,) and all(v.type == "real" for v in space.variables):
            return "plane"
        return "table"
    if len(space.shape) == 1:
        return "strips"
    if len(space.shape) == 2:
        return "waves"
    return "map"


def picture(space: Space, batch: Batch) -> bytes:
    """A PNG of items alone: what Draws.save writes."""
    return _ALONE[form(space)](space, batch)


def beside(
    space: Space, data: Batch, drawn: Batch, colour: str, law: Distribution | None = None
) -> bytes:
    """A PNG of drawn items, in a frame and on scales that the data set; over the data where that can be seen."""
    return _BESIDE[form(space)](space, data, drawn, colour, law)


def sheet(rows: Sequence[Sequence[tuple[str, bytes]]]) -> bytes:
    """Named PNGs in rows, as one PNG."""
    # One panel a name, rows of unlike length padded with nothing.
    across = max(map(len, rows))
    made = _figure(1.5 * across, 1.75 * len(rows))
    grid = made.subplots(len(rows), across, squeeze=False)
    for places, panels in zip(grid, rows, strict=True):
        for axes, panel in zip(places, panels, strict=False):
            axes.imshow(
                np.asarray(Image.open(io.BytesIO(panel[1])).convert("RGBA")),
                interpolation="antialiased",
            )
            axes.set_title(panel[0], fontsize=8, color=INK)
        for axes in places:
            axes.set_axis_off()
    return _bytes(made)


# ---- helpers -------------------------------------------------------------------------------------


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _bytes(figure: Figure) -> bytes:
    made = io.BytesIO()
    figure.savefig(made, format="png", dpi=DPI)
    return made.getvalue()


def _quiet(axes: Axes, *, bare: bool = False) -> None:
    """Thin rules and small figures; `bare` leaves out what is read off the axes."""
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_color(RULE)
    axes.tick_params(colors=SOFT, labelsize=7, length=2, color=RULE)
    if bare:
        axes.set_xticks([])
        axes.set_yticks([])


def _array(x: Tensor) -> Array:
    return np.asarray(x.detach().cpu().double().numpy())


# ---- images --------------------------------------------------------------------------------------


def _limits(space: Space, x: Array) -> tuple[float, float]:
    variable = space.variables[0]
    if variable.type == "ordinal":
        return 0.0, max(variable.levels - 1.0, 1.0)
    return float(x.min()), float(x.max()) or 1.0


def image_grid(
    space: Space, x: Tensor, *, columns: int = GRID, least: int = 480, limits: Any = None
) -> bytes:
    """Images (n, C, H, W) in rows, pixels as squares, on a light ground.

    A fourth channel is transparency.
    """
    values = _array(x)
    # Levels scaled to 8 bits on the given limits.
    low, high = limits or _limits(space, values)
    levels = (255 * (values - low) / (high - low or 1.0)).clip(0, 255).astype(np.uint8)
    n, channels, height, width = levels.shape
    rows = math.ceil(n / columns)
    gap = 1
    planes = 4 if channels == 4 else 3
    down = rows * (height + gap) + gap
    across = columns * (width + gap) + gap
    # A sheet with a one-pixel grid, opaque where there is a fourth channel.
    sheet = np.full((down, across, planes), 226, np.uint8)
    sheet[..., 3:] = 255
    for i, item in enumerate(levels):
        top = gap + (i // columns) * (height + gap)
        left = gap + (i % columns) * (width + gap)
        shown = item[:planes] if channels >= 3 else np.repeat(item[:1], 3, 0)
        sheet[top : top + height, left : left + width] = np.moveaxis(shown, 0, -1)
    # Enlarged by whole pixels, so that they stay squares.
    scale = max(1, math.ceil(least / sheet.shape[1]))
    made = io.BytesIO()
    Image.fromarray(sheet.repeat(scale, 0).repeat(scale, 1)).save(made, format="PNG", optimize=True)
    return made.getvalue()


def _images_alone(space: Space, batch: Batch) -> bytes:
    return image_grid(space, batch.x, columns=max(1, math.ceil(math.sqrt(len(batch)))))


def _images_beside(
    space: Space, data: Batch, drawn: Batch, colour: str, law: Distribution | None
) -> bytes:
    return image_grid(space, drawn.x[: GRID * GRID], limits=_limits(space, _array(data.x)))


# ---- the plane -----------------------------------------------------------------------------------


def _plane_alone(space: Space, batch: Batch) -> bytes:
    figure = _figure(4, 4)
    axes = figure.subplots()
    _quiet(axes)
    x = _array(batch.x)
    axes.scatter(x[:, 0], x[:, 1], s=6, c=COLOURS[0], alpha=0.6, linewidths=0)
    _name_axes(axes, space)
    return _bytes(figure)


def _plane_beside(
    space: Space, data: Batch, drawn: Batch, colour: str, law: Distribution | None
) -> bytes:
    figure = _figure(3.2, 3.2)
    axes = figure.subplots()
    _quiet(axes)
    real = _array(data.x)
    made = _array(drawn.x)
    # The frame is the data's, so that rows of a report compare.
    low = real.min(0)
    high = real.max(0)
    pad = 0.15 * (high - low)
    box = (low - pad, high + pad)
    if law is not None:
        _contours(axes, law, box, colour)
    axes.scatter(real[:, 0], real[:, 1], s=3, c=DATA, alpha=0.5, linewidths=0)
    if drawn is not data:
        axes.scatter(made[:, 0], made[:, 1], s=4, c=colour, alpha=0.75, linewidths=0)
    axes.set_xlim(box[0][0], box[1][0])
    axes.set_ylim(box[0][1], box[1][1])
    _name_axes(axes, space)
    return _bytes(figure)


def _name_axes(axes: Axes, space: Space) -> None:
    names = space.names or ("", "")
    axes.set_xlabel(names[0], fontsize=8, color=SOFT)
    axes.set_ylabel(names[1], fontsize=8, color=SOFT)


def _contours(axes: Axes, law: Distribution, box: tuple[Array, Array], colour: str) -> None:
    """Regions of highest density that hold 20 % to 95 % of the mass in the frame."""
    density = density_on(law, box)
    if density is None:
        return
    # Highest-density levels: densities in falling order, cut where their mass reaches each share.
    x, y, p = density
    ordered = np.sort(p.ravel())[::-1]
    mass = ordered.cumsum() / ordered.sum()
    levels = np.unique(
        [ordered[int(np.searchsorted(mass, m).clip(0, len(mass) - 1))] for m in MASSES]
    )
    if len(levels) < 2 or not np.isfinite(levels).all():
        return
    shades = LinearSegmentedColormap.from_list("shades", ["#ffffff", colour])
    axes.contourf(x, y, p, levels=[*levels, p.max() * 1.001 + 1e-300], cmap=shades, alpha=0.28)
    axes.contour(x, y, p, levels=levels, colors=[colour], linewidths=0.5, alpha=0.6)


def density_on(law: Distribution, box: tuple[Array, Array]) -> tuple[Array, Array, Array] | None:
    """Density on a square of points (side, side), coarser where log p is slow; None where there is none."""
    if not law.support("log_prob"):
        return None
    try:
        side = _side(law, box)
        x, y, points = _square(box, side)
        value = law.log_prob(points, seed=0).value
    except LikenessError:
        return None
    log_p = _array(value).reshape(side, side)
    return x, y, np.exp(log_p - log_p.max())


def _square(box: tuple[Array, Array], side: int) -> tuple[Array, Array, Tensor]:
    x, y = (np.linspace(box[0][i], box[1][i], side) for i in (0, 1))
    return x, y, torch.from_numpy(np.stack(np.meshgrid(x, y), -1).reshape(-1, 2))


def _side(law: Distribution, box: tuple[Array, Array]) -> int:
    """As many points as a few seconds allow, by the time that a few of them take."""
    # A first call pays for start-up; the next is timed.
    few = _square(box, TRIED)[2]
    law.log_prob(few[:1], seed=0)
    started = time.perf_counter()
    law.log_prob(few, seed=0)
    afford = CONTOUR_SECONDS / (time.perf_counter() - started) * len(few)
    return int(min(max(math.sqrt(afford), LEAST_SIDE), CONTOUR_SIDE))


# ---- tables --------------------------------------------------------------------------------------


def _named(space: Space) -> tuple[str, ...]:
    return space.names or tuple(f"x{i}" for i in range(space.width))


def _table_alone(space: Space, batch: Batch) -> bytes:
    return _marginals(space, batch, batch, COLOURS[0])


def _table_beside(
    space: Space, data: Batch, drawn: Batch, colour: str, law: Distribution | None
) -> bytes:
    return _marginals(space, data, drawn, colour)


def _marginals(space: Space, data: Batch, drawn: Batch, colour: str) -> bytes:
    """Marginals of the first columns, data in grey and draws outlined, then the correlations of all columns."""
    shown = min(space.width, MOST_COLUMNS)
    maps = 1 if drawn is data else 2
    figure = _figure(1.75 * shown + 1.9 * maps, 1.9)
    axes = figure.subplots(1, shown + maps, squeeze=False)[0]
    for i in range(shown):
        _marginal(
            axes[i],
            space.columns[i],
            *_column(data, i),
            *_column(drawn, i),
            colour,
            one=drawn is data,
        )
        axes[i].set_title(_named(space)[i], fontsize=8, color=INK)
    if maps == 1:
        titles = [(data, "correlations, data")]
    else:
        titles = [(data, "correlations, data"), (drawn, "the same, drawn")]
    for i, (batch, words) in enumerate(titles):
        _correlations(axes[shown + i], batch, words)
    return _bytes(figure)


def _column(batch: Batch, i: int) -> tuple[Array]:
    known = batch.present[:, i]
    return (_array(batch.x[:, i][known]),)


def _marginal(
    axes: Axes, variable: Variable, real: Array, made: Array, colour: str, *, one: bool
) -> None:
    _quiet(axes)
    axes.set_yticks([])
    # Few states: bars of shares, draws as dots.
    if variable.states <= 20:
        places = np.arange(int(variable.states))
        shares = [
            np.bincount(v.astype(int), minlength=len(places)) / max(len(v), 1) for v in (real, made)
        ]
        axes.bar(places, shares[0], width=0.8, color=DATA, alpha=0.7)
        if not one:
            axes.plot(places, shares[1], "o", color=colour, markersize=3.5)
        labels = getattr(variable, "labels", None)
        if labels and max(map(len, labels)) * len(labels) <= 24:
            axes.set_xticks(places, labels)
        return
    # Many: a histogram over the central 99.6 per cent of the data.
    low, high = np.quantile(real, [0.002, 0.998])
    edges = np.linspace(low, high if high > low else low + 1, 31).tolist()
    axes.hist(real.clip(edges[0], edges[-1]), edges, density=True, color=DATA, alpha=0.7)
    if not one and len(made):
        axes.hist(
            made.clip(edges[0], edges[-1]),
            edges,
            density=True,
            histtype="step",
            color=colour,
            linewidth=1.3,
        )


def _correlations(axes: Axes, batch: Batch, words: str) -> None:
    # Correlations of complete rows; constant columns have none.
    known = batch.present.flatten(1).all(1)
    x = _array(batch.x[known].flatten(1))
    with np.errstate(invalid="ignore", divide="ignore"):
        if len(x) > 2:
            matrix = np.nan_to_num(np.corrcoef(x.T))
        else:
            matrix = np.zeros((x.shape[1], x.shape[1]))
    axes.imshow(np.atleast_2d(matrix), vmin=-1, vmax=1, cmap="RdBu_r", interpolation="nearest")
    axes.set_title(words, fontsize=8, color=INK)
    _quiet(axes, bare=True)


# ---- sequences, series, anything else ------------------------------------------------------------


def _strips_alone(space: Space, batch: Batch) -> bytes:
    return _strips(space, batch)


def _strips_beside(
    space: Space, data: Batch, drawn: Batch, colour: str, law: Distribution | None
) -> bytes:
    return _strips(space, drawn)


def _strips(space: Space, batch: Batch) -> bytes:
    """One strip an item, one colour a symbol, white past the end."""
    part = batch[: min(len(batch), STRIPS)]
    figure = _figure(4.2, 3.2)
    axes = figure.subplots()
    if math.isfinite(space.variables[0].states):
        states = int(space.variables[0].states)
    else:
        states = int(part.x.max()) + 1
    base = [*COLOURS, "#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#b0b7c3"]
    symbols = ListedColormap([base[i % len(base)] for i in range(max(states, 2))])
    values = np.ma.masked_array(_array(part.x), ~part.present.cpu().numpy())
    axes.imshow(
        values,
        cmap=symbols,
        vmin=-0.5,
        vmax=max(states, 2) - 0.5,
        aspect="auto",
        interpolation="nearest",
    )
    _quiet(axes)
    axes.set_yticks([])
    axes.set_xlabel("step", fontsize=8, color=SOFT)
    return _bytes(figure)


def _waves_alone(space: Space, batch: Batch) -> bytes:
    return _waves(space, batch, COLOURS[0])


def _waves_beside(
    space: Space, data: Batch, drawn: Batch, colour: str, law: Distribution | None
) -> bytes:
    return _waves(space, drawn, colour)


def _waves(space: Space, batch: Batch, colour: str) -> bytes:
    """A few items as lines over time, a line a channel."""
    part = batch[: min(len(batch), WAVES)]
    figure = _figure(4.2, 0.65 * len(part) + 0.3)
    time_last = space.axes[0] == "channel"
    for axes, x, known in zip(
        figure.subplots(len(part), 1, squeeze=False)[:, 0], part.x, part.present, strict=True
    ):
        values = _array(x)
        there = known.cpu().numpy()
        values, there = (values.T, there.T) if time_last else (values, there)
        lines = np.where(there, values, np.nan)
        for c in range(lines.shape[1]):
            axes.plot(lines[:, c], color=colour, alpha=1.0 - 0.25 * min(c, 3), linewidth=0.9)
        _quiet(axes, bare=True)
    return _bytes(figure)


def _map_alone(space: Space, batch: Batch) -> bytes:
    figure = _figure(4.2, 3.2)
    axes = figure.subplots()
    axes.imshow(
        _array(batch.x[:STRIPS].flatten(1)), aspect="auto", interpolation="nearest", cmap="viridis"
    )
    _quiet(axes, bare=True)
    return _bytes(figure)


def _map_beside(
    space: Space, data: Batch, drawn: Batch, colour: str, law: Distribution | None
) -> bytes:
    return _map_alone(space, drawn)


_ALONE: dict[str, Callable[[Space, Batch], bytes]] = {
    "image": _images_alone,
    "plane": _plane_alone,
    "table": _table_alone,
    "strips": _strips_alone,
    "waves": _waves_alone,
    "map": _map_alone,
}
_BESIDE: dict[str, Callable[[Space, Batch, Batch, str, Distribution | None], bytes]] = {
    "image": _images_beside,
    "plane": _plane_beside,
    "table": _table_beside,
    "strips": _strips_beside,
    "waves": _waves_beside,
    "map": _map_beside,
}

__all__ = ["beside", "density_on", "form", "image_grid", "picture", "sheet"]
