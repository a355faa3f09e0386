"""The part of a report that shows drawn items beside their nearest training items."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import torch

from likeness.core.draws import FRAMES
from likeness.evaluate.markup import Facts, copies_chip, figure, fixed, image, section, table, tag

if TYPE_CHECKING:
    from likeness.core.batch import Batch
    from likeness.core.space import Space
    from likeness.evaluate.exhibits import Exhibits

PAIRS_SHOWN = 5
VALUES_SHOWN = 8
LINES_SHOWN = 6
CLOSEST = (
    "The drawn items that lie closest to a training item, relative to the second closest one (ratio 0: the very item). "
    "Held-out items have close neighbours too; whether these are closer than chance allows is the audit's question."
)


def closest_pairs(exhibits: Exhibits, facts: Facts) -> str:
    """The section of the page that shows drawn items beside the training items they lie nearest to."""
    images = exhibits.form == "image"
    show = _closest_images if images else _closest_words
    rows = [r for r in facts["rows"] if r["closest"] and r["name"] in exhibits.drawn]
    cards = [show(exhibits, r, _pairs_of(exhibits, r)) for r in rows]
    if cards:
        body = tag("div", *cards, class_="cards pairs" if images else "cards wide")
    else:
        body = ""
    return section("Nearest training items", CLOSEST, body, "closest")


def _pairs_of(exhibits: Exhibits, row: Facts) -> list[Facts]:
    """The pairs whose drawn item was kept."""
    return [p for p in row["closest"] if p["drawn"] < len(exhibits.drawn[row["name"]])]


def _closest_images(exhibits: Exhibits, row: Facts, found: list[Facts]) -> str:
    from likeness.evaluate.figures import image_grid

    if not found:
        return ""
    space = exhibits.space
    train = exhibits.split.train.batch.x
    images = exhibits.drawn[row["name"]].x[[p["drawn"] for p in found]]
    near = train[[p["train"] for p in found]].to(images)
    png = image_grid(space, torch.cat([images, near]), columns=len(found), least=360)
    ratios = ", ".join(f"{p['ratio']:.2f}" for p in found)
    name = tag("b", escape(row["name"]))
    words = f"{name} {copies_chip(row['copies'])}<br>above drawn, below nearest; ratios {ratios}"
    return figure(image(png, f"closest pairs of {row['name']}", "image"), words)


def _closest_words(exhibits: Exhibits, row: Facts, found: list[Facts]) -> str:
    """Values, distances and ratios of the worst pairs."""
    space = exhibits.space
    train = exhibits.split.train.batch
    draws = exhibits.drawn[row["name"]]
    lines = [
        tag(
            "tr",
            _item(space, draws, p["drawn"]),
            _item(space, train, p["train"]),
            tag("td", f"{p['distance']:.3g}"),
            tag("td", f"{p['ratio']:.3f}"),
        )
        for p in found[:PAIRS_SHOWN]
    ]
    head = "<th>drawn</th><th>nearest training item</th><th>distance</th><th>ratio</th>"
    caption = f"{tag('b', escape(row['name']))} {copies_chip(row['copies'])}"
    return table(head, "".join(lines), class_="pairs", caption=caption)


def _item(space: Space, batch: Batch, i: int) -> str:
    """One item in words."""
    one = batch[i : i + 1]
    text = as_text(space, one)
    return tag("td", text or escape(_values(space, one)), class_="item")


def _values(space: Space, one: Batch) -> str:
    if len(space.shape) == 1 and not space.ragged:
        row = FRAMES[0](space, one).iloc[0]
        words = [f"{k} {_value(v)}" for k, v in row.items() if v is not None and v == v]
    else:
        words = [_value(v) for v in one.x[0][one.present[0]].flatten().tolist()]
    return ", ".join(words[:VALUES_SHOWN]) + (", \u2026" if len(words) > VALUES_SHOWN else "")


def _value(value: Any) -> str:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    if abs(number) >= 1000:
        return fixed(number, 0)
    return f"{number:.3g}".replace("-", "\u2212")


def as_text(space: Space, batch: Batch) -> str:
    """Sequences whose symbols have names, as words."""
    names = getattr(space.variables[0], "labels", None)
    if not space.ragged or len(space.shape) != 1 or names is None:
        return ""
    join = "" if all(len(x) == 1 for x in names) else " "
    items = zip(batch.x[:LINES_SHOWN], batch.present[:LINES_SHOWN], strict=True)
    lines = [join.join(names[int(c)] for c in item[known].tolist())[:80] for item, known in items]
    return tag("pre", escape("\n".join(lines)))
