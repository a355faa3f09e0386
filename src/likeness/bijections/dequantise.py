"""Variational dequantisation: the distribution of a value within its cell is learned with the model."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from likeness.bijections.preprocess import Reals
from likeness.core.batch import Batch
from likeness.core.noise import Noise
from likeness.core.space import Space
from likeness.nets.mlp import MLP
from likeness.numerics.constants import LOG_2PI


class LearnedReals(Reals):
    """Reals whose place in a cell is u = sigmoid(m(x) + s(x) eps), eps ~ N(0, 1), m and s a net of the whole row.

    The bound log p(x) >= E[log p(x + u) - log q(u | x)] is tight where q is the model's own distribution
    within the cell (Ho et al. 2019, arXiv:1902.00275, eq. 12). A new net spreads values almost
    evenly.

    Args:
        space: What comes in.
        hidden: Widths of the net.
    """

    def __init__(self, space: Space, *, hidden: tuple[int, ...] = (128,)) -> None:
        super().__init__(space)
        self.how = "dequantised by a learned distribution"
        self.net = MLP(space.dims, 2 * self.out.dims, hidden=hidden, zero=True)
        # exp(.53) = 1.7: the normal nearest to the logistic distribution, whose sigmoid is uniform.
        self.base = nn.Parameter(torch.tensor(0.53))

    def _cells(self, batch: Batch, noise: Noise) -> tuple[Tensor, Tensor]:
        x = batch.x * batch.present
        normal = noise.normal("cell", *self.out.layout)
        flat = x.flatten(1)
        # The net sees each row in its own units.
        if flat.shape[1] > 1:
            centred = (flat - flat.mean(-1, keepdim=True)) / (flat.std(-1, keepdim=True) + 1e-6)
        else:
            centred = flat
        mean, log_std = (
            self.net(centred.to(self.base)).reshape(len(x), *self.out.layout, 2).unbind(-1)
        )
        log_std = log_std.clamp(-4, 4) + self.base
        # u = sigmoid(y): -log q(u) = -log N(y) + log du/dy.
        y = mean + log_std.exp() * normal
        minus_log_q = 0.5 * (normal.square() + LOG_2PI) + log_std + logsigmoid(y) + logsigmoid(-y)
        return y.sigmoid(), minus_log_q
