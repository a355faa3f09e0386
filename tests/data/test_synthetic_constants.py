"""The worlds' constants, against the curves, covariances and probabilities that define them."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from likeness.core.batch import Batch
from likeness.data.synthetic import world

PI = math.pi


def rows(n, seed=0):
    return np.random.default_rng(seed).uniform(size=n), np.random.default_rng(seed + 1).normal(
        size=(n, 2)
    )


def moon(k, t):
    return (np.cos(t), np.sin(t)) if k == 0 else (1 - np.cos(t), 0.5 - np.sin(t))


def spiral(k, u):
    a = 3 * PI * np.sqrt(u)
    sign = 1 - 2 * k
    return -sign * np.cos(a) * a / 3, sign * np.sin(a) * a / 3


@pytest.mark.parametrize(("name", "curve", "high"), [("moons", moon, PI), ("spirals", spiral, 1.0)])
def test_a_curve_with_noise_is_its_integral(name, curve, high):
    """log p against adaptive quadrature along the curve, at points on it, beside it and far from it."""
    law = world(name)
    u, z = rows(6)
    for i in range(6):
        x = np.array(curve(i % 2, high * u[i])) + 0.1 * (1 + i) * z[i]

        def density(t, x=x):
            at = [np.array(curve(k, t)) for k in (0, 1)]
            return (
                sum(np.exp(-0.5 * ((x - c) ** 2).sum() / 0.01) / (2 * PI * 0.01) for c in at)
                / 2
                / high
            )

        splits = np.linspace(0, high, 41)
        total = sum(
            integrate.quad(density, a, b, epsabs=0, epsrel=1e-10)[0] for a, b in pairwise(splits)
        )
        assert float(law.log_prob(torch.tensor(x)[None]).value) == pytest.approx(
            math.log(total), abs=1e-6
        )


@pytest.mark.parametrize(("name", "curve", "high"), [("moons", moon, PI), ("spirals", spiral, 1.0)])
def test_items_of_the_curve_itself_have_the_worlds_entropy(name, curve, high):
    law, (u, z) = world(name, given="label"), rows(8_000, 5)
    for k in (0, 1):
        x = torch.tensor(np.stack(curve(k, high * u), -1) + 0.1 * z)
        mean = law.log_prob(x, given=torch.full((len(x), 1), float(k))).mean()
        assert abs(-mean.value - law.entropy) < 4 * mean.stderr


def test_ring_and_grid():
    angle = 2 * PI * np.arange(8) / 8
    centres = torch.tensor(np.stack([np.cos(angle), np.sin(angle)], -1))
    tight = world("ring", sigma=0.01)
    assert tight.entropy == pytest.approx(math.log(8) + math.log(2 * PI * math.e * 1e-4), abs=1e-9)
    np.testing.assert_allclose(
        tight.log_prob(centres).value, math.log(1 / 8 / (2 * PI * 1e-4)), rtol=0, atol=1e-9
    )
    nearest = torch.cdist(world("ring").sample(20_000, seed=1).x, centres).min(-1).values
    assert float((nearest <= 0.3).double().mean()) == pytest.approx(
        1 - math.exp(-4.5), abs=4 * 0.00075
    )
    grid = world("grid")
    assert grid.entropy == pytest.approx(
        math.log(25) + math.log(2 * PI * math.e * 0.05**2), abs=1e-9
    )
    axis = torch.arange(-4.0, 5, 2).double()
    np.testing.assert_allclose(
        grid.log_prob(torch.cartesian_prod(axis, axis)).value,
        -math.log(25 * 2 * PI * 0.05**2),
        atol=1e-9,
    )


def test_checkerboard():
    board = world("checkerboard")
    assert board.entropy == pytest.approx(math.log(32), abs=1e-12)
    x = torch.tensor([[-3.0, -3.0], [-3.0, -1.0], [3.9, 3.9], [4.1, 3.9]])
    np.testing.assert_allclose(
        board.log_prob(x).value, [-math.log(32), -math.inf, -math.log(32), -math.inf]
    )
    assert bool((board.score(x) == 0).all())
    assert world("checkerboard", given="label").entropy == pytest.approx(math.log(8), abs=1e-12)


def test_pinwheel():
    """Arms drawn from the definition: their own label is nearly sure, and they have the entropy."""
    u, z = rows(10_000, 9)
    arm = (5 * u).astype(int)
    a, b = 1 + 0.3 * z[:, 0], 0.1 * z[:, 1]
    angle = 2 * PI * arm / 5 + 0.25 * np.exp(a)
    x = 2 * np.stack(
        [a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle)], -1
    )
    law = world("pinwheel", given="label")
    mean = law.log_prob(
        torch.tensor(x), given=torch.tensor(arm, dtype=torch.float64)[:, None]
    ).mean()
    assert abs(-mean.value - law.entropy) < 4 * mean.stderr
    # x = 2 R (a, b): H = H(a) + H(b) + log 4 + E log |1 - b e^a / 4|; the fold's share is second order in b
    flat = math.log(2 * PI * math.e * 0.3 * 0.1) + math.log(4)
    bend = integrate.dblquad(
        lambda a, b: math.log(abs(1 - 0.25 * math.exp(a) * b)) * stats.norm.pdf(a, 1, 0.3) * stats.norm.pdf(b, 0, 0.1),
        -0.5, 0.5, 0.0, 2.0,
    )[0]  # fmt: skip
    assert law.entropy == pytest.approx(flat + bend, abs=2e-4)


def test_the_pinwheel_misses_no_root():
    """Points out in the arms' tails, where arms overlap and fold, against a dense scan for every root."""
    law = world("pinwheel")
    _, z = rows(60, 11)
    x = law.place(
        torch.tensor(1.6 + 0.4 * z[:, 0]),
        torch.tensor(0.25 * z[:, 1]),
        torch.zeros(60, dtype=torch.int64),
    )
    grid = np.linspace(-2, 4, 200_001)
    for point, log_p in zip(x.numpy() / 2, law.log_prob(x).value.tolist(), strict=True):
        total = 0.0
        for k in range(5):
            angle = 2 * PI * k / 5 + 0.25 * np.exp(grid)
            gap = point[0] * np.cos(angle) + point[1] * np.sin(angle) - grid
            at = np.nonzero(np.diff(np.sign(gap)))[0]
            a = grid[at] - gap[at] * (grid[at + 1] - grid[at]) / (gap[at + 1] - gap[at])
            b = point[1] * np.cos(2 * PI * k / 5 + 0.25 * np.exp(a)) - point[0] * np.sin(
                2 * PI * k / 5 + 0.25 * np.exp(a)
            )
            fold = 4 * np.abs(1 - 0.25 * np.exp(a) * b)
            total += (stats.norm.pdf(a, 1, 0.3) * stats.norm.pdf(b, 0, 0.1) / fold / 5).sum()
        assert log_p == pytest.approx(math.log(total), abs=1e-4)


def test_banana_and_funnel():
    x = torch.tensor([[1.0, -0.5], [-3.0, 2.0]], dtype=torch.float64)
    expected = stats.norm.logpdf(x[:, 0], 0, 2) + stats.norm.logpdf(x[:, 1], x[:, 0] ** 2 / 4, 1)
    np.testing.assert_allclose(world("banana").log_prob(x).value, expected, rtol=0, atol=1e-12)
    funnel = world("funnel")
    x = torch.linspace(-2, 2, 20, dtype=torch.float64).reshape(2, 10)
    x_np = x.numpy()
    each = stats.norm.logpdf(x_np[:, 1:], 0, np.exp(x_np[:, :1] / 2)).sum(-1) + stats.norm.logpdf(
        x_np[:, 0], 0, 3
    )
    np.testing.assert_allclose(funnel.log_prob(x).value, each, rtol=0, atol=1e-12)
    assert funnel.entropy == pytest.approx(5 * math.log(2 * PI * math.e) + math.log(3), abs=1e-12)


def test_the_funnels_driver_is_integrated_and_drawn():
    law = world("funnel")
    x = torch.full((1, 10), torch.nan, dtype=torch.float64)
    x[0, 1:7] = torch.tensor([0.3, -1.0, 2.0, 0.1, -0.4, 0.9])

    def density(v, power=0):
        return (
            v**power * stats.norm.pdf(v, 0, 3) * stats.norm.pdf(x[0, 1:7], 0, np.exp(v / 2)).prod()
        )

    mass, first, second = (
        integrate.quad(density, -15, 20, args=(k,), epsrel=1e-10)[0] for k in range(3)
    )
    assert float(law.log_prob(x).value) == pytest.approx(math.log(mass), abs=1e-8)
    v = law.complete(x, n=5_000, seed=2).x[:, 0, 0]
    mean, var = first / mass, second / mass - (first / mass) ** 2
    assert float(v.mean()) == pytest.approx(mean, abs=4 * (var / 5_000) ** 0.5)
    assert float(v.var()) == pytest.approx(var, rel=0.1)


def test_mixture43_follows_its_recipe():
    law = world("mixture43")
    assert law.mean.shape == (10, 43)
    assert float(torch.linalg.eigvalsh(law.cov).min()) >= 0.1
    assert float(law.mean.square().mean()) == pytest.approx(1, abs=4 * (2 / 430) ** 0.5)
    assert float(law.cov.diagonal(dim1=1, dim2=2).mean()) == pytest.approx(1.1, abs=0.05)
    sure = law.encode(law.sample(2000, seed=3).x).logits
    assert (
        float(-(sure.exp() * sure).sum(-1).mean()) < 1e-6
    )  # H(k | x), which the entropy leaves out


def test_the_bayes_net_is_its_factors():
    law = world("bayes_net")
    x = torch.tensor([[1.0, 0, 1, 1, 0], [0, 1, 0, 0, 1]])
    expected = [0.3 * 0.9 * 0.8 * 0.7 * 0.1, 0.7 * 0.5 * 0.15 * 0.9 * 0.2]
    np.testing.assert_allclose(law.log_prob(x).value.exp(), expected, rtol=1e-6)
    rain = world("bayes_net", given="label")
    wet = Batch(torch.ones(1, 5)).hide(torch.tensor([True, True, False, True, True]))
    by_hand = [0.7 * (0.5 * 0.05 + 0.5 * 0.85), 0.3 * (0.9 * 0.8 + 0.1 * 0.98)]
    np.testing.assert_allclose(
        rain.class_posterior(wet).probabilities[0], np.array(by_hand) / sum(by_hand), rtol=1e-6
    )
