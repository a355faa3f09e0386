"""Reals with Gaussian noise, and the preconditioned net that takes it away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from likeness.core.answers import Completed, Kind, Scored
from likeness.core.batch import Batch
from likeness.core.noise import Noise
from likeness.core.space import Space
from likeness.dynamics import grid as grids
from likeness.dynamics import inpaint, likelihood, solvers
from likeness.dynamics.denoiser import Denoiser, Guided, Preconditioned, denoising_loss
from likeness.dynamics.path import DDPM, Path, expand
from likeness.dynamics.process import DRAWN, Process, Watch, many
from likeness.nets.timed import Conditioning, Timed
from likeness.numerics.resampling import multinomial
from likeness.numerics.tree import join

NOISIEST = -6.0  # log-SNR from which to which completion walks: noise 20 to 0.01 of the data
CLEANEST = 9.0
SLOWER = 2  # completion takes so many times the steps of sampling
MOST_DRAWS = 1 << 20
Times = Callable[[Path, Noise], Tensor]
Weight = Callable[[Preconditioned, Tensor, Tensor], Tensor]

GRIDS = {
    "bent": grids.bent_grid,
    "karras": grids.karras_grid,
    "log_snr": grids.log_snr_grid,
    "uniform": grids.uniform_grid,
}
STEPS: dict[str, Callable[..., Tensor]] = {
    "heun": solvers.heun,
    "multistep": solvers.multistep,
    "euler": solvers.euler,
    "ddim": solvers.ddim,
    "ancestral": solvers.ancestral,
}
WEIGHTS: dict[str, Weight] = {
    "net": lambda d, x, t: d.weight(x, t),
    "noise": lambda d, x, t: expand((d.path.alpha(t) / d.path.sigma(t)).square(), x),
    "data": lambda _d, x, _t: torch.ones_like(x),
}


class Noised(Process):
    """Data turned into noise along a path, drawn by solvers, scored by the ODE or a bound.

    Args:
        net: What takes the noise away, preconditioned.
        path: The path from data to noise.
        space: The space of model units, where entries have mean 0 and standard deviation 1.
        times: The density of the times that training draws.
        weight: The weight of a squared error.
        steps: Steps of a solver where Settings name none.
        counted: Whether values were dequantised, so that log p is a bound anyway.
    """

    def __init__(
        self,
        net: Timed,
        path: Path,
        space: Space,
        *,
        times: Times,
        weight: Weight,
        steps: int,
        counted: bool,
    ) -> None:
        super().__init__()
        self.denoiser = Preconditioned(net, path)
        self.path = path
        self.shape = space.layout
        self.dims = space.dims
        self.counted = counted
        self.times = times
        self.weight = weight
        self.steps = steps

    def loss(self, batch: Batch, noise: Noise, conditioning: Conditioning) -> dict[str, Tensor]:
        """The weighted squared error of x_hat at a random time (Karras et al. 2022, eq. 8)."""
        t = self.times(self.path, noise).to(batch.x)
        # Weights are 0 at missing entries: nothing is learned from how they are filled.
        weight = self.weight(self.denoiser, batch.x, t) * batch.present
        eps = noise.normal("eps", *self.shape).to(batch.x)
        return {
            "denoising": denoising_loss(
                self.denoiser, self.path, batch.x, t, eps, conditioning, weight=weight
            )
        }

    def guided(self, conditioning: Conditioning, settings: Any) -> Denoiser:
        """The denoiser, or its extrapolation away from the one without a condition."""
        if conditioning.null is None:
            return self.denoiser
        return Guided(self.denoiser, settings.guidance, conditioning.alone())

    def walk(
        self, noise: Noise, conditioning: Conditioning, settings: Any, watch: Watch | None = None
    ) -> Tensor:
        """From N(0, prior_std^2) to data, by the solver that Settings name."""
        # The grid of times and one step's method; ddim has an option of its own.
        grid = GRIDS[settings.grid](self.path, settings.steps or self.steps)
        step = STEPS[settings.solver]
        if settings.solver == "ddim":
            step = partial(step, eta=settings.eta)
        report = None if watch is None else lambda _i, _t, x: watch(x)
        start = self.path.prior_std * noise.normal("x", *self.shape)
        denoiser = self.guided(conditioning, settings)
        return solvers.solve(
            step, denoiser, self.path, grid, start, conditioning, noise=noise, watch=report
        )

    def evaluations(self, settings: Any) -> int:
        """One a step; two for Heun's method, but for the last step."""
        steps = settings.steps or self.steps
        if settings.solver == "heun":
            return 2 * steps - 1
        return steps

    def how(self, settings: Any) -> str:
        """Solver and steps."""
        return f"{settings.solver}, {settings.steps or self.steps} steps"

    # ---- log p -----------------------------------------------------------------------------------

    def by_ode(self, settings: Any) -> bool:
        """Whether log p comes from the ODE."""
        few = self.dims <= settings.exact_trace and not self.counted
        return settings.likelihood == "ode" or (settings.likelihood == "auto" and few)

    def effort(self, settings: Any) -> int:
        """None with the exact trace, one probe, or the draws of a bound."""
        if self.by_ode(settings):
            return 0 if self.dims <= settings.exact_trace else 1
        return DRAWN

    def score(
        self,
        batch: Batch,
        noise: Noise,
        conditioning: Conditioning,
        effort: int | None,
        settings: Any,
    ) -> Scored:
        """By the ODE, or by the bound: of the chain where there is one, else of continuous time."""
        if self.by_ode(settings):
            return self._ode(batch, noise, conditioning, effort or 1, settings)
        # The discrete chain of DDPM has a bound of its own; other paths one in continuous time.
        chain = self.path if isinstance(self.path, DDPM) else None
        draws = effort or DRAWN
        bound: Any = likelihood.variational_bound if chain else likelihood.continuous_bound
        bound_value = bound(
            self.denoiser,
            self.path,
            batch.x,
            conditioning,
            noise=noise,
            draws=draws,
            present=conditioning.present,
        )
        how = (
            f"variational bound{f' of {chain.steps} steps' if chain else ''}, {many(draws, 'draw')}"
        )
        return Scored(
            bound_value.value, Kind.LOWER_BOUND, how, bound_value.stderr, bound_value.terms
        )

    def _ode(
        self, batch: Batch, noise: Noise, conditioning: Conditioning, probes: int, settings: Any
    ) -> Scored:
        # Up to as many probes as entries the exact trace costs the same.
        exact = self.dims <= max(settings.exact_trace, probes)
        steps = settings.steps or self.steps
        estimate = likelihood.ode_log_prob(
            self.denoiser,
            self.path,
            batch.x,
            conditioning,
            grid=likelihood.likelihood_grid(self.path, steps),
            present=conditioning.present,
            probes=None if exact else likelihood.rademacher(noise, probes, batch.x),
        )
        trace = "exact trace" if exact else many(probes, "probe")
        how = f"probability-flow ODE, {steps} steps, {trace}"
        if estimate.stderr is None:
            error = None
        else:
            # Probes are rows of one orthogonal matrix without return: their mean errs less.
            error = estimate.stderr * likelihood.without_return(probes, self.dims)
        return Scored(estimate.value, Kind.ESTIMATE, how, error)

    def flow(self, x: Tensor, conditioning: Conditioning, *, back: bool) -> Tensor:
        """Data to noise of standard deviation 1 along the ODE, or back, by as many steps as log p takes.

        Entries may come flat, (B, D), and are returned laid out, (B, *E).
        """
        x = x.reshape(len(x), *self.shape)
        grid = likelihood.likelihood_grid(self.path, self.steps)
        first = self.path.alpha(grid[0])
        prior_std = self.path.prior_std
        step = solvers.runge_kutta
        # x at the grid's first time is alpha x_0; at its last one noise of deviation prior_std.
        if back:
            ends = solvers.solve(
                step, self.denoiser, self.path, grid.flip(0), prior_std * x, conditioning
            )
            return ends / first
        return (
            solvers.solve(step, self.denoiser, self.path, grid, first * x, conditioning) / prior_std
        )

    # ---- completion ------------------------------------------------------------------------------

    def complete(
        self,
        batch: Batch,
        noise: Noise,
        conditioning: Conditioning,
        n: int,
        settings: Any,
        cov: Tensor | None,
    ) -> Completed:
        """Twisted particles; with corrected=False replacement, which draws from another distribution."""
        steps = settings.steps or SLOWER * self.steps
        grid = self.path.time(torch.linspace(NOISIEST, CLEANEST, steps, dtype=torch.float64))
        if not settings.corrected:
            return self._replaced(batch, noise, conditioning, n, grid, settings)
        spread = inpaint.Spread.of(batch.x.new_ones(self.dims) if cov is None else cov)
        return self._twisted(batch, noise, conditioning, n, grid, settings, spread)

    def _replaced(
        self,
        batch: Batch,
        noise: Noise,
        conditioning: Conditioning,
        n: int,
        grid: Tensor,
        settings: Any,
    ) -> Completed:
        wide = batch.repeat(n)
        conditioning = conditioning.repeat(n)
        x = inpaint.replaced(
            self.guided(conditioning, settings),
            self.path,
            torch.cat([grid, grid.new_zeros(1)]),
            wide.x,
            wide.present,
            conditioning,
            noise=noise.draws(n),
        )
        how = f"replacement, {len(grid)} steps, uncorrected"
        return Completed(
            x.reshape(n, *batch.x.shape), how, kind=Kind.ESTIMATE, evaluations=len(grid)
        )

    def _twisted(
        self,
        batch: Batch,
        noise: Noise,
        conditioning: Conditioning,
        n: int,
        grid: Tensor,
        settings: Any,
        spread: inpaint.Spread,
    ) -> Completed:
        count = settings.particles
        size = max(8, 4 * settings.rows // count // 8 * 8)  # whole strict tiles

        def some(rows: Tensor) -> tuple[Tensor, Tensor]:
            # A tile of rows, each `count` times, draw-major.
            wide = conditioning.rows(rows).repeat(count)
            cloud = inpaint.twisted(
                self.guided(wide, settings),
                self.path,
                grid,
                batch.x[rows],
                batch.present[rows],
                wide,
                noise=_cloud(noise[rows], count),
                count=count,
                spread=spread,
            )
            # n particles of each row by their weights; all draws share the cloud.
            u = noise[rows].draws(n).uniform("pick", 1).reshape(n, len(rows))
            picks = multinomial(cloud.log_weight, u)
            return cloud.x[picks, torch.arange(len(rows), device=u.device)].transpose(
                0, 1
            ), cloud.least

        x, least = join([some(rows) for rows in torch.arange(len(batch)).split(size)])
        how = f"twisted particles, {count} of them, {len(grid)} steps"
        calls = 2 * count * len(grid)
        return Completed(x.transpose(0, 1), how, ess=least, kind=Kind.ESTIMATE, evaluations=calls)


def _cloud(noise: Noise, count: int) -> Noise:
    """The randomness of each row's particles, draw-major: tiles count particles, so that none is drawn in vain.

    Rows that are draws themselves (of other labels, say) have particles of their own.
    """
    # Particle i of row b has index i and a draw of its own, numbered by the row.
    particle = torch.arange(count, device=noise.index.device).repeat_interleave(noise.rows)
    if isinstance(noise.draw, Tensor):
        own = noise.draw
    else:
        own = torch.zeros_like(noise.index)
    return replace(
        noise, index=particle, draw=(noise.index * MOST_DRAWS + own).repeat(count)
    ).within("particles")
