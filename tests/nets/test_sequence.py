import pytest
import torch

from likeness.core.errors import BadConfig
from likeness.nets import Sequence
from likeness.nets.sequence import attend, turned, waves
from tests.nets.helpers import assert_all_learn, assert_items_are_alone, build, influence, normal


def make(*, causal, inputs=2, outputs=3, context=0, groups=1):
    return build(
        lambda: Sequence(
            inputs,
            outputs,
            causal=causal,
            width=16,
            depth=2,
            heads=2,
            context=context,
            groups=groups,
        )
    )


@pytest.mark.parametrize("groups", [1, 3])
def test_causal_outputs_see_earlier_variables_only(groups):
    net = make(causal=True, inputs=2 * groups, outputs=3 * groups, groups=groups)
    seen = influence(lambda x: net(x[None])[0], normal(1, 6, 2 * groups))
    seen = seen.view(6, groups, 3, 6, groups, 2).amax((2, 5)).reshape(6 * groups, 6 * groups)
    assert (seen.triu() == 0).all()
    assert (seen + torch.ones_like(seen).triu() > 0).all()


def test_both_ways_every_step_sees_every_step():
    net = make(causal=False)
    assert influence(lambda x: net(x[None])[0], normal(1, 6, 2)).amin() > 0


@pytest.mark.parametrize("causal", [False, True])
def test_padding_influences_nothing(causal):
    net = make(causal=causal, context=2)
    x, length, c = normal(1, 4, 7, 2), torch.tensor([7, 3, 1, 0]), normal(2, 4, 2)
    y = net(x, length, c)
    for row, n in enumerate(length.tolist()):
        alone = net(x[row : row + 1, :n], None, c[row : row + 1])
        torch.testing.assert_close(y[row, :n], alone[0], rtol=0, atol=1e-12)
        assert (y[row, n:] == 0).all()
    absent = torch.arange(7) >= length[:, None]
    seen = influence(lambda x: net(x, length, c), x).amax((0, 1, 2))
    assert (seen[absent] == 0).all()
    torch.testing.assert_close(net(x.masked_fill(absent[..., None], torch.nan), length, c), y)


@pytest.mark.parametrize("causal", [False, True])
def test_no_steps_at_all_are_safe(causal):
    net = make(causal=causal)
    x = normal(1, 2, 4, 2).requires_grad_()
    y = net(x, torch.tensor([0, 0]))
    y.sum().backward()
    assert (y == 0).all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in [x, *net.parameters()])
    assert net(normal(2, 2, 0, 2)).shape == (2, 0, 3)


@pytest.mark.parametrize("causal", [False, True])
def test_sequence_keeps_the_promises_of_a_net(causal):
    net = make(causal=causal, context=3, inputs=4, outputs=6, groups=2 if causal else 1)
    x, length, c = normal(1, 3, 5, 4), torch.tensor([5, 2, 4]), normal(2, 3, 3)
    assert_items_are_alone(net, x, length, c)
    assert_all_learn(net, x, length, c)
    torch.testing.assert_close(net(x, length), net(x, length, torch.zeros_like(c)))
    assert influence(lambda c: net(x[:1], None, c), c[:1]).sum(-1).min() > 0


@pytest.mark.parametrize(("groups", "context"), [(1, 0), (3, 2)])
def test_stepping_equals_the_full_pass(groups, context):
    net = make(causal=True, inputs=2 * groups, outputs=3 * groups, groups=groups, context=context)
    x, c = normal(1, 3, 40, 2 * groups), normal(2, 3, context) if context else None
    stepper, steps = net.stepper(3, c), []
    with torch.no_grad():
        for place in x.unbind(1):
            for part in place.chunk(groups, -1):
                steps.append(stepper.params())
                stepper.push(part)
        torch.testing.assert_close(
            torch.cat(steps, -1).view(3, 40, -1), net(x, None, c), rtol=0, atol=1e-10
        )


def test_given_steps_need_not_be_asked_for():
    net = make(causal=True)
    x, stepper = normal(1, 2, 9, 2), net.stepper(2)
    with torch.no_grad():
        for step in x[:, :8].unbind(1):
            stepper.push(step)
        torch.testing.assert_close(stepper.params(), net(x)[:, 8])


def test_rotary_scores_depend_on_distance_alone():
    q, k = normal(1, 1, 1, 1, 8), normal(2, 1, 1, 1, 8)

    def score(i, j):
        return (
            turned(q, waves(torch.tensor([i]), 8)) * turned(k, waves(torch.tensor([j]), 8))
        ).sum()

    scores = [score(first, first + 3) for first in (0, 5, 100)]
    torch.testing.assert_close(scores[1], scores[0])
    torch.testing.assert_close(scores[2], scores[0])
    assert score(0, 4) != pytest.approx(scores[0].item(), rel=1e-3)


def test_attention_agrees_with_the_library():
    q, k, v = (normal(i, 2, 3, 5, 4) for i in range(3))
    hidden = torch.ones(5, 5, dtype=torch.bool).triu(1)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=~hidden)
    torch.testing.assert_close(attend(q, k, v, hidden), expected)
    nothing = torch.ones(5, 5, dtype=torch.bool)
    torch.testing.assert_close(attend(q, k, v, nothing), v.mean(2, keepdim=True).expand_as(v))


def test_order_matters_without_causality():
    net = make(causal=False)
    x = normal(1, 1, 5, 2)
    assert (net(x.flip(1)).flip(1) - net(x)).abs().max() > 1e-3


def test_refusals():
    with pytest.raises(BadConfig, match="causal=True"):
        make(causal=False).stepper(1)
    with pytest.raises(BadConfig, match="groups=1"):
        Sequence(2, 2, causal=False, groups=2)
    with pytest.raises(BadConfig, match="even size"):
        Sequence(2, 2, causal=False, width=10, heads=5 + 5)
    with pytest.raises(BadConfig, match="say context=1"):
        make(causal=True)(torch.ones(1, 2, 2).double(), None, torch.ones(1, 1))
