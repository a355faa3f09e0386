"""One distribution for a whole event: a head for each type of variable, over the entries of the last axis that have it.

Which head that is, choice.py decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, cast

import torch
from torch import Tensor, nn

from likeness.core.answers import Kind
from likeness.core.batch import Batch
from likeness.core.noise import Noise
from likeness.core.row_distribution import RowDistribution
from likeness.core.space import Space
from likeness.heads.base import EntryDistribution, Head
from likeness.heads.choice import MAKERS, Choice, CountName, RealDistribution, grouped

_FIT_ROWS = (
    2**16
)  # rows that location, scale and marginals are taken from; more would move no digit that matters
_FIT_NUMBERS = 2**24
_EACH_NUMBERS = 2**24  # statistics held at a time when many distributions score many rows


@dataclass(frozen=True)
class Group:
    """The entries of the last axis that share a head, and where its numbers lie.

    Args:
        entries: Which entries, in order.
        params: Their parameters among the S of a place, entry after entry.
        features: Their features among the F.
        uniforms: Their uniform numbers among the U.
    """

    entries: tuple[int, ...]
    params: slice
    features: slice
    uniforms: slice


@dataclass(frozen=True, eq=False)
class Column:
    """One entry of the last axis: its own head, and where its numbers lie."""

    head: Head
    params: slice
    features: slice
    uniforms: slice


class Columns(nn.Module):
    """The heads of a Space, over events x (..., *E).

    A place is one index of all event axes but the last; the last axis has `width` entries (a ragged
    sequence of symbols has one entry a place, its time). Parameters are (..., *E[:-1], S), or (...,
    L, S) for sequences of symbols: grouped by head, entry after entry within a head, so (..., width
    * size) where all entries share a variable. Embeddings are (..., *E[:-1], F) and uniform numbers
    (..., *E[:-1], U) alike. `owner`, `feature_owner` and `uniform_owner` say which entry of the
    last axis each number belongs to. A place may also be asked for alone.

    Args:
        space: The Space of the events.
        kind: "net" for parameters that a net puts out, "closed" for those that are estimated in
            closed form.
        components: Components of a mixture for one entry.
        real: The distribution of real entries; a mixture for nets, one normal in closed form.
        count: The distribution of counts.
        bins: The largest number of bins of a histogram, or the pieces of a spline.
        presence: Whether numbers are embedded with a bit that tells a missing one from an average
            one.
    """

    def __init__(
        self,
        space: Space,
        *,
        kind: Literal["net", "closed"] = "net",
        components: int = 5,
        real: RealDistribution | None = None,
        count: CountName = "negative_binomial",
        bins: int = 64,
        presence: bool = True,
    ) -> None:
        super().__init__()
        closed = kind == "closed"
        choice = Choice(
            closed, components, real or ("normal" if closed else "mixture"), count, bins, presence
        )
        self.space = space
        self.width = space.width
        self.event = len(space.shape)
        self.narrow = not space.shape or (space.ragged and self.event == 1)
        entries_of = grouped(space.columns, choice)
        self.heads = nn.ModuleList(
            MAKERS[key.maker]([space.columns[i] for i in e], choice)
            for key, e in entries_of.items()
        )
        self.groups = _laid_out(list(entries_of.values()), self.parts)
        # Numbers of a place: over the heads, numbers of an entry times entries.
        self.size, self.features, self.uniforms = (
            sum(getattr(h, name) * h.entries for h in self.parts)
            for name in ("size", "features", "uniforms")
        )
        # The heads' entries one after the other, and which
        # entry each parameter, feature and uniform is of.
        order = [i for group in self.groups for i in group.entries]
        self.sorted = order == list(range(self.width))
        for name, per in (
            ("owner", "size"),
            ("feature_owner", "features"),
            ("uniform_owner", "uniforms"),
        ):
            counts = torch.tensor([getattr(h, per) for h in self.parts for _ in range(h.entries)])
            self.register_buffer(
                name, torch.tensor(order).repeat_interleave(counts), persistent=False
            )
        self.register_buffer("back", torch.tensor(order).argsort(), persistent=False)

    owner: Tensor
    feature_owner: Tensor
    uniform_owner: Tensor
    back: Tensor

    @property
    def parts(self) -> list[Head]:
        """The heads, in the order of `groups`."""
        return [cast(Head, h) for h in self.heads]

    @property
    def pooled(self) -> bool:
        """Whether the last axis holds places of one variable rather than columns, so that statistics are shared."""
        return len(self.space.variables) == 1 and self.space.axes[-1:] in {
            ("width",),
            ("height",),
            ("time",),
        }

    def fit(self, data: Batch | Iterable[Batch]) -> None:
        """Take location, scale and marginals from training data, whole or in chunks (evenly thinned where large)."""
        batches = [data] if isinstance(data, Batch) else data
        x, present, weight = _thinned(
            batches, min(_FIT_ROWS, max(_FIT_NUMBERS // self.space.dims, 1))
        )
        # (rows, *E) -> (rows and places, entries of a place)
        x = self.split(x).flatten(0, -2)
        present = self.split(present).flatten(0, -2)
        weight = weight.repeat_interleave(max(x.shape[0] // max(weight.shape[0], 1), 1))
        for group, head in zip(self.groups, self.parts, strict=True):
            self._fit_head(head, x[:, list(group.entries)], present[:, list(group.entries)], weight)

    def _fit_head(self, head: Head, x: Tensor, present: Tensor, weight: Tensor) -> None:
        if not self.pooled:
            return head.fit(x, present, weight)
        # Places of one variable share their statistics: fit
        # one entry on all of them, and repeat it.
        one = head.take([0])
        one.fit(x.reshape(-1, 1), present.reshape(-1, 1), weight.repeat_interleave(x.shape[1]))
        for name, buffer in one.spread(head.entries).named_buffers():
            setattr(head, name, buffer)
        return None

    @property
    def free(self) -> int:
        """The number of free parameters of one event's distribution, every place having its own."""
        return sum(head.free for head in self.parts) * (
            self.space.dims // self.width if not self.space.ragged else 1
        )

    def split(self, x: Tensor) -> Tensor:
        """Values x (..., *E) with the entries of a place as the last axis."""
        if self.narrow:
            return x.unsqueeze(-1)
        return x

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Numbers of each head's entries (..., n_h) as values (..., *E)."""
        if len(parts) == 1:
            whole = parts[0]
        else:
            whole = torch.cat(list(parts), -1)
        # From the heads' order back to the order of the columns.
        if self.sorted:
            ordered = whole
        else:
            ordered = whole.index_select(-1, self.back)
        if self.narrow:
            return ordered.squeeze(-1)
        return ordered

    def entries(self, x: Tensor) -> list[Tensor]:
        """Values x (..., *E) as one tensor (..., n_h) a head."""
        x = self.split(x)
        if self.sorted and len(self.groups) == 1:
            return [x]
        return [x[..., list(g.entries)] for g in self.groups]

    def embed(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        """What nets see of x (..., *E): (..., *E[:-1], F)."""
        masks = [None] * len(self.groups) if present is None else self.entries(present)
        parts = zip(self.parts, self.entries(x), masks, strict=True)
        return _cat([head.embed(v, s).flatten(-2) for head, v, s in parts])

    def distribution(self, params: Tensor) -> ColumnsDistribution:
        """The distribution with parameters (..., *E[:-1], S)."""
        return ColumnsDistribution(self, params)

    def start(self) -> Tensor:
        """The parameters of the marginal distribution at every place, a first bias for a net's last layer, (S,)."""
        return torch.cat([head.start().reshape(-1) for head in self.parts])

    def estimate(
        self,
        x: Tensor,
        present: Tensor,
        weight: Tensor,
        *,
        smoothing: float = 0.0,
        previous: Tensor | None = None,
    ) -> Tensor:
        """The weighted maximum-likelihood parameters of K products over the event, (K, *E[:-1], S).

        Args:
            x: Rows (N, *E).
            present: Which entries are known, bool (N, *E).
            weight: The weight of each row for each product (N, K).
            smoothing: Weight added to every category; see `Head.estimate`.
            previous: The parameters before, which save steps where a head's maximisation is
                iterative.
        """
        before = [None] * len(self.groups) if previous is None else self.blocks(previous)
        parts = zip(self.parts, self.entries(x), self.entries(present), before, strict=True)
        return _cat(
            [
                h.estimate(v, s, weight, smoothing=smoothing, previous=b).flatten(-2)
                for h, v, s, b in parts
            ]
        )

    def blocks(self, params: Tensor) -> list[Tensor]:
        """Parameters (..., S) as one tensor (..., n_h, size_h) a head."""
        pairs = zip(self.groups, self.parts, strict=True)
        return [params[..., g.params].unflatten(-1, (h.entries, h.size)) for g, h in pairs]

    def column(self, entry: int) -> Column:
        """The head of one entry of the last axis alone, and where its parameters, features and uniforms lie."""
        for group, head in zip(self.groups, self.parts, strict=True):
            if entry in group.entries:
                # The entry's share of its group's parameters, features and uniforms.
                at = group.entries.index(entry)
                slices = (
                    slice(s.start + at * n, s.start + (at + 1) * n)
                    for s, n in (
                        (group.params, head.size),
                        (group.features, head.features),
                        (group.uniforms, head.uniforms),
                    )
                )
                return Column(head.take([at]), *slices)
        raise IndexError(f"no entry {entry} among {self.width}")


@dataclass(frozen=True, eq=False)
class ColumnsDistribution:
    """A product over the entries of an event, given parameters (..., *E[:-1], S); EXACT, in data units."""

    columns: Columns
    params: Tensor

    @cached_property
    def parts(self) -> list[EntryDistribution]:
        """The distribution of each head's entries, in the order of `columns.groups`."""
        pairs = zip(self.columns.parts, self.columns.blocks(self.params), strict=True)
        return [head.distribution(block) for head, block in pairs]

    def log_prob(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        """The log p of each entry of x (..., *E) in nats, 0 where not present, (..., *E)."""
        pairs = zip(self.parts, self.columns.entries(x), strict=True)
        value = self.columns.join([part.log_prob(v) for part, v in pairs])
        if present is None:
            return value
        return torch.where(present, value, torch.zeros_like(value))

    def total(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        """The log p of whole events x (..., *E), the marginal of what is present, (...)."""
        value = self.log_prob(x, present)
        if self.columns.event:
            return value.flatten(-self.columns.event).sum(-1)
        return value

    def each(self, x: Tensor, present: Tensor) -> Tensor:
        """The log p of B events x (B, *E) under each of K distributions, parameters (K, *E[:-1], S): (B, K).

        Matrix products where a head's distribution is linear in statistics of the data, one distribution after the
        other elsewhere.
        """
        rows = max(
            1, _EACH_NUMBERS // max(x[:1].numel() * max(h.size for h in self.columns.parts), 1)
        )
        chunks = zip(x.split(rows), present.split(rows), strict=True)
        return torch.cat([self._each(v, mask) for v, mask in chunks])

    def _each(self, x: Tensor, present: Tensor) -> Tensor:
        pieces = zip(
            self.columns.parts,
            self.parts,
            self.columns.entries(x),
            self.columns.entries(present),
            strict=True,
        )
        return torch.stack([_each(*piece) for piece in pieces]).sum(0)

    def draw(self, u: Tensor) -> Tensor:
        """A draw from uniform numbers (..., *E[:-1], U), (..., *E)."""
        return self.columns.join(
            [part.draw(v) for part, v in zip(self.parts, self._uniforms(u), strict=True)]
        )

    def relaxed(self, u: Tensor, temperature: float) -> Tensor:
        """The embedding of a draw, with a gradient in the parameters, (..., *E[:-1], F)."""
        pairs = zip(self.parts, self._uniforms(u), strict=True)
        return _cat([part.relaxed(v, temperature).flatten(-2) for part, v in pairs])

    def cdf(self, x: Tensor) -> Tensor:
        """P(entry <= x) of each entry, (..., *E)."""
        return self.columns.join(
            [part.cdf(v) for part, v in zip(self.parts, self.columns.entries(x), strict=True)]
        )

    def quantile(self, p: Tensor) -> Tensor:
        """The quantile of each entry at probabilities p (..., *E), (..., *E)."""
        return self.columns.join(
            [part.quantile(v) for part, v in zip(self.parts, self.columns.entries(p), strict=True)]
        )

    @property
    def mode(self) -> Tensor:
        """The most probable value of each entry, which together are the product's mode, (..., *E)."""
        return self.columns.join([part.mode for part in self.parts])

    @property
    def mean(self) -> Tensor:
        """The expected value of each entry (nominal: the most probable code), (..., *E)."""
        return self.columns.join([part.mean for part in self.parts])

    def _uniforms(self, u: Tensor) -> list[Tensor]:
        pairs = zip(self.columns.groups, self.columns.parts, strict=True)
        return [u[..., g.uniforms].unflatten(-1, (h.entries, h.uniforms)) for g, h in pairs]


@dataclass(frozen=True, eq=False, repr=False)
class HeadRows(RowDistribution):
    """A product of heads for each row, parameters (B, *E[:-1], S): what `decode` answers with."""

    columns: Columns
    params: Tensor

    @cached_property
    def distribution(self) -> ColumnsDistribution:
        """The rows' distributions."""
        return self.columns.distribution(self.params)

    @property
    def mean(self) -> Tensor:
        """The expected value of each entry (nominal: the most probable code), (B, *E)."""
        return self.distribution.mean

    @property
    def mode(self) -> Tensor:
        """The most probable value of each row, (B, *E)."""
        return self.distribution.mode

    def log_prob(self, z: Tensor) -> Tensor:
        """The log p of events z (B, *E) in nats, (B,)."""
        return self.distribution.total(z)

    def draw(self, noise: Noise) -> Tensor:
        """One draw for each row of `noise`, whose rows are ours repeated draw-major, (n*B, *E)."""
        n = noise.rows // len(self.params)
        u = noise.uniform("z", *self.params.shape[1:-1], self.columns.uniforms)
        return self.columns.distribution(
            self.params.repeat(n, *[1] * (self.params.dim() - 1))
        ).draw(u)


def rows(
    columns: Columns, params: Tensor, index: Tensor, *, kind: Kind = Kind.EXACT, how: str = "heads"
) -> HeadRows:
    """Each row's distribution from a decoder's parameters (B, *E[:-1], S)."""
    return HeadRows(columns.space, index, kind, how, columns, params)


def _laid_out(entries: Sequence[Sequence[int]], heads: Sequence[Head]) -> list[Group]:
    """The groups one after the other."""
    groups = []
    at = (0, 0, 0)
    for own, head in zip(entries, heads, strict=True):
        end = tuple(
            a + head.entries * n
            for a, n in zip(at, (head.size, head.features, head.uniforms), strict=True)
        )
        groups.append(
            Group(tuple(own), slice(at[0], end[0]), slice(at[1], end[1]), slice(at[2], end[2]))
        )
        at = (end[0], end[1], end[2])
    return groups


def _cat(parts: list[Tensor]) -> Tensor:
    if len(parts) == 1:
        return parts[0]
    return torch.cat(parts, -1)


def _each(head: Head, part: EntryDistribution, x: Tensor, present: Tensor) -> Tensor:
    """The log p of B rows under each of K distributions over one head's entries, (B, K)."""
    weights = part.linear
    statistics = head.statistics(x, present)
    # log p = weights . statistics for all pairs of rows and parameters: one product of matrices.
    if weights is not None and statistics is not None:
        least = (
            -torch.finfo(weights.dtype).max / 1e8
        )  # 0 * -inf would be NaN where a distribution rules a value out
        value = statistics.flatten(1) @ weights.flatten(1).clamp(min=least).T
        return torch.where(value < least / 2, -torch.inf, value)
    alone = (
        head.distribution(block).log_prob(x).masked_fill(~present, 0.0).flatten(1).sum(-1)
        for block in part.params
    )
    return torch.stack(list(alone), -1)


def _thinned(batches: Iterable[Batch], most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Values, presence and weights of at most 2 * `most` rows, evenly spaced over all."""
    chunks: list[tuple[Tensor, Tensor, Tensor]] = []
    stride = 1
    count = 0
    # Every `stride`-th row over all batches; whenever too many are held the stride doubles.
    for batch in batches:
        rows = slice(-count % stride, None, stride)
        chunks.append((batch.x[rows], batch.present[rows], batch.weights[rows]))
        count += len(batch)
        while sum(len(part[2]) for part in chunks) > 2 * most:
            x, present, weight = (torch.cat(parts)[::2] for parts in zip(*chunks, strict=True))
            chunks = [(x, present, weight)]
            stride = 2 * stride
    x, present, weight = (torch.cat(parts) for parts in zip(*chunks, strict=True))
    return x, present, weight


def deviation_gate(columns: Columns) -> Tensor:
    """0 at the log deviations of real entries under a normal distribution, 1 elsewhere, (S,)."""
    gate = torch.ones(columns.size)
    for group, head in zip(columns.groups, columns.parts, strict=True):
        real = columns.space.columns[group.entries[0]].type == "real"
        if real and head.size == 2:
            gate[group.params][1::2] = 0
    return gate
