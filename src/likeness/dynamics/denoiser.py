"""What is learned: the mean of the data given a noisy point, and its other faces: score, velocity, noise.

All solvers, losses and likelihoods see a `Denoiser`; what a net predicts inside it is nobody else's
concern.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from likeness.core.noise import Noise
from likeness.dynamics.path import Path, expand

# Some paths reach infinity: a net sees log(sigma / alpha) cut at these two ends
LOG_NOISE_LIMIT = 12.0


Given = Any  # conditioning of a net besides x and t: the layers above settle its type


class Denoiser(Protocol):
    """x_hat (B, *E) = E[x_0 | x_t = x] for points x (B, *E) at times t (B,) of its path.

    `context` is whatever the net takes; `noise` is for denoisers that draw x_hat instead of
    averaging.
    """

    def __call__(self, x: Tensor, t: Tensor, context: Given, noise: Noise | None = None) -> Tensor:
        """x_hat, (B, *E)."""


def eps_from_data(path: Path, x: Tensor, x_hat: Tensor, t: Tensor) -> Tensor:
    """The noise in x: (x - alpha x_hat) / sigma."""
    return (x - expand(path.alpha(t), x) * x_hat) / expand(path.sigma(t), x)


def data_from_eps(path: Path, x: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    """x_hat = (x - sigma eps) / alpha, for alpha > 0."""
    return (x - expand(path.sigma(t), x) * eps) / expand(path.alpha(t), x)


def score_from_data(path: Path, x: Tensor, x_hat: Tensor, t: Tensor) -> Tensor:
    """The gradient of log q(x_t): (alpha x_hat - x) / sigma^2 (Robbins 1956, Miyasawa 1961; "Tweedie's formula")."""
    return (expand(path.alpha(t), x) * x_hat - x) / expand(path.sigma(t).square(), x)


def data_from_score(path: Path, x: Tensor, score: Tensor, t: Tensor) -> Tensor:
    """x_hat = (x + sigma^2 score) / alpha, for alpha > 0."""
    return (x + expand(path.sigma(t).square(), x) * score) / expand(path.alpha(t), x)


def velocity_from_data(path: Path, x: Tensor, x_hat: Tensor, t: Tensor) -> Tensor:
    """dx/dt of the probability-flow ODE; see `Path.velocity`."""
    return path.velocity(x, x_hat, t)


def data_from_velocity(path: Path, x: Tensor, velocity: Tensor, t: Tensor) -> Tensor:
    """x_hat = (sigma' x - sigma velocity) / (sigma' alpha - sigma alpha')."""
    # Two equations, x = alpha x_hat + sigma eps and v =
    # alpha' x_hat + sigma' eps, solved for x_hat.
    alpha = path.alpha(t)
    sigma = path.sigma(t)
    rate = path.sigma_rate(t)
    rest = rate * alpha - sigma * path.alpha_rate(t)
    return expand(rate / rest, x) * x - expand(sigma / rest, x) * velocity


@dataclass(frozen=True)
class View:
    """One face of a denoiser: a name and the two directions, each a function of (path, x, value, t)."""

    name: str
    from_data: Callable[[Path, Tensor, Tensor, Tensor], Tensor]
    to_data: Callable[[Path, Tensor, Tensor, Tensor], Tensor]


EPS = View("eps", eps_from_data, data_from_eps)
SCORE = View("score", score_from_data, data_from_score)
VELOCITY = View("velocity", velocity_from_data, data_from_velocity)


class Viewed(nn.Module):
    """The denoiser behind a net that predicts one of its views, such as the noise or the velocity.

    Args:
        net: A function of (x (B, *E), t (B,), context).
        path: The path that the net was trained on.
        view: What the net predicts.
    """

    def __init__(self, net: nn.Module, path: Path, view: View) -> None:
        super().__init__()
        self.net = net
        self.path = path
        self.view = view

    def forward(self, x: Tensor, t: Tensor, context: Given, noise: Noise | None = None) -> Tensor:
        """x_hat, (B, *E)."""
        return self.view.to_data(self.path, x, self.net(x, t, context), t)


class Preconditioned(nn.Module):
    """A net whose input and target have unit variance at every noise level, for any path.

    x_hat = c_skip x + c_out net(c_in x, c_noise, context), with v = alpha^2 data_std^2 + sigma^2,
    c_skip = alpha data_std^2 / v, c_out = data_std sigma / sqrt(v), c_in = 1 / sqrt(v),
    c_noise = log(sigma / alpha) / 4. The data should have mean 0.
    Karras et al. 2022, arXiv:2206.00364, table 1 and appendix B.6, where alpha = 1.

    Args:
        net: A function of (x (B, *E), noise level (B,), context).
        path: The path that time refers to.
        data_std: The standard deviation of the data, one number or one per entry of E.
    """

    data_std: Tensor

    def __init__(self, net: nn.Module, path: Path, data_std: float | Tensor = 1.0) -> None:
        super().__init__()
        self.net = net
        self.path = path
        self.register_buffer("data_std", torch.as_tensor(data_std, dtype=torch.get_default_dtype()))

    def forward(self, x: Tensor, t: Tensor, context: Given, noise: Noise | None = None) -> Tensor:
        """x_hat, (B, *E)."""
        # c_noise, c_in, c_skip and c_out of table 1, with alpha beside sigma.
        alpha = self.path.alpha(t)
        sigma = self.path.sigma(t)
        level = (sigma.log() - alpha.log()).clamp(-LOG_NOISE_LIMIT, LOG_NOISE_LIMIT) / 4
        alpha = expand(alpha, x)
        sigma = expand(sigma, x)
        std = torch.hypot(alpha * self.data_std, sigma)
        skip = alpha * (self.data_std / std).square() * x
        return skip + sigma * self.data_std / std * self.net(x / std, level, context)

    def weight(self, x: Tensor, t: Tensor) -> Tensor:
        """1 / c_out^2, to broadcast with x: the weight under which the net's own loss has weight 1 at every t."""
        alpha = expand(self.path.alpha(t), x)
        sigma = expand(self.path.sigma(t), x)
        return (alpha / sigma).square() + 1 / self.data_std.square()


@dataclass(frozen=True)
class Guided:
    """Classifier-free guidance: x_hat(null) + scale (x_hat(context) - x_hat(null)).

    Scale 1 is the denoiser itself, 0 the one without context; it samples another distribution
    than the model's. Ho & Salimans 2022, arXiv:2207.12598, eq. 6, with scale = 1 + w.

    Args:
        denoiser: What is guided.
        scale: How strongly.
        null: The context that says nothing.
    """

    denoiser: Denoiser
    scale: float
    null: Given

    def __call__(self, x: Tensor, t: Tensor, context: Given, noise: Noise | None = None) -> Tensor:
        """x_hat, (B, *E)."""
        # Two passes of the net: without the condition, and with it.
        free = self.denoiser(x, t, self.null, noise)
        return free + self.scale * (self.denoiser(x, t, context, noise) - free)


def denoising_loss(
    denoiser: Denoiser,
    path: Path,
    x_0: Tensor,
    t: Tensor,
    eps: Tensor,
    context: Given = None,
    *,
    weight: Tensor | None = None,
) -> Tensor:
    """The sum over entries of weight (x_hat - x_0)^2 at x_t = alpha x_0 + sigma eps, (B,), in squared data units.

    Args:
        denoiser: The denoiser, x_hat.
        path: The path from data to noise.
        x_0: Data, (B, *E).
        t: Times, (B,).
        eps: Standard normals, (B, *E).
        context: What the denoiser is given.
        weight: Something that broadcasts with x_0, such as `Preconditioned.weight` or a mask of
            what is observed.
    """
    error = (denoiser(path.marginal(x_0, t, eps), t, context) - x_0).square()
    return (error if weight is None else weight * error).flatten(1).sum(1)
