"""What the tests of nets share: nets and numbers from a seed in double precision, and the promises of every net."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.autograd.functional import jacobian


def build(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A net in double precision whose every parameter is off zero, the ambient generator left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = make().double()
    for i, parameter in enumerate(net.parameters()):
        parameter.data += 0.05 * normal(1000 + i, *parameter.shape)
    return net


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def influence(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Largest |d output / d input|, outputs first: by autograd at `x`."""
    return jacobian(f, x).abs()


def assert_items_are_alone(net: nn.Module, *args: Tensor | None) -> None:
    """Row i of a batch is what the net says of row i alone."""
    together = net(*args)
    for i in range(len(together)):
        alone = net(*(a if a is None else a[i : i + 1] for a in args))
        torch.testing.assert_close(alone[0], together[i], rtol=0, atol=1e-12)


def assert_all_learn(net: nn.Module, *args: Tensor | None) -> None:
    """Every parameter gets a gradient that is not zero."""
    net.zero_grad()
    net(*args).square().sum().backward()
    idle = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == []
