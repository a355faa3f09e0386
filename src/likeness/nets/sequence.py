"""A transformer for ragged sequences: causal, with a cached walk for sampling, or looking both ways."""

import math
from typing import cast, final

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, pad

from likeness.core.errors import BadConfig
from likeness.nets.embed import Modulation, matched
from likeness.nets.grouped import GroupedHead, Stepper

# Shapes: B items, L steps, N heads, D numbers a head, W = N D width.


@final
class Sequence(nn.Module):
    """Outputs for every step of a ragged sequence, from all its steps or, if `causal`, from the steps before it.

    Pre-norm blocks h <- h + attend(norm(h)), h <- h + MLP(norm(h)), whose norms the context scales
    and shifts. Steps are told apart by rotary angles and by fixed waves of their number: no length
    is built in. If `causal`, step t gets the features of step t - 1 (a learned start at t = 0), and
    a grouped head orders the `groups` variables of one step. Entries past `length` influence
    nothing, and outputs there are 0. Vaswani et al. 2017, arXiv:1706.03762; Su et al. 2021,
    arXiv:2104.09864, eq. 34.

    x: features (B, L, inputs); length: (B,) or None (all L); context: (B, C) or None -> (B, L,
        outputs)
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        causal: bool,
        width: int = 64,
        depth: int = 2,
        heads: int | None = None,
        context: int = 0,
        groups: int = 1,
    ) -> None:
        super().__init__()
        heads = heads or max(width // 32, 1)
        if width % (2 * heads):
            raise BadConfig(f"a width of {width} cannot be dealt to {heads} heads of even size")
        if groups > 1 and not causal:
            raise BadConfig(
                "groups order the variables of one step, which only a causal net does",
                do="pass groups=1",
            )
        self.width = width
        self.heads = heads
        self.causal = causal
        self.context = context
        self.entry = nn.Linear(inputs + width, width)
        self.start = nn.Parameter(torch.zeros(inputs)) if causal else None
        self.blocks = nn.ModuleList(
            TransformerBlock(width, heads, context=context, depth=depth) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.head = GroupedHead(width, outputs, groups=groups, features=inputs, hidden=width)

    def forward(
        self, x: Tensor, length: Tensor | None = None, context: Tensor | None = None
    ) -> Tensor:
        """The outputs (B, L, outputs) of all steps in one pass, 0 past `length`."""
        context = matched(context, self.context)
        # Absent steps are 0, and nothing attends to them.
        present = self._present(x, length)
        if present is not None:
            x = x.masked_fill(~present.unsqueeze(-1), 0)
        h, angles = self._entered(self._shifted(x), 0)
        hidden = self._hidden_keys(x, present)
        for block in self.blocks:
            h = block(h, angles, hidden, context)
        y = self.head(self.norm(h), x)
        if present is None:
            return y
        return y.masked_fill(~present.unsqueeze(-1), 0)

    def stepper(self, rows: int, context: Tensor | None = None) -> "SequenceStepper":
        """A walk along `rows` sequences at once, for sampling and completion; of causal nets only."""
        if not self.causal:
            raise BadConfig(
                "only a causal net can be walked step by step", do="build it with causal=True"
            )
        return SequenceStepper(self, rows, matched(context, self.context))

    def _present(self, x: Tensor, length: Tensor | None) -> Tensor | None:
        """Which steps exist: (B, L)."""
        if length is None:
            return None
        return torch.arange(x.shape[1], device=x.device) < length[:, None]

    def _shifted(self, x: Tensor) -> Tensor:
        """What each step is fed: its own features, or if causal those of the step before."""
        if self.start is None:
            return x
        return torch.cat([self.start.expand(len(x), 1, -1), x], 1)[:, : x.shape[1]]

    def _entered(self, x: Tensor, first: int) -> tuple[Tensor, Tensor]:
        """The input (B, L, W) of the first block and all blocks' angles, for steps numbered from `first`."""
        steps = torch.arange(first, first + x.shape[1], device=x.device)
        place = waves(steps, self.width).to(x.dtype).expand(len(x), -1, -1)
        # Fixed waves of the step's number beside its features; rotary angles for the heads.
        return self.entry(torch.cat([x, place], -1)), waves(steps, self.width // self.heads).to(
            x.dtype
        )

    def _hidden_keys(self, x: Tensor, present: Tensor | None) -> Tensor | None:
        """True where a query must not look at a key: broadcasts to (B, 1, L, L)."""
        if self.causal:  # what is past the end comes later than every step that exists
            return torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
        if present is None:
            return None
        return ~present[:, None, None, :]


class TransformerBlock(nn.Module):
    """Attention and an MLP, each behind a norm that the context modulates."""

    def __init__(self, width: int, heads: int, *, context: int = 0, depth: int = 1) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.modulation1 = Modulation(context, width, last=True)
        self.modulation2 = Modulation(context, width, last=True)
        self.qkv = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.wide = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        # The branches of all blocks together add unit variance at the start.
        for linear in (self.mix, self.narrow):
            linear.weight.data.mul_(1 / math.sqrt(2 * depth))

    def forward(
        self, h: Tensor, angles: Tensor, hidden: Tensor | None, context: Tensor | None
    ) -> Tensor:
        """The stream (B, L, W) after this block; `hidden` is True where a query must not look."""
        q, k, v = self.project(h, angles, context)
        return self.rest(h, attend(q, k, v, hidden), context)

    def project(
        self, h: Tensor, angles: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (B, N, L, D), the first two turned by the `angles` (L, D) of their steps."""
        # (B, L, 3 W) -> three of (B, N, L, D)
        u = self.qkv(self.modulation1(self.norm1(h), context))
        q, k, v = u.view(*h.shape[:2], 3, self.heads, h.shape[2] // self.heads).permute(
            2, 0, 3, 1, 4
        )
        return turned(q, angles), turned(k, angles), v

    def rest(self, h: Tensor, attention: Tensor, context: Tensor | None) -> Tensor:
        """All that follows the attention, whose result is (B, N, L, D)."""
        h = h + self.mix(attention.transpose(1, 2).reshape(h.shape))
        return h + self.narrow(gelu(self.wide(self.modulation2(self.norm2(h), context))))


def attend(q: Tensor, k: Tensor, v: Tensor, hidden: Tensor | None) -> Tensor:
    """softmax(Q Kᵀ / √D) V without the `hidden` keys; an item without any key gets the mean of what is there.

    q: (B, N, L, D); k, v: (B, N, S, D); hidden: broadcasts to (B, N, L, S) -> (B, N, L, D).
    Two products and a softmax, which on processors is faster than the fused kernel.
    """
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if hidden is not None:  # the lowest finite number, because a row of -inf alone has no softmax
        scores = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
    return scores.softmax(-1).to(v.dtype) @ v


def turned(x: Tensor, angles: Tensor) -> Tensor:
    """Each pair of numbers of x (B, N, L, D) turned by the angle whose `waves` are `angles` (L, D)."""
    sin, cos = angles.chunk(2, -1)
    # Rotation of the pairs (a_i, b_i) by the angle of each step (Su et al. 2021, eq. 34).
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def waves(steps: Tensor, size: int) -> Tensor:
    """Sines, then cosines, of the steps' numbers (L,) at size / 2 angles a step from 1 down to 1e-4: (L, size)."""
    rate = torch.logspace(0, -4, size // 2, device=steps.device, dtype=torch.float64)
    angle = steps[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], -1)


@final
class SequenceStepper(Stepper):
    """Computes each activation of a causal `Sequence` once, keeping the keys and values of the steps behind."""

    def __init__(self, net: Sequence, rows: int, context: Tensor | None) -> None:
        super().__init__(net.head)
        self._net = net
        self._context = context
        self._rows = rows
        self._step = 0
        self._caches = [_KeyValues() for _ in net.blocks]

    def _advance(self, place: Tensor | None) -> Tensor:
        net = self._net
        # The learned start stands before the first step;
        # afterwards the features of the step before.
        start = self._net.start
        x = start.expand(self._rows, -1) if place is None else place  # type: ignore[union-attr]
        h, angles = net._entered(x[:, None], self._step)
        # Queries of the new step alone attend to the cached keys and values of all steps so far.
        for block, cache in zip(net.blocks, self._caches, strict=True):
            layer = cast(TransformerBlock, block)
            q, k, v = layer.project(h, angles, self._context)
            h = layer.rest(h, attend(q, *cache.extended(k, v), None), self._context)
        self._step += 1
        return net.norm(h)[:, 0]


class _KeyValues:
    """Keys and values (B, N, S, D) of the steps so far, in a buffer that doubles when it is full."""

    def __init__(self) -> None:
        self._buffer: Tensor | None = None
        self._steps = 0

    def extended(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and all values, the new ones (B, N, 1, D) last."""
        both = torch.stack([k, v])
        if self._buffer is None:
            self._buffer = both.new_zeros(*both.shape[:3], 16, both.shape[4])
        if self._steps == self._buffer.shape[3]:
            self._buffer = pad(self._buffer, (0, 0, 0, self._steps))
        self._buffer[:, :, :, self._steps] = both[:, :, :, 0]
        self._steps += 1
        keys, values = self._buffer[:, :, :, : self._steps]
        return keys, values
