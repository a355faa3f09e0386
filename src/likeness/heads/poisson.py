"""Counts 0, 1, 2, ...: Poisson, and the negative binomial that contains it as a limit."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from likeness.heads.base import EntryDistribution, Head, keep_known
from likeness.numerics.draws import open_unit, straight_through
from likeness.numerics.weighted import moments, spread, sums, tabulate

_STEPS = 512  # how far counts are walked up from 0 before a search by halves takes over
_LARGE = 256.0  # means above it are not walked to at all: the probability of 0 would be too small to start from
_LOG_MEAN = 30.0  # |log mean|: only to keep exp finite
LOG_DISPERSION = (-16.0, 8.0)
_STIRLING = 16.0  # from here on the series for log Gamma below is good to 1e-13


@dataclass(frozen=True, eq=False)
class CountDistribution(EntryDistribution):
    """Base of count distributions: mean mu and dispersion alpha, variance mu + alpha mu^2, Poisson at alpha 0."""

    head: CountHead

    @cached_property
    def mean(self) -> Tensor:
        """mu, (..., n)."""
        location = self.head.location.log().to(self.params.dtype)
        return (location + self.params[..., 0]).clamp(-_LOG_MEAN, _LOG_MEAN).exp()

    @property
    @abstractmethod
    def dispersion(self) -> Tensor:
        """alpha, (..., n)."""

    @property
    def mode(self) -> Tensor:
        """floor(mu (1 - alpha)), not below 0."""
        return (self.mean * (1 - self.dispersion)).floor().clamp(min=0)

    def draw(self, u: Tensor) -> Tensor:
        """The smallest count whose cumulative probability exceeds u."""
        p, mean, alpha = torch.broadcast_tensors(
            u.squeeze(-1), self.mean.detach(), self.dispersion.detach()
        )
        flat = (p.double().flatten(), mean.double().flatten(), alpha.double().flatten())
        return _search(*flat).reshape(p.shape).to(u.dtype)

    def cdf(self, x: Tensor) -> Tensor:
        """P(count <= x), without a gradient."""
        k, mean, alpha = torch.broadcast_tensors(
            x.floor(), self.mean.detach(), self.dispersion.detach()
        )
        below = _cdf(k.double().clamp(min=0), mean.double(), alpha.double())
        return torch.where(k < 0, 0.0, below).to(x.dtype)

    def relaxed(self, u: Tensor, temperature: float) -> Tensor:
        """The draw, with the gradient of mu + sqrt(mu + alpha mu^2) z, z the normal quantile of u."""
        z = torch.special.ndtri(open_unit(u.squeeze(-1)))
        smooth = self.mean + (self.mean + self.dispersion * self.mean.square()).sqrt() * z
        return self.head.embed(straight_through(self.draw(u), smooth))


@dataclass(frozen=True, eq=False)
class PoissonDistribution(CountDistribution):
    """P(k) = mu^k e^-mu / k!."""

    @property
    def dispersion(self) -> Tensor:
        """0."""
        return torch.zeros_like(self.mean)

    def log_prob(self, x: Tensor) -> Tensor:
        """The sum k log mu - mu - log k!."""
        return x * self.mean.log() - self.mean - torch.lgamma(x + 1)

    @property
    def linear(self) -> Tensor:
        """Weights log mu, -mu and 1."""
        return torch.stack([self.mean.log(), -self.mean, torch.ones_like(self.mean)], -1)


@dataclass(frozen=True, eq=False)
class NegativeBinomialDistribution(CountDistribution):
    """P(k) = Gamma(k + r) / (Gamma(r) k!) (mu / (r + mu))^k (r / (r + mu))^r with r = 1 / alpha."""

    @cached_property
    def dispersion(self) -> Tensor:
        """The dispersion alpha = 1 / r."""
        return self.params[..., 1].clamp(*LOG_DISPERSION).exp()

    def log_prob(self, x: Tensor) -> Tensor:
        """Written in k log mu and log(1 + alpha mu), so that nothing cancels as alpha goes to 0."""
        # log Gamma(k + r) / (Gamma(r) r^k) + k log mu - log k! - (k + r) log(1 + alpha mu)
        r = 1 / self.dispersion
        am = (self.dispersion * self.mean).log1p()
        return _log_rising(x, r) + x * self.mean.log() - torch.lgamma(x + 1) - (x + r) * am


def _log_rising(k: Tensor, r: Tensor) -> Tensor:
    """The logarithm log [Gamma(k + r) / (Gamma(r) r^k)], by differences of Stirling's series where r is large."""
    # Below _STIRLING directly; above it lgamma would lose all digits of a small difference.
    large = r > _STIRLING
    small = torch.where(large, 1.0, r)
    direct = torch.lgamma(k + small) - torch.lgamma(small) - k * small.log()
    big = torch.where(large, r, _STIRLING)
    rest = _stirling(k + big) - _stirling(big)
    return torch.where(large, (big + k - 0.5) * (k / big).log1p() - k + rest, direct)


def _stirling(z: Tensor) -> Tensor:
    """The rest log Gamma(z) - [(z - 1/2) log z - z + log(2 pi) / 2], Abramowitz & Stegun 6.1.41."""
    s = 1 / z.square()
    return (1 / 12 - s * (1 / 360 - s * (1 / 1260 - s * (1 / 1680 - s / 1188)))) / z


def _cdf(k: Tensor, mean: Tensor, alpha: Tensor) -> Tensor:
    """P(count <= k) by the incomplete gamma (alpha = 0) and beta functions, double precision."""
    if not bool((alpha > 0).any()):
        return torch.special.gammaincc(k + 1, mean)
    from scipy.special import betainc  # torch has no incomplete beta function

    # P(count <= k) = I_{r / (r + mu)}(r, k + 1), the regularised incomplete beta function.
    r = 1 / alpha
    value = betainc(r.cpu().numpy(), (k + 1).cpu().numpy(), (1 / (1 + alpha * mean)).cpu().numpy())
    return torch.as_tensor(value, device=k.device)


def _search(u: Tensor, mean: Tensor, alpha: Tensor) -> Tensor:
    """The smallest count with cdf > u: walked to where it is small, by halves where it is not; all (R,) double."""
    count, open_ = _walk(u, mean, alpha)
    if bool(open_.any()):
        count[open_] = _halve(u[open_], mean[open_], alpha[open_])
    return count


def _walk(u: Tensor, mean: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """Counts by summing probabilities from 0 up, and which of them were not reached."""
    # P(0) = e^-mu, or (1 + alpha mu)^(-1 / alpha).
    am = alpha * mean
    p = torch.exp(-torch.where(am > 0, am.log1p() / alpha.clamp(min=1e-300), mean))
    total = p.clone()
    count = torch.zeros_like(u)
    far = mean > _LARGE
    # P(k + 1) / P(k) = mu (1 + k alpha) / ((1 + alpha mu) (k + 1))
    ratio = mean / (1 + am)
    for k in range(_STEPS):
        open_ = (total <= u) & ~far
        if k % 8 == 0 and not bool(open_.any()):
            break
        p = p * (ratio * (1 + k * alpha) / (k + 1))
        total = total + p * open_
        count = count + open_
    return count, (total <= u)


def _halve(u: Tensor, mean: Tensor, alpha: Tensor) -> Tensor:
    """Counts by bisection over whole numbers."""
    # Ten deviations above the mean is mostly enough; else the upper end doubles.
    high = (mean + 10 * (mean + alpha * mean.square()).sqrt() + 10).ceil()
    while bool((_cdf(high, mean, alpha) <= u).any()):
        high = torch.where(_cdf(high, mean, alpha) <= u, 2 * high, high)
    # cdf(low) <= u < cdf(high) throughout.
    low = torch.full_like(high, -1)
    while bool((high - low > 1).any()):
        middle = ((low + high) / 2).floor()
        above = _cdf(middle, mean, alpha) > u
        low = torch.where(above, low, middle)
        high = torch.where(above, middle, high)
    return high


class CountHead(Head):
    """What the two heads of counts share: log mean relative to the data's, and log(1 + x) standardised for nets.

    Args:
        entries: The number of entries.
        size: Parameters an entry.
        presence: Whether `embed` adds a bit of presence.
    """

    location: Tensor
    middle: Tensor
    scale: Tensor

    def __init__(self, entries: int, *, size: int, presence: bool) -> None:
        super().__init__(entries=entries, size=size, features=1 + presence, presence=presence)
        for name, value in (("location", 1.0), ("middle", 0.0), ("scale", 1.0)):
            self.register_buffer(name, torch.full((entries,), value, dtype=torch.float64))

    def fit(self, x: Tensor, present: Tensor, weight: Tensor) -> None:
        """The mean, and mean and deviation of log(1 + x)."""
        total, mean, _ = moments(x, present, weight)
        self.location = torch.where(total > 0, mean.clamp(min=1e-3), 1.0)
        _, self.middle, std = moments(x.double().log1p(), present, weight)
        self.scale = spread(std, self.middle, x.dtype)

    def embed(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        """(log(1 + x) - middle) / scale."""
        value = (x.clamp(min=0).log1p() - self.middle.to(x.dtype)) / self.scale.to(x.dtype)
        return self._marked(value.unsqueeze(-1), present)

    def _mean(
        self, x: Tensor, present: Tensor, weight: Tensor, smoothing: float
    ) -> tuple[Tensor, Tensor]:
        """The weight on each entry, and the weighted mean relative to the data's, both (K, ..., n)."""
        total = sums(weight, present) + smoothing
        ratio = (sums(weight, x * present) / self.location + smoothing) / total.clamp(min=1e-30)
        return total, ratio.clamp(min=1e-9)


class Poisson(CountHead):
    """Counts under Poisson distributions; one parameter, log(mu / location).

    Args:
        entries: The number of entries.
        presence: Whether `embed` adds a bit of presence.
    """

    def __init__(self, entries: int, *, presence: bool = True) -> None:
        super().__init__(entries, size=1, presence=presence)

    def distribution(self, params: Tensor) -> PoissonDistribution:
        """The distribution with these relative log means (..., n, 1)."""
        return PoissonDistribution(params, self)

    def start(self) -> Tensor:
        """The data's mean."""
        return torch.zeros_like(self.location).unsqueeze(-1)

    def estimate(
        self,
        x: Tensor,
        present: Tensor,
        weight: Tensor,
        *,
        smoothing: float = 0.0,
        previous: Tensor | None = None,
    ) -> Tensor:
        """The log of the weighted mean."""
        total, ratio = self._mean(x, present, weight, smoothing)
        return keep_known(ratio.log().unsqueeze(-1), total, self.start())

    def statistics(self, x: Tensor, present: Tensor) -> Tensor:
        """k, 1 and -log k!."""
        return torch.stack([x, torch.ones_like(x), -torch.lgamma(x + 1)], -1) * present.unsqueeze(
            -1
        )


class NegativeBinomial(CountHead):
    """Counts under negative binomial distributions; two parameters, log(mu / location) and log alpha.

    Args:
        entries: The number of entries.
        presence: Whether `embed` adds a bit of presence.
    """

    log_dispersion: Tensor

    def __init__(self, entries: int, *, presence: bool = True) -> None:
        super().__init__(entries, size=2, presence=presence)
        self.register_buffer("log_dispersion", torch.full((entries,), -2.0, dtype=torch.float64))

    def fit(self, x: Tensor, present: Tensor, weight: Tensor) -> None:
        """Also the dispersion by moments, (var - mean) / mean^2, between 0.01 and 10."""
        super().fit(x, present, weight)
        # var = mu + alpha mu^2.
        _, mean, std = moments(x, present, weight)
        excess = (std.square() - mean) / mean.square().clamp(min=1e-6)
        self.log_dispersion = excess.clamp(0.01, 10).log()

    def distribution(self, params: Tensor) -> NegativeBinomialDistribution:
        """The distribution with these relative log means and log dispersions (..., n, 2)."""
        return NegativeBinomialDistribution(params, self)

    def start(self) -> Tensor:
        """The data's mean and dispersion."""
        return torch.stack([torch.zeros_like(self.location), self.log_dispersion], -1)

    def estimate(
        self,
        x: Tensor,
        present: Tensor,
        weight: Tensor,
        *,
        smoothing: float = 0.0,
        previous: Tensor | None = None,
    ) -> Tensor:
        """The weighted mean, and the dispersion where the profile's slope changes its sign.

        The mean's estimate does not depend on alpha, and the profile in alpha has one maximum,
        inside where the variance exceeds the mean and at 0 elsewhere (Levin & Reeds 1977, Annals of
        Statistics 5).
        """
        # log p depends on the data through counts of their values: the profile is a sum over these.
        total, ratio = self._mean(x, present, weight, smoothing)
        values, table = tabulate(x.flatten(1).double(), present.flatten(1), weight.double())
        log_mean = (ratio.log() + self.location.log()).double().flatten(1)
        log_alpha = top_of(
            lambda a: _profile_slope(values, table, log_mean, a), torch.zeros_like(log_mean)
        )
        params = torch.stack([ratio.log(), log_alpha.reshape(ratio.shape).to(ratio.dtype)], -1)
        return keep_known(params, total, self.start())


def top_of(slope: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
    """Where a slope goes from + to - within the range of log dispersions, by bisection."""
    low = torch.full_like(like, LOG_DISPERSION[0])
    high = torch.full_like(like, LOG_DISPERSION[1])
    for _ in range(45):
        middle = 0.5 * (low + high)
        up = slope(middle) > 0
        low = torch.where(up, middle, low)
        high = torch.where(up, high, middle)
    return 0.5 * (low + high)


def _profile_slope(values: Tensor, table: Tensor, log_mean: Tensor, log_alpha: Tensor) -> Tensor:
    """d/d log alpha of the tabulated log-likelihood: values (U,), table (K, M, U), the others (K, M)."""
    # d/dr log p = psi(k + r) - psi(r) - log(1 + mu / r)
    # - (k - mu) / (r + mu), and dr / d log alpha = -r.
    r = (-log_alpha).exp().unsqueeze(-1)
    mean = log_mean.exp().unsqueeze(-1)
    gain = torch.digamma(values + r) - torch.digamma(r) - (mean / r).log1p()
    return -r.squeeze(-1) * (table * (gain - (values - mean) / (r + mean))).sum(-1)
