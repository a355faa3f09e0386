"""One face for causal nets: features of D variables in, outputs of D variables out, each from those before it.

Features and outputs are laid out variable by variable in the event's own (row-major) order,
whatever the net's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence as Items
from itertools import accumulate, repeat
from typing import Protocol

import torch
from torch import Tensor, nn

from likeness.nets.masked import MaskedNet
from likeness.nets.mlp import MLP
from likeness.nets.pixel import PixelCNN
from likeness.nets.sequence import Sequence

TOGETHER = 16  # images that a pixel net answers for at once: a third of the time that each takes among thousands


class Walk(Protocol):
    """A walk along the order: outputs of the next variable, then its features."""

    def params(self) -> Tensor:
        """Outputs (R, outputs) of the next variable."""

    def push(self, features: Tensor) -> None:
        """Features (R, inputs) of the value it has."""


class CausalNet(nn.Module, ABC):
    """Outputs for every variable from the variables before it.

    Attributes:
        order: order[i] is the variable (its place in the flattened event) at position i.
    """

    order: tuple[int, ...]

    @abstractmethod
    def forward(
        self, x: Tensor, context: Tensor | None = None, length: Tensor | None = None
    ) -> Tensor:
        """Outputs (B, sum of outputs) for features (B, sum of inputs), context (B, C) and steps (B,)."""

    @abstractmethod
    def stepper(self, rows: int, context: Tensor | None = None) -> Walk:
        """A walk for `rows` rows at once, each activation computed once."""


class Masked(CausalNet):
    """A masked residual MLP: any order, any mix of variables, any window."""

    def __init__(
        self,
        inputs: Items[int],
        outputs: Items[int],
        order: Items[int],
        hidden: Items[int],
        *,
        context: int,
        window: int | None,
    ) -> None:
        super().__init__()
        self.order = tuple(order)
        self.net = MaskedNet(
            inputs, outputs, order=self.order, hidden=hidden, context=context, window=window
        )

    def forward(
        self, x: Tensor, context: Tensor | None = None, length: Tensor | None = None
    ) -> Tensor:
        """One pass."""
        return self.net(x, context)

    def stepper(self, rows: int, context: Tensor | None = None) -> Walk:
        """The masked net's own walk."""
        return self.net.stepper(rows, context)


class Pixel(CausalNet):
    """A causal convolutional net for images (C, H, W): raster order of patches, in each row, column, channel.

    A patch of p x p pixels is one place with p^2 C variables, so a net of the same width costs p^2
    times less.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        inputs: int,
        outputs: int,
        *,
        width: int,
        dilations: tuple[int, ...],
        context: int,
        patch: int = 1,
    ) -> None:
        super().__init__()
        c, h, w = shape
        self.patched = (c, h // patch, patch, w // patch, patch)
        # Raster order of patches; within a patch rows, columns, channels.
        self.order = tuple(
            torch.arange(c * h * w).reshape(self.patched).permute(1, 3, 2, 4, 0).flatten().tolist()
        )
        group = patch * patch * c
        grid = (h // patch, w // patch)
        sizes = {"width": width, "context": context}
        self.net = PixelCNN(
            (group, *grid), group * inputs, group * outputs, dilations=dilations, **sizes
        )

    def forward(
        self, x: Tensor, context: Tensor | None = None, length: Tensor | None = None
    ) -> Tensor:
        """One pass; without gradients, which keep all maps, a few images at a time, so that these stay in cache."""
        if torch.is_grad_enabled() or len(x) <= TOGETHER:
            return self._pass(x, context)
        if context is None:
            contexts = repeat(None)
        else:
            contexts = context.split(TOGETHER)
        return torch.cat(
            [self._pass(part, c) for part, c in zip(x.split(TOGETHER), contexts, strict=False)]
        )

    def _pass(self, x: Tensor, context: Tensor | None) -> Tensor:
        """(B, C H W f) as planes (B, p p C f, H / p, W / p) and back."""
        # Every entry's features become channels of its patch, and its outputs come back from there.
        c, h, p, w, _ = self.patched
        planes = (
            x.reshape(len(x), c, h, p, w, p, -1)
            .permute(0, 3, 5, 1, 6, 2, 4)
            .reshape(len(x), -1, h, w)
        )
        y = self.net(planes, context)
        return y.reshape(len(x), p, p, c, -1, h, w).permute(0, 3, 5, 1, 6, 2, 4).reshape(len(x), -1)

    def stepper(self, rows: int, context: Tensor | None = None) -> Walk:
        """The pixel net's own walk."""
        return self.net.stepper(rows, context)


class AnyOrder(CausalNet):
    """A plain MLP that says every variable's outputs from whichever features it is shown; the mask makes the order."""

    def __init__(
        self, inputs: Items[int], outputs: Items[int], hidden: tuple[int, ...], *, context: int
    ) -> None:
        super().__init__()
        self.order = tuple(range(len(inputs)))
        self.net = MLP(
            sum(inputs),
            sum(outputs),
            hidden=hidden,
            context=context,
            residual=len(set(hidden)) == 1,
        )
        self.inputs = _bounds(inputs)
        self.outputs = _bounds(outputs)

    def forward(
        self, x: Tensor, context: Tensor | None = None, length: Tensor | None = None
    ) -> Tensor:
        """One pass: outputs of all variables given what is shown."""
        return self.net(x, context)

    def stepper(self, rows: int, context: Tensor | None = None) -> Passes:
        """A pass for each variable: nothing can be shared between them."""
        return Passes(self, self.net.last.linear.weight.new_zeros(rows, self.inputs[-1]), context)


class Passes:
    """A walk of one pass a variable, over features that may be there from the start."""

    def __init__(self, net: AnyOrder, shown: Tensor, context: Tensor | None) -> None:
        self.net = net
        self.shown = shown
        self.context = context
        self.at = 0

    def show(self, features: Tensor) -> None:
        """Features (R, sum of inputs) that are known before the walk begins."""
        self.shown = features.clone()

    def params(self) -> Tensor:
        """Outputs of the next variable given all that is shown."""
        return self.net(self.shown, self.context)[
            :, self.net.outputs[self.at] : self.net.outputs[self.at + 1]
        ]

    def push(self, features: Tensor) -> None:
        """Show the next variable's features."""
        self.shown[:, self.net.inputs[self.at] : self.net.inputs[self.at + 1]] = features
        self.at += 1


def _bounds(sizes: Items[int]) -> list[int]:
    return [0, *accumulate(sizes)]


class Steps(CausalNet):
    """A causal transformer over the steps of a sequence, the variables of a step in order."""

    def __init__(
        self,
        steps: int,
        groups: int,
        inputs: int,
        outputs: int,
        *,
        width: int,
        depth: int,
        context: int,
    ) -> None:
        super().__init__()
        self.steps = steps
        self.order = tuple(range(steps * groups))
        sizes = {"width": width, "depth": depth, "context": context, "groups": groups}
        self.net = Sequence(groups * inputs, groups * outputs, causal=True, **sizes)

    def forward(
        self, x: Tensor, context: Tensor | None = None, length: Tensor | None = None
    ) -> Tensor:
        """One pass; outputs past a row's steps are 0."""
        return self.net(x.reshape(len(x), self.steps, -1), length, context).flatten(1)

    def stepper(self, rows: int, context: Tensor | None = None) -> Walk:
        """The sequence net's own walk, with what attention has seen kept."""
        return self.net.stepper(rows, context)
