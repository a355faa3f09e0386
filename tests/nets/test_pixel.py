import pytest
import torch

from likeness.core.errors import BadConfig
from likeness.nets import PixelCNN
from tests.nets.helpers import assert_all_learn, assert_items_are_alone, build, influence, normal


def make(shape, *, features=2, outputs=3, context=0, dilations=(1, 2)):
    C = shape[0]
    return build(
        lambda: PixelCNN(
            shape, C * features, C * outputs, width=8, dilations=dilations, context=context
        )
    )


def walk(stepper, x, channels):
    """Outputs (B, outputs, H, W) by stepping, each variable's features pushed after it was asked for."""
    images = []
    for row in range(x.shape[2]):
        for column in range(x.shape[3]):
            pixel = []
            for part in x[:, :, row, column].chunk(channels, -1):
                pixel.append(stepper.params())
                stepper.push(part)
            images.append(torch.cat(pixel, -1))
    return torch.stack(images, -1).view(len(x), -1, *x.shape[2:])


@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 3, 4), (2, 1, 6)])
def test_outputs_see_earlier_variables_only(shape):
    """In the order row, column, channel the Jacobian is strictly lower triangular, and nothing near is out of sight."""
    C, H, W = shape
    net = make(shape)
    seen = influence(lambda x: net(x[None])[0], normal(1, 2 * C, H, W))
    seen = (
        seen.view(C, 3, H, W, C, 2, H, W)
        .amax((1, 5))
        .permute(1, 2, 0, 4, 5, 3)
        .reshape(C * H * W, C * H * W)
    )
    assert (seen.triu() == 0).all()
    assert (
        seen + torch.ones_like(seen).triu() > 0
    ).all()  # within the layers' reach there is no blind spot


@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("shape", [(1, 7, 6), (3, 4, 5), (1, 1, 9), (2, 5, 1)])
def test_stepping_equals_the_full_pass(shape, context):
    net = make(shape, context=context, dilations=(1, 2, 1, 3))
    x, c = normal(1, 3, 2 * shape[0], *shape[1:]), normal(2, 3, context) if context else None
    with torch.no_grad():
        torch.testing.assert_close(
            walk(net.stepper(3, c), x, shape[0]), net(x, c), rtol=0, atol=1e-10
        )


def test_given_variables_need_not_be_asked_for():
    net = make((2, 3, 4))
    x = normal(1, 2, 4, 3, 4)
    stepper = net.stepper(2)
    with torch.no_grad():
        for row in range(3):
            for column in range(4):
                first, second = x[:, :, row, column].chunk(2, -1)
                stepper.push(first)
                if (row, column) == (2, 1):
                    torch.testing.assert_close(stepper.params(), net(x)[:, 3:, 2, 1])
                stepper.push(second)
        with pytest.raises(IndexError, match="all 3 rows"):
            stepper.params()


@pytest.mark.parametrize("channels", [1, 3])
def test_pixel_net_keeps_the_promises_of_a_net(channels):
    net = make((channels, 4, 5), context=3)
    x, c = normal(1, 3, 2 * channels, 4, 5), normal(2, 3, 3)
    assert_items_are_alone(net, x, c)
    assert_all_learn(net, x, c)
    torch.testing.assert_close(net(x), net(x, torch.zeros_like(c)))
    assert influence(lambda c: net(x[:1], c), c[:1]).sum(-1).min() > 0


def test_the_place_is_known():
    """Far from every border, equal surroundings still give outputs that depend on where they are."""
    net = make((1, 12, 12), dilations=(1,))
    y = net(torch.zeros(1, 2, 12, 12).double())[0, 0, 6:, 6:]
    assert y.unique().numel() == y.numel()


def test_refusals():
    with pytest.raises(BadConfig, match="equally"):
        PixelCNN((3, 4, 4), 4, 6)
    with pytest.raises(BadConfig, match="one layer"):
        make((1, 4, 4), dilations=())
    with pytest.raises(BadConfig, match="say context=2"):
        make((1, 4, 4)).stepper(1, torch.ones(1, 2))
