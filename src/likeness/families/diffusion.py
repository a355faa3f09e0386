"""Diffusion: a net that removes noise from reals, or reveals hidden codes, step by step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from likeness.bijections.preprocess import GaussianFiller, Reals
from likeness.core import plates, scoring
from likeness.core.answers import Completed, Kind, Scored
from likeness.core.batch import Batch
from likeness.core.config import GradientConfig, Settings, option
from likeness.core.errors import BadConfig
from likeness.core.learner import Gradient, Phase
from likeness.core.model import CRITERION_DRAWS, Model
from likeness.core.noise import Noise
from likeness.core.preprocessor import Source
from likeness.core.routes import Question
from likeness.core.row_distribution import Delta, RowDistribution
from likeness.core.space import Space, vector
from likeness.dynamics import grid as grids
from likeness.dynamics.hidden import Hidden, most_states
from likeness.dynamics.likelihood import standard_error
from likeness.dynamics.noised import WEIGHTS, Noised
from likeness.dynamics.path import DDPM, EDM, Cosine, FlowMatching, Path
from likeness.dynamics.process import Process
from likeness.nets.conditioner import Conditioner
from likeness.nets.timed import Body, Conditioning, Timed
from likeness.numerics import memory
from likeness.registry import Card, register
from likeness.routes.enumerate_states import drawn

LARGE = 400  # entries from which images and signals get a U-Net
FEW_LEVELS = 16  # ordered levels up to which an entry is a code
BETAS = (
    0.1,
    20.0,
)  # steps of ddpm times their noise, first and last: 1e-4 to 0.02 where there are 1,000


class DiffusionConfig(GradientConfig):
    """Options of `diffusion`."""

    process: Literal["auto", "gaussian", "masked"] = option(
        "auto",
        "noise on reals, or codes hidden one by one; auto hides codes where every entry is one",
    )
    path: Literal["flow_matching", "cosine", "ddpm", "edm"] = option(
        "flow_matching",
        "how data turn into noise: straight lines, two schedules of fixed variance, growing variance",
    )
    noise_min: float = option(
        1e-3,
        "least noise, in standard deviations of the data: what is finer is blurred",
        gt=0,
        lt=1,
    )
    noise_max: float = option(
        80.0, "largest noise of the path edm, in standard deviations of the data", gt=1
    )
    chain: int = option(1000, "steps of the path ddpm, over which its bound is taken", ge=200)
    net: Literal["auto", "mlp", "unet", "sequence"] = option(
        "auto",
        "a residual MLP, a U-Net for images and signals, a transformer for ragged rows; auto: by Space and size",
    )
    width: int = option(128, "width of the net", ge=8)
    depth: int = option(
        3, "residual blocks: of the MLP, at each size of the U-Net, of the transformer", ge=1
    )
    fade: bool = option(
        True,
        "whether the net's output falls with the noise, so that fine noise need not be learned",
    )
    context: int = option(64, "numbers that stand for what is given", ge=1)
    times: Literal["log_normal", "log_snr", "uniform"] = option(
        "log_normal",
        "density of the times that training draws: log noise normal, log-SNR uniform, time uniform",
        "objective",
    )
    times_mean: float = option(
        -1.2, "mean of the log noise, in log standard deviations of the data", "objective"
    )
    times_std: float = option(1.2, "its standard deviation", "objective", gt=0)
    weight: Literal["net", "noise", "data"] = option(
        "net",
        "the squared error that training minimises: of the net's own target, of the noise, of the data",
        "objective",
    )
    steps: int = option(
        25, "steps of a solver where Settings name none; completion takes twice as many", ge=1
    )
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
    grid: Literal["bent", "karras", "log_snr", "uniform"] = option(
        "bent", "where on the path the solver's steps lie"
    )
    guidance: float = option(
        1.0,
        "scale of classifier-free guidance; 1: none; others sample another distribution than log_prob's",
        ge=0,
    )
    path: bool = option(False, "keep items along the way in Draws.path")
    likelihood: Literal["auto", "ode", "bound"] = option(
        "auto",
        "log p by the probability-flow ODE or by the variational bound; auto: the ODE for few reals",
    )
    exact_trace: int = option(
        16, "most entries for which the ODE's trace is exact; beyond, probes estimate it", ge=0
    )
    particles: int = option(
        128, "weighted particles of each row, where completion needs them", ge=1
    )
    corrected: bool = option(
        True, "weigh completions by particles; without, observed entries are only put in place"
    )


@register(
    Card(
        "diffusion",
        "Diffusion",
        "latent",
        "Karras, Aittala, Aila, Laine, The design space of diffusion",
        2022,
        "Noise taken away step by step: the best samples, densities of reals, bounds for all else.",
    )
)
class Diffusion(Model):
    """A denoiser x_hat = E[x_0 | x_t] on a path from data to noise, or any-order conditionals of hidden codes.

    log p of reals: along the probability-flow ODE, an ESTIMATE (finite steps, and the net's field is what is scored),
    or a variational LOWER_BOUND; rounded and counted values are dequantised, codes are bounded as
    codes. Missing entries of reals are filled by a Gaussian, missing codes stay hidden.
    """

    Config = DiffusionConfig
    Settings = DiffusionSettings
    process: Process

    def __init__(
        self, config: DiffusionConfig, space: Space, given_space: Space | None = None
    ) -> None:
        super().__init__(config, space, given_space)
        # Denoisers take lengths themselves
        self.conditioner = Conditioner(space, given_space, config.context, by_length=False)
        # Codes are hidden and revealed; anything else is dequantised to reals and noised.
        if _coded(config, space):
            self.process = Hidden(self._net(space, most_states(space)), space)
        else:
            levels = space.homogeneous and space.variables[0].type == "ordinal"
            self.preprocessor = Reals(space, squash=not levels)
            inner = self.preprocessor.out
            self.filler = GaussianFiller(inner)
            self.process = Noised(
                self._net(inner),
                _path(config),
                inner,
                times=partial(_TIMES[config.times], config),
                weight=WEIGHTS[config.weight],
                steps=config.steps,
                counted=self.preprocessor.stochastic,
            )
            self.codes = vector(inner.dims)
        self.default_effort = max(self.process.effort(self.Settings()), 1)

    def _net(self, space: Space, states: int | None = None) -> Timed:
        """A net over reals, or over codes if `states` says how many."""
        c: DiffusionConfig = self.config
        return Timed(
            space.layout,
            _body(c, space),
            per=states or 1,
            width=c.width,
            depth=c.depth,
            ragged=space.ragged,
            context=self.conditioner.size,
            fade=c.fade and states is None,
        )

    @classmethod
    def _refuse(cls, config: Any, space: Space, given_space: Space | None) -> str | None:
        if config.process == "masked" and not (
            space.discrete and all(v.type != "real" for v in space.variables)
        ):
            return "codes are hidden one by one only where every entry has finitely many: take process=gaussian"
        if config.net == "unet" and (space.ragged or len(space.shape) < 2):
            return "a U-Net takes images (C, H, W) or signals (C, T) of one size: take net=mlp"
        if config.net == "sequence" and not space.ragged:
            return "a sequence net takes ragged rows: take net=mlp"
        return None

    @classmethod
    def small(cls, space: Space) -> dict[str, Any]:
        """A quick diffusion for checks."""
        sizes = {
            "width": 32,
            "depth": 1,
            "context": 16,
            "batch": 128,
            "lr": 1e-2,
            "ema": 0.98,
            "steps": 6,
        }
        if space.real:
            return {**sizes, "net": "mlp"}
        return sizes

    def graph(self) -> plates.Graph:
        """Noise x_T, from which less and less noisy x_t lead to x_0, the data."""
        noise = self.codes or self.space
        start = "noise" if self.codes else "all hidden"
        last, now, after = (
            plates.Node("x", "latent", noise, i, n)
            for i, n in (("T", start), ("t", ""), ("t-1", ""))
        )
        x = plates.Node("x", "observed", self.space, "0")
        ties = (
            plates.Edge(last.key, now.key, "steps"),
            plates.Edge(now.key, after.key),
            plates.Edge(after.key, x.key, "steps"),
            plates.Edge(after.key, now.key, "encoder"),
        )
        return plates.rows(
            self, last, now, after, x=x, ties=ties, under=(after.key,), learned=(after.key,)
        )

    # ---- learning --------------------------------------------------------------------------------

    def _prepare(self, source: Source) -> None:
        self.conditioner.fit(source)

    def learner(self) -> Gradient:
        """Denoising, or revealing."""
        loss = partial(self.__call__, phase="denoise")
        phase = Phase("denoise", loss, list(self.parameters()), row_bytes=self._row_bytes)
        return Gradient((phase,))

    def _row_bytes(self, batch: Batch, noise: Noise) -> int:
        """Bytes that a row's loss keeps for its gradient: what several rows keep beyond one, shared by the others."""
        if len(batch) < 2:
            return 0
        many, one = (
            memory.kept_for_gradients(partial(self, batch[rows], noise[rows], "denoise"))
            for rows in (slice(None), slice(0, 1))
        )
        return (many - one) // (len(batch) - 1)

    def forward(self, batch: Batch, noise: Noise, phase: str) -> dict[str, Tensor]:
        """The process' loss, (B,)."""
        return self.process.loss(
            batch, noise, self._conditioning(batch.given, batch.length, len(batch))
        )

    def criterion(self, batch: Batch, noise: Noise) -> Tensor:
        """Minus the bound on log p, (B,), of a few draws."""
        settings = self.Settings(likelihood="bound")
        return -scoring.score(
            self, batch.to(dtype=self.dtype, device=self.device), noise, CRITERION_DRAWS, settings
        ).value

    # ---- hooks -----------------------------------------------------------------------------------

    def _conditioning(
        self, given: Batch | None, length: Tensor | None, rows: int, settings: Any = None
    ) -> Conditioning:
        """Conditioning of the net beside values and time; with guidance also the null context."""
        guided = settings is not None and settings.guidance != 1
        if guided and self.given_space is None:
            raise BadConfig(
                "guidance needs something that is given",
                do="fit with given=..., or leave guidance at 1",
            )
        # Classifier-free guidance needs the net's answer
        # without a condition too (Ho & Salimans 2022).
        context = self.conditioner(given, None, rows)
        null = self.conditioner(None, None, rows) if guided else None
        conditioning = Conditioning(context, length, null=null)
        if length is None or not self.space.ragged:
            return conditioning._replace(length=None)
        if self.preprocessor is None:
            shape = self.space.layout
        else:
            shape = self.preprocessor.out.layout
        return conditioning._replace(
            # Past a row's length there is neither noise nor data.
            present=Batch(self._anchor.expand(rows, *shape), length=length).present
        )

    def _marginal(self, batch: Batch) -> str | None:
        if self.process.holes:
            return None
        return super()._marginal(batch)

    def _pooled(self, values: Tensor, settings: Any) -> tuple[Tensor, Tensor | None]:
        """Logs are averaged where each is itself drawn: the mean of their exponentials would be no bound."""
        if self.process.effort(settings) == 0:
            return super()._pooled(values, settings)
        return values.mean(0), standard_error(values)

    def _log_prob(self, batch: Batch, noise: Noise, effort: int | None, settings: Any) -> Scored:
        return self.process.score(
            batch,
            noise,
            self._conditioning(batch.given, batch.length, len(batch)),
            effort,
            settings,
        )

    def _sample(
        self, noise: Noise, given: Batch | None, length: Tensor | None, settings: Any
    ) -> Tensor:
        return self.process.walk(
            noise, self._conditioning(given, length, noise.rows, settings), settings
        )

    def _trajectory(
        self, noise: Noise, given: Batch | None, length: Tensor | None, settings: Any
    ) -> Tensor | None:
        if not settings.path:
            return None
        items: list[Tensor] = []
        self.process.walk(
            noise, self._conditioning(given, length, noise.rows, settings), settings, items.append
        )
        return torch.stack(items, 1)

    def _complete(self, batch: Batch, noise: Noise, n: int, settings: Any) -> Completed:
        # Few joint states of the missing codes: enumerate them.
        if self.process.summed and settings.corrected and settings.guidance == 1:
            return drawn(self, Question(batch, noise, settings, n=n))
        if isinstance(self.filler, GaussianFiller):
            cov = self.filler.cov
        else:
            cov = None
        conditioning = self._conditioning(batch.given, batch.length, len(batch), settings)
        return self.process.complete(batch, noise, conditioning, n, settings, cov)

    def _why_not(self, verb: str) -> str | None:
        without = self.codes is None and verb in {"encode", "decode"}
        if without:
            return "codes that are hidden one by one have no latent code: fit with process=gaussian"
        return None

    def _encode(
        self, batch: Batch, noise: Noise, effort: int | None, settings: Any
    ) -> RowDistribution:
        assert self.codes is not None and self.filler is not None
        # The ODE runs over complete rows: missing entries are drawn from the filler first.
        if batch.full:
            whole = batch
        else:
            whole = self.filler.fill(batch, noise)[0]
        z = self.process.flow(
            whole.x, self._conditioning(batch.given, batch.length, len(batch)), back=False
        )
        if whole.within is not None:
            z = z * whole.within
        return Delta(self.codes, batch.ids, Kind.ESTIMATE, "probability-flow ODE", z.flatten(1))

    def _decode(self, z: Tensor, given: Batch | None, index: Tensor) -> RowDistribution:
        length = torch.full((len(z),), self.space.layout[0], device=z.device)
        conditioning = self._conditioning(given, length, len(z))
        x = scoring.to_data_units(self, self.process.flow(z, conditioning, back=True), None)
        return Delta(self.space, index, Kind.ESTIMATE, "probability-flow ODE", x)

    def evaluations(self, settings: Any) -> int:
        """Passes of the net for one item; twice as many where it is guided."""
        return self.process.evaluations(settings) * (1 if settings.guidance == 1 else 2)

    def how(self, verb: str, settings: Any) -> str:
        """Solver, steps and guidance."""
        if verb != "sample":
            return super().how(verb, settings)
        if settings.guidance == 1:
            guided = ""
        else:
            guided = f", guided by {settings.guidance:g}: not the distribution of log_prob"
        return self.process.how(settings) + guided


def _coded(config: DiffusionConfig, space: Space) -> bool:
    """Whether codes are hidden one by one."""
    few = all(
        v.type == "nominal" or (v.type == "ordinal" and v.states <= FEW_LEVELS)
        for v in space.variables
    )
    if config.process == "auto":
        return few
    return config.process == "masked"


def _body(config: DiffusionConfig, space: Space) -> Body:
    """The net that the Config names, or that Space and size call for."""
    if config.net != "auto":
        return config.net
    if space.ragged:
        return "sequence"
    if len(space.shape) > 1 and space.dims >= LARGE:
        return "unet"
    return "mlp"


def _path(c: DiffusionConfig) -> Path:
    """The path that the Config names, from its least noise on."""
    if c.path == "edm":
        return EDM(c.noise_min, c.noise_max)
    ddpm = DDPM(
        c.chain, BETAS[0] / c.chain, BETAS[1] / c.chain
    )  # a shorter chain takes larger steps to the same noise
    paths: dict[str, Any] = {"flow_matching": FlowMatching(), "cosine": Cosine(), "ddpm": ddpm}
    # The time at which log SNR is -2 log noise_min: finer noise is never reached.
    start = paths[c.path].time(torch.tensor(-2 * math.log(c.noise_min), dtype=torch.float64))
    path: Path = replace(paths[c.path], t_min=float(start))
    return path


_TIMES: dict[str, Callable[[DiffusionConfig, Path, Noise], Tensor]] = {
    "log_normal": lambda c, p, n: grids.log_normal_times(
        p, n.normal("t"), mean=c.times_mean, std=c.times_std
    ),
    "log_snr": lambda _c, p, n: grids.log_snr_times(p, n.uniform("t")),
    "uniform": lambda _c, p, n: grids.uniform_times(p, n.uniform("t")),
}
