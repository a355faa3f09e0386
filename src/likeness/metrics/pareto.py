"""How heavy the tail of importance weights is: the shape k of a generalised Pareto fit, and smoothed weights."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from likeness.core.errors import BadData

LEAST = 5  # weights in a tail from which a shape can be told
PRIOR = 10  # how many weights the prior on k counts for, and where it lies
CENTRE = 0.5
TRUSTED = 0.7  # the largest k under which smoothed weights are of use (Vehtari et al. 2024, section 3.2.4)


@dataclass(frozen=True, eq=False)
class Smoothed:
    """Importance weights whose largest are replaced by quantiles of the Pareto distribution fitted to them.

    Args:
        log_weight: (S,), not normalised.
        k: The tail's shape: moments of the weights of order 1 / k and above do not exist.
    """

    log_weight: Tensor
    k: float

    @property
    def trusted(self) -> bool:
        """Whether k and the number of weights speak for their mean: k < min(1 - 1 / log10 S, 0.7)."""
        return self.k < min(1 - 1 / math.log10(max(len(self.log_weight), 2)), TRUSTED)

    @property
    def ess(self) -> float:
        """(sum w)^2 / sum w^2, the effective number of draws."""
        share = self.log_weight.softmax(0)
        return float(1 / share.square().sum())


def fit_pareto(x: Tensor) -> tuple[float, float]:
    """Shape k and scale of a generalised Pareto fit, by the mean of theta = -k / scale under its profile likelihood.

    p(x) = (1 + k x / scale)^(-1 / k - 1) / scale: Zhang & Stephens 2009, Technometrics 51(3), with
    their prior and grid; their k has the other sign.

    Args:
        x: Exceedances > 0, (M,).

    Raises:
        BadData: Where they are too few, or hold what is no positive number.
    """
    # Exceedances in rising order; k and scale depend on theta = -k / scale alone.
    x, n = x.double().sort().values, len(x)
    if n < LEAST or not bool((x.isfinite() & (x >= 0)).all()) or x[-1] <= 0:
        raise BadData(f"a Pareto fit needs at least {LEAST} finite numbers above 0", do="draw more")
    # Zhang & Stephens' grid of candidates, spread by the lower quartile.
    grid = torch.arange(1, 31 + math.isqrt(n), dtype=torch.float64)
    quarter = x[max(int(n / 4 + 0.5) - 1, 0)].clamp_min(1e-300)
    theta = 1 / x[-1] + (1 - (len(grid) / (grid - 0.5)).sqrt()) / (3 * quarter)
    # For each candidate its k, and the profile log-likelihood, (grid,).
    shape = torch.log1p(-theta[:, None] * x).mean(-1)
    height = n * ((-theta / shape).log() - shape - 1)
    # The posterior mean of theta, weights from the likelihood, then k and scale there.
    at = (theta * height.softmax(0)).sum()
    k = torch.log1p(-at * x).mean()
    return float(k), float(-k / at)


def pareto_smoothed(log_weight: Tensor) -> Smoothed:
    """The largest min(S / 5, 3 sqrt(S)) weights by the Pareto distribution fitted to them, none above the largest.

    Vehtari, Simpson, Gelman, Yao & Gabry 2024, JMLR 25(72), algorithm 1; k by Zhang & Stephens
    2009, drawn to 1/2 as if by ten weights more. Weights that are all alike have no tail: k is
    -inf.

    Args:
        log_weight: Log importance weights, (S,); -inf is a weight of 0.

    Raises:
        BadData: For fewer than 25 weights, or NaN or inf among them.
    """
    # The tail: the largest min(S / 5, 3 sqrt(S)) weights.
    w = log_weight.double().flatten()
    n = log_weight.numel()
    size = math.ceil(min(n / 5, 3 * math.sqrt(n)))
    if size < LEAST:
        raise BadData(f"{n} weights have no tail to look at", do="draw 25 or more")
    if bool(w.isnan().any()) or bool((w == math.inf).any()) or bool((w == -math.inf).all()):
        raise BadData(
            "log weights hold NaN or inf, or no weight is above 0",
            do="look at the density where it is so",
        )
    # Weights relative to the largest, so that none overflows.
    most = w.max()
    values, order = (w - most).exp().sort()
    tail = order[n - size :]
    cut = values[n - size - 1]
    # Exceedances over the largest weight below the tail.
    above = values[n - size :] - cut
    if above[-1] <= 1e-10:
        return Smoothed(w, -math.inf)
    # The Pareto fit, its k drawn to 1/2 by a weak prior.
    k, scale = fit_pareto(above)
    k = (k * size + CENTRE * PRIOR) / (size + PRIOR)
    # Expected order statistics replace the tail's weights, capped at the largest.
    p = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    quantile = scale * (
        torch.expm1(-k * torch.log1p(-p)) / k if abs(k) > 1e-12 else -torch.log1p(-p)
    )
    smooth = w.clone()
    smooth[tail] = (cut + quantile).clamp(max=1).log() + most
    return Smoothed(smooth, k)


def pareto_k(log_weight: Tensor) -> float:
    """The shape k of the tail of importance weights, from their logs (S,): below 0.5 good, above 0.7 not to be used."""
    return pareto_smoothed(log_weight).k
