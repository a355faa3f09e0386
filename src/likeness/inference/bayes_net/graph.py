"""Directed graphs of variables: their order and levels, maximum spanning trees, and the interface of every network."""

from __future__ import annotations

import graphlib
from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from scipy.sparse import csgraph
from torch import Tensor

from likeness.core.errors import BadConfig
from likeness.core.learner import Parameters
from likeness.core.noise import Noise
from likeness.inference.component import Density

Edges = list[tuple[int, int]]
Parents = tuple[tuple[int, ...], ...]
View = tuple[Tensor, Tensor]  # values, and which of them are observed


class Net(Density[View]):
    """The distribution of D variables along directed edges; rows are x (N, D) and which of it is observed.

    Attributes:
        holes: Whether some of the training rows have missing entries; set before anything is learned.
    """

    holes: bool = False

    @abstractmethod
    def start(
        self, rows: View, weight: Tensor, noise: Noise, restarts: int, trial: int
    ) -> Parameters:
        """Parameters to begin with, of some of the rows; the best of several starts where there is a choice."""

    @abstractmethod
    def edges(self, now: Parameters) -> list[Edges]:
        """The edges (parent, child) of each component's graph."""


def looked_up(names: Sequence[str], given: dict[str, tuple[str | int, ...]]) -> Parents:
    """The parents of each variable by number.

    Raises:
        BadConfig: Where a name is no variable, or edges go in a circle.
    """
    places = {name: i for i, name in enumerate(names)}
    parents: list[tuple[int, ...]] = [()] * len(names)
    for child, above in given.items():
        every = [_place(places, name) for name in (child, *above)]
        unknown = [str(name) for name, at in zip((child, *above), every, strict=True) if at is None]
        if unknown:
            raise BadConfig(
                f"parents= speaks of {unknown[0]}, which is no variable: they are {', '.join(names[:8])}"
            )
        numbers = tuple(at for at in every if at is not None)
        parents[numbers[0]] = tuple(sorted(set(numbers[1:])))
    # Topological order fails where edges form a circle, and names it.
    try:
        order_of(tuple(parents))
    except graphlib.CycleError as error:
        ring = " -> ".join(names[i] for i in error.args[1])
        raise BadConfig(
            f"parents= goes in a circle ({ring}): leave one of its edges out"
        ) from error
    return tuple(parents)


def _place(places: dict[str, int], name: str | int) -> int | None:
    if name in places:
        return places[str(name)]
    number = int(name) if str(name).isdecimal() else -1
    if 0 <= number < len(places):
        return number
    return None


def order_of(parents: Parents) -> list[int]:
    """All variables, parents before children."""
    return list(graphlib.TopologicalSorter(dict(enumerate(parents))).static_order())


def levels(parent: Tensor) -> list[Tensor]:
    """The nodes of each depth of a forest, the roots first; parent int64 (S,), -1 for a root."""
    # Climb from all nodes at once, a level at a time, until every one has passed its root.
    depth = torch.zeros_like(parent)
    at = parent
    while bool((at >= 0).any()):
        depth = depth + (at >= 0)
        at = torch.where(at >= 0, parent[at.clamp(min=0)], -1)
    return [(depth == d).nonzero().flatten() for d in range(int(depth.max()) + 1)]


def spanning(weight: Tensor) -> Tensor:
    """The spanning tree of greatest summed weight (D, D), as the parent of each node, int64 (D,), -1 for the root.

    Only the order of the weights decides (Kruskal 1956), so that ranks stand for them: no weight is
    lost to rounding or taken for an absent edge. The root is the middle of the longest path, which
    makes for the fewest levels.
    """
    d = len(weight)
    if d == 1:
        return torch.full((1,), -1)
    # Ranks from 1, the greatest weight first, as costs of a minimum spanning tree.
    row, column = np.triu_indices(d, 1)
    cost = np.zeros((d, d))
    ranks = np.empty(len(row))
    ranks[np.argsort(-weight.numpy()[row, column], kind="stable")] = np.arange(1, len(row) + 1)
    cost[row, column] = ranks
    tree = csgraph.minimum_spanning_tree(cost)
    # The longest path of a tree: the farthest node from
    # any node is one end, the farthest from it the other.
    end = int(csgraph.breadth_first_order(tree, 0, directed=False)[0][-1])
    order, above = csgraph.breadth_first_order(tree, end, directed=False)
    # Walk back along it, and root the tree in its middle.
    path = [int(order[-1])]
    while path[-1] != end:
        path.append(int(above[path[-1]]))
    above = csgraph.breadth_first_order(tree, path[len(path) // 2], directed=False)[1]
    return torch.from_numpy(above.astype(np.int64)).clamp(min=-1)
