"""One Gaussian for each row, in model units, as a distribution in data units."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from likeness.core.batch import Batch
from likeness.core.noise import Noise
from likeness.core.preprocessor import Preprocessor
from likeness.core.row_distribution import RowDistribution
from likeness.numerics.constants import LOG_2PI


@dataclass(frozen=True, eq=False, repr=False)
class RowGaussian(RowDistribution):
    """One Gaussian for each row, in a preprocessor's model units: what `decode` answers with.

    Args:
        preprocessor: Between model units and data units.
        loc: (B, D).
        factor: Lower triangular, (B, D, D).
    """

    preprocessor: Preprocessor
    loc: Tensor
    factor: Tensor

    @property
    def mean(self) -> Tensor:
        """The middle, in data units."""
        return self._outside(self.loc)

    @property
    def mode(self) -> Tensor:
        """The middle, in data units."""
        return self._outside(self.loc)

    def log_prob(self, z: Tensor) -> Tensor:
        """log p of values in data units, nats, (B,)."""
        noise = Noise(0, self.index, scope="component", dtype=z.dtype)
        inside, correction, _ = self.preprocessor.forward(Batch(z, index=self.index), noise)
        # Whitened residual u = L^-1 (x - loc), and log |det| of the preprocessor for data units.
        gap = (inside.x.flatten(1).to(self.loc) - self.loc)[..., None]
        u = torch.linalg.solve_triangular(self.factor, gap, upper=False).squeeze(-1)
        log_det = self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return correction - 0.5 * (u.square().sum(-1) + u.shape[-1] * LOG_2PI) - log_det

    def draw(self, noise: Noise) -> Tensor:
        """Middle + factor eps, in data units."""
        n = noise.rows // len(self.loc)
        eps = noise.normal("z", self.loc.shape[-1]).unflatten(0, (n, len(self.loc)))
        return self._outside((self.loc + (self.factor * eps[..., None, :]).sum(-1)).flatten(0, 1))

    def _outside(self, y: Tensor) -> Tensor:
        return self.preprocessor.inverse(y.reshape(len(y), *self.preprocessor.out.layout))
