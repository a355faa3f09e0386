"""Convolutional encoders and decoders for images (C, H, W) and signals (C, T) of any size.

A signal is an image of height one, and an axis of size one gets kernels of size one, so both share
all code. Sizes are halved rounding up and restored exactly, so no shape needs padding by the
caller. Nothing here looks across a batch.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from likeness.core.errors import BadConfig
from likeness.nets.embed import Modulation, matched

Size = tuple[int, int]


def plane(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(C, H, W) of an image, or (C, 1, T) of a signal."""
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise BadConfig(
            f"convolutions take (C, H, W) or (C, T) with sizes of at least 1, not {shape}"
        )
    return shape[0], 1 if len(shape) == 2 else shape[1], shape[-1]


def halved(size: Size, smallest: int) -> Size:
    """Half of each axis, rounded up, where it is larger than `smallest`."""
    height, width = ((s + 1) // 2 if s > smallest else s for s in size)
    return height, width


def pyramid(size: Size, levels: int | None = None, *, smallest: int = 4) -> list[Size]:
    """The sizes from `size` down: `levels` halvings at most, until every axis is at most `smallest`."""
    sizes = [size]
    while halved(sizes[-1], smallest) != sizes[-1] and (levels is None or len(sizes) <= levels):
        sizes.append(halved(sizes[-1], smallest))
    return sizes


def channels_last(h: Tensor) -> Tensor:
    """The same numbers in the layout in which convolutions are fastest."""
    return h.contiguous(memory_format=torch.channels_last)


def convolution(
    inputs: int, outputs: int, size: Size, *, kernel: int = 3, stride: Size = (1, 1)
) -> nn.Conv2d:
    """A convolution that keeps the `size` of its input, or divides it by `stride` rounding up."""
    # An axis of size 1 keeps a kernel of size 1.
    kernels = [1 if s == 1 else kernel for s in size]
    padding = [k // 2 for k in kernels]
    conv = nn.Conv2d(
        inputs, outputs, (kernels[0], kernels[1]), stride=stride, padding=(padding[0], padding[1])
    )
    # torch starts with variance 1 / (3 fan-in), which fades from layer to layer.
    conv.weight.data.mul_(math.sqrt(3))
    return conv


def group_norm(channels: int) -> nn.GroupNorm:
    """A GroupNorm with groups of about 16 channels; its statistics are those of one item."""
    return nn.GroupNorm(
        max(g for g in range(1, max(channels // 16, 1) + 1) if channels % g == 0), channels
    )


class Block(nn.Module):
    """A residual block: h + W2 * act(modulate(norm(W1 * act(norm(h))), context)).

    h: (B, inputs, H, W) -> (B, outputs, H, W); the shortcut is a 1x1 convolution where the channels
        differ.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: Size,
        *,
        context: int = 0,
        norm: bool = False,
        depth: int = 1,
    ) -> None:
        super().__init__()
        self.norm1 = group_norm(inputs) if norm else nn.Identity()
        self.conv1 = convolution(inputs, outputs, size)
        self.norm2 = group_norm(outputs) if norm else nn.Identity()
        self.modulation = Modulation(context, outputs)
        self.conv2 = convolution(outputs, outputs, size)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        # The residual branches of all blocks together add unit variance, whatever the depth.
        self.conv2.weight.data.mul_(1 / math.sqrt(depth))

    def forward(self, h: Tensor, context: Tensor | None = None) -> Tensor:
        """The block's output for `h` under `context`."""
        u = self.norm2(self.conv1(silu(self.norm1(h))))
        return self.shortcut(h) + self.conv2(silu(self.modulation(u, context)))


class Shrink(nn.Module):
    """A strided convolution to the `small` size."""

    def __init__(
        self, inputs: int, outputs: int, large: Size, small: Size, *, kernel: int = 3
    ) -> None:
        super().__init__()
        stride = _strides(large, small)
        self.conv = convolution(inputs, outputs, large, kernel=kernel, stride=stride)

    def forward(self, h: Tensor) -> Tensor:
        """(B, inputs, *large) -> (B, outputs, *small)."""
        return self.conv(h)


class Grow(nn.Module):
    """A convolution at the small size whose channels are unfolded into pixels and cropped to the `large` size.

    Every fine pixel of a coarse one has weights of its own: as rich as a transposed convolution,
        without overlaps.
    Shi et al. 2016, arXiv:1609.05158, eq. 4.
    """

    def __init__(self, inputs: int, outputs: int, small: Size, large: Size) -> None:
        super().__init__()
        self.stride = _strides(large, small)
        self.large = large
        self.conv = convolution(inputs, outputs * math.prod(self.stride), small)

    def forward(self, h: Tensor) -> Tensor:
        """(B, inputs, *small) -> (B, outputs, *large)."""
        h = self.conv(h)
        (a, b) = self.stride
        (B, C, H, W) = h.shape
        # Pixel shuffle: (B, a b C, H, W) -> (B, H, W, a, b, C) -> (B, H a, W b, C), then cropped.
        h = h.permute(0, 2, 3, 1).reshape(B, H, W, a, b, C // (a * b)).permute(0, 1, 3, 2, 4, 5)
        h = h.reshape(B, H * a, W * b, C // (a * b))[:, : self.large[0], : self.large[1]]
        return channels_last(h.permute(0, 3, 1, 2))


class Stage(nn.Module):
    """All that happens at one size: the way there, then residual blocks."""

    def __init__(
        self,
        entry: nn.Module,
        width: int,
        size: Size,
        *,
        blocks: int,
        context: int,
        norm: bool,
        depth: int,
    ) -> None:
        super().__init__()
        self.entry = entry
        self.blocks = nn.ModuleList(
            Block(width, width, size, context=context, norm=norm, depth=depth)
            for _ in range(blocks)
        )

    def forward(self, h: Tensor, context: Tensor | None) -> Tensor:
        """The map at this stage's size."""
        h = self.entry(h)
        for block in self.blocks:
            h = block(h, context)
        return h


class Down(nn.Module):
    """From data to a coarse map of features: a strided stem, then residual blocks and halvings.

    x: (B, *shape) -> (B, channels, *grid); channels double with each halving, up to eight times
        `width`.
    `levels` halvings, or as many as bring every axis to at most 4.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        width: int = 16,
        depth: int = 1,
        levels: int | None = None,
        context: int = 0,
        norm: bool = False,
    ) -> None:
        super().__init__()
        self.plane = plane(shape)
        self.context = context
        sizes = pyramid(self.plane[1:], levels)
        stages = sizes[1:] or sizes
        widths = _widths(width, len(sizes))
        self.grid = stages[-1]
        self.channels = widths[-1]
        # The stem goes straight to the first halved size; channels double from stage to stage.
        self.stem = Shrink(self.plane[0], width, sizes[0], stages[0], kernel=5)
        self.stages = nn.ModuleList()
        for i, (size, w) in enumerate(zip(stages, widths, strict=True)):
            entry = Shrink(widths[i - 1], w, stages[i - 1], size) if i else nn.Identity()
            total = depth * len(widths)
            self.stages.append(
                Stage(entry, w, size, blocks=depth, context=context, norm=norm, depth=total)
            )

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The coarse map (B, channels, *grid)."""
        context = matched(context, self.context)
        h = channels_last(self.stem(x.reshape(-1, *self.plane)))
        for stage in self.stages:
            h = stage(h, context)
        return h


class Up(nn.Module):
    """From a coarse map of features to data: `Down` in reverse.

    h: (B, channels, *grid) -> (B, *shape), whose first axis counts the output's channels.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        width: int = 16,
        depth: int = 1,
        levels: int | None = None,
        context: int = 0,
        norm: bool = False,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.context = context
        C, *size = plane(shape)
        sizes = pyramid((size[0], size[1]), levels)
        # The stages of `Down` in reverse: coarsest and widest first.
        stages = (sizes[1:] or sizes)[::-1]
        widths = _widths(width, len(sizes))[::-1]
        self.grid = stages[0]
        self.channels = widths[0]
        self.stages = nn.ModuleList()
        for i, (here, w) in enumerate(zip(stages, widths, strict=True)):
            entry = Grow(widths[i - 1], w, stages[i - 1], here) if i else nn.Identity()
            total = depth * len(widths)
            self.stages.append(
                Stage(entry, w, here, blocks=depth, context=context, norm=norm, depth=total)
            )
        self.norm = group_norm(width) if norm else nn.Identity()
        self.last = Grow(width, C, stages[-1], sizes[0])

    def forward(self, h: Tensor, context: Tensor | None = None) -> Tensor:
        """Data (B, *shape) for the coarse map `h`."""
        context = matched(context, self.context)
        h = channels_last(h)
        for stage in self.stages:
            h = stage(h, context)
        return self.last(silu(self.norm(h))).reshape(-1, *self.shape)


class Encoder(nn.Module):
    """Numbers for an image or a signal: `Down`, then an affine map of its coarse map.

    x: (B, *shape) with shape (C, H, W) or (C, T); context: (B, C) or None -> (B, outputs).
    Without `norm` no statistic of any kind is taken, which critics of adversarial models need.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        outputs: int,
        *,
        width: int = 16,
        depth: int = 1,
        levels: int | None = None,
        context: int = 0,
        norm: bool = False,
        zero: bool = False,
    ) -> None:
        super().__init__()
        self.down = Down(shape, width=width, depth=depth, levels=levels, context=context, norm=norm)
        self.features = self.down.channels * math.prod(self.down.grid)
        self.last = nn.Linear(self.features, outputs)
        if zero:
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)

    def embed(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The features (B, features) that the last map sees: the input of a critic's or a classifier's own head."""
        return silu(self.down(x, context)).flatten(1)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Numbers (B, outputs) for `x` under `context`."""
        return self.last(self.embed(x, context))


class Decoder(nn.Module):
    """An image or a signal for numbers: an affine map to a coarse map, then `Up`.

    z: (B, inputs); context: (B, C) or None -> (B, *shape) with shape (outputs, H, W) or (outputs,
        T).
    """

    def __init__(
        self,
        inputs: int,
        shape: tuple[int, ...],
        *,
        width: int = 16,
        depth: int = 1,
        levels: int | None = None,
        context: int = 0,
        norm: bool = False,
    ) -> None:
        super().__init__()
        self.up = Up(shape, width=width, depth=depth, levels=levels, context=context, norm=norm)
        self.first = nn.Linear(inputs, self.up.channels * math.prod(self.up.grid))

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Data (B, *shape) for `z` under `context`."""
        grid = (
            *self.up.grid,
            self.up.channels,
        )  # laid out with channels last, so that nothing needs copying
        return self.up(self.first(z).view(-1, *grid).permute(0, 3, 1, 2), context)


def _strides(large: Size, small: Size) -> Size:
    a, b = (1 if m == n else 2 for m, n in zip(large, small, strict=True))
    return a, b


def _widths(width: int, sizes: int) -> list[int]:
    """Channels of each stage: one stage a halving, and one where there is nothing to halve."""
    return [width * min(2**i, 8) for i in range(max(sizes - 1, 1))]
