"""Linear-Gaussian chains: z_1 ~ N(m, P), z_t = A z_t-1 + b + N(0, Q), x_t = C z_t + d + N(0, R), with holes anywhere.

Filtering, smoothing, densities and draws of whole paths, each in time linear in the length (Kalman
1960; Rauch, Tung & Striebel 1965). Covariances follow from what is known of each step, not from its
values: rows that know alike share them, and where they have come to rest they are no longer
computed.

Legend: B rows, L steps, C numbers a step, Q latents, G groups of rows that know the same steps, D
steps whose covariances differ, n draws. Inside, tensors are laid out step by step, (L, B, n, Q).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from likeness.inference.state_space.observations import Readings, System
from likeness.numerics.constants import LOG_2PI
from likeness.numerics.scan import scanned

REST = 1e-14  # change of a covariance, as a share of its variances, below which it has come to rest
LONG = 64  # steps that share a gain, and numbers of a step, from and up to which a scan pays
NARROW = 128


@dataclass(frozen=True, eq=False)
class Filtered:
    """What the forward recursion leaves of covariances, one entry for each step that differs from the one before.

    Args:
        place: Which entry each step has, L of them.
        since: The first step of each entry, and L behind them, D + 1.
        cov: Cov(z_t | x up to t), (D, G, Q, Q).
        root: root root' = cov.
        keep: I - cov Lambda: what the step's own x leaves of a prediction.
        log_det: log |I + S' Lambda S| of the prediction's covariance S S', (D, G).
        back: J = cov A' (A cov A' + Q)^-1, which smoothing goes back by.
    """

    place: list[int]
    since: list[int]
    cov: Tensor
    root: Tensor
    keep: Tensor
    log_det: Tensor
    back: Tensor


@dataclass(frozen=True, eq=False)
class Smoothed:
    """Covariances given all of x, one entry for each step that differs from the one behind.

    Args:
        place: Which entry each step has, int64 (L,).
        cov: Cov(z_t | x), (D, G, Q, Q).
        cross: Cov(z_t+1, z_t | x), 0 at the last step.
    """

    place: Tensor
    cov: Tensor
    cross: Tensor

    def total(self, weight: Tensor) -> Tensor:
        """Sum of covariances of steps of that weight (L, G), (Q, Q)."""
        return self._sum(self.cov, weight)

    def total_cross(self, weight: Tensor) -> Tensor:
        """The same of a step and the one behind it, weight (L, G) of the former."""
        return self._sum(self.cross, weight)

    def _sum(self, of: Tensor, weight: Tensor) -> Tensor:
        each = weight.new_zeros(of.shape[:2]).index_add_(0, self.place[: len(weight)], weight)
        return torch.einsum("dg,dgij->ij", each, of)


class Track(Readings):
    """The law of each row's path of latents given what is known of x.

    Args:
        system: The parameters.
        v: Steps (B, L, C).
        known: Which entries are there and known, bool (B, L, C).
        length: Steps of each row, int64 (B,), or None where all have L.
    """

    def __init__(
        self, system: System, v: Tensor, known: Tensor, length: Tensor | None = None
    ) -> None:
        super().__init__(system, v, known)
        self.length = length
        self.one = self.code.shape[1] == 1

    # ---- covariances -----------------------------------------------------------------------------

    @cached_property
    def filtered(self) -> Filtered:
        """The forward recursion in which x's information is added, P = (P_predicted^-1 + Lambda)^-1."""
        s = self.system
        groups = self.code.shape[1]
        eye = torch.eye(len(s.step)).to(s.step)
        changes = [
            *((self.code[1:] != self.code[:-1]).any(-1).nonzero().flatten() + 1).tolist(),
            self.steps,
        ]
        ahead = then = s.first_cov.expand(groups, -1, -1)
        rests = torch.zeros(groups, dtype=torch.bool, device=s.step.device)
        place = list[int]()
        since = list[int]()
        roots = list[Tensor]()
        covs = list[Tensor]()
        dets = list[Tensor]()
        codes = list[Tensor]()
        while (t := len(place)) < self.steps:
            code = self.code[t]
            if t:
                ahead = torch.where(
                    (rests & (code == self.code[t - 1]))[:, None, None], ahead, then
                )
            spread = torch.linalg.cholesky(ahead)
            factor = torch.linalg.cholesky(eye + spread.mT @ self.told[code] @ spread)
            root = torch.linalg.solve_triangular(factor, spread.mT, upper=False).mT
            cov = root @ root.mT
            then = s.step @ cov @ s.step.T + s.step_cov
            rests = _alike(ahead, then)
            if bool(rests.all()):
                like = changes[bisect_right(changes, t)] - t
            else:
                like = 1
            place += [len(roots)] * like
            since.append(t)
            roots.append(root)
            covs.append(cov)
            codes.append(code)
            dets.append(2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1))
        cov = torch.stack(covs)
        root = torch.stack(roots)
        then = torch.linalg.cholesky(s.step @ cov @ s.step.T + s.step_cov)
        back = torch.cholesky_solve(s.step @ cov, then).mT
        keep = eye - cov @ self.told[torch.stack(codes)]
        return Filtered(place, [*since, self.steps], cov, root, keep, torch.stack(dets), back)

    @cached_property
    def behind(self) -> Tensor:
        """A root of Cov(z_t | z_t+1, x up to t) = (cov^-1 + A' Q^-1 A)^-1, (D, G, Q, Q)."""
        s = self.system
        root = self.filtered.root
        u = torch.linalg.solve_triangular(
            torch.linalg.cholesky(s.step_cov), s.step @ root, upper=False
        )
        factor = torch.linalg.cholesky(torch.eye(len(s.step)).to(u) + u.mT @ u)
        return torch.linalg.solve_triangular(factor, root.mT, upper=False).mT

    @cached_property
    def smoothed(self) -> Smoothed:
        """The backward recursion P_t|L = V_t + J_t P_t+1|L J_t', a sum of squares (Rauch, Tung & Striebel 1965)."""
        f = self.filtered
        left = self.behind @ self.behind.mT
        covs = [f.cov[f.place[-1]]]
        crosses = [torch.zeros_like(f.cov[0])]
        place = [0]
        resting = False
        for t in range(self.steps - 2, -1, -1):
            here = f.place[t]
            if not (resting and here == f.place[t + 1]):
                cross = covs[-1] @ f.back[here].mT
                cov = left[here] + f.back[here] @ cross
                resting = here == f.place[t + 1] and bool(_alike(cov, covs[-1]).all())
                covs.append(cov)
                crosses.append(cross)
            place.append(len(covs) - 1)
        laid = torch.tensor(place[::-1], device=f.cov.device)
        return Smoothed(laid, torch.stack(covs), torch.stack(crosses))

    # ---- means and draws -------------------------------------------------------------------------

    @cached_property
    def mean(self) -> Tensor:
        """E[z_t | x], (B, L, Q)."""
        return self._back(None)[:, :, 0].transpose(0, 1)

    def draw(self, eps: Tensor) -> Tensor:
        """The last M steps of paths given x from standard normal numbers (n, B, M, Q), from the last to the first.

        Forward filtering, backward sampling (Frühwirth-Schnatter 1994).
        """
        return self._back(eps.permute(2, 1, 0, 3)).permute(2, 1, 0, 3)

    @cached_property
    def filtered_mean(self) -> Tensor:
        """E[z_t | x up to t], (B, L, Q)."""
        return self._forward[:, :, 0].transpose(0, 1)

    @cached_property
    @torch.no_grad()
    def _forward(self) -> Tensor:
        """m_t = (I - P Lambda) (A m_t-1 + b) + P C' R^-1 (x_t - d), (L, B, 1, Q)."""
        f = self.filtered
        s = self.system
        pull = (
            (self.weighed((self.v - s.offset) * self.known) @ s.load)
            .transpose(0, 1)[:, :, None]
            .contiguous()
        )
        push = f.keep @ s.drift
        gain = (f.keep @ s.step).mT.contiguous()

        def drive(d: int, steps: slice) -> Tensor:
            return self._by(pull[steps], f.cov, d) + self._of(push, d)

        start = self._by(pull[:1], f.cov, f.place[0]) + self._of(f.keep @ s.first_mean, f.place[0])
        return self._walk(start, range(1, self.steps), gain, drive)

    @torch.no_grad()
    def _back(self, eps: Tensor | None) -> Tensor:
        """z_t = m_t + J_t (z_t+1 - A m_t - b), and a draw's own part, (L, B, n, Q)."""
        f = self.filtered
        s = self.system
        mean = self._forward
        last = self.steps - 1
        own = (torch.eye(len(s.step)).to(s.step) - f.back @ s.step).mT.contiguous()
        push = -(f.back @ s.drift)
        gain = f.back.mT.contiguous()
        if eps is None:
            return self._walk(
                mean[last:],
                range(last - 1, -1, -1),
                gain,
                lambda d, t: self._by(mean[t], own, d) + self._of(push, d),
            )
        since = self.steps - len(eps)
        behind = self.behind.mT.contiguous()
        ends = f.root.mT.contiguous()

        def drive(d: int, steps: slice) -> Tensor:
            here = eps[steps.start - since : steps.stop - since]
            return self._by(mean[steps], own, d) + self._of(push, d) + self._by(here, behind, d)

        def begin(t: int) -> Tensor:
            return mean[t] + self._by(eps[t - since][None], ends, f.place[t])[0]

        return self._walk(begin(last)[None], range(last - 1, since - 1, -1), gain, drive, begin)

    def _walk(
        self,
        start: Tensor,
        order: range,
        gain: Tensor,
        drive: Callable[[int, slice], Tensor],
        begin: Callable[[int], Tensor] | None = None,
    ) -> Tensor:
        """z_t = gain' z + drive_t along `order`, from one step `start` (1, B, n, Q); rows that end there `begin`."""
        out = start.new_empty(len(order) + 1, *start.shape[1:])
        fused, flat = (torch.addmm, out.flatten(1, 2)) if self.one else (torch.baddbmm, out)
        now = start.flatten(1, 2)[0] if self.one else start[0]
        first = order.start - order.step
        least = min([first, *order[-1:]])
        flat[first - least] = now
        for d, run in self._runs(order):
            at = gain[d, 0] if self.one else gain[d][self.group]
            lo, hi = sorted((run[0], run[-1]))
            given = drive(d, slice(lo, hi + 1))
            if self.one:
                given = given.flatten(1, 2)
            if self._scans(run, now) and (begin is None or hi + 1 < self.shortest):
                path = scanned(given.flip(0) if order.step < 0 else given, now, at)
                if order.step < 0:
                    flat[lo - least : hi - least + 1] = path.flip(0)
                else:
                    flat[lo - least : hi - least + 1] = path
                now = path[-1]
                continue
            for t in run:
                now = fused(given[t - lo], now, at)
                if begin is not None and t + 1 >= self.shortest:
                    now = self._begun(now, begin(t), t)
                flat[t - least] = now
        return out

    def _scans(self, run: range, now: Tensor) -> bool:
        """Whether steps are many and narrow: log2 of them passes over all are then faster than one call for each."""
        return self.one and len(run) >= LONG and now.numel() <= NARROW

    @cached_property
    def shortest(self) -> int:
        """The fewest steps of a row."""
        if self.length is None or not self.rows:
            return self.steps
        return int(self.length.min())

    def _begun(self, now: Tensor, ends: Tensor, t: int) -> Tensor:
        """A step of rows that go on, and the last of those that do not: what is past an end has no part in a draw."""
        assert self.length is not None
        over = (self.length <= t + 1)[:, None, None]
        return torch.where(over, ends, now.view_as(ends)).view_as(now)

    def _runs(self, order: range) -> Iterator[tuple[int, range]]:
        """Steps that go together: those of like covariances where all rows share them, else one by one."""
        place = self.filtered.place
        since = self.filtered.since
        t = order.start
        pace = order.step
        while t in order:
            d = place[t]
            if not self.one:
                edge = t + pace
            else:
                edge = since[d + 1] if pace > 0 else since[d] - 1
            if pace > 0:
                stop = min(edge, order.stop)
            else:
                stop = max(edge, order.stop)
            yield d, range(t, stop, pace)
            t = stop

    def _by(self, x: Tensor, of: Tensor, d: int) -> Tensor:
        """Vectors (T, B, n, Q) times the matrix of their row's group."""
        return x @ (of[d, 0] if self.one else of[d][self.group])

    def _of(self, of: Tensor, d: int) -> Tensor:
        """A vector of each row's group, (B or 1, 1, Q)."""
        if self.one:
            return of[d]
        return of[d][self.group][:, None]

    # ---- densities -------------------------------------------------------------------------------

    @cached_property
    def log_z(self) -> Tensor:
        """log p of what is known, (B,), with its gradient with respect to x.

        log p(x) = log p(x, z) - log p(z | x) at the smoothed path z, where no large terms cancel.
        As that path is the best one, its own change does not change the value, and no graph through
        time is needed.
        """
        f = self.filtered
        # Step by step: how many steps share an entry depends on the rows beside, and sums of products round otherwise.
        log_det = f.log_det[torch.tensor(f.place, device=f.log_det.device)].sum(0)[self.group]
        return self.seen(self.mean) - 0.5 * (
            self._summed_within(self._squares(self.mean)) + log_det
        )

    def score(self, z: Tensor) -> Tensor:
        """log p(x, z) of paths z (B, L, Q), what is past a row's end left out, (B,)."""
        s = self.system
        q = z.shape[-1]
        log_det = [
            2 * torch.linalg.cholesky(c).diagonal().log().sum() for c in (s.first_cov, s.step_cov)
        ]
        constant = q * LOG_2PI + torch.cat([log_det[0][None], log_det[1].expand(self.steps - 1)])
        return self.seen(z) - 0.5 * self._summed_within(self._squares(z) + constant)

    def _squares(self, z: Tensor) -> Tensor:
        """Squared distances of each step from where it was bound, in units of its covariance, (B, L)."""
        s = self.system
        first = _whitened(z[:, :1] - s.first_mean, s.first_cov)
        return torch.cat(
            [first, _whitened(z[:, 1:] - z[:, :-1] @ s.step.T - s.drift, s.step_cov)], 1
        )

    def _summed_within(self, each: Tensor) -> Tensor:
        """The sum of numbers (B, L) over the steps within their row, (B,)."""
        if self.length is None:
            return each.sum(-1)
        return (each * (torch.arange(self.steps, device=each.device) < self.length[:, None])).sum(
            -1
        )

    # ---- x given z -------------------------------------------------------------------------------

    @cached_property
    def since(self) -> int:
        """The first step of which something is hidden in any row, or the last one."""
        hidden = (~self.known).any(-1).any(0).nonzero()
        if len(hidden):
            return int(hidden[0])
        return self.steps - 1

    def filled(self, z: Tensor, eps: Tensor | None = None) -> Tensor:
        """What is known as it is, and the rest given it and a path's last M steps z (..., B, M, Q): its mean, or draws.

        Draws are made of eps (..., B, M, C). Under full noise what is hidden follows what is known
        of its step: a draw is moved as what is known asks (Matheron's rule: Doucet 2010). Steps
        before must be known.
        """
        s = self.system
        since = self.steps - z.shape[-2]
        x = z @ s.load.T + s.offset
        v = self.v[:, since:]
        known = self.known[:, since:]
        if eps is not None:
            x = x + (eps * s.noise.sqrt() if s.diagonal else eps @ torch.linalg.cholesky(s.noise).T)
        if not s.diagonal:
            x = x + self._regressed((v - x) * known)
        x = torch.where(known, v, x)
        return torch.cat([self.v[:, :since].expand(*x.shape[:-2], since, -1), x], -2)

    def _regressed(self, gap: Tensor) -> Tensor:
        """E[noise of a step | its known part], (..., B, M, C), under full noise."""
        flat = gap.reshape(-1, *gap.shape[-3:])
        return (
            torch.stack([self.weighed(part) for part in flat]).reshape(gap.shape)
            @ self.system.noise
        )


def _alike(a: Tensor, b: Tensor) -> Tensor:
    """Whether covariances (G, Q, Q) agree to rounding, bool (G,)."""
    std = b.diagonal(dim1=-2, dim2=-1).sqrt()
    return ((a - b).abs() <= REST * std[:, :, None] * std[:, None, :]).flatten(1).all(-1)


def _whitened(gap: Tensor, cov: Tensor) -> Tensor:
    """Squared lengths in units of the covariance, (B, L)."""
    flat = gap.flatten(0, 1).T
    u = torch.linalg.solve_triangular(torch.linalg.cholesky(cov), flat, upper=False)
    return u.square().sum(0).reshape(gap.shape[:2])
