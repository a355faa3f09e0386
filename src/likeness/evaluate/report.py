"""One self-contained page, one JSON text, one table for a terminal: three views of the same facts.

The page's numbers are the JSON's: every cell is made from it, carries its value, and the JSON itself is embedded.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from likeness.evaluate import charts
from likeness.evaluate.charts import Mark
from likeness.evaluate.columns import COLUMNS, Column

if TYPE_CHECKING:
    from rich.table import Table

    from likeness.core.batch import Batch
    from likeness.core.space import Space
    from likeness.evaluate.comparison import Comparison

Facts = dict[str, Any]
NONE = "\u2013"
ROLES = {"family": "", "baseline": "baseline", "truth": "of this world"}
KINDS = {
    "exact": ("exact", "The number is log p itself, up to rounding."),
    "lower bound": ("lower bound", "In expectation log p is at least this; by how much more is not known."),
    "upper bound": ("upper bound", "In expectation log p is at most this."),
    "estimate": ("estimate", "Near log p, on neither side for sure: from a finite number of draws or solver steps."),
}
PAIRS_SHOWN = 5


def to_json(facts: Facts) -> str:
    """The facts as strict JSON: a number that is not finite becomes null."""
    return json.dumps(_finite(facts), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if type(value) is dict:
        return {k: _finite(v) for k, v in value.items()}
    if type(value) in {list, tuple}:
        return [_finite(v) for v in value]
    return None if type(value) is float and not math.isfinite(value) else value


# ---- numbers in words ----------------------------------------------------------------------------------------------


def _decimals(cell: Facts) -> int:
    """Enough places to show two figures of the standard error, or four of a number without one."""
    ends = (cell["low"], cell["high"])
    error = cell.get("stderr") or (0.0 if None in ends else (ends[1] - ends[0]) / 4)
    size = error if error > 0 else abs(cell["value"]) / 100
    return min(max(0, 1 - math.floor(math.log10(size))), 6) if size > 0 else 0


def _fixed(number: float, places: int) -> str:
    return f"{number:,.{places}f}".replace("-", "\u2212")


def shown(cell: Facts) -> tuple[str, str]:
    """A cell's number and its interval, as pages and terminals print them."""
    if "value" not in cell or cell["value"] is None:
        return NONE, ""
    value, low, high = cell["value"], cell["low"], cell["high"]
    if value == round(value) and low == high == value:
        return _fixed(value, 0), ""
    places = _decimals(cell)
    if low is None:
        return _single(value), ""
    ends = [_fixed(v, 0 if v == 0 else places) for v in (low, high)]
    return _fixed(value, 0 if value == 0 else places), f"{ends[0]} to {ends[1]}"


def _single(value: float) -> str:
    """A number without an interval, to three figures."""
    return "< 0.0001" if 0 <= value < 1e-4 else f"{value:,.3g}" if value < 1000 else _fixed(value, 0)


# ---- the terminal --------------------------------------------------------------------------------------------------

TERMINAL = {
    "log_prob": "log p", "precision": "precis.", "coverage": "cover.", "c2st": "C2ST", "rate_many": "draws/s",
}  # fmt: skip
WITH_ERROR = {"log_prob"}


def terminal_table(facts: Facts) -> Table:
    """The main columns, a line a row; why a row failed is among the comparison's sentences."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    used = [k for k in TERMINAL if any("value" in r["numbers"][k] for r in facts["rows"])]
    table = Table(title=facts["protocol"]["data"]["name"], box=SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=_terminal_caption(facts), title_justify="left")
    table.add_column("", no_wrap=True)
    for key in used:
        table.add_column(TERMINAL[key], justify="right", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("copies")
    for row in facts["rows"]:
        table.add_row(*_terminal_row(row, used), style="dim" if row["role"] != "family" else None)
    return table


def _terminal_row(row: Facts, used: list[str]) -> list[str]:
    if row["failure"]:
        return [row["name"], *[NONE] * len(used), "failed", ""]
    copies = {True: "yes", False: "no", None: NONE}[row["copies"]]
    return [row["name"], *[_short(row["numbers"][k], k) for k in used], row["kind"] or "none", copies]


def _short(cell: Facts, key: str) -> str:
    value, _ = shown(cell)
    if key not in WITH_ERROR:
        return value if value == NONE else f"{cell['value']:,.3g}" if cell["value"] < 1000 else f"{cell['value']:,.0f}"
    error = cell.get("stderr")
    return f"{value} ±{_fixed(error, _decimals(cell))}" if error and value != NONE else value


def _terminal_caption(facts: Facts) -> str:
    p = facts["protocol"]
    return f"{_seeds(p)}, {p['budget']} each; ± is one standard error; log p in nats an item"


def _seeds(protocol: Facts) -> str:
    n = len(protocol["seeds"])
    return f"{n} seed{'s' if n > 1 else ''}"


# ---- the page ------------------------------------------------------------------------------------------------------


def page(comparison: Comparison) -> str:
    """The whole page."""
    facts = _finite(comparison.facts())
    hues = charts.colours([(r["name"], r["role"]) for r in facts["rows"]])
    name = facts["protocol"]["data"]["name"]
    sections = [
        _header(facts), _in_short(facts), _likelihood(facts, hues), _tables(facts), _pictures(comparison, hues),
        _trilemma(facts, hues), _curves(facts, hues), _closest(comparison, facts), _answers(facts), _protocol(facts),
        _glossary(facts),
    ]  # fmt: skip
    embedded = to_json(facts).replace("</", "<\\/")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(name)}: families compared</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body><main>'
        f'{"".join(sections)}</main><script type="application/json" id="facts">{embedded}</script></body></html>\n'
    )


def _section(title: str, lead: str, body: str, anchor: str) -> str:
    told = f'<p class="lead">{lead}</p>' if lead else ""
    return f'<section id="{anchor}"><h2>{escape(title)}</h2>{told}{body}</section>' if body else ""


def _header(facts: Facts) -> str:
    p, d = facts["protocol"], facts["protocol"]["data"]
    line = (
        f"{d['train']:,} training items, {d['valid']:,} for choices while learning, {d['test']:,} scored; {d['space']}. "
        f"{_seeds(p)}, {p['budget']} for every fit."
    )
    return f'<header><p class="kicker">Families compared on</p><h1>{escape(d["name"])}</h1><p>{escape(line)}</p></header>'


def _in_short(facts: Facts) -> str:
    items = "".join(f'<li class="{_tone(s)}">{escape(s)}</li>' for s in facts["sentences"])
    note = (
        "Two rows are <em>not separable</em> where the interval of their difference holds 0: taking one for the better "
        "would be guessing."
    )
    return f'<section id="short"><h2>In short</h2><ul class="said">{items}</ul><p class="note">{note}</p></section>'


def _tone(sentence: str) -> str:
    if " failed: " in sentence or "copied by" in sentence or "tells nothing" in sentence:
        return "bad"
    return "best" if sentence.startswith("Best by") and "log p" in sentence else ""


# ---- likelihood ----------------------------------------------------------------------------------------------------


def _likelihood(facts: Facts, hues: dict[str, str]) -> str:
    groups = [g for g in facts["rankings"] if g["column"] == "log_prob"]
    body = "".join(_group(g, facts, hues) for g in groups)
    lead = (
        "What each row holds probable of items that it has not seen. Numbers of unlike kinds stand in panels of their own "
        "and are not ranked against each other. Whiskers cover the truth with 95 % probability, over items and seeds."
    )
    return _section("Likelihood", lead, body, "likelihood")


def _group(group: Facts, facts: Facts, hues: dict[str, str]) -> str:
    rows = {r["name"]: r for r in facts["rows"]}
    marks = [_mark(n, rows[n]["numbers"]["log_prob"], hues[n]) for n in group["order"]]
    truth = next((r for r in facts["rows"] if r["role"] == "truth" and r["measure"] == group["measure"]), None)
    known = _mark("truth", truth["numbers"]["log_prob"], charts.INK) if truth and truth["kind"] else None
    chart = charts.whiskers(marks, "nats an item, more is better", f"{group['by']} of each row", truth=known)
    head = f'<h3>{_chip(group["kind"])} {escape(group["by"])} <span class="soft">against {escape(group["measure"])}</span></h3>'
    return f'{head}<div class="scroll">{chart}</div>{_gaps(group)}'


def _mark(name: str, cell: Facts, colour: str) -> Mark:
    return Mark(name, cell["value"], cell["low"], cell["high"], colour)


def _gaps(group: Facts) -> str:
    """Every row against the best one."""
    best = group["order"][0]
    gaps = [g for g in group["gaps"] if g["ahead"] == best]
    if not gaps:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(g["behind"])}</th>{_gap_cell(g)}<td>{_verdict(g["separable"])}</td></tr>' for g in gaps
    )
    return (
        f'<div class="scroll"><table class="narrow"><caption>Behind {escape(best)}, paired item by item</caption><thead><tr>'
        f"<th></th><th>nats an item</th><th></th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _gap_cell(gap: Facts) -> str:
    cell = {"value": gap["value"], "low": gap["low"], "high": gap["high"], "stderr": (gap["high"] - gap["low"]) / 4}
    return _td(cell)


def _verdict(separable: bool) -> str:
    return "" if separable else '<span class="chip tie">not separable</span>'


def _chip(kind: str | None) -> str:
    known = KINDS.get(kind or "")
    if known is None:
        return '<span class="chip none">none</span>'
    return f'<span class="chip {known[0].replace(" ", "-")}" title="{escape(known[1])}">{known[0]}</span>'


# ---- tables --------------------------------------------------------------------------------------------------------

GROUPS: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("Likelihood", "likelihood", ("likelihood",), ""),
    ("Draws beside held-out items", "draws", ("quality", "diversity", "both"),
     "Training rows handed out again score best here, or nearly, and are worth nothing: look at the audit too."),
    ("Speed and cost", "cost", ("speed", "cost"), ""),
    ("Was anything copied?", "audit", ("audit",),
     "How drawn items lie among the training items, beside how held-out items lie among them."),
)  # fmt: skip


def _tables(facts: Facts) -> str:
    body = "".join(_table(facts, *group) for group in GROUPS)
    lead = "Every number with the interval that covers the truth with 95 % probability. The best of each column is bold, and so is what is not separable from it."
    return _section("All numbers", lead, body, "numbers")


def _table(facts: Facts, title: str, key: str, groups: Sequence[str], note: str) -> str:
    columns = [c for c in COLUMNS if c.group in groups and any("value" in r["numbers"][c.key] for r in facts["rows"])]
    kind = key == "likelihood"
    head = "".join(f'<th title="{escape(c.meaning)}">{escape(c.title)}<small>{escape(c.unit)}</small></th>' for c in columns)
    extra = "<th>kind</th>" if kind else "<th>copies found</th>" if key == "audit" else ""
    rows = "".join(_row(r, columns, key, _bold(facts)) for r in facts["rows"])
    told = f'<p class="note">{escape(note)}</p>' if note else ""
    few = ' class="narrow"' if len(columns) <= 2 else ""
    return (
        f'<h3>{escape(title)}</h3>{told}<div class="scroll"><table{few}><thead><tr><th></th>{extra}{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _bold(facts: Facts) -> set[tuple[str, str]]:
    """(row, column) of the best and of what is not separable from it, within each ranking."""
    found = set()
    for g in facts["rankings"]:
        alike = {g["order"][0], *g["not_separable_from_best"]}
        found |= {(name, g["column"]) for name in alike}
        if g["column"] == "log_prob":
            found |= {(name, "bits_per_dim") for name in alike}
    return found


def _row(row: Facts, columns: Sequence[Column], key: str, bold: set[tuple[str, str]]) -> str:
    role = ROLES[row["role"]]
    name = f'<th scope="row" title="{escape(row["title"])}">{escape(row["name"])}' + (
        f'<small>{role}</small></th>' if role else "</th>"
    )  # fmt: skip
    if row["failure"]:
        return f'<tr class="failed">{name}<td class="why" colspan="{len(columns) + 1}">failed: {escape(row["failure"])}</td></tr>'
    extra = {"likelihood": f"<td>{_chip(row['kind'])}</td>", "audit": f"<td>{_copies(row['copies'])}</td>"}.get(key, "")
    cells = "".join(_td(row["numbers"][c.key], (row["name"], c.key) in bold, c.key) for c in columns)
    return f'<tr class="{row["role"]}">{name}{extra}{cells}</tr>'


def _td(cell: Facts, bold: bool = False, key: str = "") -> str:
    if "value" not in cell:
        return f'<td class="none" title="{escape(cell["why"])}">{NONE}<small>{escape(_brief(cell["why"]))}</small></td>'
    value, interval = shown(cell)
    data = "".join(f' data-{k}="{cell[k]!r}"' for k in ("value", "low", "high") if cell.get(k) is not None)
    named = f' data-column="{key}"' if key else ""
    return f'<td class="{"best" if bold else ""}"{named}{data}>{value}<small>{interval}</small></td>'


def _brief(why: str) -> str:
    """A reason's first clause, short enough for a cell; the whole of it is in the cell's title."""
    first = why.split(":")[0].split(";")[0]
    return first if len(first) <= 44 else first[:42].rsplit(" ", 1)[0] + " \u2026"


def _copies(copies: bool | None) -> str:
    words = {True: '<span class="chip alarm">yes</span>', False: '<span class="chip clean">none</span>'}
    return words.get(copies, NONE) if copies is not None else NONE


# ---- pictures ------------------------------------------------------------------------------------------------------


def _image(png: bytes, alt: str, kind: str) -> str:
    data = base64.b64encode(png).decode()
    return f'<img class="{kind}" alt="{escape(alt)}" src="data:image/png;base64,{data}">'


def _figure(inner: str, caption: str, kind: str = "") -> str:
    return f'<figure class="{kind}">{inner}<figcaption>{caption}</figcaption></figure>'


def _pictures(comparison: Comparison, hues: dict[str, str]) -> str:
    from likeness.evaluate.figures import form

    space, test = comparison.split.train.space, comparison.split.test
    shape = form(space)
    cards = [_picture(comparison, "held-out data", test, "#5b6675", None)]
    cards += [_picture(comparison, r.name, comparison.drawn[r.name], hues[r.name], comparison.laws[r.name])
              for r in comparison.rows if r.name in comparison.drawn]  # fmt: skip
    lead = {
        "plane": "Grey: held-out items. Coloured: drawn ones, over the regions of highest density that hold 20, 40, 60, 80 and 95 % of the mass, where the row has a log p.",
        "table": "Grey: the data. Coloured: what was drawn. To the right the correlations of all columns, blue for -1, white for 0, red for 1.",
        "strips": "One strip an item, one colour a symbol.",
    }.get(shape, "Drawn by the first seed, none chosen.")
    return _section("Draws beside data", lead, f'<div class="cards {shape}">{"".join(cards)}</div>', "draws")


def _picture(comparison: Comparison, name: str, batch: Batch, colour: str, law: Any) -> str:
    from likeness.evaluate.figures import beside, form

    split = comparison.split
    data = split.test if law is not None else batch
    png = beside(split.train.space, data, batch, colour, law)
    text = _as_text(split.train.space, batch)
    return _figure(_image(png, f"items: {name}", form(split.train.space)) + text, f"<b>{escape(name)}</b>")


def _as_text(space: Space, batch: Batch) -> str:
    """Sequences whose symbols have names, as words."""
    labels = getattr(space.variables[0], "labels", None)
    if not space.ragged or len(space.shape) != 1 or labels is None:
        return ""
    join = "" if all(len(x) == 1 for x in labels) else " "
    lines = []
    for item, known in zip(batch.x[:6], batch.present[:6], strict=True):
        lines.append(join.join(labels[int(c)] for c in item[known].tolist())[:80])
    return f'<pre>{escape(chr(10).join(lines))}</pre>'


def _trilemma(facts: Facts, hues: dict[str, str]) -> str:
    keys = ("precision", "coverage", "rate_many")
    rows = [r for r in facts["rows"] if all("value" in r["numbers"][k] for k in keys)]
    if not rows:
        return ""
    rates = [math.log10(r["numbers"]["rate_many"]["value"]) for r in rows]
    low, span = min(rates), (max(rates) - min(rates)) or 1.0
    cards = []
    for row, rate in zip(rows, rates, strict=True):
        quality, diversity, speed = (row["numbers"][k] for k in keys)
        share = 0.1 + 0.9 * (rate - low) / span
        art = charts.triangle(quality["value"], diversity["value"], share, hues[row["name"]], f"trilemma of {row['name']}")
        words = f"precision {shown(quality)[0]} · coverage {shown(diversity)[0]} · {shown(speed)[0]} samples/s"
        cards.append(_figure(art, f"<b>{escape(row['name'])}</b><br>{words}"))
    lead = "Quality (precision), diversity (coverage) and speed (samples a second in large batches, on a scale of ratios from the slowest row to the fastest). A good row fills its triangle; one that copies does too."
    return _section("Quality, diversity, speed", lead, f'<div class="cards small">{"".join(cards)}</div>', "trilemma")


def _curves(facts: Facts, hues: dict[str, str]) -> str:
    cards = []
    for row in facts["rows"]:
        watched = [c["validation"] for c in row["curves"] if len(c["validation"]) > 1]
        learned = [[p for p in c["loss"] if p[1] is not None] for c in row["curves"]]
        lines, up = (watched, f"{row['criterion']}, held out") if watched else (learned, "training loss")
        lines = [line for line in lines if len(line) > 1]
        if lines:
            art = charts.curves(lines, hues[row["name"]], f"training of {row['name']}", "steps", up)
            cards.append(_figure(art, f"<b>{escape(row['name'])}</b>"))
    lead = "What validation minimised, over steps; a line a seed. Each family's criterion is its own: heights do not compare across panels. Closed forms take one step and have no curve."
    return _section("While learning", lead, f'<div class="cards small">{"".join(cards)}</div>' if cards else "", "learning")


# ---- closest pairs -------------------------------------------------------------------------------------------------


def _closest(comparison: Comparison, facts: Facts) -> str:
    from likeness.evaluate.figures import form

    show = {"image": _closest_images}.get(form(comparison.split.train.space), _closest_words)
    rows = [r for r in facts["rows"] if r["closest"] and r["name"] in comparison.drawn]
    body = "".join(show(comparison, r) for r in rows)
    lead = (
        "The drawn items that lie closest to a training item, relative to the second closest one (ratio 0: the very item). "
        "Held-out items have close neighbours too; whether these are closer than chance allows is the audit's question."
    )
    wrap = f'<div class="cards {"pairs" if show is _closest_images else "wide"}">{body}</div>'
    return _section("Nearest training items", lead, wrap if body else "", "closest")


def _pairs_of(comparison: Comparison, row: Facts) -> list[Facts]:
    return [p for p in row["closest"] if p["drawn"] < len(comparison.drawn[row["name"]])]


def _closest_images(comparison: Comparison, row: Facts) -> str:
    from likeness.evaluate.figures import image_grid

    pairs = _pairs_of(comparison, row)
    if not pairs:
        return ""
    space, train = comparison.split.train.space, comparison.split.train.batch.x
    drawn = comparison.drawn[row["name"]].x[[p["drawn"] for p in pairs]]
    near = train[[p["train"] for p in pairs]].to(drawn)
    import torch

    png = image_grid(space, torch.cat([drawn, near]), columns=len(pairs), least=360)
    words = ", ".join(f"{p['ratio']:.2f}" for p in pairs)
    caption = f"<b>{escape(row['name'])}</b> {_copies(row['copies'])}<br>above drawn, below nearest; ratios {words}"
    return _figure(_image(png, f"closest pairs of {row['name']}", "image"), caption)


def _closest_words(comparison: Comparison, row: Facts) -> str:
    """Distances and values of the worst pairs."""
    space, train = comparison.split.train.space, comparison.split.train.batch
    drawn = comparison.drawn[row["name"]]
    lines = "".join(
        f'<tr><td class="item">{_item(space, drawn, p["drawn"])}</td><td class="item">{_item(space, train, p["train"])}</td>'
        f"<td>{p['distance']:.3g}</td><td>{p['ratio']:.3f}</td></tr>"
        for p in _pairs_of(comparison, row)[:PAIRS_SHOWN]
    )
    return (
        f'<div class="scroll"><table class="pairs"><caption><b>{escape(row["name"])}</b> {_copies(row["copies"])}</caption>'
        f"<thead><tr><th>drawn</th><th>nearest training item</th><th>distance</th><th>ratio</th></tr></thead>"
        f"<tbody>{lines}</tbody></table></div>"
    )


def _item(space: Space, batch: Batch, i: int) -> str:
    one = batch[[i]]
    text = _as_text(space, one)
    if text:
        return text
    values = one.x[0][one.present[0]].flatten().tolist()
    words = ", ".join(f"{v:.3g}" for v in values[:6]) + (", \u2026" if len(values) > 6 else "")
    return escape(words).replace("-", "\u2212")


# ---- answers, protocol, glossary -----------------------------------------------------------------------------------


def _answers(facts: Facts) -> str:
    rows = [r for r in facts["rows"] if r["answers"]]
    if not rows:
        return ""
    verbs = list(rows[0]["answers"])
    head = "".join(f"<th>{v.replace('_', ' ')}</th>" for v in verbs)
    body = "".join(
        f'<tr><th scope="row">{escape(r["name"])}</th>{"".join(_answer(r["answers"][v]) for v in verbs)}</tr>' for r in rows
    )
    table = f'<div class="scroll"><table class="answers"><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    return _section("What each can answer", "By which route, best first; where it cannot, hover over the dash for the reason.", table, "answers")


def _answer(words: str) -> str:
    if words.startswith("no: "):
        return f'<td class="none" title="{escape(words[4:])}">{NONE}</td>'
    return f"<td>{escape(words)}</td>"


def _protocol(facts: Facts) -> str:
    p = facts["protocol"]
    d, s, m = p["data"], p["scoring"], p["machine"]
    on = f"{m['system']}, {m['processor']} ({m['instructions']}), {m['cores']} cores, {m['threads']} threads, {m.get('gpu', m['device'])}"
    lines = {
        "Data": f"{d['name']} (hash {d['hash']}), {d['space']}; log p against {d['measure']}",
        "Split": f"one for all rows: {d['train']:,} to learn from, {d['valid']:,} for choices while learning, {d['test']:,} scored, which no fit has seen",
        "Seeds": ", ".join(map(str, p["seeds"])) + ": of initial weights, row order, training noise, and of what is drawn",
        "Budget": f"{p['budget']} for every fit of every family",
        "Draws": f"{min(s['draws'], d['test']):,} of each row and seed beside as many held-out items, under their conditions and with their holes",
        "Distances": f"precision, recall, density, coverage ({s['neighbours']} neighbours) and energy distance on {p['features']}",
        "Entries": f"the classifier (C2ST: {p['classifier']}, 5 folds) and the audit see {p['entries']}",
        "Intervals": f"{100 * s['level']:g} %; log p: items and seeds both random (crossed), Student's law; draws: spread between seeds plus their own error",
        "Speed": f"batch 1 and {s['batch']:,}, warmed up, on the machine below",
        "Versions": ", ".join(f"{k} {v}" for k, v in p["versions"].items()),
        "Machine": on,
        **({"Notes": "; ".join(d["notes"])} if d["notes"] else {}),
    }
    body = "".join(f"<dt>{k}</dt><dd>{escape(v)}</dd>" for k, v in lines.items())
    options = "".join(f"<dt>{escape(r['name'])}</dt><dd>{escape(_options(r))}</dd>" for r in facts["rows"] if r["family"])
    return _section("Protocol", "", f"<dl>{body}</dl><h3>Options of each family</h3><dl>{options}</dl>", "protocol")


def _options(row: Facts) -> str:
    told = ", ".join(f"{k}={v}" for k, v in row["options"].items()) or "defaults"
    how = f"; log p: {row['how']}" if row["how"] else ""
    return f"{row['title']}; {told}{how}"


def _glossary(facts: Facts) -> str:
    kinds = "".join(f"<dt>{_chip(k)}</dt><dd>{escape(v[1])}</dd>" for k, v in KINDS.items())
    numbers = "".join(f"<dt>{escape(c.title)}</dt><dd>{escape(_meaning(c))}</dd>" for c in COLUMNS)
    body = f"<h3>Kinds of log p</h3><dl>{kinds}</dl><h3>Columns</h3><dl>{numbers}</dl>"
    return _section("What the numbers mean", "", body, "meaning")


def _meaning(column: Column) -> str:
    end = {"higher": " More is better.", "lower": " Less is better.", "none": ""}[column.better]
    target = f" A perfect model: {column.target}." if column.target else ""
    return column.meaning + end + target


Section = Callable[[Facts], str]

STYLE = """
:root{--ink:#1c2430;--soft:#5b6675;--rule:#e3e7ee;--ground:#f6f7f9;--card:#fff;--blue:#0059a8}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,"DejaVu Sans",sans-serif}
main{max-width:1120px;margin:0 auto;padding:40px 24px 80px}
header{margin-bottom:28px}
.kicker{margin:0;color:var(--soft);font-size:14px;letter-spacing:.04em}
h1{font-size:38px;line-height:1.15;margin:2px 0 8px;letter-spacing:-.01em;overflow-wrap:anywhere}
header p:last-child{margin:0;color:var(--soft)}
section{background:var(--card);border:1px solid var(--rule);border-radius:12px;padding:24px 28px;margin:0 0 20px}
h2{font-size:21px;margin:0 0 6px}
h3{font-size:15px;margin:24px 0 8px}
.lead,.note{color:var(--soft);font-size:14.5px;margin:0 0 12px;max-width:80ch}
.soft{color:var(--soft);font-weight:400}
.said{margin:10px 0 14px;padding:0;list-style:none;font-size:16.5px}
.said li{padding:7px 0 7px 16px;border-left:4px solid var(--rule);margin:6px 0;max-width:95ch}
.said .best{border-color:var(--blue);font-weight:600}
.said .bad{border-color:#c2410c}
.scroll{overflow-x:auto;max-width:100%}
svg{max-width:100%;height:auto;display:block}
svg text{font-family:inherit}
table{border-collapse:collapse;font-size:14px;font-variant-numeric:tabular-nums;min-width:100%}
table.narrow{min-width:0;margin-top:10px}
caption{text-align:left;color:var(--soft);font-size:13.5px;padding-bottom:4px}
th,td{padding:7px 12px;text-align:right;border-bottom:1px solid var(--rule);vertical-align:top;white-space:nowrap}
thead th{font-weight:600;font-size:13px;vertical-align:bottom;white-space:normal;min-width:74px}
th[scope=row]{text-align:left;font-weight:600;position:sticky;left:0;background:var(--card)}
small{display:block;font-weight:400;font-size:11.5px;color:var(--soft)}
td.best{font-weight:700}
td.none,td.none small{color:var(--soft)}
td.none small{white-space:normal;max-width:150px;margin-left:auto}
tr.baseline td,tr.baseline th{background:#fafbfc}
tr.truth td,tr.truth th{background:#f3f5f8}
tr.failed .why{text-align:left;white-space:normal;color:#9a3412}
table.answers td,table.pairs td.item{white-space:normal;text-align:left;font-size:12.5px}
table.answers td,table.answers th{padding:6px 8px}
table.answers th{text-align:left}
.chip{display:inline-block;padding:1px 9px;border-radius:99px;font-size:12px;font-weight:600;line-height:1.6;background:#eceff4;color:#374151;white-space:nowrap}
.chip.exact{background:#dcebfa;color:#084b83}
.chip.lower-bound{background:#e4f3ea;color:#17603d}
.chip.upper-bound{background:#f5ead8;color:#7a4b00}
.chip.estimate{background:#f1e6f5;color:#6b2c83}
.chip.tie{background:#fdf3d7;color:#6d5200}
.chip.alarm{background:#fde4dc;color:#9a3412}
.chip.clean{background:#e4f3ea;color:#17603d}
.cards{display:grid;gap:18px;grid-template-columns:repeat(auto-fill,minmax(240px,1fr))}
.cards.small{grid-template-columns:repeat(auto-fill,minmax(240px,1fr))}
.cards.table,.cards.wide{grid-template-columns:1fr}
.cards.waves,.cards.strips{grid-template-columns:repeat(auto-fill,minmax(310px,1fr))}
.cards.pairs{grid-template-columns:repeat(auto-fill,minmax(310px,1fr))}
figure{margin:0;min-width:0}
figcaption{font-size:13px;color:var(--soft);margin-top:4px;overflow-wrap:anywhere}
figcaption b,caption b{color:var(--ink);font-size:14px}
img{width:100%;height:auto;display:block;border-radius:6px}
img.image{image-rendering:pixelated}
pre{font-size:12px;line-height:1.4;background:var(--ground);border-radius:6px;padding:8px 10px;overflow-x:auto;margin:6px 0 0}
td pre{margin:0;padding:2px 6px}
dl{display:grid;grid-template-columns:minmax(130px,max-content) 1fr;gap:6px 20px;margin:10px 0;font-size:14.5px}
dt{font-weight:600}
dd{margin:0;color:#374151;overflow-wrap:anywhere}
@media(max-width:640px){main{padding:20px 12px}section{padding:18px 14px}dl{grid-template-columns:1fr;gap:2px}dd{margin-bottom:8px}h1{font-size:28px}}
@media print{body{background:#fff}section{border:0;padding:0;break-inside:avoid-page}}
""".replace("\n", "")
