"""Latent Dirichlet allocation of documents: what each one's words say of its topics, bounded or weighed by draws."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from likeness.core.noise import Noise
from likeness.inference.topics.bag_of_words import Bags
from likeness.inference.topics.dirichlet import log_density, log_norm, log_shares, mean_log

WIDE = 1 / 8  # share of proposals that are drawn from the prior, which bounds their weights
TINY = 1e-300


@dataclass(frozen=True, eq=False)
class Topics:
    """K topics over V words.

    Args:
        table: What each word is worth in each topic, (V, K): its probability, or exp of its mean
            logarithm.
        prior: Dirichlet weights of the topics in a document, (K,).
        rate: The mean number of words where documents are vectors of counts, Poisson in all, else
            None.
    """

    table: Tensor
    prior: Tensor
    rate: Tensor | None = None

    def start(self, bags: Bags) -> Tensor:
        """Weights of each document's topics with its words shared out evenly (Blei, Ng & Jordan 2003, fig. 6)."""
        return self.prior + bags.total[:, None] / len(self.prior)

    def unseen(self, bags: Bags) -> Tensor | None:
        """What hidden counts are worth in each topic, rate * sum over hidden words of the table, (B, K)."""
        if bags.hidden is None or self.rate is None:
            return None
        return self.rate * (bags.hidden @ self.table)

    def constant(self, bags: Bags) -> Tensor:
        """What p(counts) has beyond p(words in their order): Poisson of the rate, each word in any place, (B,)."""
        if self.rate is None:
            return torch.zeros_like(bags.total)
        return bags.total * self.rate.log() - self.rate - bags.sums(torch.lgamma(bags.count + 1))


@dataclass(frozen=True, eq=False)
class Sight:
    """What the words of B documents say of their topics.

    Args:
        weights: Of q(theta) = Dirichlet(weights), (B, K).
        theta: Exp of the mean of log theta, (B, K).
        ratio: Count over sum_k theta_k table_k of each pair, (n,): shares of a word are theta *
            table * ratio.
        value: The bound on log p, (B,), where it was asked for.
    """

    weights: Tensor
    theta: Tensor
    ratio: Tensor
    value: Tensor


def settled(bags: Bags, topics: Topics, weights: Tensor, most: int, tolerance: float) -> Tensor:
    """Weights of each document's topics after at most so many updates, each document until it moves less, (B, K).

    gamma_k = alpha_k + sum_n c_n phi_nk with phi_nk ~ theta_k table_nk (Blei, Ng & Jordan 2003,
    eqs. 6 and 7), the responsibilities phi never laid out (Hoffman, Bach & Blei 2010). When a
    document rests does not depend on others.
    """
    rows = torch.arange(len(bags), device=weights.device)
    unseen = topics.unseen(bags)
    now = weights
    moving = bags
    found = weights.clone()
    on = torch.ones_like(rows, dtype=torch.bool)
    for _ in range(most):
        theta = mean_log(now).exp()
        got = moving.gathered(_ratio(moving, topics, theta), topics.table)
        after = topics.prior + theta * (got if unseen is None else got + unseen)
        moved = (after - now).abs().mean(-1) > tolerance
        now = torch.where(on[:, None], after, now)
        on = on & moved
        if int(on.sum()) > len(rows) // 2:
            continue
        found[rows] = now
        if not bool(on.any()):
            return found
        kept = on.nonzero().flatten()
        rows = rows[kept]
        now = now[kept]
        moving = moving.take(kept)
        on = on[kept]
        unseen = None if unseen is None else unseen[kept]
    found[rows] = now
    return found


def _ratio(bags: Bags, topics: Topics, theta: Tensor) -> Tensor:
    return bags.count / bags.products(theta, topics.table).clamp(min=TINY)


def sight(bags: Bags, topics: Topics, weights: Tensor) -> Sight:
    """The bound at these weights, responsibilities at their best, and what it rests on.

    log p(w) >= sum_n c_n log sum_k theta_k table_nk + E log p(theta) - E log q(theta), theta = exp
    E log theta (Blei, Ng & Jordan 2003, eq. 15).
    """
    log_theta = mean_log(weights)
    theta = log_theta.exp()
    worth = bags.products(theta, topics.table)
    value = bags.sums(bags.count * worth.log()) + log_norm(weights) - log_norm(topics.prior)
    value = value + ((topics.prior - weights) * log_theta).sum(-1) + topics.constant(bags)
    unseen = topics.unseen(bags)
    if unseen is not None:
        value = value + (theta * unseen).sum(-1)
    return Sight(weights, theta, bags.count / worth.clamp(min=TINY), value)


def given_shares(bags: Bags, topics: Topics, log_theta: Tensor) -> Tensor:
    """log p(words | theta), (B,), for tables of probabilities."""
    theta = log_theta.exp()
    value = bags.sums(bags.count * bags.products(theta, topics.table).log()) + topics.constant(bags)
    unseen = topics.unseen(bags)
    if unseen is None:
        return value
    return value + (theta * unseen).sum(-1)


def weighed(
    bags: Bags, topics: Topics, weights: Tensor, noise: Noise, n: int
) -> tuple[Tensor, Tensor]:
    """n draws of log theta for each document, (n, B, K), and their log p(w, theta) / q(theta), (n, B).

    q = 7/8 Dirichlet(weights) + 1/8 prior: without the prior, whose density is larger at the
    corners, weights would have no variance.
    """
    many = noise.draws(n)
    own = weights.repeat(n, 1)
    wide = many.uniform("wide", 1).to(weights) < WIDE
    log_theta = log_shares(torch.where(wide, topics.prior, own), many, "shares")
    prior = log_density(log_theta, topics.prior)
    log_q = torch.logaddexp(
        log_density(log_theta, own) + math.log(1 - WIDE), prior + math.log(WIDE)
    )
    log_weight = given_shares(bags.repeat(n), topics, log_theta) + prior - log_q
    return log_theta.unflatten(0, (n, -1)), log_weight.unflatten(0, (n, -1))
