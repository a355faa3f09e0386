"""Posterior of a linear-Gaussian chain's latents, a path for each row of a batch: the answer of `encode`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from likeness.core.answers import Kind
from likeness.core.noise import Noise
from likeness.core.row_distribution import RowDistribution
from likeness.core.space import Space
from likeness.inference.sequence.steps import StepNoise
from likeness.inference.state_space.kalman import Track
from likeness.inference.state_space.observations import System


class Shared:
    """Parameters that all rows share: no tensor, so that rows may be taken."""

    def __init__(self, system: System) -> None:
        self.system = system


@dataclass(frozen=True, eq=False, repr=False)
class TrackDistribution(RowDistribution):
    """p(latents | row): Gaussian paths, 0 past a row's end.

    Args:
        loc: E[z_t | row], (B, L, Q).
        shared: The parameters.
        v: Steps (B, L, C).
        known: Which entries are there and known, bool (B, L, C).
        length: (B,).
    """

    loc: Tensor
    shared: Shared
    v: Tensor
    known: Tensor
    length: Tensor

    @property
    def track(self) -> Track:
        """The smoother of these rows, which computes what is asked."""
        return Track(self.shared.system, self.v, self.known, self.length)

    @property
    def mean(self) -> Tensor:
        """The smoothed path, (B, L, Q)."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        """The likeliest path, which is the mean."""
        return self.loc

    @property
    def filtered(self) -> Tensor:
        """E[z_t | what came up to t], (B, L, Q): what a filter would have known then."""
        return within(self.track.filtered_mean, self.length)

    @property
    def cov(self) -> Tensor:
        """Cov(z_t | row), (B, L, Q, Q)."""
        track = self.track
        return track.smoothed.cov[track.smoothed.place][:, track.group].transpose(0, 1)

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(path z (B, L, Q) | row), (B,)."""
        track = self.track
        return track.score(z.to(self.v)) - track.log_z

    def draw(self, noise: Noise) -> Tensor:
        """A path for each row of the noise, (n*B, L, Q)."""
        rows, steps = self.v.shape[:2]
        q = len(self.shared.system.step)
        eps = (
            StepNoise.of(replace(noise, dtype=self.v.dtype), steps)
            .normal("z", q)
            .reshape(-1, rows, steps, q)
        )
        return within(self.track.draw(eps), self.length).flatten(0, 1)


def track_distribution(
    space: Space, index: Tensor, kind: Kind, system: System, steps: tuple[Tensor, Tensor, Tensor]
) -> TrackDistribution:
    """The distribution of each row's path given its steps (B, L, C), what of them is known, and their number (B,)."""
    v, known, length = steps
    mean = Track(system, v, known, length).mean
    return TrackDistribution(
        space,
        index,
        kind,
        "Kalman smoother",
        within(mean, length),
        Shared(system),
        v,
        known,
        length,
    )


def within(path: Tensor, length: Tensor) -> Tensor:
    """Paths (..., B, L, Q), 0 past a row's end."""
    steps = torch.arange(path.shape[-2], device=path.device)
    return path.masked_fill((steps >= length[:, None])[..., None], 0.0)
