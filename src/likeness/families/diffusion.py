"""Diffusion: a net that takes noise from reals, or reveals hidden codes, step by step."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from likeness.bijections.preprocess import GaussianFiller, Reals
from likeness.core.answers import Completed, Kind, Scored
from likeness.core.batch import Batch, missing
from likeness.core.config import GradientConfig, Settings, option
from likeness.core.errors import BadConfig
from likeness.core.learner import Gradient, Phase
from likeness.core.model import CRITERION_DRAWS, Model
from likeness.core.noise import Noise
from likeness.core.preprocessor import Source
from likeness.core.registry import Card, register
from likeness.core.rowlaw import Delta, RowLaw
from likeness.core.space import Space, vector
from likeness.core.tree import join
from likeness.dynamics import grid as grids
from likeness.dynamics import inpaint, likelihood, solvers
from likeness.dynamics.chain import Categories, Masked
from likeness.dynamics.denoiser import Denoiser, Guided, Preconditioned, denoising_loss
from likeness.dynamics.inpaint import Spread
from likeness.dynamics.path import DDPM, EDM, Cosine, FlowMatching, Path, expand
from likeness.nets.context import ContextNet
from likeness.nets.timed import Body, Timed, Told
from likeness.routes.particles import pick

LARGE = 400  # entries from which images and signals get a U-Net
FEW_LEVELS = 16  # ordered levels up to which an entry is a code
NOISIEST, CLEANEST = -6.0, 9.0  # log-SNR from which to which completion walks: noise 20 to 0.01 of the data
DRAWN = 16  # draws of a bound where nobody asks for another number
MOST_STEPS = 64  # steps in which codes are revealed where nobody asks for another number
SLOWER = 2  # completion takes so many times the steps of sampling
MOST_DRAWS = 1 << 20
Watch = Callable[[Tensor], None]


class DiffusionConfig(GradientConfig):
    """Options of `diffusion`."""

    process: Literal["auto", "gaussian", "masked"] = option(
        "auto", "noise on reals, or codes hidden one by one; auto hides codes where every entry is one"
    )
    path: Literal["flow_matching", "cosine", "ddpm", "edm"] = option(
        "flow_matching", "how data turn into noise: straight lines, two schedules of fixed variance, growing variance"
    )
    noise_min: float = option(
        1e-3, "least noise, in standard deviations of the data: what is finer is blurred", gt=0, lt=1
    )
    noise_max: float = option(80.0, "largest noise of the path edm, in standard deviations of the data", gt=1)
    chain: int = option(1000, "steps of the path ddpm, over which its bound is taken", ge=50)
    net: Literal["auto", "mlp", "unet", "sequence"] = option(
        "auto", "a residual MLP, a U-Net for images and signals, a transformer for ragged rows; auto: by Space and size"
    )
    width: int = option(128, "width of the net", ge=8)
    depth: int = option(3, "residual blocks: of the MLP, at each size of the U-Net, of the transformer", ge=1)
    fade: bool = option(True, "whether the net's output falls with the noise, so that fine noise need not be learned")
    context: int = option(64, "numbers that stand for what is given", ge=1)
    times: Literal["log_normal", "log_snr", "uniform"] = option(
        "log_normal", "density of the times that training draws: log noise normal, log-SNR uniform, time uniform",
        "objective",
    )  # fmt: skip
    times_mean: float = option(-1.2, "mean of the log noise, in log standard deviations of the data", "objective")
    times_std: float = option(1.2, "its standard deviation", "objective", gt=0)
    weight: Literal["net", "noise", "data"] = option(
        "net", "the squared error that training minimises: of the net's own target, of the noise, of the data",
        "objective",
    )  # fmt: skip
    steps: int = option(25, "steps of a solver where Settings name none; completion takes twice as many", ge=1)
    lr: float = option(5e-3, "peak learning rate of Adam", "optimiser", gt=0)
    batch: int = option(512, "rows a step", "optimiser", ge=1)


class DiffusionSettings(Settings):
    """How to ask `diffusion`."""

    solver: Literal["heun", "multistep", "euler", "ddim", "ancestral"] = option(
        "multistep", "how noise is turned into data"
    )
    steps: int | None = option(
        None, "steps of the solver and of the ODE of log p, or in which codes are revealed", ge=1
    )
    eta: float = option(0.0, "share of the chain's noise that ddim draws anew", ge=0, le=1)
    grid: Literal["bent", "karras", "log_snr", "uniform"] = option("bent", "where on the path the solver's steps lie")
    guidance: float = option(1.0, "scale of classifier-free guidance; 1 is none, any other samples another law", ge=0)
    path: bool = option(False, "keep items along the way in Draws.path")
    likelihood: Literal["auto", "ode", "bound"] = option(
        "auto", "log p by the probability-flow ODE or by the variational bound; auto: the ODE for few reals"
    )
    exact_trace: int = option(16, "most entries for which the ODE's trace is exact; beyond, probes estimate it", ge=0)
    particles: int = option(128, "weighted particles of each row, where completion needs them", ge=1)
    corrected: bool = option(True, "weigh completions by particles; without, observed entries are only put in place")


class Process(nn.Module):
    """What differs between noise on reals and hidden codes; each method sees one batch in model units."""

    @abstractmethod
    def loss(self, batch: Batch, noise: Noise, told: Told) -> dict[str, Tensor]:
        """The training loss, each term (B,)."""

    @abstractmethod
    def walk(self, noise: Noise, told: Told, null: Told | None, settings: Any, watch: Watch | None) -> Tensor:
        """Items (B, *E); `watch` sees them along the way."""

    @abstractmethod
    def score(self, batch: Batch, noise: Noise, told: Told, effort: int | None, settings: Any) -> Scored:
        """Log p of what is observed."""

    @abstractmethod
    def complete(
        self, batch: Batch, noise: Noise, told: Told, null: Told | None, n: int, settings: Any, spread: Spread | None
    ) -> Completed:
        """N draws of what is hidden."""

    @abstractmethod
    def evaluations(self, settings: Any) -> int:
        """Passes of the net for one item."""

    @abstractmethod
    def how(self, settings: Any) -> str:
        """How items are drawn."""


class Noised(Process):
    """Reals with Gaussian noise, and the preconditioned net that takes it away.

    Args:
        config: The family's options.
        space: The space of model units, where entries have mean 0 and standard deviation 1.
        context: Size of the context vector.
        counted: Whether values were dequantised, so that log p is a bound anyway.
    """

    def __init__(self, config: DiffusionConfig, space: Space, context: int, *, counted: bool) -> None:
        super().__init__()
        self.config, self.shape, self.dims, self.counted = config, space.layout, space.dims, counted
        self.path = _path(config)
        sizes: dict[str, Any] = {
            "width": config.width,
            "depth": config.depth,
            "context": context,
            "ragged": space.ragged,
        }
        self.denoiser = Preconditioned(Timed(space.layout, _body(config, space), fade=config.fade, **sizes), self.path)

    def loss(self, batch: Batch, noise: Noise, told: Told) -> dict[str, Tensor]:
        """The weighted squared error of x_hat at a random time (Karras et al. 2022, eq. 8)."""
        t = _TIMES[self.config.times](self.path, noise, self.config).to(batch.x)
        weight = _WEIGHTS[self.config.weight](self.denoiser, batch.x, t) * batch.present
        eps = noise.normal("eps", *self.shape).to(batch.x)
        return {"denoising": denoising_loss(self.denoiser, self.path, batch.x, t, eps, told, weight=weight)}

    def guided(self, null: Told | None, settings: Any) -> Denoiser:
        """The denoiser, or its extrapolation away from the one that is told nothing."""
        return self.denoiser if null is None else Guided(self.denoiser, settings.guidance, null)

    def walk(self, noise: Noise, told: Told, null: Told | None, settings: Any, watch: Watch | None) -> Tensor:
        """From N(0, prior_std^2) to data, by the solver that Settings name."""
        grid = _GRIDS[settings.grid](self.path, settings.steps or self.config.steps)
        solve = _SOLVERS[settings.solver]
        solve = partial(solve, eta=settings.eta) if settings.solver == "ddim" else solve
        seen = None if watch is None else lambda _i, _t, x: watch(x)
        start = self.path.prior_std * noise.normal("x", *self.shape)
        return solve(self.guided(null, settings), self.path, grid, start, told, noise=noise, watch=seen)

    def evaluations(self, settings: Any) -> int:
        """One a step; two for Heun's method, but for the last step."""
        steps = settings.steps or self.config.steps
        return 2 * steps - 1 if settings.solver == "heun" else steps

    def how(self, settings: Any) -> str:
        """Solver and steps."""
        return f"{settings.solver}, {settings.steps or self.config.steps} steps"

    # ---- log p -----------------------------------------------------------------------------------------------------

    def by_ode(self, settings: Any) -> bool:
        """Whether log p comes from the ODE."""
        few = self.dims <= settings.exact_trace and not self.counted
        return settings.likelihood == "ode" or (settings.likelihood == "auto" and few)

    def score(self, batch: Batch, noise: Noise, told: Told, effort: int | None, settings: Any) -> Scored:
        """By the ODE, or by the bound: of the chain where there is one, else of continuous time."""
        if self.by_ode(settings):
            return self._ode(batch, noise, told, effort or 1, settings)
        chain, draws = self.path if isinstance(self.path, DDPM) else None, effort or DRAWN
        bound: Any = likelihood.variational_bound if chain else likelihood.continuous_bound
        found = bound(self.denoiser, self.path, batch.x, told, noise=noise, draws=draws, present=told.present)
        how = f"variational bound{f' of {chain.steps} steps' if chain else ''}, {_many(draws, 'draw')}"
        return Scored(found.value, Kind.LOWER_BOUND, how, found.stderr, found.terms)

    def _ode(self, batch: Batch, noise: Noise, told: Told, probes: int, settings: Any) -> Scored:
        exact, steps = self.dims <= settings.exact_trace, settings.steps or self.config.steps
        found = likelihood.ode_log_prob(
            self.denoiser, self.path, batch.x, told, grid=likelihood.likelihood_grid(self.path, steps),
            present=told.present, probes=None if exact else likelihood.rademacher(noise, probes, batch.x),
        )  # fmt: skip
        trace = "exact trace" if exact else _many(probes, "probe")
        how = f"probability-flow ODE, {steps} steps, {trace}"
        return Scored(found.value, Kind.ESTIMATE, how, found.stderr)

    def flow(self, x: Tensor, told: Told, *, back: bool) -> Tensor:
        """Data to noise of standard deviation 1 along the ODE, or back, by as many steps as log p takes."""
        grid = likelihood.likelihood_grid(self.path, self.config.steps)
        first = self.path.alpha(grid[0])
        if back:
            return solvers.runge_kutta(self.denoiser, self.path, grid.flip(0), self.path.prior_std * x, told) / first
        return solvers.runge_kutta(self.denoiser, self.path, grid, first * x, told) / self.path.prior_std

    # ---- completion ------------------------------------------------------------------------------------------------

    def complete(
        self, batch: Batch, noise: Noise, told: Told, null: Told | None, n: int, settings: Any, spread: Spread | None
    ) -> Completed:
        """Twisted particles; with corrected=False replacement, which draws from another law."""
        steps = settings.steps or SLOWER * self.config.steps
        grid = self.path.time(torch.linspace(NOISIEST, CLEANEST, steps, dtype=torch.float64))
        if not settings.corrected:
            many, grid = batch.repeat(n), torch.cat([grid, grid.new_zeros(1)])
            denoiser = self.guided(null and null.repeat(n), settings)
            x = inpaint.replaced(
                denoiser, self.path, grid, many.x, many.present, told.repeat(n), noise=noise.draws(n)
            )  # fmt: skip
            how = f"replacement, {steps} steps, uncorrected"
            return Completed(x.reshape(n, *batch.x.shape), how, kind=Kind.ESTIMATE, evaluations=steps)
        assert spread is not None
        count = settings.particles
        size = max(8, 4 * settings.rows // count // 8 * 8)  # whole strict tiles

        def some(rows: Tensor) -> tuple[Tensor, Tensor]:
            denoiser = self.guided(null and null.rows(rows).repeat(count), settings)
            found = inpaint.twisted(
                denoiser, self.path, grid, batch.x[rows], batch.present[rows], told.rows(rows).repeat(count),
                noise=_cloud(noise[rows], count), count=count, spread=spread,
            )  # fmt: skip
            u = noise[rows].draws(n).uniform("pick", 1).reshape(n, len(rows))
            return found.x[pick(found.log_weight, u), torch.arange(len(rows))].transpose(0, 1), found.least

        x, least = join([some(rows) for rows in torch.arange(len(batch)).split(size)])
        how = f"twisted particles, {count} of them, {steps} steps"
        calls = 2 * count * steps
        return Completed(x.transpose(0, 1), how, ess=least, kind=Kind.ESTIMATE, evaluations=calls)


class Hidden(Process):
    """Codes that are hidden one by one, and the net that reveals them in any order.

    Items are drawn from the mean over orders of the net's any-order law; log p is a LOWER_BOUND on its logarithm, the
    mean over orders of the log. Where rows have holes these come last in every order: an ESTIMATE.
    """

    sizes: Tensor

    def __init__(self, config: DiffusionConfig, space: Space, context: int) -> None:
        super().__init__()
        self.config, self.shape = config, space.layout
        states = torch.tensor([int(v.states) for v in space.columns])
        self.register_buffer("sizes", (states[0] if space.width == 1 else states).expand(space.layout).clone())
        self.states = int(states.max())
        sizes: dict[str, Any] = {
            "width": config.width,
            "depth": config.depth,
            "context": context,
            "ragged": space.ragged,
        }
        self.net = Timed(space.layout, _body(config, space), per=self.states, **sizes)

    @property
    def masked(self) -> Masked:
        """The chain."""
        return Masked(Categories(self.sizes))

    def forward(self, x: Tensor, visible: Tensor, t: Tensor, told: Told, noise: Noise | None = None) -> Tensor:
        """Logits (B, *E, K) of each entry, from those that are visible."""
        features = nn.functional.one_hot(x, self.states).to(t) * visible.unsqueeze(-1)
        logits: Tensor = self.net(features, t, told)
        return logits

    def guided(self, null: Told | None, settings: Any) -> Callable[..., Tensor]:
        """The net, or its log-probabilities extrapolated away from those that are told nothing."""

        def both(x: Tensor, visible: Tensor, t: Tensor, told: Told, noise: Noise | None = None) -> Tensor:
            assert null is not None
            free = self(x, visible, t, null).log_softmax(-1)
            logits: Tensor = free + settings.guidance * (self(x, visible, t, told).log_softmax(-1) - free)
            return logits

        return self if null is None else both

    def loss(self, batch: Batch, noise: Noise, told: Told) -> dict[str, Tensor]:
        """Minus the bound, of what is observed."""
        return {"nll": -self.masked.bound(self, batch.x.long(), told, noise=noise, present=batch.present).value}

    def score(self, batch: Batch, noise: Noise, told: Told, effort: int | None, settings: Any) -> Scored:
        """The bound; with holes the same of what is observed."""
        draws = effort or DRAWN
        found = self.masked.bound(self, batch.x.long(), told, noise=noise, draws=draws, present=batch.present)
        kind, last = (Kind.LOWER_BOUND, "") if batch.full else (Kind.ESTIMATE, ", holes last")
        return Scored(found.value, kind, f"bound over orders, {_many(draws, 'draw')}{last}", found.stderr)

    def steps(self, settings: Any) -> int:
        """Steps in which codes are revealed."""
        return settings.steps or min(math.prod(self.shape), MOST_STEPS)

    def evaluations(self, settings: Any) -> int:
        """One a step."""
        return self.steps(settings)

    def how(self, settings: Any) -> str:
        """In how many steps."""
        steps = self.steps(settings)
        exact = "" if steps >= math.prod(self.shape) else ", several codes in one"
        return f"unmasked in {steps} steps{exact}"

    def walk(self, noise: Noise, told: Told, null: Told | None, settings: Any, watch: Watch | None) -> Tensor:
        """All codes revealed in random order; along the way -1 stands for those that are not."""
        empty = Batch(noise.index.new_zeros(noise.rows, *self.shape)).hide(torch.ones((), dtype=torch.bool))
        seen = None if watch is None else lambda _i, visible, x: watch(torch.where(visible, x, -1).to(noise.dtype))
        return self._unmask(empty, noise, told, null, settings, seen)

    def complete(
        self, batch: Batch, noise: Noise, told: Told, null: Told | None, n: int, settings: Any, spread: Spread | None
    ) -> Completed:
        """What is hidden revealed in random order, given what is observed."""
        told, null = told.repeat(n), null and null.repeat(n)
        x = self._unmask(batch.repeat(n), noise.draws(n), told, null, settings, None)
        how = f"{self.how(settings)}, any-order conditionals"
        calls = self.steps(settings)
        return Completed(x.reshape(n, *batch.x.shape), how, kind=Kind.ESTIMATE, evaluations=calls)

    def _unmask(self, batch: Batch, noise: Noise, told: Told, null: Told | None, settings: Any, watch: Any) -> Tensor:
        known = torch.zeros_like(batch.x, dtype=torch.bool) if batch.observed is None else batch.present
        within = torch.ones_like(known) if told.present is None else told.present
        longest = int((within & ~known).flatten(1).sum(1).amax())  # steps beyond reveal nothing, and change nothing
        x = self.masked.unmask(
            self.guided(null, settings), batch.x.long(), told,
            steps=min(self.steps(settings), max(longest, 1)), noise=noise,
            present=told.present, evidence=known, watch=watch,
        )  # fmt: skip
        return x.to(noise.dtype)


@register(
    Card(
        "diffusion", "Diffusion", "latent", "Karras, Aittala, Aila, Laine, The design space of diffusion", 2022,
        "Noise taken away step by step: the best samples, densities of reals, bounds for all else.",
    )
)  # fmt: skip
class Diffusion(Model):
    """A denoiser x_hat = E[x_0 | x_t] on a path from data to noise, or any-order conditionals of hidden codes.

    log p of reals: along the probability-flow ODE, an ESTIMATE (finite steps, and the net's field is what is scored),
    or a variational LOWER_BOUND; rounded and counted values are dequantised, codes are bounded as codes. Holes of reals
    are filled by a Gaussian, codes that are hidden stay so.
    """

    Config, Settings = DiffusionConfig, DiffusionSettings
    process: Process

    def __init__(self, config: DiffusionConfig, space: Space, given_space: Space | None = None) -> None:
        super().__init__(config, space, given_space)
        self.context = ContextNet(given_space, config.context) if given_space is not None else None
        size = config.context if self.context is not None else 0
        if _coded(config, space):
            self.default_effort = DRAWN
            self.process = Hidden(config, space, size)
            return
        levels = space.homogeneous and space.variables[0].type == "ordinal"
        self.preprocessor = Reals(space, squash=not levels)
        self.filler = GaussianFiller(self.preprocessor.out)
        self.process = Noised(config, self.preprocessor.out, size, counted=self.preprocessor.stochastic)
        self.codes = vector(self.process.dims)
        self.default_effort = 1 if self.process.by_ode(self.Settings()) else DRAWN

    @classmethod
    def _refuse(cls, config: Any, space: Space, given_space: Space | None) -> str | None:
        if config.process == "masked" and not (space.discrete and all(v.type != "real" for v in space.variables)):
            return "codes are hidden one by one only where every entry has finitely many: take process=gaussian"
        if config.net == "unet" and (space.ragged or len(space.shape) < 2):
            return "a U-Net takes images (C, H, W) or signals (C, T) of one size: take net=mlp"
        if config.net == "sequence" and not space.ragged:
            return "a sequence net takes ragged rows: take net=mlp"
        return None

    @classmethod
    def small(cls, space: Space) -> dict[str, Any]:
        """A quick diffusion for checks."""
        return {"width": 32, "depth": 1, "context": 16, "batch": 128, "lr": 1e-2, "ema": 0.98, "steps": 6}

    # ---- learning --------------------------------------------------------------------------------------------------

    def _prepare(self, source: Source) -> None:
        if self.context is not None:
            self.context.fit(source)

    def learner(self) -> Gradient:
        """Denoising, or revealing."""
        return Gradient((Phase("denoise", partial(self.__call__, phase="denoise"), list(self.parameters())),))

    def forward(self, batch: Batch, noise: Noise, phase: str) -> dict[str, Tensor]:
        """The process' loss, (B,)."""
        return self.process.loss(batch, noise, self._told(batch.given, batch.length, len(batch)))

    def criterion(self, batch: Batch, noise: Noise) -> Tensor:
        """Minus the bound on log p, (B,), of a few draws."""
        settings = self.Settings(likelihood="bound")
        return -self._score(batch.to(dtype=self.dtype, device=self.device), noise, CRITERION_DRAWS, settings).value

    # ---- hooks -----------------------------------------------------------------------------------------------------

    def _told(self, given: Batch | None, length: Tensor | None, rows: int) -> Told:
        """What the net is told beside values and time."""
        told = None
        if self.context is not None:
            assert self.given_space is not None
            told = self.context(given if given is not None else missing(self.given_space, rows, self._anchor))
        if not self.space.ragged:
            return Told(told)
        assert length is not None
        shape = self.space.layout if self.preprocessor is None else self.preprocessor.out.layout
        return Told(told, length, Batch(self._anchor.expand(rows, *shape), length=length).present)

    def _null(self, told: Told, rows: int, settings: Any) -> Told | None:
        """The same told nothing of what is given, where guidance needs it."""
        if settings.guidance == 1:
            return None
        if self.given_space is None:
            raise BadConfig("guidance needs something that is given", do="fit with given=..., or leave guidance at 1")
        return told._replace(vector=self._told(None, told.length, rows).vector)

    def _marginal(self, batch: Batch) -> str | None:
        return super()._marginal(batch) if isinstance(self.process, Noised) else None

    def _pooled(self, values: Tensor, settings: Any) -> tuple[Tensor, Tensor | None]:
        """Logs are averaged where each is itself drawn: the mean of their exponentials would be no bound."""
        exact = isinstance(self.process, Noised) and self.process.by_ode(settings)
        exact = exact and self.process.dims <= settings.exact_trace
        return super()._pooled(values, settings) if exact else (values.mean(0), likelihood.standard_error(values))

    def _log_prob(self, batch: Batch, noise: Noise, effort: int | None, settings: Any) -> Scored:
        return self.process.score(batch, noise, self._told(batch.given, batch.length, len(batch)), effort, settings)

    def _sample(self, noise: Noise, given: Batch | None, length: Tensor | None, settings: Any) -> Tensor:
        return self._walk(noise, given, length, settings, None)

    def _trajectory(self, noise: Noise, given: Batch | None, length: Tensor | None, settings: Any) -> Tensor | None:
        if not settings.path:
            return None
        seen: list[Tensor] = []
        self._walk(noise, given, length, settings, seen.append)
        return torch.stack(seen, 1)

    def _walk(
        self, noise: Noise, given: Batch | None, length: Tensor | None, settings: Any, watch: Watch | None
    ) -> Tensor:
        told = self._told(given, length, noise.rows)
        return self.process.walk(noise, told, self._null(told, noise.rows, settings), settings, watch)

    def _complete(self, batch: Batch, noise: Noise, n: int, settings: Any) -> Completed:
        told = self._told(batch.given, batch.length, len(batch))
        spread = Spread.of(self.filler.cov) if isinstance(self.filler, GaussianFiller) else None
        return self.process.complete(batch, noise, told, self._null(told, len(batch), settings), n, settings, spread)

    def _why_not(self, verb: str) -> str | None:
        masked = isinstance(self.process, Hidden) and verb in {"encode", "decode"}
        return "codes that are hidden one by one have no latent code: fit with process=gaussian" if masked else None

    def _encode(self, batch: Batch, noise: Noise, effort: int | None, settings: Any) -> RowLaw:
        assert isinstance(self.process, Noised) and self.codes is not None and self.filler is not None
        whole = batch if batch.full else replace(self.filler.fill(batch, noise)[0], given=batch.given)
        z = self.process.flow(whole.x, self._told(batch.given, batch.length, len(batch)), back=False)
        z = z if batch.within is None else z * whole.present
        return Delta(self.codes, batch.ids, Kind.ESTIMATE, "probability-flow ODE", z.flatten(1))

    def _decode(self, z: Tensor, given: Batch | None, index: Tensor) -> RowLaw:
        assert isinstance(self.process, Noised) and self.preprocessor is not None
        length = torch.full((len(z),), self.space.layout[0], device=z.device) if self.space.ragged else None
        told = self._told(given, length, len(z))
        x = self.process.flow(z.reshape(len(z), *self.process.shape), told, back=True)
        return Delta(self.space, index, Kind.ESTIMATE, "probability-flow ODE", self.preprocessor.inverse(x))

    def evaluations(self, settings: Any) -> int:
        """Passes of the net for one item; twice as many where it is guided."""
        return self.process.evaluations(settings) * (1 if settings.guidance == 1 else 2)

    def how(self, verb: str, settings: Any) -> str:
        """Solver, steps and guidance."""
        if verb != "sample":
            return super().how(verb, settings)
        guided = "" if settings.guidance == 1 else f", guided by {settings.guidance:g}: not the law of log_prob"
        return self.process.how(settings) + guided


def _cloud(noise: Noise, count: int) -> Noise:
    """The randomness of each row's particles, draw-major: tiles count particles, so that none is drawn in vain.

    Rows that are draws themselves (of other labels, say) have particles of their own.
    """
    particle = torch.arange(count, device=noise.index.device).repeat_interleave(noise.rows)
    own = noise.draw if isinstance(noise.draw, Tensor) else torch.zeros_like(noise.index)
    return replace(noise, index=particle, draw=(noise.index * MOST_DRAWS + own).repeat(count)).within("particles")


def _many(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _coded(config: DiffusionConfig, space: Space) -> bool:
    """Whether codes are hidden one by one."""
    few = all(v.type == "nominal" or (v.type == "ordinal" and v.states <= FEW_LEVELS) for v in space.variables)
    return few if config.process == "auto" else config.process == "masked"


def _body(config: DiffusionConfig, space: Space) -> Body:
    """The net that the Config names, or that Space and size call for."""
    if config.net != "auto":
        return config.net
    return "sequence" if space.ragged else "unet" if len(space.shape) > 1 and space.dims >= LARGE else "mlp"


def _path(c: DiffusionConfig) -> Path:
    """The path that the Config names, from its least noise on."""
    if c.path == "edm":
        return EDM(c.noise_min, c.noise_max)
    made: dict[str, Any] = {"flow_matching": FlowMatching(), "cosine": Cosine(), "ddpm": DDPM(c.chain)}
    start = made[c.path].time(torch.tensor(-2 * math.log(c.noise_min), dtype=torch.float64))
    path: Path = replace(made[c.path], t_min=float(start))
    return path


_GRIDS = {
    "bent": grids.bent_grid,
    "karras": grids.karras_grid,
    "log_snr": grids.log_snr_grid,
    "uniform": grids.uniform_grid,
}
_SOLVERS: dict[str, Callable[..., Tensor]] = {
    "heun": solvers.heun, "multistep": solvers.multistep, "euler": solvers.euler, "ddim": solvers.ddim,
    "ancestral": solvers.ancestral,
}  # fmt: skip
_TIMES: dict[str, Callable[[Path, Noise, DiffusionConfig], Tensor]] = {
    "log_normal": lambda p, n, c: grids.log_normal_times(p, n.normal("t"), mean=c.times_mean, std=c.times_std),
    "log_snr": lambda p, n, c: grids.log_snr_times(p, n.uniform("t")),
    "uniform": lambda p, n, c: grids.uniform_times(p, n.uniform("t")),
}
_WEIGHTS: dict[str, Callable[[Preconditioned, Tensor, Tensor], Tensor]] = {
    "net": lambda d, x, t: d.weight(x, t),
    "noise": lambda d, x, t: expand((d.path.alpha(t) / d.path.sigma(t)).square(), x),
    "data": lambda d, x, t: torch.ones_like(x),
}
