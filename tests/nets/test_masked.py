"""Masked nets: what depends on what is exactly what was declared, and a walk is the same function as a pass."""

from itertools import product

import pytest
import torch
from torch import Tensor
from torch.autograd.functional import jacobian

from likeness.core.errors import BadConfig
from likeness.nets.masked import MaskedNet, _Banded

DIMS = 7
ORDERS = {"sorted": None, "mixed": [3, 0, 6, 1, 5, 2, 4]}
WINDOWS = [None, 0, 1, 3]
NETS = {"linear": (), "plain": (32, 24), "residual": (28, 28, 28), "narrow": (3,)}
CASES = list(product(ORDERS, WINDOWS, NETS, (0, 2)))


@pytest.fixture(autouse=True)
def double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)


def loud(net: MaskedNet) -> MaskedNet:
    """Every weight far from 0, so that a dependence that is allowed is also there."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_()
    return net


def made(
    order=None, window=None, hidden=(32, 24), context=0, inputs=None, outputs=None, residual=True
) -> MaskedNet:
    inputs = inputs or [1 + i % 3 for i in range(DIMS)]
    outputs = outputs or [2 + i % 2 for i in range(DIMS)]
    return loud(
        MaskedNet(
            inputs,
            outputs,
            order=order,
            hidden=hidden,
            residual=residual,
            context=context,
            window=window,
        )
    )


def depends(
    net: MaskedNet, inputs: list[int], outputs: list[int], context: Tensor | None
) -> Tensor:
    """Which variable's outputs move with which variable's features, by the Jacobian at a few points, bool (D, D)."""
    moved = jacobian(lambda v: net(v, context).sum(0), torch.randn(5, sum(inputs))).abs().sum(1)
    blocks = [part.split(inputs, 1) for part in moved.split(outputs)]
    return torch.tensor([[bool(block.sum() > 0) for block in row] for row in blocks])


@pytest.mark.parametrize(("order", "window", "hidden", "context"), CASES)
def test_each_output_sees_the_positions_before_it_within_the_window_and_nothing_else(
    order, window, hidden, context
):
    inputs, outputs = [1, 2, 3, 1, 2, 3, 1], [2, 3, 2, 3, 2, 3, 2]
    net = made(ORDERS[order], window, NETS[hidden], context)
    position = torch.tensor(net.order).argsort()
    back = position[:, None] - position
    declared = (back > 0) & (back <= (DIMS if window is None else window))
    assert torch.equal(
        depends(net, inputs, outputs, torch.randn(5, context) if context else None), declared
    )


@pytest.mark.parametrize("window", [None, 2, 3])
def test_hidden_units_join_the_variables_of_a_window(window):
    net = made(None, window, (64,), inputs=[1] * 6, outputs=[1] * 6)
    x = torch.randn(6)
    curvature = torch.autograd.functional.hessian(lambda v: net(v[None])[0, 5], x).abs()
    assert curvature[3, 4] > 1e-6
    assert (curvature[1, 4] > 1e-6) == (window is None)


def test_the_first_variable_depends_on_the_context_alone_and_not_linearly():
    net, x = made(context=2), torch.zeros(1, 13)
    context = torch.randn(1, 2)
    first = torch.autograd.functional.hessian(lambda c: net(x, c)[0, 0], context)
    assert first.abs().max() > 1e-6
    assert torch.equal(net(x, context)[:, :2], net(torch.randn(1, 13), context)[:, :2])


@pytest.mark.parametrize(("order", "window", "hidden", "context"), CASES)
def test_a_walk_says_what_a_pass_says(order, window, hidden, context):
    inputs, outputs = [1, 2, 3, 1, 2, 3, 1], [2, 3, 2, 3, 2, 3, 2]
    net, c = (
        made(ORDERS[order], window, NETS[hidden], context),
        torch.randn(4, context) if context else None,
    )
    x = torch.randn(4, sum(inputs))
    features, wanted = x.split(inputs, 1), net(x, c).split(outputs, 1)
    for given in (0, 1, 4):
        stepper = net.stepper(4, c)
        if given:
            stepper.push_many(torch.cat([features[v] for v in net.order[:given]], 1), given)
        for v in net.order[given:]:
            assert torch.allclose(stepper.params(), wanted[v], rtol=0, atol=1e-12)
            assert torch.equal(stepper.params(), stepper.params()), (
                "asking twice must not add twice"
            )
            stepper.push(features[v])


@pytest.mark.parametrize(("dims", "hidden"), [(30, (300, 300)), (200, (64, 64))])
def test_long_walks_cross_their_blocks_rightly(dims, hidden):
    net, x = made(None, None, hidden, inputs=[1] * dims, outputs=[2] * dims), torch.randn(3, dims)
    wanted, stepper = net(x), net.stepper(3)
    asked = [
        i for i in range(dims) if i < 5 or i % 17 == 0 or i > dims - 4
    ]  # long stretches that nobody asks about
    for i in range(dims):
        if i in asked:
            assert torch.allclose(
                stepper.params(), wanted[:, 2 * i : 2 * i + 2], rtol=1e-12, atol=1e-10
            )
        stepper.push(x[:, i : i + 1])


def test_a_walk_costs_about_one_pass(monkeypatch):
    net, x = made(None, None, (256, 256), inputs=[1] * 40, outputs=[2] * 40), torch.randn(8, 40)
    dense = 8 * sum(layer.weight.numel() for layer in (*net.layers, net.skip, net.top))
    counts, addmm_ = [], Tensor.addmm_

    def counted(target: Tensor, weight: Tensor, source: Tensor) -> Tensor:
        counts.append(weight.numel() * source.shape[1])
        return addmm_(target, weight, source)

    monkeypatch.setattr(Tensor, "addmm_", counted)
    stepper = net.stepper(8)
    for i in range(40):
        stepper.params()
        stepper.push(x[:, i : i + 1])
    assert 0.3 * dense < sum(counts) < dense  # forty passes would be forty times it


def test_the_conditionals_of_bernoulli_heads_sum_to_one_over_all_states():
    net = made([4, 1, 7, 0, 2, 6, 3, 5], None, (24, 24), inputs=[1] * 8, outputs=[1] * 8)
    states = torch.tensor(list(product((0.0, 1.0), repeat=8)))
    logits = net(states)
    log_prob = torch.nn.functional.logsigmoid(torch.where(states > 0, logits, -logits)).sum(1)
    assert abs(log_prob.exp().sum() - 1) < 1e-12


def test_a_banded_product_is_the_whole_product_with_its_gradients():
    net = made(None, None, (300, 300), inputs=[1] * 20, outputs=[30] * 20)
    x, direction = torch.randn(4, 20), torch.randn(4, 600)
    assert all(len(layer.bands) > 1 for layer in (net.layers[1], net.top))
    cut = [*torch.autograd.grad((net(x) * direction).sum(), list(net.parameters())), net(x)]
    for layer in (*net.layers, net.skip, net.top):
        layer.bands = layer.bands[:1]
    whole = [*torch.autograd.grad((net(x) * direction).sum(), list(net.parameters())), net(x)]
    assert all(
        torch.allclose(a, b, rtol=1e-12, atol=1e-10) for a, b in zip(cut, whole, strict=True)
    )


@pytest.mark.parametrize("columns", [1, 3])
def test_a_banded_product_has_first_and_second_derivatives(columns):
    bands = [(slice(0, 2), slice(0, 1)), (slice(2, 4), slice(0, 3))]
    mask = torch.tensor([[1.0, 0, 0], [1, 0, 0], [1, 1, 1], [1, 1, 1]])
    base, weight, x = torch.randn(4, columns), torch.randn(4, 3) * mask, torch.randn(3, 3)

    def product_of(b: Tensor, w: Tensor, v: Tensor) -> Tensor:
        return _Banded.apply(b, w * mask, v, bands)

    inputs = tuple(t.requires_grad_() for t in (base, weight, x))
    assert torch.autograd.gradcheck(product_of, inputs)
    assert torch.autograd.gradgradcheck(product_of, inputs)


def test_a_silenced_net_says_nothing_and_can_still_learn():
    net, x = MaskedNet([1] * 5, [2] * 5, hidden=(16,), context=1).silence(), torch.randn(3, 5)
    y = net(x, torch.randn(3, 1))
    assert torch.equal(y, torch.zeros(3, 10))
    y.sum().backward()
    assert net.top.weight.grad.abs().max() > 0


def test_new_nets_keep_the_scale_of_what_they_see():
    net, x = (
        MaskedNet([1] * 50, [1] * 50, hidden=(256, 256, 256), residual=False),
        torch.randn(2000, 50),
    )
    assert 0.02 < net(x)[:, 1:].std() < 0.5


def test_low_precision_agrees_with_full_precision_to_its_own_rounding():
    torch.set_default_dtype(torch.float32)
    net, x = MaskedNet([1] * 20, [30] * 20, hidden=(300, 300)), torch.randn(8, 20)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = net(x)
    low.sum().backward()
    assert (low.float() - net(x)).abs().max() < 0.05


def test_orders_and_contexts_that_do_not_fit_are_refused():
    with pytest.raises(BadConfig, match="order"):
        MaskedNet([1, 1], [1, 1], order=[0, 0])
    with pytest.raises(BadConfig, match="window"):
        MaskedNet([1, 1], [1, 1], window=-1)
    with pytest.raises(BadConfig, match="context"):
        MaskedNet([1, 1], [1, 1], context=2)(torch.zeros(1, 2), torch.zeros(1, 3))
