import pytest
import torch
from torch import nn

from likeness.core.errors import BadConfig
from likeness.nets import ACTIVATIONS, MLP, Fourier, GroupedHead, Modulation, TimeEmbedding
from tests.nets.helpers import assert_all_learn, assert_items_are_alone, build, influence, normal


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("norm", [False, True])
def test_mlp_keeps_the_promises_of_a_net(residual, norm):
    net = build(lambda: MLP(3, 2, hidden=(16, 16), context=4, residual=residual, norm=norm))
    x, c = normal(1, 5, 3), normal(2, 5, 4)
    assert_items_are_alone(net, x, c)
    assert_all_learn(net, x, c)
    torch.testing.assert_close(net(x), net(x, torch.zeros_like(c)))  # no context is the zero vector
    assert influence(lambda c: net(x[:1], c), c[:1]).min() > 0
    draws = normal(3, 7, 5, 3)
    torch.testing.assert_close(net(draws, c)[4], net(draws[4], c))


def test_mlp_without_hidden_layers_is_affine():
    net = build(lambda: MLP(3, 2, hidden=(), context=2))
    x, y, c, d = normal(1, 3), normal(2, 3), normal(3, 2), normal(4, 2)
    torch.testing.assert_close(net(x, c) + net(y, d), net(x + y, c + d) + net(torch.zeros_like(x)))


def test_plain_mlp_is_the_composition_of_its_layers():
    net = build(lambda: MLP(3, 2, hidden=(8,), activation="tanh"))
    first, last = net.blocks[0].affine.linear, net.last.linear
    x = normal(1, 6, 3)
    torch.testing.assert_close(
        net(x), torch.tanh(x @ first.weight.T + first.bias) @ last.weight.T + last.bias
    )


def test_residual_mlp_holds_the_size_of_its_signal_at_any_depth():
    def spread(depth):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = MLP(16, 1, hidden=(64,) * depth, residual=True).double()
        h = normal(1, 200, 16)
        for block in net.blocks:
            h = block(h, None)
        return h.std().item()

    assert spread(32) == pytest.approx(spread(2), rel=0.3)


def test_zero_starts_as_the_zero_function():
    with torch.random.fork_rng():
        net = MLP(3, 2, context=1, zero=True)
    assert net(torch.ones(4, 3), torch.ones(4, 1)).abs().max() == 0


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_named_activation_works_and_is_not_linear(name):
    net = build(lambda: MLP(1, 1, hidden=(8,), activation=name))
    x = torch.linspace(-3, 3, 7, dtype=torch.float64)[:, None]
    assert net(x).diff(n=2, dim=0).abs().max() > 1e-6


def test_a_caller_may_bound_the_slope_by_spectral_norms():
    net = build(lambda: MLP(2, 1, hidden=(32, 32), activation="relu"))
    for module in net.modules():
        if isinstance(module, nn.Linear):
            nn.utils.parametrizations.spectral_norm(module, n_power_iterations=50)
    slopes = influence(net, normal(1, 20, 2)).sum((1, 2)).square().sum(-1).sqrt()
    assert slopes.max() <= 1 + 1e-6


def test_refusals_say_what_to_do():
    with pytest.raises(BadConfig, match="say context=2"):
        MLP(3, 2)(torch.ones(1, 3), torch.ones(1, 2))
    with pytest.raises(BadConfig, match="one width"):
        MLP(3, 2, hidden=(8, 16), residual=True)
    with pytest.raises(BadConfig, match="even size"):
        Fourier(3)
    with pytest.raises(BadConfig, match="equally"):
        GroupedHead(4, 5, groups=3, features=6, hidden=2)


def test_fourier_features_have_the_kernel_of_their_formula():
    net = build(lambda: Fourier(32))
    s, t = normal(1, 6), normal(2, 6)
    kernel = 2 * torch.cos(2 * torch.pi * (s - t)[:, None] * net.frequencies).sum(-1)
    torch.testing.assert_close((net(s) * net(t)).sum(-1), kernel)
    torch.testing.assert_close(net(s).square().sum(-1), torch.full((6,), 32.0, dtype=torch.float64))
    torch.testing.assert_close(
        net.frequencies[1:] / net.frequencies[:-1], torch.full((15,), 2 ** (8 / 15)).double()
    )


def test_time_embedding_tells_near_times_apart():
    net = build(lambda: TimeEmbedding(8))
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    distance = torch.cdist(net(t), net(t)) + torch.eye(101, dtype=torch.float64)
    assert distance.min() > 1e-3
    assert_items_are_alone(net, t)
    assert_all_learn(net, t)


@pytest.mark.parametrize("last", [False, True])
def test_modulation_is_an_affine_map_of_every_channel(last):
    net = build(lambda: Modulation(2, 3, last=last))
    c, h = normal(1, 4, 2), normal(2, 4, 3, 5, 6)
    scale, shift = (c @ net.linear.weight.T).view(4, 6, 1, 1).chunk(2, 1)
    given = h.movedim(1, -1) if last else h
    got = net(given, c).movedim(-1, 1) if last else net(given, c)
    torch.testing.assert_close(got, h * (1 + scale) + shift)
    assert net(given, None) is given


def test_grouped_head_sees_earlier_groups_only():
    net = build(lambda: GroupedHead(4, 6, groups=3, features=9, hidden=5))
    h, x = normal(1, 4), normal(2, 9)
    seen = influence(lambda x: net(h, x), x).view(3, 2, 3, 3).amax((1, 3))
    assert (seen.triu() == 0).all()
    assert (seen[torch.tril_indices(3, 3, -1).unbind()] > 0).all()
    assert influence(lambda h: net(h, x), h).min() > 0
    assert_all_learn(net, h, x)
