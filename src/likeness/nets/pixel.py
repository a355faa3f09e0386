"""A causal convolutional net for images: every output sees the pixels before it in raster order, and no other."""

import math
from collections import deque
from typing import cast, final

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear, pad, silu

from likeness.core.errors import BadConfig
from likeness.nets.conv import channels_last
from likeness.nets.embed import matched
from likeness.nets.grouped import GroupedHead, Stepper

REACH = 3  # rows above, and pixels to the left and right, that the first layer sees


@final
class PixelCNN(nn.Module):
    """Outputs for every variable of an image from those before it: row by row, pixel by pixel, channels innermost.

    Two streams leave no blind spot: v at (r, c) sees rows above r only, h sees v and the pixels
    left of c in row r. h starts from both; then p = K_v * silu(v), v <- v + p, h <- h + W silu(K_h
    * silu(h) + L p), with kernels of 2x3 and 1x2 pixels at the layer's dilation; what each of n
    layers adds is scaled by 1/sqrt(n) at first, in place of norms. Maps of biases tell pixels where
    they are. A grouped head orders the channels of one pixel. van den Oord et al. 2016,
    arXiv:1606.05328, section 2.3, with plain residual blocks in place of gates.

    x: features (B, inputs, H, W), inputs / C for each channel, grouped by channel; context: (B, C)
        or None
    -> (B, outputs, H, W), outputs / C for each channel, grouped by channel
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        inputs: int,
        outputs: int,
        *,
        width: int = 64,
        dilations: tuple[int, ...] = (1, 2, 1, 3, 1, 2),
        context: int = 0,
    ) -> None:
        super().__init__()
        if not dilations:
            raise BadConfig(
                "without one layer no pixel would see the rows above",
                do="name one dilation a layer",
            )
        channels, height, columns = shape
        self.shape = shape
        self.inputs = inputs
        self.width = width
        self.context = context
        self.above = nn.Conv2d(inputs, width, (REACH, 2 * REACH + 1))
        self.left = nn.Conv2d(inputs, width, (1, REACH))
        self.down = nn.Conv2d(width, width, 1, bias=False)
        self.place = nn.Parameter(torch.zeros(2, width, height, columns))  # of v and of h
        self.layers = nn.ModuleList(
            CausalLayer(width, dilation, context=context) for dilation in dilations
        )
        # torch starts with variance 1 / (3 fan-in), which fades on the way.
        for conv in (m for m in self.modules() if isinstance(m, nn.Conv2d)):
            conv.weight.data.mul_(math.sqrt(3))
        # Residual branches of n layers add up to unit variance.
        for layer in self.layers:
            cast(CausalLayer, layer).scale(1 / math.sqrt(len(dilations)))
        self.head = GroupedHead(width, outputs, groups=channels, features=inputs, hidden=width)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The outputs of all variables in one pass."""
        context = matched(context, self.context)
        # v sees rows above only, h the pixels to the left: padding and cropping shift both by one.
        v = channels_last(self.above(pad(x, (REACH, REACH, REACH, 0))[:, :, :-1]))
        h = channels_last(self.left(pad(x, (REACH, 0))[..., :-1]))
        of_v, of_h = (
            channels_last(p[None]).to(v.dtype) for p in self.place
        )  # as autocast may have lowered v
        v = v + of_v
        h = h + of_h + self.down(v)
        for layer in self.layers:
            v, h = layer(v, h, context)
        return self.head(h.permute(0, 2, 3, 1), x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def stepper(self, rows: int, context: Tensor | None = None) -> "PixelStepper":
        """A walk through `rows` images at once, for sampling and completion."""
        return PixelStepper(self, rows, matched(context, self.context))


class CausalLayer(nn.Module):
    """One layer of both streams: (v, h) -> (v, h), each (B, width, H, W)."""

    def __init__(self, width: int, dilation: int, *, context: int = 0) -> None:
        super().__init__()
        self.dilation = dilation
        self.vertical = nn.Conv2d(width, width, (2, 3), dilation=dilation)
        self.horizontal = nn.Conv2d(width, width, (1, 2), dilation=dilation)
        self.link = nn.Conv2d(width, width, 1, bias=False)
        self.last = nn.Conv2d(width, width, 1)
        self.side = nn.Linear(context, 2 * width, bias=False) if context else None

    def scale(self, gain: float) -> None:
        """Multiply what the layer adds to both streams."""
        for conv in (self.vertical, self.last):
            conv.weight.data.mul_(gain)

    def shifts(self, context: Tensor | None) -> tuple[Tensor, Tensor] | None:
        """What the context adds to the vertical and to the horizontal stream, each (B, width)."""
        if context is None or self.side is None:
            return None
        vertical, horizontal = self.side(context).chunk(2, -1)
        return vertical, horizontal

    def forward(self, v: Tensor, h: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Both streams after this layer."""
        d = self.dilation
        shifts = self.shifts(context)
        # p feeds both streams: v from above, and through the 1x1 link h of the same pixel.
        p = self.vertical(pad(silu(v), (d, d, d, 0)))
        u = self.horizontal(pad(silu(h), (d, 0))) + self.link(p)
        if shifts is not None:
            p = p + shifts[0][:, :, None, None]
            u = u + shifts[1][:, :, None, None]
        return v + p, h + self.last(silu(u))


@final
class PixelStepper(Stepper):
    """Computes each activation of a `PixelCNN` once: v a row at a time, h a pixel at a time.

    A whole image costs about one forward pass; memory holds a few rows and not the image.
    """

    def __init__(self, net: PixelCNN, rows: int, context: Tensor | None) -> None:
        super().__init__(net.head)
        self._net = net
        self._column = 0
        self._row = 0
        _, _, columns = net.shape
        self._layers = [
            _LayerCache(cast(CausalLayer, layer), rows, columns, context) for layer in net.layers
        ]
        blank = net.place.new_zeros(rows, net.inputs, columns)
        self._rows: deque[Tensor] = deque([blank] * REACH, maxlen=REACH)
        self._pixels: deque[Tensor] = deque([blank[..., 0]] * REACH, maxlen=REACH)
        self._left = net.left.weight[:, :, 0].permute(0, 2, 1).flatten(1)
        self._entering = blank
        self._line: list[Tensor] = []

    def _advance(self, place: Tensor | None) -> Tensor:
        if place is not None:
            self._take(place)
        if not self._line:
            self._start_row()
        # The pixels to the left of this one, and what the rows above say at its column.
        h = linear(torch.cat(list(self._pixels), -1), self._left) + self._entering[len(self._line)]
        for cache in self._layers:
            h = cache.pixel(h, len(self._line))
        return h

    def _take(self, place: Tensor) -> None:
        """Put the features of a finished pixel where the rest of its row and the next rows look for them."""
        self._line.append(place)
        self._pixels.append(place)
        if len(self._line) == self._net.shape[2]:
            self._rows.append(torch.stack(self._line, -1))
            self._pixels.extend([torch.zeros_like(place)] * REACH)
            self._row = self._row + 1
            self._line = []

    def _start_row(self) -> None:
        """Compute the vertical stream of the whole row, which needs the rows above only."""
        # Rows above that the first layer's kernel reaches, then every layer's vertical stream.
        net = self._net
        if self._row == net.shape[1]:
            raise IndexError(
                f"all {self._row} rows of the image have been taken: start another stepper"
            )
        of_v, of_h = net.place[:, :, self._row]
        v = net.above(pad(torch.stack(list(self._rows), 2), (REACH, REACH)))[:, :, 0] + of_v
        self._entering = (
            linear(v.permute(2, 0, 1), net.down.weight[:, :, 0, 0], net.left.bias)
            + of_h.t()[:, None]
        )
        for cache in self._layers:
            v = cache.row(v)


class _LayerCache:
    """What one layer remembers: silu(v) of the last rows, silu(h) and the linked p of the current row."""

    def __init__(self, layer: CausalLayer, rows: int, columns: int, context: Tensor | None) -> None:
        self._layer = layer
        self._shifts = layer.shifts(context)
        d = layer.dilation
        width = layer.vertical.out_channels
        blank = layer.link.weight.new_zeros(rows, width, columns)
        self._above: deque[Tensor] = deque([blank] * (d + 1), maxlen=d + 1)
        self._far, self._near = layer.horizontal.weight[:, :, 0].permute(2, 1, 0)
        self._last = layer.last.weight[:, :, 0, 0]
        self._passed: list[Tensor] = []
        self._linked = blank

    def row(self, v: Tensor) -> Tensor:
        """The next row (B, width, W) of v, from this layer's input row."""
        # The kernel of two rows sees this one and the one `dilation` above.
        layer = self._layer
        d = self._layer.dilation
        self._above.append(silu(v))
        pair = torch.stack([self._above[0], self._above[-1]], 2)
        p = conv2d(pad(pair, (d, d)), layer.vertical.weight, layer.vertical.bias, dilation=(1, d))[
            :, :, 0
        ]
        linked = linear(p.permute(2, 0, 1), layer.link.weight[:, :, 0, 0], layer.horizontal.bias)
        self._passed = []
        if self._shifts is None:
            self._linked = linked
        else:
            self._linked = linked + self._shifts[1]
        if self._shifts is None:
            return v + p
        return v + p + self._shifts[0][:, :, None]

    def pixel(self, h: Tensor, column: int) -> Tensor:
        """The next pixel (B, width) of h, from this layer's input pixel."""
        # The kernel of two pixels: this one and the one
        # `dilation` to the left, 0 before the row begins.
        near = silu(h)
        u = torch.addmm(self._linked[column], near, self._near)
        if column >= self._layer.dilation:
            u = torch.addmm(u, self._passed[column - self._layer.dilation], self._far)
        self._passed.append(near)
        return h + linear(silu(u), self._last, self._layer.last.bias)
