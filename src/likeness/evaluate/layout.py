"""Where the nodes, plates and edges of a diagram stand: columns from left to right, plates as boxes that never overlap.

A node stands one column behind the last that it follows (longest paths). Nodes of one index share a
column, so that what belongs to a step hangs below its state; parameters stand above what they lead
to. Within a column nodes are put near what they are tied to (barycentres), as near as their heights
allow (isotonic regression).
"""

from __future__ import annotations

import graphlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from likeness.core.plates import FORWARD, Edge, Graph, Plate

GAP = 14.0  # between nodes of a column, between columns
ACROSS = 46.0
PAD = 14.0  # between a plate's border and what it holds, and the room for its label
LABEL = 18.0
SWEEPS = 12
SLOT = 8.0  # the height of an edge that passes a column

Columns = dict[str, int]


@dataclass(frozen=True)
class Size:
    """What a node takes: width, height, and how far its centre lies below its top."""

    width: float
    height: float
    centre: float


@dataclass(frozen=True)
class Box:
    """A rectangle by its upper left corner."""

    x: float
    y: float
    width: float
    height: float

    def meets(self, other: Box) -> bool:
        """Whether the two have a point in common."""
        across = self.x < other.x + other.width and other.x < self.x + self.width
        return across and self.y < other.y + other.height and other.y < self.y + self.height

    def holds(self, other: Box) -> bool:
        """Whether the other lies within."""
        across = self.x <= other.x and other.x + other.width <= self.x + self.width
        return across and self.y <= other.y and other.y + other.height <= self.y + self.height


@dataclass(frozen=True)
class Layout:
    """Where everything stands.

    Args:
        nodes: The box of each node, with what is written at it.
        centres: The middle of each node's shape.
        plates: The box of each plate.
        lanes: The left and right end of each node's column, between which no other text stands at
            its height.
        passes: Points that an edge goes through on its way: for each column that it passes the
            entry and the exit.
        width: Of the whole.
        height: Of the whole.
    """

    nodes: dict[str, Box]
    centres: dict[str, tuple[float, float]]
    plates: dict[Plate, Box]
    lanes: dict[str, tuple[float, float]]
    passes: dict[Edge, list[tuple[float, float]]]
    width: float
    height: float


@dataclass(eq=False)
class Block:
    """A node, a plate with what it holds, or an edge on its way: columns first to last, and heights below its top."""

    first: int
    last: int
    height: float
    centres: dict[Any, float]
    plates: dict[Plate, tuple[float, float]] = field(default_factory=dict)
    rank: int = 0
    y: float = 0.0


# ---- columns -------------------------------------------------------------------------------------


def columns(graph: Graph) -> Columns:
    """The column of each node."""
    # Parameters stand beside what they lead to, so they take no part in the columns.
    parameters = {n.key for n in graph.of("parameter")}
    between = [e for e in graph.edges if not {e.tail, e.head} & parameters]
    forward, links = ([e for e in between if e.tie in ties] for ties in (FORWARD, ("link",)))
    # Nodes of one index share a column; without that, if it makes a circle.
    together = {
        n.key: f"index {n.index}" if n.index else n.key
        for n in graph.nodes
        if n.key not in parameters
    }
    alone = {key: key for key in together}
    depth = next(
        d
        for d in (
            _depths(together, [*forward, *links]),
            _depths(alone, [*forward, *links]),
            _depths(alone, forward),
        )
        if d is not None
    )
    if set(depth) == set(together.values()):
        column = {key: depth[group] for key, group in together.items()}
    else:
        column = depth
    for parameter in (n.key for n in graph.of("parameter")):
        column[parameter] = _beside(parameter, graph, column)
    least = min(column.values(), default=0)
    used = sorted({c - least for c in column.values()})
    return {key: used.index(c - least) for key, c in column.items()}


def _depths(group: Mapping[str, str], edges: Iterable[Edge]) -> Columns | None:
    """The longest path to each group, sources as late as they may stand; None where edges between groups go round."""
    # The nodes that come before each, between groups.
    above: dict[str, set[str]] = {g: set() for g in group.values()}
    for e in edges:
        if group[e.tail] != group[e.head]:
            above[group[e.head]].add(group[e.tail])
    try:
        order = list(graphlib.TopologicalSorter(above).static_order())
    except graphlib.CycleError:
        return None
    depth: Columns = {}
    # Longest paths from the sources, then sources moved right up to their first heirs.
    for g in order:
        depth[g] = 1 + max((depth[a] for a in above[g]), default=-1)
    for g in order:
        below = [depth[b] for b in order if g in above[b]]
        if not above[g] and below:
            depth[g] = min(below) - 1
    return depth


def _beside(parameter: str, graph: Graph, found: Columns) -> int:
    """The column of the first node that a parameter leads to; a free one at its side where that is no clear way.

    It is none where it leads to several nodes of the column, or another node or parameter stands
    above the one.
    """
    # The first column it leads to, unless something stands in its way there.
    led = [e.head for e in graph.edges if e.tail == parameter and e.head in found]
    first = min((found[key] for key in led), default=0)
    heads = [key for key in led if found[key] == first]
    above = {found[n.key] for n in graph.of("parameter") if n.key in found}
    hanging = any(e.head in heads and found.get(e.tail) == first for e in graph.edges)
    if len(heads) <= 1 and first not in above and not hanging:
        return first
    if first - 1 in found.values() and first + 1 not in found.values():
        return first + 1
    return first - 1


# ---- blocks --------------------------------------------------------------------------------------


def laid(graph: Graph, sizes: Mapping[str, Size], label: Mapping[Plate, float]) -> Layout:
    """Everything in its place, given the size of each node and the width of each plate's label."""
    at = columns(graph)
    root = _group(graph, at, sizes, [n.key for n in graph.nodes], None)
    return _placed(graph, at, sizes, label, root)


def _group(
    graph: Graph, at: Columns, sizes: Mapping[str, Size], keys: Sequence[str], plate: Plate | None
) -> Block:
    """What a plate holds (None: the whole), its plates first laid out by themselves, as one block."""
    # Inner plates first, each one block; then the nodes that no plate holds.
    inner = list(_children(graph, plate))
    inside = {key for p in inner for key in p.nodes}
    blocks = [_framed(_group(graph, at, sizes, p.nodes, p), p) for p in inner]
    blocks += [
        Block(at[k], at[k], sizes[k].height, {k: sizes[k].centre}) for k in keys if k not in inside
    ]
    return _arranged(graph, blocks, at)


def _children(graph: Graph, plate: Plate | None) -> Iterator[Plate]:
    """The plates directly within another."""
    held = [p for p in graph.plates if plate is None or graph.within(p, plate)]
    return (p for p in held if not any(graph.within(p, q) for q in held))


def _framed(block: Block, plate: Plate) -> Block:
    """A block within its plate's border."""
    height = block.height + 2 * PAD + LABEL
    centres = {k: y + PAD for k, y in block.centres.items()}
    plates = {p: (a + PAD, b + PAD) for p, (a, b) in block.plates.items()}
    return Block(block.first, block.last, height, centres, {plate: (0.0, height), **plates})


def _arranged(graph: Graph, blocks: list[Block], at: Columns) -> Block:
    """Blocks beside and below each other, none over another, as one."""
    # Edges between different blocks; those within a column hang one below the other.
    owner = {k: b for b in blocks for k in b.centres}
    learned = {n.key for n in graph.of("parameter")}
    edges = [
        e
        for e in graph.edges
        if e.tail in owner and e.head in owner and owner[e.tail] is not owner[e.head]
    ]
    hanging = [
        (owner[e.tail], owner[e.head])
        for e in edges
        if at[e.tail] == at[e.head] and e.tail not in learned
    ]
    for above, below in hanging * len(blocks):
        below.rank = max(below.rank, above.rank + 1)
    for b in blocks:
        if set(b.centres) <= learned:
            b.rank = -1
    # Stacks of blocks that share columns; edges through a stack get slots; then heights.
    stacks = _stacks(_in_turn(graph, blocks, owner))
    ties = _ties(edges, owner, stacks)
    _settle(stacks, ties)
    every = [b for stack in stacks for b in stack]
    top = min((b.y for b in every), default=0.0)
    centres = {k: b.y - top + y for b in every for k, y in b.centres.items()}
    plates = {p: (b.y - top + a, b.y - top + z) for b in every for p, (a, z) in b.plates.items()}
    height = max((b.y - top + b.height for b in every), default=0.0)
    return Block(min(b.first for b in every), max(b.last for b in every), height, centres, plates)


def _in_turn(graph: Graph, blocks: list[Block], owner: Mapping[str, Block]) -> list[Block]:
    """Blocks in the order of a walk along the edges, so that trees come without crossings."""
    # Depth-first from the blocks that nothing leads to.
    below: dict[int, list[Block]] = {id(b): [] for b in blocks}
    heads = set()
    for e in graph.edges:
        a = owner.get(e.tail)
        b = owner.get(e.head)
        if a is not None and b is not None and a is not b and e.tie in FORWARD:
            below[id(a)].append(b)
            heads.add(id(b))
    visited: dict[int, Block] = {}
    waiting = [*blocks[::-1], *(b for b in blocks[::-1] if id(b) not in heads)]
    while waiting:
        block = waiting.pop()
        if id(block) not in visited:
            visited[id(block)] = block
            waiting += below[id(block)][::-1]
    return list(visited.values())


def _stacks(blocks: list[Block]) -> list[list[Block]]:
    """Blocks that share columns, directly or through others, from left to right."""
    stacks: list[list[Block]] = []
    # A block joins the stack whose columns it reaches into.
    reach = -1
    places = {id(b): i for i, b in enumerate(blocks)}
    for block in sorted(blocks, key=lambda b: b.first):
        if not stacks or block.first > reach:
            stacks.append([])
        stacks[-1].append(block)
        reach = max(reach, block.last)
    return [sorted(stack, key=lambda b: places[id(b)]) for stack in stacks]


@dataclass(frozen=True, eq=False)
class Tie:
    """A stretch of an edge between blocks of two stacks, and how far below their tops it ends."""

    a: Block
    down_a: float
    b: Block
    down_b: float


def _ties(
    edges: Iterable[Edge], owner: Mapping[str, Block], stacks: list[list[Block]]
) -> list[Tie]:
    """The stretches of all edges; one that passes a stack gets a slot there."""
    place = {id(b): i for i, stack in enumerate(stacks) for b in stack}
    ties = []
    for edge in edges:
        a = owner[edge.tail]
        b = owner[edge.head]
        start = place[id(a)]
        end = place[id(b)]
        if start == end:
            continue
        # From the tail through a slot in each stack on the way to the head.
        chain = [(a, a.centres[edge.tail])]
        for i in range(start + 1, end):
            first = min(b.first for b in stacks[i])
            last = max(b.last for b in stacks[i])
            slot = Block(first, last, SLOT, {(edge, first, last): SLOT / 2})
            stacks[i].append(slot)
            chain.append((slot, SLOT / 2))
        chain.append((b, b.centres[edge.head]))
        ties += [Tie(*one, *two) for one, two in itertools.pairwise(chain)]
    return ties


# ---- heights -------------------------------------------------------------------------------------


def _settle(stacks: list[list[Block]], ties: list[Tie]) -> None:
    """Order and heights within stacks: sweeps to the right and back, the best order kept, then both sides at once."""
    # For each block, the blocks that edges tie it to, on which side and how far off in height.
    place = {id(b): i for i, stack in enumerate(stacks) for b in stack}
    sides: dict[int, list[tuple[int, Block, float]]] = {key: [] for key in place}
    for t in ties:
        sides[id(t.a)].append((place[id(t.b)] - place[id(t.a)], t.b, t.down_b - t.down_a))
        sides[id(t.b)].append((place[id(t.a)] - place[id(t.b)], t.a, t.down_a - t.down_b))
    for stack in stacks:
        stack.sort(key=lambda b: b.rank)
        _pack(stack, [0.0] * len(stack))
    best = _crossings(ties, place)
    order = [list(s) for s in stacks]
    # Barycentre sweeps (Sugiyama et al. 1981); the order with the fewest crossings stays.
    for sweep in range(SWEEPS):
        side = 1 if sweep % 2 else -1
        for stack in stacks[::-side]:
            wished = {id(b): _wish(b, sides[id(b)], side) for b in stack}
            _sort(stack, wished)
            _pack(stack, [wished[id(b)] for b in stack])
        crossed = _crossings(ties, place)
        if crossed < best:
            best = crossed
            order = [list(s) for s in stacks]
    for i, stack in enumerate(order):
        stacks[i][:] = stack
    # Heights by both sides, the order fixed.
    for sweep in range(SWEEPS):
        for stack in stacks[:: 1 if sweep % 2 else -1]:
            _pack(stack, [_wish(b, sides[id(b)], 0) for b in stack])


def _wish(block: Block, sides: Sequence[tuple[int, Block, float]], side: int) -> float:
    """Where a block's ties would have it, those to one side alone unless that is 0; where it is without any."""
    ends = [other.y + shift for way, other, shift in sides if side == 0 or way * side > 0]
    if ends:
        return sum(ends) / len(ends)
    return block.y


def _sort(stack: list[Block], wished: Mapping[int, float]) -> None:
    """By rank, and within a rank by the height that is wished."""
    stack.sort(key=lambda b: (b.rank, wished[id(b)]))


def _pack(stack: list[Block], wished: Sequence[float]) -> None:
    """Heights near those that are wished, in this order and apart."""
    if len({(b.first, b.last) for b in stack}) > 1:
        _skyline(stack, wished)
        return
    # Blocks one below the other: wished tops less their offsets, made rising.
    offsets = [0.0, *itertools.accumulate(b.height + GAP for b in stack[:-1])]
    for block, y, offset in zip(
        stack, isotonic([w - o for w, o in zip(wished, offsets, strict=True)]), offsets, strict=True
    ):
        block.y = y + offset


def _skyline(stack: list[Block], wished: Sequence[float]) -> None:
    """Each block as high as those before it in its columns let it, and all together near what is wished."""
    ends: dict[int, float] = {}
    for block in stack:
        span = range(block.first, block.last + 1)
        block.y = max((ends.get(c, 0.0) for c in span), default=0.0)
        ends.update(dict.fromkeys(span, block.y + block.height + GAP))
    for block in reversed([b for b in stack if b.rank < 0]):  # down to what it stands above
        under = [
            b.y for b in stack if b.y > block.y and b.first <= block.last and block.first <= b.last
        ]
        block.y = min(under, default=block.y + block.height + GAP) - GAP - block.height
    # All moved together to the mean of what is wished.
    shift = sum(w - b.y for w, b in zip(wished, stack, strict=True)) / len(stack)
    for block in stack:
        block.y += shift


def isotonic(values: Sequence[float]) -> list[float]:
    """The rising numbers nearest to these in squares, by pooling neighbours that fall (Ayer et al. 1955)."""
    pools: list[tuple[float, int]] = []
    for value in values:
        # Pool adjacent violators: a falling pair becomes its mean.
        pools.append((value, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (b, m) = pools.pop()
            (a, n) = pools.pop()
            pools.append(((a * n + b * m) / (n + m), n + m))
    return [value for value, n in pools for _ in range(n)]


def _crossings(ties: list[Tie], place: Mapping[int, int]) -> int:
    """How many pairs of stretches between the same two stacks cross."""
    between: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for t in ties:
        # Edges between the same stacks cross where their ends are in opposite order.
        pair = place[id(t.a)], place[id(t.b)]
        between.setdefault(pair, []).append((t.a.y + t.down_a, t.b.y + t.down_b))
    pairs = (p for ends in between.values() for p in itertools.combinations(ends, 2))
    return sum((p[0] - q[0]) * (p[1] - q[1]) < 0 for p, q in pairs)


# ---- places --------------------------------------------------------------------------------------


def _placed(
    graph: Graph, at: Columns, sizes: Mapping[str, Size], label: Mapping[Plate, float], root: Block
) -> Layout:
    """Columns as wide as what stands in them, plates around what they hold."""
    # The columns each plate spans, and the width of each column's widest node.
    spans = {p: (min(at[k] for k in p.nodes), max(at[k] for k in p.nodes)) for p in graph.plates}
    count = max(at.values(), default=-1) + 1
    wide = [max((sizes[k].width for k in at if at[k] == c), default=0.0) for c in range(count)]
    # Borders that begin and end at each column, plates within plates.
    before, behind = ({p: _nested(p, graph, spans, end) for p in graph.plates} for end in (0, 1))
    left = [
        max((before[p] for p in graph.plates if spans[p][0] == c), default=0) for c in range(count)
    ]
    right = [
        max((behind[p] for p in graph.plates if spans[p][1] == c), default=0) for c in range(count)
    ]
    # A plate as wide as its label needs, inner plates first.
    for p in sorted(graph.plates, key=lambda p: before[p] + behind[p]):
        a, b = spans[p]
        inside = sum(wide[a : b + 1]) + sum(
            ACROSS + PAD * (right[c] + left[c + 1]) for c in range(a, b)
        )
        wide[b] += max(0.0, label[p] + PAD - inside - PAD * (before[p] + behind[p]))
    # Left edges of the columns, with room for borders on both sides.
    lefts = [PAD]
    for c in range(count):
        lefts[c] += PAD * left[c]
        lefts.append(lefts[c] + wide[c] + PAD * right[c] + ACROSS)
    # Nodes in the middle of their column; plates around what they hold.
    middle = {k: lefts[c] + wide[c] / 2 for k, c in at.items()}
    centres = {k: (middle[k], PAD + root.centres[k]) for k in at}
    nodes = {
        k: Box(x - sizes[k].width / 2, y - sizes[k].centre, sizes[k].width, sizes[k].height)
        for k, (x, y) in centres.items()
    }
    plates = {}
    for p, (a, b) in spans.items():
        x = lefts[a] - PAD * before[p]
        top, bottom = root.plates[p]
        plates[p] = Box(x, PAD + top, lefts[b] + wide[b] + PAD * behind[p] - x, bottom - top)
    lanes = {k: (lefts[c], lefts[c] + wide[c]) for k, c in at.items()}
    width = max([b.x + b.width for b in [*nodes.values(), *plates.values()]], default=0.0) + PAD
    return Layout(
        nodes, centres, plates, lanes, _passes(root, lefts, wide), width, root.height + 2 * PAD
    )


def _nested(plate: Plate, graph: Graph, spans: Mapping[Plate, tuple[int, int]], end: int) -> int:
    """How many borders stand at one end of a plate's columns, its own and those of plates within that end there too."""
    inner = [
        p for p in graph.plates if graph.within(p, plate) and spans[p][end] == spans[plate][end]
    ]
    return 1 + max((_nested(p, graph, spans, end) for p in inner), default=0)


def _passes(
    root: Block, lefts: Sequence[float], wide: Sequence[float]
) -> dict[Edge, list[tuple[float, float]]]:
    """Where edges enter and leave the columns that they pass."""
    points_of: dict[Edge, list[tuple[float, float]]] = {}
    for key, y in root.centres.items():
        if type(key) is tuple:
            edge, first, last = key
            points_of.setdefault(edge, []).extend(
                [(lefts[first], PAD + y), (lefts[last] + wide[last], PAD + y)]
            )
    return {edge: sorted(points) for edge, points in points_of.items()}
