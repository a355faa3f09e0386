"""What nets are told of a condition."""

import torch

from likeness.core.batch import Batch
from likeness.core.space import sequence
from likeness.nets.context import ContextNet


def told(net: ContextNet, tokens: list[list[int]], length: list[int], hidden: list[int] | None = None) -> torch.Tensor:
    x = torch.tensor(tokens, dtype=torch.float64)
    given = Batch(x, length=torch.tensor(length))
    if hidden is not None:
        mask = torch.zeros(x.shape[1], dtype=torch.bool)
        mask[hidden] = True
        given = given.hide(mask)
    return net(given)


def test_the_order_of_tokens_counts() -> None:
    torch.manual_seed(0)
    net = ContextNet(sequence(5, 4), 8).double()
    one, other = told(net, [[1, 2, 3, 0], [3, 2, 1, 0]], [3, 3])
    assert not torch.allclose(one, other)


def test_what_is_absent_or_hidden_says_nothing() -> None:
    torch.manual_seed(0)
    net = ContextNet(sequence(5, 4), 8).double()
    short = told(net, [[1, 2, 0, 0], [1, 2, 4, 3]], [2, 2])
    assert torch.equal(short[0], short[1])
    veiled = told(net, [[1, 2, 3, 0], [1, 4, 3, 0]], [3, 3], hidden=[1])
    assert torch.equal(veiled[0], veiled[1])
    unknown = told(net, [[1, 2, 3, 0]], [3], hidden=[0, 1, 2, 3])
    assert torch.equal(unknown[0], net.null)
