"""Distributions whose ideal denoisers are known in closed form, and the paths to try them on."""

import itertools
import math

import torch
from torch.distributions import MultivariateNormal

from likeness.core.noise import Noise
from likeness.dynamics.path import DDPM, EDM, Cosine, FlowMatching

PATHS = (EDM(), DDPM(), Cosine(), FlowMatching())


def noise(rows, seed=0):
    return Noise(seed, torch.arange(rows), dtype=torch.float64)


def normals(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class GaussianDistribution:
    """N(mean, cov) over events of any shape, flattened."""

    def __init__(self, mean, cov, shape=None):
        self.mean, self.cov, self.shape = mean, cov, shape or mean.shape
        self.values, self.axes = torch.linalg.eigh(cov)

    @classmethod
    def random(cls, *shape, seed=1, scale=1.0):
        size = math.prod(shape)
        root = normals(size, size, seed=seed) / math.sqrt(size)
        mean = normals(size, seed=seed + 1)
        return cls(
            scale * mean,
            scale**2 * (root @ root.T + 0.3 * torch.eye(size, dtype=torch.float64)),
            shape,
        )

    def _apply(self, factors, x):
        return (x @ self.axes * factors) @ self.axes.T

    def __call__(self, x, t, context=None, noise=None, *, path):
        a, s = path.alpha(t)[:, None], path.sigma(t)[:, None]
        gain = a * self.values / (a**2 * self.values + s**2)
        return (self.mean + self._apply(gain, x.flatten(1) - a * self.mean)).view_as(x)

    def denoiser(self, path):
        return lambda x, t, context=None, noise=None: self(x, t, path=path)

    def marginal(self, path, t):
        """The law of x_t."""
        t = torch.as_tensor(t, dtype=torch.float64)
        eye = torch.eye(len(self.mean), dtype=torch.float64)
        law = MultivariateNormal(
            path.alpha(t) * self.mean, path.alpha(t) ** 2 * self.cov + path.sigma(t) ** 2 * eye
        )
        return lambda x: law.log_prob(x.flatten(1))

    def log_prob(self, x):
        return MultivariateNormal(self.mean, self.cov).log_prob(x.flatten(1))

    def sample(self, n, seed=0):
        z = normals(n, len(self.mean), seed=seed)
        return (self.mean + self._apply(self.values.sqrt(), z)).view(n, *self.shape)

    def flow(self, path, x, t, s):
        """Where the probability-flow ODE takes x from t to s: it keeps the standardised coordinates."""
        std = [torch.sqrt(path.alpha(u) ** 2 * self.values + path.sigma(u) ** 2) for u in (t, s)]
        moved = self._apply(std[1] / std[0], x.flatten(1) - path.alpha(t) * self.mean)
        return (path.alpha(s) * self.mean + moved).view_as(x)


class MixtureDistribution:
    """Spherical Gaussians: weights (K,), means (K, D), stds (K,)."""

    def __init__(self, weights, means, stds):
        self.weights, self.means, self.stds = weights, means, stds

    @classmethod
    def ring(cls, std=0.1, modes=8):
        angle = torch.arange(modes, dtype=torch.float64) * 2 * math.pi / modes
        uniform = torch.full((modes,), 1 / modes, dtype=torch.float64)
        return cls(
            uniform,
            torch.stack([angle.cos(), angle.sin()], 1),
            torch.full((modes,), std, dtype=torch.float64),
        )

    @classmethod
    def uneven(cls):
        return cls(
            torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64),
            torch.tensor([[-1.0, 0.5], [0.8, 0.9], [0.3, -1.2]], dtype=torch.float64),
            torch.tensor([0.4, 0.3, 0.6], dtype=torch.float64),
        )

    def components(self, path, x, t):
        """log(weight N(x; alpha mean, alpha^2 std^2 + sigma^2)), (B, K)."""
        a, s = path.alpha(t).reshape(-1, 1), path.sigma(t).reshape(-1, 1)
        var = a**2 * self.stds**2 + s**2
        square = (x[:, None] - a[..., None] * self.means).square().sum(-1)
        return self.weights.log() - square / var / 2 - x.shape[1] / 2 * torch.log(2 * math.pi * var)

    def marginal(self, path, t):
        """The law of x_t."""
        t = torch.as_tensor(t, dtype=torch.float64)
        return lambda x: self.components(path, x, t).logsumexp(1)

    def log_prob(self, x):
        return self.marginal(EDM(), 0.0)(x)

    def denoiser(self, path):
        def denoise(x, t, context=None, noise=None):
            a, s = path.alpha(t).reshape(-1, 1), path.sigma(t).reshape(-1, 1)
            gain = a * self.stds**2 / (a**2 * self.stds**2 + s**2)
            means = self.means + gain[..., None] * (x[:, None] - a[..., None] * self.means)
            return (self.components(path, x, t).softmax(1)[..., None] * means).sum(1)

        return denoise

    def sample(self, n, seed=0):
        uniforms = torch.rand(
            n, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
        )
        k = (uniforms >= self.weights.cumsum(0)).sum(1).clamp(max=len(self.weights) - 1)
        return self.means[k] + self.stds[k, None] * normals(n, self.means.shape[1], seed=seed + 1)


class TableDistribution:
    """A joint table over a few discrete entries, and its exact conditionals as a masked denoiser."""

    def __init__(self, sizes, seed=0, power=1.0):
        self.sizes, self.power = torch.tensor(sizes), power
        self.states = torch.tensor(list(itertools.product(*map(range, sizes))))
        self.log_p = (1.5 * normals(len(self.states), seed=seed)).log_softmax(0)
        self.onehot = torch.nn.functional.one_hot(self.states, max(sizes)).double()  # (S, D, K)

    def __call__(self, x, visible, t, context=None, noise=None):
        """Logits of each entry given the visible ones; a power other than 1 makes them wrong."""
        assert (x[~visible] == 0).all()
        agrees = ((self.states == x[:, None]) | ~visible[:, None]).all(-1)  # (B, S)
        joint = self.log_p.exp() * agrees
        marginal = torch.einsum("bs,sdk->bdk", joint, self.onehot)
        return self.power * marginal.clamp(min=1e-300).log()

    def index(self, x):
        """Which state each row is."""
        return (self.states == x[:, None]).all(-1).double().argmax(1)


def zscores(counts, probs):
    """How many standard errors each count of a multinomial is from its mean."""
    n = counts.sum()
    return (counts - n * probs) / (n * probs * (1 - probs)).sqrt()
