"""Mixtures of trees of categorical variables: learned by Chow and Liu's algorithm and EM, queried by messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from likeness.core.learner import Parameters
from likeness.core.noise import Noise
from likeness.inference.bayes_net.graph import Edges, Net, View, levels, spanning
from likeness.inference.mixture import kmeans
from likeness.inference.mixture.em import NEVER
from likeness.inference.starts import best_start
from likeness.numerics.draws import choose

TINY = 1e-300  # the least probability of a code, so that logarithms stay finite
ROOM = 1 << 22  # numbers of a chunk's messages
BLUR = 0.3  # of a start's shares of the components
LLOYD = 5

Pick = Callable[[Tensor, Tensor, Tensor], Tensor]


class Trees(Net):
    """p(x) = sum_m w_m prod_j p_m(x_j | x_parent), each of M components with a tree of its own (Meila & Jordan 2000).

    All trees are one forest of S = M * D nodes, and messages go level by level through all of them
    at once. A table (K, K) holds log p(x_j = b | x_parent = a) in [a, b]; a root's rows are all the
    same, and codes that a variable does not have are NEVER.

    Args:
        sizes: The states of each variable.
        components: M.
        smoothing: The weight of rows spread evenly over all states, which every component counts
            besides its own.
        parent: The tree, int64 (D,), -1 for a root; None where it is to be learned.
    """

    def __init__(
        self, sizes: list[int], components: int, smoothing: float, parent: Tensor | None = None
    ) -> None:
        self.d = len(sizes)
        self.k = max(sizes)
        self.m = components
        self.sizes = torch.tensor(sizes)
        # `variable` and `code` list the indicators of all codes but each variable's first.
        self.smoothing = smoothing
        self.tree = parent
        self.legal = torch.arange(self.k) < self.sizes[:, None]
        self.variable, self.code = (self.legal & (torch.arange(self.k) > 0)).nonzero(as_tuple=True)

    def init(self, variance: Tensor | None = None) -> Parameters:
        """Uniform tables."""
        if self.tree is None:
            parent = torch.full((self.m, self.d), -1)
        else:
            parent = self.tree.repeat(self.m, 1)
        table = self._logs(torch.zeros(self.m, self.d, self.k, self.k, dtype=torch.float64))
        return {
            "parent": parent,
            "table": table,
            "log_weight": torch.zeros(self.m).double().log_softmax(0),
        }

    def _logs(self, counts: Tensor) -> Tensor:
        """log p(b | a) of counts (M, D, K, K) that are smoothed already; even where there are none."""
        # Shares of each row, even where nothing was counted;
        # codes beyond a variable's states are NEVER.
        total = counts.sum(-1, keepdim=True)
        even = (self.legal / self.sizes[:, None])[None, :, None, :].double()
        p = torch.where(total > 0, counts / total.clamp(min=TINY), even)
        return torch.where(self.legal[None, :, None, :], p.clamp(min=TINY).log(), NEVER)

    # ---- messages --------------------------------------------------------------------------------

    def log_joint(self, x: Tensor, known: Tensor, now: Parameters) -> Tensor:
        """log w_m + log p_m of what is known, (M, N)."""
        own = self._whole if bool(known.all()) else self._summed
        return now["log_weight"][:, None] + own(x, known, now)

    def _whole(self, x: Tensor, known: Tensor, now: Parameters) -> Tensor:
        # Fully observed rows: log p is a sum of table entries, at (parent's code, own code).
        codes = x.T.contiguous()  # (D, N)
        # (components, D, rows)
        place = codes[now["parent"].clamp(min=0)] * self.k + codes
        return now["table"].flatten(2).gather(2, place).sum(1)

    def _summed(self, x: Tensor, known: Tensor, now: Parameters) -> Tensor:
        # Marginalised: messages up to the roots, then a sum over each root's states.
        forest, belief = self.upward(x, known, now, _sum)
        root = (forest < 0).nonzero().flatten()
        value = (now["table"].flatten(0, 1)[root, :1] + belief[root]).logsumexp(-1)
        return value.new_zeros(self.m, len(x)).index_add(0, root // self.d, value)

    def upward(
        self, x: Tensor, known: Tensor, now: Parameters, combine: Callable[[Tensor, Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The forest's parents (S,), and each node's log evidence and messages from below, (S, N, K) (Pearl 1988)."""
        parent = now["parent"]
        table = now["table"].flatten(0, 1)
        # Node j of tree m is number m D + j of one forest.
        first = torch.arange(self.m)[:, None] * self.d
        forest = torch.where(parent < 0, -1, parent + first).flatten()
        # Evidence of each node, (S, N, K): 0 at its
        # observed code, or at all legal codes where hidden.
        evidence = torch.where(known[..., None], x[..., None] == torch.arange(self.k), self.legal)
        belief = torch.where(evidence, 0.0, NEVER).double().transpose(0, 1).repeat(self.m, 1, 1)
        # Collect from the leaves up: a parent's belief adds each child's message (Pearl 1988).
        for nodes in reversed(levels(forest)[1:]):
            belief = belief.index_add(0, forest[nodes], combine(belief[nodes], table[nodes]))
        return forest, belief

    def downward(
        self, belief: Tensor, now: Parameters, component: Tensor, row: Tensor, pick: Pick
    ) -> Tensor:
        """Codes (R, D) picked from the root on, each of R from its component's tree and its row's beliefs."""
        x = torch.zeros(self.d, len(row), dtype=torch.int64)
        for m in component.unique().tolist():
            own = (component == m).nonzero().flatten()
            codes = x[:, own]
            # Roots first: each level is picked given its parents' codes.
            for nodes in levels(now["parent"][m]):
                above = codes[now["parent"][m][nodes].clamp(min=0)]
                prior = now["table"][m, nodes][torch.arange(len(nodes))[:, None], above]
                codes[nodes] = pick(prior + belief[m * self.d + nodes][:, row[own]], nodes, own)
            x[:, own] = codes
        return x.T

    # ---- learning --------------------------------------------------------------------------------

    def start(
        self, rows: View, weight: Tensor, noise: Noise, restarts: int, trial: int
    ) -> Parameters:
        """One tree of all pairs that are complete, or the likeliest of several mixtures after a few passes."""
        x, known = rows
        if self.m == 1:
            sums = self._sums(x, known, weight[:, None], weight.sum() * 0, weight)
            return self.m_step(sums, self.init())
        starts = self._starts(x, known, weight, noise, restarts)
        return best_start(starts, partial(self._complete, x, known, weight), self.m_step, trial)

    def _starts(
        self, x: Tensor, known: Tensor, weight: Tensor, noise: Noise, restarts: int
    ) -> Iterator[Parameters]:
        """Components of rows whose codes are alike, or in turn whose neighbours' codes agree alike."""
        for i in range(restarts):
            # Even restarts cluster rows by their codes, odd
            # ones by agreements of neighbouring columns.
            u = noise.uniform(f"seeds {i}", self.m, kmeans.candidates(self.m)).double()[0]
            if i % 2 == 0:
                features = self._features(x, known)
            else:
                features = self._agreements(x, known, noise, i)
            centres = kmeans.seeds(features, self.m, u)
            own = kmeans.lloyd(features, centres, LLOYD)[1]
            # Blurred responsibilities, so that no component forgets any row.
            r = (1 - BLUR) * torch.nn.functional.one_hot(own, self.m).double() + BLUR / self.m
            sums = self._sums(x, known, r * weight[:, None], weight.sum() * 0, weight)
            yield self.m_step(sums, self.init())

    def _features(self, x: Tensor, known: Tensor) -> Tensor:
        """Codes as bits, a half where hidden, (N, F)."""
        return torch.where(known[:, self.variable], x[:, self.variable] == self.code, 0.5).double()

    def _agreements(self, x: Tensor, known: Tensor, noise: Noise, i: int) -> Tensor:
        """Which neighbours have like codes: components may differ in dependences alone, (N, D).

        Neighbours first in the order of the columns, then in random orders.
        """
        if i == 1:
            order = torch.arange(self.d)
        else:
            order = noise.uniform(f"order {i}", self.d)[0].argsort()
        after = order.roll(1)
        return torch.where(
            known[:, order] & known[:, after], x[:, order] == x[:, after], 0.5
        ).double()

    def e_step(self, rows: View, weight: Tensor, now: Parameters) -> Parameters:
        """Counts of all pairs if nothing is missing, else expected counts of parents and children in these trees."""
        if self.holes:
            return self._hidden(*rows, weight, now)
        return self._complete(*rows, weight, now)

    def _complete(self, x: Tensor, known: Tensor, weight: Tensor, now: Parameters) -> Parameters:
        # Log-joints chunk by chunk, then responsibilities of all rows, (N, M).
        size = max(1, ROOM // (self.m * self.d * (self.k if self.holes else 1)))
        joint = torch.cat(
            [
                self.log_joint(a, b, now)
                for a, b in zip(x.split(size), known.split(size), strict=True)
            ],
            1,
        )
        r = joint.softmax(0).T * weight[:, None]
        return self._sums(x, known, r, joint.logsumexp(0) @ weight, weight)

    def _sums(
        self, x: Tensor, known: Tensor, r: Tensor, objective: Tensor, weight: Tensor
    ) -> Parameters:
        pairs = self._pairs(x, known if self.holes else None, r)
        return {"pairs": pairs, "share": r.sum(0), "objective": objective, "weight": weight.sum()}

    def _pairs(self, x: Tensor, known: Tensor | None, r: Tensor) -> Tensor:
        """How often each two variables have each two codes, by one product of matrices, (M, D, K, D, K).

        Where rows are whole a variable's first code is what the others leave. Counts of rows that
        weigh 1 are exact in single precision, below 2^24.
        """
        # With missing codes all K indicators are counted, over the pairs that are both known.
        if known is not None:
            f = ((x[..., None] == torch.arange(self.k)) & known[..., None]).flatten(1).double()
            gram = torch.stack([(f * r[:, m : m + 1]).T @ f for m in range(self.m)])
            return gram.unflatten(2, (self.d, self.k)).unflatten(1, (self.d, self.k))
        # Otherwise one indicator less for each variable, and one for the constant, (N, F).
        alike = bool((r == 1).all()) and len(x) < 1 << 24
        f = (x[:, self.variable] == self.code).to(torch.float32 if alike else torch.float64)
        f = torch.cat([f, torch.ones_like(f[:, :1])], 1)
        gram = torch.stack(
            [(f if alike else f * r[:, m : m + 1]).T @ f for m in range(self.m)]
        ).double()
        # The first code's indicator is 1 minus the others':
        # a linear map back to all codes, (D K, F).
        basis = torch.zeros(self.d, self.k, f.shape[1], dtype=torch.float64)
        basis[:, 0, -1] = 1.0
        every = torch.arange(len(self.variable))
        basis[self.variable, 0, every] = -1.0
        basis[self.variable, self.code, every] = 1.0
        flat = basis.flatten(0, 1)
        # (M, D K, D K) -> (M, D, K, D, K)
        gram = (flat @ gram @ flat.T).clamp(min=0)
        return gram.unflatten(2, (self.d, self.k)).unflatten(1, (self.d, self.k))

    def _hidden(self, x: Tensor, known: Tensor, weight: Tensor, now: Parameters) -> Parameters:
        """Expected counts of parents and children: the derivative of log p by the logarithms of the tables.

        Darwiche 2003, section 4.
        """
        with torch.enable_grad():
            table, share = (now[name].detach().requires_grad_() for name in ("table", "log_weight"))
            joint = self.log_joint(x, known, now | {"table": table, "log_weight": share})
            objective = joint.logsumexp(0) @ weight
            counts, shares = torch.autograd.grad(objective, (table, share))
        return {
            "counts": counts,
            "share": shares,
            "objective": objective.detach(),
            "weight": weight.sum(),
        }

    def m_step(self, sums: Parameters, before: Parameters) -> Parameters:
        """Trees of greatest mutual information where pairs are known (Chow & Liu 1968), tables, shares."""
        share = (sums["share"] + 1e-9).log().log_softmax(0)
        # After a pass with missing codes only the tables of the present trees were counted.
        if "counts" in sums:
            return before | {
                "table": self._tables(sums["counts"], before["parent"]),
                "log_weight": share,
            }
        # Chow-Liu: the spanning tree of greatest mutual information for each component.
        if self.tree is None:
            parent = torch.stack([spanning(self.information(pairs)) for pairs in sums["pairs"]])
        else:
            parent = before["parent"]
        # Counts of (parent's code, own code) along each tree, (M, D, K, K).
        every = torch.arange(self.d)
        above = torch.where(parent < 0, every, parent)
        counts = torch.stack(
            [pairs[a, :, every] for pairs, a in zip(sums["pairs"], above, strict=True)]
        )
        alone = counts.diagonal(dim1=-2, dim2=-1)  # a root's pair is with itself
        first = torch.nn.functional.pad(alone[..., None, :], (0, 0, 0, self.k - 1))
        counts = torch.where((parent < 0)[..., None, None], first, counts)
        return {"parent": parent, "table": self._tables(counts, parent), "log_weight": share}

    def _tables(self, counts: Tensor, parent: Tensor) -> Tensor:
        """Smoothed counts (M, D, K, K) as logarithms; a root's are those of its first row, on every row."""
        root = (parent < 0)[..., None, None]
        # Even rows of smoothing weight, over the legal
        # codes of parent and child (a root has one row).
        legal_above = torch.where(
            root, torch.arange(self.k)[:, None] == 0, self.legal[parent.clamp(min=0)][..., None]
        )
        even = (
            legal_above
            * self.legal[None, :, None, :]
            / (legal_above.sum(-2, keepdim=True) * self.sizes[:, None, None])
        )
        table = self._logs(counts + self.smoothing * even)
        return torch.where(root, table[..., :1, :], table)

    def information(self, pairs: Tensor) -> Tensor:
        """The mutual information of each two variables in nats, (D, D), of counts (D, K, D, K).

        Each pair is told of the same evenly spread rows as its table will be, so that the tree of
        greatest information is the one of greatest smoothed likelihood.
        """
        # H(a) + H(b) - H(a, b) = sum p log p / (p_a p_b) of smoothed pairs.
        legal = (self.legal / self.sizes[:, None]).double()
        even = legal[:, :, None, None] * legal
        p = (pairs + self.smoothing * even) / (pairs.sum((1, 3)) + self.smoothing).clamp(min=TINY)[
            :, None, :, None
        ]
        marginal = p.sum(-1)
        entropy = -torch.xlogy(marginal, marginal).sum(1)
        return entropy + entropy.T + torch.xlogy(p, p).sum((1, 3))

    # ---- answers ---------------------------------------------------------------------------------

    def _chunks(self, x: Tensor, wide: int = 1) -> list[Tensor]:
        return list(torch.arange(len(x)).split(max(8, ROOM // (self.m * self.d * self.k * wide))))

    def posterior(self, rows: View, now: Parameters) -> Tensor:
        """log p(m | what is known), (N, M)."""
        x, known = rows
        parts = [self.log_joint(x[at], known[at], now) for at in self._chunks(x)]
        return torch.cat(parts, 1).log_softmax(0).T

    def log_prob(self, rows: View, now: Parameters) -> Tensor:
        """The log-sum over components."""
        x, known = rows
        parts = [self.log_joint(x[at], known[at], now).logsumexp(0) for at in self._chunks(x)]
        return torch.cat(parts)

    def draw(self, rows: View, now: Parameters, noise: Noise) -> Tensor:
        """A component from its posterior, then codes from the root down."""
        x, known = rows
        share = self.posterior(rows, now)
        u = noise.uniform("x", self.d).double()
        n = noise.rows // len(x)
        # A component for each draw, then upward beliefs of a chunk of rows, shared by their draws.
        component = choose(share.repeat(n, 1), noise.uniform("component", 1)[:, 0].double())
        drawn = torch.empty(n, len(x), self.d, dtype=torch.int64)
        for at in self._chunks(x):
            belief = self.upward(x[at], known[at], now, _sum)[1]
            many = (torch.arange(n)[:, None] * len(x) + at).flatten()

            def pick(logits: Tensor, nodes: Tensor, own: Tensor, many: Tensor = many) -> Tensor:
                return choose(logits.log_softmax(-1), u[many[own]][:, nodes].T)

            some = torch.arange(len(at)).repeat(n)
            codes = self.downward(belief, now, component[many], some, pick)
            drawn[:, at] = codes.unflatten(0, (n, -1))
        return drawn.flatten(0, 1)

    def mode(self, rows: View, now: Parameters) -> tuple[Tensor, bool]:
        """The likeliest codes of each tree, and of these the likeliest under all: certain where there is one tree."""
        x, known = rows
        peaks = torch.cat([self._peaks(x[at], known[at], now) for at in self._chunks(x, self.k)], 1)
        if self.m == 1:
            return peaks[0], True
        # Several trees: the peaks of each, compared under the whole mixture.
        everything = torch.ones_like(known)
        height = torch.stack([self.log_prob((one, everything), now) for one in peaks])
        return peaks[height.argmax(0), torch.arange(len(x))], False

    def _peaks(self, x: Tensor, known: Tensor, now: Parameters) -> Tensor:
        """The likeliest codes under each component, (M, N, D)."""
        belief = self.upward(x, known, now, _best)[1]
        every = torch.arange(self.m).repeat_interleave(len(x))
        row = torch.arange(len(x)).repeat(self.m)
        best = self.downward(belief, now, every, row, lambda logits, nodes, own: logits.argmax(-1))
        return best.unflatten(0, (self.m, len(x)))

    def free_parameters(self, now: Parameters) -> int:
        """(K_j - 1) K_parent for each node, K_j - 1 for a root, and the shares."""
        above = torch.where(now["parent"] < 0, 1, self.sizes[now["parent"].clamp(min=0)])
        return int((above * (self.sizes - 1)).sum()) + self.m - 1

    def edges(self, now: Parameters) -> list[Edges]:
        """The edges (parent, child) of each tree."""
        return [
            [(p, j) for j, p in enumerate(parent) if p >= 0] for parent in now["parent"].tolist()
        ]


def _sum(belief: Tensor, table: Tensor) -> Tensor:
    """Messages of children (n, N, K) to their parents, log sum_b p(b | a) exp(belief_b), (n, N, K)."""
    # A product of matrices in the probabilities, scaled by each message's largest.
    top = belief.detach().amax(-1, keepdim=True)
    return ((belief - top).exp() @ table.exp().mT).clamp(min=TINY).log() + top


def _best(belief: Tensor, table: Tensor) -> Tensor:
    """Max-product messages: the greatest in place of the sum."""
    return (belief[:, :, None, :] + table[:, None]).amax(-1)
