"""Small pieces of a page: elements, chips, figures, and numbers as they are printed everywhere."""

from __future__ import annotations

import base64
import math
from html import escape
from typing import Any

Facts = dict[str, Any]
NONE = "\u2013"
MINUS = "\u2212"
KINDS = {
    "exact": "The number is log p itself, up to rounding.",
    "lower bound": "In expectation log p is at least this; by how much more is not known.",
    "upper bound": "In expectation log p is at most this.",
    "estimate": "Near log p, on neither side for sure: from a finite number of draws or solver steps.",
}


def tag(name: str, *inner: str, **attributes: Any) -> str:
    """An element; attributes without a value are left out, `class_` is the class, underscores become dashes."""
    told = {
        k.rstrip("_").replace("_", "-"): v for k, v in attributes.items() if v not in {None, ""}
    }
    words = "".join(f' {k}="{escape(str(v))}"' for k, v in told.items())
    return f"<{name}{words}>{''.join(inner)}</{name}>"


def scroll(inner: str) -> str:
    """What may be wider than the page."""
    return tag("div", inner, class_="scroll")


def table(head: str, body: str, *, class_: str = "", caption: str = "") -> str:
    """A table that scrolls rather than overflows; `head` holds one row's cells, `body` whole rows."""
    top = tag("caption", caption) if caption else ""
    return scroll(
        tag("table", top, tag("thead", tag("tr", head)), tag("tbody", body), class_=class_)
    )


def section(title: str, lead: str, body: str, anchor: str) -> str:
    """A card of the page; nothing where there is nothing to show."""
    if not body:
        return ""
    paragraph = tag("p", lead, class_="lead") if lead else ""
    return tag("section", tag("h2", escape(title)), paragraph, body, id=anchor)


def chip(kind: str | None) -> str:
    """The kind of a log p."""
    if kind not in KINDS:
        return tag("span", "none", class_="chip none")
    return tag("span", kind, class_=f"chip {kind.replace(' ', '-')}", title=KINDS[kind])


def copies_chip(copies: bool | None) -> str:
    """Whether the audit found copies."""
    if copies is None:
        return NONE
    return tag("span", "yes" if copies else "none", class_="chip alarm" if copies else "chip clean")


def image(png: bytes, alt: str, kind: str) -> str:
    """A picture inside the page."""
    data = base64.b64encode(png).decode()
    return f'<img class="{kind}" alt="{escape(alt)}" src="data:image/png;base64,{data}">'


def figure(inner: str, caption: str) -> str:
    """A picture with its caption."""
    return tag("figure", inner, tag("figcaption", caption))


def pairs(facts: dict[str, str]) -> str:
    """Terms and what is to be said of them."""
    return tag("dl", *(tag("dt", k) + tag("dd", v) for k, v in facts.items()))


# ---- numbers -------------------------------------------------------------------------------------


def decimals(cell: Facts) -> int:
    """Enough places to show two figures of the standard error, or four of a number without one."""
    # Two figures of the standard error; without one, of a hundredth of the value.
    ends = (cell["low"], cell["high"])
    error = cell.get("stderr") or (0.0 if None in ends else (ends[1] - ends[0]) / 4)
    size = error if error > 0 else abs(cell["value"]) / 100
    if size > 0:
        return min(max(0, 1 - math.floor(math.log10(size))), 6)
    return 0


def fixed(number: float, places: int) -> str:
    """With so many places and a true minus."""
    return f"{number:,.{places}f}".replace("-", MINUS)


def shown(cell: Facts) -> tuple[str, str]:
    """A cell's number and its interval, as pages and terminals print them."""
    if cell.get("value") is None:
        return NONE, ""
    value = cell["value"]
    low = cell["low"]
    high = cell["high"]
    if value == round(value) and low == high == value:
        return fixed(value, 0), ""
    if low is None:
        return _single(value), ""
    places = decimals(cell)
    ends = [fixed(v, 0 if v == 0 else places) for v in (low, high)]
    return fixed(value, 0 if value == 0 else places), f"{ends[0]} to {ends[1]}"


def _single(value: float) -> str:
    """A number without an interval, to three figures."""
    if 0 <= value < 1e-4:
        return "< 0.0001"
    if abs(value) < 1000:
        return f"{value:,.3g}".replace("-", MINUS)
    return fixed(value, 0)


def number_cell(cell: Facts, *, bold: bool = False, column: str = "") -> str:
    """A number over its interval, carrying the value itself; or a dash over the reason why there is none."""
    if cell.get("value") is None:
        why = cell.get("why", "")
        return tag("td", NONE, tag("small", escape(_brief(why))), class_="none", title=why)
    value, interval = shown(cell)
    attributes = {
        f"data_{k}": repr(cell[k]) for k in ("value", "low", "high") if cell.get(k) is not None
    }
    return tag(
        "td",
        value,
        tag("small", interval),
        class_="best" if bold else "",
        data_column=column,
        **attributes,
    )


def _brief(why: str) -> str:
    """A reason's first clause, short enough for a cell; the whole of it is in the cell's title."""
    first = why.partition(":")[0].partition(";")[0]
    if len(first) <= 44:
        return first
    return first[:42].rpartition(" ")[0] + " \u2026"
