"""Discrete paths: entries that are hidden one by one (`Masked`) or replaced at random (`Multinomial`).

Codes x are int64 (B, *E), entry e in 0..categories[e] - 1; logits are (B, *E, K) with K the largest
number of categories, and those that an entry does not have are cut off. `present` says which
entries exist (the tail of a ragged item does not) and `evidence` which are given and so never
hidden. Time runs from the data at 0 to nothing known at 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from likeness.core.noise import Noise
from likeness.dynamics.denoiser import Given
from likeness.dynamics.likelihood import Estimate, standard_error, total
from likeness.dynamics.path import expand
from likeness.numerics.draws import inverse_cdf

Watch = Callable[[int, Tensor, Tensor], None]
TOGETHER = 8192  # rows times sets that a net sees at once


class MaskedDenoiser(Protocol):
    """Logits (B, *E, K) of each entry given the visible ones (bool (B, *E)); t (B,) is the fraction that is hidden.

    Codes of hidden entries are 0 and must not be looked at.
    """

    def __call__(
        self, x: Tensor, visible: Tensor, t: Tensor, context: Given, noise: Noise | None = None
    ) -> Tensor:
        """Logits, (B, *E, K)."""


class CodeDenoiser(Protocol):
    """Logits (B, *E, K) of each entry of the data given codes x (B, *E) of which some are wrong, at times t (B,)."""

    def __call__(self, x: Tensor, t: Tensor, context: Given, noise: Noise | None = None) -> Tensor:
        """Logits, (B, *E, K)."""


@dataclass(frozen=True, eq=False)
class Categories:
    """How many categories each entry has, and what follows from it.

    Args:
        sizes: int64 of shape E, or one number () for all entries; on the device of the codes.
    """

    sizes: Tensor

    @property
    def valid(self) -> Tensor:
        """Which of the K logits of an entry mean something, bool (*E, K)."""
        return torch.arange(int(self.sizes.max()), device=self.sizes.device) < self.sizes[..., None]

    def log_probs(self, logits: Tensor) -> Tensor:
        """Normalised over the valid categories, -inf elsewhere, (B, *E, K)."""
        return logits.masked_fill(~self.valid, -torch.inf).log_softmax(-1)

    def draw(self, log_probs: Tensor, uniforms: Tensor) -> Tensor:
        """Codes (B, *E) from uniforms (B, *E), by the inverse of the distribution function."""
        codes = inverse_cdf(log_probs.exp().cumsum(-1), uniforms)
        return torch.minimum(codes, self.sizes - 1)


def pick(log_probs: Tensor, x: Tensor) -> Tensor:
    """The log-probability of each code, (B, *E)."""
    return log_probs.gather(-1, x[..., None]).squeeze(-1)


def ranks(uniforms: Tensor, among: Tensor) -> Tensor:
    """Each entry's place, from 0, in a random order of the entries of `among`; the others come last; int64 (B, *E)."""
    # Entries outside of `among` get the key infinity; ranks are the order of the order.
    keys = uniforms.masked_fill(~among, torch.inf).flatten(1)
    return keys.argsort(1).argsort(1).view_as(uniforms)


def _either(present: Tensor | None, evidence: Tensor | None, x: Tensor) -> tuple[Tensor, Tensor]:
    """Which entries exist, and which of these are open: not given."""
    if present is None:
        exists = torch.ones_like(x, dtype=torch.bool)
    else:
        exists = present
    return exists, exists if evidence is None else exists & ~evidence


def _fraction(part: Tensor, whole: Tensor) -> Tensor:
    """The share of `whole` that `part` has, (B,)."""
    return part.flatten(1).sum(1) / whole.flatten(1).sum(1).clamp(min=1)


@dataclass(frozen=True, eq=False)
class Masked:
    """The absorbing chain: by time t each entry is hidden with probability t, independently.

    Sahoo et al. 2024, arXiv:2406.07524; Shi et al. 2024, arXiv:2406.04329. Its bound is the mean
    over orders of an autoregressive model's log-probability (Uria et al. 2014, arXiv:1310.1757),
    whatever the schedule.

    Args:
        categories: The numbers of categories.
    """

    categories: Categories

    def corrupt(
        self,
        t: Tensor,
        uniforms: Tensor,
        *,
        present: Tensor | None = None,
        evidence: Tensor | None = None,
    ) -> Tensor:
        """Which entries are visible at times t (B,), bool (B, *E), from uniforms (B, *E)."""
        exists, free = _either(present, evidence, uniforms)
        return exists & ~(free & (uniforms < expand(t, uniforms)))

    def weight(self, t: Tensor) -> Tensor:
        """1 / t: what the log-probability of entries hidden by `corrupt` is to be multiplied by in the bound.

        Sahoo et al. 2024, eq. 10, for the schedule alpha = 1 - t.
        """
        return 1 / t

    def posterior(self, log_probs: Tensor, s: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """What an entry hidden at t does by s < t: it stays hidden with probability s / t, else becomes each code.

        Returns log of the first, shape of t, and of the others, (B, *E, K). Sahoo et al. 2024, eq.
        6.
        """
        # (B, *E, K): the entry stays hidden, or is shown as each code.
        log_reveal = torch.log1p(-s / t)
        return torch.log(s / t), log_probs + expand(log_reveal, log_probs)

    def hide(
        self,
        count: Tensor,
        uniforms: Tensor,
        *,
        present: Tensor | None = None,
        evidence: Tensor | None = None,
    ) -> Tensor:
        """Which entries are visible after `count` (B,) of the open ones are hidden at random, bool (B, *E)."""
        exists, free = _either(present, evidence, uniforms)
        return exists & ~(free & (ranks(uniforms, free) < expand(count, uniforms)))

    def score(self, logits: Tensor, x: Tensor, hidden: Tensor) -> Tensor:
        """The log-probability of the hidden entries, each by itself, (B,)."""
        return total(pick(self.categories.log_probs(logits), x), hidden)

    def bound(
        self,
        denoiser: MaskedDenoiser,
        x: Tensor,
        context: Given = None,
        *,
        noise: Noise,
        draws: int = 1,
        present: Tensor | None = None,
        evidence: Tensor | None = None,
    ) -> Estimate:
        """A LOWER_BOUND of log p(x on open entries | x on evidence), in nats, from `draws` draws per item.

        With D open entries, m uniform in 1..D and a random set of m hidden: D / m times the
        log-probability of these. Its mean is that of log p over all orders. Hoogeboom et al. 2022,
        arXiv:2110.02037, eq. 6. To train, take minus one draw's value as the loss.
        """
        # A uniform number of hidden entries m, then a random set of that size.
        exists, free = _either(present, evidence, x)
        size = free.flatten(1).sum(1)

        def drawn(i: int) -> Tensor:
            count = 1 + torch.minimum(
                (noise.uniform(f"count-{i}") * size).long(), (size - 1).clamp(min=0)
            )
            visible = self.hide(
                count, noise.uniform(f"order-{i}", *x.shape[1:]), present=present, evidence=evidence
            )
            # The net sees the visible entries and the fraction that is hidden.
            hidden = exists & ~visible
            visible_x = torch.where(visible, x, 0)
            logits = denoiser(
                visible_x,
                visible,
                _fraction(hidden, exists).to(noise.dtype),
                context,
                noise.within(f"bound-{i}"),
            )
            # D / m log p(hidden | visible) is unbiased for the mean over orders of log p.
            return size / count * self.score(logits, x, hidden)

        values = torch.stack([drawn(i) for i in range(draws)])
        return Estimate(values.mean(0), standard_error(values))

    def mixture(
        self, denoiser: MaskedDenoiser, x: Tensor, repeat: Callable[[int], Given], noise: Noise
    ) -> Tensor:
        """Log of the mean of p(x) over all D! orders, exact, in nats, (B,): what `unmask` draws from, one at a time.

        f(S) = 1 / |S| sum over i in S of f(S - i) p(x_i | x of S - i), f of nothing 1, over the 2^D
        sets S, each of which the net is asked about once; `repeat` gives the context of that many
        copies of the rows.
        """
        # Sets as bit masks of the D entries; the net is asked about every proper subset.
        rows = len(x)
        size = math.prod(x.shape[1:])
        sets = torch.arange(2**size - 1, device=x.device)  # of all entries nothing is asked
        within = (sets[:, None] >> torch.arange(size, device=x.device) & 1).bool()

        def conditionals(part: Tensor) -> Tensor:
            """log p of every entry given those of each set, (sets, B, D)."""
            visible = part.repeat_interleave(rows, 0).reshape(-1, *x.shape[1:])
            many = x.repeat(len(part), *[1] * (x.dim() - 1))
            hidden = 1 - part.sum(-1).to(noise.dtype).repeat_interleave(rows) / size
            logits = denoiser(
                torch.where(visible, many, 0),
                visible,
                hidden,
                repeat(len(part)),
                noise.draws(len(part)),
            )
            return pick(self.categories.log_probs(logits), many).reshape(len(part), rows, size)

        # log p(x_i | set) of each set, row and entry, (2^D - 1, B, D)
        log_p = torch.cat(
            [conditionals(part) for part in within.split(max(1, TOGETHER // max(rows, 1)))]
        )
        log_f = [x.new_zeros(rows, dtype=log_p.dtype)]
        # From smaller sets to larger: f(S) averages over which member came last.
        for s in range(1, 2**size):
            members = [i for i in range(size) if s >> i & 1]
            ways = torch.stack([log_f[s - (1 << i)] + log_p[s - (1 << i), :, i] for i in members])
            log_f.append(ways.logsumexp(0) - math.log(len(members)))
        return log_f[-1]

    def unmask(
        self,
        denoiser: MaskedDenoiser,
        x: Tensor,
        context: Given = None,
        *,
        steps: int,
        noise: Noise,
        present: Tensor | None = None,
        evidence: Tensor | None = None,
        watch: Watch | None = None,
    ) -> Tensor:
        """Draw the open entries of x, (B, *E); entries of `evidence` come back as they were, absent ones as 0.

        Entries are revealed in a uniformly random order, an equal share of them in each step, and
        those of one step independently of each other: with as many steps as open entries the draw
        is exact for the model of random orders, with fewer it is faster and cruder. `watch(i,
        visible, x)` is called after every step.
        """
        exists, free = _either(present, evidence, x)
        visible = exists & ~free
        shape = x.shape[1:]
        x = torch.where(visible, x, 0)
        # Ranks in a random order as places in 0..steps - 1: an equal share of entries each step.
        uniforms = noise.uniform("code", *shape)
        place = ranks(noise.uniform("order", *shape), free) + 0.5
        reveal = (place / expand(free.flatten(1).sum(1).clamp(min=1), place) * steps).floor()
        for i in range(steps):
            # Draw this step's entries from their conditionals,
            # all given what was visible before it.
            now = free & (reveal == i)
            t = _fraction(exists & ~visible, exists).to(noise.dtype)
            logits = denoiser(x, visible, t, context, noise.within(f"step-{i}"))
            x = torch.where(
                now, self.categories.draw(self.categories.log_probs(logits), uniforms), x
            )
            visible = visible | now
            if watch:
                watch(i + 1, visible, x)
        return x


@dataclass(frozen=True, eq=False)
class Multinomial:
    """The uniform chain: by time t each entry is replaced, with probability t, by a category drawn uniformly.

    Hoogeboom et al. 2021, arXiv:2102.05379, section 4, with alpha-bar = 1 - t on the grid 1/T..T/T,
    so L_T = 0.

    Args:
        categories: The numbers of categories.
        steps: T.
    """

    categories: Categories
    steps: int = 100

    def corrupt(self, x: Tensor, t: Tensor, uniforms: Tensor) -> Tensor:
        """A draw of q(x_t | x_0 = x), (B, *E), from uniforms (B, *E)."""
        # Below the level u / level is uniform again and picks the category.
        level = expand(t, uniforms)
        other = torch.minimum(
            (uniforms / level * self.categories.sizes).long(), self.categories.sizes - 1
        )
        return torch.where(uniforms < level, other, x)

    def posterior(self, log_probs: Tensor, x_t: Tensor, s: Tensor, t: Tensor) -> Tensor:
        """The log-probabilities of x_s given x_t, for s < t, where `log_probs` are those of x_0 given x_t; (B, *E, K).

        The sum over x_0 of q(x_s | x_t, x_0) p(x_0): with w = p(x_0) / q(x_t | x_0) it is
        q(x_t | x_s) ((1 - s) w(x_s) + s mean w). A one-hot p(x_0) gives the chain's own posterior.
        """
        level_s = expand(s, log_probs)
        level_t = expand(t, log_probs)
        # q(x_t | x_s): the entry is replaced with probability `jump` between s and t.
        jump = (level_t - level_s) / (1 - level_s)
        sizes = self.categories.sizes[..., None]
        here = functional.one_hot(x_t, log_probs.shape[-1])
        # Bayes: q(x_s | x_t) ~ q(x_t | x_s) sum over x_0 of q(x_s | x_0) p(x_0) / q(x_t | x_0).
        weights = log_probs.exp() / ((1 - level_t) * here + level_t / sizes)
        forward = (1 - jump) * here + jump / sizes
        prior = (1 - level_s) * weights + level_s * weights.sum(-1, keepdim=True) / sizes
        # Impossible codes get the smallest number there is: log 0 has no gradient.
        return self.categories.log_probs(
            (forward * prior).clamp(min=torch.finfo(prior.dtype).tiny).log()
        )

    def bound(
        self,
        denoiser: CodeDenoiser,
        x: Tensor,
        context: Given = None,
        *,
        noise: Noise,
        draws: int = 1,
        present: Tensor | None = None,
    ) -> Estimate:
        """A LOWER_BOUND of log p(x), in nats, from `draws` draws per item.

        -T KL(q(x_s | x_t, x) || p(x_s | x_t)) with t uniform in 1/T..T/T and s = t - 1/T. At s = 0
        the divergence is -log p(x | x_1), so this is the whole bound. Hoogeboom et al. 2021, eq.
        15.
        """
        truth = functional.one_hot(x, int(self.categories.sizes.max())).to(noise.dtype).log()

        def drawn(i: int) -> Tensor:
            step = (noise.uniform(f"time-{i}") * self.steps).floor().clamp(max=self.steps - 1)
            s = step / self.steps
            t = (step + 1) / self.steps
            x_t = self.corrupt(x, t, noise.uniform(f"code-{i}", *x.shape[1:]))
            log_probs = self.categories.log_probs(
                denoiser(x_t, t, context, noise.within(f"bound-{i}"))
            )
            q = self.posterior(truth, x_t, s, t)
            p = self.posterior(log_probs, x_t, s, t)
            divergence = torch.where(self.categories.valid, q.exp() * (q - p), 0).sum(-1)
            return -self.steps * total(divergence, present)

        values = torch.stack([drawn(i) for i in range(draws)])
        return Estimate(values.mean(0), standard_error(values))

    def sample(
        self,
        denoiser: CodeDenoiser,
        shape: tuple[int, ...],
        context: Given = None,
        *,
        noise: Noise,
        watch: Watch | None = None,
    ) -> Tensor:
        """Draw codes (B, *shape), one reverse step of the chain after another. `watch(i, t, x)` as in `solvers`."""
        times = (
            torch.arange(self.steps, -1, -1, dtype=noise.dtype, device=noise.index.device)
            / self.steps
        )
        # From codes drawn uniformly, step by step through the posteriors of the predicted x_0.
        x = (noise.uniform("start", *shape) * self.categories.sizes).long()
        for i, (t, s) in enumerate(pairwise(times)):
            at = t.expand(len(x))
            log_probs = self.categories.log_probs(
                denoiser(x, at, context, noise.within(f"step-{i}"))
            )
            x = self.categories.draw(
                self.posterior(log_probs, x, s, t), noise.uniform(f"step-{i}", *shape)
            )
            if watch:
                watch(i + 1, s, x)
        return x
