"""The E-step of linear-Gaussian chains: expected second moments of their paths, and the regressions of the M-step.

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
        track: The distribution of the states.
        weight: Of each step, 0 past the end, (B, L).
    """

    def __init__(self, track: Track, weight: Tensor) -> None:
        self.track = track
        self.weight = weight
        self.z = track.mean
        # h = (z, 1): regressions on h have the offset as their last column.
        self.h = torch.cat([self.z, torch.ones_like(self.z[..., :1])], -1)
        groups = track.code.shape[1]
        # Covariances are shared in groups, so that weights
        # of rows are summed by group, (steps, groups).
        self.grouped = weight.new_zeros(track.steps, groups).index_add_(1, track.group, weight.T)

    @property
    def first(self) -> Parameters:
        """Sums of E[z] and E[z z'] over first steps, and over all steps."""
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
        """Sums over transitions, h = (z, 1) before: outer h h' (Q+1, Q+1), cross z h' (Q, Q+1), square z z' (Q, Q)."""
        # E[z z'] = E[z] E[z]' + Cov(z): products of means, and weighted sums of covariances.
        w = self.weight[:, 1:]
        covs = self.track.smoothed
        track = self.track
        g = self.grouped[1:]
        # Moves go from steps 1..L-1 (before) to 2..L (now).
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
    def emissions(self) -> Parameters:
        """Sums of x and h = (z, 1): x_outer h h' (1 or C, Q+1, Q+1), x_cross x h' (C, Q+1), x_square, x_seen."""
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
        count = w.sum().expand(x.shape[-1]) if diagonal else w.sum()
        return {
            "x_outer": outer[None],
            "x_cross": _product(x, self.h, w),
            "x_square": square,
            "x_seen": count,
        }

    @property
    def _expected(self) -> Parameters:
        """Steps of which something is known, the rest of them as it is expected under full noise."""
        track = self.track
        # Steps that know nothing of x say nothing of C, d and R.
        some = track.mask.any(-1).to(self.z)
        g = self.grouped * some[track.code]
        w = self.weight * some[track.code.T[track.group]]
        # Missing entries of x as expected given the smoothed state and the observed ones.
        x = track.filled(self.z)
        (pull, noise) = self._hidden
        # Covariances of the states summed by pattern, (P, Q, Q), and how often each pattern occurs.
        code = track.code.flatten()
        cov = track.smoothed.cov[track.smoothed.place]
        each = cov.new_zeros(len(track.mask), *cov.shape[-2:])
        each.index_add_(0, code, (g[..., None, None] * cov).flatten(0, 1))
        often = cov.new_zeros(len(track.mask)).index_add_(0, code, g.flatten())
        # E[x x'] adds what the hidden entries vary with the state (pull) and around it (left).
        square = (
            _product(x, x, w)
            + (pull @ each @ pull.mT).sum(0)
            + torch.einsum("p,pij->ij", often, noise)
        )
        return {
            "x_outer": (_product(self.h, self.h, w) + _bordered(each.sum(0), 1, 1))[None],
            "x_cross": _product(x, self.h, w) + _bordered((pull @ each).sum(0), 0, 1),
            "x_square": square,
            "x_seen": w.sum(),
        }

    @property
    def _hidden(self) -> tuple[Tensor, Tensor]:
        """Regression of hidden entries on z given the known ones, (P, C, Q), and its residual covariance, (P, C, C)."""
        track = self.track
        s = self.track.system
        # Gaussian conditioning: hidden | known has slope C
        # - G C and covariance R - G R, G = R R_known^-1.
        hidden = (~track.mask).to(self.z)
        gain = s.noise @ track.weight
        left = (s.noise - gain @ s.noise) * hidden[:, :, None] * hidden[:, None, :]
        return (s.load - gain @ s.load) * hidden[:, :, None], left

    @property
    def _entries(self) -> Parameters:
        """Each entry's own sums, over the steps in which it is known."""
        track = self.track
        x = self.track.v
        # Weights of each entry, 0 where it is missing, (rows * steps, C).
        w = (track.known * self.weight[..., None]).flatten(0, 1)
        outer = (
            w.T @ (self.h[..., :, None] * self.h[..., None, :]).flatten(0, 1).flatten(1)
        ).unflatten(-1, self.h.shape[-1:] * 2)
        # Covariances weighted by the steps in which each entry is known, (C, Q, Q).
        cov = track.smoothed.cov[track.smoothed.place]
        weight = (track.mask[track.code] * self.grouped[..., None]).flatten(0, 1)
        covs = (weight.T @ cov.flatten(0, 1).flatten(1)).unflatten(-1, cov.shape[-2:])
        flat = x.flatten(0, 1)
        return {
            "x_outer": outer + _bordered(covs, 1, 1),
            "x_cross": (w * flat).T @ self.h.flatten(0, 1),
            "x_square": (w * flat.square()).sum(0),
            "x_seen": w.sum(0),
        }


@dataclass(frozen=True, eq=False)
class Move:
    """The expected log-density of transitions as a function of A, from the sums of the E-step."""

    sums: Parameters

    def slope(self, step: Tensor) -> Tensor:
        """A and the drift b that is best beside it, (Q, Q+1)."""
        count = self.sums["outer"][-1, -1].clamp_min(1e-12)
        drift = (self.sums["cross"][:, -1] - step @ self.sums["outer"][:-1, -1]) / count
        return torch.cat([step, drift[:, None]], -1)

    def left(self, slope: Tensor) -> Tensor:
        """The residual covariance of the transitions, (Q, Q)."""
        both = slope @ self.sums["cross"].T
        square = self.sums["square"] - both - both.T + slope @ self.sums["outer"] @ slope.T
        return square / self.sums["moves"]

    def loss(self, step: Tensor, precision: Tensor) -> Tensor:
        """The residual covariance in units of the last Q, tr(Q^-1 residual)."""
        return (precision * self.left(self.slope(step))).sum()


def turned(s: System, middle: Tensor, spread: Tensor) -> System:
    """The same distribution of x by states z' = T (z - middle) of unit covariance, in order of what x says of them."""
    # A root of the spread makes the latents of unit covariance ...
    values, vectors = torch.linalg.eigh(spread)
    root = vectors * values.sqrt()
    load = s.load @ root
    # ... and the right singular vectors of the loadings,
    # in units of the noise, order the directions.
    if s.diagonal:
        white_load = load / s.noise.sqrt()[:, None]
    else:
        white_load = torch.linalg.solve_triangular(
            torch.linalg.cholesky(s.noise), load, upper=False
        )
    turn = torch.linalg.svd(white_load, full_matrices=True)[2].T
    # The largest loading of each latent is positive, so
    # that the answer does not depend on the solver's signs.
    sign = (load @ turn).gather(0, (load @ turn).abs().argmax(0, keepdim=True)).sign()
    root = root @ (turn * torch.where(sign == 0, 1.0, sign))
    # The model in new coordinates: z = root z' + middle.
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
    """The matrix with more rows and columns of 0 behind."""
    return torch.nn.functional.pad(t, (0, columns, 0, rows))


def solved(outer: Tensor, cross: Tensor) -> Tensor:
    """Slopes cross outer^-1 of each entry, (C, Q+1), for outer (Q+1, Q+1), or one for each or for all (1 or C, ...)."""
    # A ridge of rounding size, for latents that do not vary.
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
    # Eigenvalues move towards 0 along their own direction;
    # rounding may still leave a modulus above `most`.
    values, vectors = torch.linalg.eig(step)
    values = values / (values.abs() / most).clamp_min(1.0)
    stable = ((vectors * values) @ torch.linalg.pinv(vectors)).real
    size = radius(stable)
    if size <= most:
        return stable
    return stable * (most / size)


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
