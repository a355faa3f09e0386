"""What EM asks of linear-Gaussian chains: expected second moments of their paths, and regressions on them.

Legend: B rows, L steps, C numbers a step, Q latents, P patterns of what is known, G groups of rows
    that know alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from likeness.core.learner import Parameters
from likeness.inference.state_space.kalman import Track
from likeness.inference.state_space.observations import System


class Moments:
    """Weighted sums over steps of E[z], E[z z'], E[z_t z_t-1'] and of x with them, given all that is known.

    Args:
        track: The law of the states.
        weight: Of each step, 0 past the end, (B, L).
    """

    def __init__(self, track: Track, weight: Tensor) -> None:
        self.track = track
        self.weight = weight
        self.z = track.mean
        self.h = torch.cat([self.z, torch.ones_like(self.z[..., :1])], -1)
        groups = track.code.shape[1]
        self.grouped = weight.new_zeros(track.steps, groups).index_add_(1, track.group, weight.T)

    @property
    def first(self) -> Parameters:
        """Of the first step, and of all of them."""
        w = self.weight
        z = self.z
        covs = self.track.smoothed
        start = w[:, :1]
        return {
            "n": start.sum(),
            "first": (start * z[:, 0]).sum(0),
            "first_square": (start * z[:, 0]).T @ z[:, 0] + covs.total(self.grouped[:1]),
            "z_total": w.sum(),
            "z_sum": (w[..., None] * z).sum((0, 1)),
            "z_square": _product(z, z, w) + covs.total(self.grouped),
        }

    @property
    def moves(self) -> Parameters:
        """Of states and those before them with 1 behind: outer (Q+1, Q+1), cross (Q, Q+1), square (Q, Q)."""
        w = self.weight[:, 1:]
        covs = self.track.smoothed
        track = self.track
        g = self.grouped[1:]
        none = self.grouped.new_zeros(1, track.code.shape[1])
        now = covs.total(torch.cat([none, g]))
        before = covs.total(torch.cat([g, none]))
        return {
            "moves": w.sum(),
            "outer": _product(self.h[:, :-1], self.h[:, :-1], w) + _bordered(before, 1, 1),
            "cross": _product(self.z[:, 1:], self.h[:, :-1], w)
            + _bordered(covs.total_cross(g), 0, 1),
            "square": _product(self.z[:, 1:], self.z[:, 1:], w) + now,
        }

    @property
    def seen(self) -> Parameters:
        """Of x and states with 1 behind: x_outer (1 or C, Q+1, Q+1), x_cross (C, Q+1), x_square, x_seen."""
        if bool(self.track.mask.all()):
            return self._whole
        if self.track.system.diagonal:
            return self._entries
        return self._expected

    @property
    def _whole(self) -> Parameters:
        """Nothing hidden: one outer product for all entries."""
        x = self.track.v
        w = self.weight
        diagonal = self.track.system.diagonal
        outer = _product(self.h, self.h, w) + _bordered(
            self.track.smoothed.total(self.grouped), 1, 1
        )
        if diagonal:
            square = (w[..., None] * x.square()).sum((0, 1))
        else:
            square = _product(x, x, w)
        seen = w.sum().expand(x.shape[-1]) if diagonal else w.sum()
        return {
            "x_outer": outer[None],
            "x_cross": _product(x, self.h, w),
            "x_square": square,
            "x_seen": seen,
        }

    @property
    def _expected(self) -> Parameters:
        """Steps of which something is known, the rest of them as it is expected under full noise."""
        track = self.track
        some = track.mask.any(-1).to(self.z)
        g = self.grouped * some[track.code]
        w = self.weight * some[track.code.T[track.group]]
        x = track.filled(self.z)
        (pull, left) = self._hidden
        code = track.code.flatten()
        cov = track.smoothed.cov[track.smoothed.place]
        each = cov.new_zeros(len(track.mask), *cov.shape[-2:])
        each.index_add_(0, code, (g[..., None, None] * cov).flatten(0, 1))
        often = cov.new_zeros(len(track.mask)).index_add_(0, code, g.flatten())
        square = (
            _product(x, x, w)
            + (pull @ each @ pull.mT).sum(0)
            + torch.einsum("p,pij->ij", often, left)
        )
        return {
            "x_outer": (_product(self.h, self.h, w) + _bordered(each.sum(0), 1, 1))[None],
            "x_cross": _product(x, self.h, w) + _bordered((pull @ each).sum(0), 0, 1),
            "x_square": square,
            "x_seen": w.sum(),
        }

    @property
    def _hidden(self) -> tuple[Tensor, Tensor]:
        """How x follows the state given what is known, (P, C, Q), and the covariance that is left, (P, C, C)."""
        track = self.track
        s = self.track.system
        hidden = (~track.mask).to(self.z)
        gain = s.noise @ track.weight
        left = (s.noise - gain @ s.noise) * hidden[:, :, None] * hidden[:, None, :]
        return (s.load - gain @ s.load) * hidden[:, :, None], left

    @property
    def _entries(self) -> Parameters:
        """Each entry's own sums, over the steps in which it is known."""
        track = self.track
        x = self.track.v
        w = (track.known * self.weight[..., None]).flatten(0, 1)
        outer = (
            w.T @ (self.h[..., :, None] * self.h[..., None, :]).flatten(0, 1).flatten(1)
        ).unflatten(-1, self.h.shape[-1:] * 2)
        cov = track.smoothed.cov[track.smoothed.place]
        share = (track.mask[track.code] * self.grouped[..., None]).flatten(0, 1)
        spread = (share.T @ cov.flatten(0, 1).flatten(1)).unflatten(-1, cov.shape[-2:])
        flat = x.flatten(0, 1)
        return {
            "x_outer": outer + _bordered(spread, 1, 1),
            "x_cross": (w * flat).T @ self.h.flatten(0, 1),
            "x_square": (w * flat.square()).sum(0),
            "x_seen": w.sum(0),
        }


@dataclass(frozen=True, eq=False)
class Move:
    """The expected log-density of moves as a function of their matrix, from the sums that EM keeps."""

    sums: Parameters

    def slope(self, step: Tensor) -> Tensor:
        """The matrix with the drift that is best beside it, (Q, Q+1)."""
        count = self.sums["outer"][-1, -1].clamp_min(1e-12)
        drift = (self.sums["cross"][:, -1] - step @ self.sums["outer"][:-1, -1]) / count
        return torch.cat([step, drift[:, None]], -1)

    def left(self, slope: Tensor) -> Tensor:
        """The mean square that is left of a move, (Q, Q)."""
        both = slope @ self.sums["cross"].T
        square = self.sums["square"] - both - both.T + slope @ self.sums["outer"] @ slope.T
        return square / self.sums["moves"]

    def loss(self, step: Tensor, precision: Tensor) -> Tensor:
        """What it costs in units of the noise before."""
        return (precision * self.left(self.slope(step))).sum()


def turned(s: System, middle: Tensor, spread: Tensor) -> System:
    """The same law of x by states z' = T (z - middle) of unit covariance along the directions that x tells most of."""
    values, vectors = torch.linalg.eigh(spread)
    root = vectors * values.sqrt()
    load = s.load @ root
    if s.diagonal:
        scaled = load / s.noise.sqrt()[:, None]
    else:
        scaled = torch.linalg.solve_triangular(torch.linalg.cholesky(s.noise), load, upper=False)
    turn = torch.linalg.svd(scaled, full_matrices=True)[2].T
    sign = (load @ turn).gather(0, (load @ turn).abs().argmax(0, keepdim=True)).sign()
    root = root @ (turn * torch.where(sign == 0, 1.0, sign))
    back = torch.linalg.inv(root)
    return System(
        back @ (s.first_mean - middle),
        back @ s.first_cov @ back.T,
        back @ s.step @ root,
        back @ (s.drift + s.step @ middle - middle),
        _even(back @ s.step_cov @ back.T),
        s.load @ root,
        s.offset + s.load @ middle,
        s.noise,
    )


def _even(cov: Tensor) -> Tensor:
    return (cov + cov.mT) / 2


def _product(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """Sum over rows and steps of weight a b'."""
    return (a * weight[..., None]).flatten(0, 1).T @ b.flatten(0, 1)


def _bordered(t: Tensor, rows: int, columns: int) -> Tensor:
    """With so many rows and columns of 0 behind."""
    return torch.nn.functional.pad(t, (0, columns, 0, rows))


def solved(outer: Tensor, cross: Tensor) -> Tensor:
    """Slopes cross outer^-1 of each entry, (C, Q+1), for outer (Q+1, Q+1), or one for each or for all (1 or C, ...)."""
    ridge = 1e-12 * outer.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None] + 1e-30
    outer = outer + ridge * torch.eye(outer.shape[-1]).to(outer)
    return torch.linalg.solve(outer.expand(len(cross), -1, -1), cross[..., None]).squeeze(-1)


def raised(cov: Tensor, floor: float) -> Tensor:
    """The covariance with eigenvalues of `floor` at least, which is the likeliest such."""
    values, vectors = torch.linalg.eigh(_even(cov))
    return _even(vectors * values.clamp_min(floor) @ vectors.T)


def radius(step: Tensor) -> float:
    """The largest modulus of the matrix's eigenvalues."""
    return float(torch.linalg.eigvals(step).abs().max())


def tamed(step: Tensor, most: float = 1.0) -> Tensor:
    """The matrix with eigenvalues beyond a circle brought back to it."""
    values, vectors = torch.linalg.eig(step)
    values = values / (values.abs() / most).clamp_min(1.0)
    brought = ((vectors * values) @ torch.linalg.pinv(vectors)).real
    size = radius(brought)
    if size <= most:
        return brought
    return brought * (most / size)


def regressed(y: Tensor, z: Tensor, weight: Tensor, least: float) -> tuple[Tensor, Tensor, Tensor]:
    """Slope, offset and covariance, `least` at least, of y (B, L, K) on z of steps of that weight (B, L)."""
    h = torch.cat([z, torch.ones_like(z[..., :1])], -1)
    slope = solved(_product(h, h, weight), _product(y, h, weight))
    gap = y - h @ slope.T
    return (
        slope[:, :-1],
        slope[:, -1],
        raised(_product(gap, gap, weight) / weight.sum().clamp_min(1e-12), least),
    )
