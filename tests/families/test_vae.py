"""The variational autoencoder against the linear-Gaussian model, whose posterior, evidence and bounds are known."""

import math

import pytest
import torch
from sklearn.decomposition import PCA

import likeness.families.gaussian
import likeness.families.mixture
import likeness.routes  # noqa: F401 - registers them
from likeness import registry
from likeness.check.spaces import cell
from likeness.core.answers import Kind
from likeness.core.batch import Batch
from likeness.core.errors import BadConfig
from likeness.core.noise import Noise
from likeness.core.space import vector
from likeness.data.source import Table
from likeness.data.synthetic import world
from likeness.data.synthetic.gaussian import LinearGaussian
from likeness.families.vae import VAE
from likeness.inference.amortised import Code
from likeness.learn.run import Run
from likeness.registry import reading, store

LINEAR = {"hidden": (), "real": "shared", "kl_warmup": 0.0, "hide": 0.0}


def knowing(truth, *, scale: float = 1.0) -> VAE:
    """A linear VAE that is `truth`, its encoder the mean-field posterior with its variance scaled."""
    latent = truth.weight.shape[1]
    model = registry.build("vae", {**LINEAR, "latent": latent}, truth.space).double()
    precision = torch.eye(latent) + truth.weight.T @ truth.weight / truth.sigma**2
    gain = torch.linalg.solve(precision, truth.weight.T) / truth.sigma**2
    log_std = 0.5 * (math.log(scale) - precision.diagonal().log())
    encoder, decoder = model.codec.encoder.last.linear, model.codec.decoder.last.linear
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
        encoder.weight[:latent, 0::2] = gain
        encoder.weight[:latent, 1::2] = (
            -gain * truth.bias
        )  # by the bits of presence: what is hidden pulls nowhere
        encoder.bias[latent:] = log_std
        decoder.weight[0::2] = truth.weight
        model.bias[0::2], model.bias[1::2] = truth.bias, math.log(truth.sigma)
    return model.eval()


def one_number() -> LinearGaussian:
    """z ~ N(0, 1), x | z ~ N(z, 0.25)."""
    return LinearGaussian(torch.ones(1, 1, dtype=torch.float64), 0.5)


def trained(space, source, steps, seed=0, **options) -> VAE:
    model = registry.build("vae", options, space, source.given_space, seed=seed).float()
    Run(model, source, steps, seed).fit()
    return model


# ---- the bound on a model whose evidence is known ------------------------------------------------------------------


def test_the_bound_is_log_p_where_the_encoder_is_the_posterior() -> None:
    truth = world("linear_gaussian")
    x = truth.source(200, 0).batch
    for effort in (1, 7):
        found = knowing(truth).log_prob(x, effort=effort, seed=1)
        torch.testing.assert_close(found.value, truth.log_prob(x).value, rtol=0, atol=1e-10)
        assert found.kind is Kind.LOWER_BOUND
    assert float(found.stderr.max()) < 1e-10


def test_numbers_of_the_lecture() -> None:
    """x = 1.3: log p = -1.70651, the bound at q = N(1, 0.3) is -1.75778, and 500 draws nearly close the gap."""
    truth, x = one_number(), torch.tensor([[1.3]], dtype=torch.float64)
    model = knowing(truth)
    model.codec.encoder.last.linear.weight.data.zero_()
    model.codec.encoder.last.linear.bias.data = torch.tensor(
        [1.0, 0.5 * math.log(0.3)], dtype=torch.float64
    )
    assert float(truth.log_prob(x).value) == pytest.approx(-1.70651, abs=1e-5)
    plain = model.elbo(x, model.encode(x), effort=200_000, seed=0)
    assert abs(float(plain.value) + 1.75778) < 5 * float(plain.stderr)
    many = model.log_prob(x.expand(64, 1), effort=500, seed=0)
    assert float(many.value.mean()) == pytest.approx(
        -1.70642, abs=5 * float(many.value.std()) / 8 + 1e-4
    )
    assert float(plain.terms["kl"]) == pytest.approx(
        -0.5 * (1 + 0.3 - 1 - math.log(0.3)), abs=1e-10
    )


def test_a_widened_posterior_loses_its_divergence_and_draws_win_it_back() -> None:
    truth = world("linear_gaussian")
    x, model = truth.source(4000, 0).batch, knowing(truth, scale=1.5)
    exact = truth.log_prob(x).value
    q = model.encode(x)
    plain = model.elbo(x, q, effort=64, seed=0)
    gap = exact - plain.value
    assert abs(float(gap.mean()) - truth.gap(1.5)) < 5 * float(gap.std()) / 4000**0.5
    before = -math.inf
    for effort in (1, 4, 16, 64):
        found = model.log_prob(x, effort=effort, seed=0).value - exact
        mean, error = float(found.mean()), float(found.std()) / 4000**0.5
        assert before < mean < 5 * error
        before = mean


def test_terms_add_up() -> None:
    truth = world("linear_gaussian")
    x, model = truth.source(50, 0).batch, knowing(truth, scale=1.5)
    noise = Noise(0, x.ids, dtype=torch.float64)
    terms = model(x, noise, "bound")
    assert list(terms) == ["reconstruction", "kl"]
    code = model._posterior(x)
    z = code.at(model._eps(noise, 1))[0]
    log_p = (
        torch.distributions.Normal(z @ truth.weight.T + truth.bias, truth.sigma)
        .log_prob(x.x)
        .sum(-1)
    )
    kl = torch.distributions.kl_divergence(
        torch.distributions.Normal(code.loc, code.log_std.exp()),
        torch.distributions.Normal(0.0, 1.0),
    ).sum(-1)
    torch.testing.assert_close(sum(terms.values()), kl - log_p, rtol=0, atol=1e-6)
    torch.testing.assert_close(terms["kl"], kl, rtol=0, atol=1e-10)
    found = model.log_prob(x, effort=5, seed=0)
    torch.testing.assert_close(sum(found.terms.values()), found.value, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "options", [{"beta": 4.0}, {"free_bits": 0.3}, {"draws": 6}, {"kl_warmup": 0.5, "beta": 2.0}]
)
def test_other_objectives_are_what_they_say(options) -> None:
    truth = world("linear_gaussian")
    x, model = truth.source(50, 0).batch, knowing(truth, scale=1.5)
    model.config = model.config.model_copy(update=options)
    model.progress = 0.25
    noise = Noise(0, x.ids, dtype=torch.float64)
    loss, code, k = (
        sum(model(x, noise, "bound").values()),
        model._posterior(x),
        options.get("draws", 1),
    )
    eps = model._eps(noise, k)
    log_p = model._likelihood(x, code, code.at(eps))
    if k > 1:
        normal = torch.distributions.Normal
        log_q = normal(code.loc, code.log_std.exp()).log_prob(code.at(eps)).sum(-1)
        log_w = log_p + normal(0.0, 1.0).log_prob(code.at(eps)).sum(-1) - log_q
        expected = math.log(k) - log_w.logsumexp(0)
    else:
        weight = options.get("beta", 1.0) * (0.5 if "kl_warmup" in options else 1.0)
        expected = -log_p[0] + weight * code.kl.clamp_min(options.get("free_bits", 0.0)).sum(-1)
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("loc", "variance", "kl"), [(1.0, 1.0, 0.5), (0.5, 0.64, 0.168144), (0.0, 1.0, 0.0)]
)
def test_divergence_from_the_prior(loc, variance, kl) -> None:
    code = Code(
        torch.tensor([[loc]]).double(),
        torch.tensor([[0.5 * math.log(variance)]]).double(),
        None,
        None,
    )
    assert float(code.kl) == pytest.approx(kl, abs=1e-6)


def test_gradients_pass_through_the_draw_and_not_through_a_detached_one() -> None:
    """E z^2 for z = m + s e has the gradients 2 m and 2 s."""
    eps = torch.randn(
        200_000, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    loc, std = (torch.tensor([[v]], dtype=torch.float64, requires_grad=True) for v in (0.7, 0.4))
    z = Code(loc, std.log(), None, None).at(eps)
    slopes = torch.autograd.grad(z.square().mean(), (loc, std), retain_graph=True)
    assert float(slopes[0]) == pytest.approx(1.4, abs=5 * 2 * 0.4 / 200_000**0.5)
    assert float(slopes[1]) == pytest.approx(0.8, abs=5 * 2 * (0.7 + 0.4 * 1.5) / 200_000**0.5)
    assert not z.detach().requires_grad


# ---- codes, row by row ---------------------------------------------------------------------------------------------


def test_refinement_closes_the_amortisation_gap_and_only_where_there_is_one() -> None:
    truth = world("linear_gaussian")
    x = truth.source(64, 0).batch
    for scale, gap in ((1.0, 0.0), (1.5, truth.gap(1.5))):
        model = knowing(truth, scale=scale)
        amortised, refined = model.encode(x, seed=0), model.encode(x, effort=150, seed=0)
        tril = torch.diag_embed
        found = [truth.elbo(x.x, replaced(truth, q, tril(q.std))) for q in (amortised, refined)]
        won = (found[1] - found[0]).mean()
        assert float(won) == pytest.approx(gap, abs=2e-3)
        assert torch.equal(refined.loc, model.encode(x, effort=150, seed=0).loc)
        alone = model.encode(x[10:12], effort=150, seed=0)
        torch.testing.assert_close(alone.std, refined.std[10:12], rtol=1e-9, atol=0)
    assert torch.equal(model.encode(x, effort=0, seed=0).std, amortised.std)


def replaced(truth, q, tril):
    """The code's law as the world writes it."""
    exact = truth.encode(torch.zeros(len(q.loc), truth.space.dims))
    return type(exact)(exact.space, exact.index, exact.kind, exact.how, q.loc, tril)


def test_a_crippled_encoder_is_found_out() -> None:
    truth = LinearGaussian(torch.tensor([[1.0], [-0.5], [0.8]]).double(), 0.4)
    x, model = truth.source(64, 0).batch, knowing(truth)
    model.codec.encoder.last.linear.weight.data.zero_()
    gap = (
        model.elbo(x, model.encode(x, effort=200, seed=0), effort=256).value
        - model.elbo(x, model.encode(x)).value
    )
    assert float(gap.mean()) > 1
    exact = truth.log_prob(x).value
    found = model.elbo(x, model.encode(x, effort=200, seed=0), effort=256)
    assert float((exact - found.value).mean()) < 5e-3


def test_a_mean_field_code_is_as_narrow_as_theory_says() -> None:
    """Its variance is one over the precision's diagonal: 1 - rho^2 of the posterior's own for two codes."""
    weight = torch.tensor([[1.0, 0.8], [0.8, 1.0], [0.5, 0.5]], dtype=torch.float64)
    truth = LinearGaussian(weight, 0.7)
    precision = torch.eye(2) + weight.T @ weight / 0.49
    own = torch.linalg.inv(precision)
    rho = float(own[0, 1] / (own[0, 0] * own[1, 1]).sqrt())
    x = truth.source(16, 0).batch
    refined = knowing(truth, scale=2.0).encode(x, effort=150, seed=0)
    assert float((refined.std.square()[:, 0] / own[0, 0]).mean()) == pytest.approx(
        1 - rho**2, rel=0.05
    )
    torch.testing.assert_close(refined.loc, truth.encode(x).loc, rtol=0, atol=0.05)


# ---- draws, holes and completion -----------------------------------------------------------------------------------


def test_draws_follow_the_model() -> None:
    truth = LinearGaussian(
        torch.tensor([[1.0], [-0.5]]).double(), 0.5, bias=torch.tensor([2.0, -1.0])
    )
    x = knowing(truth).sample(20_000, seed=0).x
    cov = truth.weight @ truth.weight.T + 0.25 * torch.eye(2)
    error = cov.diagonal().sqrt() / 20_000**0.5
    assert bool(((x.mean(0) - truth.bias).abs() < 5 * error).all())
    torch.testing.assert_close(torch.cov(x.T), cov, rtol=0, atol=0.08)
    law = knowing(truth).decode(torch.tensor([[1.0], [0.0]]))
    torch.testing.assert_close(law.mean, torch.tensor([[3.0, -1.5], [2.0, -1.0]]).double())


def test_rows_with_holes_have_the_marginal_of_what_is_observed() -> None:
    truth = world("linear_gaussian", n=4, latents=2)
    x = truth.source(200, 0).batch
    holed = x.hide(torch.rand(200, 4, generator=torch.Generator().manual_seed(1)) < 0.4)
    model = knowing(truth)
    model.codec.encoder.last.linear.weight.data.zero_()
    model.codec.encoder.last.linear.bias.data[2:] = math.log(
        1.2
    )  # any broad law will do: draws make up for it
    found, exact = model.log_prob(holed, effort=1024, seed=0), truth.log_prob(holed).value
    gap = exact - found.value
    assert float(gap.mean()) > -5 * float(found.stderr.mean())
    assert float(gap.mean()) < 0.03


def test_completion_follows_the_conditional() -> None:
    truth = world("linear_gaussian", n=4, latents=2)
    x = truth.source(6, 0).batch.hide(torch.tensor([False, True, True, False]))
    found = knowing(truth, scale=2.0).complete(x, n=2000, seed=0, settings={"particles": 4096})
    exact = truth.complete(x, n=20_000, seed=1).x
    assert bool((found.x[:, :, [0, 3]] == x.x[:, [0, 3]]).all())
    assert found.kind is Kind.ESTIMATE
    size = torch.minimum(found.ess, torch.tensor(2000.0))
    assert bool((size > 200).all())
    for i in (1, 2):
        error = exact[..., i].std(0) * (1 / size + 1 / 20_000).sqrt()
        assert bool(((found.x[..., i].mean(0) - exact[..., i].mean(0)).abs() < 5 * error).all())
        ratio = found.x[..., i].std(0) / exact[..., i].std(0)
        assert bool(((ratio - 1).abs() < 5 / (2 * size).sqrt()).all())


def test_absent_tails_are_nothing() -> None:
    truth = cell("symbols")
    data = truth.source(300, 0)
    model = trained(truth.space, data, 5, **VAE.small(truth.space))
    x, noise = (
        data.batch[:40],
        torch.randint(0, 5, (40, 12), generator=torch.Generator().manual_seed(0)).float(),
    )
    within = Batch(x.x, length=x.length).within
    other = Batch(torch.where(within, x.x, noise.to(x.x)), length=x.length)
    torch.testing.assert_close(model.log_prob(x, seed=0).value, model.log_prob(other, seed=0).value)


# ---- learning ------------------------------------------------------------------------------------------------------


def test_a_linear_one_learns_a_linear_gaussian_world() -> None:
    """Its optimum is that of probabilistic PCA (Lucas et al. 2019, arXiv:1911.02469), and its posterior is exact."""
    truth = world("linear_gaussian", n=5, latents=2)
    model = trained(
        truth.space, truth.source(20_000, 0), 900, latent=2, lr=0.02, ema=0.99, **LINEAR
    )
    x = truth.source(2000, 0, first=10**6).batch
    exact, bound = truth.log_prob(x).value, model.log_prob(x, effort=64, seed=0).value.double()
    loss = exact - bound
    assert float(loss.mean()) < 0.02
    assert float(loss.mean()) > -5 * float(loss.std()) / 2000**0.5
    directions = (
        model.decode(torch.eye(2)).mode.double() - model.decode(torch.zeros(2, 2)).mode.double()
    )
    axes = torch.linalg.qr(directions.detach().T).Q.T
    peer = torch.tensor(PCA(2).fit(truth.source(20_000, 0).batch.x.numpy()).components_).double()
    assert (
        float(torch.linalg.svdvals(axes @ peer.T).min()) > 0.99
    )  # one plane: no direction of it is off by 8 degrees
    few = x[:256]
    gap = (
        model.elbo(few, model.encode(few, effort=100, seed=0)).value
        - model.elbo(few, model.encode(few)).value
    )
    assert abs(float(gap.mean())) < 0.02
    codes = model.encode(x)
    assert int(model.active(x).sum()) == 2
    assert float(codes.std.mean(0).max()) > 0.05


def test_a_code_that_does_not_move_with_the_row_is_not_in_use() -> None:
    truth = world("linear_gaussian", n=4, latents=2)
    model, x = knowing(truth), truth.source(500, 0).batch
    assert model.active(x).tolist() == [True, True]
    model.codec.encoder.last.linear.weight.data[1] = 0
    assert model.active(x).tolist() == [True, False]
    assert model.remarks(x) == ("1 of 2 numbers of the code in use",)
    model.codec.encoder.last.linear.weight.data.zero_()
    assert model.remarks(x)[0].startswith("0 of 2 numbers of the code in use: it has collapsed")


def test_the_card_says_how_much_of_the_code_is_in_use(tmp_path) -> None:
    truth = world("linear_gaussian", n=4, latents=2)
    held = truth.source(300, 1)
    model = registry.build("vae", {"latent": 3, "lr": 0.02, **LINEAR}, truth.space)
    model = Run(model, truth.source(1000, 0), 60, out=tmp_path / "m", holdout=held).fit()
    used = int(model.active(held.batch).sum())
    assert used > 0
    assert f"- {used} of 3 numbers of the code in use\n" in (tmp_path / "m" / "card.md").read_text()


def test_an_infinite_mixture_of_gaussians_beats_one_on_moons_by_half_a_nat() -> None:
    moons = world("moons")
    data, x = moons.source(4000, 0), moons.source(2000, 0, first=10**6).batch
    one = registry.build("gaussian", {}, moons.space)
    Run(one, data, 1).fit()
    options = {
        "latent": 2,
        "hidden": (64, 64),
        "activation": "tanh",
        "hide": 0.0,
        "batch": 128,
        "lr": 1e-2,
    }
    model = trained(moons.space, data, 900, kl_warmup=0.4, draws=8, draws_from=0.5, **options)
    bound = model.log_prob(x, effort=128, seed=0).mean()
    assert bound.value > one.log_prob(x).mean().value + 0.5
    assert bound.value < -moons.entropy + 5 * bound.stderr
    assert int((model.encode(x).std.mean(0) > 0.05).sum()) >= 1


def test_more_weight_on_the_divergence_brings_codes_nearer_to_the_prior() -> None:
    ring = world("ring")
    data, spread = ring.source(4000, 0), []
    for beta in (0.1, 1.0, 4.0):
        model = trained(
            ring.space, data, 300, latent=2, hidden=(32,), beta=beta, hide=0.0, lr=1e-2, ema=0.9
        )
        q = model.encode(data.batch)
        divergence = 0.5 * (q.loc.square() + q.std.square() - 1) - q.std.log()
        spread.append(float(divergence.sum(-1).mean()))
    assert spread[0] > spread[1] > spread[2]


@pytest.mark.parametrize(
    ("space", "given", "options"),
    [
        ("image_binary", "none", {}),
        ("audio", "label", {"net": "conv"}),
        ("series", "none", {}),
        ("table", "vector", {}),
    ],
)
def test_every_kind_of_net_learns_and_never_beats_the_truth(space, given, options) -> None:
    truth = cell(space, given)
    data, x = truth.source(1000, 0), truth.source(200, 0, first=10**6).batch
    options = {**VAE.small(truth.space), **options}
    before = registry.build("vae", options, truth.space, truth.given_space).float()
    before.prepare(data)
    model = trained(truth.space, data, 60, **options)
    assert model.log_prob(x, seed=0).mean().value > before.eval().log_prob(x, seed=0).mean().value
    found = model.log_prob(x, seed=0)
    gap = truth.log_prob(x).value - found.value
    assert float(gap.mean()) > -5 * float(gap.std()) / 200**0.5
    drawn = model.sample(3, given=x.given[:2] if x.given is not None else None, seed=0)
    assert drawn.x.shape == ((3, 2) if x.given is not None else (3,)) + truth.space.layout
    assert (
        model.decode(
            model.encode(x[:4]).mean, given=None if x.given is None else x.given[:4]
        ).mean.shape
        == x.x[:4].shape
    )


def test_classes_are_told_by_bayes_rule() -> None:
    truth = cell("reals2", "label")
    data, x = truth.source(2000, 0), truth.source(300, 0, first=10**6).batch
    model = trained(truth.space, data, 200, **VAE.small(truth.space))
    best = truth.classify(x).best
    assert float((model.classify(x, seed=0).best == best).double().mean()) > 0.8


@pytest.mark.parametrize("prior", ["gaussian", "mixture"])
def test_a_prior_learned_second_raises_the_bound_and_is_saved(prior, tmp_path) -> None:
    ring = world("ring")
    data, x = ring.source(3000, 0), ring.source(500, 0, first=10**6).batch
    options = {"latent": 2, "hidden": (32,), "hide": 0.0, "beta": 0.3, "lr": 1e-2, "ema": 0.9}
    plain = trained(ring.space, data, 150, **options)
    model = trained(ring.space, data, 300, prior=prior, **options)
    names = [n for n, _ in plain.named_parameters()]
    assert all(
        torch.equal(dict(model.named_parameters())[n], dict(plain.named_parameters())[n])
        for n in names
    )
    assert model.log_prob(x, seed=0).mean().value > plain.log_prob(x, seed=0).mean().value
    found = model.log_prob(x, seed=0)
    torch.testing.assert_close(sum(found.terms.values()), found.value)
    again = reading.open_model(store.save(model, tmp_path / "m"))
    assert torch.equal(again.sample(5, seed=0).x, model.sample(5, seed=0).x)
    assert model.complete(x[:3].hide(torch.tensor([True, False])), n=2, seed=0).x.shape == (2, 3, 2)


def test_hidden_training_rows_teach_codes_of_rows_with_holes() -> None:
    truth = world("linear_gaussian", n=4, latents=2)
    data, x = truth.source(8000, 0), truth.source(500, 0, first=10**6).batch
    holed = x.hide(torch.tensor([True, False, True, False]))
    gaps = []
    for hide in (0.0, 0.5):
        options = {
            "latent": 2,
            "hidden": (32,),
            "real": "shared",
            "lr": 1e-2,
            "ema": 0.9,
            "hide": hide,
        }
        model = trained(truth.space, data, 300, **options)
        gaps.append(
            float(
                (truth.log_prob(holed).value - model.log_prob(holed, effort=1, seed=0).value).mean()
            )
        )
    assert gaps[1] < 0.5 * gaps[0]


def test_what_does_not_fit_is_refused_with_a_sentence() -> None:
    with pytest.raises(BadConfig, match="net=mlp"):
        registry.build("vae", {"net": "conv"}, vector(3))
    with pytest.raises(BadConfig, match="ragged"):
        registry.build("vae", {"net": "sequence"}, vector(3))
    with pytest.raises(BadConfig, match="beta"):
        registry.build("vae", {"beta": -1.0}, vector(3))


def test_answers_of_a_table_of_one_row() -> None:
    space = vector(2)
    model = trained(space, Table(space, Batch(torch.zeros(1, 2))), 3, latent=1, hidden=(4,))
    assert bool(torch.isfinite(model.log_prob(torch.zeros(1, 2), seed=0).value).all())


def test_codes_decoded_in_parts_say_what_they_say_together(monkeypatch) -> None:
    space = vector(3)
    model = registry.build("vae", {"latent": 2, "hidden": (8,)}, space, seed=0).double()
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    model.prepare(Table(space, Batch(x)))
    whole = model.log_prob(x, effort=37, seed=0)
    monkeypatch.setattr("likeness.families.vae.TOGETHER", 12)
    parts = model.log_prob(x, effort=37, seed=0)
    assert torch.allclose(parts.value, whole.value, rtol=0, atol=1e-12)
    assert torch.allclose(parts.stderr, whole.stderr, rtol=0, atol=1e-12)


def test_no_rows_have_no_log_prob() -> None:
    model = registry.build("vae", {"latent": 2, "hidden": (8,)}, vector(3), seed=0)
    assert model.log_prob(torch.zeros(0, 3), seed=0).value.shape == (0,)
