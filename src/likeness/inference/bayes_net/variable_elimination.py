"""Directed graphs of categorical variables: tables fitted by counting, queried by variable elimination."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from likeness.core.errors import Unsupported
from likeness.core.learner import Parameters
from likeness.core.noise import Noise
from likeness.inference.bayes_net.graph import Edges, Net, Parents, View, order_of
from likeness.numerics.draws import choose
from likeness.numerics.patterns import patterns_of

TINY = 1e-300  # the least probability of a code, so that logarithms stay finite
MOST = 1 << 20  # numbers of one row's largest table
ROOM = 1 << 23  # numbers of a chunk's largest table


@dataclass(frozen=True, eq=False)
class Factor:
    """A table over the variables of its scope, in rising order: log values (N or 1, K, K, ...)."""

    scope: tuple[int, ...]
    value: Tensor


@dataclass(frozen=True, eq=False)
class Part:
    """Rows with the same missing entries: their places, what is hidden, what of it is barren, the others in order."""

    rows: Tensor
    hidden: set[int]
    without: set[int]
    order: list[int]


Steps = list[tuple[int, Factor]]
Combine = Callable[[Tensor, int], Tensor]
Pick = Callable[[Tensor, int, Tensor], Tensor]


class Graph(Net):
    """p(x) = prod_j p(x_j | parents of j), each a table; what is hidden is eliminated (Zhang & Poole 1994).

    Args:
        sizes: The states of each variable.
        parents: The parents of each variable.
        smoothing: The weight of rows spread evenly over all states, which tables count besides
            the data's.
    """

    def __init__(self, sizes: list[int], parents: Parents, smoothing: float) -> None:
        self.sizes = sizes
        self.parents = parents
        self.smoothing = smoothing
        self.scopes = [(*above, j) for j, above in enumerate(parents)]
        self.order = order_of(parents)

    def init(self, variance: Tensor | None = None) -> Parameters:
        """Uniform tables, the variable's own axis last."""
        return {
            f"t{j}": self._logs(torch.zeros(self._shape(j), dtype=torch.float64))
            for j in range(len(self.sizes))
        }

    def _shape(self, j: int) -> tuple[int, ...]:
        return tuple(self.sizes[i] for i in self.scopes[j])

    def _logs(self, counts: Tensor) -> Tensor:
        # A row spread evenly over all cells of the table, weighing `smoothing`.
        smoothed = counts + self.smoothing / counts.numel()
        total = smoothed.sum(-1, keepdim=True)
        p = torch.where(total > 0, smoothed / total.clamp(min=TINY), 1 / counts.shape[-1])
        return p.clamp(min=TINY).log()

    def start(
        self, rows: View, weight: Tensor, noise: Noise, restarts: int, trial: int
    ) -> Parameters:
        """Uniform tables: with nothing missing one pass finds the best ones."""
        return self.init()

    # ---- learning --------------------------------------------------------------------------------

    def e_step(self, rows: View, weight: Tensor, now: Parameters) -> Parameters:
        """Counts of each variable with its parents, expected ones where entries are hidden.

        Where nothing known lies below a variable a row knows nothing of its table, and is not
        counted.
        """
        x, known = rows
        sums = {"weight": weight.sum()}
        if bool(known.all()):
            counts = {f"t{j}": self._counted(x, weight, j) for j in range(len(self.sizes))}
            return counts | sums | {"objective": self.log_prob(rows, now) @ weight}
        with (
            torch.enable_grad()
        ):  # the derivative by a logarithm is the expected count (Darwiche 2003, section 4)
            tables = {name: t.detach().requires_grad_() for name, t in now.items()}
            objective = self.log_prob(rows, tables) @ weight
            slopes = torch.autograd.grad(objective, list(tables.values()), allow_unused=True)
        counts = {
            n: torch.zeros_like(now[n]) if c is None else c
            for n, c in zip(tables, slopes, strict=True)
        }
        return counts | sums | {"objective": objective.detach()}

    def _counted(self, x: Tensor, weight: Tensor, j: int) -> Tensor:
        # Mixed-radix number of each row's cell, then a weighted histogram.
        place = torch.zeros_like(x[:, 0])
        shape = self._shape(j)
        for i, size in zip(self.scopes[j], shape, strict=True):
            place = place * size + x[:, i]
        return torch.bincount(place, weight.double(), math.prod(shape)).reshape(shape)

    def m_step(self, sums: Parameters, before: Parameters) -> Parameters:
        """Shares of smoothed counts."""
        return {name: self._logs(sums[name]) for name in before}

    # ---- elimination -----------------------------------------------------------------------------

    def _barren(self, hidden: set[int]) -> set[int]:
        """Hidden variables that nothing known lies below: they sum to 1 (Shachter 1986)."""
        barren: set[int] = set()
        children: dict[int, list[int]] = {i: [] for i in range(len(self.sizes))}
        for j, above in enumerate(self.parents):
            for i in above:
                children[i].append(j)
        # Children before parents: a hidden variable is barren if all below it are.
        for j in reversed(self.order):
            if j in hidden and barren.issuperset(children[j]):
                barren.add(j)
        return barren

    def _factors(
        self, x: Tensor, hidden: set[int], without: set[int], now: Parameters
    ) -> list[Factor]:
        """The tables of rows (N, D) at their known codes."""
        factors = []
        for j, scope in enumerate(self.scopes):
            if j in without:
                continue
            # The table at the known codes of each row, over its hidden variables in rising order.
            free = sorted(i for i in scope if i in hidden)
            fixed = [i for i in scope if i not in hidden]
            table = now[f"t{j}"].permute([scope.index(i) for i in (*fixed, *free)])
            factors.append(
                Factor(tuple(free), table[tuple(x[:, i] for i in fixed)] if fixed else table[None])
            )
        return factors

    def _plan(self, hidden: set[int], without: set[int]) -> tuple[list[int], int]:
        """The order of elimination that adds the fewest edges at each step, and the numbers of its largest table.

        Raises:
            Unsupported: Where a table would grow too large.
        """
        # The moral graph of the hidden variables: those that share a table are neighbours.
        near: dict[int, set[int]] = {}
        for j, scope in enumerate(self.scopes):
            if j not in without:
                free = hidden.intersection(scope)
            else:
                free = set()
            for i in free:
                near.setdefault(i, set()).update(free)

        # Edges that eliminating i would add, and the numbers of the table that it makes.
        def cost(i: int) -> tuple[int, int]:
            fill = sum(b not in near[a] for a in near[i] for b in near[i])
            return fill, math.prod(self.sizes[a] for a in near[i])

        order = []
        widest = 1
        # Greedy min-fill.
        while near:
            costs = {i: cost(i) for i in near}
            best = min(near, key=costs.__getitem__)
            widest = max(widest, costs[best][1])
            # Eliminating a variable makes its neighbours neighbours of each other.
            around = near.pop(best) - {best}
            for a in around:
                near[a] = (near[a] | around) - {best}
            order.append(best)
        if widest > MOST:
            raise Unsupported(
                f"what is hidden hangs together too closely: a table of {widest:.3g} numbers a row",
                do="let more be known, or give fewer parents",
            )
        return order, widest

    def _eliminate(
        self, part: Part, x: Tensor, now: Parameters, combine: Combine
    ) -> tuple[Tensor, Steps]:
        """Log of the sum over hidden variables, (N,), and the product that each was eliminated from, in order."""
        factors = self._factors(x[part.rows], part.hidden, part.without, now)
        steps = []
        # Multiply what mentions v, sum v out (or maximise), and put the result back.
        for v in part.order:
            product = _product([f for f in factors if v in f.scope])
            factors = [f for f in factors if v not in f.scope]
            place = product.scope.index(v)
            rest = product.scope[:place] + product.scope[place + 1 :]
            factors.append(Factor(rest, combine(product.value, place + 1)))
            steps.append((v, product))
        left = torch.zeros(len(part.rows), dtype=torch.float64)
        return sum((f.value for f in factors), left), steps

    def _parts(self, known: Tensor, *, every: bool = False) -> Iterator[Part]:
        """Chunks of rows with the same missing entries; `every` hidden variable is eliminated, or few."""
        patterns, of = patterns_of(known)
        for i, pattern in enumerate(patterns):
            hidden = set((~pattern).nonzero().flatten().tolist())
            without = set() if every else self._barren(hidden)
            order, widest = self._plan(hidden, without)
            for rows in (of == i).nonzero().flatten().split(max(8, ROOM // widest)):
                yield Part(rows, hidden, without, order)

    # ---- answers ---------------------------------------------------------------------------------

    def log_prob(self, rows: View, now: Parameters) -> Tensor:
        """log p of the observed entries, the hidden ones summed over."""
        x, known = rows
        parts = list(self._parts(known))
        values = [self._eliminate(part, x, now, _sum)[0] for part in parts]
        return torch.cat(values)[torch.cat([part.rows for part in parts]).argsort()]

    def draw(self, rows: View, now: Parameters, noise: Noise) -> Tensor:
        """Hidden variables in reverse order of elimination, then barren ones, parents before children."""
        x, known = rows
        n = noise.rows // len(x)
        u = noise.uniform("x", len(self.sizes)).double()
        codes = x.repeat(n, 1)

        def pick(at: Tensor, v: int, logits: Tensor) -> Tensor:
            return choose(logits.log_softmax(-1), u[at, v])

        for part in self._parts(known):
            # Each row n times, in draw-major order.
            places = (torch.arange(n)[:, None] * len(x) + part.rows).flatten()
            steps = self._eliminate(part, x, now, _sum)[1]
            self._back(codes, places, torch.arange(len(part.rows)).repeat(n), steps, pick)
            # Barren variables follow their parents' tables.
            for j in (j for j in self.order if j in part.without):
                above = tuple(codes[places, i] for i in self.parents[j])
                codes[places, j] = pick(
                    places,
                    j,
                    now[f"t{j}"][above] if above else now[f"t{j}"].expand(len(places), -1),
                )
        return codes

    def mode(self, rows: View, now: Parameters) -> tuple[Tensor, bool]:
        """The most probable codes, by maximising in place of summing."""
        x, known = rows
        best = x.clone()
        for part in self._parts(known, every=True):
            steps = self._eliminate(part, x, now, _best)[1]
            row = torch.arange(len(part.rows))
            self._back(best, part.rows, row, steps, lambda rows, v, logits: logits.argmax(-1))
        return best, True

    def _back(self, x: Tensor, rows: Tensor, row: Tensor, steps: Steps, pick: Pick) -> None:
        """Pick the variables of rows of x in reverse order of elimination, each given those that are picked already."""
        for v, product in reversed(steps):
            place = product.scope.index(v)
            value = product.value.movedim(place + 1, -1)
            others = tuple(x[rows, i] for i in product.scope if i != v)
            # A conditional of v: the product at the codes of the others, (rows, K).
            x[rows, v] = pick(rows, v, value[(row if len(value) > 1 else row * 0, *others)])

    def free_parameters(self, now: Parameters) -> int:
        """(K_j - 1) times the states of its parents, for each variable."""
        return sum(math.prod(self._shape(j)[:-1]) * (size - 1) for j, size in enumerate(self.sizes))

    def edges(self, now: Parameters) -> list[Edges]:
        """The edges (parent, child) of the graph."""
        return [[(i, j) for j, above in enumerate(self.parents) for i in above]]


def _product(factors: list[Factor]) -> Factor:
    """The product of tables over the union of their scopes."""
    scope = tuple(sorted({i for f in factors for i in f.scope}))
    total = torch.zeros((), dtype=torch.float64)
    for f in factors:
        # Each factor's axes at the places of its variables in the union.
        shape = iter(f.value.shape[1:])
        total = total + f.value.reshape(
            len(f.value), *[next(shape) if i in f.scope else 1 for i in scope]
        )
    return Factor(scope, total)


def _sum(value: Tensor, axis: int) -> Tensor:
    return value.logsumexp(axis)


def _best(value: Tensor, axis: int) -> Tensor:
    return value.amax(axis)
