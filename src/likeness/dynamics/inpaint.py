"""What is hidden given what is observed, along the reverse chain: by weighted particles, or by replacement alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from likeness.core.noise import Noise
from likeness.dynamics.denoiser import Denoiser, Given
from likeness.dynamics.path import Path

RESAMPLE = 0.5  # a row's particles are resampled where their effective number falls below this share


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


def effective(log_weight: Tensor) -> Tensor:
    """(sum w)^2 / sum w^2 of log weights (K, B), (B,) (Kong 1992)."""
    return 1 / log_weight.softmax(0).square().sum(0)


def systematic(log_weight: Tensor, u: Tensor) -> Tensor:
    """Which particle each takes over, int64 (K, B), from one uniform (B,) a row (Kitagawa 1996, appendix)."""
    count = len(log_weight)
    cdf = log_weight.softmax(0).cumsum(0).T.contiguous()
    place = (torch.arange(count, device=u.device) + u[:, None]) / count * cdf[:, -1:]
    return torch.searchsorted(cdf, place, right=True).clamp(max=count - 1).T


@dataclass(frozen=True, eq=False)
class _Twist:
    """p(y | x_t) as N(y; x_hat, var), var = d^2 sigma^2 / (alpha^2 d^2 + sigma^2): exact for N(0, d^2), d = data_std.

    Wu et al. 2023, arXiv:2306.17775, section 3.1 and appendix A.2.
    """

    denoiser: Denoiser
    path: Path
    y: Tensor
    known: Tensor
    context: Given
    data_std: float

    def __call__(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x_hat, x_hat moved by sigma^2 / alpha times the gradient of log p(y | x), and log p(y | x), (rows,)."""
        alpha, sigma = self.path.alpha(t), self.path.sigma(t)
        var = (self.data_std * sigma / torch.hypot(alpha * self.data_std, sigma)).square()
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            x_hat = self.denoiser(x, t.to(x).expand(len(x)), self.context)
            error = torch.where(self.known, self.y - x_hat, 0)
            value = -(error.square() / var).flatten(1).sum(1) / 2
            push = torch.autograd.grad(value.sum(), x)[0]
        x_hat = x_hat.detach()
        return x_hat, x_hat + sigma.square() / alpha * push, value.detach()


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
    data_std: float = 1.0,
) -> Cloud:
    """Sequential Monte Carlo along the chain of `ancestral`, its steps twisted towards what is observed.

    Particles move by the chain's own step with x_hat pushed along the gradient of log p(y | x_t), and are weighed by
    p(x_s | x_t) p(y | x_s) / (q(x_s | x_t) p(y | x_t)): with many of them the draws follow the chain's conditional,
    however crude the twist, up to the noise that is left at the end of the grid.
    Wu et al. 2023, arXiv:2306.17775, algorithm 1, resampled where few particles carry the weight.

    Args:
        denoiser: The denoiser, x_hat.
        path: Its path.
        grid: Decreasing times that end with noise.
        y: Rows of which entries are observed, (B, *E).
        known: Which, bool (B, *E).
        context: What the denoiser is given, for K * B rows, draw-major.
        noise: Of K * B rows, draw-major.
        count: K.
        data_std: The spread of data for which twist and steps are exact.
    """
    rows, tile = len(y), (count, *[1] * (y.dim() - 1))
    twist = _Twist(denoiser, path, y.repeat(tile), known.repeat(tile), context, data_std)
    times, column = grid.detach().double().cpu().unbind(), torch.arange(rows, device=y.device)
    x = torch.hypot(data_std * path.alpha(times[0]), path.sigma(times[0])) * noise.normal("start", *y.shape[1:]).to(y)
    x_hat, pushed, value = twist(x, times[0])
    log_weight, least = value.view(count, rows), y.new_full((rows,), float(count))
    for i, (t, s) in enumerate(pairwise(times)):
        size = effective(log_weight)
        least = torch.minimum(least, size)
        poor = size < RESAMPLE * count
        taken = systematic(log_weight, noise.uniform(f"resample-{i}")[:rows].to(y))
        taken = torch.where(poor, taken, torch.arange(count, device=y.device)[:, None])
        x, x_hat, pushed, value = (_taken(v, taken, column) for v in (x, x_hat, pushed, value))
        std = path.reverse_std(s, t, data_std)
        own, proposed = (path.posterior(x, end, s, t)[0] for end in (x_hat, pushed))
        x = proposed + std * noise.normal(f"step-{i}", *y.shape[1:]).to(y)
        ratio = ((x - proposed).square() - (x - own).square()).flatten(1).sum(1) / std.square() / 2
        before = value
        x_hat, pushed, value = twist(x, s)
        change = (ratio + value - before).view(count, rows)
        log_weight = torch.where(poor, change, log_weight + change)
    x = torch.where(twist.known, twist.y, x_hat).view(count, *y.shape)
    return Cloud(x, log_weight, torch.minimum(least, effective(log_weight)))


def _taken(v: Tensor, taken: Tensor, column: Tensor) -> Tensor:
    """Each row's particles in another choice."""
    return v.view(*taken.shape, *v.shape[1:])[taken, column].flatten(0, 1)


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
    Song et al. 2021, arXiv:2011.13456, appendix I.2; RePaint without its repetitions (Lugmayr et al. 2022,
    arXiv:2201.09865, algorithm 1 with U = 1).
    """
    times = grid.detach().double().cpu().unbind()
    x = torch.hypot(data_std * path.alpha(times[0]), path.sigma(times[0])) * noise.normal("start", *y.shape[1:]).to(y)
    for i, (t, s) in enumerate(pairwise(times)):
        seen = path.marginal(y, t, noise.normal(f"seen-{i}", *y.shape[1:]).to(y))
        x = torch.where(known, seen, x)
        x_hat = denoiser(x, t.to(x).expand(len(x)), context)
        x = path.posterior(x, x_hat, s, t)[0]
        x = x + path.reverse_std(s, t, data_std) * noise.normal(f"step-{i}", *y.shape[1:]).to(y) if s > 0 else x_hat
    return torch.where(known, y, x)
