"""Maps and nets against automatic differentiation: log-determinants, sparsity, values far out, round trips."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from likeness.bijections.base import Bijection
from likeness.check.cell import Cell
from likeness.check.contract import Result, check, demand, judge, worst
from likeness.core import scoring
from likeness.core.answers import Kind
from likeness.core.batch import Batch
from likeness.core.noise import Noise
from likeness.core.preprocessor import Preprocessor
from likeness.core.routes import Question
from likeness.nets.causal import CausalNet
from likeness.numerics.constants import LOG_2PI

LARGEST = 64  # entries of an event whose Jacobian is affordable
AGREE = 3e-8
FAR = 40.0  # standard deviations
DOUBLE = 1e-10
SINGLE = 1e-5
PLACES = 5


# ---- 9: log-determinants and masks ---------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Leaves(Noise):
    """Noise that keeps what it gave, with gradients, so that a map can be differentiated in it."""

    given: list[Tensor] = field(default_factory=list)
    normals: list[Tensor] = field(default_factory=list)

    def normal(self, use: str, *shape: int) -> Tensor:
        """Standard normals that remember gradients."""
        leaf = super().normal(use, *shape).requires_grad_()
        self.normals.append(leaf)
        self.given.append(leaf)
        return leaf

    def uniform(self, use: str, *shape: int) -> Tensor:
        """Uniforms that remember gradients."""
        leaf = super().uniform(use, *shape).requires_grad_()
        self.given.append(leaf)
        return leaf


@check(9, "log-determinants and masks")
def jacobians(cell: Cell) -> Result:
    """Every correction to log p is the log-determinant of its map; no output sees what it must not."""
    found: list[Result] = []
    if cell.model.preprocessor is not None and cell.model.preprocessor.out.dims <= LARGEST:
        found.append(_preprocessor(cell, cell.model.preprocessor))
    small = [s for s in _calls(cell, Bijection) if s.arguments[0].shape[-1] <= LARGEST]
    found += [_bijection(seen) for seen in small]
    found += [_masked(cell, seen) for seen in _calls(cell, CausalNet)]
    return worst(found)


def _preprocessor(cell: Cell, preprocessor: Preprocessor) -> Result:
    """The correction is log|det dy/d(x, u)|, u the noise of what is spread over cells, less log q of normal noise."""
    batch = cell.full(1)
    if batch.length is not None:
        batch = replace(batch, length=torch.full_like(batch.length, batch.x.shape[1]))
    x = batch.x.clone().requires_grad_()
    noise = Leaves(cell.seed, batch.ids, dtype=cell.law.dtype)
    # The Jacobian of the model's units in (x, noise), row by row by automatic differentiation.
    inside, correction, _ = preprocessor(replace(batch, x=x), noise)
    leaves = [x, *noise.given]
    rows = [
        torch.autograd.grad(y, leaves, retain_graph=True, allow_unused=True)
        for y in inside.x.flatten()
    ]
    matrix = torch.stack(
        [
            torch.cat(
                [
                    torch.zeros_like(v).flatten() if g is None else g.flatten()
                    for v, g in zip(leaves, row, strict=True)
                ]
            )
            for row in rows
        ]
    )
    # Columns of what really varies: reals without bins, and noise.
    matrix = matrix[:, _free(cell, noise)]
    matrix = matrix[
        :, matrix.abs().sum(0) > 0
    ]  # a real entry beside counted ones has a uniform number that it leaves
    demand(
        matrix.shape[0] == matrix.shape[1],
        f"a map of {matrix.shape[1]} numbers to {matrix.shape[0]}",
    )
    # Normal noise has a density of its own, which the correction divides by.
    log_q = sum((-0.5 * (e.square() + LOG_2PI)).sum() for e in noise.normals)
    wanted = torch.linalg.slogdet(matrix.double()).logabsdet - log_q
    gap = float((correction.squeeze() - wanted).abs()) / (1 + float(wanted.abs()))
    return judge(
        gap,
        AGREE,
        f"the preprocessor's correction {float(correction):.6f}, by autograd {float(wanted):.6f}",
    )


def _free(cell: Cell, noise: Leaves) -> Tensor:
    """Which of (x, noise) are free: reals without a bin vary themselves, all else by its noise."""
    space = cell.law.space
    own = torch.tensor([not v.counted for v in space.columns]).repeat(space.dims // space.width)
    return torch.cat([own, torch.ones(sum(g.numel() for g in noise.given), dtype=torch.bool)])


@dataclass(frozen=True)
class Seen:
    """A call of a module while log p was computed."""

    module: nn.Module
    arguments: tuple[Any, ...]


def _calls(cell: Cell, kind: type[nn.Module]) -> list[Seen]:
    """How modules of a kind are called for one row of log p."""
    # Hooks note the first call of each module.
    seen: dict[int, Seen] = {}

    def watch(module: nn.Module, arguments: tuple[Any, ...], _out: object) -> None:
        seen.setdefault(id(module), Seen(module, arguments))

    watched = [m.register_forward_hook(watch) for m in cell.model.modules() if isinstance(m, kind)]
    try:
        if watched and cell.kind is not None:
            cell.log_p(cell.full(1))
    finally:
        for handle in watched:
            handle.remove()
    return list(seen.values())


def _bijection(seen: Seen) -> Result:
    """log|det dy/dx| of one row against the Jacobian's."""
    # A row's outputs depend on that row alone, so the batch's sum has the row's Jacobian.
    x, *rest = seen.arguments
    matrix = torch.autograd.functional.jacobian(
        lambda v: seen.module(v, *rest)[0].sum(0), x[:1] if not rest else x
    )
    wanted = torch.linalg.slogdet(matrix[:, 0].double()).logabsdet
    ladj = seen.module(x, *rest)[1][0].detach()
    gap = float((ladj - wanted).abs()) / (1 + float(wanted.abs()))
    name = type(seen.module).__name__
    return judge(
        gap, AGREE, f"log-determinant of {name} {float(ladj):.6f}, by autograd {float(wanted):.6f}"
    )


def _masked(cell: Cell, seen: Seen) -> Result:
    """The outputs of the first i + 1 variables depend on the first i alone, and on some of them."""
    net = seen.module
    (x, *rest) = seen.arguments
    assert isinstance(net, CausalNet)
    # Positions of inputs and outputs in the net's order.
    heads = [column.head for column in cell.model.heads]  # type: ignore[union-attr]
    place = torch.tensor(net.order).argsort()  # the position of each variable
    leaf = x.detach().clone().requires_grad_()
    out = net(leaf, *rest)
    copies = len(place) // len(heads)
    ins = place.repeat_interleave(torch.tensor([h.features for h in heads] * copies))
    sizes = [h.size for h in heads] * copies
    extra = (out.shape[-1] - sum(sizes)) // cell.law.space.layout[
        0
    ]  # a stop stands in each step's first variable
    step = [sizes[i] + (extra if i % len(heads) == 0 else 0) for i in range(len(sizes))]
    outs = place.repeat_interleave(torch.tensor(step))
    spread = torch.linspace(0, len(place) - 1, min(PLACES, len(place))).long().tolist()
    leaks = blind = 0.0
    # Random weights sum the outputs up to i, so that no derivative cancels.
    for i in spread:
        told = out[..., outs <= i]
        weights = torch.randn(
            told.shape, generator=torch.Generator().manual_seed(i), dtype=told.dtype
        )
        (slope,) = torch.autograd.grad((told * weights).sum(), leaf, retain_graph=True)
        # Outputs up to i must not see inputs from i on, and must see some before.
        leaks = max(leaks, float(slope[..., ins >= i].abs().max()))
        before = slope[..., ins < i]
        blind += float(i > 0 and before.numel() > 0 and not bool(before.abs().max() > 0))
    demand(
        blind < len(spread) - 1 or len(spread) < 2,
        "no output of the net depends on any variable before it",
    )
    return judge(
        leaks, 0.0, "the largest derivative of an output by a variable that it must not see"
    )


# ---- 11: far out, and back -----------------------------------------------------------------------


@check(11, "far out, and back", of_laws=True)
def far(cell: Cell) -> Result:
    """log p and its gradient are finite 40 sigma out; what was mapped comes back, in single and double precision."""
    if cell.kind is not None and _unbounded(cell):
        found = [_finite(cell)]
    else:
        found = []
    if cell.law.__class__ is not type(cell.world):
        found += list(_round_trips(cell))
    return worst(found)


def _unbounded(cell: Cell) -> bool:
    return any(
        v.type == "real" and v.lower is None and v.upper is None for v in cell.law.space.variables
    )


def _finite(cell: Cell) -> Result:
    batch = cell.full(8)
    columns = torch.tensor([v.type == "real" for v in cell.law.space.columns])
    if len(columns) == batch.x.shape[-1]:
        real = batch.present & columns.expand_as(batch.x)
    else:
        real = batch.present
    # 40 standard deviations to either side, by turns.
    spread = cell.full(200).x.std()
    side = torch.where(torch.arange(8) % 2 == 0, FAR, -FAR).reshape(-1, *[1] * (batch.x.dim() - 1))
    leaf = (batch.x + (side * spread).to(batch.x) * real).round(decimals=6)
    leaf = _on_lattice(cell, leaf).requires_grad_()
    noise = Noise(cell.seed, batch.ids, scope="log_prob", dtype=cell.law.dtype)
    question = Question(replace(batch, x=leaf), noise, cell.law.Settings(), effort=2)
    # The model's own log p and its gradient there.
    with torch.enable_grad(), cell.law.asking():
        value = scoring.score_rows(cell.law, question).value
        demand(bool(torch.isfinite(value).all()), f"log p 40 sigma out is {value.tolist()}")
        if value.requires_grad:
            (slope,) = torch.autograd.grad(value.sum(), leaf, allow_unused=True)
            demand(
                slope is None or bool(torch.isfinite(slope).all()),
                "the gradient of log p 40 sigma out is not finite",
            )
    return Result(0, 0, f"log p {FAR:g} sigma out is at least {float(value.detach().min()):.3g}")


def _on_lattice(cell: Cell, x: Tensor) -> Tensor:
    """Rounded entries onto their bins."""
    widths = torch.tensor(
        [getattr(v, "resolution", None) or 0.0 for v in cell.law.space.columns], dtype=x.dtype
    )
    if not bool((widths > 0).any()):
        return x.detach()
    return torch.where(widths > 0, (x / widths.clamp_min(1e-30)).round() * widths, x).detach()


def _round_trips(cell: Cell) -> Iterator[Result]:
    """Data through the preprocessor and back; model units through each bijection and back."""
    for dtype, allowed in ((torch.float64, DOUBLE), (torch.float32, SINGLE)):
        with _in(cell, dtype) as law:
            batch = cell.full(32).to(dtype=dtype)
            if law.preprocessor is not None:
                yield _through(cell, law.preprocessor, batch, allowed)
            for seen in _calls(cell.again(law), Bijection):
                yield _inverted(seen, cell.again(law), allowed)


@contextmanager
def _in(cell: Cell, dtype: torch.dtype) -> Iterator[Any]:
    yield cell.law if dtype is cell.law.dtype else copy.deepcopy(cell.model).to(dtype)


def _through(cell: Cell, preprocessor: Preprocessor, batch: Batch, allowed: float) -> Result:
    with torch.no_grad():
        inside, _, kind = preprocessor(batch, Noise(cell.seed, batch.ids, dtype=batch.x.dtype))
        back = preprocessor.inverse(inside.x)
    gap = (((back - batch.x).abs() / (1 + batch.x.abs())) * batch.present).max()
    demand(kind is not Kind.ESTIMATE, "a preprocessor's share of log p is an estimate")
    return judge(float(gap), allowed, f"data through the preprocessor and back in {batch.x.dtype}")


def _inverted(seen: Seen, cell: Cell, allowed: float) -> Result:
    assert isinstance(seen.module, Bijection)
    # The identity of data, and other points that data do not visit.
    x, *rest = seen.arguments
    tests: list[Callable[[Tensor], Tensor]] = [lambda v: v, lambda v: 3 * v + 0.5]
    gap = 0.0
    with torch.no_grad():
        for change in tests:
            source = change(x)
            y, ladj = seen.module(source, *rest)
            back, minus = seen.module.inverse(y, *rest)
            gap = max(gap, float(((back - source).abs() / (1 + source.abs())).max()))
            demand(
                float((ladj + minus).abs().max()) <= 1e3 * allowed * x.shape[-1],
                "the inverse's log-determinant differs",
            )
    return judge(gap, allowed, f"{type(seen.module).__name__} and its inverse in {x.dtype}")
