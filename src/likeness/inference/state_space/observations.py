"""What steps x_t = C z_t + d + N(0, R) say about the states z_t, with entries missing anywhere.

Legend: B rows, L steps, C numbers a step, Q latents, G groups of rows that know the same steps, P
    patterns of missing entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from likeness.numerics.constants import LOG_2PI
from likeness.numerics.gaussian import masked
from likeness.numerics.patterns import patterns_of

FEW = 8  # rows up to which each is a group of its own, so that its bits do not depend on the rows beside it
ROOM = 1 << 24  # numbers in the products of loadings of all patterns


@dataclass(frozen=True, eq=False)
class System:
    """The parameters, which all rows share.

    Args:
        first_mean: m, (Q,).
        first_cov: P, (Q, Q).
        step: A, (Q, Q).
        drift: b, (Q,).
        step_cov: Q, (Q, Q).
        load: C, (C, Q).
        offset: d, (C,).
        noise: R, its diagonal (C,) or whole (C, C).
    """

    first_mean: Tensor
    first_cov: Tensor
    step: Tensor
    drift: Tensor
    step_cov: Tensor
    load: Tensor
    offset: Tensor
    noise: Tensor

    @property
    def diagonal(self) -> bool:
        """Whether the noise of x is of independent entries."""
        return self.noise.dim() == 1


class Readings:
    """Observations in information form: C'R^-1 C and C'R^-1 (x - d) of each row's steps, by pattern of missing entries.

    Args:
        system: The parameters.
        v: Steps (B, L, C).
        known: Which entries are there and known, bool (B, L, C).
    """

    def __init__(self, system: System, v: Tensor, known: Tensor) -> None:
        self.system = system
        self.v = v
        self.known = known
        self.rows, self.steps = v.shape[:2]
        self.mask, self.code, self.group = patterns(known)

    @cached_property
    def weight(self) -> Tensor:
        """R^-1 of what each pattern knows, 0 elsewhere: its diagonal (P, C) or whole (P, C, C)."""
        noise = self.system.noise
        if self.system.diagonal:
            return self.mask / noise
        # The inverse of R restricted to the known entries:
        # unit rows stand in for the others, then 0.
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(masked(noise, self.mask)))
        return inverse * self.mask[:, :, None] * self.mask[:, None, :]

    @cached_property
    def log_noise(self) -> Tensor:
        """log |R| of what each pattern knows, (P,)."""
        if self.system.diagonal:
            return (self.mask * self.system.noise.log()).sum(-1)
        factor = torch.linalg.cholesky(masked(self.system.noise, self.mask))
        return 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    @cached_property
    def information(self) -> Tensor:
        """Lambda = C' R^-1 C of what each pattern knows, (P, Q, Q)."""
        load = self.system.load
        # Full noise: C' R_p^-1 C for each pattern p, (P, Q, Q).
        if not self.system.diagonal:
            return load.mT @ self.weight @ load
        # Diagonal noise: a weighted sum of the outer products c_i c_i', laid out flat, (C, Q * Q).
        outer = (load[:, :, None] * load[:, None, :]).flatten(1)
        parts = self.weight.split(max(1, ROOM // outer.numel()))
        return torch.cat([(part[..., None] * outer).sum(1) for part in parts]).unflatten(
            -1, load.shape[1:] * 2
        )

    def weighed(self, gap: Tensor) -> Tensor:
        """R^-1 gap over what is known, 0 elsewhere, for the last M steps (B, M, C)."""
        since = self.steps - gap.shape[1]
        if self.system.diagonal:
            return gap * self.known[:, since:] / self.system.noise
        # Nothing is missing anywhere: one matrix for all steps.
        if len(self.mask) == 1:
            return gap @ self.weight[0]
        # Each step by the matrix of its own pattern, (rows, steps, C, C).
        which = self.code[since:].T[self.group]
        return (self.weight[which] @ gap[..., None]).squeeze(-1)

    def log_likelihood(self, z: Tensor) -> Tensor:
        """log N(x; C z + d, R) of what is known, summed over the steps, for paths z (B, L, Q): (B,)."""
        # Missing entries leave the residual 0, and count neither in log |R| nor in log 2 pi.
        gap = (self.v - self.system.offset - z @ self.system.load.T) * self.known
        count, log_det = (
            self._summed(t) for t in (self.mask.sum(-1).to(self.log_noise), self.log_noise)
        )
        return -0.5 * ((gap * self.weighed(gap)).sum((1, 2)) + log_det + count * LOG_2PI)

    def _summed(self, value: Tensor) -> Tensor:
        """The sum over a row's steps of a number of their patterns, (B,)."""
        return value[self.code].sum(0)[self.group]


def patterns(known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Missingness patterns (P, C), the one of each step of each group (L, G), and rows' groups (B,)."""
    rows, steps, c = known.shape
    group = torch.arange(rows, device=known.device)
    # Nothing missing: one pattern. A few rows stay groups of their own (see FEW).
    if bool(known.all()):
        if not rows <= FEW:
            group = torch.zeros_like(group)
        code = torch.zeros(
            steps, rows if rows <= FEW else 1, dtype=torch.int64, device=known.device
        )
        return known.new_ones(1, c), code, group
    mask, code = patterns_of(known)
    # Rows with the same patterns at all steps form a group, which shares its covariances.
    if rows > FEW:
        code, group = code.unique(dim=0, return_inverse=True)
    return mask, code.T.contiguous(), group
