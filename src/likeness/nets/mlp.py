"""Fully connected nets, plain and residual."""

import math

from torch import Tensor, nn

from likeness.core.errors import BadConfig
from likeness.nets.embed import ACTIVATIONS, Activation, matched


class MLP(nn.Module):
    """A fully connected net on the last axis, plain or residual.

    Plain: h <- act(norm(W h + U c)) for each entry of `hidden`, then W h + U c.
    Residual: h <- h + W2 act(W1 act(norm(h)) + U c) for each entry, all of one width, which keeps
    deep nets for densities trainable (He et al. 2016, arXiv:1603.05027, fig. 1b). `norm` is a
    LayerNorm, so that no item depends on its batch; `zero` starts the net as the zero function.

    x: (*S, inputs); context: (*S, C), or anything that broadcasts against x, or None (the zero
        vector) -> (*S, outputs)
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        hidden: tuple[int, ...] = (128, 128),
        activation: Activation = "silu",
        context: int = 0,
        residual: bool = False,
        norm: bool = False,
        zero: bool = False,
    ) -> None:
        super().__init__()
        if residual and len(set(hidden)) != 1:
            raise BadConfig(
                f"a residual net has blocks of one width, not {hidden}",
                do="repeat one width in hidden",
            )
        self.context = context
        last = hidden[-1] if hidden else inputs
        blocks = _residual if residual else _plain
        self.blocks = nn.ModuleList(blocks(inputs, hidden, context, norm, ACTIVATIONS[activation]))
        self.last = Affine(last, outputs, context=context, zero=zero)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The outputs for `x` under `context`."""
        context = matched(context, self.context)
        for block in self.blocks:
            x = block(x, context)
        return self.last(x, context)


class Affine(nn.Module):
    """W x + U c + b: an affine map of the input and the context together; `zero` starts it at 0."""

    def __init__(self, inputs: int, outputs: int, *, context: int = 0, zero: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.side = nn.Linear(context, outputs, bias=False) if context else None
        if zero:
            for parameter in self.parameters():
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The map's value at (x, context); no context is the zero vector."""
        y = self.linear(x)
        if context is None or self.side is None:
            return y
        return y + self.side(context)


class _Layer(nn.Module):
    """act(norm(W x + U c))."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        context: int,
        norm: bool,
        activation: type[nn.Module] | None,
    ) -> None:
        super().__init__()
        self.affine = Affine(inputs, outputs, context=context)
        self.norm = nn.LayerNorm(outputs) if norm else nn.Identity()
        self.activation = activation() if activation else nn.Identity()

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        return self.activation(self.norm(self.affine(x, context)))


class _Residual(nn.Module):
    """h + W2 act(W1 act(norm(h)) + U c), its second map scaled down so that depth does not change the variance."""

    def __init__(
        self, width: int, context: int, norm: bool, activation: type[nn.Module], depth: int
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.activation = activation()
        self.first = Affine(width, width, context=context)
        self.second = nn.Linear(width, width)
        # The sum of `depth` branches has unit variance at the start.
        self.second.weight.data.mul_(1 / math.sqrt(depth))

    def forward(self, h: Tensor, context: Tensor | None) -> Tensor:
        return h + self.second(self.activation(self.first(self.activation(self.norm(h)), context)))


def _plain(
    inputs: int, hidden: tuple[int, ...], context: int, norm: bool, activation: type[nn.Module]
) -> list[nn.Module]:
    sizes = (inputs, *hidden)
    return [_Layer(i, o, context, norm, activation) for i, o in zip(sizes, hidden, strict=False)]


def _residual(
    inputs: int, hidden: tuple[int, ...], context: int, norm: bool, activation: type[nn.Module]
) -> list[nn.Module]:
    blocks = [_Residual(width, context, norm, activation, len(hidden)) for width in hidden]
    return [_Layer(inputs, hidden[0], context, False, None), *blocks]
