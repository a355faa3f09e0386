"""
A family of your own, and parts of your own
===========================================

A family is one class: it says what data it takes, how it learns, and a few hooks that see checked
batches in model units. All verbs, missing entries, saving, the command line and the contract come
with the base class. Bijections, paths and nets of your own fit into what ships, because each is
an abstract class of two or three methods.
"""

from functools import partial

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

import likeness as lk
from likeness.bijections.base import Bijection
from likeness.bijections.mixing import LU
from likeness.bijections.preprocess import Reals
from likeness.core.answers import Scored
from likeness.core.config import GradientConfig, option
from likeness.core.learner import Gradient, Phase
from likeness.core.model import Model
from likeness.dynamics.grid import bent_grid
from likeness.dynamics.path import Path
from likeness.dynamics.solvers import heun, solve
from likeness.families.flow import Flow, FlowConfig
from likeness.nets.mlp import MLP
from likeness.registry import Card, register

# %%
# A family
# --------
# Independent entries with Laplace's density, ``log p(x) = sum of -|x - m| / s - log 2 s``,
# learned by gradients. ``likeness new-family NAME`` writes such a file to begin from. ``Reals`` brings
# columns of any range to the reals, with its log-determinant; ``batch.present`` says which
# entries were observed.


class LaplaceConfig(GradientConfig):
    """Options of ``laplace``."""

    lr: float = option(0.05, "peak learning rate of Adam", "optimiser", gt=0)


@register(Card("laplace", "Laplace", "classical", "Laplace, Mémoire", 1774, "Heavier tails."))
class Laplace(Model):
    """Independent entries, each with a location and a scale."""

    Config = LaplaceConfig

    def __init__(self, config, space, given_space=None):
        super().__init__(config, space, given_space)
        self.preprocessor = Reals(space)
        self.location = nn.Parameter(torch.zeros(space.layout))
        self.log_scale = nn.Parameter(torch.zeros(space.layout))

    @classmethod
    def _refuse(cls, config, space, given_space):
        if given_space is not None:
            return "it takes no condition: take `gaussian`"
        return None

    def learner(self) -> Gradient:
        loss = partial(self.__call__, phase="likelihood")
        return Gradient((Phase("likelihood", loss, list(self.parameters())),))

    def forward(self, batch, noise, phase):
        return {"nll": -self._entries(batch).flatten(1).sum(-1)}

    def _entries(self, batch) -> Tensor:
        far = (batch.x - self.location).abs() / self.log_scale.exp()
        return torch.where(batch.present, -far - self.log_scale - torch.tensor(2.0).log(), 0.0)

    def _log_prob(self, batch, noise, effort, settings) -> Scored:
        return Scored(self._entries(batch).flatten(1).sum(-1))

    def _marginal(self, batch):
        return None  # missing entries are integrated out by `_entries` itself

    def _sample(self, noise, given, length, settings) -> Tensor:
        u = noise.uniform("x", *self.space.layout) - 0.5
        return self.location - self.log_scale.exp() * u.sign() * torch.log1p(-2 * u.abs())


# %%
# It fits, draws, scores rows with missing entries, and says what it cannot do:

torch.manual_seed(0)
rows = torch.distributions.Laplace(3.0, 2.0).sample((2000, 2))
model = lk.fit("laplace", rows.numpy(), budget="200 steps", seed=0, progress=False)
print(model.log_prob(rows[:5]).mean())
print(model.log_prob([[3.0, float("nan")]]).value, "of one entry, the other missing")
print(model.support("encode").why)
entropy = float(1 + torch.log(torch.tensor(4.0)))
assert abs(-model.log_prob(rows).mean().value - 2 * entropy) < 0.1

# %%
# The contract asks twenty questions of every family. Here four of them on one kind of data:
# shapes, saved models, mass, and whether draws follow log p. ``likeness check module:Laplace``
# asks all.

report = lk.check(Laplace, spaces=["reals2"], givens=["none"], numbers=[1, 3, 4, 5])
print("\n".join(line for line in str(report).splitlines() if "not asked" not in line))
assert report

# %%
# A bijection
# -----------
# y = sinh(d asinh(x) + e) bends tails and skews (Jones & Pewsey 2009). Two methods, each with the
# log-determinant of its direction:


class SinhArcsinh(Bijection):
    """An elementwise map with a skewness and a tail weight for each variable."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.skew = nn.Parameter(torch.zeros(dims))
        self.log_tail = nn.Parameter(torch.zeros(dims))

    def forward(self, x, context=None, present=None):
        inner = self.log_tail.exp() * x.asinh() + self.skew
        ladj = self.log_tail + inner.cosh().log() - 0.5 * torch.log1p(x.square())
        return inner.sinh(), ladj.sum(-1)

    def inverse(self, y, context=None, present=None):
        outer = (y.asinh() - self.skew) / self.log_tail.exp()
        ladj = outer.cosh().log() - self.log_tail - 0.5 * torch.log1p(y.square())
        return outer.sinh(), ladj.sum(-1)


# %%
# Automatic differentiation is the judge of a log-determinant:

step = SinhArcsinh(2).double()
nn.init.normal_(step.skew, std=0.3)
nn.init.normal_(step.log_tail, std=0.3)
x = torch.randn(50, 2, dtype=torch.float64)
y, ladj = step(x)
back, minus = step.inverse(y)
jacobians = torch.stack(
    [torch.autograd.functional.jacobian(lambda r: step(r[None])[0][0], r) for r in x]
)
assert torch.allclose(back, x) and torch.allclose(minus, -ladj)
assert torch.allclose(jacobians.det().abs().log(), ladj)

# %%
# In a flow of your own it takes the place of the splines: one method of ``Flow`` says what a
# layer is.


@register(Card("bent", "Bent flow", "latent", "Jones & Pewsey", 2009, "A flow of few parameters."))
class Bent(Flow):
    """Linear maps and sinh-arcsinh maps in turn."""

    Config = FlowConfig

    def _layer(self, k: int) -> list[Bijection]:
        return [LU(self.dims, list(range(self.dims))), SinhArcsinh(self.dims)]


banana = lk.load("banana", n=4000)
bent = lk.fit("bent", banana, layers=6, lr=0.02, budget="400 steps", progress=False)
line = lk.fit("gaussian", banana, progress=False)
fresh = lk.world("banana").sample(4000, seed=1)
print("Gaussian:", line.log_prob(fresh).mean())
print("bent flow:", bent.log_prob(fresh).mean(), f"with {bent.count()} parameters")
assert bent.log_prob(fresh).mean().value > line.log_prob(fresh).mean().value + 0.1

# %%
# A path and a net
# ----------------
# How data turn into noise is a ``Path``: alpha, sigma, their rates, and the time at which a ratio
# of signal to noise is reached. Here a quarter of a circle, alpha = cos, sigma = sin. What is
# learned is a ``Denoiser``: any module that maps (x, t) to the expected data.


class Circle(Path):
    """alpha = cos(pi t / 2), sigma = sin(pi t / 2)."""

    t_min, t_max, prior_std = 1e-3, 1.0, 1.0
    quarter = torch.pi / 2

    def alpha(self, t):
        return torch.cos(self.quarter * t).clamp(min=1e-9)

    def sigma(self, t):
        return torch.sin(self.quarter * t)

    def alpha_rate(self, t):
        return -self.quarter * torch.sin(self.quarter * t)

    def sigma_rate(self, t):
        return self.quarter * torch.cos(self.quarter * t)

    def time(self, log_snr):
        return torch.atan(torch.exp(-log_snr / 2)) / self.quarter


class Net(nn.Module):
    """x_hat = alpha x - sigma v, v by a net of x, t and waves of both."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.inner = MLP(3 + 24, 2, hidden=(128, 128))

    def forward(self, x, t, context=None, noise=None):
        point = torch.cat([x, t[:, None]], -1)
        angle = (point[..., None] * 2.0 ** torch.arange(4)).flatten(1)
        v = self.inner(torch.cat([point, angle.sin(), angle.cos()], -1))
        return self.path.alpha(t)[:, None] * x - self.path.sigma(t)[:, None] * v


torch.manual_seed(0)
path = Circle()
net = Net(path)
moons = lk.world("moons").sample(5000, seed=0).x.float()
optimiser = torch.optim.Adam(net.parameters(), lr=5e-3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 1000)
for _ in range(1000):
    x_0 = moons[torch.randint(len(moons), (256,))]
    t = torch.rand(256) * (path.t_max - path.t_min) + path.t_min
    x_t = path.marginal(x_0, t, torch.randn_like(x_0))
    error = ((net(x_t, t) - x_0) / path.sigma(t)[:, None]).square().mean()
    optimiser.zero_grad()
    error.backward()
    optimiser.step()
    schedule.step()

# %%
# Solvers, likelihoods and inpainting take any path and any denoiser. Heun's method from noise to
# moons in 24 steps, and on the way:

seen = []
with torch.no_grad():
    start = torch.randn(1500, 2)
    drawn = solve(heun, net, path, bent_grid(path, 24), start, watch=lambda i, t, x: seen.append(x))

figure, plots = plt.subplots(1, 5, figsize=(11, 2.4), layout="constrained")
for plot, i in zip(plots, (0, 12, 18, -1), strict=False):
    plot.scatter(*seen[i].T, s=2, color="tab:blue")
    plot.set_title(f"after {i if i >= 0 else len(seen) - 1} steps", fontsize=10)
plots[-1].scatter(*moons[:1500].T, s=2, color="0.3")
plots[-1].set_title("data", fontsize=10)
for plot in plots:
    plot.set(xlim=(-2.6, 3.2), ylim=(-2.6, 2.6), xticks=[], yticks=[])
plt.show()
truth = lk.world("moons")
near = truth.log_prob(drawn.double()).value
assert (near > truth.log_prob(moons.double()).value.quantile(0.001)).double().mean() > 0.8
