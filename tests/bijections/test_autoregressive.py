"""The walk that inverts an autoregressive flow against the D passes that everybody else makes."""

import pytest
import torch

from likeness.bijections import AffineStep, Autoregressive, SplineStep
from likeness.bijections import autoregressive as module
from likeness.nets.masked import MaskedNet


def made(step, dims, **options) -> Autoregressive:
    f = Autoregressive(MaskedNet([1] * dims, [step.size] * dims, **options), step).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in f.parameters():
            parameter.copy_(
                0.15 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            )
    return f


@pytest.mark.parametrize("step", [AffineStep(), SplineStep(5, 3.0)])
@pytest.mark.parametrize("window", [None, 2])
def test_the_walk_is_the_inversion_by_passes(step, window, monkeypatch):
    monkeypatch.setattr(module, "_ROWS", 4)  # three walks for ten rows
    f = made(step, 20, hidden=(64, 64), context=3, window=window, order=torch.randperm(20).tolist())
    y, c = torch.randn(10, 20).double(), torch.randn(10, 3).double()
    with torch.no_grad():
        x, ladj = f.inverse(y, c)
    by_passes, same = f.inverse(y, c)
    assert by_passes.requires_grad
    assert torch.allclose(x, by_passes, rtol=1e-11, atol=1e-11)
    assert torch.allclose(ladj, same, rtol=1e-10, atol=1e-10)


def test_gradients_of_the_inverse_are_the_inverse_of_the_gradients():
    f, y = made(SplineStep(5, 3.0), 4, hidden=(16,)), torch.randn(4).double()
    back = torch.autograd.functional.jacobian(lambda v: f.inverse(v[None])[0][0], y)
    x = f.inverse(y[None])[0][0].detach()
    there = torch.autograd.functional.jacobian(lambda v: f(v[None])[0][0], x)
    assert torch.allclose(back @ there, torch.eye(4).double(), rtol=0, atol=1e-9)
    bias = f.net.skip.bias
    (moved,) = torch.autograd.grad(f.inverse(y[None])[0].sum(), bias)
    h = 1e-6
    with torch.no_grad():
        bias[7] += h
        up = f.inverse(y[None])[0].sum()
        bias[7] -= 2 * h
        down = f.inverse(y[None])[0].sum()
    assert abs((up - down) / (2 * h) - moved[7]) < 1e-6


def test_no_rows_and_one_variable_are_fine():
    f = made(AffineStep(), 1, hidden=(8,))
    with torch.no_grad():
        assert f.inverse(torch.zeros(0, 1).double())[0].shape == (0, 1)
        x, ladj = f.inverse(torch.tensor([[2.0]]).double())
    y, back = f(x)
    assert torch.allclose(y, torch.tensor([[2.0]]).double())
    assert torch.allclose(ladj, -back)
