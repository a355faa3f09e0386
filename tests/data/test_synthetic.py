"""Every world: its draws, its log p, its score and its entropy speak of one law; its marginals are integrals."""

import pytest
import torch

from likeness.core.answers import Kind
from likeness.core.batch import Batch
from likeness.core.errors import BadConfig, Unsupported
from likeness.data.synthetic import SYNTHETIC, world
from likeness.data.synthetic.base import pick

PLANE = (
    "ring",
    "grid",
    "moons",
    "spirals",
    "checkerboard",
    "pinwheel",
    "banana",
    "gaussian",
    "linear_gaussian",
)
LABELLED = (
    "ring",
    "grid",
    "moons",
    "spirals",
    "checkerboard",
    "pinwheel",
    "banana",
    "mixture5",
    "bayes_net",
)
DRAWS = {"spirals": 20_000, "pinwheel": 20_000, "mixture43": 20_000}
STEP = {
    "ring": 0.05,
    "grid": 0.025,
    "moons": 0.05,
    "spirals": 0.06,
    "pinwheel": 0.06,
    "checkerboard": 0.02,
}
MARGIN = {"banana": (6.0, 30.0), "pinwheel": (2.0, 2.0), "checkerboard": (0.1, 0.1)}
MARGIN |= {"ring": (0.4, 0.4), "grid": (0.2, 0.2), "moons": (0.4, 0.4), "spirals": (0.4, 0.4)}
WAVES = torch.tensor(
    [[1.0, 0.0], [0.0, 1.0], [0.7, -1.3], [3.0, 2.0], [-2.0, 5.0]], dtype=torch.float64
)


def plane(name):
    """The points of a grid that covers nearly all of a world of the plane, its axes and its step."""
    sample = world(name).sample(4000, seed=1).x
    step = STEP.get(name, 0.1)
    margin = MARGIN.get(name, 4.0 * torch.ones(2))
    axes = [torch.arange(float(a - m), float(b + m), step, dtype=torch.float64) + step / 3
            for a, b, m in zip(sample.amin(0), sample.amax(0), margin, strict=True)]  # fmt: skip
    return torch.cartesian_prod(*axes), axes, step


def finite_difference(law, x, given=None, step=1e-5):
    sides = [
        law.log_prob(x + s * step * e, given=given).value
        for e in torch.eye(x.shape[1])
        for s in (1, -1)
    ]
    return torch.stack(
        [(a - b) / (2 * step) for a, b in zip(sides[::2], sides[1::2], strict=True)], -1
    )


@pytest.mark.parametrize("name", SYNTHETIC)
def test_entropy_is_the_mean_of_minus_log_p(name):
    law, n = world(name), DRAWS.get(name, 100_000)
    answer = law.log_prob(law.source(n, 3).batch)
    assert answer.kind is Kind.EXACT and answer.stderr is None
    mean = answer.mean()
    assert abs(-mean.value - law.entropy) < 4 * mean.stderr + 1e-9
    assert f"{law.entropy:.6f}" in str(law)


@pytest.mark.parametrize("name", ["pinwheel", "mixture5"])
def test_a_condition_of_four_patterns_tells_two_or_four_classes(name):
    with pytest.raises(BadConfig, match="2 or 4 classes"):
        world(name, given="image")


@pytest.mark.parametrize(
    ("name", "given"),
    [(n, "label") for n in LABELLED]
    + [(n, g) for n in ("ring", "banana") for g in ("vector", "image", "tokens")],
)
def test_conditional_entropy_is_the_mean_of_minus_log_p_given(name, given):
    law = world(name, given=given)
    mean = law.log_prob(law.source(4_000, 4).batch).mean()
    assert abs(-mean.value - law.entropy) < 4 * mean.stderr + 1e-9


@pytest.mark.parametrize("name", LABELLED)
def test_a_missing_label_is_summed_out(name):
    plain, labelled = world(name), world(name, given="label")
    x = plain.source(500, 5).batch.x
    each = labelled.class_posterior(x).logits
    torch.testing.assert_close(
        labelled.log_prob(x).value, plain.log_prob(x).value, rtol=0, atol=1e-9
    )
    under = [
        labelled.log_prob(x, given=torch.full((len(x), 1), float(y))).value
        for y in range(each.shape[1])
    ]
    bayes = (torch.stack(under, -1) + labelled.class_prior().log()).log_softmax(-1)
    torch.testing.assert_close(each.exp(), bayes.exp(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", [n for n in SYNTHETIC if world(n).space.real])
def test_score_is_the_gradient_of_log_p(name):
    law = world(name)
    batch = law.source(40, 6).batch
    numeric = finite_difference(law, batch.x, batch.given)
    torch.testing.assert_close(law.score(batch), numeric, rtol=1e-4, atol=1e-4)


def test_a_world_of_codes_has_no_score():
    with pytest.raises(Unsupported, match="no score"):
        world("chain").score(torch.zeros(1, 8))


@pytest.mark.parametrize("name", PLANE)
def test_mass_entropy_and_waves_of_the_plane(name):
    """Over a grid: the mass is 1, -p log p is the entropy, and E cos(w x) is what draws say, within 4.5 s.e."""
    law = world(name)
    points, _, step = plane(name)
    log_p = law.log_prob(points, settings={"rows": 20_000}).value
    p = log_p.exp() * step**2
    slack = 2e-3 if name == "checkerboard" else 1e-6
    assert float(p.sum()) == pytest.approx(1, abs=slack)
    assert -float(torch.special.xlogy(p, log_p.exp()).sum()) == pytest.approx(
        law.entropy, abs=max(slack * 5, 2e-6)
    )
    x = law.sample(40_000, seed=7).x
    drawn, exact = (x @ WAVES.T).cos(), (p[:, None] * (points @ WAVES.T).cos()).sum(0)
    assert bool(((drawn.mean(0) - exact).abs() < 4.5 * drawn.std(0) / len(x) ** 0.5 + slack).all())


@pytest.mark.parametrize("name", [n for n in PLANE if n != "pinwheel"])
def test_marginal_and_completion_of_the_plane(name):
    """With one coordinate hidden: log p is the integral over it, draws of it have the conditional's mean and spread."""
    law = world(name)
    _, axes, step = plane(name)
    seen = law.sample(3, seed=8).x
    for hidden in (0, 1):
        line = torch.stack(
            [axes[hidden].repeat(3), seen[:, 1 - hidden].repeat_interleave(len(axes[hidden]))], -1
        )
        line = line if hidden == 0 else line.flip(-1)
        p = law.log_prob(line).value.exp().reshape(3, -1)
        rows = seen.clone()
        rows[:, hidden] = torch.nan
        slack = 5e-3 if name == "checkerboard" else 1e-6
        torch.testing.assert_close(
            law.log_prob(rows).value, (p.sum(-1) * step).log(), rtol=0, atol=slack
        )
        drawn = law.complete(rows, n=4000, seed=9).x[..., hidden]
        p = p / p.sum(-1, keepdim=True)
        mean = (p * axes[hidden]).sum(-1)
        var = (p * (axes[hidden] - mean[:, None]).square()).sum(-1)
        assert bool(((drawn.mean(0) - mean).abs() < 4.5 * (var / 4000).sqrt() + step / 4).all())
        torch.testing.assert_close(drawn.var(0), var, rtol=0.12, atol=1e-3)


def test_a_blind_world_says_why():
    law = world("pinwheel")
    assert not law.support("complete")
    with pytest.raises(Unsupported, match="no closed form"):
        law.complete(torch.tensor([[torch.nan, 0.0]]))


@pytest.mark.parametrize("name", ["moons", "chain", "mixture5", "regression", "funnel"])
def test_items_depend_on_seed_and_index_alone(name):
    law = world(name)
    whole, part = law.source(150, 10).batch, law.source(70, 10, first=60).batch
    torch.testing.assert_close(part.x, whole.x[60:130], rtol=0, atol=1e-12)
    assert torch.equal(part.ids, whole.ids[60:130])
    assert not torch.equal(law.source(150, 11).batch.x, whole.x)


def test_pick_never_takes_what_has_no_probability():
    log_p = torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0]], dtype=torch.float64).log().expand(1001, -1)
    u = torch.linspace(0, 1, 1002, dtype=torch.float64)[:-1]
    taken = pick(log_p, u)
    assert set(taken.tolist()) == {1, 3}
    assert float((taken == 1).double().mean()) == pytest.approx(0.5, abs=1e-3)


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(BadConfig, match="did you mean 'moons'"):
        world("moon")
    with pytest.raises(BadConfig, match="did you mean 'sigma'"):
        world("ring", sigme=1.0)


@pytest.mark.parametrize("name", ["ring", "moons", "gaussian", "mixture5", "funnel", "banana"])
def test_far_away_all_is_finite(name):
    law = world(name)
    x = 40.0 * torch.ones(1, law.space.dims, dtype=torch.float64)
    assert bool(torch.isfinite(law.log_prob(x).value).all()) and bool(
        torch.isfinite(law.score(x)).all()
    )


@pytest.mark.parametrize("name", ["ring", "mixture5"])
def test_strict_answers_do_not_depend_on_the_rows_beside(name):
    law = world(name)
    batch = law.source(37, 12).batch.hide(
        torch.rand(37, law.space.dims, generator=torch.Generator().manual_seed(1)) < 0.3
    )
    order = torch.randperm(37, generator=torch.Generator().manual_seed(2))
    strict = {"strict": True}
    whole = law.log_prob(batch, settings=strict).value
    assert torch.equal(law.log_prob(batch[order], settings=strict).value, whole[order])
    drawn = law.complete(batch, n=3, seed=1, settings=strict).x
    assert torch.equal(law.complete(batch[order], n=3, seed=1, settings=strict).x, drawn[:, order])
    assert torch.equal(drawn[0][batch.present], batch.x[batch.present])


def test_a_batch_with_holes_scores_what_it_shows():
    law = world("mixture5")
    batch = law.source(20, 13).batch
    hidden = torch.zeros(20, 5, dtype=torch.bool)
    hidden[:, [0, 3]] = True
    ratio = law.log_prob(batch, evidence=~hidden).value
    both = law.log_prob(batch).value - law.log_prob(Batch(batch.x).hide(hidden)).value
    torch.testing.assert_close(ratio, both)
