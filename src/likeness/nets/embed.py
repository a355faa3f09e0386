"""Conditioning of nets besides their input: noise levels and times as features, and a context that modulates them."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from likeness.core.errors import BadConfig

Activation = Literal["silu", "relu", "leaky_relu", "elu", "gelu", "tanh", "softplus"]
"""The nonlinearities that a Config may name."""

ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
}


def matched(context: Tensor | None, size: int, name: str = "context") -> Tensor | None:
    """The context itself, once its size is known to be what the net was built for.

    context: (B, C) or None, which every net reads as the zero vector
    """
    if context is not None and context.shape[-1] != size:
        numbers = context.shape[-1]
        raise BadConfig(
            f"a net built with {name}={size} was given {numbers} numbers an item",
            do=f"say {name}={numbers}",
        )
    return context


class Fourier(nn.Module):
    """Cosines and sines of a number, at frequencies spread geometrically from `low` to `high`.

    phi(t) = √2 [cos 2πft, sin 2πft], so that <phi(s), phi(t)> = 2 Σ_f cos 2πf(s - t) and |phi(t)|²
    = size. t: (*S) -> (*S, size); frequencies in cycles per unit of t. Tancik et al. 2020,
    arXiv:2006.10739, eq. 5, with fixed frequencies in place of random ones.
    """

    frequencies: Tensor

    def __init__(self, size: int, *, low: float = 0.125, high: float = 32.0) -> None:
        super().__init__()
        if size < 2 or size % 2:
            raise BadConfig(
                f"Fourier features come in pairs, but {size} were asked for",
                do="choose an even size",
            )
        steps = torch.linspace(math.log(low), math.log(high), size // 2, dtype=torch.float64)
        self.register_buffer(
            "frequencies", steps.exp().to(torch.get_default_dtype()), persistent=False
        )

    def forward(self, t: Tensor) -> Tensor:
        """Features of every entry of `t`, along a new last axis."""
        # (*S) -> (*S, size / 2) -> (*S, size)
        phase = 2 * math.pi * t.unsqueeze(-1) * self.frequencies
        return math.sqrt(2) * torch.cat([phase.cos(), phase.sin()], -1)


class TimeEmbedding(nn.Module):
    """A learned vector for a time or a noise level: an MLP of its Fourier features.

    t: (B,) -> (B, size). Choose `high` for the scale of t: the default suits a t that spans about
        one unit.
    """

    def __init__(self, size: int, *, frequencies: int = 32, high: float = 32.0) -> None:
        super().__init__()
        self.fourier = Fourier(2 * frequencies, high=high)
        self.first = nn.Linear(2 * frequencies, size)
        self.last = nn.Linear(size, size)

    def forward(self, t: Tensor) -> Tensor:
        """The embedding (B, size) of times (B,)."""
        return self.last(nn.functional.silu(self.first(self.fourier(t))))


class Modulation(nn.Module):
    """Scale and shift of every channel by a linear map of the context.

    h -> h (1 + a(c)) + b(c), with (a, b) = W c without bias, so that no context is the zero vector
    and changes nothing. h: (B, channels, *S), or (B, *S, channels) with `last`; context: (B, C) or
    None. Perez et al. 2018, arXiv:1709.07871, eq. 2.
    """

    def __init__(self, context: int, channels: int, *, last: bool = False) -> None:
        super().__init__()
        self.context = context
        self.last = last
        self.linear = nn.Linear(context, 2 * channels, bias=False) if context else None

    def forward(self, h: Tensor, context: Tensor | None) -> Tensor:
        """`h` seen in the light of `context`."""
        context = matched(context, self.context)
        if context is None or self.linear is None:
            return h
        # (B, 2 channels) along the channel axis of h.
        modulation = self.linear(context)
        between = [1] * (h.dim() - 2)
        if self.last:
            modulation = modulation.view(len(modulation), *between, -1)
        else:
            modulation = modulation.view(len(modulation), -1, *between)
        scale, shift = modulation.chunk(2, -1 if self.last else 1)
        # h (1 + scale) + shift
        return torch.addcmul(h + shift, h, scale)
