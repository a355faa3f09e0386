"""Joint Gaussians with missing entries: densities, conditionals, draws and moments for any missingness pattern.

A missing entry's row and column of the covariance are replaced by the identity's, so that one batched
Cholesky serves all patterns at once and no row's arithmetic depends on the rows beside it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from likeness.numerics.constants import LOG_2PI
from likeness.numerics.patterns import patterns_of

ROUNDING = 1e-12
ROOM = 1 << 23  # numbers in a chunk's batched covariances


def log_density(x: Tensor, mean: Tensor, cov: Tensor, present: Tensor | None = None) -> Tensor:
    """log N(x; mean, cov) of the entries present, in nats, (B,).

    Args:
        x: (B, D).
        mean: (D,) or (B, D).
        cov: (D, D) or (B, D, D).
        present: bool (B, D), or None where all are.
    """
    # Nothing missing and one covariance: one factor for all rows.
    if present is None and cov.dim() == 2:
        factor = torch.linalg.cholesky(cov)
        u = torch.linalg.solve_triangular(factor, (x - mean).T, upper=False)
        return -0.5 * (u.square().sum(0) + x.shape[-1] * LOG_2PI) - factor.diagonal().log().sum()
    if present is None:
        known = torch.ones_like(x, dtype=torch.bool)
    else:
        known = present
    parts = [_masked_density(*part) for part in _chunks(x, mean, cov, known)]
    return torch.cat(parts)


def _masked_density(x: Tensor, mean: Tensor, cov: Tensor, known: Tensor) -> Tensor:
    # Missing entries have residual 0 and unit variance: they add nothing.
    factor = torch.linalg.cholesky(masked(cov, known))
    residual = ((x - mean) * known)[..., None]
    u = torch.linalg.solve_triangular(factor, residual, upper=False).squeeze(-1)
    log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return -0.5 * (u.square().sum(-1) + known.sum(-1).to(x) * LOG_2PI) - log_det


def masked(cov: Tensor, known: Tensor) -> Tensor:
    """The covariance with identity rows and columns where nothing is known, (B, D, D)."""
    both = known[:, :, None] & known[:, None, :]
    return torch.where(both, cov, torch.eye(cov.shape[-1], dtype=cov.dtype, device=cov.device))


def conditional_mean(x: Tensor, mean: Tensor, cov: Tensor, known: Tensor) -> Tensor:
    """E[x | the known entries], (B, D): mean + cov_{.o} cov_oo^-1 (x_o - mean_o)."""
    return torch.cat([_regress(xs, ms, cs, ks) for xs, ms, cs, ks in _chunks(x, mean, cov, known)])


def _regress(x: Tensor, mean: Tensor, cov: Tensor, known: Tensor) -> Tensor:
    # cov_oo^-1 (x_o - m_o), 0 at the missing entries, then cov times it.
    residual = ((x - mean) * known)[..., None]
    solution = (
        torch.cholesky_solve(residual, torch.linalg.cholesky(masked(cov, known))) * known[..., None]
    )
    shift = (cov @ solution).squeeze(-1)
    return torch.where(known, x, mean + shift)


def conditional_draw(x: Tensor, mean: Tensor, cov: Tensor, known: Tensor, normal: Tensor) -> Tensor:
    """A draw of the hidden entries given the known ones, (B, D), by Matheron's rule.

    z ~ N(mean, cov) is moved by cov_{.o} cov_oo^-1 (x_o - z_o) (Doucet 2010).
    """
    # A draw of the whole vector; Matheron's rule moves its hidden part as the known part demands.
    factor = torch.linalg.cholesky(cov)
    z = mean + (normal @ factor.mT if cov.dim() == 2 else (factor @ normal[..., None]).squeeze(-1))
    if not bool(known.any()):
        return z
    return torch.cat([_regress(xs, zs, cs, ks) for xs, zs, cs, ks in _chunks(x, z, cov, known)])


def moments(
    x: Tensor, mean: Tensor, cov: Tensor, known: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Weighted sums of E[x] (D,) and E[x x'] (D, D) given what is known in each row, under one mean and covariance.

    Rows of one pattern share their regression, so that many rows with few patterns cost little.
    """
    patterns, of = patterns_of(known)
    groups = of.argsort().split(of.bincount(minlength=len(patterns)).tolist())
    first = x.new_zeros(x.shape[-1])
    second = x.new_zeros(x.shape[-1], x.shape[-1])
    for part, places in zip(
        _split(patterns, x), _split(torch.arange(len(patterns)), x), strict=True
    ):
        # E[x x'] of a pattern's rows: sum of w E[x] E[x]' plus the covariance left in each.
        gain, left = _regression(cov, part)
        for i, place in enumerate(places.tolist()):
            members = groups[place]
            w = weight[members]
            expected = mean + ((x[members] - mean) * part[i]) @ gain[i]
            first += (w[:, None] * expected).sum(0)
            second += (w[:, None] * expected).T @ expected + left[i] * w.sum()
    return first, second


def _regression(cov: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """For each pattern (P, D) the regression of x on its known entries, and the conditional covariance, (P, D, D)."""
    gain = torch.cholesky_solve(cov * known[:, :, None], torch.linalg.cholesky(masked(cov, known)))
    left = cov - (cov * known[:, None, :]) @ gain
    return gain, left * (~known[:, :, None] & ~known[:, None, :])


def _chunks(
    x: Tensor, mean: Tensor, cov: Tensor, known: Tensor
) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    means = _split(mean.expand_as(x), x)
    covs = _split(cov, x) if cov.dim() == 3 else [cov] * len(means)
    return list(zip(_split(x, x), means, covs, _split(known, x), strict=True))


def _split(t: Tensor, x: Tensor) -> list[Tensor]:
    """Chunks of rows whose covariances fit ROOM."""
    return list(t.split(max(1, ROOM // max(1, x.shape[-1] ** 2))))


def shrunk(cov: Tensor, shrinkage: float) -> Tensor:
    """(1 - s) cov + s tr(cov)/D I, with a floor of 1e-9 of the mean variance so that it can be inverted.

    Variances at the rounding of standardised numbers are none: of one row, however heavy.
    """
    d = cov.shape[-1]
    scale = cov.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    eye = torch.eye(d, dtype=cov.dtype, device=cov.device)
    return (1 - shrinkage) * cov + (shrinkage + 1e-9) * torch.where(
        scale > ROUNDING, scale, torch.ones_like(scale)
    ) * eye


def definite(cov: Tensor, share: float) -> Tensor:
    """The covariances (..., D, D) as they are where they have Cholesky factors, else raised until they do.

    Eigenvalues of the correlations are raised to `share` at least, so that a change of units changes nothing.
    What they lacked is rounding: a covariance of few rows, or of columns that follow from each other, has
    eigenvalues of 0, and its sums in single precision are off by more than any floor in double would mend.
    """
    failed = torch.linalg.cholesky_ex(cov).info > 0
    if not bool(failed.any()):
        return cov
    # Correlations have no units: raise their eigenvalues, then scale back.
    std = cov.diagonal(dim1=-2, dim2=-1).clamp_min(torch.finfo(cov.dtype).tiny).sqrt()
    scale = std[..., :, None] * std[..., None, :]
    values, vectors = torch.linalg.eigh(cov / scale)
    repaired = (vectors * values.clamp_min(share)[..., None, :]) @ vectors.mT
    return torch.where(failed[..., None, None], 0.5 * (repaired + repaired.mT) * scale, cov)


def varying(variance: Tensor) -> Tensor:
    """Variances of standardised numbers, 1 where nothing varies but for rounding."""
    return torch.where(variance > ROUNDING, variance, torch.ones_like(variance))
