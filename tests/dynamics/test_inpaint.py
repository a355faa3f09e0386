import math

import pytest
import torch

from likeness.core.noise import Noise
from likeness.dynamics.inpaint import Spread, replaced, twisted
from likeness.dynamics.path import EDM, Cosine, FlowMatching
from tests.dynamics.oracles import GaussianDistribution, MixtureDistribution, normals

COV = torch.tensor([[1.0, 0.8, 0.3], [0.8, 1.0, 0.2], [0.3, 0.2, 0.7]], dtype=torch.float64)
LAW = GaussianDistribution(torch.zeros(3, dtype=torch.float64), COV)
Y = torch.tensor([[1.2, 0.0, 0.0], [0.0, -0.7, 0.5]], dtype=torch.float64)
KNOWN = torch.tensor([[True, False, False], [False, True, True]])


def particles(count, rows, seed=0):
    """Noise of rows * count particles, draw-major."""
    index, draw = torch.arange(rows).repeat(count), torch.arange(count).repeat_interleave(rows)
    return Noise(seed, index, draw=draw, dtype=torch.float64)


def chain(path, steps, *, ends=False):
    grid = path.time(torch.linspace(-6, 9, steps, dtype=torch.float64))
    return torch.cat([grid, grid.new_zeros(1)]) if ends else grid


def conditional(law, y, known):
    """Mean and covariance of what is hidden in one row."""
    a, b = known, ~known
    gain = torch.linalg.solve(law.cov[a][:, a], law.cov[a][:, b]).T
    return law.mean[b] + gain @ (y - law.mean)[a], law.cov[b][:, b] - gain @ law.cov[a][:, b]


@pytest.mark.parametrize("path", [FlowMatching(), Cosine(), EDM()], ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("steps", [6, 24])
def test_for_gaussian_data_chain_and_twist_are_exact_at_any_number_of_steps(path, steps):
    count = 40_000 // steps  # the fewer the steps, the more of the particles each weighing loses
    cloud = twisted(
        LAW.denoiser(path), path, chain(path, steps), Y, KNOWN, noise=particles(count, 2), count=count,
        spread=Spread.of(COV),
    )  # fmt: skip
    weight = cloud.log_weight.softmax(0)
    for row in range(2):
        x, (mean, cov) = cloud.x[:, row, ~KNOWN[row]], conditional(LAW, Y[row], KNOWN[row])
        w, error = weight[:, row, None], 1 / math.sqrt(float(cloud.least[row]))
        centred = x - (w * x).sum(0)
        assert (((w * x).sum(0) - mean).abs() < 4 * error * cov.diag().sqrt()).all()
        assert ((w * centred).T @ centred - cov).abs().max() < 6 * error * cov.diag().max()
        assert (cloud.x[:, row, KNOWN[row]] == Y[row, KNOWN[row]]).all()


@pytest.mark.slow
def test_a_crude_twist_is_mended_by_weights_and_replacement_is_not():
    path, count = FlowMatching(), 1000
    y, known = Y[:1].expand(4, 3), KNOWN[:1].expand(4, 3)
    mean, cov = conditional(LAW, Y[0], KNOWN[0])
    cloud = twisted(
        LAW.denoiser(path), path, chain(path, 100), y, known, noise=particles(count, 4), count=count,
        spread=Spread.of(torch.ones(3, dtype=torch.float64)),
    )  # fmt: skip
    weight = cloud.log_weight.softmax(0)
    error = (weight[..., None] * cloud.x[..., 1:]).sum(0).mean(0) - mean
    size = float(cloud.least.sum())
    assert 0.2 * count < float(cloud.least.min()) < 0.8 * count  # the weights do something
    assert (error.abs() < 3 * cov.diag().sqrt() / math.sqrt(size) + 0.02).all()
    x = replaced(
        LAW.denoiser(path), path, chain(path, 100, ends=True), y.repeat(count, 1), known.repeat(count, 1),
        noise=particles(count, 4),
    )  # fmt: skip
    bias = x[:, 1:].mean(0) - mean
    assert float(bias[0].abs()) > 10 * float(cov[0, 0].sqrt()) / math.sqrt(4 * count)
    assert torch.equal(x[:, 0], y.repeat(count, 1)[:, 0])


def test_a_mixture_is_completed_by_its_own_conditional():
    path, law, count = FlowMatching(), MixtureDistribution.uneven(), 2000
    y, known = torch.tensor([[0.2, 0.0]]).double(), torch.tensor([[True, False]])
    cloud = twisted(
        law.denoiser(path), path, chain(path, 60), y, known, noise=particles(count, 1), count=count,
        spread=Spread.of(torch.ones(2, dtype=torch.float64)),
    )  # fmt: skip
    weight = cloud.log_weight.softmax(0)[:, 0]
    value = cloud.x[:, 0, 1]
    # Given the first entry the component k has a weight in proportion to w_k N(y; mean_k, std_k).
    share = (
        law.weights.log() - ((0.2 - law.means[:, 0]) / law.stds).square() / 2 - law.stds.log()
    ).softmax(0)  # fmt: skip
    mean = (share * law.means[:, 1]).sum()
    std = ((share * (law.stds**2 + law.means[:, 1] ** 2)).sum() - mean**2).sqrt()
    error = float((weight * value).sum() - mean)
    assert abs(error) < 4 * float(std) / math.sqrt(float(cloud.least)) + 0.02
    assert float((weight * (value - mean).square()).sum().sqrt() / std) == pytest.approx(
        1, abs=0.05
    )


def test_a_row_has_the_same_particles_beside_any_others():
    path, count = FlowMatching(), 16
    whole = twisted(
        LAW.denoiser(path), path, chain(path, 8), Y, KNOWN, noise=particles(count, 2), count=count,
        spread=Spread.of(torch.ones(3, dtype=torch.float64)),
    )  # fmt: skip
    second = particles(count, 2)[torch.arange(1, 2 * count, 2)]
    alone = twisted(
        LAW.denoiser(path), path, chain(path, 8), Y[1:], KNOWN[1:], noise=second, count=count,
        spread=Spread.of(torch.ones(3, dtype=torch.float64)),
    )  # fmt: skip
    assert torch.allclose(alone.x[:, 0], whole.x[:, 1], rtol=0, atol=1e-12)
    assert torch.allclose(alone.log_weight[:, 0], whole.log_weight[:, 1], rtol=0, atol=1e-10)


def test_the_precision_of_what_is_known_is_the_blocks_inverse():
    spread, variances = Spread.of(COV), torch.tensor([0.3, 0.5, 2.0]).double()
    whole = spread.axes @ torch.diag(variances) @ spread.axes.T
    found = spread.precision(variances, KNOWN)
    assert torch.allclose(found[1][1:, 1:], torch.linalg.inv(whole[1:, 1:]))
    assert float(found[1][0].abs().sum() + found[1][:, 0].abs().sum()) == 0
    x = normals(4, 3)
    assert torch.allclose(spread.back(spread.turned(x), x), x)
