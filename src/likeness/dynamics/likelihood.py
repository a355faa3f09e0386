"""How likely data are under a denoiser: by the probability-flow ODE, and by lower bounds.

Everything is in nats and per item. Where an item has entries that do not exist (the tail of a
ragged one), `present` says which do; the others count nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from likeness.core.noise import Noise
from likeness.dynamics.denoiser import Denoiser, Given, eps_from_data
from likeness.dynamics.grid import bent_grid, log_snr_range, log_snr_times
from likeness.dynamics.path import DDPM, Path, expand
from likeness.numerics.constants import HALF_LOG_2PI
from likeness.numerics.draws import inverse_cdf

Decoder = Callable[
    [Tensor, Tensor, Tensor], Tensor
]  # (x_0, x_hat, std) -> log p of each entry of x_0
AT_ONCE = 1 << 12  # numbers in all probes
Slope = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # (x, t) -> velocity, divergences
Probes = Callable[[int], Tensor]  # number of the step -> (n, B, *E)


@dataclass(frozen=True, eq=False)
class Estimate:
    """A value for each item, in nats.

    Args:
        value: (B,).
        stderr: Its standard error over draws, (B,); None with fewer than 2 draws.
        terms: What the value is the sum of, with its sign, each (B,).
    """

    value: Tensor
    stderr: Tensor | None = None
    terms: dict[str, Tensor] = field(default_factory=dict)


def standard_error(draws: Tensor) -> Tensor | None:
    """The standard error of the mean of independent draws (n, B), (B,); None for n < 2."""
    if len(draws) > 1:
        return draws.std(0) / math.sqrt(len(draws))
    return None


def total(x: Tensor, present: Tensor | None = None) -> Tensor:
    """The sum over the entries of each item that exist, (B,)."""
    return (x if present is None else torch.where(present, x, 0)).flatten(1).sum(1)


def gaussian(x: Tensor, mean: Tensor | float, std: Tensor | float) -> Tensor:
    """The log-density of N(mean, std^2) at each entry."""
    std = torch.as_tensor(std, dtype=torch.float64)
    return -((x - mean) / std).square() / 2 - std.log() - HALF_LOG_2PI


def rademacher(noise: Noise, n: int, x: Tensor) -> Probes:
    """Signs to probe a Jacobian with, n for each item of x (B, *E), anew at each step; probe i does not depend on n.

    Probes are random signs times rows of a Hadamard matrix of order P, the least power of 2 from
    the item's size, in random order without return: each is a vector of independent signs, and P of
    them in a row are orthogonal, so that together they give the trace exactly. Fewer err less than
    independent ones would: see `without_return`. Other signs at each step let the errors of many
    steps cancel (with the same ones they add up).
    """
    # Rows of a Hadamard matrix in random order, as many rounds as n needs: (n, B, *E).
    size = x[0].numel()
    order = _order(size)
    blocks = [
        _block(noise, k, min(order, n - first), order, size)
        for k, first in enumerate(range(0, n, order))
    ]
    rows = torch.cat(blocks).to(x).unflatten(-1, x.shape[1:])

    # Signs flip the rows of each item, anew at each step.
    def at(step: int) -> Tensor:
        return rows * (1 - 2 * (noise.uniform(f"probe-signs-{step}", *x.shape[1:]) < 0.5).to(x))

    return at


def _order(size: int) -> int:
    return 1 << max(size - 1, 0).bit_length()


def without_return(n: int, size: int) -> float:
    """By how much n probes of an item of `size` entries err less than independent ones: sqrt(1 - n / P), n <= P.

    The variance of a mean of n out of P (Cochran 1977, Sampling Techniques, theorem 2.2).
    """
    return math.sqrt(max(0.0, 1 - n / _order(size)))


def _block(noise: Noise, number: int, n: int, order: int, size: int) -> Tensor:
    """The first n rows of one round of a Hadamard matrix's (n, B, size); H_ij is -1 to the bits that i and j share."""
    # H_ij = (-1)^(bits that i and j share): fold the shared bits to their parity.
    rows = noise.uniform(f"probe-row-{number}", order).argsort(-1).t()[:n]
    bits = rows[..., None] & torch.arange(size, device=rows.device)
    for half in (32, 16, 8, 4, 2, 1):
        bits = bits ^ (bits >> half)  # the last bit becomes the parity of all
    return 1 - 2 * (bits & 1)


def _axes(x: Tensor) -> Tensor:
    """Every unit vector of an event, (D, B, *E), without taking D times the memory."""
    size = x[0].numel()
    return (
        torch.eye(size, dtype=x.dtype, device=x.device)
        .view(size, 1, *x.shape[1:])
        .expand(size, *x.shape)
    )


def _directions(x: Tensor, probes: Probes | None, mask: Tensor) -> Probes:
    """Directions (n, B, *E) of each step's trace: all unit vectors, or the probes' where entries exist."""
    if probes is None:
        axes = _axes(x)
        return lambda _step: axes
    return lambda step: probes(step) * mask


def _slope(denoiser: Denoiser, path: Path, context: Given, probes: Tensor, mask: Tensor) -> Slope:
    """The velocity (B, *E) and probe . (d velocity / dx) probe of each probe, (n, B), by products with the Jacobian."""

    def slope(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        # v(x, t), and probe' (dv/dx) probe by one vector-Jacobian product for each probe.
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            velocity = path.velocity(x, denoiser(x, t.to(x).expand(len(x)), context), t) * mask
            pulled = _pulled(velocity, x, probes)
        return velocity.detach(), torch.stack(
            [total(a * b) for a, b in zip(pulled, probes, strict=True)]
        )

    return slope


def _pulled(velocity: Tensor, x: Tensor, probes: Tensor) -> Sequence[Tensor]:
    """Each probe's product with the Jacobian; all in one call where they are so small that calls are what costs."""
    # Small: all vector-Jacobian products in one vectorised backward pass.
    if len(probes) > 2 and probes.numel() <= AT_ONCE:
        return torch.autograd.grad(velocity, x, probes, is_grads_batched=True)[0].unbind()
    return [torch.autograd.grad(velocity, x, probe, retain_graph=True)[0] for probe in probes]


def _runge_kutta(slope: Slope, x: Tensor, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """One step of the classical method of order 4 from t to s: the new x and the integral of the divergences."""
    # The divergence is integrated beside the state, with the same stages (Kutta 1901).
    h = s - t
    middle = (t + s) / 2
    v_1, d_1 = slope(x, t)
    v_2, d_2 = slope(x + h / 2 * v_1, middle)
    v_3, d_3 = slope(x + h / 2 * v_2, middle)
    v_4, d_4 = slope(x + h * v_3, s)
    return x + h / 6 * (v_1 + 2 * v_2 + 2 * v_3 + v_4), h / 6 * (d_1 + 2 * d_2 + 2 * d_3 + d_4)


def likelihood_grid(path: Path, steps: int) -> Tensor:
    """The grid that `ode_log_prob` takes: `bent_grid` from `t_min` up to `t_max`, (steps + 1,)."""
    return bent_grid(path, steps, stop=path.t_min).flip(0)


def ode_log_prob(
    denoiser: Denoiser,
    path: Path,
    x: Tensor,
    context: Given = None,
    *,
    grid: Tensor,
    probes: Probes | None = None,
    prior: Callable[[Tensor], Tensor] | None = None,
    present: Tensor | None = None,
) -> Estimate:
    """Estimate log p(x) by the change of variables along the probability-flow ODE; the error falls as steps^-4.

    log p(x) = log prior(x_T) + integral of div velocity dt + D log alpha(t_0), where t_0 = grid[0]
    > 0 is so early that the noise there, sigma(t_0) / alpha(t_0), is small beside all that the data
    show. A fixed grid keeps each item's value apart from the rest of its batch. Chen et al. 2018,
    arXiv:1806.07366, eq. 8; Song et al. 2021, arXiv:2011.13456, eq. 39. Four evaluations of the
    denoiser a step, and as many products with its Jacobian as there are probes; nothing is
    differentiable afterwards.

    Args:
        denoiser: The denoiser, x_hat.
        path: Its path.
        x: Data, (B, *E).
        context: What the denoiser is given.
        grid: Increasing times, such as `likelihood_grid`.
        probes: None for the exact trace, by one product for each of the D entries; or for each step
            (n, B, *E) of mean 0 and covariance I for Hutchinson's estimate, whose n values give the
            standard error: see `rademacher`.
        prior: The log-density of x at grid[-1], (B, *E) -> (B,); by default N(0, prior_std^2 I).
        present: Which entries exist, bool (B, *E).
    """
    mask = torch.ones_like(x) if present is None else present.to(x)
    times = grid.detach().double().cpu().unbind()
    directions = _directions(x, probes, mask)
    scale = path.alpha(times[0])
    growth = torch.zeros((), dtype=x.dtype, device=x.device)
    # x at the first time is alpha x_0: its density gains D log alpha.
    x = x * scale
    for step, (t, s) in enumerate(pairwise(times)):
        slope = _slope(denoiser, path, context, directions(step), mask)
        x, divergence = _runge_kutta(slope, x, t, s)
        growth = growth + divergence
    if prior:
        end = prior(x)
    else:
        end = total(gaussian(x, 0, path.prior_std), present)
    # log p(x_T) + log|dx_t0 / dx_0| + integral of the
    # divergence; the exact trace adds up all D terms.
    values = (
        end
        + total(mask * scale.log())
        + (growth.sum(0, keepdim=True) if probes is None else growth)
    )
    return Estimate(values.mean(0), standard_error(values))


@dataclass(frozen=True, eq=False)
class _Reverse:
    """The terms that the two bounds share, each (B,) and of the negative bound, for any way of drawing times.

    Every term between prior and data is an expectation of |eps - eps_hat|^2. From each draw that of
    the ideal denoiser of N(0, data_std^2) is subtracted, and its expectation, known in closed form,
    is added: the mean stays and most of the variance goes.
    """

    denoiser: Denoiser
    path: Path
    x_0: Tensor
    context: Given
    decoder: Decoder | None
    present: Tensor | None
    data_std: float

    def prior(self, t: Tensor) -> Tensor:
        """KL(q(x_t | x_0) || N(0, prior_std^2))."""
        relative = self.path.sigma(t) / self.path.prior_std
        constant = -relative.log() + (relative.square() - 1) / 2
        return total(
            constant + (self.path.alpha(t) / self.path.prior_std).square() / 2 * self.x_0.square(),
            self.present,
        )

    def excess(self, t: Tensor, eps: Tensor) -> Tensor:
        """|eps - eps_hat|^2 minus the same of the Gaussian's denoiser, whose eps_hat is sigma x / v, v = var x_t."""
        x = self.path.marginal(self.x_0, t, eps)
        alpha = expand(self.path.alpha(t), x)
        sigma = expand(self.path.sigma(t), x)
        # The noise that the ideal denoiser of N(0, data_std^2) would find.
        simple = sigma / ((alpha * self.data_std).square() + sigma.square()) * x
        eps_hat = eps_from_data(self.path, x, self.denoiser(x, t, self.context), t)
        return total((eps - eps_hat).square() - (eps - simple).square(), self.present)

    def known(self, signal: Tensor, noise: Tensor) -> Tensor:
        """The sum of signal x_0^2 + noise over entries: the Gaussian's own expectation, from its two coefficients."""
        return total(signal * self.x_0.square() + noise, self.present)

    def decode(self, t: Tensor, eps: Tensor) -> Tensor:
        """-log p(x_0 | x_t), where p is around x_hat with std sigma / alpha."""
        x_hat = self.denoiser(
            self.path.marginal(self.x_0, t, eps), t.to(self.x_0).expand(len(self.x_0)), self.context
        )
        std = self.path.sigma(t) / self.path.alpha(t)
        if self.decoder:
            return -total(self.decoder(self.x_0, x_hat, std), self.present)
        # A Gaussian's main random part is eps^2 / 2, of which the mean is known.
        return -total(gaussian(self.x_0, x_hat, std) + (eps.square() - 1) / 2, self.present)


def _bound(l_T: Tensor, l_t: list[Tensor], l_0: list[Tensor], *, independent: bool) -> Estimate:
    """The bound, minus the sum of its three terms, from draws of the last two."""
    between = torch.stack(l_t)
    last = torch.stack(l_0)
    terms = {"L_T": -l_T, "L_t": -between.mean(0), "L_0": -last.mean(0)}
    value = terms["L_T"] + terms["L_t"] + terms["L_0"]
    return Estimate(value, standard_error(between + last) if independent else None, terms)


def variational_bound(
    denoiser: Denoiser,
    path: DDPM,
    x_0: Tensor,
    context: Given = None,
    *,
    noise: Noise,
    draws: int | None = 1,
    decoder: Decoder | None = None,
    present: Tensor | None = None,
    data_std: float = 1.0,
) -> Estimate:
    """A LOWER_BOUND of log p(x_0) under the discrete chain: -(L_T + sum of L_t + L_0), the terms of Ho et al. 2020.

    L_T = KL(q(x_T | x_0) || prior), L_t = KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)), L_0 = -log
    p(x_0 | x_1). arXiv:2006.11239, eq. 5. The distribution is the one that `ancestral` draws from, whose
    steps have r_t times the posterior's variance (`Path.reverse_std`): L_t = (1 / r_t - 1 + log
    r_t) / 2 per entry + w_t |eps - eps_hat|^2, w_t = (SNR(t-1) / SNR(t) - 1) / (2 r_t). Times are
    drawn in proportion to w_t.

    Args:
        denoiser: The denoiser, x_hat.
        path: The chain.
        x_0: Data, (B, *E).
        context: What the denoiser is given.
        noise: Where times and noise come from.
        draws: How many draws of (t, x_t, x_1) per item are averaged; None sums over all t, once
            each.
        decoder: log p of each entry of x_0 given (x_hat, std); None is the Gaussian.
        present: Which entries exist, bool (B, *E).
        data_std: The spread of data for which the steps' variance is exact; a Gaussian with it
            takes away variance.
    """
    reverse = _Reverse(denoiser, path, x_0, context, decoder, present, data_std)
    chain = path.chain().flip(0)
    shape = x_0.shape[1:]
    # SNR from t = 1 on; the steps t = 2..T lead from SNR(t) to SNR(t - 1).
    snr = path.log_snr(chain[1:]).exp()
    before = snr[:-1]  # for t = 2..T
    snr = snr[1:]
    # r_t, w_t and the constant of each step's divergence.
    wider = (1 + before * data_std**2) / (1 + snr * data_std**2)
    weight = (before / snr - 1) / wider / 2
    constant = (1 / wider - 1 + wider.log()) / 2
    # E|eps - simple|^2 of the Gaussian's denoiser, which is taken off every draw, in closed form.
    ideal = weight / (snr * data_std**2 + 1).square()
    known = reverse.known(
        (ideal * snr).sum(), (ideal * (snr * data_std**2).square() + constant).sum()
    )

    def drawn(i: int) -> Tensor:
        # A time in proportion to its weight w_t; the sum of weights makes up for it.
        place = inverse_cdf(weight.cumsum(0), noise.uniform(f"bound-time-{i}").double().cpu())
        t = chain[2 + place].to(x_0)
        return weight.sum() * reverse.excess(t, noise.normal(f"bound-eps-{i}", *shape).to(x_0))

    def every() -> Iterator[Tensor]:
        for k, t in enumerate(chain[2:]):
            eps = noise.normal(f"bound-step-{k}", *shape).to(x_0)
            yield weight[k] * reverse.excess(t.to(x_0).expand(len(x_0)), eps)

    if draws is None:
        between = [torch.stack(list(every())).sum(0)]
    else:
        between = [drawn(i) for i in range(draws)]
    ends = [
        reverse.decode(chain[1], noise.normal(f"bound-end-{i}", *shape).to(x_0))
        for i in range(len(between))
    ]
    return _bound(
        reverse.prior(chain[-1]), [known + b for b in between], ends, independent=draws is not None
    )


def continuous_bound(
    denoiser: Denoiser,
    path: Path,
    x_0: Tensor,
    context: Given = None,
    *,
    noise: Noise,
    draws: int = 1,
    decoder: Decoder | None = None,
    present: Tensor | None = None,
    data_std: float = 1.0,
) -> Estimate:
    """A LOWER_BOUND of log p(x_0) under the path in continuous time, tight for the ideal denoiser.

    The middle term is -1/2 integral SNR'(t) E|x_0 - x_hat|^2 dt, with times drawn uniformly in
    log-SNR, where it is half the range times E|eps - eps_hat|^2. Kingma et al. 2021,
    arXiv:2107.00630, eq. 17 and section 5.1. The generative distribution runs over the path's
    `log_snr_range`, starting from N(0, prior_std^2 I).

    Args:
        denoiser: The denoiser, x_hat.
        path: Its path.
        x_0: Data, (B, *E).
        context: What the denoiser is given.
        noise: Where times and noise come from.
        draws: How many draws of (t, x_t, x_{t_min}) per item are averaged.
        decoder: log p of each entry of x_0 given (x_hat, std); None is the Gaussian.
        present: Which entries exist, bool (B, *E).
        data_std: The standard deviation of the Gaussian that takes away variance; it does not
            change the mean.
    """
    reverse = _Reverse(denoiser, path, x_0, context, decoder, present, data_std)
    ends = torch.tensor(log_snr_range(path), dtype=torch.float64)
    (first, last) = path.time(ends).unbind()
    width = float(ends[1] - ends[0]) / 2
    shape = x_0.shape[1:]
    # The integral over log-SNR of (R^2 s^4 + R x_0^2) / (R s^2 + 1)^2, where R = SNR and s = data_std.
    growth = (ends.exp() * data_std**2).log1p()
    known = reverse.known(
        -(-growth).exp().diff()[0] / data_std**2 / 2,
        (growth.diff()[0] + (-growth).exp().diff()[0]) / 2,
    )

    def drawn(i: int) -> Tensor:
        # Uniform in log-SNR, where the integrand is half the range times E|eps - eps_hat|^2.
        t = log_snr_times(path, noise.uniform(f"bound-time-{i}").to(x_0))
        return known + width * reverse.excess(t, noise.normal(f"bound-eps-{i}", *shape).to(x_0))

    decoded = [
        reverse.decode(last, noise.normal(f"bound-end-{i}", *shape).to(x_0)) for i in range(draws)
    ]
    return _bound(reverse.prior(first), [drawn(i) for i in range(draws)], decoded, independent=True)
