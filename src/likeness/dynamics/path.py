"""Gaussian paths from data to noise, x_t = alpha(t) x_0 + sigma(t) eps.

Time runs from the data at t = 0, where alpha = 1 and sigma = 0, to the noise at `t_max`. One time
for a whole batch is a 0-dim float64 tensor, whose coefficients take the dtype and the device of the
events that they multiply.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from likeness.core.errors import BadConfig


def expand(coefficient: Tensor, x: Tensor) -> Tensor:
    """Shape a coefficient, () or (B,), so that it multiplies events x (B, *E)."""
    if coefficient.dim() == 0:
        return coefficient
    return coefficient.reshape(-1, *[1] * (x.dim() - 1))


class Path(ABC):
    """The family of distributions q(x_t | x_0) = N(alpha(t) x_0, sigma(t)^2 I), Markov in t.

    Every method takes times of shape () or (B,) and events of shape (B, *E).
    """

    @property
    @abstractmethod
    def t_min(self) -> float:
        """The smallest time with noise that grids and training use."""

    @property
    @abstractmethod
    def t_max(self) -> float:
        """The time of the noise."""

    @property
    @abstractmethod
    def prior_std(self) -> float:
        """The standard deviation of the distribution that sampling starts from, N(0, prior_std^2 I)."""

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """How much of the data is left."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """The standard deviation of the noise."""

    @abstractmethod
    def alpha_rate(self, t: Tensor) -> Tensor:
        """Its derivative, d alpha / dt."""

    @abstractmethod
    def sigma_rate(self, t: Tensor) -> Tensor:
        """Its derivative, d sigma / dt."""

    @abstractmethod
    def time(self, log_snr: Tensor) -> Tensor:
        """The time at which `log_snr` has this value: its inverse."""

    def log_snr(self, t: Tensor) -> Tensor:
        """log(alpha^2 / sigma^2), which falls with t; infinite where one of them is 0."""
        return 2 * (self.alpha(t).log() - self.sigma(t).log())

    def marginal(self, x_0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """x_t = alpha x_0 + sigma eps: a draw of q(x_t | x_0) for standard normal eps (B, *E)."""
        return expand(self.alpha(t), x_0) * x_0 + expand(self.sigma(t), x_0) * eps

    def posterior_std(self, s: Tensor, t: Tensor) -> Tensor:
        """The standard deviation of q(x_s | x_t, x_0) for s < t; see `posterior`."""
        return self.sigma(s) * torch.sqrt(-torch.expm1(self.log_snr(t) - self.log_snr(s)))

    def posterior(self, x_t: Tensor, x_0: Tensor, s: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (B, *E) and standard deviation, () or (B,), of q(x_s | x_t, x_0) for s < t.

        mean = alpha_t sigma_s^2 / (alpha_s sigma_t^2) x_t + alpha_s (1 - SNR_t / SNR_s) x_0,
        std^2 = sigma_s^2 (1 - SNR_t / SNR_s). Ho et al. 2020, arXiv:2006.11239, eq. 7, for any
        path.
        """
        # Gaussian conditioning of x_s on x_t and x_0; expm1
        # of the log-SNRs keeps close times apart.
        alpha_s = self.alpha(s)
        noise_kept = (self.sigma(s) / self.sigma(t)).square()
        data = -alpha_s * torch.expm1(self.log_snr(t) - self.log_snr(s))
        mean = expand(self.alpha(t) / alpha_s * noise_kept, x_t) * x_t + expand(data, x_t) * x_0
        return mean, self.posterior_std(s, t)

    def reverse_std(self, s: Tensor, t: Tensor, data_std: float | Tensor) -> Tensor:
        """The standard deviation of q(x_s | x_t) for data N(., data_std^2), for 0 < s < t.

        The posterior's variance times (1 + SNR_s data_std^2) / (1 + SNR_t data_std^2). On a
        variance preserving path data_std 0 and 1 are the two choices of Ho et al. 2020, section
        3.2, beta-tilde and beta.
        """
        snr_s = self.log_snr(s).exp()
        snr_t = self.log_snr(t).exp()
        return self.posterior_std(s, t) * torch.sqrt(
            (1 + snr_s * data_std**2) / (1 + snr_t * data_std**2)
        )

    def velocity(self, x_t: Tensor, x_hat: Tensor, t: Tensor) -> Tensor:
        """dx/dt of the probability-flow ODE, alpha' x_hat + sigma' (x_t - alpha x_hat) / sigma, for sigma(t) > 0.

        Song et al. 2021, arXiv:2011.13456, eq. 13, with the score (alpha x_hat - x_t) / sigma^2.
        """
        relative = expand(self.sigma_rate(t) / self.sigma(t), x_t)
        return expand(self.alpha_rate(t), x_t) * x_hat + relative * (
            x_t - expand(self.alpha(t), x_t) * x_hat
        )


@dataclass(frozen=True)
class EDM(Path):
    """Variance exploding: alpha = 1, sigma = t. Karras et al. 2022, arXiv:2206.00364, table 1.

    Args:
        sigma_min: The smallest noise, in data units.
        sigma_max: The largest noise, in data units.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0

    @property
    def t_min(self) -> float:
        """sigma_min."""
        return self.sigma_min

    @property
    def t_max(self) -> float:
        """sigma_max."""
        return self.sigma_max

    @property
    def prior_std(self) -> float:
        """sigma_max: the data are lost in it."""
        return self.sigma_max

    def alpha(self, t: Tensor) -> Tensor:
        """1."""
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        """The time itself."""
        return t

    def alpha_rate(self, t: Tensor) -> Tensor:
        """0."""
        return torch.zeros_like(t)

    def sigma_rate(self, t: Tensor) -> Tensor:
        """1."""
        return torch.ones_like(t)

    def time(self, log_snr: Tensor) -> Tensor:
        """exp(-log_snr / 2)."""
        return torch.exp(-log_snr / 2)


@dataclass(frozen=True)
class FlowMatching(Path):
    """A straight line from data to noise: alpha = 1 - t, sigma = t. Lipman et al. 2023, arXiv:2210.02747, eq. 20-22.

    Args:
        t_min: The smallest time with noise.
    """

    t_min: float = 1e-3

    @property
    def t_max(self) -> float:
        """1."""
        return 1.0

    @property
    def prior_std(self) -> float:
        """1, and exact: x_1 is eps."""
        return 1.0

    def alpha(self, t: Tensor) -> Tensor:
        """1 - t."""
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        """The time itself."""
        return t

    def alpha_rate(self, t: Tensor) -> Tensor:
        """-1."""
        return -torch.ones_like(t)

    def sigma_rate(self, t: Tensor) -> Tensor:
        """1."""
        return torch.ones_like(t)

    def time(self, log_snr: Tensor) -> Tensor:
        """1 / (1 + exp(log_snr / 2))."""
        return torch.sigmoid(-log_snr / 2)


@dataclass(frozen=True)
class Cosine(Path):
    """Variance preserving, alpha = cos(phi(t)) / cos(phi(0)), phi(t) = pi/2 (t + offset) / (1 + offset).

    Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 17, where alpha^2 is written as alpha-bar.

    Args:
        offset: Keeps the noise per step from vanishing at t = 0.
        t_min: The smallest time with noise.
    """

    offset: float = 0.008
    t_min: float = 1e-4

    @property
    def t_max(self) -> float:
        """1."""
        return 1.0

    @property
    def prior_std(self) -> float:
        """1, and exact: alpha(1) = 0."""
        return 1.0

    @property
    def _rate(self) -> float:
        return math.pi / 2 / (1 + self.offset)

    @property
    def _start(self) -> float:
        return self._rate * self.offset

    def alpha(self, t: Tensor) -> Tensor:
        """cos(phi(t)) / cos(phi(0)), never below 0 by rounding."""
        return torch.cos(self._start + self._rate * t).clamp(min=0) / math.cos(self._start)

    def sigma(self, t: Tensor) -> Tensor:
        """sqrt(1 - alpha^2) as sqrt(sin(phi - phi_0) sin(phi + phi_0)) / cos(phi_0), which does not cancel at 0."""
        angle = self._rate * t
        return torch.sqrt(torch.sin(angle) * torch.sin(2 * self._start + angle)) / math.cos(
            self._start
        )

    def alpha_rate(self, t: Tensor) -> Tensor:
        """-phi' sin(phi) / cos(phi_0)."""
        return -self._rate * torch.sin(self._start + self._rate * t) / math.cos(self._start)

    def sigma_rate(self, t: Tensor) -> Tensor:
        """-alpha alpha' / sigma."""
        return -self.alpha(t) * self.alpha_rate(t) / self.sigma(t)

    def time(self, log_snr: Tensor) -> Tensor:
        """From sin^2(phi) = sin^2(phi_0) + cos^2(phi_0) sigma^2 and cos(phi) = alpha cos(phi_0)."""
        # alpha and sigma from the log-SNR of a variance preserving path, then the angle by atan2.
        alpha = torch.sigmoid(log_snr).sqrt()
        sigma = torch.sigmoid(-log_snr).sqrt()
        sine = torch.hypot(
            torch.full_like(sigma, math.sin(self._start)), math.cos(self._start) * sigma
        )
        return (torch.atan2(sine, math.cos(self._start) * alpha) - self._start) / self._rate


@dataclass(frozen=True)
class DDPM(Path):
    """Variance preserving with noise per step beta_1..beta_T on a line; the chain's step i is t = i / T.

    alpha(i / T)^2 is the product of (1 - beta_1)..(1 - beta_i). Between the steps it is the smooth
    function that Euler and Maclaurin's formula for the sum of log(1 - beta) gives, equal to the
    product to 1e-8 or better, so the discrete chain and its continuous limit are one path. Ho et
    al. 2020, arXiv:2006.11239, section 4.

    Args:
        steps: T.
        beta_min: beta_1.
        beta_max: beta_T.
        t_min: The smallest time with noise, for use in continuous time; the chain's own is 1 / T.
    """

    steps: int = 1000
    beta_min: float = 1e-4
    beta_max: float = 0.02
    t_min: float = 1e-4

    def __post_init__(self) -> None:
        if not 0 < self.beta_min < self.beta_max < 1 or self._slope > 0.02 * (1 - self.beta_max):
            raise BadConfig(
                f"betas on a line from {self.beta_min} to {self.beta_max} in {self.steps} steps are not a smooth path",
                do="keep 0 < beta_min < beta_max < 1 and take more steps, or the path Cosine",
            )

    @property
    def t_max(self) -> float:
        """1."""
        return 1.0

    @property
    def prior_std(self) -> float:
        """1."""
        return 1.0

    @property
    def _slope(self) -> float:
        return (self.beta_max - self.beta_min) / (self.steps - 1)

    def betas(self) -> Tensor:
        """beta_1..beta_T, (T,) float64."""
        return torch.linspace(self.beta_min, self.beta_max, self.steps, dtype=torch.float64)

    def chain(self) -> Tensor:
        """The grid of the discrete chain: T/T, (T-1)/T, .., 1/T, 0, (T + 1,) float64."""
        return torch.arange(self.steps, -1, -1, dtype=torch.float64) / self.steps

    def _log_alpha(self, t: Tensor) -> Tensor:
        """Half the sum over j < i of f(j) = log(1 - beta_1 - slope j), as integral - f/2 + f'/12, in float64."""
        # Euler-Maclaurin: sum = integral - (f(end) - f(start)) / 2 + (f'(end) - f'(start)) / 12.
        beta = self.beta_min + self._slope * self.steps * t.double()
        first = self.beta_min

        def integral(b: Tensor) -> Tensor:
            return (-(1 - b) * torch.log1p(-b) - b) / self._slope

        start = torch.full_like(beta, first)
        ends = (torch.log1p(-beta) - torch.log1p(-start)) / 2
        curvature = -self._slope * (1 / (1 - beta) - 1 / (1 - start)) / 12
        return (integral(beta) - integral(start) - ends + curvature) / 2

    def _log_alpha_rate(self, t: Tensor) -> Tensor:
        """d/dt of the above, in float64."""
        # Derivative of the three terms, times steps for d beta / dt.
        beta = self.beta_min + self._slope * self.steps * t.double()
        relative = self._slope / (1 - beta)
        return self.steps / 2 * (torch.log1p(-beta) + relative / 2 - relative.square() / 12)

    def alpha(self, t: Tensor) -> Tensor:
        """sqrt(alpha-bar)."""
        return self._log_alpha(t).exp().to(t)

    def sigma(self, t: Tensor) -> Tensor:
        """sqrt(1 - alpha-bar)."""
        return torch.sqrt(-torch.expm1(2 * self._log_alpha(t))).to(t)

    def alpha_rate(self, t: Tensor) -> Tensor:
        """Times alpha, the rate of its logarithm."""
        return (self._log_alpha(t).exp() * self._log_alpha_rate(t)).to(t)

    def sigma_rate(self, t: Tensor) -> Tensor:
        """-alpha^2 (log alpha)' / sigma."""
        log_square = 2 * self._log_alpha(t)
        return (
            -log_square.exp() * self._log_alpha_rate(t) / torch.sqrt(-torch.expm1(log_square))
        ).to(t)

    def time(self, log_snr: Tensor) -> Tensor:
        """By Newton's method in float64, from the root of log alpha-bar = -(beta_1 i + slope i^2 / 2)."""
        target = -functional.softplus(-log_snr.double())  # log alpha-bar
        # The start: the root of the leading terms of log alpha-bar, a quadratic in t.
        per_step = self.beta_min / self._slope
        t = (torch.sqrt(per_step**2 - 2 * target / self._slope) - per_step) / self.steps
        for _ in range(5):
            t = t.clamp(0, 1)
            t = t - (2 * self._log_alpha(t) - target) / (2 * self._log_alpha_rate(t))
        return t.clamp(0, 1).to(log_snr)
