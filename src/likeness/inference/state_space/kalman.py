"""Linear-Gaussian chains: z_1 ~ N(m, P), z_t = A z_t-1 + b + N(0, Q), x_t = C z_t + d + N(0, R), any entries missing.

Filtering, smoothing, densities and draws of whole paths, each in time linear in the length (Kalman
1960; Rauch, Tung & Striebel 1965): affine recurrences under the gains of `covariances`, which rows
that know alike share.

Legend: B rows, L steps, C numbers a step, Q latents, G groups of rows that know the same steps, D
steps whose covariances differ, n draws. Inside, tensors are laid out step by step, (L, B, n, Q).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial

import torch
from torch import Tensor

from likeness.inference.state_space.covariances import (
    Filtered,
    Smoothed,
    backward_root,
    filter_covariances,
    smooth_covariances,
)
from likeness.inference.state_space.observations import Readings, System
from likeness.numerics.constants import LOG_2PI
from likeness.numerics.scan import affine_scan


class Track(Readings):
    """The distribution of each row's path of latents given the observed entries of x.

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
        """Covariances given what came up to each step."""
        return filter_covariances(self.system, self.information, self.code)

    @cached_property
    def behind(self) -> Tensor:
        """A root of Cov(z_t | z_t+1, x up to t), (D, G, Q, Q)."""
        return backward_root(self.system, self.filtered)

    @cached_property
    def smoothed(self) -> Smoothed:
        """Covariances given all of x."""
        return smooth_covariances(self.filtered, self.behind)

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
        # P C' R^-1 (x_t - d) is the pull of the observations; (I -
        # P Lambda) A and (I - P Lambda) b the gain and the push.
        pull = (
            (self.weighed((self.v - s.offset) * self.known) @ s.load)
            .transpose(0, 1)[:, :, None]
            .contiguous()
        )
        push = f.keep @ s.drift
        gain = (f.keep @ s.step).mT.contiguous()

        def drive(d: int, steps: slice) -> Tensor:
            return self._by(pull[steps], f.cov, d) + self._of(push, d)

        # The first step updates its own prior mean m in place of a prediction.
        start = self._by(pull[:1], f.cov, f.place[0]) + self._of(f.keep @ s.first_mean, f.place[0])
        return self._walk(start, range(1, self.steps), gain, drive)

    @torch.no_grad()
    def _back(self, eps: Tensor | None) -> Tensor:
        """z_t = m_t + J_t (z_t+1 - A m_t - b), and a draw's own part, (L, B, n, Q)."""
        f = self.filtered
        s = self.system
        mean = self._forward
        last = self.steps - 1
        # Rearranged: z_t = J_t z_t+1 + (I - J_t A) m_t - J_t b, an affine recurrence run backward.
        own = (torch.eye(len(s.step)).to(s.step) - f.back @ s.step).mT.contiguous()
        push = -(f.back @ s.drift)
        gain = f.back.mT.contiguous()
        # Means: no noise.
        if eps is None:
            return self._walk(
                mean[last:],
                range(last - 1, -1, -1),
                gain,
                lambda d, t: self._by(mean[t], own, d) + self._of(push, d),
            )
        # Draws add a root of Cov(z_t | z_t+1, x) times eps, and begin with one of Cov(z_L | x).
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
        backward = order.step < 0
        least = order.start - order.step
        # Offset of `out`: the earliest step that the walk visits.
        if backward and len(order):
            least = order[-1]
        flat = out.flatten(1, 2) if self.one else out  # rows that share a gain go as one matrix
        now = start.flatten(1, 2)[0] if self.one else start[0]
        flat[-1 if backward else 0] = now
        # Steps with the same gain are one scan.
        for d, run in self._runs(order):
            low, high = sorted((run[0], run[-1]))
            steps = slice(low, high + 1)
            inputs = drive(d, steps)
            if self.one:
                inputs = inputs.flatten(1, 2)
            restart = None
            # Rows that end in this run start anew at their own last step.
            if begin is not None and high + 1 >= self.shortest:
                restart = partial(self._begun, begin, low)
            at = gain[d, 0] if self.one else gain[d][self.group]
            to = flat[low - least : high + 1 - least]
            now = affine_scan(now, at, inputs, to, backward=backward, restart=restart)
        return out

    @cached_property
    def shortest(self) -> int:
        """The fewest steps of a row."""
        if self.length is None or not self.rows:
            return self.steps
        return int(self.length.min())

    def _begun(self, begin: Callable[[int], Tensor], low: int, i: int, now: Tensor) -> Tensor:
        """Step low + i, begun where a row ends there: what is past an end has no part in a draw."""
        t = low + i
        if self.length is None or t + 1 < self.shortest:
            return now
        ends = begin(t)
        over = (self.length <= t + 1)[:, None, None]
        return torch.where(over, ends, now.view_as(ends)).view_as(now)

    def _runs(self, order: range) -> Iterator[tuple[int, range]]:
        """Steps that go together: those of like covariances where all rows share them, else one by one."""
        place = self.filtered.place
        since = self.filtered.since
        t = order.start
        pace = order.step
        while t in order:
            # A run ends where the entry of the covariances does, or with the walk.
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
        return self.log_likelihood(self.mean) - 0.5 * (
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
        return self.log_likelihood(z) - 0.5 * self._summed_within(self._squares(z) + constant)

    def _squares(self, z: Tensor) -> Tensor:
        """Squared Mahalanobis distances of z_1 from m and of z_t from A z_t-1 + b, (B, L)."""
        s = self.system
        # z_1 from m by P, and z_t from A z_t-1 + b by Q.
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
        # x = C z + d, with noise where a draw is wanted.
        x = z @ s.load.T + s.offset
        v = self.v[:, since:]
        known = self.known[:, since:]
        if eps is not None:
            x = x + (eps * s.noise.sqrt() if s.diagonal else eps @ torch.linalg.cholesky(s.noise).T)
        # Under full noise, the residuals of known entries say
        # something of the hidden ones: add E[noise | known noise].
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


def _whitened(gap: Tensor, cov: Tensor) -> Tensor:
    """Squared Mahalanobis lengths, (B, L)."""
    flat = gap.flatten(0, 1).T
    u = torch.linalg.solve_triangular(torch.linalg.cholesky(cov), flat, upper=False)
    return u.square().sum(0).reshape(gap.shape[:2])
