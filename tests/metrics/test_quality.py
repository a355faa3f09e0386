"""Ranking against scikit-learn, modes against the truth's own ceilings, images against closed forms."""

import math

import pytest
import torch
from sklearn.metrics import roc_auc_score

from likeness.core.errors import BadData
from likeness.metrics import quality

GRID = torch.cartesian_prod(torch.arange(-4, 5, 2), torch.arange(-4, 5, 2)).double()


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def grid(seed, n, sigma=0.05, modes=25):
    row = torch.randint(0, modes, (n,), generator=torch.Generator().manual_seed(seed + 10**6))
    return GRID[row] + sigma * normal(seed, n, 2)


def test_area_is_scikit_learns_with_ties():
    score, positive = (normal(0, 300) * 2).round(), normal(1, 300) > 0.5
    assert quality.auroc(score, positive) == pytest.approx(
        roc_auc_score(positive, score), rel=1e-12
    )
    assert quality.auroc(torch.ones(4), torch.tensor([0, 1, 0, 1])) == 0.5


def test_bootstrap_of_the_area_has_its_standard_error():
    # for continuous scores of equal laws the variance is (m + n + 1) / (12 m n)
    score, positive = normal(2, 300), torch.arange(300) < 100
    got = quality.auroc_interval(score, positive, seed=0)
    assert got.value == quality.auroc(score, positive)
    assert got.stderr == pytest.approx(math.sqrt(301 / (12 * 100 * 200)), rel=0.12)
    assert got == quality.auroc_interval(score, positive, seed=0)


def test_the_truth_reaches_its_ceilings_on_the_grid():
    got = quality.modes(grid(3, 20000), GRID, 0.05)
    assert got.ceiling == pytest.approx(1 - math.exp(-4.5), rel=1e-12)
    assert abs(got.high_quality.value - got.ceiling) < 4 * got.high_quality.stderr
    assert got.captured == 25
    assert got.kl_uniform == pytest.approx(24 / (2 * 20000), rel=0.8)
    assert got.width == pytest.approx(1, abs=0.01)


def test_lost_and_narrow_modes_are_seen():
    lost = quality.modes(grid(4, 5000, modes=20), GRID, 0.05)
    assert lost.captured == 20 and lost.kl_uniform == pytest.approx(math.log(25 / 20), abs=0.005)
    narrow = quality.modes(grid(5, 5000, sigma=0.025), GRID, 0.05)
    assert narrow.high_quality.value > narrow.ceiling + 3 * narrow.high_quality.stderr
    assert narrow.width == pytest.approx(
        0.5 / 0.9724, abs=0.01
    )  # the truth's width is cut at 3 sigma to 0.9724


def test_no_item_near_any_mode():
    got = quality.modes(GRID + 1, GRID, 0.05)
    assert (got.high_quality.value, got.captured, got.kl_uniform, got.width) == (0, 0, math.inf, 0)


def test_sharpness_of_white_noise_and_of_slopes():
    # the Laplacian of white noise has variance 16 + 4 = 20; of a plane it is 0
    noise = normal(6, 3, 2, 100, 100)
    torch.testing.assert_close(
        quality.sharpness(noise), torch.full((3,), 20.0).double(), rtol=0.05, atol=0
    )
    slope = torch.arange(10.0)[:, None] + 2 * torch.arange(10.0)
    assert quality.sharpness(slope.expand(1, 1, 10, 10)).item() == 0
    blurred = torch.nn.functional.avg_pool2d(noise, 3, 1)
    assert (quality.sharpness(blurred) < quality.sharpness(noise)).all()


def test_psnr():
    x = torch.zeros(2, 1, 4, 4)
    y = x.clone()
    y[1] += 25.5
    assert quality.psnr(x, y, peak=255).tolist() == pytest.approx([math.inf, 20.0])


def test_one_class_alone_is_refused():
    with pytest.raises(BadData, match="positives and of negatives"):
        quality.auroc(torch.ones(3), torch.ones(3))
    with pytest.raises(BadData, match="images"):
        quality.sharpness(torch.ones(3, 4, 4))
