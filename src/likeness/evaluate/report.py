"""One self-contained page and one JSON text: two views of the same facts (the table for a terminal is a third).

The page's numbers are the JSON's: every cell is made from it, carries its value, and the JSON
itself is embedded.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Any, cast

from likeness.evaluate import charts
from likeness.evaluate.charts import Mark
from likeness.evaluate.closest import as_text, closest_pairs
from likeness.evaluate.columns import COLUMNS, Column
from likeness.evaluate.exhibits import Exhibits
from likeness.evaluate.markup import (
    KINDS,
    NONE,
    Facts,
    chip,
    copies_chip,
    figure,
    image,
    number_cell,
    pairs,
    scroll,
    section,
    shown,
    table,
    tag,
)
from likeness.evaluate.plates import LEGEND, drawn
from likeness.evaluate.terminal import seeds

if TYPE_CHECKING:
    from likeness.core.batch import Batch
    from likeness.core.model import Model

ROLES = {"family": "", "baseline": "baseline", "truth": "of this world"}
GREY = "#5b6675"
TIE = (
    "Two rows are <em>not separable</em> where the interval of their difference holds 0: "
    "taking one for the better would be guessing."
)
LIKELIHOOD = (
    "What each row holds probable of items that it has not seen. Numbers of unlike kinds stand in panels of their own "
    "and are not ranked against each other. Whiskers cover the true mean with 95 % probability, over items and seeds."
)
NUMBERS = (
    "Every number with the interval that covers it with 95 % probability. "
    "The best of each column (of each kind, for log p) is bold, and so is what is not separable from it."
)
RESAMPLED = (
    "Training rows handed out again score best here, or nearly, and are worth nothing: "
    "they stand outside the ranking."
)
AUDIT = "How drawn items lie among the training items, beside how held-out items lie among them."
DRAWS = {
    "plane": "Grey: held-out items. Coloured: drawn ones, over the regions of highest density that hold 20, 40, 60, 80 "
    "and 95 % of the mass, where the row has a log p.",
    "table": "Grey: the data. Coloured: what was drawn. To the right the correlations of all columns, from blue for "
    "\u22121 over white for 0 to red for 1.",
    "strips": "One strip an item, one colour a symbol. Drawn by the first seed, none chosen.",
}
UNCHOSEN = "Drawn by the first seed, none chosen."
TRILEMMA = (
    "Quality (density, full at 1), diversity (coverage) and speed (samples a second in large batches, on a scale of "
    "ratios from the slowest row to the fastest); thick strokes reach over the intervals. A good row fills its "
    "triangle; one that copies does too."
)
LEARNING = (
    "What validation minimised, over steps; a line a seed. Each family's criterion is its own: heights do not compare "
    "across panels. Closed forms take one step and have no curve."
)
ANSWERS = "By which route, best first; where it cannot, hover over the dash for the reason."
GROUPS: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("Likelihood", "likelihood", ("likelihood",), ""),
    ("Draws beside held-out items", "draws", ("quality", "diversity", "both"), RESAMPLED),
    ("Speed and cost", "cost", ("speed", "cost"), ""),
    ("Was anything copied?", "audit", ("audit",), AUDIT),
)


def to_json(facts: Facts) -> str:
    """The facts as strict JSON: a number that is not finite becomes null."""
    return json.dumps(_finite(facts), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if type(value) is dict:
        return {k: _finite(v) for k, v in value.items()}
    if type(value) in {list, tuple}:
        return [_finite(v) for v in value]
    if type(value) is float and not math.isfinite(value):
        return None
    return value


# ---- the page ------------------------------------------------------------------------------------


def page(exhibits: Exhibits) -> str:
    """The whole page."""
    facts = _finite(exhibits.facts)
    hues = hues_of(facts)
    sections = [
        _header(facts),
        _in_short(facts),
        _likelihood(facts, hues),
        _tables(facts),
        _pictures(exhibits, hues),
        _trilemma(facts, hues),
        _curves(facts, hues),
        closest_pairs(exhibits, facts),
        _graphs(exhibits),
        _answers(facts),
        _protocol(facts),
        _glossary(),
    ]
    title = escape(f"{facts['protocol']['data']['name']}: families compared")
    style = resources.files("likeness.evaluate").joinpath("report.css").read_text(encoding="utf-8")
    meta = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    )
    head = meta + tag("title", title)
    embedded = to_json(facts).replace("</", "<\\/")
    script = f'<script type="application/json" id="facts">{embedded}</script>'
    body = tag("main", *sections) + script
    return f'<!doctype html>\n<html lang="en"><head>{head}{tag("style", style)}</head><body>{body}</body></html>\n'


def _header(facts: Facts) -> str:
    p = facts["protocol"]
    d = facts["protocol"]["data"]
    line = (
        f"{d['train']:,} training items, {d['valid']:,} for choices while learning, {d['test']:,} scored; "
        f"{d['space']}. {seeds(p)}, {p['budget']} for every fit."
    )
    top = tag("p", "Families compared on", class_="kicker")
    return tag("header", top, tag("h1", escape(d["name"])), tag("p", escape(line)))


def _in_short(facts: Facts) -> str:
    said = [tag("li", escape(s), class_=_tone(s)) for s in facts["sentences"]]
    return section(
        "In short", "", tag("ul", *said, class_="said") + tag("p", TIE, class_="note"), "short"
    )


def _tone(sentence: str) -> str:
    if " failed: " in sentence or "copied by" in sentence or "tells nothing" in sentence:
        return "bad"
    best = sentence.startswith("Best by") and "log p" in sentence
    return "best" if best else ""


# ---- likelihood ----------------------------------------------------------------------------------


def _likelihood(facts: Facts, hues: dict[str, str]) -> str:
    groups = [g for g in facts["rankings"] if g["column"] == "log_prob"]
    return section(
        "Likelihood", LIKELIHOOD, "".join(_group(g, facts, hues) for g in groups), "likelihood"
    )


def _group(group: Facts, facts: Facts, hues: dict[str, str]) -> str:
    """A chart of one kind, and how far the others are behind the best."""
    rows = {r["name"]: r for r in facts["rows"]}
    marks = [_mark(n, rows[n]["numbers"]["log_prob"], hues[n]) for n in group["order"]]
    truth = next(
        (r for r in facts["rows"] if r["role"] == "truth" and r["measure"] == group["measure"]),
        None,
    )
    known = truth is not None and truth["numbers"]["log_prob"].get("value") is not None
    if known and truth is not None:
        line = _mark("truth", truth["numbers"]["log_prob"], charts.INK)
    else:
        line = None
    chart = charts.whiskers(
        marks, "nats an item, more is better", f"{group['by']} of each row", truth=line
    )
    measure = tag("span", f"against {escape(group['measure'])}", class_="soft")
    head = tag("h3", f"{chip(group['kind'])} {escape(group['by'])} {measure}")
    return head + tag("div", chart, class_="scroll") + _gaps(group)


def _mark(name: str, cell: Facts, colour: str) -> Mark:
    return Mark(name, cell["value"], cell["low"], cell["high"], colour)


def _gaps(group: Facts) -> str:
    """Every row against the best one."""
    best = group["order"][0]
    gaps = [g for g in group["gaps"] if g["ahead"] == best]
    if not gaps:
        return ""
    rows = [
        tag(
            "tr",
            tag("th", escape(g["behind"]), scope="row"),
            _gap(g),
            tag("td", _tie(g["separable"])),
        )
        for g in gaps
    ]
    head = "<th></th><th>nats an item</th><th></th>"
    return table(
        head, "".join(rows), class_="narrow", caption=f"Behind {escape(best)}, paired item by item"
    )


def _gap(gap: Facts) -> str:
    return number_cell({k: gap[k] for k in ("value", "low", "high")})


def _tie(separable: bool) -> str:
    if separable:
        return ""
    return tag("span", "not separable", class_="chip tie")


# ---- tables --------------------------------------------------------------------------------------


def _tables(facts: Facts) -> str:
    bold = _bold(facts)
    return section(
        "All numbers", NUMBERS, "".join(_table(facts, bold, *group) for group in GROUPS), "numbers"
    )


def _table(
    facts: Facts, bold: set[tuple[str, str]], title: str, key: str, groups: Sequence[str], note: str
) -> str:
    rows = facts["rows"]
    columns = [
        c
        for c in COLUMNS
        if c.group in groups and any("value" in r["numbers"][c.key] for r in rows)
    ]
    extra = {"likelihood": "<th>kind</th>", "audit": "<th>copies found</th>"}.get(key, "")
    head = "<th></th>" + extra + "".join(_head(c) for c in columns)
    body = "".join(_row(r, columns, key, bold) for r in rows)
    told = tag("p", escape(note), class_="note") if note else ""
    return (
        tag("h3", escape(title))
        + told
        + table(head, body, class_="narrow" if len(columns) <= 2 else "")
    )


def _head(column: Column) -> str:
    return tag("th", escape(column.title), tag("small", escape(column.unit)), title=column.meaning)


def _bold(facts: Facts) -> set[tuple[str, str]]:
    """(row, column) of the best and of what is not separable from it, within each ranking."""
    found = set()
    for g in facts["rankings"]:
        alike = {g["order"][0], *g["not_separable_from_best"]}
        if g["column"] == "log_prob":
            columns = {g["column"], "bits_per_dim"}
        else:
            columns = {g["column"]}
        found |= {(name, column) for name in alike for column in columns}
    return found


def _row(row: Facts, columns: Sequence[Column], key: str, bold: set[tuple[str, str]]) -> str:
    role = ROLES[row["role"]]
    small = tag("small", role) if role else ""
    name = tag("th", escape(row["name"]), small, scope="row", title=row["title"])
    if row["failure"]:
        why = tag("td", f"failed: {escape(row['failure'])}", class_="why", colspan=len(columns) + 1)
        return tag("tr", name, why, class_="failed")
    chips = {"likelihood": chip(row["kind"]), "audit": copies_chip(row["copies"])}
    extra = tag("td", chips[key]) if key in chips else ""
    cells = [
        number_cell(row["numbers"][c.key], bold=(row["name"], c.key) in bold, column=c.key)
        for c in columns
    ]
    return tag("tr", name, extra, *cells, class_=row["role"])


# ---- pictures ------------------------------------------------------------------------------------


def panels(
    exhibits: Exhibits, hues: dict[str, str] | None = None
) -> list[tuple[str, bytes, Batch]]:
    """A picture of the held-out data and one of what each row drew: names, PNGs and items."""
    from likeness.evaluate.figures import beside

    hues = hues or hues_of(exhibits.facts)
    space = exhibits.space
    test = exhibits.split.test
    found = [("held-out data", beside(space, test, test, GREY), test)]
    for name in (row["name"] for row in exhibits.facts["rows"]):
        if name in exhibits.drawn:
            drawn = exhibits.drawn[name]
            picture = beside(space, test, drawn, hues[name], exhibits.laws[name])
            found.append((name, picture, drawn))
    return found


def hues_of(facts: Facts) -> dict[str, str]:
    """A colour for each row, by its name."""
    return charts.colours([(row["name"], row["role"]) for row in facts["rows"]])


def _pictures(exhibits: Exhibits, hues: dict[str, str]) -> str:
    shape = exhibits.form
    space = exhibits.space
    cards = [
        figure(image(png, f"items: {name}", shape) + as_text(space, batch), tag("b", escape(name)))
        for name, png, batch in panels(exhibits, hues)
    ]
    body = tag("div", *cards, class_=f"cards {shape}")
    return section("Draws beside data", DRAWS.get(shape, UNCHOSEN), body, "draws")


def _trilemma(facts: Facts, hues: dict[str, str]) -> str:
    keys = ("density", "coverage", "rate_many")
    rows = [r for r in facts["rows"] if all("value" in r["numbers"][k] for k in keys)]
    if not rows:
        return ""
    rates = [math.log10(r["numbers"]["rate_many"]["value"]) for r in rows]
    low = min(rates)
    span = (max(rates) - min(rates)) or 1.0

    def share(rate: float) -> float:
        return 0.1 + 0.9 * (math.log10(rate) - low) / span

    cards = [_triangle(r, [r["numbers"][k] for k in keys], share, hues[r["name"]]) for r in rows]
    return section(
        "Quality, diversity, speed", TRILEMMA, tag("div", *cards, class_="cards"), "trilemma"
    )


def _triangle(row: Facts, cells: list[Facts], share: Callable[[float], float], colour: str) -> str:
    density, coverage, rate = (_reach(c) for c in cells)
    art = charts.triangle(
        density, coverage, [share(v) for v in rate], colour, f"trilemma of {row['name']}"
    )
    said = [_with_interval(c) for c in cells]
    words = "density {} · coverage {} · {} samples/s".format(*said)
    return figure(art, tag("b", escape(row["name"])) + "<br>" + words)


def _reach(cell: Facts) -> list[float]:
    """Value, low and high; the value alone where one run cannot tell."""
    ends = (cell["value"] if cell[k] is None else cell[k] for k in ("low", "high"))
    return [cell["value"], *ends]


def _with_interval(cell: Facts) -> str:
    number, interval = shown(cell)
    if interval:
        return f"{number} ({interval})"
    return number


def _curves(facts: Facts, hues: dict[str, str]) -> str:
    cards = [card for r in facts["rows"] if (card := _curve(r, hues[r["name"]]))]
    return section(
        "While learning", LEARNING, tag("div", *cards, class_="cards") if cards else "", "learning"
    )


def _curve(row: Facts, colour: str) -> str:
    """Validation where there was one, else the loss."""
    watched = [c["validation"] for c in row["curves"] if len(c["validation"]) > 1]
    learned = [[p for p in c["loss"] if p[1] is not None] for c in row["curves"]]
    lines, up = (
        (watched, f"{row['criterion']}, held out") if watched else (learned, "training loss")
    )
    lines = [line for line in lines if len(line) > 3]
    if not lines:
        return ""
    art = charts.curves(lines, colour, f"training of {row['name']}", "steps", up)
    return figure(art, tag("b", escape(row["name"])))


# ---- graphs, answers, protocol, glossary ---------------------------------------------------------


def _graphs(exhibits: Exhibits) -> str:
    """Each family's variables and what depends on what."""
    rows = exhibits.facts["rows"]
    families = [r["name"] for r in rows if r["family"] and r["name"] in exhibits.laws]
    graphs = {name: cast("Model", exhibits.laws[name]).graph() for name in families}
    cards = [
        figure(scroll(drawn(g, alone=False)), tag("b", escape(name))) for name, g in graphs.items()
    ]
    return section(
        "What depends on what",
        LEGEND,
        "" if not cards else tag("div", *cards, class_="graphs"),
        "graphs",
    )


def _answers(facts: Facts) -> str:
    rows = [r for r in facts["rows"] if r["answers"]]
    if not rows:
        return ""
    verbs = list(rows[0]["answers"])
    head = "<th></th>" + "".join(tag("th", v.replace("_", " ")) for v in verbs)
    body = [
        tag(
            "tr",
            tag("th", escape(r["name"]), scope="row"),
            *(_answer(r["answers"][v]) for v in verbs),
        )
        for r in rows
    ]
    return section(
        "What each can answer", ANSWERS, table(head, "".join(body), class_="answers"), "answers"
    )


def _answer(words: str) -> str:
    if words.startswith("no: "):
        return tag("td", NONE, class_="none", title=words[4:])
    return tag("td", escape(words))


def _protocol(facts: Facts) -> str:
    lines = {k: escape(v) for k, v in _protocol_lines(facts["protocol"]).items()}
    options = {escape(r["name"]): escape(_options(r)) for r in facts["rows"] if r["family"]}
    body = pairs(lines) + tag("h3", "Options of each family") + pairs(options)
    return section("Protocol", "", body, "protocol")


def _protocol_lines(p: Facts) -> dict[str, str]:
    d = p["data"]
    s = p["scoring"]
    m = p["machine"]
    notes = {"Notes": "; ".join(d["notes"])} if d["notes"] else {}
    return {
        "Data": f"{d['name']} (hash {d['hash']}), {d['space']}; log p against {d['measure']}",
        "Split": f"one for all rows: {d['train']:,} to learn from, {d['valid']:,} for choices while learning, "
        f"{d['test']:,} scored, which no fit has seen",
        "Seeds": f"{', '.join(map(str, p['seeds']))}: of initial weights, row order, training noise, and of draws",
        "Budget": f"{p['budget']} for every fit of every family",
        "Draws": f"{min(s['draws'], d['test']):,} of each row and seed beside as many held-out items, "
        "under their conditions and with the same entries missing",
        "Distances": f"precision, recall, density, coverage ({s['neighbours']} neighbours), energy and Fréchet "
        f"distance on {p['features']}",
        "Entries": f"the classifier (C2ST: {p['classifier']}, 5 folds) sees {p['entries']}; the audit {p['items']}",
        "Intervals": f"{100 * s['level']:g} %; log p: items and seeds both random (crossed), Student's t; "
        "draws: the spread between seeds plus their own error; timings: on the log scale",
        "Speed": f"batch 1 and {s['batch']:,}, warmed up, on the machine below",
        "Versions": ", ".join(f"{k} {v}" for k, v in p["versions"].items()),
        "Machine": f"{m['system']}, {m['processor']} ({m['instructions']}), {m['cores']} cores, torch threads "
        f"{m['threads']}, {m.get('gpu', m['device'])}",
        **notes,
    }


def _options(row: Facts) -> str:
    words = ", ".join(f"{k}={v}" for k, v in row["options"].items()) or "defaults"
    how = f"; log p: {row['how']}" if row["how"] else ""
    return f"{row['title']}; {words}{how}"


def _glossary() -> str:
    kinds = {chip(k): escape(v) for k, v in KINDS.items()}
    columns = {escape(c.title): escape(_meaning(c)) for c in COLUMNS}
    body = tag("h3", "Kinds of log p") + pairs(kinds) + tag("h3", "Columns") + pairs(columns)
    return section("What the numbers mean", "", body, "meaning")


def _meaning(column: Column) -> str:
    end = {"higher": " More is better.", "lower": " Less is better.", "none": ""}[column.better]
    if column.target:
        target = f" A perfect model: {column.target}."
    else:
        target = ""
    return column.meaning + end + target
