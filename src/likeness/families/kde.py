"""Kernel density estimation: every training row with a little noise, as much as makes left-out rows likeliest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from likeness.bijections.preprocess import Reals
from likeness.core import plates
from likeness.core.batch import Batch
from likeness.core.config import Config, option
from likeness.core.context import Joined
from likeness.core.learner import Parameters
from likeness.core.model import Inside
from likeness.core.noise import Noise
from likeness.core.preprocessor import Source, standardised
from likeness.core.space import Space
from likeness.inference.em_model import ExactEMModel
from likeness.numerics.constants import LOG_2PI
from likeness.numerics.draws import inverse_cdf
from likeness.numerics.stable import exponentials
from likeness.registry import Card, register

CODES = 32  # ordered levels up to which each is a code of its own
ROWS = 64  # kernels computed at once: what a core's cache holds
CENTRES = 4096
NEVER = -1e30  # the log weight of a centre that does not count: finite, so that 0 times it is 0
SEARCHED = 1000  # rows that bandwidths are chosen on
LEAST_WIDTH = 1e-3
LEAST_BLUR = 1e-4


class KDEConfig(Config):
    """Options of `kde`."""

    bandwidth: Literal["each", "one"] = option(
        "each", "each: one for every number; one: the same for all, in deviations"
    )
    width: float = option(
        0.0,
        "bandwidth in deviations of the data; 0: found by the likelihood of rows left out",
        ge=0,
    )
    blur: float = option(
        0.0,
        "share of a code's mass spread over all its codes; 0: found as the bandwidth is",
        ge=0,
        le=1,
    )
    rows: int = option(20_000, "most rows kept, evenly spaced over all", ge=2)
    passes: int = option(60, "most passes of the search for bandwidths", "optimiser", ge=1)
    tolerance: float = option(
        1e-4, "the search stops where a pass gains less, in nats a row", "optimiser", ge=0
    )


@register(
    Card(
        "kde",
        "Kernel density estimate",
        "classical",
        "Parzen, On estimation of a probability density function and mode",
        1962,
        "No shape is assumed and nothing is learned but a width: sharp where rows are many and numbers are few.",
    )
)
class KDE(ExactEMModel):
    """p(x | s) = sum_m K(x, c_m) K(s, s_m) / sum_m K(s, s_m) over the rows kept, or those of a label.

    A number's kernel is N(c, h^2), a code's (1 - b) [x = c] + b / C (Aitchison & Aitken 1976). A
    missing entry is N(0, 1), or any code alike.
    """

    Config = KDEConfig
    drawn_how = "exact conditional of the kernels"
    chunk_rows = 1 << 16
    centres: Tensor
    known: Tensor
    log_share: Tensor
    place: Tensor
    width: Tensor
    blur: Tensor
    shift: Tensor
    scale: Tensor
    alike: Tensor  # the same number for rows that are copies of each other, (M,)
    searched: Tensor  # the rows that widths are chosen on, one for all its copies, (S,)
    standing: Tensor  # the weight of each of them and its copies, (S,)

    def __init__(self, config: KDEConfig, space: Space, given_space: Space | None = None) -> None:
        super().__init__(config, space, given_space)
        if not any(_coded(v) for v in space.variables):
            self.preprocessor = Reals(space)
        else:
            self.preprocessor = None
        inside = self.inner_space
        self.joined = Joined(inside, given_space, per_class=self.sums_classes())
        states = [_states(v) for v in inside.columns] * (inside.dims // inside.width)
        states += [0] * (self.joined.size - self.joined.dims)
        self.numbers = torch.tensor([i for i, s in enumerate(states) if not s], dtype=torch.int64)
        self.coded = torch.tensor([i for i, s in enumerate(states) if s], dtype=torch.int64)
        self.states = torch.tensor([s for s in states if s], dtype=torch.int64)
        self.register_buffer("centres", torch.zeros(0, self.joined.size))
        self.register_buffer("known", torch.zeros(0, self.joined.size, dtype=torch.bool))
        self.register_buffer("log_share", torch.zeros(self.joined.classes, 0))
        self.register_buffer("place", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("shift", torch.zeros(len(self.numbers)))
        self.register_buffer("scale", torch.ones(len(self.numbers)))
        self._declare()

    @classmethod
    def _refuse(cls, config: KDEConfig, space: Space, given_space: Space | None) -> str | None:
        if any(v.type == "count" for v in space.variables):
            return "counts have no kernel here: take `mixture`"
        coded = any(_coded(v) for v in space.variables)
        plain = all(
            v.type != "real" or v.resolution is v.lower is v.upper is None for v in space.variables
        )
        if coded and not (plain and all(v.type == "real" or _coded(v) for v in space.variables)):
            return "beside codes it takes plain reals only: take `mixture`, or leave out bounds and resolutions"
        return None

    @classmethod
    def small(cls, space: Space) -> dict[str, Any]:
        """Options that learn within a second."""
        return {"rows": 400, "passes": 15}

    def graph(self) -> plates.Graph:
        """x near one of the rows of the training part."""
        base = plates.rows(self)
        centre = plates.Node("c", "parameter", self.space, "m", "a kept row")
        plate = plates.Plate(
            f"M = {len(self.centres):,} kept" if len(self.centres) else "M kept", (centre.key,)
        )
        return plates.Graph(
            (*base.nodes, centre),
            (*base.edges, plates.Edge(centre.key, "x")),
            (*base.plates, plate),
        )

    # ---- learning --------------------------------------------------------------------------------

    def _prepare(self, source: Source) -> None:
        """Keep the rows."""
        self.joined.fit(source)
        # Evenly spaced rows, as many as the Config allows, in the order of their index.
        stride = -(-len(source) // self.config.rows)
        places = torch.arange(0, len(source), stride)
        rows = Inside(self, source).rows(places)
        order = rows.ids.argsort()
        rows = rows[order]
        # Copies of a row would explain each other in leave-one-out: they get one number.
        self.alike = _alike(self.space, source.rows(places)[order])
        v, known = self.joined(rows)
        numbers = v[:, self.numbers]
        if self.preprocessor is None and len(self.numbers):
            mean, std = standardised(
                numbers.double(), known[:, self.numbers].double(), rows.weights.double()
            )
            self.shift, self.scale = mean.to(self.shift), std.to(self.scale)
        # Log weights of the centres under each class, (K, M).
        weight = rows.weights.log()
        share = weight + self.joined.hot(rows, self.class_prior).log().T
        share = torch.where(
            share.isneginf().all(-1, keepdim=True), weight, share
        )  # a class that no row has: all rows
        self.centres = torch.where(known, self._scaled(v), 0.0).to(self.centres)
        self.known = known.contiguous()
        self.place = rows.ids.clone()
        self._search(rows)
        self.log_share = share.log_softmax(-1).to(self.log_share).contiguous()

    def _search(self, rows: Batch) -> None:
        """The rows that widths are chosen on: evenly spaced over those unlike each other."""
        # The first row of each set of copies, and the weight of the set.
        unlike = int(self.alike.max()) + 1
        first = torch.full((unlike,), len(rows)).scatter_reduce(
            0, self.alike, torch.arange(len(rows)), "amin"
        )
        of_copies = torch.zeros(unlike, dtype=torch.float64).index_add_(
            0, self.alike, rows.weights.double()
        )
        order = first.argsort()[:: -(-unlike // SEARCHED)]
        self.searched = self.place[first[order]]
        self.standing = of_copies[order]

    def _init(self) -> Parameters:
        """Unit widths."""
        width = torch.ones(len(self.numbers), dtype=torch.float64)
        return {"width": width, "blur": torch.ones(len(self.coded), dtype=torch.float64)}

    @property
    def iterative(self) -> bool:
        """Whether there are widths to find, each row explained by all others: leave-one-out likelihood."""
        config: KDEConfig = self.config
        widths = len(self.numbers) and not config.width
        return bool(widths or (len(self.coded) and not config.blur))

    def _start(self, task: Any, noise: Noise) -> Parameters:
        """Scott's rule for the width, from the numbers of a row and of distinct rows, in deviations."""
        # (4 / ((d + 2) n))^(1 / (d + 4)): optimal for a Gaussian of unit variance (Scott 1992).
        config = self.config
        n = int(self.alike.max()) + 1
        d = len(self.numbers)
        width = config.width or (4 / ((d + 2) * n)) ** (1 / (d + 4))
        return {
            "width": torch.full((d,), width, dtype=torch.float64),
            "blur": torch.full((len(self.coded),), config.blur or 0.3, dtype=torch.float64),
        }

    def _e_step(self, batch: Batch, now: Parameters) -> Parameters:
        """Squares between rows and those that explain them, and how often codes differ."""
        rows_in_search = torch.isin(batch.ids, self.searched)
        batch = batch[rows_in_search.nonzero().flatten()]
        v, known = self._read(batch)
        left, right = self._factors(batch, v, known, now)
        totals: Parameters = {
            "square": v.new_zeros(len(self.numbers)),
            "pairs": v.new_zeros(len(self.numbers)),
            "other": v.new_zeros(len(self.coded)),
            "met": v.new_zeros(len(self.coded)),
            "objective": v.new_zeros(()),
            "weight": v.new_zeros(()),
        }
        # Each row's set of copies, its weight, and the weight of the centres that may explain it.
        own = self.alike[torch.searchsorted(self.place, batch.ids)]
        standing = self.standing[torch.searchsorted(self.searched, batch.ids)]
        rest = self._left_out(self._class_of(batch), own)
        for rows in _blocks(len(v), ROWS):
            copies = own[rows, None] == self.alike
            # Leave-one-out: neither a row nor its copies explain it.
            total, r = exponentials((left[rows] @ right.T).masked_fill_(copies, NEVER))
            weight = standing[rows] * (total > NEVER / 2)  # but for rows alone in their class
            totals["weight"] += weight.sum()
            totals["objective"] += ((total - rest[rows]) * weight).sum()
            self._add(
                totals, v[rows], known[rows], r * (weight / r.double().sum(-1))[:, None].float()
            )
        return totals

    def _left_out(self, classes: Tensor, own: Tensor) -> Tensor:
        """Log of the weight under each class (B,) of the rows that are no copies of one (B,), (B,)."""
        share = self.log_share.double().exp()
        of_copies = torch.zeros_like(share).index_add_(1, self.alike, share)
        return torch.log1p(-of_copies[classes, own].clamp(max=1 - 1e-12))

    def _add(self, totals: Parameters, v: Tensor, known: Tensor, r: Tensor) -> None:
        """Add the rows' statistics of the widths under responsibilities r (B, M) of the centres."""
        centres = self.centres.float()
        there = self.known.float()
        # sum_m r_m (x - c_m)^2 from the sums of 1, c and c^2 of the centres that hold the entry.
        if len(self.numbers):
            x = v[:, self.numbers]
            k = known[:, self.numbers].double()
            c = centres[:, self.numbers]
            o = there[:, self.numbers]
            count, first, second = (
                (r @ torch.cat([o, c, c.square()], 1)).double().split(len(self.numbers), 1)
            )
            totals["square"] += (k * (x.square() * count - 2 * x * first + second)).sum(0)
            totals["pairs"] += (k * count).sum(0)
        # Expected agreements of codes with the centres, through their one-hot forms.
        if len(self.coded):
            count = known[:, self.coded] * (r @ there[:, self.coded]).double()
            hot = self._hot(centres[:, self.coded], self.known[:, self.coded])
            mine = self._hot(v[:, self.coded], known[:, self.coded])
            same = torch.zeros_like(count).index_add_(1, self._entry(), mine * (r @ hot).double())
            totals["other"] += (count - same).sum(0)
            totals["met"] += count.sum(0)

    def _m_step(self, sums: Parameters, before: Parameters) -> Parameters:
        """h^2 = the mean square between a row and what explains it; b from the share of codes that differ."""
        config: KDEConfig = self.config
        width = before["width"]
        blur = before["blur"]
        # h^2 = squares / pairs, by entry or pooled.
        if not config.width and len(width):
            square = sums["square"]
            pairs = sums["pairs"]
            if config.bandwidth == "one":
                square = square.sum().expand_as(square)
                pairs = pairs.sum().expand_as(pairs)
            width = (square / pairs.clamp_min(1e-12)).clamp_min(0).sqrt().clamp_min(LEAST_WIDTH)
        # Of codes that differ a share (C - 1) / C of the blur is seen: undo it.
        if not config.blur and len(blur):
            states = self.states.double()
            blur = sums["other"] / sums["met"].clamp_min(1e-12) * states / (states - 1).clamp_min(1)
            blur = blur.clamp(LEAST_BLUR, 1.0)
        return {"width": width, "blur": blur}

    def count(self) -> int:
        """The numbers kept and the widths."""
        return self.centres.numel() + self.width.numel() + self.blur.numel()

    def remarks(self, batch: Batch) -> tuple[str, ...]:
        """That the model holds its rows."""
        return (f"keeps {len(self.centres):,} rows as they are: whoever has this model has them",)

    # ---- kernels ---------------------------------------------------------------------------------

    def _scaled(self, v: Tensor) -> Tensor:
        """Numbers in deviations; codes as they are."""
        v = v.double().clone()
        v[:, self.numbers] = (v[:, self.numbers] - self.shift.double()) / self.scale.double()
        return v

    def _read(self, batch: Batch) -> tuple[Tensor, Tensor]:
        v, known = self.joined(batch)
        return self._scaled(v) * known, known

    def _class_of(self, batch: Batch) -> Tensor:
        return self.joined.hot(batch, self.class_prior).argmax(-1)

    def _factors(
        self, batch: Batch, v: Tensor, known: Tensor, now: Parameters
    ) -> tuple[Tensor, Tensor]:
        """(B, F) and (M, F) whose products are log w K of what is known of each row about every centre, (B, M)."""
        parts = [self._of_class(batch)]
        if len(self.numbers):
            x = v[:, self.numbers]
            k = known[:, self.numbers].double()
            whole = bool(self.known[:, self.numbers].all())
            parts.append((self._alike if whole else self._apart)(x, k, now["width"]))
        if len(self.coded):
            parts.append(
                (self._hot(v[:, self.coded], known[:, self.coded]), self._table(now["blur"]))
            )
        left, right = zip(*parts, strict=True)
        return torch.cat(left, -1), torch.cat(right, -1)

    def _of_class(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Log weights of the centres under each row's class."""
        hot = one_hot(self._class_of(batch), self.joined.classes).double()
        return hot, self.log_share.double().clamp_min(NEVER).T

    def _alike(self, x: Tensor, k: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        """-((x - c) / h)^2 / 2 in three terms: of rows, of both, and of centres alone if nothing is missing."""
        # Log kernel = row term + x.c / h^2 - c^2 / (2 h^2), as products of factors.
        centres = self.centres.double()[:, self.numbers] / width
        x = x * k / width
        row_part = -0.5 * (x.square() + k * (2 * width.log() + LOG_2PI)).sum(-1, keepdim=True)
        far = -0.5 * centres.square()
        one = torch.ones_like(row_part)
        ones = row_part.new_ones(len(centres), 1)
        if bool(k.all()):
            return torch.cat([row_part, x, one], -1), torch.cat(
                [ones, centres, far.sum(-1, keepdim=True)], -1
            )
        return torch.cat([row_part, x, k], -1), torch.cat([ones, centres, far], -1)

    def _apart(self, x: Tensor, k: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        """The same where centres have missing entries, whose own distribution is the data's Gaussian."""
        # A centre without the entry has N(0, 1): its own width of 1, and centre 0.
        centres = self.centres.double()[:, self.numbers]
        there = self.known[:, self.numbers]
        spread = torch.where(there, width, 1.0)
        inverse = spread.square().reciprocal()
        own = -0.5 * (centres.square() * inverse + 2 * spread.log() + LOG_2PI)
        return torch.cat([k * x.square(), k * x, k], -1), torch.cat(
            [-0.5 * inverse, centres * inverse, own], -1
        )

    def _table(self, blur: Tensor) -> Tensor:
        """log p of every code about every centre, (M, sum of C)."""
        # (1 - b) [x = c] + b / C, or uniform where the centre has no code.
        entry = self._entry()
        b = blur[entry]
        states = self.states.double()[entry]
        hot = self._hot(self.centres.double()[:, self.coded], self.known[:, self.coded])
        there = self.known[:, self.coded][:, entry]
        p = torch.where(there, (1 - b) * hot + b / states, 1 / states)
        return p.log()

    def _entry(self) -> Tensor:
        """Which entry each one-hot number belongs to, (sum of C,)."""
        return torch.arange(len(self.states)).repeat_interleave(self.states)

    def _hot(self, codes: Tensor, known: Tensor) -> Tensor:
        """Codes (B, E) one-hot side by side, 0 where hidden, (B, sum of C)."""
        # Offset of each entry's codes in the one-hot row.
        first = self.states.cumsum(0) - self.states
        hot = codes.new_zeros(len(codes), int(self.states.sum()))
        return hot.scatter_(
            1, (codes.long().clamp_min(0).minimum(self.states - 1) + first), known.to(hot)
        )

    def _log_sum(self, batch: Batch, v: Tensor, known: Tensor) -> Tensor:
        """log sum_m w_m K(v, c_m) over what is known, (B,), block by block within a core's cache."""
        left, right = self._factors(batch, v, known, self.fitted)
        sums = [
            torch.stack(
                [exponentials(left[r] @ right[m].T)[0] for m in _blocks(len(right), CENTRES)]
            ).logsumexp(0)
            for r in _blocks(len(left), ROWS)
        ]
        if sums:
            return torch.cat(sums)
        return v.new_zeros(0)

    # ---- hooks -----------------------------------------------------------------------------------

    @property
    def scored_how(self) -> str:
        """The number of kernels."""
        return f"{len(self.centres):,} kernels"

    def _log_density(self, batch: Batch) -> Tensor:
        """log sum_m K(x, s) - log sum_m K(s), in the units that came in."""
        v, known = self._read(batch)
        value = self._log_sum(batch, v, known)
        if self.joined.summary is not None:
            value = value - self._log_sum(batch, v, self.joined.alone(known))
        own = known[:, self.numbers] & (self.numbers < self.joined.dims)
        return value - own.double() @ self.scale.double().log()

    def _draw(self, batch: Batch, noise: Noise) -> Tensor:
        """A centre for each row given what is known, and what is hidden from its kernel."""
        n = noise.rows // len(batch)
        v, known = self._read(batch)
        u = noise.uniform("centre", 1).double().reshape(n, -1)
        left, right = self._factors(batch, v, known, self.fitted)
        centre = torch.empty(n, len(v), dtype=torch.int64)
        for rows in _blocks(len(v), ROWS):
            log_k = left[rows] @ right.T
            cdf = (log_k - log_k.amax(-1, keepdim=True)).exp().cumsum(-1)
            centre[:, rows] = inverse_cdf(cdf[:, None], u[:, rows].T).T
        v_complete = torch.where(
            known.repeat(n, 1), v.repeat(n, 1), self._about(centre.flatten(), noise)
        )
        v_complete[:, self.numbers] = (
            v_complete[:, self.numbers] * self.scale.double() + self.shift.double()
        )
        x = v_complete[:, : self.joined.dims].to(self.dtype)
        return x.reshape(-1, *batch.x.shape[1:])

    def _about(self, m: Tensor, noise: Noise) -> Tensor:
        """A draw from the kernel about each chosen centre, (B, size)."""
        draw = self.centres.double()[m]
        there = self.known[m]
        if len(self.numbers):
            eps = noise.normal("x", len(self.numbers)).double()
            draw[:, self.numbers] += (
                torch.where(there[:, self.numbers], self.width.double(), 1.0) * eps
            )
        if len(self.coded):
            u = noise.uniform("code", len(self.coded)).double()
            blur = torch.where(there[:, self.coded], self.blur.double(), 1.0)
            fresh = (u / blur * self.states).floor().minimum(self.states.double() - 1)
            draw[:, self.coded] = torch.where(u < blur, fresh, draw[:, self.coded])
        return draw


def _alike(space: Space, rows: Batch) -> Tensor:
    """A number for each row, shared by those that agree in every value and missing entry, int64 (B,).

    Rows that are copies of each other would else explain each other, and kernels would shrink to nothing. Codes repeat
    of themselves: rows of which no number is known are each their own.
    """
    parts = [rows.x.masked_fill(~rows.present, 0.0), rows.present]
    if rows.given is not None:
        given = rows.given
        parts += [given.x.masked_fill(~given.present, 0.0), given.present]
    values = torch.cat([part.flatten(1).double() for part in parts], 1)
    first: Tensor = torch.unique(values, dim=0, return_inverse=True)[1]
    numeric = torch.tensor([not _coded(v) for v in space.columns], device=rows.x.device)
    numbered = (rows.present & numeric).flatten(1).any(-1)
    own = len(rows) + torch.arange(len(rows), device=rows.x.device)
    groups: Tensor = torch.unique(torch.where(numbered, first, own), return_inverse=True)[1]
    return groups


def _blocks(rows: int, size: int) -> Iterator[slice]:
    yield from (slice(i, i + size) for i in range(0, rows, size))


def _coded(variable: Any) -> bool:
    """Whether values are codes with a kernel of their own rather than numbers."""
    return variable.type == "nominal" or (variable.type == "ordinal" and variable.states <= CODES)


def _states(variable: Any) -> int:
    if _coded(variable):
        return int(variable.states)
    return 0
