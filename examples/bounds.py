"""Evidence, ELBO and the gap between them
=======================================

log p(x) = ELBO(q) + KL(q || p(z | x)), number by number.

z ~ N(0, 1), x | z ~ N(z, 1/4), x = 1.3: the evidence is N(x; 0, 1.25) and the posterior N(1.04, 0.2). The divergence
from the prior is KL(q || N(0, 1)) = (m^2 + s^2 - 1 - log s^2) / 2 >= 0; with a minus in front, or with s in place of
s^2, it falls below 0 and rewards leaving the prior. E_q log p(x | z) is minus the reconstruction error. What multiplies
the evidence by 1 on the way to the bound is q / q, of the encoder's own q(z | x).
"""

import itertools
import math
from pathlib import Path

import numpy as np
import torch
from _page import BLUE, GREEN, GREY, ORANGE, RED, command, mark, page, write
from scipy.special import expit, logsumexp
from scipy.stats import norm

from likeness.core.answers import Kind
from likeness.core.space import vector
from likeness.data.synthetic.gaussian import Correlated, LinearGaussian
from likeness.numerics.stable import log_mean_exp

X = torch.tensor([[1.3]], dtype=torch.float64)
WORLD = LinearGaussian(torch.ones(1, 1), sigma=0.5)


def gaussian(mean: torch.Tensor, variance: torch.Tensor) -> Correlated:
    """q(z) = N(mean, variance) of each row, both (B,)."""
    rows = torch.arange(len(mean))
    return Correlated(
        vector(1), rows, Kind.ESTIMATE, "chosen", mean[:, None], variance.sqrt()[:, None, None]
    )


def elbo(mean: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    """E_q[log p(x, z) - log q(z)] in closed form, (B,)."""
    return WORLD.elbo(X.expand(len(mean), 1), gaussian(mean, variance))


def divergence(m: float, variance: float) -> float:
    """KL(N(m, variance) || N(0, 1)) in nats."""
    return 0.5 * (m**2 + variance - 1 - math.log(variance))


def wrong(m: float, variance: float) -> float:
    """The same with a minus in front and s for s^2: never positive where it should never be negative."""
    return -0.5 * (m**2 + math.sqrt(variance) - 1 - math.log(math.sqrt(variance)))


def ascend() -> tuple[float, float]:
    """The q that maximises the ELBO, by L-BFGS from the prior."""
    q = torch.zeros(2, dtype=torch.float64, requires_grad=True)  # mean, log variance
    search = torch.optim.LBFGS([q], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        search.zero_grad()
        value = -elbo(q[:1], q[1:].exp()).sum()
        value.backward()
        return value

    search.step(loss)
    mean, log_variance = q.detach().tolist()
    return mean, math.exp(log_variance)


def importance(k: int, repeats: int) -> tuple[float, float]:
    """The mean of log (1/k) sum p(x, z) / q(z) with z ~ q = N(1, 0.3), and its standard error."""
    z = np.random.default_rng(k).normal(1, math.sqrt(0.3), size=(k, repeats))
    log_p = norm(z, 0.5).logpdf(1.3) + norm(0, 1).logpdf(z)
    bounds = log_mean_exp(torch.as_tensor(log_p - norm(1, math.sqrt(0.3)).logpdf(z)))[0]
    return float(bounds.mean()), float(bounds.std()) / math.sqrt(repeats)


def codes(n: int, draws: int) -> tuple[float, float, float]:
    """log p(1.3) for n fair bits z and x | z ~ N(w z, 1): by all 2^n codes, by weighted draws, and their s.e.

    Draws are of independent bits, each as likely as the linear-Gaussian posterior would have it, weighted p / q.
    """
    rng = np.random.default_rng(0)
    w, means = rng.normal(size=n), np.zeros(1)
    for weight in w:
        means = np.concatenate([means, means + weight])
    exact = float(logsumexp(norm(means, 1).logpdf(1.3)) - n * math.log(2))
    q = expit((1.3 - w.sum() / 2) * w / (1 + (w**2).sum() / 4))
    z = rng.random((draws, n)) < q
    log_q = (z * np.log(q) + (~z) * np.log1p(-q)).sum(-1)
    log_w = torch.as_tensor(norm(z @ w, 1).logpdf(1.3) - n * math.log(2) - log_q)
    value, error = log_mean_exp(log_w[:, None])
    return exact, float(value), float(error)


def main(out: Path, *, quick: bool = False) -> dict[str, float]:
    """The identity at one q, at the posterior, at a thousand others; the q found by ascent; more draws."""
    evidence = float(WORLD.log_prob(X).value)
    posterior = WORLD.encode(X)
    one, third = torch.tensor([1.0], dtype=torch.float64), torch.tensor([0.3], dtype=torch.float64)
    bound = float(elbo(one, third))
    gap = 0.5 * (
        0.3 / 0.2 + 0.04**2 / 0.2 - 1 - math.log(0.3 / 0.2)
    )  # KL(N(1, 0.3) || N(1.04, 0.2))
    assert math.isclose(evidence, -1.70651, abs_tol=5e-6)
    assert math.isclose(bound, -1.75778, abs_tol=5e-6)
    assert math.isclose(gap, 0.051267, abs_tol=5e-7) and math.isclose(
        bound + gap, evidence, abs_tol=1e-12
    )
    assert math.isclose(
        float(WORLD.elbo(X, posterior)), evidence, abs_tol=1e-10
    )  # tight at the posterior

    # For any z: log p(x) = log p(z) + log p(x | z) - log p(z | x).
    z = torch.linspace(-4, 4, 9, dtype=torch.float64)[:, None]
    log_prior, log_fit = torch.as_tensor(norm(0, 1).logpdf(z[:, 0])), WORLD.decode(z).log_prob(X)
    inside = torch.stack([posterior.log_prob(row[None])[0] for row in z])
    assert torch.allclose(
        log_prior + log_fit - inside,
        torch.full((9,), evidence, dtype=torch.float64),
        rtol=0,
        atol=1e-10,
    )

    # The ELBO = E log p(x | z) - KL(q || prior): two terms that add up. No q of a thousand exceeds log p.
    fit = float(norm(1, 0.5).logpdf(1.3)) - 0.3 / (2 * 0.25)
    assert math.isclose(fit - divergence(1, 0.3), bound, abs_tol=1e-12)
    rng = np.random.default_rng(0)
    means, variances = (
        torch.as_tensor(rng.normal(0, 3, 1000)),
        torch.as_tensor(rng.gamma(1.0, 1.0, 1000)),
    )
    assert bool((elbo(means, variances) <= evidence).all())
    mean, variance = ascend()
    assert math.isclose(mean, 1.04, abs_tol=1e-3) and math.isclose(variance, 0.2, abs_tol=1e-3)

    # The divergence from the prior, and what the wrong sign and the wrong sigma make of it.
    assert math.isclose(divergence(1, 1), 0.5) and math.isclose(wrong(1, 1), -0.5)
    assert math.isclose(divergence(0.5, 0.64), 0.168144, abs_tol=1e-6)
    assert math.isclose(wrong(0.5, 0.64), -0.136572, abs_tol=1e-6)

    # Several draws: the expected bound rises to log p (Burda et al. 2016, theorem 1).
    draws = (1, 2, 5, 20, 100, 500)
    bounds = {k: importance(k, 1_000 if quick else 20_000) for k in draws}
    assert abs(bounds[1][0] - bound) < 4 * bounds[1][1]
    assert all(value < evidence + 4 * error for value, error in bounds.values())
    assert all(bounds[a][0] < bounds[b][0] + 4 * bounds[a][1] for a, b in itertools.pairwise(draws))
    assert abs(bounds[500][0] - evidence) < 1e-4 + 4 * bounds[500][1]

    # A code of bits: 2^20 terms can be summed and draws agree with the sum; 2^100 terms only draws could stand for.
    exact, drawn, unsure = codes(20, 20_000 if quick else 100_000)
    assert abs(drawn - exact) < 2 * unsure < 0.05
    assert 2**100 == 1_267_650_600_228_229_401_496_703_205_376

    figure, (laws, landscape, more, penalty) = page(2, 2)
    at = np.linspace(-3, 3.5, 400)
    laws.plot(at, norm(0, 1).pdf(at), color=GREY, label="prior N(0, 1)")
    laws.plot(at, norm(1.04, math.sqrt(0.2)).pdf(at), color=BLUE, label="posterior N(1.04, 0.2)")
    laws.plot(
        at,
        norm(1, math.sqrt(0.3)).pdf(at),
        color=ORANGE,
        ls="--",
        label=f"q = N(1, 0.3), {gap:.4f} nats off",
    )
    laws.set_ylim(0, 1.2)
    mark(laws, "What z may have been, given x = 1.3", "z", "density")
    m = torch.linspace(0.6, 1.5, 200, dtype=torch.float64)
    for v, colour in ((0.2, BLUE), (0.3, ORANGE), (0.4, GREEN)):
        landscape.plot(m, elbo(m, torch.full_like(m, v)), color=colour, label=f"ELBO of N(m, {v})")
    landscape.axhline(evidence, color="black", lw=1, ls=":", label=f"log p(1.3) = {evidence:.5f}")
    landscape.annotate(
        "", (1, evidence), (1, bound), arrowprops={"arrowstyle": "<->", "shrinkA": 0, "shrinkB": 0}
    )
    landscape.set_ylim(-2.0, -1.5)
    mark(landscape, "The gap is KL(q || posterior)", "mean m of q", "nats")
    value, error = np.array(list(bounds.values())).T
    more.errorbar(
        draws,
        value,
        yerr=2 * error,
        color=ORANGE,
        marker="o",
        label="importance-weighted bound, q = N(1, 0.3)",
    )
    more.axhline(evidence, color="black", lw=1, ls=":", label="log p(1.3)")
    more.set_xscale("log")
    more.set_ylim(-1.765, -1.695)
    mark(more, "More draws close the gap", "draws K", "nats")
    s = np.linspace(0.1, 2.5, 200)
    penalty.plot(
        s, [divergence(0.5, v**2) for v in s], color=BLUE, label="(m² + s² - 1 - log s²) / 2"
    )
    penalty.plot(
        s,
        [wrong(0.5, v**2) for v in s],
        color=RED,
        ls="--",
        label="-(m² + s - 1 - log s) / 2, never right",
    )
    penalty.axhline(0, color="black", lw=0.6)
    mark(penalty, "KL(N(0.5, s²) || N(0, 1))", "s", "nats")
    write(figure, out, "bounds")
    return {"log p(1.3)": evidence, "ELBO of N(1, 0.3)": bound, "gap": gap, "best mean": mean,
            "best variance": variance,
            "KL at m = 1, s = 1": divergence(1, 1), "KL at m = 0.5, s = 0.8": divergence(0.5, 0.64),
            "wrong KL at m = 1, s = 1": wrong(1, 1), "wrong KL at m = 0.5, s = 0.8": wrong(0.5, 0.64),
            "bound of 1 draw": bounds[1][0], "bound of 500 draws": bounds[500][0],
            "log p by 2^20 codes": exact, "log p by draws of codes": drawn, "its s.e.": unsure}  # fmt: skip


if __name__ == "__main__":
    command(main)
