"""Pairs of nets between events and codes: fully connected, convolutional, or along a sequence.

An event comes as features (B, *places, F) and leaves as parameters (B, *places, S); a code is one
vector.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import partial
from typing import final

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from likeness.core.space import Space
from likeness.nets.conv import Decoder, Encoder
from likeness.nets.embed import Activation
from likeness.nets.mlp import MLP
from likeness.nets.sequence import Sequence


def gridded(space: Space) -> bool:
    """Whether events are images (C, H, W) or signals (C, T) of one variable."""
    return not space.ragged and len(space.shape) in (2, 3) and space.homogeneous


def codec_kind(space: Space) -> str:
    """The nets that the shape of the data calls for."""
    if space.ragged:
        return "sequence"
    return "conv" if gridded(space) else "mlp"


class Codec(nn.Module, ABC):
    """An encoder and a decoder, both conditioned on `context` (B, C); `length` (B,) is the size of a ragged event."""

    @abstractmethod
    def encode(self, features: Tensor, length: Tensor | None, context: Tensor | None) -> Tensor:
        """Features (B, *places, F) to numbers (B, outputs)."""

    @abstractmethod
    def decode(self, code: Tensor, length: Tensor | None, context: Tensor | None) -> Tensor:
        """Codes (B, inputs) to parameters (B, *places, S)."""


@final
class Flat(Codec):
    """Fully connected nets over the whole event at once; `hidden=()` makes both of them affine.

    Args:
        places: The places of an event.
        features: Features F of a place.
        params: Parameters S of a place.
        outputs: Numbers that the encoder puts out.
        inputs: Numbers of a code.
        hidden: Widths of the encoder's hidden layers; the decoder has them in reverse.
        activation: The nonlinearity.
        context: Numbers C that condition both nets.
        longest: The layout's length where events are ragged, whose own length then conditions both
            nets, else 0.
    """

    def __init__(
        self,
        places: tuple[int, ...],
        features: int,
        params: int,
        *,
        outputs: int,
        inputs: int,
        hidden: tuple[int, ...] = (256, 256),
        activation: Activation = "silu",
        context: int = 0,
        longest: int = 0,
    ) -> None:
        super().__init__()
        self.shape = (*places, params)
        self.longest = longest
        net = partial(MLP, activation=activation, context=context + (longest > 0))
        self.encoder = net(math.prod(places) * features, outputs, hidden=hidden)
        self.decoder = net(inputs, math.prod(places) * params, hidden=hidden[::-1])

    def encode(self, features: Tensor, length: Tensor | None, context: Tensor | None) -> Tensor:
        """One pass over all features of an event."""
        return self.encoder(features.flatten(1), self._conditioning(features, length, context))

    def decode(self, code: Tensor, length: Tensor | None, context: Tensor | None) -> Tensor:
        """All parameters of an event at once."""
        return self.decoder(code, self._conditioning(code, length, context)).reshape(
            -1, *self.shape
        )

    def _conditioning(
        self, like: Tensor, length: Tensor | None, context: Tensor | None
    ) -> Tensor | None:
        if not self.longest:
            return context
        # A ragged event's length conditions both nets, as a share of the longest.
        if length is None:
            share = like.new_ones(len(like), 1)
        else:
            share = (length[:, None] / self.longest).to(like)
        if context is None:
            return share
        return torch.cat([context, share], -1)


@final
class Grid(Codec):
    """Convolutional nets over images (C, H, W) or signals (C, T) of one variable.

    Args:
        shape: The event's own shape, channels first.
        features: Features of an entry.
        params: Parameters of an entry.
        outputs: Numbers that the encoder puts out.
        inputs: Numbers of a code.
        width: Channels at the finest stage.
        depth: Residual blocks of each stage.
        norm: Whether blocks are normalised within an item.
        context: Numbers C that condition both nets.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        features: int,
        params: int,
        *,
        outputs: int,
        inputs: int,
        width: int = 16,
        depth: int = 1,
        norm: bool = False,
        context: int = 0,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.features = features
        self.params = params
        channels = shape[0]
        space = shape[1:]
        self.encoder = Encoder(
            (channels * features, *space),
            outputs,
            width=width,
            depth=depth,
            norm=norm,
            context=context,
        )
        self.decoder = Decoder(
            inputs,
            (channels * params, *space),
            width=width,
            depth=depth,
            norm=norm,
            context=context,
        )

    def encode(self, features: Tensor, length: Tensor | None, context: Tensor | None) -> Tensor:
        """An entry's features stand behind one another as channels."""
        # (B, C, *space, F) -> (B, C F, *space)
        x = features.reshape(-1, *self.shape, self.features).movedim(-1, 2)
        return self.encoder(x.flatten(1, 2), context)

    def decode(self, code: Tensor, length: Tensor | None, context: Tensor | None) -> Tensor:
        """Channels become the parameters of an entry."""
        y = self.decoder(code, context).unflatten(1, (self.shape[0], self.params))
        # (B, C S, *space) -> (B, C, *space, S)
        return y.movedim(2, -1).flatten(-2)


@final
class Steps(Codec):
    """Transformers along a ragged sequence, looking both ways: one pools what exists, one spreads a code over steps.

    Args:
        longest: Steps of the layout.
        features: Features F of a step.
        params: Parameters S of a step.
        outputs: Numbers that the encoder puts out.
        inputs: Numbers of a code.
        width: Width of both nets.
        depth: Their layers.
        context: Numbers C that condition both nets.
    """

    def __init__(
        self,
        longest: int,
        features: int,
        params: int,
        *,
        outputs: int,
        inputs: int,
        width: int = 64,
        depth: int = 2,
        context: int = 0,
    ) -> None:
        super().__init__()
        self.longest = longest
        net = partial(Sequence, causal=False, width=width, depth=depth, context=context)
        self.encoder = net(features, width)
        self.decoder = net(inputs, params)
        self.pooled = nn.Linear(width + 1, outputs)

    def encode(self, features: Tensor, length: Tensor | None, context: Tensor | None) -> Tensor:
        """The mean over the steps that exist, and how many they are."""
        steps = self._steps(features, length)
        # Absent steps come out as 0 and do not count in the mean.
        mean = silu(self.encoder(features, length, context)).sum(1) / steps.clamp_min(1)
        return self.pooled(torch.cat([mean, steps / self.longest], -1))

    def decode(self, code: Tensor, length: Tensor | None, context: Tensor | None) -> Tensor:
        """Every step gets the code; the transformer's positions tell steps apart."""
        return self.decoder(code[:, None].expand(-1, self.longest, -1), length, context)

    def _steps(self, like: Tensor, length: Tensor | None) -> Tensor:
        """How many steps exist, (B, 1)."""
        if length is None:
            return like.new_full((len(like), 1), self.longest)
        return length[:, None].to(like)
