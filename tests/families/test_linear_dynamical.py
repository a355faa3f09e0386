"""Linear dynamical systems against the joint Gaussian of all steps, built densely, and worlds whose truth is known."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import likeness as lk
from likeness.core.answers import Kind
from likeness.core.batch import Batch, as_batch
from likeness.core.noise import Noise
from likeness.core.space import Real, label, sequence, series, vector
from likeness.data.source import Table
from likeness.inference.sequence.steps import StepNoise
from likeness.inference.state_space import covariances
from likeness.inference.state_space.kalman import Track
from likeness.inference.state_space.observations import System
from likeness.learn.run import Run
from likeness.numerics import scan
from likeness.registry import build, family, load_all

load_all()
TURN = 2 * math.pi / 12


def run_of(space, items, passes: int = 200, **options) -> Run:
    return Run(
        build("linear_dynamical", options, space).double(),
        Table(space, as_batch(space, items)),
        passes,
    )


def swings(
    n: int, steps: int | tuple[int, int], seed: int = 0, holes: float = 0.0
) -> list[np.ndarray]:
    """A damped oscillator of period 12 seen twice in noise, about (5, -3)."""
    g, items = np.random.default_rng(seed), []
    step = 0.97 * np.array([[math.cos(TURN), -math.sin(TURN)], [math.sin(TURN), math.cos(TURN)]])
    for _ in range(n):
        z, rows = g.normal(size=2), []
        for _ in range(steps if isinstance(steps, int) else g.integers(*steps)):
            rows.append(
                np.array([[1.0, 0.0], [0.5, 1.0]]) @ z + 0.5 * g.normal(size=2) + (5.0, -3.0)
            )
            z = step @ z + 0.25 * g.normal(size=2)
        item = np.array(rows)
        item[g.random(item.shape) < holes] = np.nan
        items.append(item)
    return items


def dense(s: System, steps: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean and covariance of (z_1..z_L, x_1..x_L) by powers of the step, and of x alone."""
    q = len(s.step)
    mean, cov = [s.first_mean], [s.first_cov]
    for _ in range(steps - 1):
        mean.append(s.step @ mean[-1] + s.drift)
        cov.append(s.step @ cov[-1] @ s.step.T + s.step_cov)
    zz = torch.zeros(steps, q, steps, q, dtype=torch.float64)
    for t, u in itertools.product(range(steps), range(steps)):
        power = torch.linalg.matrix_power(s.step, abs(t - u))
        zz[t, :, u] = power @ cov[u] if t >= u else cov[t] @ power.T
    zz = zz.reshape(steps * q, steps * q)
    eye = torch.eye(steps, dtype=torch.float64)
    noise = torch.diag(s.noise) if s.diagonal else s.noise
    load = torch.kron(eye, s.load)
    xz = load @ zz
    xx = xz @ load.T + torch.kron(eye, noise)
    z = torch.cat(mean)
    both = torch.cat([torch.cat([zz, xz.T], 1), torch.cat([xz, xx], 1)])
    return (
        torch.cat([z, load @ z + s.offset.repeat(steps)]),
        both,
        load @ z + s.offset.repeat(steps),
        xx,
    )


def conditioned(mean: Tensor, cov: Tensor, known: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of all given what is known of them."""
    gain = torch.linalg.solve(cov[known][:, known], cov[known]).T
    return mean + gain @ (value - mean[known]), cov - gain @ cov[known]


def random_system(q: int, c: int, noise: str, seed: int = 0) -> System:
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    def cov(n: int) -> Tensor:
        root = normal(n, n)
        return root @ root.T + 0.1 * torch.eye(n, dtype=torch.float64)

    step = normal(q, q)
    step = 0.95 * step / torch.linalg.eigvals(step).abs().max()
    own = cov(c) if noise == "full" else normal(c).square() + 0.1
    return System(normal(q), cov(q), step, normal(q), cov(q), normal(c, q), normal(c), own)


HOLED = {
    "nothing": lambda known, g: known,
    "entries": lambda known, g: known & (torch.rand(known.shape, generator=g) < 0.6),
    "gaps": lambda known, g: known & (torch.rand(*known.shape[:2], 1, generator=g) < 0.5),
    "all": lambda known, g: known & False,
}


@pytest.mark.parametrize("rows", [3, 12])
@pytest.mark.parametrize("hidden", list(HOLED))
@pytest.mark.parametrize(
    ("q", "c", "noise"), [(2, 3, "diagonal"), (3, 2, "full"), (4, 1, "diagonal")]
)
def test_every_answer_is_that_of_the_dense_gaussian(
    q: int, c: int, noise: str, hidden: str, rows: int
) -> None:
    steps, s, g = 9, random_system(q, c, noise), torch.Generator().manual_seed(1)
    length = torch.randint(1, steps + 1, (rows,), generator=g)
    length[0] = steps
    there = (torch.arange(steps) < length[:, None])[..., None].expand(-1, -1, c)
    known = HOLED[hidden](there, g)
    v = 3 * torch.randn(rows, steps, c, generator=g, dtype=torch.float64) * known
    track = Track(s, v, known, length)
    mean, cov, x_mean, x_cov = dense(s, steps)
    z = torch.randn(rows, steps, q, generator=g, dtype=torch.float64)
    posterior = track.score(z) - track.log_z
    for i in range(rows):
        o = known[i].flatten()
        law = (
            torch.distributions.MultivariateNormal(x_mean[o], x_cov[o][:, o])
            if bool(o.any())
            else None
        )
        value = 0.0 if law is None else float(law.log_prob(v[i].flatten()[o]))
        assert float(track.log_z[i]) == pytest.approx(value, abs=1e-8)
        of = torch.cat([torch.zeros(steps * q, dtype=torch.bool), o])
        loc, left = conditioned(mean, cov, of, v[i].flatten()[o])
        assert torch.allclose(track.mean[i].flatten(), loc[: steps * q], rtol=0, atol=1e-8)
        filled = track.filled(track.mean)[i].flatten()
        assert torch.allclose(
            filled, torch.where(o, v[i].flatten(), loc[steps * q :]), rtol=0, atol=1e-8
        )
        for t in range(steps):
            block = left[t * q : (t + 1) * q, t * q : (t + 1) * q]
            group = track.group[i]
            assert torch.allclose(
                track.smoothed.cov[track.smoothed.place[t], group], block, rtol=0, atol=1e-8
            )
            if t + 1 < steps:
                cross = left[(t + 1) * q : (t + 2) * q, t * q : (t + 1) * q]
                assert torch.allclose(
                    track.smoothed.cross[track.smoothed.place[t], group], cross, rtol=0, atol=1e-8
                )
        inside = int(length[i]) * q
        alone = torch.distributions.MultivariateNormal(loc[:inside], even(left[:inside, :inside]))
        assert float(posterior[i]) == pytest.approx(
            float(alone.log_prob(z[i].flatten()[:inside])), abs=1e-7
        )


def even(cov: Tensor) -> Tensor:
    return (cov + cov.T) / 2


def test_draws_of_paths_and_of_what_is_hidden_have_the_conditionals_mean_and_covariance() -> None:
    steps, c, n = 5, 2, 40_000
    for noise in ("diagonal", "full"):
        s, g = random_system(2, c, noise), torch.Generator().manual_seed(2)
        known = torch.rand(1, steps, c, generator=g) < 0.4
        v = torch.randn(1, steps, c, generator=g, dtype=torch.float64) * known
        track = Track(s, v, known)
        z = track.draw(torch.randn(n, 1, steps, 2, generator=g, dtype=torch.float64))
        x = track.filled(z, torch.randn(n, 1, steps, c, generator=g, dtype=torch.float64))
        drawn = torch.cat([z.reshape(n, -1), x.reshape(n, -1)], 1)
        mean, cov, *_ = dense(s, steps)
        of = torch.cat([torch.zeros(steps * 2, dtype=torch.bool), known.flatten()])
        loc, left = conditioned(mean, cov, of, v[known])
        std = left.diagonal().clamp_min(0).sqrt()
        assert bool(((drawn.mean(0) - loc).abs() <= 5 * std / math.sqrt(n) + 1e-8).all())
        scale = std[:, None] * std
        assert float((torch.cov(drawn.T) - left).abs().div(scale + 1e-6).max()) < 5 * math.sqrt(
            2 / n
        )


def test_the_last_steps_of_a_draw_are_those_of_the_whole_draw() -> None:
    for noise, rows in (("diagonal", 2), ("full", 20)):
        s, g = random_system(2, 2, noise), torch.Generator().manual_seed(5)
        known = torch.ones(rows, 12, 2, dtype=torch.bool)
        known[:, 8, 0] = known[1, 9] = False
        length = torch.full((rows,), 12)
        length[0] = 10
        known[0, 10:] = False
        v = torch.randn(rows, 12, 2, generator=g, dtype=torch.float64) * known
        track = Track(s, v, known, length)
        z, x = (torch.randn(3, rows, 12, 2, generator=g, dtype=torch.float64) for _ in range(2))
        assert track.since == 8
        assert torch.allclose(track.draw(z[:, :, 8:]), track.draw(z)[:, :, 8:], rtol=0, atol=1e-12)
        part, whole = (
            track.filled(track.draw(z[:, :, 8:]), x[:, :, 8:]),
            track.filled(track.draw(z), x),
        )
        assert torch.allclose(part, whole, rtol=0, atol=1e-10)
        alone = Track(s, v[:, :10], known[:, :10], length.clamp(max=10)).draw(z[:, :, :10])[:, 0]
        assert torch.allclose(
            alone, track.draw(z)[:, 0, :10], rtol=0, atol=1e-10
        )  # what is past an end counts nothing


def test_numbers_of_a_step_do_not_depend_on_where_drawing_begins() -> None:
    noise = Noise(3, torch.tensor([5, 70]))
    whole = StepNoise.of(noise, 50).normal("x", 2).reshape(2, 50, 2)
    for since in (0, 7, 16, 33, 49):
        part = StepNoise.of(noise, 50, since).normal("x", 2).reshape(2, 50 - since, 2)
        assert torch.equal(part, whole[:, since:])


def test_covariances_at_rest_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    s, g = random_system(3, 2, "diagonal"), torch.Generator().manual_seed(3)
    for rows, share in ((1, 1.0), (2, 0.98), (20, 1.0), (20, 0.99)):
        v = torch.randn(rows, 300, 2, generator=g, dtype=torch.float64)
        known = (torch.rand(rows, 300, 1, generator=g) < share).expand(-1, -1, 2)
        quick = Track(s, v, known)
        rested = (quick.log_z, quick.mean, quick.smoothed.cov[quick.smoothed.place])
        assert len(quick.filtered.cov) < 300 or share < 1
        with monkeypatch.context() as patch:
            patch.setattr(covariances, "REST", -1.0)
            slow = Track(s, v, known)
            assert len(slow.filtered.cov) == 300
            walked = (slow.log_z, slow.mean, slow.smoothed.cov[slow.smoothed.place])
        assert all(
            torch.allclose(a, b, rtol=0, atol=1e-9) for a, b in zip(rested, walked, strict=True)
        )


@pytest.mark.parametrize("rows", [1, 12])
def test_many_steps_taken_at_once_are_those_of_the_dense_gaussian(rows: int) -> None:
    steps, s, g = 2 * scan.LONG, random_system(2, 2, "full"), torch.Generator().manual_seed(6)
    v = 3 * torch.randn(rows, steps, 2, generator=g, dtype=torch.float64)
    track = Track(s, v, torch.ones_like(v, dtype=torch.bool))
    mean, cov, x_mean, x_cov = dense(s, steps)
    known = torch.arange(len(mean)) >= 2 * steps
    law = torch.distributions.MultivariateNormal(x_mean, x_cov)
    assert torch.allclose(track.log_z, law.log_prob(v.flatten(1)), rtol=1e-10, atol=1e-8)
    for i in range(rows):
        loc, _ = conditioned(mean, cov, known, v[i].flatten())
        assert torch.allclose(track.mean[i].flatten(), loc[: 2 * steps], rtol=0, atol=1e-7)


@pytest.mark.parametrize("ends", [False, True])
def test_many_steps_of_a_draw_at_once_are_those_one_by_one(
    monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    rows, steps, s, g = (
        12,
        3 * scan.LONG,
        random_system(2, 2, "diagonal"),
        torch.Generator().manual_seed(7),
    )
    s = replace(
        s, step=0.5 * s.step
    )  # covariances of a state that nothing is known of come to rest too
    v = torch.randn(rows, steps, 2, generator=g, dtype=torch.float64)
    known, length = torch.full_like(v, not ends, dtype=torch.bool), torch.full((rows,), steps)
    length[3] -= 10 * ends
    eps = torch.randn(2, rows, steps, 2, generator=g, dtype=torch.float64)
    quick = Track(s, v * known, known, length).draw(eps)
    monkeypatch.setattr(scan, "LONG", steps + 1)
    assert torch.allclose(quick, Track(s, v * known, known, length).draw(eps), rtol=0, atol=1e-9)


def test_the_gradient_is_that_of_the_dense_gaussian() -> None:
    s, g = random_system(2, 2, "full"), torch.Generator().manual_seed(4)
    known = torch.rand(3, 6, 2, generator=g) < 0.7
    v = (torch.randn(3, 6, 2, generator=g, dtype=torch.float64) * known).requires_grad_()
    (mine,) = torch.autograd.grad(Track(s, v, known).log_z.sum(), v)
    *_, mean, cov = dense(s, 6)
    for i in range(3):
        o = known[i].flatten()
        want = -torch.linalg.solve(cov[o][:, o], v[i].flatten()[o] - mean[o])
        assert torch.allclose(mine[i].flatten()[o], want, rtol=0, atol=1e-8)
        assert not bool(mine[i].flatten()[~o].any())


@pytest.mark.parametrize("noise", ["diagonal", "full"])
@pytest.mark.parametrize("holes", [0.0, 0.4])
def test_em_never_lowers_its_objective(noise: str, holes: float) -> None:
    items = swings(40, (5, 25), holes=holes)
    run = run_of(
        series(2, 25), items, latents=3, noise=noise, smoothing=0.0, tolerance=0.0, passes=80
    )
    run.fit()
    gains = [a.loss - b.loss for a, b in itertools.pairwise(run.events)]
    assert min(gains) > -1e-9 * abs(run.events[-1].loss)
    assert len(gains) > 50


@pytest.mark.slow
def test_em_rises_along_the_edge_of_the_stable_systems() -> None:
    g = np.random.default_rng(0)
    items = [
        np.exp(0.06 * np.arange(20))[:, None] * (1 + 0.2 * g.normal())
        + 0.1 * g.normal(size=(20, 1))
        for _ in range(30)
    ]
    space, radius, loss = series(1, 20), {}, {}
    for stable in (True, False):
        run = run_of(space, items, latents=2, stable=stable, smoothing=0.0)
        model = run.fit()
        assert min(a.loss - b.loss for a, b in itertools.pairwise(run.events)) > -1e-9
        radius[stable] = float(torch.linalg.eigvals(model.step).abs().max())
        loss[stable] = run.events[-1].loss
    assert radius[True] <= 1 + 1e-8
    assert radius[False] > 1.01
    assert loss[False] < loss[True]


@pytest.mark.parametrize("holes", [0.0, 0.5])
def test_a_planted_oscillator_is_found(holes: float) -> None:
    space = series(2, 60)
    model = run_of(space, swings(300, 60, holes=holes), latents=2).fit()
    value = torch.linalg.eigvals(model.step)[0]
    assert abs(float(value.abs()) - 0.97) < 0.01
    assert abs(float(value.angle().abs()) - TURN) < 0.01
    seen = model.preprocessor.scale.square() * model.noise
    assert torch.allclose(seen, torch.full((2,), 0.25, dtype=torch.float64), rtol=0, atol=0.02)
    test = swings(50, 60, seed=1)
    turn = torch.tensor([[math.cos(TURN), -math.sin(TURN)], [math.sin(TURN), math.cos(TURN)]])
    truth = System(
        torch.zeros(2), torch.eye(2), 0.97 * turn,
        torch.zeros(2), 0.0625 * torch.eye(2), torch.tensor([[1.0, 0.0], [0.5, 1.0]]), torch.tensor([5.0, -3.0]),
        torch.full((2,), 0.25),
    )  # fmt: skip
    truth = System(*(getattr(truth, f).double() for f in truth.__dataclass_fields__))
    x = torch.tensor(np.stack(test))
    gap = Track(truth, x, torch.ones_like(x, dtype=torch.bool)).log_z - model.log_prob(test).value
    assert -0.1 < float(gap.mean()) < 0.5  # of 120 numbers


def test_states_are_of_unit_covariance_and_the_law_of_x_is_that_of_em() -> None:
    items = swings(60, (10, 30))
    run = run_of(
        series(2, 30), items, latents=3, noise="full", smoothing=0.0, tolerance=0.0, passes=60
    )
    model = run.fit()
    code = model.encode(as_batch(model.space, items))
    inside = torch.arange(30) < code.length[:, None]
    mean, cov = code.mean[inside], code.cov[inside]
    second = torch.cov(mean.T, correction=0) + cov.mean(0)
    assert torch.allclose(mean.mean(0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=0.02)
    assert torch.allclose(second, torch.eye(3, dtype=torch.float64), rtol=0, atol=0.05)
    told = model.load.T @ torch.linalg.solve(model.noise, model.load)
    assert torch.allclose(told, torch.diag(told.diagonal()), rtol=0, atol=1e-8 * float(told.max()))
    again = (
        model.log_prob(items).value + code.length * model.preprocessor.scale.log().sum()
    )  # in model units
    assert -1e-9 < float(again.mean()) + run.events[-1].loss < 0.01  # one pass further


@pytest.mark.slow
def test_forecasts_cover_what_comes_and_gaps_are_spanned() -> None:
    model = run_of(series(2, 60), swings(300, 60), latents=2).fit()
    test = np.stack(swings(400, 60, seed=1))
    low, high = model.forecast(list(test[:, :40]), 20, n=400, seed=0).quantiles(0.05, 0.95).numpy()
    inside = (test[:, 40:] >= low) & (test[:, 40:] <= high)
    assert 0.88 < inside.mean() < 0.92
    gaps = test.copy()
    g = np.random.default_rng(2)
    gone = g.random(gaps.shape[:2]) < 0.6
    gaps[gone] = np.nan
    low, high = model.complete(list(gaps), n=400, seed=0).quantiles(0.05, 0.95).numpy()
    inside = ((test >= low) & (test <= high))[gone]
    assert 0.88 < inside.mean() < 0.92
    best, flat = model.mode(list(gaps)).x.numpy()[gone], np.nanmean(gaps, (0, 1))
    assert np.square(best - test[gone]).mean() < 0.6 * np.square(flat - test[gone]).mean()


@pytest.mark.slow
def test_it_learns_from_irregular_times() -> None:
    """Nine in ten steps were never measured: the period is found all the same."""
    items = swings(300, 120)
    g = np.random.default_rng(3)
    for item in items:
        item[g.random(len(item)) < 0.8] = np.nan
    model = run_of(series(2, 120), items, latents=2).fit()
    value = torch.linalg.eigvals(model.step)[0]
    assert abs(float(value.angle().abs()) - TURN) < 0.03


def test_any_length_is_answered_and_goes_on() -> None:
    items = swings(40, 9)
    model = lk.fit("linear_dynamical", np.stack(items), latents=2, holdout=0.0, progress=False)
    assert not model.space.ragged
    long = swings(2, 500, seed=5)
    ahead = model.forecast([long[0][:7], long[1]], 40, n=50, seed=0)
    assert ahead.x.shape == (50, 2, 40, 2)
    alone = model.forecast([long[0][:7]], 40, n=50, seed=0).x[:, 0]
    assert torch.allclose(alone, ahead.x[:, 0], atol=1e-9)  # what comes next knows of no other item
    assert math.isfinite(float(model.log_prob(long[:1]).value))
    assert model.encode([items[0][:4]]).mean.shape == (1, 9, 2)
    assert not bool(model.encode([items[0][:4]]).mean[:, 4:].any())
    assert model.sample(2, seed=0).x.shape == (2, 9, 2)
    assert model.mode(items).kind is Kind.EXACT


def test_bounded_reals_have_an_exact_density_and_their_mode_is_an_estimate() -> None:
    items = [np.exp(item[:, :1] - 5) for item in swings(60, 12)]
    model = run_of(series(1, 12, Real(lower=0)), items, latents=2).fit()
    assert model.log_prob(items).kind is Kind.EXACT
    assert model.mode(items).kind is Kind.ESTIMATE
    assert bool((model.sample(50, seed=0).x > 0).all())


def test_items_of_no_steps_columns_never_seen_and_weights_are_legal() -> None:
    space = series(2, 4)
    x = torch.randn(6, 4, 2, generator=torch.Generator().manual_seed(0)).double()
    observed = torch.ones_like(x, dtype=torch.bool)
    observed[..., 1] = False
    batch = Batch(x, observed, torch.tensor([4, 0, 2, 4, 3, 1]), torch.tensor([1.0, 1, 1, 1, 0, 0]))
    for noise in ("diagonal", "full"):
        options = {"latents": 5, "noise": noise}
        model = Run(
            build("linear_dynamical", options, space).double(), Table(space, batch), 5
        ).fit()
        assert float(model.log_prob(batch).value[1]) == 0.0
        assert bool(model.log_prob(batch).value.isfinite().all())
        now = {
            name: getattr(model, name)
            for name in ("first_mean", "first_cov", "step", "drift", "step_cov")
        }
        now |= {name: getattr(model, name) for name in ("load", "offset", "noise")}
        whole, part = (
            model._e_step(model.inputs(b, Noise(0, b.ids))[0], now) for b in (batch, batch[:4])
        )
        assert all(torch.allclose(whole[name], part[name], atol=1e-9) for name in part)


def test_what_it_cannot_take_is_said() -> None:
    for space, given, words in (
        (vector(3), None, "take `pca`"),
        (sequence(3, 5), None, "take `hmm`"),
        (series(2, 5), label(2), "density=linear_dynamical"),
        (series(2, 5, Real(lower=0, resolution=0.5)), None, ""),
    ):
        answer = family("linear_dynamical").accepts(
            family("linear_dynamical").Config.parse({}), space, given
        )
        assert words in answer.why
        assert bool(answer) == (not words)


def test_parameters_are_counted_without_the_coordinates_of_the_states() -> None:
    model = build("linear_dynamical", {"latents": 1}, series(1, 5))
    assert (
        model.count() == 6
    )  # a decay in noise: means of start and all, decay, variances of start, move and noise
