"""Charts as inline SVG: crisp at any size, no script, colours that most people tell apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

# Okabe & Ito's colours, those too pale for lines on white left out or darkened; baselines are grey, the truth black.
COLOURS = ("#0072b2", "#d55e00", "#007a5a", "#a8517f", "#8a6d00", "#3d6fd1", "#7a3db8", "#9c4a1a")
GREYS = ("#6b7280", "#8b93a1", "#a0a7b4")
INK = "#1c2430"
RULE = "#d9dee7"
SOFT = "#5b6675"


@dataclass(frozen=True)
class Mark:
    """A number with its interval, as a dot with a whisker."""

    name: str
    value: float
    low: float
    high: float
    colour: str


def colours(roles: Sequence[tuple[str, str]]) -> dict[str, str]:
    """A colour for each row, given (name, role)."""
    shades: dict[str, str] = {}
    counts = {"family": 0, "baseline": 0}
    for name, role in roles:
        if role == "truth":
            shades[name] = INK
            continue
        palette = COLOURS if role == "family" else GREYS
        shades[name] = palette[counts[role] % len(palette)]
        counts[role] += 1
    return shades


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers between two ends."""
    span = high - low
    if not span > 0:
        return [low]
    # Steps of 1, 2 or 5 times a power of ten, so that at most `most` fit.
    step = 10.0 ** math.floor(math.log10(span / most))
    step = next(step * m for m in (1, 2, 5, 10) if span / (step * m) <= most)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def labels(values: Sequence[float]) -> list[str]:
    """Ticks with as many places as their step needs."""
    if len(values) > 1:
        step = values[1] - values[0]
    else:
        step = abs(values[0]) or 1.0
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    return [f"{v:,.{places}f}".replace("-", "\u2212") for v in values]


def _text(
    x: float, y: float, words: str, *, anchor: str = "start", size: int = 12, colour: str = INK
) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} font-size="{size}" fill="{colour}">{escape(words)}</text>'


def _line(
    x1: float, y1: float, x2: float, y2: float, colour: str = RULE, width: float = 1, dash: str = ""
) -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width}"{dashed}/>'


def _svg(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def whiskers(marks: Sequence[Mark], unit: str, title: str, *, truth: Mark | None = None) -> str:
    """Dots with whiskers, one line a row, best on top; the truth as a dashed line with its interval as a band."""
    width = 860
    left = 190
    right = 20
    step = 30
    # One scale for all marks, the truth included.
    every = [*marks, *([truth] if truth else [])]
    low = min(m.low for m in every)
    high = max(m.high for m in every)
    pad = 0.04 * (high - low or 1)
    low = low - pad
    high = high + pad
    bottom = 24 + step * len(marks)

    def at(v: float) -> float:
        return left + (v - low) / (high - low) * (width - left - right)

    # Rules at round numbers.
    marked = ticks(low, high)
    parts = [
        _line(at(t), 20, at(t), bottom)
        + _text(at(t), bottom + 16, words, anchor="middle", colour=SOFT)
        for t, words in zip(marked, labels(marked), strict=True)
    ]
    if truth is not None:
        wide = max(at(truth.high) - at(truth.low), 1)
        parts.append(
            f'<rect x="{at(truth.low):.1f}" y="20" width="{wide:.1f}" height="{bottom - 20}" fill="#1c243012"/>'
        )
        parts.append(_line(at(truth.value), 20, at(truth.value), bottom, INK, 1.2, "4 3"))
        parts.append(_text(at(truth.value), 13, "truth", anchor="middle", colour=INK, size=11))
    # A line a mark: name, whisker, caps, dot.
    for i, m in enumerate(marks):
        y = 20 + step * (i + 0.5)
        parts.append(_text(left - 14, y + 4, m.name, anchor="end", size=13))
        parts.append(_line(at(m.low), y, at(m.high), y, m.colour, 2.5))
        parts += [_line(at(v), y - 5, at(v), y + 5, m.colour, 2) for v in (m.low, m.high)]
        parts.append(f'<circle cx="{at(m.value):.1f}" cy="{y:.1f}" r="5" fill="{m.colour}"/>')
    parts.append(_text(width - right, bottom + 34, unit, anchor="end", colour=SOFT))
    return _svg(width, bottom + 42, title, parts)


def curves(
    lines: Sequence[Sequence[tuple[float, float]]], colour: str, title: str, across: str, up: str
) -> str:
    """Lines over steps, one a seed; the first is drawn fully, the others paler."""
    width = 330
    height = 210
    left = 52
    bottom = 172
    top = 14
    right = 12
    # The frame spans all finite points; steep beginnings are cut off.
    points = [p for line in lines for p in line if math.isfinite(p[1])]
    x_high = max(p[0] for p in points)
    y_low, y_high = _range([p[1] for p in points])

    def place(p: tuple[float, float]) -> tuple[float, float]:
        y = (p[1] - y_low) / (y_high - y_low)
        return left + p[0] / (x_high or 1) * (width - left - right), bottom - y * (bottom - top)

    parts = []
    up_ticks = ticks(y_low, y_high, 4)
    across_ticks = ticks(0, x_high, 4)
    for t, words in zip(up_ticks, labels(up_ticks), strict=True):
        y = place((0, t))[1]
        parts.append(
            _line(left, y, width - right, y)
            + _text(left - 6, y + 4, words, anchor="end", size=11, colour=SOFT)
        )
    for t, words in zip(across_ticks, labels(across_ticks), strict=True):
        parts.append(
            _text(place((t, y_low))[0], bottom + 15, words, anchor="middle", size=11, colour=SOFT)
        )
    for i, line in enumerate(lines):
        kept = [place(p) for p in line if math.isfinite(p[1]) and p[1] <= y_high]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in kept)
        strength = 1.0 if i == 0 else 0.45
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8" stroke-opacity="{strength}"/>'
        )
    parts.append(_text(left, height - 5, up, size=11, colour=SOFT))
    parts.append(_text(width - right, height - 5, across, anchor="end", size=11, colour=SOFT))
    return _svg(width, height, title, parts)


def _range(values: Sequence[float]) -> tuple[float, float]:
    """The range of a curve without the heights that it starts from: at most thrice what its second half spans."""
    # Curves begin high: the top is three times the span of the better half.
    ordered = sorted(values)
    low = ordered[0]
    middle = ordered[len(ordered) // 2]
    high = min(ordered[-1], middle + 3 * (middle - low) if middle > low else ordered[-1])
    if high > low:
        return (low, high)
    return (low - 0.5, low + 0.5)


def triangle(
    quality: Sequence[float],
    diversity: Sequence[float],
    speed: Sequence[float],
    colour: str,
    title: str,
) -> str:
    """Quality, diversity and speed, each (value, low, high) from 0 (middle) to 1 (corner): a triangle with whiskers."""
    width = 230
    height = 200
    cx = 115
    cy = 112
    radius = 72
    corners = [(-90, "quality"), (30, "speed"), (150, "diversity")]

    def at(degrees: float, share: float) -> tuple[float, float]:
        a = math.radians(degrees)
        return cx + radius * share * math.cos(a), cy + radius * share * math.sin(a)

    def outline(shares: Sequence[float]) -> str:
        return " ".join(
            "{:.1f},{:.1f}".format(*at(c[0], s)) for c, s in zip(corners, shares, strict=True)
        )

    # Corners from 0 (middle) to 1.
    reaches = [[min(max(v, 0.02), 1.0) for v in part] for part in (quality, speed, diversity)]
    shares = [reach[0] for reach in reaches]
    parts = [
        f'<polygon points="{outline([s] * 3)}" fill="none" stroke="{RULE}"/>'
        for s in (1.0, 2 / 3, 1 / 3)
    ]
    parts += [_line(cx, cy, *at(d, 1.0)) for d, _ in corners]
    parts.append(
        f'<polygon points="{outline(shares)}" fill="{colour}" fill-opacity="0.25" stroke="{colour}" stroke-width="2"/>'
    )
    for (d, words), (share, low, high) in zip(corners, reaches, strict=True):
        x, y = at(d, 1.0)
        px, py = at(d, share)
        parts.append(_line(*at(d, low), *at(d, high), colour, 5))
        parts.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="{colour}"/>')
        parts.append(
            _text(x, y - 8 if d < 0 else y + 18, words, anchor="middle", size=12, colour=SOFT)
        )
    return _svg(width, height, title, parts)
