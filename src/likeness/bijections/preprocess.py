"""Preprocessors: from data of any type to the reals, each with its share of log p and what kind that is."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from likeness.core.answers import Kind
from likeness.core.batch import Batch
from likeness.core.noise import Noise
from likeness.core.preprocessor import Filler, Preprocessor, Source
from likeness.core.space import Real, Space, Variable
from likeness.heads.normal import bin_offset, snap
from likeness.numerics import gaussian, memory
from likeness.numerics.constants import HALF_LOG_2PI, LOG_2PI

DOUBTED = 1 / 8  # the share of a filler's draws that are so much wider
WIDER = 2.0
EDGE = 1e-6  # how far values keep from edges, as a share: dequantised ones of their cell, bounded ones of their scale


class Reals(Preprocessor):
    """Each column to reals of zero mean and unit scale.

    A real: affine, after log or logit where it is bounded (EXACT); rounded to a bin: uniform within
    it (LOWER_BOUND). An ordinal: uniform dequantisation (Theis et al. 2016, eq. 3) and logit. A
    count: dequantisation and log. A nominal of K categories: K reals of which it is the argmax
    (Hoogeboom et al. 2021, arXiv:2102.05379, eq. 7).

    Missing entries and absent tails stay so, contribute nothing, and are 0 in model units.

    Args:
        space: What comes in.
        squash: Whether ordinals pass a logit; without it they are only scaled (for diffusion on
            images).
    """

    shift: Tensor
    scale: Tensor
    cells: Tensor
    offset: Tensor
    edges: Tensor

    def __init__(self, space: Space, *, squash: bool = True) -> None:
        super().__init__()
        self.space = space
        self.squash = squash
        self.columns = space.columns
        self.widths = [_width(v) for v in self.columns]
        self.flat_time = space.ragged and len(space.shape) == 1
        self.out = _out_space(space, sum(self.widths))
        self.stochastic = any(v.counted for v in space.variables)
        self.how = "dequantised" if self.stochastic else ""
        self.single = not space.ragged and len(space.shape) > 1
        self.register_buffer("shift", torch.zeros(1 if self.single else sum(self.widths)))
        self.register_buffer("scale", torch.ones(1 if self.single else sum(self.widths)))
        cells = [v.resolution or 1.0 if v.type == "real" else 1.0 for v in self.columns]
        self.register_buffer("cells", torch.tensor(cells, dtype=torch.float64), persistent=False)
        self.register_buffer("offset", torch.zeros(len(cells), dtype=torch.float64))
        self.register_buffer(
            "edges", torch.full((2, len(cells)), EDGE)
        )  # nearest to a lower and to an upper bound
        # Columns of the same variable share a step.
        kinds: dict[Variable, list[int]] = {}
        for i, v in enumerate(self.columns):
            kinds.setdefault(v, []).append(i)
        self.groups: list[tuple[Variable, Step, list[int], list[int]]] = [
            (v, _step_of(v, squash), cols, self._targets(cols)) for v, cols in kinds.items()
        ]

        self.plain = (
            all(v == Real(unit=v.unit) for v in space.variables if v.type == "real") and space.real
        )
        # From the groups' order of numbers back to that of the columns.
        self.back = (
            torch.tensor([t for *_, targets in self.groups for t in targets]).argsort().tolist()
        )

    def _targets(self, columns: list[int]) -> list[int]:
        starts = list(itertools.accumulate(self.widths, initial=0))
        return [starts[i] + k for i in columns for k in range(self.widths[i])]

    @torch.no_grad()
    def fit(self, source: Source) -> None:
        """Location and scale of every column in model units, over the training split."""
        total = first = second = torch.zeros(())
        later = False
        rows = memory.cached(self.space.dims) if self.plain else 65536
        for batch in source.chunks(rows):
            if not later and not self.plain:
                self.edges = self._edges(batch).to(self.edges)
            noise = Noise(0, batch.ids, scope="fit", dtype=batch.x.dtype)
            y, _, present = self._steps(batch, noise)
            axes = list(range(y.dim() if self.single else y.dim() - 1))
            y = y.double()
            # Unweighted and complete: no mask is needed.
            if batch.weight is None and self._affine(batch):
                w = torch.ones_like(y[:1]).sum(axes) * len(batch)
                sums = w, y.sum(axes), y.square().sum(axes)
            else:
                w = present.double() * batch.weights.double().reshape(-1, *[1] * (y.dim() - 1))
                sums = w.sum(axes), (w * y).sum(axes), (w * y.square()).sum(axes)
            total = total + sums[0]
            first = first + sums[1]
            second = second + sums[2]
            if not later and not self.plain:
                self.offset = self._offset(batch)
            later = True
        # Location and scale from the sums of 1, y and y^2.
        total = total.clamp_min(1e-12)
        mean = first / total
        std = (second / total - mean.square()).clamp_min(0).sqrt()
        std = torch.where(std > 1e-12 * mean.abs(), std, torch.ones_like(std))
        self.shift = mean.reshape(self.shift.shape).to(self.shift)
        self.scale = std.reshape(self.scale.shape).to(self.scale)

    def _edges(self, batch: Batch) -> Tensor:
        """A millionth of the mean distance of values from their column's lower and upper bound, (2, columns)."""
        x = self._columns(batch.x).flatten(0, -2).double()
        known = self._columns(batch.present).flatten(0, -2)
        ends = [(getattr(v, "lower", None), getattr(v, "upper", None)) for v in self.columns]
        bounds = (
            torch.tensor([[e if e is not None else math.nan for e in pair] for pair in ends])
            .double()
            .T.to(x)
        )
        far = ((x - bounds[:, None]).abs() * known).sum(1) / known.sum(0).clamp(
            min=1
        )  # NaN where there is no bound
        return EDGE * torch.where(far > 0, far, torch.ones_like(far))

    def _offset(self, batch: Batch) -> Tensor:
        """Where the bins of rounded reals lie, as the data say; 0 for everything else."""
        x = self._columns(batch.x).flatten(0, -2)
        known = self._columns(batch.present).flatten(0, -2)
        weight = batch.weights.repeat_interleave(len(x) // max(len(batch), 1))
        rounded = torch.tensor(
            [v.type == "real" and v.resolution is not None for v in self.columns]
        )
        offset = bin_offset(x, known, weight, self.cells.to(x.device))
        return torch.where(rounded.to(x.device), offset, torch.zeros_like(offset))

    def forward(self, batch: Batch, noise: Noise) -> tuple[Batch, Tensor, Kind]:
        """The batch in model units, log|dy/dx| - log q (B,), and its kind."""
        if self._affine(batch):
            y = (self._columns(batch.x) - self.shift).div_(self.scale)
            shrinks = -self.scale.log().expand(self.out.layout).sum()
            return replace(batch, x=y, observed=None), shrinks.expand(len(batch)), Kind.EXACT
        # Each column's own step, then one affine map for all: y = (step(x) - shift) / scale.
        y, ladj, present = self._steps(batch, noise)
        y = ((y - self.shift) / self.scale) * present
        scaling = (self.scale.log() * present).flatten(1).sum(-1)
        if batch.observed is None:
            observed = None
        else:
            observed = self._spread(batch.observed)
        kind = Kind.LOWER_BOUND if self.stochastic else Kind.EXACT
        out = Batch(y, observed, batch.length, batch.weight, batch.given, batch.index)
        return out, ladj - scaling, kind

    def inverse(self, y: Tensor) -> Tensor:
        """Model units back to data units; codes are whole numbers."""
        # Undo the scale, then each group's own step; rounded reals snap to their bins.
        y = y * self.scale + self.shift
        x = y.new_zeros((*y.shape[:-1], len(self.columns)))
        for v, step, columns, targets in self.groups:
            part = step.inverse(y[..., targets].unflatten(-1, (len(columns), _width(v))))
            rounded = v.type == "real" and v.resolution is not None
            if rounded:
                x[..., columns] = snap(part, self.cells[columns], self.offset[columns])
            else:
                x[..., columns] = part
        if self.flat_time:
            return x.squeeze(-1)
        return x

    def _affine(self, batch: Batch) -> bool:
        """Whether one scale serves: nothing is hidden or absent, and no column needs a step of its own."""
        return self.plain and batch.length is None and batch.full

    def _columns(self, t: Tensor) -> Tensor:
        if self.flat_time:
            return t[..., None]
        return t

    def _spread(self, present: Tensor) -> Tensor:
        """A mask over entries as a mask over model units."""
        if self.plain:
            return self._columns(present)
        widths = torch.tensor(self.widths, device=present.device)
        return self._columns(present).repeat_interleave(widths, -1)

    def _steps(self, batch: Batch, noise: Noise) -> tuple[Tensor, Tensor, Tensor]:
        """Every group's own step: values before scaling, log-correction (B,), what is present."""
        x = self._columns(batch.x)
        known = self._columns(batch.present)
        if self.plain:  # nothing but an affine map: no column needs a step of its own
            return (
                x if batch.full and batch.length is None else x * known,
                x.new_zeros(len(batch)),
                known,
            )
        y = x.new_zeros((*x.shape[:-1], sum(self.widths)))
        present = self._spread(batch.present)
        cells, minus_log_q = self._cells(batch, noise) if self.stochastic else (y, y)
        ladj = (minus_log_q * present).flatten(1).sum(-1)
        parts = []
        for v, step, columns, targets in self.groups:
            # (rows, ..., columns of the group, numbers of one)
            u = cells[..., targets].unflatten(-1, (len(columns), _width(v)))
            u = u.clamp(EDGE, 1 - EDGE)
            value, change = step.forward(x[..., columns], u, self.edges[:, columns])
            parts.append(value.flatten(-2))
            ladj = ladj + (change * known[..., columns]).flatten(1).sum(-1)
        y = torch.cat(parts, -1)[..., self.back]
        return y * present, ladj, present

    def _cells(self, batch: Batch, noise: Noise) -> tuple[Tensor, Tensor]:
        """Places of values within their cells, in (0, 1), and -log q of each: uniform ones, (B, *F)."""
        u = noise.uniform("cell", *self.out.layout).to(batch.x)
        return u, torch.zeros_like(u)


class Step:
    """One variable's map x (..., n) <-> y (..., n, width), with log|dy/dx| - log q entrywise (..., n).

    `u` are places within cells, of no meaning to variables without; `edges` how near values come to the bounds,
    (2, n).
    """

    def __init__(self, variable: Variable) -> None:
        self.variable = variable

    def forward(self, x: Tensor, u: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        """y and its share of log p."""
        raise NotImplementedError

    def inverse(self, y: Tensor) -> Tensor:
        """x again."""
        raise NotImplementedError


class _Real(Step):
    """A real, by log or logit where bounded; rounded ones are spread over their bin first."""

    def forward(self, x: Tensor, u: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        v = cast("Real", self.variable)
        extra = torch.zeros_like(x)
        if v.resolution is not None:
            x = x + v.resolution * (u.squeeze(-1) - 0.5)
            extra = extra + math.log(v.resolution)
        y, ladj = _unbound(x, v.lower, v.upper, edges)
        return y[..., None], ladj + extra

    def inverse(self, y: Tensor) -> Tensor:
        v = cast("Real", self.variable)
        return _bound(y.squeeze(-1), v.lower, v.upper)


class _Ordinal(Step):
    """v = (code + u) / levels in (0, 1), then logit if `squash`."""

    squash = True

    def forward(self, x: Tensor, u: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        levels = self.variable.states
        within = u.squeeze(-1)
        size = torch.full_like(x, -math.log(levels))
        if not self.squash:
            return ((x + within) / levels)[..., None], size
        y = (x + within).log() - (
            levels - 1 - x + (1 - within)
        ).log()  # 1 - v would round to 0 beside the last level
        return y[..., None], size - logsigmoid(y) - logsigmoid(-y)

    def inverse(self, y: Tensor) -> Tensor:
        levels = self.variable.states
        v = y.squeeze(-1).sigmoid() if self.squash else y.squeeze(-1)
        return (v * levels).floor().clamp(0, levels - 1)


class _Linear(_Ordinal):
    squash = False


class _Count(Step):
    """v = count + u > 0, then log."""

    def forward(self, x: Tensor, u: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        y = (x + u.squeeze(-1)).log()
        return y[..., None], -y

    def inverse(self, y: Tensor) -> Tensor:
        return y.squeeze(-1).clamp(max=40).exp().floor()


class _Nominal(Step):
    """K reals with the code as their argmax: the winner T ~ N(0,1), the others T - softplus(T - e)."""

    def forward(self, x: Tensor, u: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        # Gaussian noise of every code; the winner's stays, the others are pushed below it.
        e = torch.special.ndtri(u)
        code = x.long()[..., None]
        winner = e.gather(-1, code)
        y = winner - softplus(winner - e)
        y = y.scatter(-1, code, winner)
        log_q = -0.5 * e.square() - HALF_LOG_2PI
        # y_i = T - softplus(T - e_i): dy_i/de_i = sigmoid(T - e_i); the winner is unchanged
        stretch = logsigmoid(winner - e).scatter(-1, code, 0.0)
        return y, (stretch - log_q).sum(-1)

    def inverse(self, y: Tensor) -> Tensor:
        return y.argmax(-1).to(y.dtype)


_STEPS: dict[str, type[Step]] = {
    "real": _Real,
    "ordinal": _Ordinal,
    "count": _Count,
    "nominal": _Nominal,
}


def _step_of(variable: Variable, squash: bool) -> Step:
    if variable.type == "ordinal" and not squash:
        return _Linear(variable)
    return _STEPS[variable.type](variable)


def _width(variable: Variable) -> int:
    if variable.type == "nominal":
        return int(variable.states)
    return 1


def _out_space(space: Space, width: int) -> Space:
    if space.ragged and len(space.shape) == 1:
        return Space(
            axes=(*space.axes, "code"),
            shape=(None, width),
            variables=(Real(),),
            longest=space.longest,
        )
    shape = (*space.shape[:-1], width)
    return Space(axes=space.axes, shape=shape, variables=(Real(),), longest=space.longest)


def _unbound(
    x: Tensor, lower: float | None, upper: float | None, edges: Tensor
) -> tuple[Tensor, Tensor]:
    """A bounded real to the line, and log|dy/dx|; nearer to a bound than `edges` it counts as there."""
    # Between two bounds the logit of the place between them, beside one the log of the distance.
    if lower is not None and upper is not None:
        y = torch.maximum(x - lower, edges[0]).log() - torch.maximum(upper - x, edges[1]).log()
        return y, -logsigmoid(y) - logsigmoid(-y) - math.log(upper - lower)
    if lower is not None:
        above = torch.maximum(x - lower, edges[0]).log()
        return above, -above
    if upper is not None:
        below = torch.maximum(upper - x, edges[1]).log()
        return below, -below
    return x, torch.zeros_like(x)


def _bound(y: Tensor, lower: float | None, upper: float | None) -> Tensor:
    if lower is None and upper is None:
        return y
    if lower is not None and upper is not None:
        return lower + (upper - lower) * y.sigmoid()
    if lower is not None:
        return lower + y.clamp(max=40).exp()
    return (upper or 0.0) - y.clamp(max=40).exp()


class GaussianFiller(Filler):
    """q(missing entries | observed) = 7/8 N(m, C) + 1/8 N(m, 4 C), from a Gaussian fitted by EM to the training rows.

    In model units; diagonal where rows are long. The wider part keeps weights p / q from being
    ruled by a few draws where p has the heavier tails (a defensive mixture: Hesterberg 1995). Of
    eight draws of a row one takes it, in turn from a random start, which errs less than chance
    would.

    Args:
        space: The model's space (reals).
        largest: The most entries for which a full covariance is kept.
        passes: Passes of EM.
    """

    mean: Tensor
    cov: Tensor
    how = "a Gaussian"

    def __init__(self, space: Space, *, largest: int = 128, passes: int = 8) -> None:
        super().__init__()
        self.full = space.dims <= largest
        self.passes = passes
        self.shape = space.layout
        self.register_buffer("mean", torch.zeros(space.dims))
        self.register_buffer("cov", torch.eye(space.dims) if self.full else torch.ones(space.dims))

    def fit(self, source: Source) -> None:
        """EM over rows with missing entries; the tails of ragged rows count as missing entries."""
        full = all(bool(batch.present.all()) for batch in source.chunks(8192))
        for _ in range(1 if full else self.passes):
            # Sums of E[x] and E[x x'] given what is observed, then mean and covariance.
            weight = 0.0
            first = torch.zeros(())
            second = torch.zeros(())
            for batch in source.chunks(8192):
                x = batch.x.flatten(1).double()
                known = batch.present.flatten(1)
                part = self._moments(x, known, batch.weights.double())
                weight = weight + float(batch.weights.sum())
                first = first + part[0]
                second = second + part[1]
            mean = first / weight
            outer = torch.outer(mean, mean) if self.full else mean.square()
            cov = second / weight - outer
            self.mean = mean.to(self.mean)
            self.cov = (gaussian.shrunk(cov, 1e-3) if self.full else cov.clamp_min(1e-6)).to(
                self.cov
            )

    def _moments(self, x: Tensor, known: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.mean.double()
        cov = self.cov.double()
        if self.full:
            return gaussian.moments(x, mean, cov, known, weight)
        # Diagonal: missing entries have their marginal mean and variance.
        expected = torch.where(known, x, mean)
        spread = torch.where(known, torch.zeros_like(x), cov)
        return (weight[:, None] * expected).sum(0), (
            weight[:, None] * (expected.square() + spread)
        ).sum(0)

    def fill(self, batch: Batch, noise: Noise) -> tuple[Batch, Tensor]:
        """The batch with its missing entries drawn, and -log q of what was drawn, (B,)."""
        x = batch.x.flatten(1)
        known = batch.present.flatten(1)
        holes = batch.holes.flatten(1)
        # A draw from the wide part or the narrow one; log q is the density of their mixture.
        eps = noise.normal("fill", x.shape[-1])
        wide = _in_turn(noise)
        mean = self._draw(x, known, torch.zeros_like(eps))
        draw = mean + torch.where(wide, WIDER, 1.0) * (self._draw(x, known, eps) - mean)
        top, here = (self._log_q(torch.where(known, x, h), known, holes) for h in (mean, draw))
        # The wide part's density at the same point: its exponent divided by WIDER^2.
        wider = top + (here - top) / WIDER**2 - holes.sum(-1) * math.log(WIDER)
        log_q = torch.logaddexp(here + math.log(1 - DOUBTED), wider + math.log(DOUBTED))
        x_complete = torch.where(holes, draw, x).reshape(batch.x.shape)
        return Batch(x_complete, None, batch.length, batch.weight, batch.given, batch.index), -log_q

    def _draw(self, x: Tensor, known: Tensor, eps: Tensor) -> Tensor:
        if self.full:
            return gaussian.conditional_draw(x, self.mean, self.cov, known, eps)
        return self.mean + self.cov.sqrt() * eps

    def _log_q(self, x: Tensor, known: Tensor, holes: Tensor) -> Tensor:
        """log q(missing entries | known) = log q(known and missing entries) - log q(known)."""
        if not self.full:
            u = (x - self.mean).square() / self.cov
            return (-0.5 * (u + self.cov.log() + LOG_2PI) * holes).sum(-1)
        both = gaussian.log_density(x, self.mean, self.cov, known | holes)
        return both - gaussian.log_density(x, self.mean, self.cov, known)


def _in_turn(noise: Noise) -> Tensor:
    """Which rows take the wider part, bool (B, 1): a share DOUBTED of them, in turn along the draws of each row."""
    turns = round(1 / DOUBTED)
    draw = torch.as_tensor(noise.draw, device=noise.index.device).expand(noise.rows)
    turn = (replace(noise, draw=0).uniform("wide", 1) * turns).long() + draw[:, None]
    return turn % turns == 0
