"""Vector autoregression: each step linear in the last few, with Gaussian residuals.

Legend: B rows, L steps of C numbers, k lags, F = 1 + k C features of a step (a one, then the lags, the nearest first),
    P places that have coefficients of their own, D = L C numbers of a whole row.
"""

from __future__ import annotations

import torch
from torch import Tensor

from likeness.core.batch import Batch
from likeness.core.learner import Parameters
from likeness.core.noise import Noise
from likeness.inference.sequence.chain import Chain
from likeness.inference.sequence.steps import StepNoise, Steps
from likeness.numerics import gaussian
from likeness.numerics.constants import LOG_2PI

WIDEST = 2048  # numbers of a row whose joint Gaussian is laid out
RIDGE = 1e-10  # of features that say nothing (lags before the start), and of rests that are none
FLOOR = 1e-9


class Lags:
    """x_t = coef_t' (1, x_t-1, ..., x_t-k) + e, e ~ N(0, cov_t).

    Args:
        order: k.
        channels: C.
        places: How many steps have coefficients of their own before the last one's serve for all that
            follow, P.
    """

    def __init__(self, order: int, channels: int, places: int) -> None:
        self.order = order
        self.channels = channels
        self.places = places
        self.size = 1 + order * channels

    def init(self) -> Parameters:
        """Standard normal steps."""
        coef = torch.zeros(self.places, self.size, self.channels, dtype=torch.float64)
        return {
            "coef": coef,
            "cov": torch.eye(self.channels, dtype=torch.float64).repeat(self.places, 1, 1),
        }

    def place(self, steps: int) -> Tensor:
        """Whose coefficients each step has, int64 (L,)."""
        return torch.arange(steps).clamp(max=self.places - 1)

    def features(self, x: Tensor) -> Tensor:
        """The regressors of each step: a one and the lags, 0 before the start, (B, L, F)."""
        lags = [
            torch.nn.functional.pad(x, (0, 0, lag, 0))[:, : x.shape[1]]
            for lag in range(1, self.order + 1)
        ]
        return torch.cat([torch.ones_like(x[..., :1]), *lags], -1)

    def density(self, x: Tensor, there: Tensor, params: Parameters) -> Tensor:
        """log p of fully observed rows, over the steps that are there (B, L), (B,)."""
        place = self.place(x.shape[1])
        # Whitened residuals of every step under its place's covariance.
        gap = x - torch.einsum("blf,lfc->blc", self.features(x), params["coef"][place])
        factor = torch.linalg.cholesky(params["cov"])[place]
        u = torch.linalg.solve_triangular(factor, gap[..., None], upper=False).squeeze(-1)
        each = -0.5 * (u.square().sum(-1) + self.channels * LOG_2PI) - factor.diagonal(
            dim1=-2, dim2=-1
        ).log().sum(-1)
        return (each * there).sum(-1)

    def sums(self, x: Tensor, there: Tensor, weight: Tensor) -> Parameters:
        """Sums of y y' over the steps of each place, y = (features, x), (P, F + C, F + C), and how many."""
        y = torch.cat([self.features(x), x], -1)
        w = there * weight[:, None]
        place = self.place(x.shape[1])
        blank = y.new_zeros(self.places, y.shape[-1], y.shape[-1])
        # Places of their own step by step; all later steps share the last place.
        head = min(self.places - 1, x.shape[1])
        outer = torch.einsum("blf,bl,blg->lfg", y[:, :head], w[:, :head], y[:, :head])
        rest = y[:, head:].flatten(0, 1)
        own = w[:, head:].flatten()
        total = blank.index_add(0, place[:head], outer)
        total[-1] += (rest * own[:, None]).T @ rest
        return {"outer": total, "n": w.new_zeros(self.places).index_add(0, place, w.sum(0))}

    def expected(self, first: Tensor, second: Tensor, weight: Tensor) -> Parameters:
        """The same from sums of E[v] (D,) and E[v v'] (D, D) over rows of that weight in all."""
        # E[(1, v)(1, v)'], from which each step's features and values are picked.
        steps = len(first) // self.channels
        c = self.channels
        moments = torch.cat(
            [torch.cat([weight[None], first])[None], torch.cat([first[:, None], second], 1)]
        )
        outer = first.new_zeros(self.places, self.size + c, self.size + c)
        n = first.new_zeros(self.places)
        for t, place in enumerate(self.place(steps).tolist()):
            lags = [
                1 + (t - lag) * c + j for lag in range(1, min(self.order, t) + 1) for j in range(c)
            ]
            inside = torch.tensor([0, *lags, *range(1 + t * c, 1 + (t + 1) * c)])
            where = torch.tensor([*range(1 + len(lags)), *range(self.size, self.size + c)])
            outer[place, where[:, None], where] += moments[inside[:, None], inside]
            n[place] += weight
        return {"outer": outer, "n": n}

    def m_step(self, sums: Parameters, before: Parameters) -> Parameters:
        """Regressions, and the covariance of what they leave."""
        f = self.size
        n = sums["n"].clamp(min=1e-12)[:, None, None]
        # Normal equations: coef = E[f f']^-1 E[f x'], cov = E[x x'] less what is explained.
        ff, fx, xx = (
            sums["outer"][:, a, b] / n
            for a, b in (
                (slice(f), slice(f)),
                (slice(f), slice(f, None)),
                (slice(f, None), slice(f, None)),
            )
        )
        eye = torch.eye(f).to(ff)
        coef = torch.linalg.solve(ff + RIDGE * eye, fx)
        cov = xx - coef.mT @ fx - fx.mT @ coef + coef.mT @ ff @ coef
        cov = 0.5 * (cov + cov.mT) + FLOOR * torch.eye(self.channels).to(cov)
        occurs = (sums["n"] > 0)[:, None, None]
        return {
            "coef": torch.where(occurs, coef, before["coef"]),
            "cov": torch.where(occurs, cov, before["cov"]),
        }

    def joint(self, steps: int, params: Parameters) -> tuple[Tensor, Tensor]:
        """Mean (D,) and covariance (D, D) of whole rows: v = M v + c + e, so that v = (I - M)^-1 (c + e)."""
        c = self.channels
        place = self.place(steps)
        coef = params["coef"][place]
        size = steps * self.channels
        # I - M holds -A_lag below the diagonal blocks.
        system = torch.eye(size).to(coef)
        for lag in range(1, self.order + 1):
            for t in range(lag, steps):
                block = coef[t, 1 + (lag - 1) * c : 1 + lag * c].T
                system[t * c : (t + 1) * c, (t - lag) * c : (t - lag + 1) * c] = -block
        # v has covariance (I - M)^-1 blockdiag(cov) (I - M)^-T.
        noise_root = torch.block_diag(*torch.linalg.cholesky(params["cov"])[place])
        root = torch.linalg.solve_triangular(system, noise_root, upper=False)
        mean = torch.linalg.solve_triangular(system, coef[:, 0].reshape(-1, 1), upper=False)[:, 0]
        return mean, root @ root.T

    def walk(self, x: Tensor, known: Tensor, eps: Tensor, params: Parameters) -> Tensor:
        """Steps that are not known (B, L), drawn one after the other from normal numbers (B, L, C), (B, L, C)."""
        factor = torch.linalg.cholesky(params["cov"])
        place = self.place(x.shape[1]).tolist()
        past = [torch.zeros_like(x[:, 0])] * self.order
        path = []
        for t, p in enumerate(place):
            regressors = torch.cat([torch.ones_like(x[:, 0, :1]), *past[::-1][: self.order]], -1)
            now = (regressors[..., None] * params["coef"][p]).sum(1) + (
                factor[p] * eps[:, t, None]
            ).sum(-1)
            path.append(torch.where(known[:, t, None], x[:, t], now))
            past = [*past[1:], path[-1]]
        return torch.stack(path, 1)

    def free(self, steps: int) -> int:
        """Coefficients of lags that there are, and covariances, of every place."""
        c = self.channels
        places = range(min(self.places, steps))
        return sum((1 + min(self.order, t) * c) * c + c * (c + 1) // 2 for t in places)


class LagChain(Chain):
    """`Lags` as a chain over events: missing entries by the joint Gaussian of a row, or drawn on behind its end.

    Args:
        steps: How events fall into steps.
        order: k.
        free: Whether every step has coefficients of its own.
    """

    def __init__(self, steps: Steps, order: int, *, free: bool) -> None:
        self.steps = steps
        if free:
            places = steps.longest
        else:
            places = min(order + 1, steps.longest)
        self.lags = Lags(order, steps.space.dims, places)

    def init(self, variance: Tensor | None = None) -> Parameters:
        """Standard normal steps."""
        return self.lags.init()

    def _parts(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Values (B, L, C), which are known, and which steps are there (B, L)."""
        x = self.steps.split(batch.x).double()
        known = self.steps.split(batch.present)
        there = self.steps.there(batch)
        return x, known, x.new_ones(x.shape[:2]) if there is None else there.to(x)

    def e_step(self, batch: Batch, weight: Tensor, now: Parameters) -> Parameters:
        """Sums over fully observed rows, and expected sums over the others."""
        whole = ~batch.holes.flatten(1).any(-1)
        x, known, there = self._parts(batch)
        sums = self.lags.sums(x[whole], there[whole], weight[whole])
        value = self.lags.density(x[whole], there[whole], now) @ weight[whole]
        # Rows with missing entries: moments of the joint Gaussian given what they know (EM).
        if not bool(whole.all()):
            mean, cov = self.lags.joint(x.shape[1], now)
            v = x[~whole].flatten(1)
            observed = known[~whole].flatten(1)
            value = value + gaussian.log_density(v, mean, cov, observed) @ weight[~whole]
            more = self.lags.expected(
                *gaussian.moments(v, mean, cov, observed, weight[~whole]), weight[~whole].sum()
            )
            sums = {name: sums[name] + more[name] for name in sums}
        return sums | {"objective": value, "weight": weight.sum()}

    def m_step(self, sums: Parameters, before: Parameters) -> Parameters:
        """Regressions of every place."""
        return self.lags.m_step(sums, before)

    def log_prob(self, batch: Batch, now: Parameters) -> Tensor:
        """Step by step, or by the joint Gaussian where numbers are missing."""
        x, known, there = self._parts(batch)
        if batch.full:
            return self.lags.density(x, there, now)
        mean, cov = self.lags.joint(x.shape[1], now)
        return gaussian.log_density(x.flatten(1), mean, cov, known.flatten(1))

    def sample(self, noise: Noise, steps: int, now: Parameters) -> Tensor:
        """Numbers one step after the other."""
        eps = StepNoise.of(noise, steps).normal("step", self.lags.channels).double()
        eps = eps.reshape(-1, steps, self.lags.channels)
        nothing = torch.zeros(eps.shape[:2], dtype=torch.bool)
        return self.steps.join(self.lags.walk(torch.zeros_like(eps), nothing, eps, now))

    def draw(self, batch: Batch, now: Parameters, noise: Noise) -> Tensor:
        """On behind the last known step where nothing else is hidden, else from the conditional Gaussian."""
        n = noise.rows // len(batch)
        x, known, _ = (t.repeat(n, *[1] * (t.dim() - 1)) for t in self._parts(batch))
        eps = (
            StepNoise.of(noise, x.shape[1])
            .normal("step", self.lags.channels)
            .double()
            .reshape(x.shape)
        )
        if self._behind(batch):
            x_new = self.lags.walk(x, known.all(-1), eps, now)
        else:
            mean, cov = self.lags.joint(x.shape[1], now)
            x_new = gaussian.conditional_draw(
                x.flatten(1), mean, cov, known.flatten(1), eps.flatten(1)
            )
        return self.steps.join(x_new.reshape(x.shape)).reshape(n, *batch.x.shape)

    def mode(self, batch: Batch, now: Parameters) -> tuple[Tensor, bool]:
        """The mean of what is hidden given the rest."""
        x, known, _ = self._parts(batch)
        mean, cov = self.lags.joint(x.shape[1], now)
        best = gaussian.conditional_mean(x.flatten(1), mean, cov, known.flatten(1))
        return self.steps.join(best.reshape(x.shape)), True

    def _behind(self, batch: Batch) -> bool:
        """Whether what is hidden are whole steps with nothing known behind them."""
        _, known, _ = self._parts(batch)
        steps = known.all(-1)
        ends = bool((steps == known.any(-1)).all())
        return ends and not bool((steps[:, 1:] & ~steps[:, :-1]).any())

    def too_wide(self, batch: Batch | None) -> str | None:
        """A row too long for its joint Gaussian."""
        if batch is None or self._behind(batch):
            size = 0
        else:
            size = self.steps.split(batch.x)[0].numel()
        if size > WIDEST:
            return (
                f"{size:,} numbers a row are too many for missing entries: take `linear_dynamical`"
            )
        return None

    def free_parameters(self, params: Parameters) -> int:
        """Regressions and covariances."""
        return self.lags.free(self.steps.longest)
