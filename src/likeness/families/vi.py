"""Variational inference: a Gaussian q(z) fitted to a density that the user gives, with its bound and checks of it."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from likeness.bijections.preprocess import Reals
from likeness.core import plates
from likeness.core.answers import Completed, Kind, LogProb, Mode, Scored
from likeness.core.batch import Batch, missing
from likeness.core.config import Config, GradientConfig, option
from likeness.core.draws import Draws
from likeness.core.errors import BadConfig
from likeness.core.learner import Gradient, Phase
from likeness.core.model import Model
from likeness.core.noise import Noise, fresh_seed
from likeness.core.preprocessor import Source
from likeness.core.space import Real, Space, entry_names, vector
from likeness.learn.run import Run
from likeness.metrics.pareto import Smoothed, pareto_smoothed
from likeness.numerics import gaussian
from likeness.numerics.stable import log_mean_exp
from likeness.registry import Card, build, register

Density = Callable[[Tensor], Tensor]
Function = TypeVar("Function", bound=Density)
DENSITIES: dict[str, Density] = {}  # of this process, by the names that Configs give them
EMA = 0.99
WARMUP = 20
SHOWN = 12  # unknowns that a diagram shows one by one


class VIConfig(Config):
    """Options of `vi`."""

    target: str | None = option(
        None,
        "the log-density to approximate, registered as package.module:function, of z (B, Q) with values (B,) in nats",
    )
    rank: Literal["full", "diagonal"] = option(
        "full", "full: any covariance; diagonal: independent entries"
    )
    gradient: Literal["reparameterised", "score"] = option(
        "reparameterised",
        "reparameterised: through the draws, for a density with a gradient; score: without one",
        "objective",
    )
    draws: int = option(64, "draws of z a step", "objective", ge=2)
    spread: float = option(
        1.0, "deviation of every entry to begin with, where bounds are removed", gt=0
    )
    lr: float = option(0.05, "peak learning rate of Adam", "optimiser", gt=0)

    def bring(self, load: Callable[[str], Any]) -> None:
        """Register the density that the target names.

        Raises:
            BadConfig: Where the name leads to no function.
        """
        if self.target is None or self.target in DENSITIES:
            return
        register_density(load(self.target), self.target)


@dataclass(frozen=True, eq=False)
class Evidence(LogProb):
    """The log evidence by importance sampling, with what says whether its draws suffice.

    Attributes:
        k: The shape of the weights' tail: below 0.5 good, above 0.7 not to be relied on.
        ess: The effective number of draws.
    """

    k: float = math.nan
    ess: float = math.nan


@register(
    Card(
        "vi",
        "Variational inference",
        "classical",
        "Kucukelbir et al., Automatic differentiation variational inference",
        2017,
        "A Gaussian fitted to a density known up to its constant: a posterior, its bound, and a check of both.",
    )
)
class VI(Model):
    """z = T(u) with u ~ N(mean, L L'), T the map from the line to each entry's bounds, fitted to a given density.

    It maximises E_q[log p(z, x) - log q(z)] <= log p(x) in draws of q and learns from no data: the
    density holds them. L = diag(exp(log_std)) (I + below), so that `below` has no unit.

    Attributes:
        density: The log-density: the one that this process has registered under the Config's
            name, unless one is put here. No name is ever imported.
    """

    Config = VIConfig
    natural_dtype = torch.float64

    def __init__(self, config: VIConfig, space: Space, given_space: Space | None = None) -> None:
        super().__init__(config, space, given_space)
        self.preprocessor = Bounds(space)
        q = space.dims
        self.mean = nn.Parameter(torch.zeros(q))
        self.log_std = nn.Parameter(torch.full((q,), math.log(config.spread)))
        self.below = nn.Parameter(torch.zeros(q * (q - 1) // 2 if config.rank == "full" else 0))
        self._density: Density | None = None

    @classmethod
    def _refuse(cls, config: VIConfig, space: Space, given_space: Space | None) -> str | None:
        if config.target is None:
            return (
                "it models no rows, it approximates a density that you give: name it as "
                "target=package.module:function, or call likeness.families.vi.fit with a function"
            )
        if given_space is not None:
            return "what its density is given stands in the density itself: ask without `given`"
        if (
            space.ragged
            or len(space.shape) != 1
            or not all(v.type == "real" and not v.counted for v in space.variables)
        ):
            return "z is a vector of reals, with bounds or without: sum discrete unknowns out of the density"
        return None

    def graph(self) -> plates.Graph:
        """The unknowns of the density, each by its name, the data that stand in it, and q, which approximates them."""
        names = entry_names(self.space)
        one = self.space.dims <= SHOWN
        parts = zip(names, self.space.columns, strict=True)
        if one:
            z = [plates.Node(n, "latent", vector(1, v)) for n, v in parts]
        else:
            z = [plates.Node("z", "latent", self.space)]
        data = plates.Node("data", "given", note="in the density")
        q = plates.Node("q", "parameter", note=f"{self.config.rank}, {self.count():,} numbers")
        ties = (*plates.edges(z, data.key), *(plates.Edge(q.key, n.key, "encoder") for n in z))
        return plates.Graph((*z, data, q), ties)

    # ---- the density -----------------------------------------------------------------------------

    @property
    def density(self) -> Density:
        """log p(z, x) of z (B, Q) in data units, (B,) in nats.

        Raises:
            BadConfig: Where nothing is registered under the Config's name.
        """
        if self._density is None:
            return registered(self.config.target)
        return self._density

    @density.setter
    def density(self, function: Density) -> None:
        self._density = function

    def log_joint(self, u: Tensor) -> Tensor:
        """log p(T(u), x) + log |dT/du| of points without bounds (B, Q), (B,).

        Raises:
            BadConfig: Where the density returns anything but one number a row.
        """
        assert isinstance(self.preprocessor, Bounds)
        value = self.density(self.preprocessor.inverse(u))
        if value.shape != u.shape[:1]:
            raise BadConfig(
                f"the density returned numbers of shape {tuple(value.shape)} for z of shape {tuple(u.shape)}",
                do="return one log-density a row, with sums over the last axis",
            )
        return value + self.preprocessor.log_stretch(u)

    # ---- learning --------------------------------------------------------------------------------

    def learner(self) -> Gradient:
        """Adam on the bound, by draws alone."""
        config = GradientConfig(
            lr=self.config.lr,
            batch=self.config.draws,
            clip=0.0,
            ema=EMA,
            warmup=WARMUP,
            precision="fp32",
        )
        return Gradient(
            (Phase("bound", partial(self.__call__, phase="bound"), list(self.parameters())),),
            config,
        )

    def forward(self, batch: Batch, noise: Noise, phase: str) -> dict[str, Tensor]:
        """Minus the bound at each draw, (B,), whose gradient is the one that was chosen."""
        return {
            "bound": self._gradients[self.config.gradient](self, noise.normal("z", len(self.mean)))
        }

    def _reparameterised(self, eps: Tensor) -> Tensor:
        """log q - log p at u = mean + L eps, q held constant, so that the noise ends where q is right.

        Roeder, Wu & Duvenaud 2017, arXiv:1703.09194, eq. 8.
        """
        u = self.mean + eps @ self.factor.mT
        # Constants in place of q's parameters: the gradient through the draws alone.
        return gaussian.log_density(u, self.mean.detach(), self._cov.detach()) - self.log_joint(u)

    def _score_function(self, eps: Tensor) -> Tensor:
        """The same without the density's gradient: grad log q(u) times (log q - log p), less its mean over other draws.

        Ranganath, Gerrish & Blei 2014, eq. 2; the baseline is that of Mnih & Rezende 2016,
        arXiv:1602.06725, eq. 8.
        """
        with torch.no_grad():
            u = self.mean + eps @ self.factor.mT
            # REINFORCE: grad E_q[cost] = E_q[cost grad log q].
            # The baseline of each draw is the mean of the others.
            cost = gaussian.log_density(u, self.mean, self._cov) - self.log_joint(u)
            advantage = (cost - cost.mean()) * (len(cost) / max(len(cost) - 1, 1))
        score = gaussian.log_density(u, self.mean, self._cov) * advantage
        # The value is the cost, its gradient that of `score`.
        return cost + score - score.detach()

    _gradients = {"reparameterised": _reparameterised, "score": _score_function}  # noqa: RUF012

    @property
    def factor(self) -> Tensor:
        """L, (Q, Q), lower triangular."""
        # L = diag(std) (I + below): `below` is free of the entries' units.
        std = self.log_std.exp()
        if not len(self.below):
            return std.diag()
        rows, columns = torch.tril_indices(len(std), len(std), -1, device=std.device)
        unit = torch.eye(len(std), dtype=std.dtype, device=std.device)
        return std[:, None] * unit.index_put((rows, columns), self.below)

    @property
    def _cov(self) -> Tensor:
        return self.factor @ self.factor.mT

    # ---- what checks it --------------------------------------------------------------------------

    def bound(self, n: int = 10_000, *, seed: int | None = None) -> LogProb:
        """The evidence lower bound E_q[log p(z, x) - log q(z)] from n draws, nats, with its standard error.

        Terms: "joint", the mean of log p(z, x), and "entropy", that of -log q(z).
        """
        # log p(z, x) - log q(z) of every draw: its mean is the bound.
        joint, entropy, seed = self._weighed(n, seed)
        weight = joint + entropy
        stderr = (weight.std() / math.sqrt(n))[None] if n > 1 else None
        terms = {"joint": joint.mean()[None], "entropy": entropy.mean()[None]}
        how = f"mean log weight of {n:,} draws"
        return LogProb(
            weight.mean()[None],
            Kind.LOWER_BOUND,
            "the density's own",
            how,
            stderr,
            terms,
            seed=seed,
        )

    def evidence(self, n: int = 10_000, *, seed: int | None = None) -> Evidence:
        """log p(x) = log E_q[p(z, x) / q(z)] by importance sampling with Pareto-smoothed weights, nats.

        Yao, Vehtari, Simpson & Gelman 2018, arXiv:1802.02538. The mean of the weights is unbiased
        for p(x) before they are smoothed, its logarithm low by about half its squared error, and
        both err without bound where k > 1.
        """
        joint, entropy, seed = self._weighed(n, seed)
        smooth = pareto_smoothed(joint + entropy)
        value, stderr = log_mean_exp(smooth.log_weight[:, None])
        how = f"importance sampling with {n:,} draws, k = {smooth.k:.2f}"
        kind = Kind.ESTIMATE
        return Evidence(
            value, kind, "the density's own", how, stderr, seed=seed, k=smooth.k, ess=smooth.ess
        )

    def pareto_k(self, n: int = 10_000, *, seed: int | None = None) -> float:
        """The shape of the tail of p(z, x) / q(z): above 0.7 neither q nor weights on it are to be relied on."""
        return self._smoothed(n, seed).k

    def weighted(self, n: int = 10_000, *, seed: int | None = None) -> Draws:
        """Draws of q with log weights that correct them to the density (self-normalised, Pareto-smoothed)."""
        if seed is None:
            seed = fresh_seed()
        # The same seed draws the points whose weights were smoothed.
        smooth = self._smoothed(n, seed)
        draws = self.sample(n, seed=seed)
        log_weight = smooth.log_weight.log_softmax(0) + math.log(n)
        ess = torch.tensor(smooth.ess, dtype=torch.float64)
        how = f"draws of q, Pareto-smoothed weights, k = {smooth.k:.2f}"
        return replace(
            draws, how=how, kind=Kind.ESTIMATE, log_weight=log_weight[:, None], ess=ess[None]
        )

    def _smoothed(self, n: int, seed: int | None) -> Smoothed:
        joint, entropy, _ = self._weighed(n, seed)
        return pareto_smoothed(joint + entropy)

    @torch.no_grad()
    def _weighed(self, n: int, seed: int | None) -> tuple[Tensor, Tensor, int]:
        """log p(z, x) and -log q(z), both with log |dT/du|, at the points of `sample(n, seed=seed)`, and the seed."""
        if seed is None:
            seed = fresh_seed()
        noise = Noise(seed, torch.arange(n), scope="sample", dtype=self.dtype)
        u = self._sample(noise, None, None, None)
        return (
            self.log_joint(u).double(),
            -gaussian.log_density(u, self.mean, self._cov).double(),
            seed,
        )

    # ---- hooks -----------------------------------------------------------------------------------

    def _marginal(self, batch: Batch) -> str | None:
        return None

    def _log_prob(self, batch: Batch, noise: Noise, effort: int | None, settings: Any) -> Scored:
        """log q, which is no statement on the density that q approximates."""
        value = gaussian.log_density(
            batch.x, self.mean, self._cov, None if batch.full else batch.present
        )
        return Scored(value, Kind.EXACT, "log q, closed form")

    def _sample(
        self, noise: Noise, given: Batch | None, length: Tensor | None, settings: Any
    ) -> Tensor:
        return self._draw(missing(self.space, noise.rows, self.mean), noise)

    def _complete(self, batch: Batch, noise: Noise, n: int, settings: Any) -> Completed:
        return Completed(
            self._draw(batch.repeat(n), noise.draws(n)).unflatten(0, (n, -1)),
            "exact conditional of q",
        )

    def _draw(self, batch: Batch, noise: Noise) -> Tensor:
        normal = noise.normal("x", len(self.mean))
        return gaussian.conditional_draw(batch.x, self.mean, self._cov, batch.present, normal)

    def _mode(self, batch: Batch, settings: Any) -> Mode:
        """The conditional mean; with bounds it is the median of each entry and not the peak of its density."""
        assert isinstance(self.preprocessor, Bounds)
        x = gaussian.conditional_mean(batch.x, self.mean, self._cov, batch.present)
        kind, where = (
            (Kind.EXACT, "")
            if self.preprocessor.plain
            else (Kind.ESTIMATE, " where bounds are removed")
        )
        return Mode(batch.with_x(x), kind, f"conditional mean{where}")


class Bounds(Reals):
    """Reals without bounds as they are, others by logarithm or logit: units are the user's, whatever data there are."""

    def fit(self, source: Source) -> None:
        """Nothing is learned from data."""

    def log_stretch(self, u: Tensor) -> Tensor:
        """log |dz/du| of points without bounds (B, Q), (B,)."""
        # One factor for each group of entries with the same bounds.
        parts = [
            _stretch(v, u[:, columns]) for v, _, columns, _ in self.groups if isinstance(v, Real)
        ]
        return torch.stack(parts).sum(0)


def _stretch(v: Real, u: Tensor) -> Tensor:
    """log |dz/du| over entries that share their bounds, (B,)."""
    # z = lower + (upper - lower) sigmoid(u): dz/du = (upper - lower) sigmoid(u) sigmoid(-u).
    if v.lower is not None and v.upper is not None:
        return (logsigmoid(u) + logsigmoid(-u) + math.log(v.upper - v.lower)).sum(-1)
    if v.lower is not None or v.upper is not None:
        return u.sum(-1)
    return u.new_zeros(len(u))


# ---- one call ------------------------------------------------------------------------------------


def fit(
    log_joint: Density, latents: int | Space, *, steps: int = 2000, seed: int = 0, **options: Any
) -> VI:
    """The Gaussian nearest to a density known up to its constant, in KL(q || p).

    Args:
        log_joint: Log p(z, x) of z (B, Q), (B,) in nats, x held by the function itself.
        latents: The number of reals in z, or their Space, whose bounds are kept: `vector(2,
            Real(lower=0))`.
        steps: Steps of Adam.
        seed: Of the draws.
        **options: The family's own: rank, gradient, draws, spread, lr.

    Returns:
        The fitted model, which keeps the function's name. Saved and opened again it answers for q
        at once, and for the density in a process that has registered a function under that name,
        as this call does for every function that a module holds; what a lambda, a closure or a
        partial is called could be another one's name too.
    """
    if isinstance(latents, int):
        space = vector(latents)
    else:
        space = latents
    model = build("vi", {"target": name_of(log_joint), **options}, space, seed=seed).double()
    assert isinstance(model, VI)
    model.density = log_joint
    if _held(log_joint):
        register_density(log_joint)
    Run(model, None, steps, seed).fit()
    return model


def name_of(function: Density) -> str:
    """package.module:name of a function, or of the type of what else can be called."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}:{named.__qualname__}"


def register_density(function: Function, name: str | None = None) -> Function:
    """Let Configs of this process name a density; of two with one name the later one is meant.

    Args:
        function: Log p(z, x) of z (B, Q), (B,) in nats.
        name: What Configs call it; package.module:function unless told.

    Returns:
        The function, so that this may stand above its definition as a decorator.

    Raises:
        BadConfig: For what is no function.
    """
    if not callable(function):
        raise BadConfig(
            f"{name or function!r} is no function", where="target", do="name a function of z (B, Q)"
        )
    DENSITIES[name or name_of(function)] = function
    return function


def registered(name: str) -> Density:
    """The density that this process has registered under a name.

    Raises:
        BadConfig: Where there is none.
    """
    if name not in DENSITIES:
        raise BadConfig(
            f"no density is registered as {name!r} in this process",
            where="target",
            do="call likeness.families.vi.register_density(function, name), or put the function in model.density",
        )
    return DENSITIES[name]


def _held(function: Density) -> bool:
    """Whether a function is what its module holds under its name, so that the name means it alone."""
    module, _, path = name_of(function).partition(":")
    value: Any = sys.modules.get(module)
    for part in path.split("."):
        value = getattr(value, part, None)
    return value is function
