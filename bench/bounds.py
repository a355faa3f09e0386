"""Times variational inference beside pyro's, of one density, with as many draws and steps: what bound each reaches.

    python -m bench.bounds [--case full10] ... [--repeats 5]

The density is the posterior of a logistic regression, in double precision. Both take Adam at one rate from a standard
normal; ours also averages and lowers the rate, as its fits do. Both Gaussians are judged on the same draws. One thread,
processor time, in turns; the median ratio over repeats and its range are printed, then the bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyro
import torch
from pyro.distributions import Normal
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoDiagonalNormal, AutoMultivariateNormal, init_to_value
from torch import Tensor

from bench import turns
from bench.turns import Case
from likeness.families.vi import fit
from likeness.numerics import gaussian

STEPS, DRAWS, LR, ROWS, JUDGES = 1000, 64, 0.05, 200, 20_000
Distribution = tuple[Tensor, Tensor]  # mean (Q,) and covariance (Q, Q)


@dataclass(frozen=True, eq=False)
class Regression:
    """log p(y, z | x) of weights z, a standard normal before y (ROWS,) was seen beside x (ROWS, Q)."""

    x: Tensor
    y: Tensor

    @classmethod
    def of(cls, q: int) -> Regression:
        """Columns that go together, so that weights do too."""
        g = torch.Generator().manual_seed(0)
        x = (
            torch.randn(ROWS, q, generator=g, dtype=torch.float64)
            + torch.randn(ROWS, 1, generator=g).double()
        )
        w = torch.randn(q, generator=g, dtype=torch.float64)
        return cls(x, (torch.rand(ROWS, generator=g).double() < (x @ w).sigmoid()).double())

    def seen(self, z: Tensor) -> Tensor:
        """log p(y | z, x), (B,)."""
        logit = z @ self.x.T
        return (self.y * logit - torch.nn.functional.softplus(logit)).sum(-1)

    def __call__(self, z: Tensor) -> Tensor:
        """log p(y, z | x), (B,)."""
        return self.seen(z) + Normal(z.new_zeros(()), 1.0).log_prob(z).sum(-1)


def ours(density: Regression, q: int, rank: str) -> Distribution:
    """`vi`."""
    model = fit(density, q, steps=STEPS, rank=rank, draws=DRAWS, lr=LR)
    return model.mean.detach(), (model.factor @ model.factor.mT).detach()


def theirs(density: Regression, q: int, rank: str) -> Distribution:
    """Pyro's, draws side by side."""

    def model() -> None:
        zero = density.x.new_zeros(q)
        pyro.factor("seen", density.seen(pyro.sample("z", Normal(zero, 1.0).to_event(1))))

    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    kind = AutoMultivariateNormal if rank == "full" else AutoDiagonalNormal
    guide = kind(
        model, init_loc_fn=init_to_value(values={"z": density.x.new_zeros(q)}), init_scale=1.0
    )
    elbo = Trace_ELBO(num_particles=DRAWS, max_plate_nesting=0, vectorize_particles=True)
    svi = SVI(model, guide, pyro.optim.Adam({"lr": LR}), elbo)
    for _ in range(STEPS):
        svi.step()
    found = guide.get_posterior()
    cov = found.covariance_matrix if rank == "full" else found.base_dist.scale.square().diag()
    mean = found.loc if rank == "full" else found.base_dist.loc
    return mean.detach(), cov.detach()


def bound(density: Regression, law: Distribution) -> float:
    """E_q[log p - log q] on draws that both share, nats."""
    mean, cov = law
    g = torch.Generator().manual_seed(1)
    z = (
        mean
        + torch.randn(JUDGES, len(mean), generator=g, dtype=torch.float64)
        @ torch.linalg.cholesky(cov).T
    )
    return float((density(z) - gaussian.log_density(z, mean, cov)).mean())


def case(q: int, rank: str) -> Case:
    """So many weights."""
    density = Regression.of(q)

    def gap(a: Distribution, b: Distribution) -> str:
        mine, peer = bound(density, a), bound(density, b)
        return f"bounds {mine:.3f} and {peer:.3f} nats, ours {mine - peer:+.4f}"

    return Case(f"{rank} Gaussian of {q}, {STEPS} steps of {DRAWS} draws", lambda: ours(density, q, rank),
                lambda: theirs(density, q, rank), gap, "pyro")  # fmt: skip


CASES: dict[str, Callable[[], Case]] = {
    "diagonal10": lambda: case(10, "diagonal"),
    "full10": lambda: case(10, "full"),
    "diagonal50": lambda: case(50, "diagonal"),
    "full50": lambda: case(50, "full"),
}


def main() -> None:
    """Run the cases that were named, or all."""
    turns.main(CASES, __doc__)


if __name__ == "__main__":
    main()
