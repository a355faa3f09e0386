import pytest
import torch
from torch import nn

from likeness.dynamics.denoiser import (
    EPS,
    SCORE,
    VELOCITY,
    Guided,
    Preconditioned,
    Viewed,
    denoising_loss,
)
from likeness.dynamics.path import DDPM, EDM, FlowMatching
from tests.dynamics.oracles import PATHS, GaussianDistribution, MixtureDistribution, normals

each_path = pytest.mark.parametrize("path", PATHS, ids=lambda path: type(path).__name__)
each_view = pytest.mark.parametrize("view", [EPS, SCORE, VELOCITY], ids=lambda view: view.name)


class Function(nn.Module):
    """A net without parameters."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x, t, context):
        return self.function(x, t, context)


def some_times(path, n=6):
    return path.t_min + (path.t_max - path.t_min) * torch.linspace(
        0.05, 0.9, n, dtype=torch.float64
    )


@each_path
@each_view
def test_views_come_back(path, view):
    t, (x, x_hat) = some_times(path), normals(2, 6, 2, 3).unbind()
    value = view.from_data(path, x, x_hat, t)
    assert torch.allclose(view.to_data(path, x, value, t), x_hat, rtol=1e-7, atol=1e-7)


@each_path
def test_views_are_what_their_names_say(path):
    t, (x_0, eps) = some_times(path), normals(2, 6, 2).unbind()
    x = path.marginal(x_0, t, eps)
    assert torch.allclose(EPS.from_data(path, x, x_0, t), eps, rtol=0, atol=1e-9)
    law = MixtureDistribution.uneven()
    x.requires_grad_()
    score = torch.autograd.grad(law.components(path, x, t).logsumexp(1).sum(), x)[0]
    assert torch.allclose(
        SCORE.from_data(path, x, law.denoiser(path)(x, t), t), score, rtol=1e-7, atol=1e-7
    )


@each_path
@each_view
def test_a_net_of_any_view_is_the_same_denoiser(path, view):
    t, x = some_times(path), normals(6, 2)
    oracle = MixtureDistribution.uneven().denoiser(path)
    net = Function(lambda x, t, context: view.from_data(path, x, oracle(x, t), t))
    assert torch.allclose(Viewed(net, path, view)(x, t, None), oracle(x, t), rtol=1e-6, atol=1e-6)


@each_path
def test_net_sees_and_predicts_unit_variance(path):
    std, t, seen = 0.4, some_times(path), {}

    def net(x, level, context):
        seen.update(x=x, level=level)
        return torch.zeros_like(x)

    module = Preconditioned(Function(net), path, std).double()
    one = torch.ones(6, 1, dtype=torch.float64)
    skip = module(one, t, None)[:, 0]
    gain = seen["x"][:, 0]
    out = (
        Preconditioned(Function(lambda x, level, context: 1 + 0 * x), path, std).double()(
            one, t, None
        )
        - one * skip[:, None]
    )[:, 0]
    alpha, sigma, std = path.alpha(t), path.sigma(t), float(module.data_std)
    assert torch.allclose(gain**2 * (alpha**2 * std**2 + sigma**2), torch.ones(6).double())
    target = (
        (1 - skip * alpha) ** 2 * std**2 + skip**2 * sigma**2
    ) / out**2  # variance of (x_0 - skip x) / out
    assert torch.allclose(target, torch.ones(6).double())
    assert torch.allclose(module.weight(one, t)[:, 0], 1 / out**2)


def test_preconditioning_is_the_published_one_on_the_exploding_path():
    t, x, std = some_times(EDM()), normals(6, 3), 0.5
    net = Function(lambda x, level, context: x**2 + level[:, None])
    ours = Preconditioned(net, EDM(), std).double()(x, t, None)
    v, s = t[:, None] ** 2 + std**2, t[:, None]
    theirs = std**2 / v * x + s * std / v.sqrt() * ((x / v.sqrt()) ** 2 + s.log() / 4)
    assert torch.allclose(ours, theirs)


@each_path
def test_a_silent_net_is_ideal_for_its_own_gaussian(path):
    t, x = some_times(path), normals(6, 2)
    stds = torch.tensor([0.5, 2.0], dtype=torch.float64)
    law = GaussianDistribution(torch.zeros(2).double(), torch.diag(stds**2))
    module = Preconditioned(Function(lambda x, level, context: torch.zeros_like(x)), path, stds)
    module.data_std = stds
    assert torch.allclose(module(x, t, None), law.denoiser(path)(x, t))


def test_pure_noise_gives_a_net_finite_numbers():
    module = Preconditioned(Function(lambda x, level, context: level[:, None] + x), FlowMatching())
    assert module(torch.ones(2, 3), torch.ones(2), None).isfinite().all()


def test_guidance_moves_the_score_along_the_difference():
    path, t, x = DDPM(), some_times(DDPM()), normals(6, 2)
    laws = {
        "null": GaussianDistribution.random(2, seed=3),
        "cat": GaussianDistribution.random(2, seed=5),
    }

    def denoiser(x, t, context, noise=None):
        return laws[context].denoiser(path)(x, t)

    def score(x_hat):
        return SCORE.from_data(path, x, x_hat, t)

    null, cat = (score(denoiser(x, t, c)) for c in ("null", "cat"))
    for scale in (0.0, 1.0, 2.5):
        guided = score(Guided(denoiser, scale, "null")(x, t, "cat"))
        assert torch.allclose(guided, (1 - scale) * null + scale * cat, rtol=1e-9, atol=1e-9)


@each_path
def test_the_ideal_denoiser_has_the_ideal_loss_and_no_other_has_less(path):
    law, n = GaussianDistribution.random(2), 20000
    x_0, eps, oracle = law.sample(n), normals(n, 2, seed=9), law.denoiser(path)
    for t in some_times(path, 3):
        ideal = (
            law.values * path.sigma(t) ** 2 / (path.alpha(t) ** 2 * law.values + path.sigma(t) ** 2)
        ).sum()
        loss = denoising_loss(oracle, path, x_0, t.expand(n), eps)
        assert abs(loss.mean() - ideal) < 4.5 * loss.std() / n**0.5
        off = 0.2 * ideal.sqrt()
        worse = denoising_loss(lambda *a, off=off: oracle(*a) + off, path, x_0, t.expand(n), eps)
        assert worse.mean() > loss.mean()


def test_loss_weighs_entries():
    path, x_0, eps = FlowMatching(), *normals(2, 4, 3).unbind()
    t, seen = some_times(path, 4), torch.tensor([1.0, 0.0, 2.0])
    loss = denoising_loss(lambda x, t, context: torch.zeros_like(x), path, x_0, t, eps, weight=seen)
    assert torch.allclose(loss, (seen * x_0**2).sum(1))
