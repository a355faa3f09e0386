import math

import pytest
import torch

from likeness.nets.timed import HALF_NOISE, Conditioning, Timed
from tests.nets.helpers import build, influence, normal

# name, shape of an event, body, numbers an entry, ragged
CASES = {
    "vector": ((3,), "mlp", 1, False),
    "codes": ((3,), "mlp", 4, False),
    "image": ((2, 5, 4), "unet", 1, False),
    "coded image": ((2, 5, 4), "unet", 3, False),
    "signal": ((1, 9), "unet", 1, False),
    "series": ((5, 2), "sequence", 1, True),
    "series at once": ((5, 2), "mlp", 1, True),
    "symbols": ((5,), "sequence", 3, True),
}
each_case = pytest.mark.parametrize("case", CASES, ids=str)


def made(case, **options):
    shape, body, per, ragged = CASES[case]
    options = {"width": 16, "depth": 1, "context": 3, "ragged": ragged, **options}
    return build(lambda: Timed(shape, body, per=per, **options))


def asked(case, rows=4):
    shape, _, per, ragged = CASES[case]
    length = torch.tensor([5, 3, 1, 2])[:rows] if ragged else None
    within = None
    if ragged:
        steps = torch.arange(5) < length[:, None]
        within = steps.reshape(rows, 5, *[1] * (len(shape) - 1)).expand(rows, *shape)
    x = normal(1, rows, *shape, *([per] if per > 1 else []))
    return x, normal(2, rows), Conditioning(normal(3, rows, 3), length, within)


@each_case
def test_there_are_as_many_numbers_as_came_in_and_each_item_is_alone(case):
    net, (x, level, conditioning) = made(case), asked(case)
    y = net(x, level, conditioning)
    assert y.shape == x.shape
    for i in range(len(x)):
        row = torch.tensor([i])
        torch.testing.assert_close(
            net(x[row], level[row], conditioning.rows(row))[0], y[i], rtol=0, atol=1e-12
        )


@each_case
def test_level_and_context_reach_the_output_and_every_parameter_learns(case):
    net, (x, level, conditioning) = made(case), asked(case)
    assert influence(lambda u: net(x, u, conditioning)[0], level)[..., 0].max() > 1e-6
    assert (
        influence(lambda c: net(x, level, conditioning._replace(vector=c))[0], conditioning.vector)[
            ..., 0, :
        ].max()
        > 1e-6
    )
    net(x, level, conditioning).square().sum().backward()
    idle = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == []


@pytest.mark.parametrize("case", ["series", "series at once", "symbols"])
def test_what_lies_past_an_items_end_influences_nothing(case):
    net, (x, level, conditioning) = made(case), asked(case)
    assert conditioning.present is not None
    mask = (
        conditioning.present
        if x.dim() == conditioning.present.dim()
        else conditioning.present.unsqueeze(-1)
    )
    littered = torch.where(mask, x, 7.0)
    torch.testing.assert_close(
        net(littered, level, conditioning) * mask,
        net(x, level, conditioning) * mask,
        rtol=0,
        atol=1e-12,
    )


@each_case
def test_a_new_net_says_nothing(case):
    shape, body, per, ragged = CASES[case]
    net = Timed(shape, body, per=per, width=16, depth=1, context=3, ragged=ragged)
    x, level, conditioning = asked(case)
    y = net(
        x.float(),
        level.float(),
        Conditioning(conditioning.vector.float(), conditioning.length, conditioning.present),
    )
    assert float(y.detach().std()) < 0.1  # a constant at most


def test_the_output_fades_in_proportion_to_little_noise():
    plain, fading = made("vector"), made("vector", fade=True)
    fading.load_state_dict(plain.state_dict())
    x, _, conditioning = asked("vector")
    for noise in (1e-6, HALF_NOISE, 50.0):
        level = torch.full((4,), math.log(noise) / 4, dtype=torch.float64)
        ratio = fading(x, level, conditioning) / plain(x, level, conditioning)
        wanted = noise / math.hypot(noise, HALF_NOISE)
        assert torch.allclose(ratio, torch.full_like(ratio, wanted), rtol=1e-9)
