"""What nets are told of a condition."""

import torch

from likeness.core.batch import Batch
from likeness.core.space import Nominal, Real, Space, sequence
from likeness.nets.context import ContextNet


def told(
    net: ContextNet, tokens: list[list[int]], length: list[int], hidden: list[int] | None = None
) -> torch.Tensor:
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


def test_steps_of_several_named_columns_are_all_read() -> None:
    torch.manual_seed(0)
    columns = (Nominal(categories=3), Nominal(categories=100), Real())
    space = Space(axes=("time", "column"), shape=(None, 3), variables=columns, longest=4)
    net = ContextNet(space, 8).double()
    x = torch.tensor([[[1, 50, 0.5], [2, 7, 0.5]]], dtype=torch.float64)
    base = net(Batch(torch.nn.functional.pad(x, (0, 0, 0, 2)), length=torch.tensor([2])))
    for column, value in ((0, 0.0), (1, 51.0), (2, 1.5)):
        other = x.clone()
        other[0, 1, column] = value
        said = net(Batch(torch.nn.functional.pad(other, (0, 0, 0, 2)), length=torch.tensor([2])))
        assert not torch.allclose(base, said)
    summary = net.summary.raw(Batch(x, length=torch.tensor([2])))
    assert summary.tolist() == [
        [0.0, 1.0, 1.0, 0.5, 2.0]
    ]  # few categories counted, a mean, the number of steps
