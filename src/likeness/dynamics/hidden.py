"""Codes that are hidden one by one, and the net that reveals them in any order."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from likeness.core.answers import Completed, Kind, Scored
from likeness.core.batch import Batch
from likeness.core.noise import Noise
from likeness.core.space import Space
from likeness.dynamics.chain import Categories, Masked
from likeness.dynamics.process import DRAWN, Process, Watch, many
from likeness.nets.timed import Conditioning, Timed

MOST_SUMS = 4096  # joint states times sets of entries up to which log p is summed over all orders
MOST_STEPS = 64  # steps in which codes are revealed where nobody asks for another number


def most_states(space: Space) -> int:
    """The most categories that an entry has."""
    return int(max(v.states for v in space.variables))


class Hidden(Process):
    """Items are drawn from the mean over orders of the net's any-order distribution.

    Few entries of few states: log p is that distribution's, by the sum over all sets of entries, EXACT. Else
    it is the mean over orders of the log, a LOWER_BOUND; missing entries come last in
    every order: an ESTIMATE.

    Args:
        net: Any-order conditionals, as many logits for each entry as the most categories.
        space: What is hidden.
    """

    sizes: Tensor

    def __init__(self, net: Timed, space: Space) -> None:
        super().__init__()
        self.net = net
        self.shape = space.layout
        self.states = net.per
        states = torch.tensor([int(v.states) for v in space.columns])
        self.register_buffer(
            "sizes", (states[0] if space.width == 1 else states).expand(space.layout).clone()
        )
        # The sum over orders takes every subset of entries and every code of each.
        sums = math.prod(2 * n for n in self.sizes.flatten().tolist())
        self.summed = not space.ragged and sums <= MOST_SUMS
        self.holes = not self.summed

    @property
    def masked(self) -> Masked:
        """The chain."""
        return Masked(Categories(self.sizes))

    def forward(
        self,
        x: Tensor,
        visible: Tensor,
        t: Tensor,
        conditioning: Conditioning,
        noise: Noise | None = None,
    ) -> Tensor:
        """Logits (B, *E, K) of each entry, from those that are visible."""
        features = nn.functional.one_hot(x, self.states).to(t) * visible.unsqueeze(-1)
        logits: Tensor = self.net(features, t, conditioning)
        return logits

    def guided(self, conditioning: Conditioning, settings: Any) -> Callable[..., Tensor]:
        """The net, or its log-probabilities extrapolated away from those without a condition."""

        def both(
            x: Tensor,
            visible: Tensor,
            t: Tensor,
            conditioning: Conditioning,
            noise: Noise | None = None,
        ) -> Tensor:
            # Extrapolation of log-probabilities: null + scale (conditional - null).
            free = self(x, visible, t, conditioning.alone()).log_softmax(-1)
            logits: Tensor = free + settings.guidance * (
                self(x, visible, t, conditioning).log_softmax(-1) - free
            )
            return logits

        if conditioning.null is None:
            return self
        return both

    def loss(self, batch: Batch, noise: Noise, conditioning: Conditioning) -> dict[str, Tensor]:
        """Minus the bound, of what is observed."""
        return {
            "nll": -self.masked.bound(
                self, batch.x.long(), conditioning, noise=noise, present=batch.present
            ).value
        }

    def score(
        self,
        batch: Batch,
        noise: Noise,
        conditioning: Conditioning,
        effort: int | None,
        settings: Any,
    ) -> Scored:
        """The sum over orders where it is short; else the bound, with missing entries the same of what is observed."""
        if self.summed:
            value = self.masked.mixture(self, batch.x.long(), conditioning.repeat, noise)
            return Scored(value, Kind.EXACT, "mean over all orders")
        draws = effort or DRAWN
        bound = self.masked.bound(
            self, batch.x.long(), conditioning, noise=noise, draws=draws, present=batch.present
        )
        kind, last = (Kind.LOWER_BOUND, "") if batch.full else (Kind.ESTIMATE, ", holes last")
        return Scored(
            bound.value, kind, f"bound over orders, {many(draws, 'draw')}{last}", bound.stderr
        )

    def effort(self, settings: Any) -> int:
        """Draws of the bound, where it is taken."""
        if self.summed:
            return 0
        return DRAWN

    def steps(self, settings: Any) -> int:
        """Steps in which codes are revealed."""
        return settings.steps or min(math.prod(self.shape), MOST_STEPS)

    def evaluations(self, settings: Any) -> int:
        """One a step."""
        return self.steps(settings)

    def how(self, settings: Any) -> str:
        """In how many steps."""
        steps = self.steps(settings)
        if steps >= math.prod(self.shape):
            exact = ""
        else:
            exact = ", several codes in one"
        return f"unmasked in {steps} steps{exact}"

    def walk(
        self, noise: Noise, conditioning: Conditioning, settings: Any, watch: Watch | None = None
    ) -> Tensor:
        """All codes revealed in random order; along the way -1 stands for those that are not."""
        empty = Batch(noise.index.new_zeros(noise.rows, *self.shape)).hide(
            torch.ones((), dtype=torch.bool)
        )
        report = (
            None
            if watch is None
            else lambda _i, visible, x: watch(torch.where(visible, x, -1).to(noise.dtype))
        )
        return self._unmask(empty, noise, conditioning, settings, report)

    def complete(
        self,
        batch: Batch,
        noise: Noise,
        conditioning: Conditioning,
        n: int,
        settings: Any,
        cov: Tensor | None,
    ) -> Completed:
        """What is hidden revealed in random order, given what is observed."""
        x = self._unmask(batch.repeat(n), noise.draws(n), conditioning.repeat(n), settings, None)
        how = f"{self.how(settings)}, any-order conditionals"
        calls = self.steps(settings)
        return Completed(x.reshape(n, *batch.x.shape), how, kind=Kind.ESTIMATE, evaluations=calls)

    def _unmask(
        self, batch: Batch, noise: Noise, conditioning: Conditioning, settings: Any, watch: Any
    ) -> Tensor:
        # Observed entries are evidence; steps are of no use
        # beyond the most hidden entries of a row.
        if batch.observed is None:
            known = torch.zeros_like(batch.x, dtype=torch.bool)
        else:
            known = batch.present
        if conditioning.present is None:
            within = torch.ones_like(known)
        else:
            within = conditioning.present
        longest = int(
            (within & ~known).flatten(1).sum(1).amax()
        )  # steps beyond reveal nothing, and change nothing
        x = self.masked.unmask(
            self.guided(conditioning, settings),
            batch.x.long(),
            conditioning,
            steps=min(self.steps(settings), max(longest, 1)),
            noise=noise,
            present=conditioning.present,
            evidence=known,
            watch=watch,
        )
        return x.to(noise.dtype)
