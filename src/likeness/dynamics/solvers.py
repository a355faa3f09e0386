"""From noise to data and back: functions of (denoiser, path, grid, x, context), each one published method.

The grid is a tensor of times and the caller's own: decreasing it leads to data, increasing it (from a time with noise)
encodes data by the same ODE. `watch(i, t, x)` is called with the start, i = 0, and after every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from likeness.core.errors import BadConfig
from likeness.core.noise import Noise
from likeness.dynamics.denoiser import Denoiser, Given, eps_from_data
from likeness.dynamics.path import Path

Watch = Callable[[int, Tensor, Tensor], None]


class Solver(Protocol):
    """A function from x (B, *E) at grid[0] to x at grid[-1]."""

    def __call__(
        self,
        denoiser: Denoiser,
        path: Path,
        grid: Tensor,
        x: Tensor,
        context: Given = None,
        *,
        noise: Noise | None = None,
        watch: Watch | None = None,
    ) -> Tensor:
        """Return x at the last time of the grid."""


def _steps(grid: Tensor, x: Tensor, watch: Watch | None) -> Iterator[tuple[int, Tensor, Tensor]]:
    """The number, the time and the next time of each step, in float64 and on the CPU: see `path`."""
    times = grid.detach().double().cpu().unbind()
    if watch:
        watch(0, times[0], x)
    yield from ((i, t, s) for i, (t, s) in enumerate(pairwise(times)))


def _denoise(
    denoiser: Denoiser, x: Tensor, t: Tensor, context: Given, noise: Noise | None, use: str
) -> Tensor:
    return denoiser(x, t.to(x).expand(len(x)), context, noise.within(use) if noise else None)


def _normal(noise: Noise | None, use: str, x: Tensor) -> Tensor:
    if noise is None:
        raise BadConfig(
            "this solver draws at every step and was given no noise", do="hand it `noise`"
        )
    return noise.normal(use, *x.shape[1:]).to(x)


def ancestral(
    denoiser: Denoiser,
    path: Path,
    grid: Tensor,
    x: Tensor,
    context: Given = None,
    *,
    noise: Noise | None = None,
    watch: Watch | None = None,
    data_std: float = 1.0,
) -> Tensor:
    """Draw x_s from N(mean of q(x_s | x_t, x_0 = x_hat), reverse_std^2) at every step; a last step to 0 returns x_hat.

    Ho et al. 2020, arXiv:2006.11239, algorithm 2. With `data_std` 0 the variance is that of q(x_s | x_t, x_0) itself,
    which suits few steps; `variational_bound` speaks of the law drawn with the same `data_std`. See `Path.reverse_std`.
    """
    for i, t, s in _steps(grid, x, watch):
        x, _ = path.posterior(x, _denoise(denoiser, x, t, context, noise, f"step-{i}"), s, t)
        if s > 0:
            x = x + path.reverse_std(s, t, data_std) * _normal(noise, f"step-{i}", x)
        if watch:
            watch(i + 1, s, x)
    return x


def ddim(
    denoiser: Denoiser,
    path: Path,
    grid: Tensor,
    x: Tensor,
    context: Given = None,
    *,
    noise: Noise | None = None,
    watch: Watch | None = None,
    eta: float = 0.0,
) -> Tensor:
    """x_s = alpha_s x_hat + sqrt(sigma_s^2 - std^2) eps_hat + std z, std = eta times that of the posterior.

    Eta 0 is an integrator of the ODE of order 1, eta 1 is `ancestral` with data_std 0.
    Song et al. 2021, arXiv:2010.02502, eq. 12 and 16.
    """
    for i, t, s in _steps(grid, x, watch):
        x_hat = _denoise(denoiser, x, t, context, noise, f"step-{i}")
        if eta:
            std = eta * path.posterior_std(s, t)
        else:
            std = torch.zeros_like(s)
        kept = torch.sqrt(path.sigma(s).square() - std.square())
        x = path.alpha(s) * x_hat + kept * eps_from_data(path, x, x_hat, t)
        if std > 0:
            x = x + std * _normal(noise, f"step-{i}", x)
        if watch:
            watch(i + 1, s, x)
    return x


def euler(
    denoiser: Denoiser,
    path: Path,
    grid: Tensor,
    x: Tensor,
    context: Given = None,
    *,
    noise: Noise | None = None,
    watch: Watch | None = None,
) -> Tensor:
    """x_s = x_t + (s - t) velocity, order 1; a last step to t = 0 returns x_hat, as Euler's does on straight paths."""
    for i, t, s in _steps(grid, x, watch):
        x_hat = _denoise(denoiser, x, t, context, noise, f"step-{i}")
        if s > 0:
            x = x + (s - t) * path.velocity(x, x_hat, t)
        else:
            x = x_hat
        if watch:
            watch(i + 1, s, x)
    return x


def heun(
    denoiser: Denoiser,
    path: Path,
    grid: Tensor,
    x: Tensor,
    context: Given = None,
    *,
    noise: Noise | None = None,
    watch: Watch | None = None,
) -> Tensor:
    """Euler's step, then the mean of the velocities at its two ends, order 2; a last step to t = 0 returns x_hat.

    Karras et al. 2022, arXiv:2206.00364, algorithm 1.
    """
    for i, t, s in _steps(grid, x, watch):
        x_hat = _denoise(denoiser, x, t, context, noise, f"step-{i}")
        if s > 0:
            first = path.velocity(x, x_hat, t)
            guess = x + (s - t) * first
            second = path.velocity(
                guess, _denoise(denoiser, guess, s, context, noise, f"step-{i}-again"), s
            )
            x = x + (s - t) * (first + second) / 2
        else:
            x = x_hat
        if watch:
            watch(i + 1, s, x)
    return x


def runge_kutta(
    denoiser: Denoiser,
    path: Path,
    grid: Tensor,
    x: Tensor,
    context: Given = None,
    *,
    noise: Noise | None = None,
    watch: Watch | None = None,
) -> Tensor:
    """The classical method of order 4, four evaluations a step; a last step to t = 0 returns x_hat (Kutta 1901)."""
    for i, t, s in _steps(grid, x, watch):
        h = s - t
        middle = (t + s) / 2

        def velocity(y: Tensor, u: Tensor, stage: int, step: int = i) -> Tensor:
            return path.velocity(
                y, _denoise(denoiser, y, u, context, noise, f"step-{step}-{stage}"), u
            )

        if s > 0:
            v_1 = velocity(x, t, 1)
            v_2 = velocity(x + h / 2 * v_1, middle, 2)
            v_3 = velocity(x + h / 2 * v_2, middle, 3)
            x = x + h / 6 * (v_1 + 2 * v_2 + 2 * v_3 + velocity(x + h * v_3, s, 4))
        else:
            x = _denoise(denoiser, x, t, context, noise, f"step-{i}")
        if watch:
            watch(i + 1, s, x)
    return x


def multistep(
    denoiser: Denoiser,
    path: Path,
    grid: Tensor,
    x: Tensor,
    context: Given = None,
    *,
    noise: Noise | None = None,
    watch: Watch | None = None,
) -> Tensor:
    """x_s = sigma_s / sigma_t x_t + (alpha_s - alpha_t sigma_s / sigma_t) D, order 2 for one evaluation a step.

    D extrapolates x_hat from this step and the last in log-SNR; the first step, and one to t = 0, are of order 1.
    DPM-Solver++(2M): Lu et al. 2022, arXiv:2211.01095, algorithm 2.
    """
    last_hat = x
    last_width = torch.zeros(())
    for i, t, s in _steps(grid, x, watch):
        x_hat = _denoise(denoiser, x, t, context, noise, f"step-{i}")
        width = path.log_snr(s) - path.log_snr(t)
        extrapolate = i > 0 and bool(width.isfinite())
        if extrapolate:
            ahead = x_hat + width / (2 * last_width) * (x_hat - last_hat)
        else:
            ahead = x_hat
        kept = path.sigma(s) / path.sigma(t)
        x = kept * x + (path.alpha(s) - path.alpha(t) * kept) * ahead
        last_hat = x_hat
        last_width = width
        if watch:
            watch(i + 1, s, x)
    return x
