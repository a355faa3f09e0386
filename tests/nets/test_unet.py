import pytest
import torch

from likeness.core.errors import BadConfig
from likeness.nets import UNet
from likeness.nets.unet import Attention
from tests.nets.helpers import assert_all_learn, assert_items_are_alone, build, influence, normal

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (1, 64), (2, 7, 5), (3, 1, 9), (1, 3), (5, 2, 2)]


@pytest.mark.parametrize("shape", SHAPES)
def test_any_shape_comes_out_as_it_went_in(shape):
    net = build(lambda: UNet(shape, 2, width=8, time=4))
    assert net(normal(1, 2, *shape), normal(2, 2, 4)).shape == (2, 2, *shape[1:])


@pytest.mark.parametrize(("shape", "attention"), [((2, 7, 6), 0), ((2, 7, 6), 2), ((1, 11), 1)])
def test_unet_keeps_the_promises_of_a_net(shape, attention):
    net = build(lambda: UNet(shape, 2, width=8, blocks=2, time=4, context=3, attention=attention))
    x, t, c = normal(1, 3, *shape), normal(2, 3, 4), normal(3, 3, 3)
    assert_items_are_alone(net, x, t, c)
    assert_all_learn(net, x, t, c)
    torch.testing.assert_close(net(x, t), net(x, t, torch.zeros_like(c)))
    for other in (lambda t: net(x[:1], t, c[:1]), lambda t: net(x[:1], t)):
        assert influence(other, t[:1]).sum(-1).min() > 0
    assert influence(lambda c: net(x[:1], t[:1], c), c[:1]).sum(-1).min() > 0


def test_every_pixel_sees_the_whole_image():
    net = build(lambda: UNet((1, 13, 9), 1, width=8))
    assert influence(net, normal(1, 1, 1, 13, 9)).min() > 0


def test_zero_starts_as_the_zero_function():
    with torch.random.fork_rng():
        net = UNet((1, 8, 8), 1, width=8, zero=True)
    assert net(torch.ones(2, 1, 8, 8)).abs().max() == 0


def test_attention_is_blind_to_order():
    """Without positions, attention commutes with every permutation of the pixels."""
    net = build(lambda: Attention(8, heads=2))
    h, order = normal(1, 2, 8, 3, 4), torch.randperm(12, generator=torch.Generator().manual_seed(0))

    def permuted(u):
        return u.flatten(2)[:, :, order].view_as(u)

    torch.testing.assert_close(net(permuted(h)), permuted(net(h)))


def test_attention_agrees_with_the_library():
    net = build(lambda: Attention(8, heads=2))
    h = normal(1, 3, 8, 2, 5)
    q, k, v = net.qkv(net.norm(h).flatten(2).mT).view(3, 10, 3, 2, 4).permute(2, 0, 3, 1, 4)
    mixed = (
        torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(3, 10, 8)
    )
    torch.testing.assert_close(net(h), h + net.last(mixed).mT.view(3, 8, 2, 5))


def test_refusals():
    with pytest.raises(BadConfig, match="heads"):
        UNet((1, 8, 8), 1, width=8, attention=3)
    with pytest.raises(BadConfig, match="say time=4"):
        UNet((1, 8, 8), 1, width=8)(torch.ones(1, 1, 8, 8), torch.ones(1, 4))
