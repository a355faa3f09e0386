"""Discrete worlds: trees of variables (chains, images, sequences of symbols) and tables of all joint states."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor

from likeness.core.answers import Kind, Mode
from likeness.core.batch import Batch
from likeness.core.errors import BadConfig
from likeness.core.noise import Noise
from likeness.core.space import Space, binary, vector
from likeness.data.synthetic.base import Condition, SyntheticClasses, pick
from likeness.data.synthetic.conditions import condition
from likeness.numerics.draws import from_staircase, staircase

STATES = 4096  # the most joint states that a table holds


@final
class Tree(SyntheticClasses):
    """p(x | y) = prod_j p(x_j | x_parent(j), y) over the flattened event, codes below a number of states.

    Holes, completions and modes by messages from the leaves to the root (Pearl 1988), exact for any
    pattern; what lies past an item's length is a hole too, so every prefix has the distribution of a chain
    of its own length.

    Args:
        name: What reports call it.
        space: What x is, D entries.
        parents: The parent of each entry, a smaller number, -1 for a root; D of them.
        tables: Log p(x_j | parent, y) of each entry, (C, K_parent, K_j), K_parent 1 for a root.
        condition: What is given, or None.
        lengths: The shortest and longest item of a ragged chain.
    """

    def __init__(
        self,
        name: str,
        space: Space,
        parents: tuple[int, ...],
        tables: tuple[Tensor, ...],
        *,
        condition: Condition | None = None,
        lengths: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(
            name, space, condition=condition, method="sums over a tree", lengths=lengths
        )
        exact = {
            id(table): table.double().log_softmax(-1) for table in tables
        }  # shared tables stay shared
        self.parents = parents
        self.tables = tuple(exact[id(table)] for table in tables)
        # Cumulative tables, which draws search, and probabilities, which messages multiply by.
        self._stairs = {id(table): staircase(table.exp().flatten(0, 1)) for table in exact.values()}
        self._probabilities = {id(table): table.exp() for table in exact.values()}

    def _score_class(self, batch: Batch, y: Tensor) -> Tensor:
        x = batch.x.flatten(1).long()
        known = batch.present.flatten(1)
        # Entries all of whose ancestors are known need no sums.
        rooted = known.clone()
        for j, parent in enumerate(self.parents):
            rooted[:, j] &= torch.tensor(parent < 0) | rooted[:, parent]
        if bool((rooted == known).all()):  # nothing known lies below a hole
            return self._along(x, known, y)
        # Otherwise messages to the roots, which are independent of each other.
        upward = self._messages(x, known, y)
        roots = [
            self.tables[j][y, 0] + upward[j] for j, parent in enumerate(self.parents) if parent < 0
        ]
        return torch.stack([r.logsumexp(-1) for r in roots]).sum(0)

    def _along(self, x: Tensor, known: Tensor, y: Tensor) -> Tensor:
        """The sum of log p(x_j | x_parent) over what is known, whose ancestors are known too."""
        total = torch.zeros(len(x), dtype=self.dtype)
        for j, parent in enumerate(self.parents):
            # A code beyond the table's has probability 0.
            top = self.tables[j].shape[-1] - 1
            above = 0 if parent < 0 else x[:, parent].clamp(max=self.tables[j].shape[1] - 1)
            term = self.tables[j][y, above, x[:, j].clamp(max=top)]
            term = term.where(x[:, j] <= top, -torch.inf)
            total = total + term.where(known[:, j], 0.0)
        return total

    def _messages(self, x: Tensor, known: Tensor, y: Tensor, best: bool = False) -> list[Tensor]:
        """log p(what is known at j and below | x_j), (B, K_j) for each j; with `best` the maximum over what is not."""
        # Evidence at each node, (B, K_j).
        up = [
            self._shown(x[:, j], known[:, j], table.shape[-1])
            for j, table in enumerate(self.tables)
        ]
        x = torch.minimum(x, torch.tensor([table.shape[-1] - 1 for table in self.tables]))
        # Children come after their parents, so backwards every message is ready when it is needed.
        for j, parent in reversed(list(enumerate(self.parents))):
            if parent >= 0:
                pair = (x[:, j], x[:, parent]), (known[:, j], known[:, parent])
                up[parent] = up[parent] + self._message(up[j], self.tables[j], y, best, *pair)
        return up

    @staticmethod
    def _shown(x: Tensor, known: Tensor, states: int) -> Tensor:
        """0 at what a known entry is and -inf elsewhere, (B, K)."""
        return torch.where(
            (x[:, None] == torch.arange(states)) | ~known[:, None], 0.0, -torch.inf
        ).double()

    def _message(
        self,
        up: Tensor,
        table: Tensor,
        y: Tensor,
        best: bool,
        x: tuple[Tensor, Tensor],
        known: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Log of the sum (or maximum) over x_j of p(x_j | parent) e^up, (B, K_parent): one term where x_j is known.

        x and known are of j and of its parent; where all rows know both, only what the parent is is
        asked for, (B, 1).
        """
        (own, above) = x
        (seen, told) = known
        # x_j known: one term p(x_j | parent) e^up.
        term = up.gather(-1, own[:, None])
        if bool((seen & told).all()):
            return table[y, above, own][:, None] + term
        one = table[y, :, own] + term
        if bool(seen.all()):
            return one
        # Max-product for the mode, sum-product for probabilities.
        if best:
            many = torch.stack(
                [(t + u).amax(-1) for t, u in zip(table[y], up[:, None], strict=True)]
            )
        else:
            many = self._sum(up, table, y)
        return torch.where(seen[:, None], one, many)

    def _sum(self, up: Tensor, table: Tensor, y: Tensor) -> Tensor:
        # Log-sum-exp with the largest term taken out; a row of -inf keeps 0 there.
        top = up.amax(-1, keepdim=True)
        top = top.where(top > -torch.inf, 0.0)
        weight = (up - top).exp()
        total = up.new_zeros((len(up), table.shape[1]))
        for c in y.unique().tolist():  # a product for every class keeps a row's arithmetic its own
            total = torch.where(
                (y == c)[:, None], weight @ self._probabilities[id(table)][c].T, total
            )
        return total.log() + top

    def _fill(self, batch: Batch, y: Tensor, noise: Noise) -> Tensor:
        x = batch.x.flatten(1).long()
        known = batch.present.flatten(1)
        u = noise.uniform("x", len(self.parents))
        if not bool(known.any()):
            return self._from_the_root(u, y).reshape(batch.x.shape).to(self.dtype)
        # Messages upwards, then draws downwards: p(x_j | x_parent, what lies below).
        up = self._messages(x, known, y)
        out = torch.empty_like(x)
        for j, parent in enumerate(self.parents):
            above = 0 if parent < 0 else out[:, parent]
            out[:, j] = pick(self.tables[j][y, above] + up[j], u[:, j])
        return torch.where(known, x, out).reshape(batch.x.shape).to(self.dtype)

    def _from_the_root(self, u: Tensor, y: Tensor) -> Tensor:
        """Every entry by one search in the staircase of its table, u and the answer (B, D)."""
        out = torch.empty(u.shape, dtype=torch.int64)
        for j, (parent, table) in enumerate(zip(self.parents, self.tables, strict=True)):
            # The row of the flattened table (class, parent's value).
            row = y * table.shape[1] + (0 if parent < 0 else out[:, parent])
            out[:, j] = from_staircase(self._stairs[id(table)], table.shape[2], row, u[:, j])
        return out

    def _mode(self, batch: Batch, settings: Any) -> Mode:
        x = batch.x.flatten(1).long()
        known = batch.present.flatten(1)
        # The likeliest class, then max-product: argmax downwards along the maxima.
        y = self._log_class(batch.given, len(batch)).argmax(-1)
        up = self._messages(x, known, y, best=True)
        out = torch.empty_like(x)
        for j, parent in enumerate(self.parents):
            above = 0 if parent < 0 else out[:, parent]
            out[:, j] = (self.tables[j][y, above] + up[j]).argmax(-1)
        filled = torch.where(known, x, out).reshape(batch.x.shape).to(self.dtype)
        if self.condition is None or _certain(self, batch):
            kind = Kind.EXACT
        else:
            kind = Kind.ESTIMATE
        return Mode(batch.with_x(filled), kind, "max-product messages")

    def _class_entropy(self, y: int) -> float:
        """Sum over j of P(item reaches j) E[H(x_j | parent)], marginals passed down the tree."""
        low, high = self.lengths or (0, 0)
        down: list[Tensor] = []
        total = 0.0
        # The chain rule: H = sum_j E[H(x_j | x_parent)], with marginals p(x_parent) passed down.
        for j, parent in enumerate(self.parents):
            p = self.tables[j][y].exp()
            above = torch.ones(1, dtype=self.dtype) if parent < 0 else down[parent]
            down.append(above @ p)
            # An entry past the end adds nothing: weighted by the chance that items are so long.
            step = j // max(math.prod(self.space.layout[1:]), 1)
            if self.lengths is None:
                reached = 1.0
            else:
                reached = min(1.0, (high - step) / (high - low + 1))
            total -= reached * float((above[:, None] * torch.special.xlogy(p, p)).sum())
        return total


@final
class Joint(SyntheticClasses):
    """All joint states of a few discrete variables and their probabilities; everything by enumeration.

    Args:
        name: What reports call it.
        space: What x is: a vector of discrete entries.
        log_p: Log p(state | y), (C, S), states in the order of a cartesian product.
        condition: What is given, or None.
        prior: p(y), (C,).

    Raises:
        BadConfig: If there are more than 4,096 states.
    """

    def __init__(
        self,
        name: str,
        space: Space,
        log_p: Tensor,
        *,
        condition: Condition | None = None,
        prior: Tensor | None = None,
    ) -> None:
        super().__init__(name, space, condition=condition, prior=prior, method="enumeration")
        if log_p.shape[-1] > STATES:
            raise BadConfig(f"{log_p.shape[-1]} joint states", do=f"enumerate at most {STATES}")
        self.log_p = log_p.double().log_softmax(-1)
        self.table = states_of(space)

    def _log_states(self, batch: Batch, y: Tensor) -> Tensor:
        """log p(state, what is observed | y), (B, S)."""
        # States that agree with what is observed.
        fits = ((batch.x[:, None] == self.table) | ~batch.present[:, None]).all(-1)
        return self.log_p[y].where(fits, -torch.inf)

    def _score_class(self, batch: Batch, y: Tensor) -> Tensor:
        return self._log_states(batch, y).logsumexp(-1)

    def _fill(self, batch: Batch, y: Tensor, noise: Noise) -> Tensor:
        return self.table[pick(self._log_states(batch, y), noise.uniform("x", 1)[:, 0])]

    def _mode(self, batch: Batch, settings: Any) -> Mode:
        each = [self._log_states(batch, torch.full_like(batch.ids, y)) for y in range(self.classes)]
        log_class = self._log_class(batch.given, len(batch))
        # p(state) summed over classes, and its largest.
        best = (torch.stack(each, -1) + log_class[:, None]).logsumexp(-1).argmax(-1)
        return Mode(batch.with_x(self.table[best]), Kind.EXACT, "enumeration")

    def _class_entropy(self, y: int) -> float:
        p = self.log_p[y].exp()
        return -float(torch.special.xlogy(p, p).sum())


def states_of(space: Space) -> Tensor:
    """Every joint state of a discrete vector space, (S, D) float64, the last entry fastest."""
    axes = [torch.arange(int(v.states), dtype=torch.float64) for v in space.columns]
    return torch.cartesian_prod(*axes).reshape(-1, len(axes))


def chain(*, n: int = 8, first: float = 0.4, stay: float = 0.8) -> Tree:
    """Bits x_1..x_n: P(x_1 = 1) = first, and each next bit repeats the last one with probability stay."""
    root = torch.tensor([[[1 - first, first]]], dtype=torch.float64).log()
    step = torch.tensor([[[stay, 1 - stay], [1 - stay, stay]]], dtype=torch.float64).log()
    return Tree("chain", vector(n, binary()), tuple(range(-1, n - 1)), (root,) + (step,) * (n - 1))


def bayes_net(*, given: str | None = None) -> Joint:
    """Five bits of a wet street; the class is whether it rains.

    Rain makes the sprinkler unlikely, either wets the grass, rain makes the street slippery, and a
    dog stays in for rain and for wet grass.
    """
    space = vector(5, binary(), ("rain", "sprinkler", "wet", "slippery", "dog_in"))
    rain, sprinkler, wet, slippery, dog = states_of(space).long().unbind(-1)
    # Each bit's chance of 1 given its parents, for every joint state, (32,).
    chances = (
        torch.tensor(0.3, dtype=torch.float64),
        torch.tensor([0.5, 0.1], dtype=torch.float64)[rain],
        torch.tensor([[0.05, 0.85], [0.8, 0.98]], dtype=torch.float64)[rain, sprinkler],
        torch.tensor([0.1, 0.7], dtype=torch.float64)[rain],
        torch.tensor([[0.2, 0.45], [0.6, 0.9]], dtype=torch.float64)[rain, wet],
    )
    log_p = torch.zeros(len(rain), dtype=torch.float64)
    # The joint is their product.
    for bit, p in zip((rain, sprinkler, wet, slippery, dog), chances, strict=True):
        log_p = log_p + torch.where(bit == 1, p, 1 - p).log()
    class_condition = condition(given, 2)
    if class_condition is None:
        return Joint("bayes_net", space, log_p[None])
    # The class is rain itself, so a state belongs to one class.
    each = torch.stack([log_p.where(rain == y, -torch.inf) for y in range(2)])
    return Joint(
        "bayes_net", space, each, condition=class_condition, prior=each.logsumexp(-1).exp()
    )


def _certain(world: SyntheticClasses, batch: Batch) -> bool:
    """Whether what is given leaves one class for every row."""
    return bool((world._log_class(batch.given, len(batch)).amax(-1) > -1e-12).all())


DISCRETE: dict[str, Callable[..., SyntheticClasses]] = {"chain": chain, "bayes_net": bayes_net}
