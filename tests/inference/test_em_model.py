"""The one EM model: what a family declares is kept, EM climbs, and the best of several starts goes on."""

import itertools
import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from likeness.core.answers import Kind, Scored
from likeness.core.batch import Batch, as_batch
from likeness.core.config import Config, option
from likeness.core.learner import Parameters
from likeness.core.noise import Noise
from likeness.core.space import Space, vector
from likeness.data.source import Table
from likeness.inference.em_model import EMModel
from likeness.inference.starts import best_start
from likeness.learn.run import Run


class ExponentialConfig(Config):
    """Options of a mixture of exponentials."""

    components: int = option(2, "components", ge=1)
    passes: int = option(200, "most passes of EM", ge=1)
    tolerance: float = option(1e-10, "least gain", ge=0)


class Exponentials(EMModel):
    """p(x) = sum_k w_k r_k exp(-r_k x): a new family is its equations."""

    Config = ExponentialConfig
    multimodal = True
    trial = 3

    def __init__(self, config: ExponentialConfig, space: Space) -> None:
        super().__init__(config, space)
        self._declare()

    def _init(self) -> Parameters:
        k = self.config.components
        return {"weight.of": torch.full((k,), 1 / k).double(), "rate": torch.ones(k).double()}

    def _starts(self, batch: Batch, noise: Noise) -> Iterator[Parameters]:
        for spread in (1.0, 4.0):
            rate = spread ** torch.linspace(-1, 1, self.config.components).double()
            yield self._init() | {"rate": rate / batch.x.double().mean()}

    def log_joint(self, x: Tensor, params: Parameters) -> Tensor:
        return params["weight.of"].log() + params["rate"].log() - params["rate"] * x

    def _e_step(self, batch: Batch, params: Parameters) -> Parameters:
        joint = self.log_joint(batch.x.double(), params)
        resp = joint.softmax(-1) * batch.weights.double()[:, None]
        objective = joint.logsumexp(-1) @ batch.weights.double()
        total = (resp * batch.x).sum(0)
        return {"n": resp.sum(0), "x": total, "objective": objective, "weight": resp.sum()}

    def _m_step(self, sums: Parameters, before: Parameters) -> Parameters:
        return {"weight.of": sums["n"] / sums["weight"], "rate": sums["n"] / sums["x"]}

    def _canonical(self, params: Parameters) -> Parameters:
        order = params["rate"].argsort()
        return {name: value[order] for name, value in params.items()}

    def count(self) -> int:
        return 2 * self.config.components - 1

    def _log_prob(self, batch: Batch, noise: Noise, effort: int | None, settings: object) -> Scored:
        value = self.log_joint(batch.x.double(), self.fitted).logsumexp(-1)
        return Scored(value, Kind.EXACT, "closed form")


def exponentials(n: int = 4000) -> Tensor:
    """Rates of 1 and 10, a quarter of them fast."""
    g = torch.Generator().manual_seed(0)
    u = torch.rand(n, 1, generator=g, dtype=torch.float64)
    fast = torch.rand(n, 1, generator=g) < 0.25
    return -u.log() / torch.where(fast, 10.0, 1.0)


@pytest.fixture(scope="module")
def run() -> Run:
    space = vector(1)
    model = Exponentials(ExponentialConfig(), space).double()
    run = Run(model, Table(space, as_batch(space, exponentials())), 200)
    run.fit()
    return run


def test_a_family_of_equations_finds_what_its_data_were_drawn_from(run):
    params = run.model.fitted
    assert params["rate"].tolist() == pytest.approx([1.0, 10.0], rel=0.15)
    assert params["weight.of"].tolist() == pytest.approx([0.75, 0.25], abs=0.05)


def test_the_log_likelihood_never_falls(run):
    heights = [event.terms["objective"] for event in run.events]
    assert len(heights) > 5
    assert all(b >= a - 1e-12 for a, b in itertools.pairwise(heights))


def test_the_parameters_are_buffers_under_names_without_dots(run):
    assert run.model.parameter_names == ("weight.of", "rate")
    assert {"weight_of", "rate"} <= set(run.model.state_dict())
    assert torch.equal(run.model.fitted["weight.of"], run.model.weight_of)


def test_what_is_kept_is_the_canonical_form(run):
    turned = {name: value.flip(0) for name, value in run.model.fitted.items()}
    before = run.model.fitted["rate"]
    run.model._assign(turned)
    assert torch.equal(run.model.fitted["rate"], before)


def climb(height: float, slope: float) -> Parameters:
    return {"height": torch.tensor(height), "slope": torch.tensor(slope)}


def e_step(params: Parameters) -> Parameters:
    return {"objective": 2 * params["height"], "weight": torch.tensor(2.0)} | params


def m_step(sums: Parameters, before: Parameters) -> Parameters:
    return before | {"height": before["height"] + before["slope"]}


@pytest.mark.parametrize(("passes", "slope"), [(0, 0.0), (1, 2.0), (8, 3.0)])
def test_the_start_that_is_highest_before_the_last_pass_goes_on(passes, slope):
    starts = [climb(0.0, 0.0), climb(5.0, 2.0), climb(0.0, 3.0)]
    best = best_start(starts, e_step, m_step, passes)
    assert float(best["slope"]) == slope


def test_a_start_without_a_likelihood_is_taken_only_where_there_is_no_other():
    starts = [climb(math.nan, 1.0), climb(-math.inf, 2.0), climb(-3.0, 0.5)]
    assert float(best_start(starts[:1], e_step, m_step, 2)["slope"]) == 1.0
    assert float(best_start(starts, e_step, m_step, 2)["slope"]) == 0.5
