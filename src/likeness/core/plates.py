"""A distribution's variables and what depends on what, as diagrams with plates say it; nothing here is drawn."""

from __future__ import annotations

import graphlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from likeness.core.errors import LikenessError, Unsupported
from likeness.core.space import Space

Kind = Literal["observed", "given", "latent", "parameter"]
Tie = Literal["depends", "map", "bijection", "steps", "link", "encoder"]
FORWARD = ("depends", "map", "bijection", "steps")  # ties that say which variable comes first
MOST_KINDS = 3  # kinds of columns that are named

# The evaluate layer fills this with the function of a Graph that draws it.
DRAWERS: list[Callable[[Graph], str]] = []


class Learned(Protocol):
    """A model, as far as its graph tells of it."""

    @property
    def space(self) -> Space:
        """What x is."""

    @property
    def given_space(self) -> Space | None:
        """What is given, or None."""

    def count(self) -> int:
        """The number of free parameters."""


@dataclass(frozen=True)
class Node:
    """A variable of a distribution, or its parameters.

    Args:
        name: Its symbol, or a column's name.
        kind: Whether its values are seen, given, never seen, or learned.
        space: What its values are, None where that says nothing.
        index: What stands below its symbol: z_t is Node("z", "latent", index="t").
        note: A few words more.
    """

    name: str
    kind: Kind
    space: Space | None = None
    index: str = ""
    note: str = ""

    @property
    def key(self) -> str:
        """What edges and plates call it."""
        if self.index:
            return f"{self.name}_{self.index}"
        return self.name


@dataclass(frozen=True)
class Edge:
    """What ties two variables, by their keys.

    Args:
        tail: The one that comes first.
        head: The one whose distribution depends on it.
        tie: depends: head is drawn given tail; map: head is a function of it; bijection: and tail one
            of head; steps: with several like steps between; link: neither comes first; encoder:
            head is guessed from tail, beside the distribution.
    """

    tail: str
    head: str
    tie: Tie = "depends"


@dataclass(frozen=True)
class Plate:
    """Variables that there are several of, and how many."""

    label: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """Variables, their edges and their plates.

    Raises:
        LikenessError: Where two variables have one key, what is named is none, edges go in a
            circle, or plates cross.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...] = ()
    plates: tuple[Plate, ...] = ()

    def __post_init__(self) -> None:
        wrong = next(
            (why for why in (*self._unknown(), *self._crossing(), *self._circle()) if why), None
        )
        if wrong:
            raise LikenessError(
                wrong, where="graph()", do="mend what the family says of its variables"
            )

    def _unknown(self) -> Iterator[str]:
        # A key that occurs twice, a key that no variable has, a plate without variables.
        keys = [n.key for n in self.nodes]
        named = [k for e in self.edges for k in (e.tail, e.head)] + [
            k for p in self.plates for k in p.nodes
        ]
        yield from (
            f"two variables are called {k}" for k in dict.fromkeys(keys) if keys.count(k) > 1
        )
        yield from (f"there is no variable {k}" for k in named if k not in set(keys))
        yield from (f"a plate of {p.label} holds nothing" for p in self.plates if not p.nodes)

    def _crossing(self) -> Iterator[str]:
        for a, b in itertools.combinations(self.plates, 2):
            if set(a.nodes) & set(b.nodes) and not (self.within(a, b) or self.within(b, a)):
                yield f"the plates of {a.label} and of {b.label} cross"

    def _circle(self) -> Iterator[str]:
        # The parents of every variable; a cycle among them has no topological order.
        above: dict[str, set[str]] = {n.key: set() for n in self.nodes}
        for edge in self.edges:
            if edge.tie in FORWARD:
                above.setdefault(edge.head, set()).add(edge.tail)
        try:
            graphlib.TopologicalSorter(above).prepare()
        except graphlib.CycleError as error:
            yield f"edges go in a circle: {' -> '.join(error.args[1])}"

    def within(self, inner: Plate, outer: Plate) -> bool:
        """Whether one plate lies within another; of two that hold the same the one named later does."""
        a = set(inner.nodes)
        b = set(outer.nodes)
        return a < b or (a == b and self.plates.index(inner) > self.plates.index(outer))

    def of(self, *kinds: Kind) -> tuple[Node, ...]:
        """The variables of some kinds."""
        return tuple(n for n in self.nodes if n.kind in kinds)

    def to_svg(self) -> str:
        """The diagram as SVG: grey what is seen, white what is not, a dot for parameters, a box for each plate.

        Raises:
            Unsupported: Where nothing that draws is loaded.
        """
        if not DRAWERS:
            raise Unsupported("diagrams need likeness.evaluate", do="import likeness.evaluate")
        return DRAWERS[0](self)

    _repr_svg_ = to_svg


# ---- what families say it with -------------------------------------------------------------------


def given(model: Learned) -> tuple[Node, ...]:
    """The variable that is given: y where it is a label; none where nothing is."""
    space = model.given_space
    if space is None:
        return ()
    names = space.names or ()
    return (
        Node(
            "given" if space.label is None else "y",
            "given",
            space,
            note=names[0] if len(names) == 1 else "",
        ),
    )


def edges(tails: Sequence[Node], *heads: str, tie: Tie = "depends") -> tuple[Edge, ...]:
    """An edge from each of some variables to each of others."""
    return tuple(Edge(n.key, head, tie) for n in tails for head in heads)


def theta(model: Learned) -> tuple[Node, ...]:
    """The parameters; none where nothing is learned."""
    count = model.count()
    if count:
        return (Node("θ", "parameter", note=f"{count:,} number{'' if count == 1 else 's'}"),)
    return ()


def rows(
    model: Learned,
    *more: Node,
    ties: Sequence[Edge] = (),
    x: Node | None = None,
    under: Sequence[str] | None = None,
    learned: Sequence[str] | None = None,
    inner: Sequence[Plate] = (),
) -> Graph:
    """The graph of rows that are alike: all variables but θ in a plate of N.

    Args:
        model: Whose Spaces and count of parameters they are.
        more: Other variables of a row.
        ties: Edges beyond those of `under` and `learned`.
        x: What is observed, x as a whole unless told.
        under: Keys of what depends on what is given, x unless told.
        learned: Keys of what depends on θ, x unless told.
        inner: Plates within a row.
    """
    # Defaults: x depends on the condition and on the parameters.
    x = x or Node("x", "observed", model.space)
    above = given(model)
    parameters = theta(model)
    within = (*more, *above, x)
    arrows = (*ties, *edges(above, *([x.key] if under is None else under)))
    arrows += edges(parameters, *([x.key] if learned is None else learned))
    return Graph((*within, *parameters), arrows, (plate_of_rows(model, within), *inner))


def hidden_chain(model: Learned, state: Space, seen: Space, *, note: str = "") -> Graph:
    """The graph of z_t-1 -> z_t -> x_t, states behind the steps of x."""
    z, before = (Node("z", "latent", state, index) for index in ("t", "t-1"))
    x = Node("x", "observed", seen, "t", note)
    ties = (Edge(before.key, z.key), Edge(z.key, x.key))
    inner = Plate(steps(model.space), (z.key, x.key))
    return rows(model, before, z, x=x, ties=ties, learned=(z.key, x.key), inner=(inner,))


def plate_of_rows(model: Learned, nodes: Sequence[Node], noun: str = "row") -> Plate:
    """N rows, or documents, as many as it learned from."""
    facts: dict[str, Any] = getattr(model, "facts", {})
    count = facts.get("data", {}).get("rows")
    return Plate(
        f"N {noun}s" if count is None else f"N = {count:,} {noun}s", tuple(n.key for n in nodes)
    )


def steps(space: Space, index: str = "t") -> str:
    """The label of a plate of steps, or of entries where there is no time: T where items have as many as they have."""
    if "time" in space.axes and index == "t":
        many = space.layout[space.axes.index("time")]
    else:
        many = space.dims
    return f"{index} = 1 … {'T' if space.ragged else f'{many:,}'}"


def entry(space: Space) -> Space | None:
    """One entry of a Space, None where entries are of several types."""
    one = space.homogeneous and len(space.variables) > 0
    if one:
        return Space(axes=("column",), shape=(1,), variables=space.variables[:1])
    return None


# ---- values in words -----------------------------------------------------------------------------

_KINDS: dict[str, Callable[[Any], str]] = {
    "real": lambda v: "real" if v.resolution is None else "rounded real",
    "ordinal": lambda v: (
        f"{v.start} to {v.start + v.levels - 1}" if v.levels > 2 else f"{v.start} or {v.start + 1}"
    ),
    "nominal": lambda v: f"one of {v.categories}",
    "count": lambda v: "count",
}


def sizes(space: Space) -> str:
    """The shape of one item: 3, or 1 × 8 × 8, or ≤ 12 × 3 where the first size is each item's own."""
    # A ragged first axis has no size of its own.
    if space.ragged:
        first = [f"≤ {space.longest}" if space.longest else "T"]
    else:
        first = []
    return " × ".join(first + [str(s) for s in space.shape[len(first) :]])


def kinds(space: Space) -> str:
    """What its entries are."""
    words = list(dict.fromkeys(_KINDS[v.type](v) for v in space.variables))
    return ", ".join([*words[:MOST_KINDS], *(["…"] if len(words) > MOST_KINDS else [])])


def values(node: Node) -> str:
    """A node's values in a few words, its shape in brackets: real [1 × 8 × 8]."""
    if node.space is None:
        return ""
    alone = not node.space.ragged and node.space.dims == 1
    if alone:
        return kinds(node.space)
    return f"{kinds(node.space)} [{sizes(node.space)}]"
