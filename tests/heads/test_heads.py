"""What every head must keep: mass 1, draws that follow log p, honest CDFs, relaxations that end at the draw."""

import math

import pytest
import torch

from likeness.heads import Magnitude, Spline
from tests.heads.cases import CASES, chi2_bound, normals, uniforms

POINTS = ("normal", "mixture", "histogram")
OPEN = ("logistic", "mixture", "rounded", "spline", "bounded", "magnitude")
CLOSED = tuple(name for name in CASES if name not in OPEN)


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]()


def line(case, count=200_001):
    """A fine grid of each entry's line, dense where the mass is: equal steps of arctan, (V, n), and its weights."""
    t = (torch.arange(count, dtype=torch.float64) + 0.5) / count * math.pi - math.pi / 2
    z, dz = 0.5 * t.tan(), 0.5 / t.cos().square() * (math.pi / count)
    scale, location = case.head.scale, case.head.location
    x, dx = location + z.unsqueeze(-1) * scale, dz.unsqueeze(-1) * scale
    if isinstance(case.head, Magnitude):  # of its logarithmic axis
        x = x.clamp(-300, 300)
        return case.head.value(x), dx * case.head.log_slope(x).exp()
    return x, dx


def weighed(case):
    """Values (V, n) and the mass that each stands for (2, V, n)."""
    if case.support is not None:
        return case.support, case.masses()
    x, dx = line(case)
    return x, case.head.distribution(case.params.unsqueeze(1)).log_prob(x).exp() * dx


def test_all_mass_is_one(case):
    total = weighed(case)[1].sum(1)
    fine = {"Histogram": 1e-3, "Spline": 1e-3}.get(
        type(case.head).__name__, 2e-5
    )  # a grid sees jumps only to its own step
    torch.testing.assert_close(
        total, torch.ones_like(total), atol=1e-9 if case.support is not None else fine, rtol=0
    )


def test_the_mean_is_the_sum_over_all_values(case):
    if case.head.__class__.__name__ == "Categorical" and not bool(case.head.ordered.any()):
        pytest.skip("nominal codes have no mean")
    if isinstance(case.head, Magnitude):
        pytest.skip("tails so long that a grid does not see the mean: test_laws.py asks for it")
    law = case.head.distribution(case.params)
    x, p = weighed(case)
    scale = getattr(case.head, "scale", torch.tensor(1.0))
    reference = getattr(
        case.head, "location", x[0]
    )  # differences from a value near, so that a large mean does not cancel
    mean = reference + torch.where(p > 0, p * (x - reference), 0.0).sum(1)
    known = getattr(case.head, "ordered", torch.ones(1, dtype=torch.bool))
    error = ((law.mean - mean) / scale * known).abs().max()
    rounding = (
        0.01 if getattr(case.head, "components", 0) == 2 else 1e-6
    )  # its mean is that of values before rounding
    assert error < (rounding if case.support is not None else 2e-2)


def test_the_mode_beats_every_value(case):
    law = case.head.distribution(case.params)
    density = case.head.distribution(case.params.unsqueeze(1)).log_prob
    best = (
        density(line(case, 20_001)[0]).amax(1)
        if case.support is None
        else case.masses().log().amax(1)
    )
    assert bool(
        (law.log_prob(law.mode) >= best - (1e-6 if case.support is not None else 2e-3)).all()
    )


def test_the_cdf_is_the_running_sum(case):
    law = case.head.distribution(case.params.unsqueeze(1))
    if case.support is not None:
        running = case.masses().cumsum(1)
        torch.testing.assert_close(law.cdf(case.support), running.clamp(max=1), atol=1e-9, rtol=0)
        assert float(law.cdf(case.support[:1] - 1000).max()) < 1e-9
        return
    x = case.head.location + 3 * case.head.scale * normals(50, case.head.entries, seed=4)
    h = 1e-6 * case.head.scale
    slope = (law.cdf(x + h) - law.cdf(x - h)) / (2 * h)
    density = law.log_prob(x).exp()
    assert bool(
        ((slope - density).abs() * case.head.scale < 1e-5).float().mean() > 0.98
    )  # all but an edge


def test_quantiles_undo_the_cdf(case):
    law, p = (
        case.head.distribution(case.params.unsqueeze(1)),
        uniforms(200, case.head.entries, seed=5),
    )
    x = law.quantile(p.expand(2, -1, -1))
    if case.support is None:
        torch.testing.assert_close(law.cdf(x), p.expand(2, -1, -1), atol=1e-9, rtol=0)
        return
    below = law.cdf(x) - law.log_prob(x).exp()
    assert bool(((law.cdf(x) >= p - 1e-9) & (below <= p + 1e-9)).all())


def test_draws_follow_log_prob(case):
    rows, head = 20_000, case.head
    law = head.distribution(case.params[0])
    x = law.draw(uniforms(rows, head.entries, head.uniforms, seed=6))
    bins = 40
    if case.support is None:  # the CDF of each draw is uniform
        p = law.cdf(x)
        counts = torch.stack([torch.histc(p[:, i], bins, 0, 1) for i in range(head.entries)])
        expected = torch.full_like(counts, rows / bins)
    else:
        mass = case.masses()[0]
        counts = torch.stack([(x == v).sum(0) for v in case.support[mass.amax(-1) * rows > 0.01]])
        mass = mass[mass.amax(-1) * rows > 0.01]
        rare = mass * rows < 5
        expected = torch.cat(
            [(mass * rows).masked_fill(rare, 0), (mass * rows * rare).sum(0, keepdim=True)]
        )
        counts = torch.cat([counts.masked_fill(rare, 0), (counts * rare).sum(0, keepdim=True)])
        expected, counts = expected.T, counts.T.double()
    seen = expected > 0.5
    chi2 = torch.where(seen, (counts - expected).square() / expected.clamp(min=0.5), 0.0).sum(-1)
    for value, cells in zip(chi2.tolist(), seen.sum(-1).tolist(), strict=True):
        assert value < chi2_bound(max(cells, 2)) + 10


def test_relaxed_draws_have_gradients_and_end_at_the_draw(case):
    head = case.head
    u = uniforms(2, head.entries, head.uniforms, seed=7).clamp(0.02, 0.98)
    params = case.params.clone().requires_grad_()
    warm = head.distribution(params).relaxed(u, 0.5)
    assert warm.shape == (2, head.entries, head.features)
    weights = normals(*warm.shape, seed=8)
    (gradient,) = torch.autograd.grad((warm * weights).sum(), params)
    assert bool(torch.isfinite(gradient).all())
    assert float(gradient.abs().max()) > 0
    law = head.distribution(case.params)
    torch.testing.assert_close(law.relaxed(u, 1e-6), head.embed(law.draw(u)), atol=1e-6, rtol=1e-6)


def test_taking_entries_is_slicing(case):
    head, keep = case.head, [case.head.entries - 1, 0]
    part = head.take(keep)
    law, whole = part.distribution(case.params[:, keep]), head.distribution(case.params)
    u = uniforms(2, head.entries, head.uniforms, seed=9)
    x = whole.draw(u)
    torch.testing.assert_close(law.draw(u[:, keep]), x[:, keep])
    torch.testing.assert_close(law.log_prob(x[:, keep]), whole.log_prob(x)[:, keep])
    torch.testing.assert_close(part.embed(x[:, keep]), head.embed(x)[:, keep])
    torch.testing.assert_close(part.start(), head.start()[keep])


def test_embedding_tells_missing_from_average(case):
    head = case.head
    x = head.distribution(case.params).draw(uniforms(2, head.entries, head.uniforms))
    none = torch.zeros_like(x, dtype=torch.bool)
    assert float(head.embed(x, none).abs().max()) == 0
    torch.testing.assert_close(head.embed(x, ~none), head.embed(x))
    assert bool((head.embed(x).abs().sum(-1) > 0).all())


def test_probabilities_are_log_prob_of_every_code(case):
    if case.head.__class__.__name__ not in ("Bernoulli", "Categorical", "DiscretisedLogistic"):
        pytest.skip("infinitely many values")
    p = case.head.distribution(case.params).probabilities
    torch.testing.assert_close(p, case.masses().movedim(1, -1))


def test_value_and_gradient_are_finite_forty_deviations_out(case):
    head = case.head
    for dtype in (torch.float64, torch.float32):
        params = case.params.to(dtype).requires_grad_()
        x = (
            (head.location + 40 * head.scale).to(dtype)
            if hasattr(head, "location")
            else case.support[0].to(dtype)
        )
        x = x.floor() if case.support is not None and not hasattr(head, "resolution") else x
        x = x.minimum((head.levels - 1).to(dtype)) if hasattr(head, "levels") else x
        if isinstance(head, Spline):  # beyond a bound there is nothing
            x = torch.fmax(torch.fmin(x, head.upper.to(dtype)), head.lower.to(dtype))
        value = head.distribution(params).log_prob(x)
        (gradient,) = torch.autograd.grad(value.sum(), params)
        assert bool(torch.isfinite(value).all())
        assert bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize("name", CLOSED)
def test_estimates_are_numerical_maxima(name):
    """No small change of the parameters raises the weighted log-likelihood, and its gradient vanishes."""
    case = CASES[name]()
    head = case.head
    x = head.distribution(case.params[0]).draw(uniforms(400, head.entries, head.uniforms, seed=10))
    present = uniforms(400, head.entries, seed=11) < 0.8
    weight = uniforms(400, 2, seed=12)
    params = head.estimate(x * present, present, weight).detach().requires_grad_()
    log_p = head.distribution(params).log_prob(x.unsqueeze(1))
    share = weight.unsqueeze(-1) * present.unsqueeze(1)
    known = torch.where(share > 0, log_p, 0.0)
    total = (share * known).sum() / 400
    assert bool(torch.isfinite(total))
    (gradient,) = torch.autograd.grad(total, params)
    assert float(gradient.nan_to_num(0.0).abs().max()) < 2e-5


@pytest.mark.parametrize("name", CLOSED)
def test_estimates_leave_unseen_entries_at_the_marginal(name):
    case = CASES[name]()
    head = case.head
    x = head.distribution(case.params[0]).draw(uniforms(20, head.entries, head.uniforms, seed=10))
    params = head.estimate(x * 0, torch.zeros_like(x, dtype=torch.bool), torch.ones(20, 1).double())
    torch.testing.assert_close(
        head.distribution(params[0]).log_prob(x), head.distribution(head.start()).log_prob(x)
    )


@pytest.mark.parametrize("name", CLOSED)
def test_estimates_over_leading_axes_are_estimates_of_each_place(name):
    case = CASES[name]()
    head = case.head
    x = head.distribution(case.params[0]).draw(
        uniforms(60, 2, head.entries, head.uniforms, seed=13)
    )
    present, weight = uniforms(60, 2, head.entries, seed=14) < 0.9, uniforms(60, 3, seed=15)
    both = head.estimate(x, present, weight, smoothing=0.5)
    apart = [head.estimate(x[:, i], present[:, i], weight, smoothing=0.5) for i in range(2)]
    torch.testing.assert_close(both, torch.stack(apart, 1))


@pytest.mark.parametrize("name", ("bernoulli", "categorical", "poisson"))
def test_linear_form_is_log_prob(name):
    case = CASES[name]()
    law, x = case.head.distribution(case.params), case.support[:5, :].expand(-1, case.head.entries)
    x = x.minimum(torch.as_tensor(getattr(case.head, "counts", torch.tensor(9))) - 1.0)
    product = law.linear.unsqueeze(1) * case.head.statistics(
        x, torch.ones_like(x, dtype=torch.bool)
    )
    value = torch.where(
        case.head.statistics(x, torch.ones_like(x, dtype=torch.bool)) != 0, product, 0.0
    ).sum(-1)
    torch.testing.assert_close(value, case.head.distribution(case.params.unsqueeze(1)).log_prob(x))


@pytest.mark.parametrize("name", POINTS)
def test_scaling_the_data_shifts_log_density(name):
    """After x -> a x + b the same parameters say log p - log |a|: neither location nor scale is favoured."""
    case, a, b = CASES[name](), 250.0, -3e3
    head, x = (
        case.head,
        case.head.distribution(case.params[0]).draw(uniforms(300, 3, case.head.uniforms, seed=16)),
    )
    present, weight = torch.ones_like(x, dtype=torch.bool), torch.ones(300, dtype=torch.float64)
    values = []
    for data in (x, a * x + b):
        head.fit(data, present, weight)
        params = (
            case.params[0]
            if name == "mixture"
            else head.estimate(data, present, weight.unsqueeze(-1))[0]
        )
        values.append(head.distribution(params).log_prob(data))
    torch.testing.assert_close(values[1], values[0] - math.log(a), atol=1e-6, rtol=1e-6)
