import math

import pytest
import torch

from likeness.core.errors import BadConfig
from likeness.nets import Decoder, Down, Encoder, Up
from likeness.nets.conv import Grow, group_norm, pyramid
from tests.nets.helpers import assert_all_learn, assert_items_are_alone, build, influence, normal

SHAPES = [
    (1, 4, 4),
    (3, 8, 8),
    (5, 13, 9),
    (1, 28, 28),
    (3, 64, 64),
    (2, 4, 64),
    (1, 2, 3),
    (1, 64),
    (2, 17),
    (3, 4),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_any_shape_goes_in_and_comes_out(shape):
    encoder = build(lambda: Encoder(shape, 6, width=8))
    decoder = build(lambda: Decoder(6, shape, width=8))
    assert encoder(normal(1, 2, *shape)).shape == (2, 6)
    assert decoder(normal(2, 2, 6)).shape == (2, *shape)
    assert max(encoder.down.grid) <= 4
    assert encoder.down.grid == decoder.up.grid


@pytest.mark.parametrize("shape", [(3, 9, 6), (2, 19)])
@pytest.mark.parametrize("norm", [False, True])
def test_encoder_and_decoder_keep_the_promises_of_a_net(shape, norm):
    x, z, c = normal(1, 3, *shape), normal(2, 3, 6), normal(3, 3, 2)
    encoder = build(lambda: Encoder(shape, 6, width=8, depth=2, context=2, norm=norm))
    decoder = build(lambda: Decoder(6, shape, width=8, depth=2, context=2, norm=norm))
    for net, given in ((encoder, x), (decoder, z)):
        assert_items_are_alone(net, given, c)
        assert_all_learn(net, given, c)
        torch.testing.assert_close(net(given), net(given, torch.zeros_like(c)))
        assert influence(lambda c, net=net, given=given: net(given[:1], c), c[:1]).sum(-1).min() > 0


@pytest.mark.parametrize("shape", [(2, 13, 9), (1, 33)])
def test_every_entry_reaches_the_codes_and_every_code_every_entry(shape):
    encoder = build(lambda: Encoder(shape, 3, width=8))
    decoder = build(lambda: Decoder(3, shape, width=8))
    assert influence(encoder, normal(1, 1, *shape)).amin((0, 1, 2)).min() > 0
    assert influence(decoder, normal(2, 1, 3)).min() > 0


def test_a_signal_is_an_image_of_height_one():
    signal, image = (
        build(lambda: Encoder((2, 33), 4, width=8)),
        build(lambda: Encoder((2, 1, 33), 4, width=8)),
    )
    x = normal(1, 3, 2, 33)
    assert torch.equal(signal(x), image(x[:, :, None]))
    assert {p.shape[2] for p in signal.parameters() if p.dim() == 4} == {1}


@pytest.mark.parametrize(
    ("size", "sizes"), [((28, 28), [28, 14, 7, 4]), ((5, 64), [64, 32, 16, 8, 4]), ((4, 4), [4])]
)
def test_sizes_are_halved_rounding_up_to_at_most_four(size, sizes):
    assert [width for _, width in pyramid(size)] == sizes
    assert [width for _, width in pyramid(size, 2)] == sizes[:3]


def test_levels_choose_the_grid_of_codes():
    down, up = build(lambda: Down((1, 28, 28), levels=2)), build(lambda: Up((1, 28, 28), levels=2))
    codes = down(normal(1, 2, 1, 28, 28))
    assert codes.shape == (2, down.channels, 7, 7)
    assert up(codes).shape == (2, 1, 28, 28)
    assert (up.channels, up.grid) == (down.channels, down.grid)


def test_growing_is_the_transposed_convolution_with_the_same_weights():
    """Unfolded channels are a transposed convolution of kernel 6 and stride 2 (Shi et al. 2016, section 2.2)."""
    net = build(lambda: Grow(3, 2, (4, 5), (8, 10)))
    h = normal(1, 2, 3, 4, 5)
    kernel = net.conv.weight.view(2, 2, 2, 3, 3, 3)
    # axes: row and column inside a coarse pixel, output, input, tap row, tap column
    kernel = kernel.flip(4, 5).permute(3, 2, 4, 0, 5, 1).reshape(3, 2, 6, 6)
    expected = torch.nn.functional.conv_transpose2d(h, kernel, stride=2, padding=2)
    bias = net.conv.bias.view(2, 2, 2).permute(2, 0, 1).repeat(1, 4, 5)
    torch.testing.assert_close(net(h), expected + bias)


def test_growing_crops_to_odd_sizes():
    net, odd = (build(lambda s=s: Grow(3, 2, (4, 5), s)) for s in ((8, 10), (7, 9)))
    h = normal(1, 2, 3, 4, 5)
    assert torch.equal(odd(h), net(h)[:, :, :7, :9])


def test_group_norm_has_groups_that_divide_the_channels():
    assert [group_norm(n).num_groups for n in (8, 24, 32, 48, 64, 7)] == [1, 1, 2, 3, 4, 1]
    h = normal(1, 2, 48, 3, 3)
    grouped = group_norm(48).double()(h).view(2, 3, -1)
    torch.testing.assert_close(grouped.mean(-1), torch.zeros(2, 3).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(
        grouped.var(-1, unbiased=False), torch.ones(2, 3).double(), atol=1e-3, rtol=0
    )


def test_embedding_is_what_the_last_map_sees():
    net = build(lambda: Encoder((1, 9, 9), 3, width=8))
    x = normal(1, 2, 1, 9, 9)
    assert net.embed(x).shape == (2, net.features)
    torch.testing.assert_close(net.last(net.embed(x)), net(x))


def test_the_default_decoder_of_a_digit_is_small():
    net = build(lambda: Decoder(40, (1, 28, 28)))
    counts = []
    for conv in (m for m in net.modules() if isinstance(m, torch.nn.Conv2d)):
        conv.register_forward_hook(
            lambda m, _, y: counts.append(2 * m.weight.numel() * math.prod(y.shape[2:]))
        )
    net(normal(1, 1, 40))
    assert sum(counts) < 12e6


def test_refusals():
    with pytest.raises(BadConfig, match=r"\(C, H, W\) or \(C, T\)"):
        Encoder((1, 2, 3, 4), 2)
    with pytest.raises(BadConfig, match="at least 1"):
        Decoder(2, (1, 0, 4))
