"""Gaussian components: EM in two matrix products, exact with any pattern of missing entries; pure functions of tensors.

Legend: B rows, K components, D entries. Log-densities are component-major, (K, B).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from likeness.core.learner import Parameters
from likeness.core.noise import Noise
from likeness.inference.mixture.components import (
    CHUNK_NUMBERS,
    EStep,
    EStepFunction,
    SampledComponent,
)
from likeness.numerics import gaussian
from likeness.numerics.constants import LOG_2PI
from likeness.numerics.patterns import patterns_of

Covariance = Literal["full", "tied", "diagonal", "spherical"]

# Beyond so many entries a component's own products beat one product of quadratic features
WIDE = 48
STEEP = 1000.0  # squared distance of a mean from the origin, in deviations, up to which single precision serves


class Gaussians(SampledComponent):
    """N(mean_k, cov_k) over D reals, any of them missing.

    "mean" is (K, D); "cov" is (K, D, D) where full, (1, D, D) where tied, else variances (K, D).
    "variance" (D,) is the data's own: the floor of a covariance is relative to it, so that a change
    of units changes nothing.

    Args:
        components: K.
        covariance: Which covariances are allowed.
        floor: Added to every variance, as a share of the data's.
    """

    def __init__(self, components: int, covariance: Covariance, floor: float) -> None:
        self.components = components
        self.covariance = covariance
        self.floor = floor
        self.dense = covariance in {"full", "tied"}

    def init(self, variance: Tensor) -> Parameters:
        """Means at the origin, and the variances of the data."""
        k = 1 if self.covariance == "tied" else self.components
        cov = torch.diag_embed(variance) if self.dense else variance
        mean = variance.new_zeros(self.components, len(variance))
        return {"mean": mean, "cov": cov.expand(k, *cov.shape).clone(), "variance": variance}

    def e_step_at(self, params: Parameters, *, draft: bool = False) -> EStepFunction:
        """log N of the observed entries: products of features for complete rows, else by missingness pattern."""
        if not self.dense:
            return _diagonal(params, draft)
        whole = (_quadratic if params["mean"].shape[-1] <= WIDE else _wide)(params, draft)

        def e_step(v: Tensor, known: Tensor) -> EStep:
            if bool(known.all()):
                return whole(v, known)
            return _e_step_missing(v, known, params, draft)

        return e_step

    def m_step(self, sums: Parameters, before: Parameters, *, least: float = 0.0) -> Parameters:
        """Weighted moments; a component without weight keeps its parameters."""
        n = sums["n"]
        variance = before["variance"]
        # Diagonal statistics count observed rows by entry (K, D), dense ones by component (K,).
        weight = n if n.dim() == 2 else n[:, None]
        alive = weight > 1e-8
        # mean = S1 / n and cov = S2 / n - mean mean', plus a floor relative to the data's variance.
        mean = torch.where(alive, sums["first"] / weight.clamp(min=1e-8), before["mean"])
        cov = (self._dense if self.dense else self._diagonal)(sums["second"], weight, mean)
        floor = max(self.floor, least) * variance
        if self.dense:
            cov = gaussian.definite(cov + torch.diag_embed(floor), self.floor)
        else:
            cov = cov + floor
        # Components without weight keep what they had; a tied covariance is kept if none has any.
        if not self.dense:
            updated = alive
        elif self.covariance == "full":
            updated = alive[..., None]
        else:
            updated = alive.any()
        return {"mean": mean, "cov": torch.where(updated, cov, before["cov"]), "variance": variance}

    def free_parameters(self, params: Parameters) -> int:
        """Means, and the distinct numbers of the covariances."""
        k, d = params["mean"].shape
        own = {
            "full": k * d * (d + 1) // 2,
            "tied": d * (d + 1) // 2,
            "diagonal": k * d,
            "spherical": k,
        }
        return k * d + own[self.covariance]

    def _dense(self, second: Tensor, n: Tensor, mean: Tensor) -> Tensor:
        # Sum of r (x - m)(x - m)' = S2 - n m m'.
        scatter = second - n[..., None] * mean[:, :, None] * mean[:, None, :]
        if self.covariance == "tied":
            scatter = scatter.sum(0, keepdim=True)
            n = n.sum(0, keepdim=True)
        cov = scatter / n[..., None].clamp(min=1e-8)
        return 0.5 * (cov + cov.mT)

    def _diagonal(self, second: Tensor, n: Tensor, mean: Tensor) -> Tensor:
        scatter = (second - n * mean.square()).clamp(min=0)
        if self.covariance == "spherical":
            return (
                scatter.sum(-1, keepdim=True) / n.sum(-1, keepdim=True).clamp(min=1e-8)
            ).expand_as(mean)
        return scatter / n.clamp(min=1e-8)

    def draw(self, v: Tensor, known: Tensor, k: Tensor, params: Parameters, noise: Noise) -> Tensor:
        """Missing entries drawn from component k (B,) given the observed ones, (B, D)."""
        mean = params["mean"][k]
        normal = noise.normal("x", v.shape[-1]).double()
        # Diagonal covariances: missing entries are independent of the observed ones.
        if not self.dense:
            return torch.where(known, v, mean + params["cov"][k].sqrt() * normal)
        # Nothing observed: a draw of the whole Gaussian.
        if not bool(known.any()):
            return mean + _times(torch.linalg.cholesky(params["cov"]), self._own(k), normal)
        # Otherwise the Gaussian conditional of each row's own pattern, chunk by chunk.
        rows = max(1, CHUNK_NUMBERS // v.shape[-1] ** 2)
        # mean, index of the covariance, what is known and noise of each chunk of rows
        parts = zip(*(t.split(rows) for t in (v, mean, self._own(k), known, normal)), strict=True)
        cov = params["cov"]
        return torch.cat([gaussian.conditional_draw(x, m, cov[j], o, e) for x, m, j, o, e in parts])

    def mode(
        self, v: Tensor, known: Tensor, sought: Tensor, prior: Tensor, params: Parameters
    ) -> Tensor:
        """The best mode over the entries `sought`, other missing entries integrated out, (B, D)."""
        if self.dense:
            cov = params["cov"]
        else:
            cov = torch.diag_embed(params["cov"])
        rows = max(1, CHUNK_NUMBERS // (self.components * v.shape[-1] ** 2))
        peaks = []
        for x, o, s, log_w in zip(*(t.split(rows) for t in (v, known, sought, prior)), strict=True):
            # Entries that are neither known nor sought are
            # integrated out: left out of the precision.
            patterns, which = patterns_of(o | s)
            inverse, log_det = _inverses(cov, patterns)
            # Log-density of each component at its mean, (rows, components).
            height = log_w - 0.5 * log_det[which]
            precision = inverse[which].expand(-1, self.components, -1, -1)
            peaks.append(ascend(x, s, params["mean"], precision, height))
        return torch.cat(peaks)

    def conditional(
        self, v: Tensor, known: Tensor, k: Tensor, params: Parameters, size: int
    ) -> tuple[Tensor, Tensor]:
        """Mean (B, size) and Cholesky factor of the first `size` entries, all hidden, in component k given the rest."""
        mean = params["mean"][k]
        if self.dense:
            cov = params["cov"][self._own(k)]
        else:
            cov = torch.diag_embed(params["cov"][k])
        # Regression on the known entries: gain = C_ho C_oo^-1,
        # loc = m_h + gain (x_o - m_o), cov = C_hh - gain C_oh.
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(gaussian.masked(cov, known)))
        gain = (cov @ (inverse * (known[:, :, None] & known[:, None, :])))[:, :size]
        loc = mean[:, :size] + (gain @ ((v - mean) * known)[..., None]).squeeze(-1)
        return loc, torch.linalg.cholesky(cov[:, :size, :size] - gain @ cov[:, :, :size])

    def _own(self, k: Tensor) -> Tensor:
        """The index of each component's covariance."""
        if self.covariance == "tied":
            return torch.zeros_like(k)
        return k


def _times(factor: Tensor, k: Tensor, normal: Tensor) -> Tensor:
    """factor_k eps of each row, entry by entry so that no row's sum depends on the rows beside it, (B, D)."""
    size = max(1, CHUNK_NUMBERS // normal.shape[-1] ** 2)
    pairs = zip(k.split(size), normal.split(size), strict=True)
    return torch.cat([(factor[j] * e[:, None]).sum(-1) for j, e in pairs])


# ---- the two products of EM ----------------------------------------------------------------------


def _type(far: Tensor, draft: bool) -> torch.dtype:
    """Single precision where it will do: where no m_k' C_k^-1 m_k is so large that the expanded form loses digits."""
    if draft and float(far.max()) < STEEP:
        return torch.float32
    return torch.float64


def _quadratic(params: Parameters, draft: bool) -> EStepFunction:
    """log N = w_k . (1, x, x_i x_j): one matrix product for all components, and one more for all moments."""
    weights, far = _quadratic_weights(params)
    dtype = _type(far, draft)
    weights = weights.to(dtype)

    def e_step(v: Tensor, known: Tensor) -> EStep:
        features = _features(v.to(dtype))
        return EStep(
            weights @ features,
            lambda r: _unfolded((r.to(dtype) @ features.T).double(), v.shape[-1]),
        )

    return e_step


def _unfolded(total: Tensor, size: int) -> Parameters:
    """Sums of features as sums of 1, x and x x'."""
    # The features hold x_i x_j for i <= j; the matrix has both halves.
    rows, columns = torch.triu_indices(size, size)
    second = total.new_zeros(len(total), size, size)
    second[:, rows, columns] = second[:, columns, rows] = total[:, 1 + size :]
    return {"n": total[:, 0], "first": total[:, 1 : 1 + size], "second": second}


def _features(v: Tensor) -> Tensor:
    """1, x_i and x_i x_j for i <= j of each row, (1 + D + D (D + 1) / 2, B)."""
    x = v.T.contiguous()
    size = v.shape[-1]
    if v.requires_grad:
        return torch.cat([torch.ones_like(x[:1]), x, *(x[i:] * x[i] for i in range(size))])
    out = x.new_empty(
        1 + size + size * (size + 1) // 2, len(v)
    )  # in place: a third of the time of a copy
    out[0] = 1.0
    out[1 : 1 + size] = x
    at = 1 + size
    for i in range(size):
        torch.mul(x[i:], x[i], out=out[at : at + size - i])
        at += size - i
    return out


def _quadratic_weights(params: Parameters) -> tuple[Tensor, Tensor]:
    """The log-density as weights of the features, (K, 1 + D + D (D + 1) / 2), and m' C^-1 m (K,)."""
    # -(x - m)' P (x - m) / 2 = -m'Pm/2 + (P m).x - sum_ij P_ij x_i x_j / 2
    m = params["mean"]
    size = params["mean"].shape[-1]
    factor = torch.linalg.cholesky(params["cov"])
    precision = torch.cholesky_inverse(factor).expand(len(m), -1, -1)
    linear = (precision @ m[..., None]).squeeze(-1)
    far = (linear * m).sum(-1)
    constant = -0.5 * (far + size * LOG_2PI) - factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    # Products with i < j stand once among the features and twice in the quadratic form.
    rows, columns = torch.triu_indices(size, size)
    doubled = torch.where(rows == columns, 0.5, 1.0).to(m)
    return torch.cat([constant[:, None], linear, -doubled * precision[:, rows, columns]], -1), far


def _wide(params: Parameters, draft: bool) -> EStepFunction:
    """log N by each component's own whitening, and its moments by a product of its own."""
    size = params["mean"].shape[-1]
    tied = len(params["cov"]) == 1
    factor = torch.linalg.cholesky(params["cov"])
    eye = torch.eye(size, dtype=factor.dtype, device=factor.device)
    # Whitening L^-1: the squared distance is |L^-1 (x - m)|^2.
    white = torch.linalg.solve_triangular(factor, eye, upper=False)
    dtype = _type((white @ params["mean"][..., None]).square().sum((-2, -1)), draft)
    mean = params["mean"].to(dtype)
    white = white.to(dtype)
    constant = -factor.diagonal(dim1=-2, dim2=-1).log().sum(-1).to(dtype) - 0.5 * size * LOG_2PI
    # One (constant, mean, whitening) for each component.
    pairs = [(constant[0 if tied else k], m, white[0 if tied else k].T) for k, m in enumerate(mean)]

    def e_step(v: Tensor, known: Tensor) -> EStep:
        x = v.to(dtype)
        log_p = torch.stack([c - 0.5 * ((x - m) @ w).square().sum(-1) for c, m, w in pairs])
        return EStep(log_p, lambda r: _wide_sums(x, r.to(dtype), tied))

    return e_step


def _wide_sums(x: Tensor, r: Tensor, tied: bool) -> Parameters:
    """Sums of 1, x and x x'; the last pooled in the first component's place where one covariance serves all."""
    pooled = r.sum(0, keepdim=True) if tied else r
    second = torch.stack([(w[:, None] * x).T @ x for w in pooled]).double()
    spare = second.new_zeros(len(r) - len(second), *second.shape[1:])
    return {
        "n": r.double().sum(-1),
        "first": (r @ x).double(),
        "second": torch.cat([second, spare]),
    }


def _diagonal(params: Parameters, draft: bool) -> EStepFunction:
    """log N = w_k . (known, x, x^2): missing entries cost nothing, as the entries are independent given k."""
    m = params["mean"]
    precision = 1 / params["cov"]
    far = m.square() * precision
    dtype = _type(far.sum(-1), draft)
    # The constant of each entry, so that missing entries leave theirs out, (K, D).
    constant = -0.5 * (far - precision.log() + LOG_2PI)
    weights = torch.cat([constant, m * precision, -0.5 * precision], -1).to(dtype)

    def e_step(v: Tensor, known: Tensor) -> EStep:
        x = (v * known).to(dtype)
        observed = known.to(dtype)
        features = torch.cat([observed, x, x.square()], -1)
        names = ("n", "first", "second")
        return EStep(
            weights @ features.T,
            lambda r: dict(zip(names, (r.to(dtype) @ features).double().chunk(3, -1), strict=True)),
        )

    return e_step


def _e_step_missing(v: Tensor, known: Tensor, params: Parameters, draft: bool) -> EStep:
    """log N of what is known by one inverse for each missingness pattern and component; moments of the rest given it.

    The rows of one pattern share a product while learning; rows asked about each have their own, so
    that no row's rounding depends on the others.
    """
    cov = params["cov"]
    mean = params["mean"]
    size = v.shape[-1]
    # Inverses of a chunk take (patterns, K, D, D); in drafts few patterns may have many rows.
    rows = max(1, CHUNK_NUMBERS // (len(mean) * size**2))
    if draft and len(patterns_of(known)[0]) <= rows:
        rows = max(rows, CHUNK_NUMBERS // (len(mean) * size))
    parts = [
        _e_step_patterns(x, o, mean, cov, draft)
        for x, o in zip(v.split(rows), known.split(rows), strict=True)
    ]

    def sums(r: Tensor) -> Parameters:
        each = [
            part.statistics(w) for part, w in zip(parts, r.double().split(rows, -1), strict=True)
        ]
        return {name: torch.stack([e[name] for e in each]).sum(0) for name in each[0]}

    return EStep(torch.cat([part.log_density for part in parts], -1), sums)


def _e_step_patterns(v: Tensor, known: Tensor, mean: Tensor, cov: Tensor, draft: bool) -> EStep:
    """One chunk: g = C_oo^-1 (x_o - m_o) gives the quadratic form and E[x | x_o] = m + C g (Little & Rubin, 11.2)."""
    patterns, which = patterns_of(known)
    inverse, log_det = _inverses(cov, patterns)  # (P, K or 1, D, D), (P, K or 1)
    gap = (v - mean[:, None]) * known  # (K, B, D)
    g = (_shared_products if draft else _own_products)(inverse, which, gap)
    log_p = -0.5 * ((gap * g).sum(-1) + known.sum(-1).to(gap) * LOG_2PI + log_det.T[:, which])

    def sums(r: Tensor) -> Parameters:
        # E[x x'] adds the covariance left in the hidden entries: n C - C (sum_p r_p C_oo^-1) C.
        x = torch.where(known, v, mean[:, None] + g @ cov)
        r_x = r[..., None] * x
        n = r.sum(-1)
        share = r.new_zeros(len(r), len(patterns)).index_add_(1, which, r)  # (K, P)
        met = torch.einsum("kp,pkij->kij", share, inverse.expand(-1, len(r), -1, -1))
        left = n[:, None, None] * cov - cov @ met @ cov
        return {"n": n, "first": r_x.sum(1), "second": r_x.mT @ x + left}

    return EStep(log_p, sums)


def _shared_products(inverse: Tensor, which: Tensor, gap: Tensor) -> Tensor:
    """Each pattern's inverses (P, K or 1, D, D) times its rows of gaps (K, B, D), one product a pattern."""
    # Rows sorted by pattern, one product each, and back in their order.
    order = which.argsort()
    counts = torch.bincount(which, minlength=len(inverse)).tolist()
    pieces = [part @ one for part, one in zip(gap[:, order].split(counts, 1), inverse, strict=True)]
    return torch.cat(pieces, 1)[:, order.argsort()]


def _own_products(inverse: Tensor, which: Tensor, gap: Tensor) -> Tensor:
    """The same, entry by entry."""
    return (inverse[which] * gap.transpose(0, 1)[..., None, :]).sum(-1).transpose(0, 1)


def _inverses(cov: Tensor, patterns: Tensor) -> tuple[Tensor, Tensor]:
    """C_oo^-1 in its place, 0 elsewhere, (P, K, D, D), and log det C_oo (P, K), for patterns bool (P, D).

    Matrices are laid out to a multiple of 8 entries: their rounding would else depend on where in
        memory they lie.
    """
    size = cov.shape[-1]
    mask = torch.nn.functional.pad(patterns, (0, -size % 8))
    # Identity rows stand in for missing entries; the factor's determinant is that of C_oo alone.
    padded = torch.nn.functional.pad(cov, (0, -size % 8, 0, -size % 8))
    factor = torch.linalg.cholesky(torch.stack([gaussian.masked(c, mask) for c in padded], 1))
    both = (patterns[:, :, None] & patterns[:, None, :])[:, None]
    inverse = torch.cholesky_inverse(factor)[..., :size, :size] * both
    return inverse, 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


# ---- peaks ---------------------------------------------------------------------------------------


def ascend(
    v: Tensor, free: Tensor, mean: Tensor, precision: Tensor, height: Tensor, *, steps: int = 64
) -> Tensor:
    """The best peak that fixed-point ascents from every component's own reach, (B, D) (Carreira-Perpinan 2000, eq. 4).

    x_f <- A_ff^-1 (sum_k r_k P_k m_k - A x_o)_f with A = sum_k r_k P_k and r the responsibilities
    at x.

    Args:
        v: Values (B, D), used where not free.
        free: Which entries are sought, bool (B, D).
        mean: (K, D).
        precision: P_k of the entries that count, 0 elsewhere, (B, K, D, D).
        height: The log-density of each component at its mean, up to a constant of the row, (B, K).
    """
    rows = len(v)
    k = len(mean)
    d = v.shape[-1]
    pull = (precision @ mean[..., None]).squeeze(-1)  # P_k m_k, (B, K, D)
    fixed = torch.where(free, 0.0, v)[:, None]
    r = torch.eye(k, dtype=v.dtype, device=v.device).expand(rows, k, k)  # (B, starts, K)
    x = value = v.new_zeros(())
    for step in range(steps + 1):
        # A of each start's responsibilities, (rows, starts, D, D), and the right-hand side.
        a = (r @ precision.flatten(2)).unflatten(-1, (d, d))
        right = (r @ pull - (a @ fixed[..., None]).squeeze(-1)) * free[:, None]
        # Rows and columns of entries that are not free become those of the identity.
        system = gaussian.masked(a.flatten(0, 1), free.repeat_interleave(k, 0)).unflatten(
            0, (rows, k)
        )
        x = torch.where(free[:, None], torch.linalg.solve(system, right), fixed)
        gap = x[:, None] - mean[:, None]  # (B, K, starts, D)
        # Log-density of each component at x, (rows, components, starts).
        value = height[..., None] - 0.5 * ((gap @ precision) * gap).sum(-1)
        r = value.softmax(1).mT
        if step == steps:
            break
    # The start whose end has the highest density under the mixture.
    best = value.logsumexp(1).argmax(-1)
    return x[torch.arange(rows, device=v.device), best]
