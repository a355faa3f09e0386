"""The net of a denoiser: values and how noisy they are, to as many numbers for each entry."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from likeness.nets.embed import Fourier
from likeness.nets.mlp import MLP
from likeness.nets.sequence import Sequence
from likeness.nets.unet import UNet

Body = Literal["mlp", "unet", "sequence"]
HALF_NOISE = 0.1  # the noise, in units of the data, at which the output has fallen to 1 / sqrt(2) where it is faded


class Conditioning(NamedTuple):
    """Conditioning of a denoiser besides values and time.

    Args:
        vector: The context, (B, C), or None for the zero vector.
        length: The length of each item, int64 (B,), or None where all are of one size.
        present: Which entries exist, bool (B, *E), or None where all do.
        null: The context that says nothing, (B, C), where guidance leads away from it.
    """

    vector: Tensor | None = None
    length: Tensor | None = None
    present: Tensor | None = None
    null: Tensor | None = None

    def alone(self) -> Conditioning:
        """The same without its condition."""
        return self._replace(vector=self.null)

    def repeat(self, n: int) -> Conditioning:
        """The rows n times over, draw-major."""
        return Conditioning(
            *(None if t is None else t.repeat(n, *[1] * (t.dim() - 1)) for t in self)
        )

    def rows(self, index: Tensor) -> Conditioning:
        """Some of the rows."""
        return Conditioning(*(None if t is None else t[index] for t in self))


class Timed(nn.Module):
    """A residual MLP, a U-Net or a transformer that looks both ways, given a level of noise and a context.

    The level enters as an MLP of its Fourier features, beside the context and, in a ragged MLP, the
    length. The output starts at 0. With `fade` it is multiplied by r / sqrt(r^2 + HALF_NOISE^2), r
    = exp(4 level): what is left to be said of data with little noise is in proportion to the noise,
    and need not be learned.

    Args:
        shape: The shape E of an event.
        body: Which net.
        per: Numbers for each entry, in and out: 1 for reals, K for codes of K categories.
        width: Its width.
        depth: Residual blocks (mlp), blocks at each size (unet), transformer blocks (sequence).
        context: Size of the context vector.
        ragged: Whether items have lengths of their own.
        frequencies: Fourier features of the level.
        high: The highest frequency, in cycles per unit of the level.
        fade: Whether the output fades with the noise; the level is then log(noise / signal) / 4.

    x: (B, *E) where `per` is 1, else (B, *E, per); level: (B,); conditioning: Conditioning -> the shape of x
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        body: Body,
        *,
        per: int = 1,
        width: int = 128,
        depth: int = 3,
        context: int = 0,
        ragged: bool = False,
        frequencies: int = 16,
        high: float = 4.0,
        fade: bool = False,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.per = per
        self.fade = fade
        self.body = body
        self.size = min(width, 64)
        self.time = nn.Sequential(
            Fourier(2 * frequencies, low=0.0625, high=high),
            nn.Linear(2 * frequencies, self.size),
            nn.SiLU(),
        )
        self.longest = shape[0] if ragged and body == "mlp" else 0
        side = self.size + context + (1 if self.longest else 0)
        self.net = _BODIES[body](shape, per, width, depth, side)

    def forward(self, x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        """The outputs for x at a level of noise."""
        # (B, *E) -> (B, *E, per), absent entries 0
        h = x if self.per > 1 else x.unsqueeze(-1)
        if conditioning.present is not None:
            h = h * conditioning.present.unsqueeze(-1)
        # Everything that conditions the net side by side: level, context, relative length.
        side = [self.time(level)]
        side += [] if conditioning.vector is None else [conditioning.vector]
        side += (
            [(conditioning.length / self.longest).to(x)[:, None]]
            if self.longest and conditioning.length is not None
            else []
        )
        y = self.net(h, torch.cat(side, -1), conditioning.length)
        y = y.reshape(x.shape)
        if self.fade:
            return y * self._fading(level).reshape(-1, *[1] * (x.dim() - 1))
        return y

    def _fading(self, level: Tensor) -> Tensor:
        """The factor r / sqrt(r^2 + HALF_NOISE^2), without overflow."""
        # r / sqrt(r^2 + h^2) = exp(-softplus(2 log h - 2 log r) / 2) with log r = 4 level.
        return torch.exp(
            -0.5
            * torch.nn.functional.softplus(
                2 * (torch.log(level.new_tensor(HALF_NOISE)) - 4 * level)
            )
        )


class _Flat(nn.Module):
    """All entries at once."""

    def __init__(self, shape: tuple[int, ...], per: int, width: int, depth: int, side: int) -> None:
        super().__init__()
        numbers = torch.Size(shape).numel() * per
        self.net = MLP(
            numbers, numbers, hidden=(width,) * depth, context=side, residual=True, zero=True
        )

    def forward(self, h: Tensor, side: Tensor, length: Tensor | None) -> Tensor:
        return self.net(h.flatten(1), side)


class _Plane(nn.Module):
    """Images (C, H, W) and signals (C, T), the numbers of an entry as channels."""

    def __init__(self, shape: tuple[int, ...], per: int, width: int, depth: int, side: int) -> None:
        super().__init__()
        channels = shape[0] * per
        self.net = UNet(
            (channels, *shape[1:]), channels, width=width, blocks=depth, context=side, zero=True
        )

    def forward(self, h: Tensor, side: Tensor, length: Tensor | None) -> Tensor:
        # (B, C, *space, per) -> (B, C per, *space) and back
        y = self.net(h.movedim(-1, 2).flatten(1, 2), None, side)
        return y.unflatten(1, (h.shape[1], h.shape[-1])).movedim(2, -1)


class _Steps(nn.Module):
    """Ragged sequences, the numbers of a step together."""

    def __init__(self, shape: tuple[int, ...], per: int, width: int, depth: int, side: int) -> None:
        super().__init__()
        numbers = torch.Size(shape[1:]).numel() * per
        self.net = Sequence(numbers, numbers, causal=False, width=width, depth=depth, context=side)
        for p in self.net.head.last.parameters():
            nn.init.zeros_(p)

    def forward(self, h: Tensor, side: Tensor, length: Tensor | None) -> Tensor:
        y: Tensor = self.net(h.flatten(2), length, side)
        return y


_BODIES: dict[Body, type[nn.Module]] = {"mlp": _Flat, "unet": _Plane, "sequence": _Steps}
