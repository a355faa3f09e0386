"""From noise to data and back: one walk along a grid of times, and six published ways of taking a step.

The grid is a tensor of times and the caller's own: decreasing it leads to data, increasing it (from
a time with noise) encodes data by the same ODE.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from likeness.core.errors import BadConfig
from likeness.core.noise import Noise
from likeness.dynamics.denoiser import Denoiser, Given, eps_from_data
from likeness.dynamics.path import Path

Watch = Callable[[int, Tensor, Tensor], None]


@dataclass(frozen=True, eq=False)
class Estimate:
    """The denoiser's estimate of x_0 at a time.

    Args:
        t: The time, a float64 number.
        x_hat: E[x_0 | x_t], (B, *E).
    """

    t: Tensor
    x_hat: Tensor


@dataclass(frozen=True, eq=False)
class Point:
    """The state of a solver before a step.

    Args:
        x: x_t, (B, *E).
        now: The denoiser's estimate at t.
        before: The estimate of the step before, None at the first.
        denoiser: What sees x_0 in x_t.
        path: How data turn into noise.
        context: Conditioning of the denoiser.
        noise: What steps draw from, or None.
        use: The name of the step's randomness.
    """

    x: Tensor
    now: Estimate
    before: Estimate | None
    denoiser: Denoiser
    path: Path
    context: Given
    noise: Noise | None
    use: str

    @property
    def t(self) -> Tensor:
        """The time before the step."""
        return self.now.t

    @property
    def x_hat(self) -> Tensor:
        """The denoiser's estimate of x_0."""
        return self.now.x_hat

    @property
    def velocity(self) -> Tensor:
        """dx/dt of the probability-flow ODE at t, (B, *E)."""
        return self.path.velocity(self.x, self.x_hat, self.t)

    def velocity_at(self, x: Tensor, t: Tensor, stage: str) -> Tensor:
        """dx/dt at another point and time of the same step, (B, *E): one more evaluation."""
        x_hat = _denoised(self.denoiser, x, t, self.context, self.noise, f"{self.use}-{stage}")
        return self.path.velocity(x, x_hat, t)

    def normal(self) -> Tensor:
        """Standard normal numbers like x.

        Raises:
            BadConfig: If the walk was given no noise.
        """
        if self.noise is None:
            raise BadConfig(
                "this solver draws at every step and was given no noise", do="hand it `noise`"
            )
        return self.noise.normal(self.use, *self.x.shape[1:]).to(self.x)


Step = Callable[[Point, Tensor], Tensor]
"""x at the next time s of the grid, from where the walk stands."""


def solve(
    step: Step,
    denoiser: Denoiser,
    path: Path,
    grid: Tensor,
    x: Tensor,
    context: Given = None,
    *,
    noise: Noise | None = None,
    watch: Watch | None = None,
) -> Tensor:
    """x (B, *E) at the last time of the grid, by one step between each two neighbours.

    Args:
        step: A method: `heun`, `multistep`, `euler`, `ddim`, `ancestral` or `runge_kutta`.
        denoiser: What sees x_0 in x_t.
        path: How data turn into noise.
        grid: Times, in float64 and on the CPU within: see `path`.
        x: x at the first of them.
        context: Conditioning of the denoiser.
        noise: What steps draw from, for methods and denoisers that draw.
        watch: Called with (i, t, x) at the start, i = 0, and after every step.
    """
    times = grid.detach().double().cpu().unbind()
    before: Estimate | None = None
    if watch:
        watch(0, times[0], x)
    # One evaluation at the step's beginning; methods of higher order make more within it.
    for i, (t, s) in enumerate(pairwise(times)):
        use = f"step-{i}"
        now = Estimate(t, _denoised(denoiser, x, t, context, noise, use))
        x = step(Point(x, now, before, denoiser, path, context, noise, use), s)
        before = now
        if watch:
            watch(i + 1, s, x)
    return x


def _denoised(
    denoiser: Denoiser, x: Tensor, t: Tensor, context: Given, noise: Noise | None, use: str
) -> Tensor:
    return denoiser(x, t.to(x).expand(len(x)), context, noise.within(use) if noise else None)


# ---- methods -------------------------------------------------------------------------------------


def ancestral(point: Point, s: Tensor, *, data_std: float = 1.0) -> Tensor:
    """Draw x_s from N(mean of q(x_s | x_t, x_0 = x_hat), reverse_std^2); a step to 0 returns x_hat.

    Ho et al. 2020, arXiv:2006.11239, algorithm 2. With `data_std` 0 the variance is that of q(x_s |
    x_t, x_0) itself, which suits few steps; `variational_bound` speaks of the distribution drawn with the
    same `data_std`. See `Path.reverse_std`.
    """
    # The posterior q(x_s | x_t, x_0) with x_hat in place of x_0.
    mean, _ = point.path.posterior(point.x, point.x_hat, s, point.t)
    if s == 0:
        return mean
    return mean + point.path.reverse_std(s, point.t, data_std) * point.normal()


def ddim(point: Point, s: Tensor, *, eta: float = 0.0) -> Tensor:
    """x_s = alpha_s x_hat + sqrt(sigma_s^2 - std^2) eps_hat + std z, std = eta times that of the posterior.

    Eta 0 is an integrator of the ODE of order 1, eta 1 is `ancestral` with data_std 0.
    Song et al. 2021, arXiv:2010.02502, eq. 12 and 16.
    """
    path = point.path
    # Of sigma_s^2, std^2 is drawn anew and the rest keeps the direction of eps_hat.
    std = eta * path.posterior_std(s, point.t) if eta else torch.zeros_like(s)
    noise = torch.sqrt(path.sigma(s).square() - std.square())
    eps_hat = eps_from_data(path, point.x, point.x_hat, point.t)
    mean = path.alpha(s) * point.x_hat + noise * eps_hat
    if std == 0:
        return mean
    return mean + std * point.normal()


def euler(point: Point, s: Tensor) -> Tensor:
    """x_s = x_t + (s - t) velocity, order 1; a step to t = 0 returns x_hat, as Euler's does on straight paths."""
    if s == 0:
        return point.x_hat
    return point.x + (s - point.t) * point.velocity


def heun(point: Point, s: Tensor) -> Tensor:
    """Euler's step, then the mean of the velocities at its two ends, order 2; a step to t = 0 returns x_hat.

    Karras et al. 2022, arXiv:2206.00364, algorithm 1.
    """
    if s == 0:
        return point.x_hat
    # Predict with the velocity at t, correct with the mean of both ends' velocities.
    h = s - point.t
    first = point.velocity
    second = point.velocity_at(point.x + h * first, s, "again")
    return point.x + h * (first + second) / 2


def runge_kutta(point: Point, s: Tensor) -> Tensor:
    """The classical method of order 4, four evaluations a step; a step to t = 0 returns x_hat (Kutta 1901)."""
    if s == 0:
        return point.x_hat
    x = point.x
    h = s - point.t
    middle = (point.t + s) / 2
    v_1 = point.velocity
    v_2 = point.velocity_at(x + h / 2 * v_1, middle, "2")
    v_3 = point.velocity_at(x + h / 2 * v_2, middle, "3")
    v_4 = point.velocity_at(x + h * v_3, s, "4")
    return x + h / 6 * (v_1 + 2 * v_2 + 2 * v_3 + v_4)


def multistep(point: Point, s: Tensor) -> Tensor:
    """x_s = sigma_s / sigma_t x_t + (alpha_s - alpha_t sigma_s / sigma_t) D, order 2 for one evaluation a step.

    D extrapolates x_hat from this step and the last in log-SNR; the first step, and one to t = 0,
    are of order 1. DPM-Solver++(2M): Lu et al. 2022, arXiv:2211.01095, algorithm 2.
    """
    path = point.path
    t = point.t
    ratio = path.sigma(s) / path.sigma(t)
    return ratio * point.x + (path.alpha(s) - path.alpha(t) * ratio) * _extrapolated(point, s)


def _extrapolated(point: Point, s: Tensor) -> Tensor:
    """x_hat half way to s, on the line through the last two estimates in log-SNR, (B, *E)."""
    path = point.path
    # Linear extrapolation in log-SNR; the first step has no second point.
    width = path.log_snr(s) - path.log_snr(point.t)
    if point.before is None or not bool(width.isfinite()):
        return point.x_hat
    last_width = path.log_snr(point.t) - path.log_snr(point.before.t)
    return point.x_hat + width / (2 * last_width) * (point.x_hat - point.before.x_hat)
