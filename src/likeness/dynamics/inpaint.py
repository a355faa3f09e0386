"""What is hidden given what is observed, along the reverse chain: by weighted particles, or by replacement alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from likeness.core.noise import Noise
from likeness.dynamics.denoiser import Denoiser, Given
from likeness.dynamics.path import Path
from likeness.numerics.gaussian import masked
from likeness.numerics.resampling import effective_size, systematic

# A row's particles are resampled where their effective number falls below this share
RESAMPLE = 0.5


@dataclass(frozen=True, eq=False)
class Cloud:
    """K weighted particles of each row.

    Args:
        x: The rows with what was hidden drawn, (K, B, *E).
        log_weight: Log weights, (K, B).
        least: The smallest effective number of particles along the way, (B,).
    """

    x: Tensor
    log_weight: Tensor
    least: Tensor


@dataclass(frozen=True, eq=False)
class Spread:
    """The covariance of the data, axes diag(values) axes', by which the steps of a chain are exact for a Gaussian.

    Args:
        values: Its eigenvalues, (D,).
        axes: Its eigenvectors as columns, (D, D), or None where it is diagonal.
    """

    values: Tensor
    axes: Tensor | None = None

    @classmethod
    def of(cls, cov: Tensor) -> Spread:
        """From a covariance (D, D), or variances (D,)."""
        if cov.dim() == 1:
            return cls(cov)
        values, axes = torch.linalg.eigh(cov.double())
        return cls(values.clamp(min=1e-8).to(cov), axes.to(cov))

    def turned(self, x: Tensor) -> Tensor:
        """Events (B, *E) along the axes, (B, D)."""
        if self.axes is None:
            return x.flatten(1)
        return x.flatten(1) @ self.axes

    def back(self, z: Tensor, like: Tensor) -> Tensor:
        """The inverse of `turned`."""
        return (z if self.axes is None else z @ self.axes.T).reshape(like.shape)

    def precision(self, variances: Tensor, known: Tensor) -> Tensor:
        """The inverse of axes diag(variances) axes' among `known` (B, D): (B, D, D), or (B, D) where diagonal."""
        if self.axes is None:
            return known / variances
        # Unknown entries become those of the identity, and 0 after the inversion.
        inverse = torch.linalg.inv(masked((self.axes * variances) @ self.axes.T, known))
        return inverse * (known[:, :, None] & known[:, None])


@dataclass(frozen=True, eq=False)
class _Twist:
    """p(y | x_t) as N(y; x_hat, cov[x_0 | x_t]), that of Gaussian data: s sigma^2 / (alpha^2 s + sigma^2) on each axis.

    Wu et al. 2023, arXiv:2306.17775, section 3.1 and appendix A.2, for a whole covariance.
    """

    denoiser: Denoiser
    path: Path
    y: Tensor
    known: Tensor
    context: Given
    spread: Spread
    count: int

    def __call__(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x_hat, x_hat moved by sigma^2 / alpha times the gradient of log p(y | x), and log p(y | x), (K * B,)."""
        alpha = self.path.alpha(t)
        var = self.path.sigma(t).square()
        # cov[x_0 | x_t] of Gaussian data on each axis: s sigma^2 / (alpha^2 s + sigma^2).
        s = self.spread.values
        precision = self.spread.precision(
            s * var / (alpha.square() * s + var), self.known.flatten(1)
        )
        # log p(y | x_t) and its gradient through the denoiser, over the observed entries.
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            x_hat = self.denoiser(x, t.to(x).expand(len(x)), self.context)
            error = (x_hat.flatten(1) - self.y.flatten(1).repeat(self.count, 1)).view(
                self.count, len(self.y), -1
            )
            if precision.dim() == 2:
                whitened = error * precision
            else:
                whitened = (precision @ error.movedim(0, -1)).movedim(-1, 0)
            value = -(whitened * error).sum(-1).flatten() / 2
            push = torch.autograd.grad(value.sum(), x)[0]
        x_hat = x_hat.detach()
        return x_hat, x_hat + var / alpha * push, value.detach()


def twisted(
    denoiser: Denoiser,
    path: Path,
    grid: Tensor,
    y: Tensor,
    known: Tensor,
    context: Given = None,
    *,
    noise: Noise,
    count: int,
    spread: Spread,
) -> Cloud:
    """Sequential Monte Carlo along the chain of reverse steps, twisted towards what is observed.

    The chain is that of `ancestral` with the reverse covariance of Gaussian data in place of a
    variance. Particles move by its step with x_hat pushed along the gradient of log p(y | x_t) and
    are weighed by p(x_s | x_t) p(y | x_s) / (q(x_s | x_t) p(y | x_t)): with many of them the draws
    follow the chain's conditional, however crude the twist, up to the noise that is left at the end
    of the grid. For Gaussian data and the ideal denoiser chain and twist are exact at any number of
    steps. Wu et al. 2023, arXiv:2306.17775, algorithm 1, resampled where few particles carry the
    weight.

    Args:
        denoiser: The denoiser, x_hat.
        path: Its path.
        grid: Decreasing times that end with noise.
        y: Rows of which entries are observed, (B, *E).
        known: Which, bool (B, *E).
        context: What the denoiser is given, for K * B rows, draw-major.
        noise: Of K * B rows, draw-major.
        count: K.
        spread: The covariance of the data.
    """
    rows = len(y)
    event = y.shape[1:]
    twist = _Twist(denoiser, path, y, known, context, spread, count)
    times = grid.detach().double().cpu().unbind()
    column = torch.arange(rows, device=y.device)

    def drawn(use: str, std: Tensor) -> Tensor:
        return spread.back(
            std * noise.normal(use, *event).to(y).flatten(1), y.new_empty(count * rows, *event)
        )

    # Particles start at the marginal of x_T of Gaussian data.
    x = drawn(
        "start",
        torch.sqrt(path.alpha(times[0]).square() * spread.values + path.sigma(times[0]).square()),
    )
    x_hat, goal, value = twist(x, times[0])
    log_weight = value.view(count, rows)
    least = y.new_full((rows,), float(count))
    for i, (t, s) in enumerate(pairwise(times)):
        # Resample the rows whose effective number of particles has fallen too low.
        size = effective_size(log_weight)
        least = torch.minimum(least, size)
        poor = size < RESAMPLE * count
        picks = systematic(log_weight, noise.uniform(f"resample-{i}")[:rows].to(y))
        picks = torch.where(poor, picks, torch.arange(count, device=y.device)[:, None])
        x, x_hat, goal, value = (_taken(v, picks, column) for v in (x, x_hat, goal, value))
        # Propose from the step with x_hat pushed towards y,
        # weigh by the ratio of both steps' densities.
        std = path.reverse_std(s, t, spread.values.sqrt())
        # (K B, D): squared whitened distances from the proposal's mean and from the chain's own.
        own, centre = (path.posterior(x, end, s, t)[0] for end in (x_hat, goal))
        x = centre + drawn(f"step-{i}", std)
        off, on = (spread.turned(x - mean).div(std).square().sum(1) for mean in (own, centre))
        before = value
        x_hat, goal, value = twist(x, s)
        change = ((on - off) / 2 + value - before).view(count, rows)
        # Rows that were resampled begin with even weights.
        log_weight = torch.where(poor, change, log_weight + change)
    x = torch.where(known, y, x_hat.view(count, *y.shape))
    return Cloud(x, log_weight, torch.minimum(least, effective_size(log_weight)))


def _taken(v: Tensor, picks: Tensor, column: Tensor) -> Tensor:
    """Each row's particles in another choice."""
    return v.view(*picks.shape, *v.shape[1:])[picks, column].flatten(0, 1)


def replaced(
    denoiser: Denoiser,
    path: Path,
    grid: Tensor,
    y: Tensor,
    known: Tensor,
    context: Given = None,
    *,
    noise: Noise,
    data_std: float = 1.0,
) -> Tensor:
    """The chain of `ancestral` with observed entries replaced, at every step, by themselves with that step's noise.

    Biased: what is hidden sees the observed entries through noise that the chain has not made.
    Song et al. 2021, arXiv:2011.13456, appendix I.2; RePaint without its repetitions (Lugmayr et
    al. 2022, arXiv:2201.09865, algorithm 1 with U = 1).
    """
    times = grid.detach().double().cpu().unbind()
    x = torch.hypot(data_std * path.alpha(times[0]), path.sigma(times[0])) * noise.normal(
        "start", *y.shape[1:]
    ).to(y)
    # Observed entries at the noise level of time t, hidden ones from the chain.
    for i, (t, s) in enumerate(pairwise(times)):
        y_t = path.marginal(y, t, noise.normal(f"seen-{i}", *y.shape[1:]).to(y))
        x = torch.where(known, y_t, x)
        x_hat = denoiser(x, t.to(x).expand(len(x)), context)
        x = path.posterior(x, x_hat, s, t)[0]
        if s > 0:
            x = x + path.reverse_std(s, t, data_std) * noise.normal(f"step-{i}", *y.shape[1:]).to(y)
        else:
            x = x_hat
    return torch.where(known, y, x)
