"""The faces of causal nets: orders, and that nothing is seen too early."""

import pytest
import torch

from likeness.nets.causal import TOGETHER, Pixel
from tests.nets.helpers import build, influence, normal


@pytest.mark.parametrize(("channels", "patch"), [(1, 2), (2, 2), (1, 3), (3, 1)])
def test_an_image_in_patches_has_an_order_and_keeps_it(channels, patch):
    """Along `order` the Jacobian is strictly lower triangular, all that comes before is seen, and walks agree."""
    shape = (channels, 2 * patch, 3 * patch)
    net = build(lambda: Pixel(shape, 2, 3, width=8, dilations=(1, 2), context=0, patch=patch))
    size = channels * 6 * patch * patch
    x = normal(1, size, 2)
    seen = (
        influence(lambda v: net(v.reshape(1, -1))[0], x.flatten())
        .view(size, 3, size, 2)
        .amax((1, 3))
    )
    order = torch.tensor(net.order)
    along = seen[order][:, order]
    assert sorted(net.order) == list(range(size))
    assert (along.triu() == 0).all()
    assert (along + torch.ones_like(along).triu() > 0).all()
    with torch.no_grad():
        whole, walk = net(x.reshape(1, -1)).view(size, 3), net.stepper(1)
        for v in net.order:
            torch.testing.assert_close(walk.params()[0], whole[v], rtol=0, atol=1e-10)
            walk.push(x[v][None])


def test_many_images_are_answered_for_as_they_are_with_gradients():
    """A few at a time without gradients, all at once with them, each under its own context."""
    net = build(lambda: Pixel((1, 4, 4), 1, 2, width=8, dilations=(1,), context=3))
    g = torch.Generator().manual_seed(0)
    rows = 2 * TOGETHER + 5
    x, context = (
        torch.randn(rows, 16, generator=g).double(),
        torch.randn(rows, 3, generator=g).double(),
    )
    at_once = net(x, context).detach()
    with torch.no_grad():
        few = net(x, context)
        bare = net(x, None)
    assert torch.allclose(few, at_once, rtol=0, atol=1e-12)
    assert not torch.allclose(few, bare)
    assert torch.allclose(bare, net(x, None).detach(), rtol=0, atol=1e-12)
