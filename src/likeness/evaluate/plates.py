"""Diagrams with plates as SVG: grey what is seen, white what is not, a dot for parameters, a box for each plate."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterator, Sequence
from html import escape

from likeness.core.plates import Edge, Graph, Node, Plate, values
from likeness.evaluate.charts import INK, SOFT
from likeness.evaluate.layout import Box, Layout, Size, columns, laid

SEEN = "#cfd5de"
UNSEEN = "#ffffff"
PAPER = "#ffffff"
SIDE = 40.0  # the height of a circle, and of a column's name
PILL = 28.0
DOT = 4.0
SYMBOL = 17  # type sizes
NAME = 13
WORDS = 11
LINE = 14.0
ARC = 24.0  # room above nodes that an encoder's arc takes
WIDEST = 22  # letters of a line of words
HEAD = 7.0  # the length of an arrow's head
NEAR = 1.0  # a bend so near an end would leave an arrow without direction
FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"
NAMESPACE = ' xmlns="http://www.w3.org/2000/svg"'
LEGEND = (
    "Grey: observed or given. White: latent. Dot: parameters. Double ring: a function of its parents. "
    "Dashed: approximate inference, no part of the model. Dotted: several steps. "
    "Box: repeated as often as its corner says."
)
NARROW = frozenset("ijltfr.,:;'|!()[]I ")
WIDE = frozenset("mwMW@%…")

Point = tuple[float, float]


def drawn(graph: Graph, *, alone: bool = True) -> str:
    """The graph as an SVG document of its own, or as an element of a page."""
    # Room above nodes that arcs leave; words as wide as estimated.
    arched = {k for e in graph.edges if _arches(graph, e) for k in (e.tail, e.head)}
    sizes = {n.key: _size(n, _side(graph, n), arched=n.key in arched) for n in graph.nodes}
    learned = {n.key for n in graph.of("parameter")}
    labels = {p: wide(p.label, WORDS) for p in graph.plates}
    labels |= {
        p: 2 * labels[p] + 12 for p in graph.plates if set(p.nodes) <= learned
    }  # clear of the edge downwards
    layout = laid(graph, sizes, labels)
    # Plates from the widest inwards, edges over them, nodes on top.
    parts = [
        *(_plate(p, layout.plates[p]) for p in sorted(graph.plates, key=lambda p: -len(p.nodes))),
        *(_edge(graph, layout, e) for e in graph.edges),
        *(_node(graph, n, layout) for n in graph.nodes),
    ]
    width = layout.width
    height = layout.height
    names = ", ".join(n.key for n in graph.of("observed", "given", "latent"))
    title = f"<title>{escape(f'The variables {names} and what depends on what')}</title><desc>{LEGEND}</desc>"
    paper = f'<rect width="{width:.0f}" height="{height:.0f}" rx="8" fill="{PAPER}"/>'
    return (
        f'<svg{NAMESPACE if alone else ""} viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" font-family="{escape(FONT)}">{title}{paper}{"".join(parts)}</svg>\n'
    )


# ---- sizes ---------------------------------------------------------------------------------------


def wide(words: str, size: float) -> float:
    """How wide words are in sans-serif type, rather too much than too little."""
    return size * sum(_width(c) for c in words)


def _width(character: str) -> float:
    """The width of a character in ems; Chinese, Japanese and Korean ones are wide."""
    if character in NARROW:
        return 0.34
    if character in WIDE or ord(character) > 0x2E80:
        return 0.95
    return 0.63


def _symbolic(node: Node) -> bool:
    """Whether a name is a symbol in a circle rather than a column's name."""
    return len(node.name) == 1


def _written(node: Node) -> float:
    """The width of a node's name with its index."""
    index = wide(_index(node), WORDS)
    return wide(node.name, SYMBOL if _symbolic(node) else NAME) + index


def _shape(node: Node) -> tuple[float, float]:
    """The width and height of a node's outline."""
    if node.kind == "parameter":
        return 2 * DOT, 2 * DOT
    height = SIDE if _symbolic(node) else PILL
    return max(height, _written(node) + (14 if _symbolic(node) else 22)), height


def _lines(node: Node) -> list[str]:
    """What is said of a node beside its name."""
    said = (node.note, "" if node.kind == "parameter" and node.note else values(node))
    return [line for words in said if words for line in textwrap.wrap(words, WIDEST)]


def _side(graph: Graph, node: Node) -> int:
    """Where a parameter's words stand: 0 above its dot, -1 left of it and 1 right, away from what it leads to."""
    if node.kind != "parameter":
        return 0
    # A parameter's words stand away from the column that it leads to.
    at = columns(graph)
    heads = [at[e.head] for e in graph.edges if e.tail == node.key]
    first = min(heads, default=at[node.key])
    return (at[node.key] > first) - (at[node.key] < first)


def _size(node: Node, side: int, *, arched: bool) -> Size:
    """A node's outline with its words: below it, or above or beside a dot."""
    width, height = _shape(node)
    lines = _lines(node)
    widest = max([width, *(wide(line, WORDS) for line in lines)])
    if node.kind == "parameter":
        words = max(widest, _written(node))
        head = SYMBOL + 7 + LINE * len(lines)
        if side:
            return Size(2 * words + 24, head, head / 2)
        return Size(words, head + height, head + DOT)
    top = ARC if arched else 0.0
    return Size(widest, top + height + LINE * len(lines) + 4 * bool(lines), top + height / 2)


def _index(node: Node) -> str:
    return node.index.replace("-", "\u2212")


# ---- nodes and plates ----------------------------------------------------------------------------


def _text(
    x: float,
    y: float,
    inner: str,
    size: int,
    *,
    colour: str = INK,
    anchor: str = "middle",
    extra: str = "",
) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}"'
    return f"<text {place}{extra}>{inner}</text>"


def _name(node: Node, x: float, y: float, anchor: str = "middle") -> str:
    """A symbol in italics, or a column's name; its index below the line."""
    if node.index:
        index = (
            f'<tspan dy="4" font-size="{WORDS}" font-style="normal">{escape(_index(node))}</tspan>'
        )
    else:
        index = ""
    size, slant = (SYMBOL, ' font-style="italic"') if _symbolic(node) else (NAME, "")
    return _text(x, y + 0.34 * size, escape(node.name) + index, size, anchor=anchor, extra=slant)


def _node(graph: Graph, node: Node, layout: Layout) -> str:
    words = ", ".join([node.kind, *_lines(node)])
    if node.kind == "parameter":
        parts = _dot(node, _side(graph, node), layout)
    else:
        parts = _round(graph, node, layout)
    return f"<g><title>{escape(f'{node.key}: {words}')}</title>{''.join(parts)}</g>"


def _dot(node: Node, side: int, layout: Layout) -> Iterator[str]:
    """A parameter, its words above it or at its side."""
    x, y = layout.centres[node.key]
    yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{DOT:g}" fill="{INK}"/>'
    anchor = ("middle", "start", "end")[side]
    top = layout.nodes[node.key].y
    yield _name(node, x + 9 * side, top + SYMBOL * 0.5, anchor)
    for i, line in enumerate(_lines(node)):
        yield _text(
            x + 9 * side,
            top + SYMBOL + 12 + LINE * i,
            escape(line),
            WORDS,
            colour=SOFT,
            anchor=anchor,
        )


def _round(graph: Graph, node: Node, layout: Layout) -> Iterator[str]:
    """A variable, its words below it."""
    x, y = layout.centres[node.key]
    yield _outline(node, x, y, 0)
    if any(e.head == node.key and e.tie in {"map", "bijection"} for e in graph.edges):
        yield _outline(node, x, y, 3.5)
    yield _name(node, x, y)
    for i, line in enumerate(_lines(node)):
        yield _text(x, y + _shape(node)[1] / 2 + LINE * (i + 1), escape(line), WORDS, colour=SOFT)


def _outline(node: Node, x: float, y: float, inset: float) -> str:
    """A circle, or a longer shape with round ends."""
    w, h = (side - 2 * inset for side in _shape(node))
    fill = UNSEEN if node.kind == "latent" else SEEN
    place = (
        f'x="{x - w / 2:.1f}" y="{y - h / 2:.1f}" width="{w:.1f}" height="{h:.1f}" rx="{h / 2:.1f}"'
    )
    return f'<rect {place} fill="{fill}" stroke="{INK}" stroke-width="1.3"/>'


def _plate(plate: Plate, box: Box) -> str:
    place = f'x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}"'
    words = (
        f'<text x="{box.x + box.width - 9:.1f}" y="{box.y + box.height - 8:.1f}" text-anchor="end" '
    )
    words += f'font-size="{WORDS}" fill="{SOFT}">{escape(plate.label)}</text>'
    return f'<rect {place} rx="9" fill="none" stroke="{SOFT}" stroke-width="1.1"/>{words}'


# ---- edges ---------------------------------------------------------------------------------------


def _arches(graph: Graph, edge: Edge) -> bool:
    """Whether an edge goes back over the heads of others."""
    return edge.tie == "encoder" and edge.tail not in {n.key for n in graph.of("parameter")}


def _edge(graph: Graph, layout: Layout, edge: Edge) -> str:
    nodes = {n.key: n for n in graph.nodes}
    tail = nodes[edge.tail]
    head = nodes[edge.head]
    points = _course(graph, layout, edge, tail, head)
    dash = {"encoder": "5 4", "steps": "1.5 4"}.get(edge.tie, "")
    if dash:
        dashed = f' stroke-dasharray="{dash}" stroke-linecap="round"'
    else:
        dashed = ""
    path = f'<path d="{_path(points)}" fill="none" stroke="{INK}" stroke-width="1.3"{dashed}/>'
    if edge.tie != "link":
        heads = _arrow(points[-2], points[-1])
    else:
        heads = ""
    return path + heads + (_arrow(points[1], points[0]) if edge.tie == "bijection" else "")


def _course(graph: Graph, layout: Layout, edge: Edge, tail: Node, head: Node) -> list[Point]:
    """An edge's ends and the points between that bend it: after each end two that a cubic curve leans to."""
    a = layout.centres[tail.key]
    b = layout.centres[head.key]
    # Arcs over the heads of others: encoders, from x back to z.
    if _arches(graph, edge):
        start = _top(tail, a, b)
        end = _top(head, b, a)
        return [start, (start[0], start[1] - ARC), (end[0], end[1] - ARC), end]
    # Within a column: straight down, from below the words.
    if layout.lanes[tail.key] == layout.lanes[head.key]:
        below = layout.nodes[tail.key]
        if tail.kind == "parameter":
            start = a
        else:
            start = (a[0], below.y + below.height)
        return _straight(start, (b[0], b[1] - _shape(head)[1] / 2))
    # Parameters: straight to the border of their node.
    if tail.kind == "parameter" and edge.tie != "encoder":
        return _straight(a, _border(head, b, a))
    # Across columns: through the lanes and the passes, in soft S-curves.
    right = 1 if a[0] < b[0] else -1
    start = (a[0] + right * _shape(tail)[0] / 2, a[1])
    end = (b[0] - right * _shape(head)[0] / 2, b[1])
    lanes = [layout.lanes[k][(right > 0) ^ far] for k, far in ((tail.key, False), (head.key, True))]
    stops = [(lanes[0], a[1]), *layout.passes.get(edge, ()), (lanes[1], b[1])]
    stops = [
        start,
        *(p for p in stops if min(abs(p[0] - start[0]), abs(p[0] - end[0])) > NEAR),
        end,
    ]
    points = [start]
    for one, other in itertools.pairwise(stops):
        middle = (one[0] + other[0]) / 2
        points += [(middle, one[1]), (middle, other[1]), other]
    return points


def _straight(a: Point, b: Point) -> list[Point]:
    return [
        a,
        ((2 * a[0] + b[0]) / 3, (2 * a[1] + b[1]) / 3),
        ((a[0] + 2 * b[0]) / 3, (a[1] + 2 * b[1]) / 3),
        b,
    ]


def _top(node: Node, at: Point, other: Point) -> Point:
    """Where an arc leaves a node's upper half, on the side of the other node."""
    height = _shape(node)[1] / 2
    return at[0] + (0.7 if other[0] > at[0] else -0.7) * height, at[1] - 0.714 * height


def _border(node: Node, at: Point, other: Point) -> Point:
    """Where the line from a node's centre to another point leaves its outline."""
    w, h = _shape(node)
    dx = other[0] - at[0]
    dy = other[1] - at[1]
    inside = 0.0
    outside = 1.0
    # Bisection along the line; the outline is a rectangle with round ends.
    for _ in range(30):
        t = (inside + outside) / 2
        x = max(0.0, abs(t * dx) - (w - h) / 2)
        y = t * dy
        inside, outside = (t, outside) if x * x + y * y < h * h / 4 else (inside, t)
    return at[0] + inside * dx, at[1] + inside * dy


def _path(points: Sequence[Point]) -> str:
    """Cubic curves through every third point."""
    first, *rest = (f"{x:.1f} {y:.1f}" for x, y in points)
    return f"M{first}" + "".join(
        f"C{a} {b} {c}" for a, b, c in zip(rest[::3], rest[1::3], rest[2::3], strict=True)
    )


def _arrow(before: Point, tip: Point) -> str:
    """The head of an arrow that comes from there."""
    # A triangle of the edge's own direction.
    dx = tip[0] - before[0]
    dy = tip[1] - before[1]
    length = (dx * dx + dy * dy) ** 0.5 or 1.0
    ux = dx / length * HEAD
    uy = dy / length * HEAD
    corners = (
        tip,
        (tip[0] - ux - 0.5 * uy, tip[1] - uy + 0.5 * ux),
        (tip[0] - ux + 0.5 * uy, tip[1] - uy - 0.5 * ux),
    )
    return f'<polygon points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in corners)}" fill="{INK}"/>'
