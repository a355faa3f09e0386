"""The path ddpm of a diffusion: however many steps its chain has, it ends at the same noise."""

import pytest
import torch

from likeness.dynamics.path import DDPM
from likeness.families.diffusion import DiffusionConfig, _path


@pytest.mark.parametrize("steps", [200, 500, 1000, 4000])
def test_chains_of_any_length_turn_data_into_the_same_noise(steps: int) -> None:
    path = _path(DiffusionConfig(path="ddpm", chain=steps))
    assert isinstance(path, DDPM)
    t = torch.linspace(path.t_min, 1.0, 1000, dtype=torch.float64)
    sigma = path.sigma(t)
    assert float(sigma[0]) == pytest.approx(1e-3, rel=1e-3)
    assert bool((sigma.diff() > 0).all())
    assert float(sigma[-1]) > 0.9999
    product = torch.cumprod(1 - path.betas(), 0).sqrt()
    places = torch.arange(1, steps + 1, dtype=torch.float64) / steps
    assert torch.allclose(path.alpha(places), product, rtol=0, atol=1e-8)
