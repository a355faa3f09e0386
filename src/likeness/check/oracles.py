"""Nets that know the truth: put in the place of what was learned, they get the least loss there is."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from likeness.check.cell import Cell
from likeness.check.ground import z_of
from likeness.core.batch import Batch
from likeness.core.noise import Noise
from likeness.data.synthetic import SyntheticDistribution
from likeness.data.synthetic.gaussian import GaussianMixture
from likeness.dynamics.path import Path, expand
from likeness.nets.causal import CausalNet, Walk
from likeness.nets.codec import Codec
from likeness.numerics.gaussian import log_density

ROWS = 1000
EXACT = 1e-8  # relative to 1 + |value|
ODE = 0.05  # nats: what 32 steps from a noise of a thousandth leave
FINE = 64  # steps of the solver, so that what is left is not its own error
WIDER = 1.5  # a posterior's variance, to leave a known gap


@dataclass(frozen=True)
class Oracle:
    """What is known of a family's least loss.

    Args:
        cell: The Space and `given` on which the truth can be put in.
        measure: Cell -> how far the oracle's loss is from the least, in standard errors, and words.
    """

    cell: tuple[str, str]
    measure: Callable[[Cell], tuple[float, str]]


def _model(cell: Cell) -> Any:
    return copy.deepcopy(cell.model)


def _gap(a: Tensor, b: Tensor) -> float:
    return float(((a - b).abs() / (1 + b.abs())).max())


# ---- autoregressive: a net that says the world's own conditionals --------------------------------


class KnownConditionals(CausalNet):
    """log p(x_i = k | x_<i) of a world of codes, in the place of a net's outputs."""

    def __init__(self, world: SyntheticDistribution, size: int, start: Tensor) -> None:
        super().__init__()
        self.world = world
        self.size = size
        self.start = start
        self.order = tuple(range(world.space.dims))

    def forward(
        self, x: Tensor, context: Tensor | None = None, length: Tensor | None = None
    ) -> Tensor:
        """Logits of every variable's codes, (B, D size), from one-hot codes."""
        codes = x.unflatten(-1, (-1, self.size)).argmax(-1).to(x.dtype)
        parts = [self._conditional(codes, i) for i in self.order]
        return torch.cat(parts, -1) - self.start

    def _conditional(self, codes: Tensor, i: int) -> Tensor:
        # p(x_i = k | x_<i) is in proportion to p(x_<i, x_i = k), by the truth's own marginals.
        known = torch.arange(codes.shape[1]).expand_as(codes) <= i
        states = int(self.world.space.columns[i].states)
        logits = codes.new_full((len(codes), self.size), -100.0)
        for k in range(states):
            there = torch.where(torch.arange(codes.shape[1]) == i, float(k), codes)
            logits[:, k] = self.world.log_prob(Batch(there * known, observed=known)).value
        return logits.log_softmax(-1)

    def stepper(self, rows: int, context: Tensor | None = None) -> Walk:
        """No walk is asked for."""
        raise NotImplementedError


def _chain(cell: Cell) -> tuple[float, str]:
    # The net is replaced by the truth; loss and log p must then be the truth's.
    model = _model(cell)
    batch = cell.full(200)
    size = model.heads[0].head.size
    model.net = KnownConditionals(cell.world, size, model.start)
    known = cell.world.log_prob(batch).value
    loss = _loss(model, batch)
    gap = max(_gap(-loss, known), _gap(model.log_prob(batch).value, known))
    return _verdict(gap, "the loss of true conditionals differs from -log p of the truth")


def _loss(model: Any, batch: Batch, seed: int = 0) -> Tensor:
    """The first phase's loss of each row, (B,)."""
    noise = Noise(seed, batch.ids, step=1, scope="train", dtype=model.dtype)
    inside, correction = model.inputs(batch, noise)
    terms = model.learner().phases[0].loss(inside, noise)
    return torch.stack(list(terms.values())).sum(0).detach() - correction


def _verdict(gap: float, broken: str) -> tuple[float, str]:
    return (0.0 if gap <= EXACT else math.inf), f"{broken} by {gap:.3g}"


# ---- VAE: a linear-Gaussian model whose posterior is known ---------------------------------------


class KnownCodec(Codec):
    """y = W z + sigma e with W of orthogonal columns: encoder and decoder of the exact posterior and likelihood.

    p(z | y) = N(S W'y / sigma^2, S) with S = (I + W'W / sigma^2)^-1, diagonal (Tipping & Bishop
    1999, eq. 9).
    """

    def __init__(self, weight: Tensor, sigma: float, bias: Tensor, wider: float = 1.0) -> None:
        super().__init__()
        self.weight = weight
        self.sigma = sigma
        self.bias = bias
        self.wider = wider
        self.variance = 1 / (1 + weight.square().sum(0) / sigma**2)

    def encode(self, features: Tensor, length: Tensor | None, side: Tensor | None) -> Tensor:
        """Mean and log deviation of z, (B, 2 L)."""
        y = features.unflatten(-1, (len(self.weight), -1))[..., 0]
        mean = (y @ self.weight) * self.variance / self.sigma**2
        return torch.cat([mean, (0.5 * (self.wider * self.variance).log()).expand_as(mean)], -1)

    def decode(self, code: Tensor, length: Tensor | None, side: Tensor | None) -> Tensor:
        """Means and log deviations of the entries, (B, 2 D)."""
        mean = code @ self.weight.T
        return (
            torch.stack([mean, torch.full_like(mean, math.log(self.sigma))], -1).flatten(-2)
            - self.bias
        )


def _linear(cell: Cell) -> tuple[float, str]:
    """With the exact posterior every draw of the bound is log p; with a wider one the mean gap is its KL divergence."""
    model = _model(cell)
    # A linear-Gaussian model whose W has orthogonal columns, so that its posterior is diagonal.
    batch = cell.full(ROWS)
    sigma = 0.5
    turn = math.sqrt(0.5)
    weight = torch.tensor(
        [[1.2 * turn, -0.6 * turn], [1.2 * turn, 0.6 * turn]], dtype=torch.float64
    )
    head = model.columns.parts[0]
    y = (batch.x - head.location) / head.scale
    cov = weight @ weight.T + sigma**2 * torch.eye(2, dtype=torch.float64)
    # The evidence in the model's units, less the scaling back to data units.
    known = log_density(y, torch.zeros(2, dtype=torch.float64), cov) - head.scale.log().sum()
    model.codec = KnownCodec(weight, sigma, model.bias.detach())
    # The exact posterior makes the bound tight, draw by draw.
    found = model.log_prob(batch, effort=4, seed=0)
    gap = max(_gap(found.value, known), float(found.stderr.max()))
    if gap > EXACT:
        return _verdict(gap, "the bound of the exact posterior differs from log p")
    # A posterior wider by a known factor: the gap is KL = (w - 1 - log w) / 2 a latent.
    model.codec = KnownCodec(weight, sigma, model.bias.detach(), WIDER)
    divergence = 2 * 0.5 * (WIDER - 1 - math.log(WIDER))
    excess = _loss(model, batch) + known - divergence
    return abs(
        z_of(excess)
    ), f"the loss of a wider posterior lies {float(excess.mean()):.4f} from log p and its KL"


# ---- diffusion: the posterior mean of a mixture of Gaussians -------------------------------------


class KnownDenoiser(nn.Module):
    """E[x_0 | x_t] of a mixture of Gaussians, and the variance that no denoiser can take away."""

    def __init__(self, world: GaussianMixture, path: Path) -> None:
        super().__init__()
        self.path = path
        self.mean = world.mean
        self.cov = world.cov
        self.log_weights = world.log_weights.logsumexp(0).log_softmax(-1)
        self.seen = (world.mean[:0], world.mean[:0, 0])  # no row yet: x_t (B, D), t (B,)

    def forward(
        self, x: Tensor, t: Tensor, context: object = None, noise: Noise | None = None
    ) -> Tensor:
        """x_hat, (B, D)."""
        self.seen = (x.detach(), t)
        weight, mean, _ = self._posterior(x, t)
        return (weight[..., None] * mean).sum(1)

    def left(self) -> Tensor:
        """The trace of the covariance of x_0 given the x_t that was last seen, (B,)."""
        weight, mean, spread = self._posterior(*self.seen)
        middle = (weight[..., None] * mean).sum(1, keepdim=True)
        return (weight * (spread + (mean - middle).square().sum(-1))).sum(1)

    def weight(self, x: Tensor, t: Tensor) -> Tensor:
        """As a net's own preconditioning has it."""
        return (expand(self.path.alpha(t), x) / expand(self.path.sigma(t), x)).square() + 1

    def _posterior(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Responsibilities (B, K), means (B, K, D) and traces (B, K) of each component given x_t."""
        alpha, sigma = (f(t).to(x)[:, None, None, None] for f in (self.path.alpha, self.path.sigma))
        eye = torch.eye(x.shape[-1], dtype=x.dtype)
        # x_t = alpha x_0 + sigma eps: the covariance of x_t in each component.
        blurred = alpha.square() * self.cov + sigma.square() * eye  # (B, K, D, D)
        # The regression of x_0 on x_t (Kalman gain), its mean and what it leaves.
        gain = torch.linalg.solve(blurred, alpha * self.cov.expand_as(blurred)).mT
        rest = x[:, None] - alpha[..., 0] * self.mean
        mean = self.mean + (gain @ rest[..., None])[..., 0]
        spread = (self.cov - alpha * gain @ self.cov).diagonal(dim1=-2, dim2=-1).sum(-1)
        # log N(x_t; alpha m, S_t) up to a constant, for the responsibilities.
        cost = (rest * torch.linalg.solve(blurred, rest[..., None])[..., 0]).sum(-1) + torch.logdet(
            blurred
        )
        return (self.log_weights - 0.5 * cost).softmax(-1), mean, spread


def _denoised(cell: Cell) -> tuple[float, str]:
    """The loss is the variance left in x_0, in the mean; the ODE's log p is the mixture's."""
    model = _model(cell)
    batch = cell.full(ROWS)
    assert isinstance(cell.world, GaussianMixture)
    # Data are taken as they are, so that the oracle sees them in the mixture's units.
    model.preprocessor.shift.zero_()
    model.preprocessor.scale.fill_(1.0)
    oracle = model.process.denoiser = KnownDenoiser(cell.world, model.process.path)
    few = batch[:40]
    # log p along the probability-flow ODE of the oracle.
    found = model.log_prob(few, seed=0, settings={"steps": FINE})
    gap = float((found.value - cell.world.log_prob(few).value).abs().max())
    if gap > ODE:
        return math.inf, f"log p along the oracle's ODE is {gap:.3g} nats from the truth"
    # The weighted loss divided by its weight is the squared error.
    loss = _loss(model, batch)
    error = loss / oracle.weight(*oracle.seen).squeeze(-1)
    least = oracle.left()
    told = f"squared error {float(error.mean()):.4f}, least {float(least.mean()):.4f}; ODE within {gap:.2g} nats"
    return abs(z_of(error - least)), told


ORACLES: dict[str, Oracle] = {
    "autoregressive": Oracle(("nominal4", "none"), _chain),
    "vae": Oracle(("reals2", "none"), _linear),
    "diffusion": Oracle(("reals2", "none"), _denoised),
}
