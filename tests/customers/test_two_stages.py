"""An awkward customer: a quantiser first, then any family's law over its codes: p(x) in two stages."""

import pytest
import torch

import likeness.routes  # noqa: F401 - registers them
from likeness import registry
from likeness.core.batch import Batch
from likeness.core.config import Config, option
from likeness.core.learner import EM, Staged
from likeness.core.model import Model
from likeness.core.nested import Mapped, through
from likeness.core.noise import Noise
from likeness.core.row_distribution import Delta
from likeness.core.space import Nominal, vector
from likeness.data.source import Table
from likeness.learn.run import Run
from likeness.registry import FamilyConfig

K = 4


class QuantisedConfig(Config):
    """Options of the two-stage model."""

    prior: FamilyConfig = option("independent", "the law over codes")


class Quantised(Model):
    """Each of two numbers to the nearest of four centres (Lloyd's algorithm), then a prior over the pairs of codes."""

    Config = QuantisedConfig

    def __init__(self, config, space, given_space=None) -> None:
        super().__init__(config, space, given_space)
        self.codes = vector(2, Nominal(categories=K))
        self.register_buffer("centre", torch.arange(float(K)) - 1.5)
        self.prior = registry.build(registry.name_of(config.prior), config.prior, self.codes)

    def quantise(self, batch, noise):
        return batch.with_x((batch.x[..., None] - self.centre).abs().argmin(-1).to(batch.x.dtype))

    def expect(self, batch, p):
        distance = (batch.x[..., None] - p["centre"]).square()
        hot = torch.nn.functional.one_hot(distance.argmin(-1), K).double()
        return {"n": hot.sum((0, 1)), "x": (hot * batch.x[..., None]).sum((0, 1)),
                "objective": -distance.amin(-1).sum(), "weight": batch.weights.sum()}  # fmt: skip

    def learner(self):
        centres = EM(lambda task, noise: {"centre": self.centre}, self.expect,
                     lambda s, p: {"centre": s["x"] / s["n"].clamp_min(1)}, self._assign, passes=25)  # fmt: skip

        def second():
            self.prior.prepare(Mapped(self.source, self.quantise, self.codes))
            return through(self.prior, self.quantise)

        return Staged((("centres", lambda: centres), ("prior", second)))

    def _prepare(self, source):
        self.source = source

    def _assign(self, p):
        self.centre = p["centre"]

    def _encode(self, batch, noise, effort, settings):
        from likeness.core.answers import Kind

        return Delta(
            self.codes, batch.ids, Kind.EXACT, "nearest centre", self.quantise(batch, noise).x
        )

    def _sample(self, noise, given, length, settings):
        codes = self.prior._sample(noise.within("prior"), None, None, self.prior.Settings())
        return self.centre[codes.long()]


@pytest.mark.parametrize(
    "prior", ["independent", "mixture", {"family": "autoregressive", "hidden": [16], "lr": 0.02}]
)
def test_the_second_stage_learns_the_codes_of_the_first(prior) -> None:
    registry.load_all()
    g = torch.Generator().manual_seed(0)
    state = torch.randint(0, 2, (1500, 1), generator=g).double()
    x = torch.cat([state * 3 - 1.5, state * 3 - 1.5], 1) + 0.3 * torch.randn(
        1500, 2, generator=g, dtype=torch.float64
    )
    data = Table(vector(2), Batch(x))
    registry.CARDS.setdefault("quantised", registry.CARDS["gaussian"])
    model = Quantised(QuantisedConfig.parse({"prior": prior}), data.space).double()
    Run(model, data, 300).fit()
    codes = model.quantise(data.batch, Noise(0, data.batch.ids)).x
    held = -model.prior.log_prob(codes).value.mean()
    p = (codes[:, 0] * K + codes[:, 1]).long().bincount(minlength=K * K).double() / 1500
    joint = -(p[p > 0] * p[p > 0].log()).sum()
    q = torch.stack([codes[:, i].long().bincount(minlength=K).double() / 1500 for i in range(2)])
    product = -(q[q > 0] * q[q > 0].log()).sum()
    target = product if prior == "independent" else joint
    assert float(held) == pytest.approx(float(target), abs=0.05)
    assert float(joint) < float(product) - 0.5
    assert model.sample(200, seed=0).x.unique().numel() <= K
    assert model.config.sections()["family"]["prior"]["family"] == (
        prior if isinstance(prior, str) else prior["family"]
    )
