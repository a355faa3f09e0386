"""The games that a critic and a generator play: losses of both, and what keeps a critic smooth."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softplus
from torch.nn.utils import parametrizations

Pair = tuple[Tensor, Tensor]


def _minimax(real: Tensor, fake: Tensor) -> Pair:
    """log(1 - D(G(z))) itself: its gradient vanishes where the critic wins (Goodfellow et al. 2014, eq. 1)."""
    return torch.zeros_like(real), -softplus(fake)


def _non_saturating(real: Tensor, fake: Tensor) -> Pair:
    """-log D(G(z)) (Goodfellow et al. 2014, section 3)."""
    return torch.zeros_like(real), softplus(-fake)


def _relativistic(real: Tensor, fake: Tensor) -> Pair:
    """f(D(G(z)) - D(x)), rows paired (Jolicoeur-Martineau 2018; Huang et al. 2024, eq. 2)."""
    return torch.zeros_like(real), softplus(real - fake)


def _raise(real: Tensor, fake: Tensor) -> Pair:
    """-D(G(z)): hinge and Wasserstein games."""
    return torch.zeros_like(real), -fake


# What the critic minimises, term by term (real, fake)
CRITICS: dict[str, Callable[[Tensor, Tensor], Pair]] = {
    "minimax": lambda real, fake: (softplus(-real), softplus(fake)),
    "non_saturating": lambda real, fake: (softplus(-real), softplus(fake)),
    "relativistic": lambda real, fake: (softplus(fake - real), torch.zeros_like(fake)),
    "hinge": lambda real, fake: (relu(1 - real), relu(1 + fake)),
    "wasserstein": lambda real, fake: (-real, fake),
}
# What the generator minimises, term by term
GENERATORS: dict[str, Callable[[Tensor, Tensor], Pair]] = {
    "minimax": _minimax,
    "non_saturating": _non_saturating,
    "relativistic": _relativistic,
    "hinge": _raise,
    "wasserstein": _raise,
}


def squared_slope(score: Tensor, x: Tensor) -> Tensor:
    """The squared norm of each score's gradient in the rows that it judges, as many as there are scores."""
    (gradient,) = torch.autograd.grad(score.sum(), x, create_graph=True)
    return gradient.square().reshape(len(score), -1).sum(-1)


def constrain(net: nn.Module) -> None:
    """Spectral normalisation of every linear and convolutional layer (Miyato et al. 2018, arXiv:1802.05957)."""
    for module in net.modules():
        if type(module) in {nn.Linear, nn.Conv1d, nn.Conv2d}:
            parametrizations.spectral_norm(module)
