"""Rational-quadratic splines against the paper's formula written out, quadrature, and a million points."""

import math

import pytest
import torch
from torch.nn.functional import softplus

from likeness.bijections import SplineStep
from likeness.core.errors import BadConfig


@pytest.fixture(autouse=True)
def double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def written_out(
    x: float, params: torch.Tensor, bins: int, bound: float, least: float
) -> tuple[float, float]:
    """Durkan et al. 2019, eqs. 4 and 5, for one number, bin by bin."""
    if abs(x) >= bound:
        return x, 0.0
    sizes = [
        (least / bins + (1 - least) * p.softmax(0)) * 2 * bound
        for p in params[: 2 * bins].split(bins)
    ]
    raw = params[2 * bins :]
    inner = least + softplus(raw + math.log(math.expm1(1 - least)))
    slopes = [1.0, *inner.tolist(), 1.0]
    xk, yk = -bound, -bound
    for k, (w, h) in enumerate(zip(*(s.tolist() for s in sizes), strict=True)):
        if x < xk + w or k == bins - 1:
            xi, s, d0, d1 = (x - xk) / w, h / w, slopes[k], slopes[k + 1]
            below = s + (d1 + d0 - 2 * s) * xi * (1 - xi)
            y = yk + h * (s * xi**2 + d0 * xi * (1 - xi)) / below
            slope = s**2 * (d1 * xi**2 + 2 * s * xi * (1 - xi) + d0 * (1 - xi) ** 2) / below**2
            return y, math.log(slope)
        xk, yk = xk + w, yk + h
    raise AssertionError


def drawn(
    step: SplineStep, rows: int, scale: float, dtype: torch.dtype | None = None
) -> torch.Tensor:
    return scale * torch.randn(
        step.size, rows, generator=torch.Generator().manual_seed(3), dtype=dtype
    )


@pytest.mark.parametrize("bins", [2, 3, 8])
def test_values_and_slopes_are_the_papers(bins):
    step, x = SplineStep(bins, 4.0, least=0.02), torch.linspace(-6, 6, 61)
    params = drawn(step, 61, 1.5)
    y, ladj = step(x, params)
    for i in range(61):
        wanted = written_out(float(x[i]), params[:, i], bins, 4.0, 0.02)
        assert (float(y[i]), float(ladj[i])) == pytest.approx(wanted, abs=1e-12)


def test_it_rises_from_end_to_end_and_its_slope_integrates_to_it():
    step, n = SplineStep(8, 3.0), 200_001
    x = torch.linspace(-3, 3, n)
    y, ladj = step(x, drawn(step, 1, 1.0).expand(-1, n))
    assert (y.diff() > 0).all()
    assert torch.trapezoid(ladj.exp(), x) == pytest.approx(6.0, abs=1e-6)


@pytest.mark.parametrize("scale", [1.0, 10.0, 100.0])
def test_a_million_points_and_their_gradients_are_finite_however_wild_the_parameters(scale):
    step = SplineStep(8, 5.0).float()
    g = torch.Generator().manual_seed(5)
    far = torch.tensor([-5.0, 5.0, 0.0, 200.0, -200.0], dtype=torch.float32)
    x = torch.cat(
        [3 * torch.randn(330_000, generator=g, dtype=torch.float32), far]
    ).requires_grad_()
    params = drawn(step, len(x), scale, torch.float32).requires_grad_()
    y, ladj = step(x, params)
    back, negative = step.inverse(x, params)
    total = y.sum() + ladj.sum() + back.sum() + negative.sum()
    gradients = torch.autograd.grad(total, [x, params])
    assert all(bool(t.isfinite().all()) for t in (y, ladj, back, negative, *gradients))
    outside = x.abs() >= 5
    assert torch.equal(y[outside], x[outside])
    assert torch.equal(back[outside], x[outside])
    assert not ladj[outside].any()


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_inversion_loses_no_more_than_the_slope_costs(scale):
    step = SplineStep(8, 5.0).float()
    x = 2 * torch.randn(200_000, generator=torch.Generator().manual_seed(5), dtype=torch.float32)
    params = drawn(step, len(x), scale, torch.float32)
    y, ladj = step(x, params)
    back, _ = step.inverse(y, params)
    unavoidable = (
        torch.finfo(torch.float32).eps * 5 * (-ladj).exp().clamp(min=1)
    )  # y is rounded, then divided by dy/dx
    assert ((back - x).abs() <= 10 * unavoidable).all()


def test_a_point_on_a_knot_keeps_its_gradient():
    step = SplineStep(4, 2.0)
    x = torch.tensor([-1.0, 0.0, 1.0], requires_grad=True)  # the knots of the identity
    y, _ = step(x, torch.zeros(step.size, 3))
    assert torch.allclose(torch.autograd.grad(y.sum(), x)[0], torch.ones(3))


def test_impossible_splines_are_refused():
    for bins, least in ((1, 0.05), (4, 0.0), (4, 1.0)):
        with pytest.raises(BadConfig, match="spline"):
            SplineStep(bins, least=least)
