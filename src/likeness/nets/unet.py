"""A U-Net for images (C, H, W) and signals (C, T) of any size: the net of a denoiser."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from likeness.core.errors import BadConfig
from likeness.nets.conv import (
    Block,
    Grow,
    Shrink,
    Size,
    channels_last,
    convolution,
    group_norm,
    plane,
    pyramid,
)
from likeness.nets.embed import matched


class Attention(nn.Module):
    """Self-attention over the pixels of a map, as a residual: h + W softmax(Q Kᵀ / √d) V.

    Two batched products and a softmax, which on processors is faster than the fused kernel.
    h: (B, channels, H, W) -> the same shape
    """

    def __init__(self, channels: int, *, heads: int = 1) -> None:
        super().__init__()
        if channels % heads:
            raise BadConfig(f"{channels} channels cannot be dealt to {heads} heads equally")
        self.heads = heads
        self.norm = group_norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.last = nn.Linear(channels, channels)
        self.last.weight.data.mul_(0.1)

    def forward(self, h: Tensor) -> Tensor:
        """`h` after every pixel has looked at all others."""
        B, C, H, W = h.shape
        # (B, H, W, 3 C) -> three of (B heads, H W, C / heads)
        u = self.qkv(self.norm(h).permute(0, 2, 3, 1)).view(
            B, H * W, 3, self.heads, C // self.heads
        )
        # Attention of every pixel to every other: (B heads, H W, H W).
        q, k, v = u.permute(2, 0, 3, 1, 4).reshape(3, B * self.heads, H * W, C // self.heads)
        weights = torch.bmm(q, k.transpose(1, 2)).div(math.sqrt(C // self.heads)).softmax(-1)
        attention = torch.bmm(weights.to(v.dtype), v).view(B, self.heads, H * W, -1).transpose(1, 2)
        return h + self.last(attention.reshape(B, H, W, C)).permute(0, 3, 1, 2)


class UNet(nn.Module):
    """Residual blocks at sizes halved along the way down and doubled on the way up, with a bridge at every size.

    Time enters as features and shifts and scales every block, together with the context:
    emb = silu(A t_features + B context). Sizes are halved rounding up and cropped on the way back:
    any shape will do. `attention` heads look across the coarsest map (0: none). `zero` starts the
    net as the zero function. Ronneberger et al. 2015, arXiv:1505.04597, fig. 1; blocks as in Ho et
    al. 2020, arXiv:2006.11239, appendix B.

    x: (B, *shape) with shape (C, H, W) or (C, T); t_features: (B, time) or None; context: (B, C) or
        None
    -> (B, outputs, H, W) or (B, outputs, T)
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        outputs: int,
        *,
        width: int = 32,
        mults: tuple[int, ...] = (1, 2, 2),
        blocks: int = 1,
        time: int = 0,
        context: int = 0,
        attention: int = 0,
        norm: bool = True,
        zero: bool = False,
    ) -> None:
        super().__init__()
        self.plane = plane(shape)
        self.outputs = outputs
        self.time = time
        self.context = context
        sizes = pyramid(self.plane[1:], len(mults) - 1, smallest=2)
        widths = [width * m for m in mults[: len(sizes)]]
        size = 4 * width if time or context else 0
        self.embed_time = nn.Linear(time, size) if time else None
        self.embed_context = nn.Linear(context, size, bias=False) if context else None
        self.stem = convolution(self.plane[0], widths[0], sizes[0])

        def block(inputs: int, outputs: int, where: Size) -> Block:
            return Block(
                inputs, outputs, where, context=size, norm=norm, depth=2 * blocks * len(sizes) + 1
            )

        self.down = nn.ModuleList()
        self.shrink = nn.ModuleList()
        self.up = nn.ModuleList()
        self.grow = nn.ModuleList()
        # One stage each way at every size; the way up sees the bridge beside its input.
        for i, (here, w) in enumerate(zip(sizes, widths, strict=True)):
            self.down.append(nn.ModuleList(block(w, w, here) for _ in range(blocks)))
            self.up.append(nn.ModuleList(block(w if j else 2 * w, w, here) for j in range(blocks)))
            if i:
                self.shrink.append(Shrink(widths[i - 1], w, sizes[i - 1], here))
                self.grow.append(Grow(w, widths[i - 1], here, sizes[i - 1]))
        self.attention = Attention(widths[-1], heads=attention) if attention else nn.Identity()
        self.middle = block(widths[-1], widths[-1], sizes[-1])
        self.norm = group_norm(width * mults[0]) if norm else nn.Identity()
        self.last = convolution(widths[0], outputs, sizes[0])
        if zero:
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(
        self, x: Tensor, t_features: Tensor | None = None, context: Tensor | None = None
    ) -> Tensor:
        """The outputs for `x` at the time that `t_features` describe."""
        emb = self._embedding(
            matched(t_features, self.time, "time"), matched(context, self.context)
        )
        # Down: blocks at each size, keeping its map as a bridge.
        h = channels_last(self.stem(x.reshape(-1, *self.plane)))
        bridges = []
        for i, blocks in enumerate(self.down):
            h = _through(blocks, self.shrink[i - 1](h) if i else h, emb)
            bridges.append(h)
        # The coarsest map looks across itself, then up: each size joins its bridge.
        h = self.middle(self.attention(h), emb)
        for i in reversed(range(len(self.up))):
            h = _through(self.up[i], torch.cat([h, bridges[i]], 1), emb)
            if i:
                h = self.grow[i - 1](h)
        return self.last(silu(self.norm(h))).reshape(len(x), self.outputs, *x.shape[2:])

    def _embedding(self, t_features: Tensor | None, context: Tensor | None) -> Tensor | None:
        both = [
            linear(value)
            for linear, value in ((self.embed_time, t_features), (self.embed_context, context))
            if linear is not None and value is not None
        ]
        if both:
            return silu(sum(both[1:], both[0]))
        return None


def _through(blocks: nn.Module, h: Tensor, emb: Tensor | None) -> Tensor:
    for block in blocks.children():
        h = block(h, emb)
    return h
