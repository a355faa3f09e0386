"""Distributions: the smallest one a third party can write keeps every promise of the verbs."""

import math

import numpy as np
import pytest
import torch

import likeness as lk
import likeness.routes
from likeness.core.answers import Kind, Scored, minus, plus
from likeness.core.batch import Batch
from likeness.core.distribution import Distribution
from likeness.core.errors import BadConfig, BadData, Unsupported
from likeness.core.precision import exact
from likeness.core.space import binary, label, vector
from likeness.data.synthetic import world
from likeness.numerics.stable import log_mean_exp
from likeness.query import query


class Standard(Distribution):
    """N(0, I) in two dimensions."""

    def __init__(self) -> None:
        super().__init__(vector(2, names=("a", "b")))

    def _sample(self, noise, given, length, settings):
        return noise.normal("x", 2)

    def _log_prob(self, batch, noise, effort, settings):
        return Scored((-0.5 * (batch.x.square() + math.log(2 * math.pi)) * batch.present).sum(-1))

    def _marginal(self, batch):
        return None


class Coins(Distribution):
    """Three fair coins of which the third equals the exclusive or of the others, in nine cases of ten; labelled."""

    def __init__(self) -> None:
        super().__init__(vector(3, binary()), label(2))

    def _log_prob(self, batch, noise, effort, settings):
        x = batch.x
        agrees = ((x[:, 0] + x[:, 1] + batch.given.x[:, 0]) % 2 == x[:, 2]).double()
        return Scored(math.log(0.25) + torch.log(0.1 + 0.8 * agrees))


def test_items_do_not_depend_on_n_or_first() -> None:
    law = Standard()
    whole = law.sample(37, seed=4).x
    assert torch.equal(law.sample(7, seed=4, first=5).x, whole[5:12])
    assert torch.equal(law.sample(7, seed=4, first=5, settings={"strict": True}).x, whole[5:12])


def test_evidence_is_the_ratio_of_marginals() -> None:
    law, x = Standard(), torch.tensor([[0.3, -1.0]], dtype=torch.float64)
    conditional = law.log_prob(x, evidence=["a"])
    assert float(conditional.value) == pytest.approx(-0.5 * (1 + math.log(2 * math.pi)), abs=1e-12)
    assert conditional.kind is Kind.EXACT
    assert conditional.dims.tolist() == [1]
    with pytest.raises(BadData, match="cannot be evidence"):
        law.log_prob([[np.nan, 1.0]], evidence=["a"])
    with pytest.raises(BadData, match="no column 'c'"):
        law.log_prob(x, evidence=["c"])


def test_a_missing_label_is_summed_over() -> None:
    law = Coins()
    states = torch.cartesian_prod(*[torch.arange(2.0)] * 3)
    under = [law.log_prob(states, given=torch.full((8, 1), float(y))).value.exp() for y in range(2)]
    both = law.log_prob(states).value.exp()
    assert torch.allclose(both, 0.5 * (under[0] + under[1]), rtol=0, atol=1e-12)
    assert float(both.sum()) == pytest.approx(1, abs=1e-12)
    partly = law.log_prob(
        states, given=Batch(torch.zeros(8, 1), observed=torch.tensor([[True]] * 4 + [[False]] * 4))
    )
    assert torch.allclose(
        partly.value.exp(), torch.cat([under[0][:4], both[4:]]), rtol=0, atol=1e-12
    )


def test_routes_answer_what_the_law_does_not() -> None:
    law = Coins()
    assert law.support("classify").routes == ("Bayes' rule",)
    p = law.classify([[0, 1, 1]]).probabilities
    assert torch.allclose(p, torch.tensor([[0.9, 0.1]], dtype=torch.float64))
    shifted = law.classify([[0, 1, 1]], prior=[0.1, 0.9]).probabilities
    assert torch.allclose(shifted, torch.tensor([[0.5, 0.5]], dtype=torch.float64))
    marginal = law.log_prob([[0, 1, -1]], given=[[0]])
    assert float(marginal.value) == pytest.approx(math.log(0.25))
    assert law.mode([[0, 1, -1]], given=[[0]]).x.tolist() == [[0, 1, 1]]
    drawn = law.complete([[0, 1, -1]], n=4000, given=[[0]], seed=0).x[:, 0, 2].mean()
    assert abs(float(drawn) - 0.9) < 5 * (0.09 / 4000) ** 0.5


def test_completion_under_a_missing_label_weighs_the_classes() -> None:
    drawn = Coins().complete([[0, 1, 1]] * 1 + [[0, -1, 1]], n=2000, seed=1)
    assert drawn.x[:, 0].unique(dim=0).tolist() == [[0, 1, 1]]
    assert abs(float(drawn.x[:, 1, 1].mean()) - 0.5) < 5 * (0.25 / 2000) ** 0.5


def test_absent_verbs_raise_their_reason() -> None:
    law = Standard()
    with pytest.raises(Unsupported, match="classes need a nominal"):
        law.classify([[0.0, 0.0]])
    with pytest.raises(Unsupported, match="held-out scores"):
        law.p_value([[0.0, 0.0]])
    with pytest.raises(Unsupported, match="without `given`"):
        law.sample(1, given=[[1]])
    with pytest.raises(BadConfig, match="did you mean 'strict'"):
        law.sample(1, settings={"strickt": True})
    with pytest.raises(Unsupported, match="no bits/dim without a resolution"):
        _ = law.log_prob([[0.0, 0.0]]).bits_per_dim


def test_kinds_combine() -> None:
    assert plus(Kind.LOWER_BOUND, Kind.UPPER_BOUND) is Kind.ESTIMATE
    assert plus(Kind.EXACT, Kind.LOWER_BOUND) is Kind.LOWER_BOUND
    assert minus(Kind.LOWER_BOUND, Kind.LOWER_BOUND) is Kind.ESTIMATE
    assert minus(Kind.LOWER_BOUND, Kind.EXACT) is Kind.LOWER_BOUND
    assert minus(Kind.EXACT, Kind.LOWER_BOUND) is Kind.UPPER_BOUND


def test_unlike_measures_are_never_subtracted() -> None:
    a, b = Standard().log_prob([[0.0, 0.0]]), Coins().log_prob([[0, 0, 0]])
    with pytest.raises(Unsupported, match="cannot be compared"):
        _ = a - b
    assert not a.comparable(b)


def test_log_mean_exp_has_the_right_error() -> None:
    g = torch.Generator().manual_seed(0)
    values = torch.randn(200, 4000, generator=g, dtype=torch.float64) * 0.5
    value, stderr = log_mean_exp(values)
    assert float(value.std()) == pytest.approx(float(stderr.mean()), rel=0.05)
    assert log_mean_exp(values[:1])[1] is None


def test_densities_of_unlike_numbers_of_entries_are_told_apart():
    law = world("gaussian", rho=0.5)
    x = torch.zeros(3, 2)
    holed = torch.tensor([[0.0, math.nan], [0.0, 0.0], [0.0, 0.0]])
    assert law.log_prob(x).measure == "lebesgue^2"
    assert law.log_prob(x).mean().measure == "lebesgue^2"
    assert law.log_prob(holed).mean().measure == "lebesgue^2, of 1 to 2 entries"
    assert law.log_prob(x, evidence=[True, False]).dims.tolist() == [1, 1, 1]
    with pytest.raises(Unsupported, match="cannot be compared"):
        law.log_prob(holed) - law.log_prob(x)


def test_products_while_answering_take_the_path_that_settings_name():
    seen, switch = [], torch.backends.mkldnn.matmul

    class Watched(Standard):
        def _log_prob(self, batch, noise, effort, settings):
            seen.append(switch.fp32_precision)
            return super()._log_prob(batch, noise, effort, settings)

    before, x = switch.fp32_precision, torch.zeros(2, 2)
    Watched().log_prob(x)
    if exact():
        Watched().log_prob(x, settings={"precision": "onednn"})
    assert seen[0] == before
    assert all(s != before for s in seen[1:])
    assert switch.fp32_precision == before


@pytest.mark.parametrize("family", ["mixture", "flow", "vae"])
def test_onednn_answers_what_torch_does_and_leaves_its_switch_as_it_was(family):
    switch = torch.backends.mkldnn.matmul
    before = switch.fp32_precision
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    model = lk.fit(family, x, budget=5, holdout=0, progress=False, seed=0)
    plain = model.log_prob(x, seed=0).value
    if not exact():
        with pytest.raises(Unsupported, match="half the digits"):
            model.log_prob(x, settings={"precision": "onednn"})
        return
    assert torch.allclose(
        model.log_prob(x, seed=0, settings={"precision": "onednn"}).value, plain, rtol=0, atol=1e-4
    )
    assert switch.fp32_precision == before


@pytest.mark.parametrize("n", [2**40, 10**30])
def test_more_draws_than_the_machine_can_hold_are_refused(n: int) -> None:
    truth = lk.world("moons")
    with pytest.raises(BadConfig, match="draw fewer at once"):
        truth.sample(n, seed=0)
    with pytest.raises(BadConfig, match="draw fewer at once"):
        query(truth, "complete", n=n, seed=0)


@pytest.mark.parametrize("effort", [1.5, [1, 2], "2"])
def test_an_effort_that_is_no_number_is_refused(effort: object) -> None:
    with pytest.raises(BadConfig, match=r"effort=.* is not a whole number"):
        lk.world("moons").log_prob([[0.0, 0.0]], effort=effort)


def test_what_names_no_columns_is_refused() -> None:
    with pytest.raises(BadConfig, match="missing=3 names no columns"):
        query(lk.world("moons"), "sample", missing=3)
